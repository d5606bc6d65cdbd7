// The example of docs/guides/testing.md; a test compares them.
// @vitest-environment jsdom
import { demoChannel } from '../support/guide/quickStart.js';
import { getRealtimeBusState } from '../../src/lib/client/index.js';
import { createTestBus } from '../../src/lib/testing/index.js';
import { expect, test, vi } from 'vitest';

/** A bus, and what a component sees of it. */
function open() {
	const onFailure = vi.fn();
	const bus = createTestBus([{ channel: demoChannel }], { onFailure });
	const { health, onMessage, onResync } = getRealtimeBusState(demoChannel, { bus });
	const heard: string[] = [];
	onMessage('message', ({ data }) => heard.push(data.message));
	return { bus, health, heard, onFailure, onResync };
}

test('cut: the component says that it connects, and gets afterwards what it missed', () => {
	const { bus, health, heard } = open();
	const restore = bus.cut();
	bus.emit('message', { message: 'missed' });
	expect(health.current.status).toBe('connecting');
	expect(heard).toEqual([]);
	restore();
	expect(health.current.status).toBe('connected');
	expect(heard).toEqual(['missed']);
});

test('silence: nothing arrives, and nothing says so', () => {
	const { bus, health, heard } = open();
	const end = bus.silence();
	bus.emit('message', { message: 'held back' });
	expect(health.current.status).toBe('connected');
	expect(heard).toEqual([]);
	end();
	expect(heard).toEqual(['held back']);
});

test('slow: messages arrive later, in order', async () => {
	const { bus, heard } = open();
	bus.slow(50);
	bus.emit('message', { message: 'first' });
	bus.emit('message', { message: 'second' });
	expect(heard).toEqual([]);
	await expect.poll(() => heard).toEqual(['first', 'second']);
});

test('resync: the component loads its data again', () => {
	const { bus, onResync } = open();
	const reload = vi.fn();
	onResync(reload);
	bus.resync();
	expect(reload).toHaveBeenCalledOnce();
});

test('deny: the component says why, and gets nothing', () => {
	const { bus, health, heard, onFailure } = open();
	const allow = bus.deny(demoChannel, { message: 'Please sign in again.' });
	bus.emit('message', { message: 'secret' });
	expect(health.current).toMatchObject({ status: 'degraded', code: 403, fatal: true });
	expect(health.current.detail).toBe('Please sign in again.');
	expect(onFailure).toHaveBeenCalledOnce();
	expect(heard).toEqual([]);
	allow();
	expect(health.current.status).toBe('connected');
});

test('backendDown: messages arrive, and health says what is missing', () => {
	const { bus, health, heard } = open();
	const restore = bus.backendDown();
	bus.emit('message', { message: 'live' });
	expect(heard).toEqual(['live']);
	expect(health.current.detail).toContain('cannot be replayed');
	restore();
	expect(health.current.detail).toBeUndefined();
});
