import {
	eventChannel,
	type EmittedMessage,
	type EventDefinition,
	type EventInput,
	type EventRequest,
	type EventResult
} from '../../protocol/event.js';
import type { Jsonify } from '../../protocol/types.js';
import type { RealtimeBus } from '../bus/bus.js';
import { getRealtimeBus } from '../bus/context.js';
import { Signal } from '../state/signal.js';
import { RealtimeEventError } from './error.js';
import { Outbox, type PendingEvent } from './outbox.js';

/** Options of `getRealtimeBusSend`. */
export interface RealtimeSendOptions {
	/** The bus to send with, for use outside a component. @default the bus of the surrounding manager */
	bus?: RealtimeBus;
	/** Most events of the manager that may wait for an answer; one more is refused. @default 100 */
	maxPending?: number;
	/** How long, in milliseconds, an event may wait for its answer. @default 300_000 */
	maxAgeMs?: number;
}

/** A pending event. */
export interface RealtimePending<TEvent extends EventDefinition = EventDefinition> {
	/** Messages that its handler emits carry it as `clientEventId`. */
	readonly id: string;
	/** The sent data, after JSON. */
	readonly data: Jsonify<EventInput<TEvent>>;
	/** When it was sent, ISO 8601. */
	readonly createdAt: string;
}

/** The result of an event. */
export interface RealtimeSent<TEvent extends EventDefinition = EventDefinition> {
	id: string;
	/** `done`: its handler ran; `queued`: it was sent to Inngest. */
	status: 'done' | 'queued';
	/** The result of the handler; `undefined` if the event was queued. */
	result: EventResult<TEvent>;
	/** The messages that the handler emitted, with their positions. */
	emitted: EmittedMessage[];
}

/** Sends events of one definition. */
export interface RealtimeSend<TEvent extends EventDefinition = EventDefinition> {
	/**
	 * Sends an event. It is sent again with the same id after failures of the network or the server.
	 *
	 * @param options With your own `id`, the event runs once, even if it is sent several times.
	 * @throws {RealtimeEventError} `EVENT_INVALID` with `fields` when the data does not match the schema,
	 *   `EVENT_REFUSED` when it is not allowed, `EVENT_OUTDATED` when the page must be reloaded,
	 *   `EVENT_FAILED` when its handler fails, `EVENT_EXPIRED` when nobody answers within `maxAgeMs`,
	 *   `EVENT_QUEUE_FULL` when `maxPending` wait.
	 */
	(data: EventInput<TEvent>, options?: { id?: string }): Promise<RealtimeSent<TEvent>>;
	/**
	 * Pending events of this definition from all components, oldest first. An event leaves the list when it
	 * fails, or when the messages that its handler emitted have arrived.
	 */
	readonly pending: readonly RealtimePending<TEvent>[];
	/** The error of the last event of this hook; `null` again when another one is sent. */
	readonly error: RealtimeEventError<EventInput<TEvent>> | null;
}

const headers = { 'content-type': 'application/json' };
const outboxes = /* @__PURE__ */ new WeakMap<RealtimeBus, Outbox>();

/**
 * A function that sends events to the endpoint of the surrounding manager. Events of one channel are sent one
 * after another, and so are those of one definition without a channel.
 *
 * @param event The result of `defineEvent()`, from a file that the server imports as well.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus.
 * @example
 * ```ts
 * const send = getRealtimeBusSend(createOrder);
 * const { result } = await send({ product: 'tea', count: 2 });
 * ```
 */
export function getRealtimeBusSend<TEvent extends EventDefinition>(
	event: TEvent,
	{ bus = getRealtimeBus(), maxPending = 100, maxAgeMs = 300_000 }: RealtimeSendOptions = {}
): RealtimeSend<TEvent> {
	const intervalMs = (): number | undefined => bus.bufferIntervalMs;
	let outbox = outboxes.get(bus);
	if (!outbox) outboxes.set(bus, (outbox = new Outbox(intervalMs)));
	const errors = new Signal(console.error, intervalMs);
	const { name, version } = event;
	let error: RealtimeEventError | null = null;
	const setError = (value: RealtimeEventError | null): void => {
		error = value;
		errors.emit();
	};

	async function deliver(id: string, data: unknown): Promise<RealtimeSent<TEvent>> {
		setError(null);
		const { endpoint = '', fetch = globalThis.fetch, onOutdated } = bus.settings();
		try {
			const channel = eventChannel(event, data);
			const { listen, hasEcho } = echo(bus, id, channel);
			const answer = await outbox!.send({
				name,
				id,
				body: toJson({ event: name, id, v: version, data }),
				lane: channel === undefined ? `event ${name}` : `channel ${channel}`,
				// The manager may be gone when the event is sent again.
				post: (body, signal) => fetch(endpoint, { method: 'POST', headers, body, signal }),
				maxPending,
				maxAgeMs,
				listen,
				hasEcho
			});
			return { result: undefined, ...answer } as RealtimeSent<TEvent>;
		} catch (thrown) {
			if (thrown instanceof RealtimeEventError) {
				setError(thrown);
				if (thrown.code === 'EVENT_OUTDATED') onOutdated?.({ event: name, version });
			}
			throw thrown;
		}
	}

	const send = (data: unknown, { id = newId() }: { id?: string } = {}): Promise<unknown> => {
		const sent = deliver(id, data);
		// Callers that do not await the promise read `error`.
		sent.catch(() => {});
		return sent;
	};
	return Object.defineProperties(send, {
		pending: {
			get: (): readonly PendingEvent[] => {
				outbox.changes.track();
				return outbox.pending(name);
			}
		},
		error: {
			get: () => {
				errors.track();
				return error;
			}
		}
	}) as unknown as RealtimeSend<TEvent>;
}

/** Notices the echo of an event: among the messages of its channel, or of all subscribed channels. */
function echo(
	bus: RealtimeBus,
	id: string,
	channel: string | undefined
): Pick<Parameters<Outbox['send']>[0], 'listen' | 'hasEcho'> {
	const channels =
		channel === undefined ? bus.subscriptions.map(({ channelId }) => channelId) : [channel];
	const states = channels.flatMap((name) => bus.find(name)?.state(name) ?? []);
	return {
		listen(onEcho) {
			const stops = states.map(({ frames }) =>
				frames.listen((frame) => {
					if (frame.event === 'message' && frame.data.clientEventId === id) onEcho();
				})
			);
			return () => stops.forEach((stop) => stop());
		},
		hasEcho: ({ emitted }) =>
			emitted.some((message) => states.some(({ channelId }) => channelId === message.channel))
	};
}

function toJson(request: EventRequest): string {
	try {
		return JSON.stringify(request);
	} catch (cause) {
		const text = `The data of event "${request.event}" cannot be sent as JSON: ${(cause as Error).message}`;
		throw new RealtimeEventError('EVENT_INVALID', text, { cause, eventId: request.id });
	}
}

/** A random id. Pages without HTTPS have no `randomUUID`. */
function newId(): string {
	return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
		byte.toString(16).padStart(2, '0')
	).join('');
}
