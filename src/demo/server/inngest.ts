import { realtimeMiddleware } from '@inngest/realtime/middleware';
import { EventSchemas, Inngest } from 'inngest';

type Events = {
	'app/demo.message': { data: { message: string; to?: string; adminsOnly?: boolean } };
	'app/job.requested': { data: { id: string; owner: string; plan: 'smooth' | 'retry' | 'fail' } };
	'app/job.cancelled': { data: { id: string } };
	'app/question.asked': { data: { owner: string; question: string } };
	'app/team.posted': { data: { from: string; text: string; adminsOnly: boolean } };
};

export const inngest = new Inngest({
	id: 'demo',
	schemas: new EventSchemas().fromRecord<Events>(),
	middleware: [realtimeMiddleware()]
});
