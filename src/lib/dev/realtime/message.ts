import { compact, quote, timestamp } from '../gojson.js';
import { DEV_ENV_ID } from '../ids.js';

/** A requested topic, as in tokens and `unsub` frames. */
export interface Topic {
	kind: string;
	env_id: string;
	run_id?: string;
	channel: string;
	name: string;
}

/** A message for the subscribers of one topic. */
export interface Message {
	kind: 'data' | 'run' | 'datastream-start' | 'datastream-end';
	channel: string;
	topic: string;
	/** One JSON value. */
	data: Buffer;
	/** One JSON value. */
	metadata?: Buffer;
	createdAt: string;
	runId?: string;
}

/** The key under which the subscribers of a topic are kept. */
export function topicKey(topic: Topic): string {
	return topic.kind === 'run'
		? runTopicKey(topic.channel, topic.name, topic.env_id)
		: JSON.stringify([topic.env_id, topic.name]);
}

/** Key of the topic `name` of `channel`. */
export function runTopicKey(channel: string, name: string, envId: string = DEV_ENV_ID): string {
	return JSON.stringify([envId, channel, name]);
}

/** A message as subscribers read it. */
export function encodeMessage(message: Message): Buffer {
	const metadata: (string | Buffer)[] = message.metadata
		? [',"metadata":', compact(message.metadata)]
		: [];
	const parts = [
		`{"kind":${quote(message.kind)},"data":`,
		compact(message.data),
		...metadata,
		`,"created_at":"${message.createdAt}"`,
		message.channel === '' ? '' : `,"channel":${quote(message.channel)}`,
		`,"env_id":"${DEV_ENV_ID}","topic":${quote(message.topic)}`,
		message.runId ? `,"run_id":"${message.runId}"` : '',
		'}'
	];
	return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

/** A piece of a data stream as subscribers read it. It names neither channel nor topic. */
export function encodeChunk(streamId: string, text: string, runId?: string): Buffer {
	const run = runId ? `,"run_id":"${runId}"` : '';
	return Buffer.from(`{"kind":"chunk","stream_id":${quote(streamId)},"data":${quote(text)}${run}}`);
}

/** What a server sends to its subscribers before it shuts down. */
export function encodeClosing(): Buffer {
	return Buffer.from(`{"kind":"closing","data":"","created_at":"${timestamp()}","topic":""}`);
}
