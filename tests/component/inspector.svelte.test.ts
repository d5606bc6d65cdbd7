import axe from 'axe-core';
import { beforeEach, describe, expect, test } from 'vitest';
import { cdp, page, userEvent } from 'vitest/browser';
import { render } from 'vitest-browser-svelte';
import { demo, user } from '../support/client/channels.js';
import { FakeEndpoint } from '../support/client/endpoint.js';
import InspectorPage from './InspectorPage.svelte';

let endpoint: FakeEndpoint;
beforeEach(() => void (endpoint = new FakeEndpoint()));

const KEYS = '{Alt>}{Shift>}r{/Shift}{/Alt}';
const panel = page.getByRole('dialog', { name: 'Realtime inspector' });
const channel = (name: string) => panel.getByRole('article', { name: `Channel ${name}` });

function show(props: Partial<Parameters<typeof InspectorPage>[1]> = {}) {
	return render(InspectorPage, { fetch: endpoint.fetch, outer: [{ channel: demo }], ...props });
}

/** What a channel's card says under a heading. */
function fact(name: string, heading: string): string | undefined {
	const card = channel(name).element();
	const term = [...card.querySelectorAll('dt')].find((one) => one.textContent === heading);
	return term?.nextElementSibling?.textContent ?? undefined;
}

describe('the key', () => {
	test('shows and hides the panel, which takes the focus and gives it back', async () => {
		await show();
		await expect.element(panel).not.toBeInTheDocument();
		const button = page.getByRole('button', { name: 'Inspect' });
		(button.element() as HTMLElement).focus();
		await userEvent.keyboard(KEYS);
		await expect.element(panel).toBeVisible();
		await expect.element(panel.getByRole('button', { name: 'Close' })).toHaveFocus();
		await userEvent.keyboard(KEYS);
		await expect.element(panel).not.toBeInTheDocument();
		await expect.element(button).toHaveFocus();
	});

	test('may be another one, and must be pressed with just its modifiers', async () => {
		await show({ hotkey: 'ctrl+i' });
		await userEvent.keyboard(KEYS);
		await userEvent.keyboard('{Control>}{Shift>}i{/Shift}{/Control}');
		await expect.element(panel).not.toBeInTheDocument();
		await userEvent.keyboard('{Control>}i{/Control}');
		await expect.element(panel).toBeVisible();
	});

	test('does nothing where it is off, and nothing at all is there where the inspector is off', async () => {
		const screen = await show({ hotkey: false });
		await userEvent.keyboard(KEYS);
		await expect.element(panel).not.toBeInTheDocument();
		await page.getByRole('button', { name: 'Inspect' }).click();
		await expect.element(panel).toBeVisible();
		await screen.rerender({ enabled: false });
		await expect.element(panel).not.toBeInTheDocument();
	});

	test('Escape and Close hide the panel', async () => {
		await show({ open: true });
		await expect.element(panel.getByRole('button', { name: 'Close' })).toHaveFocus();
		await userEvent.keyboard('{Escape}');
		await expect.element(panel).not.toBeInTheDocument();
		await userEvent.keyboard(KEYS);
		await panel.getByRole('button', { name: 'Close' }).click();
		await expect.element(panel).not.toBeInTheDocument();
	});
});

describe('what it shows', () => {
	test('health, topics, cursor and messages of a channel, also of those that came while it was hidden', async () => {
		await show();
		endpoint.last.accept('e-0').message('demo', 'message', { message: 'hello' }, 'e-1');
		await userEvent.keyboard(KEYS);
		await expect.element(channel('demo').getByText('connected')).toBeVisible();
		expect(fact('demo', 'Topics')).toBe('count, message');
		await expect.poll(() => fact('demo', 'Cursor')).toBe('e-1');
		expect(fact('demo', 'Messages')).toBe('1');
		endpoint.last.message('demo', 'count', 7, 'e-2');
		await expect.poll(() => fact('demo', 'Messages')).toBe('2');
		expect(fact('demo', 'Cursor')).toBe('e-2');
		const list = panel.getByRole('listitem');
		await expect.element(list.first()).toHaveTextContent(/demo · count · \d+ ms 7$/);
		await expect.element(list.last()).toHaveTextContent('{"message":"hello"}');
	});

	test('the time from the publication of the last message to its arrival', async () => {
		await show({ open: true });
		endpoint.last.accept('e-0');
		const createdAt = new Date(Date.now() - 5_000).toISOString();
		const envelope = { channel: 'demo', topic: 'count', data: 1, createdAt, kind: 'data' };
		endpoint.last.event('message', envelope, 'e-1');
		await expect.poll(() => fact('demo', 'Last round trip')).toMatch(/^5\d{3} ms$/);
		// A piece of a data stream has no time of its own.
		endpoint.last.event('message', { ...envelope, kind: 'chunk', streamId: 's' }, 'e-2');
		await expect.poll(() => fact('demo', 'Messages')).toBe('2');
		expect(fact('demo', 'Last round trip')).toMatch(/^5\d{3} ms$/);
	});

	test('reconnects and resyncs, with the reason of the last', async () => {
		await show({ open: true });
		endpoint.last.accept('e-0');
		await expect.element(channel('demo').getByText('connected')).toBeVisible();
		expect(fact('demo', 'Reconnects')).toBe('0');
		endpoint.last.fail();
		await expect.poll(() => endpoint.streams.length).toBe(2);
		endpoint.last.open().health('demo', 'connecting').resync('demo', 'restart');
		endpoint.last.health('demo', 'connected', { cursor: 'f-0' });
		await expect.poll(() => fact('demo', 'Reconnects')).toBe('1');
		expect(fact('demo', 'Resyncs')).toBe('1 (restart)');
		expect(fact('demo', 'Cursor')).toBe('f-0');
	});

	test('why a channel is denied; Reconnect asks again', async () => {
		await show({ open: true });
		endpoint.last.refuse(403, 'Sign in first');
		await expect.element(channel('demo').getByText('degraded')).toBeVisible();
		await expect.element(channel('demo').getByText('Sign in first')).toBeVisible();
		await panel.getByRole('button', { name: 'Reconnect' }).click();
		await expect.poll(() => endpoint.streams.length).toBe(2);
	});

	test('nested managers, as they come and go', async () => {
		const inner = [{ channel: user, channelParams: 'alice' }];
		const screen = await show({ open: true, inner });
		await expect
			.element(panel.getByRole('heading', { name: 'Manager 2, inside manager 1' }))
			.toBeVisible();
		await expect.element(channel('user:alice')).toBeVisible();
		await screen.rerender({ inner: [{ channel: user, channelParams: 'bob' }] });
		await expect.element(channel('user:bob')).toBeVisible();
		await expect.element(channel('user:alice')).not.toBeInTheDocument();
		await screen.rerender({ inner: undefined });
		await expect.element(channel('user:bob')).not.toBeInTheDocument();
		await expect.element(channel('demo')).toBeVisible();
	});

	test('the newest twenty messages, whatever comes', async () => {
		await show({ open: true });
		endpoint.last.accept('e-0');
		for (let n = 1; n <= 500; n++) endpoint.last.message('demo', 'count', n, `e-${n}`);
		await expect.poll(() => fact('demo', 'Messages')).toBe('500');
		const items = panel.getByRole('listitem').elements();
		expect(items).toHaveLength(20);
		expect(items[0]!.textContent).toMatch(/500$/);
	});
});

describe('the page around', () => {
	/** Place, size and style of every element of the page. */
	const snapshot = (): unknown[] =>
		[...document.querySelectorAll('main, main > *')].map((element) => {
			const { x, y, width, height } = element.getBoundingClientRect();
			const { font, color, margin, padding, display } = getComputedStyle(element);
			return [element.tagName, x, y, width, height, font, color, margin, padding, display];
		});

	async function frames(count: number): Promise<void> {
		for (; count > 0; count--) await new Promise(requestAnimationFrame);
	}

	test('keeps its layout and its styles', async () => {
		const shifts: PerformanceEntry[] = [];
		const observer = new PerformanceObserver((list) => shifts.push(...list.getEntries()));
		await show();
		await expect.element(page.getByText('The end')).toBeVisible();
		const before = [snapshot(), document.documentElement.scrollHeight];
		// What moved before is reported with the next frame.
		await frames(2);
		observer.observe({ type: 'layout-shift' });
		await userEvent.keyboard(KEYS);
		endpoint.last.accept('e-0');
		for (let n = 1; n <= 30; n++) endpoint.last.message('demo', 'count', n, `e-${n}`);
		await expect.poll(() => fact('demo', 'Messages')).toBe('30');
		endpoint.last.fail();
		await expect.element(channel('demo').getByText('connecting')).toBeVisible();
		const elements = [...document.querySelectorAll('main > :not([popover])')];
		expect(elements.length).toBeGreaterThan(3);
		expect([
			snapshot().filter((one) => (one as string[])[0] !== 'DIV'),
			document.documentElement.scrollHeight
		]).toEqual(before);
		await userEvent.keyboard(KEYS);
		await frames(2);
		expect([snapshot(), document.documentElement.scrollHeight]).toEqual(before);
		expect(shifts).toEqual([]);
		observer.disconnect();
	});

	test('does not reach into the panel with its styles', async () => {
		await show({ open: true });
		const close = panel.getByRole('button', { name: 'Close' }).element();
		expect(getComputedStyle(close).fontSize).toBe('13px');
		const heading = panel.getByRole('heading', { name: 'Realtime inspector' }).element();
		expect(getComputedStyle(heading).margin).toBe('0px');
		expect(getComputedStyle(heading).color).not.toBe('rgb(200, 0, 200)');
	});
});

describe.each(['light', 'dark'])('in %s colours', (value) => {
	test('axe finds no problem, not even with contrast', async () => {
		await cdp().send('Emulation.setEmulatedMedia', {
			features: [{ name: 'prefers-color-scheme', value }]
		});
		await show({ open: true, inner: [{ channel: user, channelParams: 'alice' }] });
		endpoint.streams[0]!.accept('e-0').message('demo', 'count', 1, 'e-1');
		endpoint.streams[1]!.refuse(403, 'Sign in first');
		await expect.element(panel.getByText('degraded')).toBeVisible();
		await expect.element(panel.getByText('connected')).toBeVisible();
		const element = panel.element();
		const isDark = getComputedStyle(element).backgroundColor === 'rgb(23, 23, 27)';
		expect(isDark).toBe(value === 'dark');
		const { violations, passes } = await axe.run(element);
		expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
		expect(passes.map(({ id }) => id)).toContain('color-contrast');
	});
});
