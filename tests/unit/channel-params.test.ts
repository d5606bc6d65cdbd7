import { channel, topic } from '@inngest/realtime';
import { describe, expect, test } from 'vitest';
import { resolveChannel, type ChannelLike } from '../../src/lib/protocol/channel.js';

const job = channel((id: string) => `job:${id}`).addTopic(topic('log').type<string>());
const room = channel((org: string, id: number) => `room:${org}:${id}`).addTopic(
	topic('log').type<string>()
);
const topics = { status: { schema: {} as never } };
const pipeline = Object.assign(
	({ runId, team }: { runId: string; team?: string }) => ({
		name: `pipeline:${runId}${team ? `:${team}` : ''}`
	}),
	{ topics }
);
const safe = Object.assign((p?: { id?: string }) => ({ name: `safe:${p?.id}` }), { topics });

describe('a builder that needs parameters', () => {
	test.each<[string, ChannelLike, unknown]>([
		['none', job, undefined],
		['an empty list', job, []],
		['undefined in a list', job, [undefined]],
		['null', job, null],
		['only the first of two', room, ['acme']],
		['an undefined field', pipeline, { runId: undefined }],
		['no such field', pipeline, {}],
		['nothing, where it wants an object', pipeline, undefined],
		['nothing, where it reads an object with care', safe, undefined]
	])('throws when it gets %s', (_name, source, params) => {
		expect(() => resolveChannel(source, params)).toThrowError(
			expect.objectContaining({
				code: 'INVALID_OPTION',
				message: expect.stringContaining('channelParams')
			})
		);
	});

	test.each<[ChannelLike, unknown, string]>([
		[job, '', 'job:'],
		[job, 'undefined', 'job:undefined'],
		[job, 'null', 'job:null'],
		[room, ['nullable', 1], 'room:nullable:1'],
		[pipeline, { runId: 'a' }, 'pipeline:a'],
		[pipeline, { runId: 'undefined', team: undefined }, 'pipeline:undefined']
	])('resolves what it gets', (source, params, name) => {
		expect(resolveChannel(source, params).name).toBe(name);
	});

	test('keeps the error that it throws itself', () => {
		const strict = Object.assign(
			(id: string) => {
				if (!/^\d+$/.test(id)) throw new RangeError('Not a number');
				return { name: id };
			},
			{ topics }
		);
		expect(() => resolveChannel(strict, 'x')).toThrow(RangeError);
		expect(resolveChannel(strict, '7').name).toBe('7');
	});
});

test.each<[string, ChannelLike, string]>([
	['a fixed name', channel('null-and-undefined').addTopic(topic('a')), 'null-and-undefined'],
	['an instance', job('undefined'), 'job:undefined'],
	[
		'an optional parameter',
		Object.assign((id?: string) => ({ name: id ?? 'all' }), { topics }),
		'all'
	]
])('%s needs none', (_name, source, name) => {
	expect(resolveChannel(source).name).toBe(name);
});

test('an only parameter that is a list is wrapped', () => {
	const many = channel((ids: string[]) => `many:${ids.join('+')}`).addTopic(topic('a'));
	expect(resolveChannel(many, [['a', 'b']]).name).toBe('many:a+b');
});

test.each([undefined, null, 'demo', 5, {}, { name: 'demo' }, { name: '', topics: {} }])(
	'%j is no channel, which is said',
	(source) => {
		expect(() => resolveChannel(source as never)).toThrowError(
			expect.objectContaining({ code: 'INVALID_OPTION' })
		);
	}
);
