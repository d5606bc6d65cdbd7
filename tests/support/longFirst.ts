import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take half a minute or more on two cores. */
const LONG =
	/\/(redis\/(servers|clusters)|postgres\/\w+|presence-shared|cluster|cloudflare\/\w+|docs\/(code|reference|sync-drizzle)|e2e\/(browsers|tabs|job))\.test\.ts$/;

/** Long files start first, so that the run does not end with one worker that is still busy with one of them. */
export class LongFirst extends BaseSequencer {
	override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
		const sorted = await super.sort(files);
		const isLong = ({ moduleId }: TestSpecification): boolean => LONG.test(moduleId);
		return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
	}
}
