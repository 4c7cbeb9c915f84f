// A room of 100,000 messages. The test checks what is in the document; the times are only printed.

import assert from 'node:assert/strict';
import test from 'node:test';
import { chatd, enter, flood, message, until, visitor } from './support.js';

const MESSAGES = 100_000;
const BURST = 5_000;

test(`a room of ${MESSAGES} messages`, async (t) => {
	const server = await chatd(t);
	const text = (i) => `message ${i}: the quick brown fox jumps over the lazy dog, and does so again`;
	await flood(server, 'bot', '#long', Array.from({ length: MESSAGES }, (_, i) => text(i + 1)));
	const page = await visitor(t);
	await enter(page, server, 'ann', '#long');
	await message(page, text(MESSAGES)).waitFor();
	// A reload: the time from the navigation until the newest message is drawn.
	await page.reload();
	await message(page, text(MESSAGES)).waitFor();
	const opened = await page.evaluate(async (text) => {
		while (![...document.querySelectorAll('.row .text')].some((e) => e.textContent === text)) await new Promise(requestAnimationFrame);
		return performance.now();
	}, text(MESSAGES));
	t.diagnostic(`opened ${Math.round(opened)} ms after the address was given, at most`);
	assert.ok(await page.locator('.row').count() <= 300);

	await page.evaluate(() => {
		globalThis.frames_ = [];
		let last = performance.now();
		const frame = (now) => {
			globalThis.frames_.push(now - last);
			last = now;
			requestAnimationFrame(frame);
		};
		requestAnimationFrame(frame);
		globalThis.most = 0;
		new MutationObserver(() => {
			globalThis.most = Math.max(globalThis.most, document.querySelectorAll('.row').length);
		}).observe(document.getElementById('messages'), { childList: true });
	});
	await flood(server, 'bot', '#long', Array.from({ length: BURST }, (_, i) => text(MESSAGES + i + 1)));
	await message(page, text(MESSAGES + BURST)).waitFor();
	const { frames, most } = await page.evaluate(() => ({ frames: globalThis.frames_.sort((a, b) => a - b), most: globalThis.most }));
	t.diagnostic(`${BURST} arrived: ${frames.length} frames, median ${frames[frames.length >> 1].toFixed(1)} ms, longest ${frames.at(-1).toFixed(1)} ms`);
	assert.ok(most <= 300, `${most} messages in the document`);
	await until(async () => (await page.locator('.row').count()) <= 100, true);
});
