import { Inngest, NonRetriableError } from 'inngest';
import { serve } from 'inngest/node';
import { unique } from './support/engine.js';
import { silent, testFunctions } from './support/functions.js';

testFunctions({
	NonRetriableError,
	serve(baseUrl, functions) {
		const client = new Inngest({ id: unique('app'), isDev: true, baseUrl, logger: silent });
		return serve({
			client,
			baseUrl,
			functions: functions.map(({ id, options, trigger = { event: 'a' }, run }) =>
				client.createFunction({ id, retries: 0, ...options }, trigger, run as never)
			)
		});
	}
});
