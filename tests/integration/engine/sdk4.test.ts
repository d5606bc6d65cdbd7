import { Inngest, NonRetriableError } from 'inngest4';
import { serve } from 'inngest4/node';
import { unique } from './support/engine.js';
import { silent, testFunctions } from './support/functions.js';

testFunctions({
	NonRetriableError,
	serve(baseUrl, functions) {
		const client = new Inngest({ id: unique('app'), isDev: true, baseUrl, logger: silent });
		return serve({
			client,
			functions: functions.map(({ id, options, trigger = { event: 'a' }, run }) =>
				client.createFunction({ id, retries: 0, ...options, triggers: [trigger] }, run as never)
			)
		});
	}
});
