// Scrolling through a thousand messages with reactions and replies. What the browser did is read from its trace.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, message, visitor } from './support.js';

const MESSAGES = 1000;
const DEADLINE_MS = 300_000;

// The time of a frame depends on the machine and on what else runs there, so the test only prints it. What the frame
// must lay out and paint does not.
/** The most boxes that are laid out at once. A row with reactions and a quote has about 35. */
const CHANGED_MAX = 1500;
/** The most boxes of the document. */
const BOXES_MAX = 18_000;
/** The most parts that a frame paints. A row that only moves is none. */
const PAINTED_MAX = 120;

const SIZES = {
	desktop: { viewport: { width: 1200, height: 760 } },
	phone: { viewport: { width: 390, height: 760 }, hasTouch: true, isMobile: true },
};

/**
 * Fills a room. All messages have reactions. Each second fifty are replies to the fifty before them, but each tenth
 * reply is to a message of the first fifty.
 */
async function fill(t, server) {
	const bob = await Nc.named(t, server, 'bob', '#log');
	const sent = async (lines) => {
		for (const line of [...lines, 'PING sent']) bob.say(line);
		const [out] = await bob.expect(/^[^]*^OK PING sent\n/m);
		return [...out.matchAll(/^OK MSG (\d+)/gm)].map(([, id]) => id);
	};
	const ids = [];
	while (ids.length < MESSAGES) {
		const at = ids.length;
		const asked = await sent(Array.from({ length: 50 }, (_, i) => `MSG message ${at + i}: see https://plain.test/${i} and \`df -h\`.`));
		ids.push(...asked);
		ids.push(...(await sent(asked.map((id, i) => `@reply=${i % 10 ? id : ids[i]} MSG message ${at + 50 + i}: an answer.`))));
	}
	await sent(ids.flatMap((id) => ['👍', '🎉', '👀'].map((emoji) => `REACT ${id} ${emoji}`)));
}

/** Scrolls to one end of the room, two screens for each frame. */
const scroll = (page, by, end) => page.evaluate(async ({ by, end }) => {
	const log = document.getElementById('log');
	const isThere = () => [...document.querySelectorAll('.row .text')].some(({ textContent }) => textContent.startsWith(end));
	const isAtEdge = () => (by < 0 ? log.scrollTop < 1 : log.scrollHeight - log.clientHeight - log.scrollTop < 1);
	while (!isAtEdge() || !isThere()) {
		log.scrollBy(0, by);
		await new Promise(requestAnimationFrame);
	}
}, { by, end });

/**
 * Returns what the page's main thread did during `act`: the processor time of its longest task in milliseconds, the
 * most parts that one task painted, and the most boxes of one layout, those that had changed and all of them.
 */
async function traced(page, act) {
	const browser = page.context().browser();
	await browser.startTracing(page, { categories: ['devtools.timeline', 'disabled-by-default-devtools.timeline'] });
	await act();
	const { traceEvents } = JSON.parse(await browser.stopTracing());
	const threads = new Map();
	for (const event of traceEvents.filter(({ ph }) => ph === 'X')) {
		const thread = `${event.pid} ${event.tid}`;
		if (!threads.has(thread)) threads.set(thread, []);
		threads.get(thread).push(event);
	}
	const named = (events, name) => events.filter((event) => event.name === name);
	const events = [...threads.values()].sort((a, b) => named(b, 'Layout').length - named(a, 'Layout').length)[0];
	const layouts = named(events, 'Layout').map(({ args }) => args.beginData);
	const tasks = named(events, 'RunTask');
	const paints = named(events, 'Paint').map(({ ts }) => ts);
	const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);
	return {
		time: most(tasks.map(({ tdur }) => tdur ?? 0)) / 1000,
		painted: most(tasks.map(({ ts, dur }) => paints.filter((at) => at >= ts && at < ts + dur).length)),
		changed: most(layouts.map(({ dirtyObjects }) => dirtyObjects)),
		boxes: most(layouts.map(({ totalObjects }) => totalObjects)),
	};
}

/** Scrolls up and back, and checks what each frame lays out and paints. */
async function check(t, server, size, options) {
	const page = await visitor(t, options);
	await enter(page, server, size, '#log');
	const newest = `message ${MESSAGES - 1}:`;
	await message(page, newest).waitFor();
	const up = () => scroll(page, -1400, 'message 0:');
	const down = () => scroll(page, 1400, newest);
	const atOnce = async () => {
		await page.locator('#log').press('End');
		await message(page, newest).waitFor();
	};
	for (const way of [up, down, up, atOnce]) {
		const { time, painted, changed, boxes } = await traced(page, way);
		t.diagnostic(`${size}, ${way.name}: at most ${painted} parts painted, ${changed} of ${boxes} boxes laid out, ${Math.round(time)} ms of processor time`);
		assert.ok(painted > 0 && painted <= PAINTED_MAX, `${size}: ${painted} parts were painted at once`);
		assert.ok(changed > 0 && changed <= CHANGED_MAX, `${size}: ${changed} boxes were laid out at once`);
		assert.ok(boxes <= BOXES_MAX, `${size}: the document has ${boxes} boxes`);
	}
}

test(`${MESSAGES} messages with reactions and replies scroll with little work for each frame`, { timeout: DEADLINE_MS }, async (t) => {
	const server = await chatd(t);
	await fill(t, server);
	for (const [size, options] of Object.entries(SIZES)) await check(t, server, size, options);
});
