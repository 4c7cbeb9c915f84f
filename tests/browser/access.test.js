// Keyboard, screen reader, contrast, sizes: in light and dark, on a desktop and on a phone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Nc, attach, chatd, choose, enter, input, message, say, transfer, until, visitor } from './support.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Finds buttons without a tooltip, fields whose border is hard to see, and on a phone targets that are hard to hit. */
function ownFaults() {
	const found = [];
	const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
	const luminance = (color) => {
		context.fillStyle = color;
		context.fillRect(0, 0, 1, 1);
		const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const ground = (element) => {
		const color = getComputedStyle(element).backgroundColor;
		return /, 0\)$/.test(color) ? ground(element.parentElement) : color;
	};
	const visible = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility({ visibilityProperty: true }));
	for (const button of visible('button')) if (!button.textContent && !button.title) found.push(`no tooltip: ${button.outerHTML}`);
	for (const field of visible('input, #composer')) {
		const [low, high] = [getComputedStyle(field).borderTopColor, ground(field.parentElement)].map(luminance).sort((a, b) => a - b);
		const contrast = (high + 0.05) / (low + 0.05);
		if (contrast < 3) found.push(`border ${contrast.toFixed(2)}:1: ${field.outerHTML.slice(0, 200)}`);
	}
	if (innerWidth > 640) return found;
	// Links and names in messages are text.
	for (const target of visible('button, a[href], input, textarea, summary, [role="option"]').filter((e) => !e.closest('.quiet, .row a, .row .nick'))) {
		const { width, height } = target.getBoundingClientRect();
		if (width < 43.5 || height < 43.5) found.push(`${width} x ${height} pixels: ${target.outerHTML.slice(0, 200)}`);
	}
	return found;
}

/** Returns what axe-core and `ownFaults` find, in light and dark. */
async function faults(page) {
	if (!(await page.evaluate(() => Boolean(globalThis.axe)))) await page.evaluate(axe);
	const all = [];
	for (const [colorScheme, type, values] of [
		['dark', 'rule', ['color-contrast']],
		['light', 'tag', ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']],
	]) {
		await page.emulateMedia({ colorScheme });
		all.push(...await page.evaluate(ownFaults), ...await page.evaluate(async (runOnly) => {
			const { violations } = await globalThis.axe.run(document, { runOnly });
			return violations
				.filter(({ impact }) => impact === 'serious' || impact === 'critical')
				.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
		}, { type, values }));
	}
	return all;
}

const PLACES = [['a desktop', { width: 1200, height: 760 }], ['a phone', { width: 390, height: 780 }]];

for (const [where, viewport] of PLACES) {
	test(`no serious accessibility fault on ${where}, in light and dark`, async (t) => {
		const server = await chatd(t);
		const page = await visitor(t, { viewport, reducedMotion: 'reduce' });
		await page.goto(server.url);
		await page.getByRole('button', { name: 'Join the conversation' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await enter(page, server, 'ann');
		// Twelve names, to check every hue.
		for (const nick of ['bob', 'carol', 'dan', 'eve', 'fay', 'gus', 'hal', 'ida', 'jon', 'kim', 'lea', 'max']) {
			const peer = await Nc.named(t, server, nick);
			peer.say(`MSG ann: see \`this\` at https://x.example/${nick} in #lobby`);
			peer.say('ME waves');
		}
		await until(() => page.locator('.row').count(), 24);
		await say(page, 'my own words');
		await message(page, 'my own words').waitFor();
		assert.deepEqual(await faults(page), []);
		for (const panel of ['Who is here', 'Search', 'Files']) {
			await page.getByRole('button', { name: panel }).click();
			await page.getByRole('heading', { name: panel }).waitFor();
			assert.deepEqual(await faults(page), []);
			if (where === 'a phone') await page.getByRole('button', { name: 'Close' }).click();
		}
		await input(page).focus();
		await say(page, '/help');
		await page.getByRole('heading', { name: 'Help' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await page.getByRole('button', { name: 'Close' }).click();
		if (where === 'a phone') await page.getByRole('button', { name: 'Rooms' }).click();
		await page.getByRole('button', { name: 'ann, you' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await page.getByRole('button', { name: 'ann, you' }).click();
		await page.getByRole('heading', { name: 'You', exact: true }).waitFor();
		assert.deepEqual(await faults(page), []);
		await server.stop();
		await page.locator('#offline').getByText('No connection').waitFor();
		assert.deepEqual(await faults(page), []);
	});
}

/** A picture of this repository. */
const PICTURE = fileURLToPath(new URL('../../src/web/icon-192.png', import.meta.url));

for (const [where, viewport] of PLACES) {
	test(`no serious accessibility fault on ${where} in what messages can have, nor in the dialogs`, async (t) => {
		const server = await chatd(t);
		const page = await visitor(t, { viewport, reducedMotion: 'reduce' });
		await enter(page, server, 'ann');
		const bob = await Nc.named(t, server, 'bob');
		const lines = (count) => Array.from({ length: count }, (_, i) => `line ${i + 1}`).join('\n');
		const text = (text) => bob.say(`TEXT ${Buffer.byteLength(text)}\n${text}`);
		bob.say('MSG shall we?');
		const [, id] = await bob.expect(/^OK MSG (\d+)/m);
		for (const emoji of ['👍', '🎉']) bob.say(`REACT ${id} ${emoji}`);
		bob.say(`@reply=${id} MSG ann: yes`);
		text(`look:\n\`\`\`\nlet a = 1;\nlet b = 2;\n\`\`\``);
		text(lines(40));
		await attach(page, PICTURE);
		const thumb = page.getByRole('link', { name: 'Show icon-192.png' });
		await thumb.waitFor();
		const reacted = page.locator('.row', { has: page.locator('.chip') });
		await reacted.getByRole('button', { name: '👍 bob' }).click();
		await reacted.locator('.chip[aria-pressed="true"]').waitFor();
		for (const part of ['.quote', '.snippet .copy', '.unfold']) await page.locator(part).waitFor();
		await page.mouse.move(0, 0);
		assert.deepEqual(await faults(page), []);
		for (const part of ['.chip', '.quote', '.copy', '.unfold']) {
			// The buttons of this message are in sight, and its elements are stops of Tab.
			await page.locator('.row', { has: page.locator(part) }).focus();
			await page.locator('.row:focus .row-tools').waitFor();
			assert.deepEqual(await faults(page), []);
		}
		await reacted.focus();
		await page.keyboard.press('+');
		await page.getByRole('dialog', { name: 'React with' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await page.keyboard.press('Escape');
		await page.getByRole('button', { name: /more lines/ }).click();
		await page.getByRole('button', { name: 'Show less' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await input(page).focus();
		await transfer(input(page), 'paste', { text: lines(20) });
		await page.getByText('You pasted 20 lines').waitFor();
		assert.deepEqual(await faults(page), []);
		await choose(page, 'Cancel');
		await transfer(input(page), 'paste', { files: [['alone.png', 'image/png'], ['notes.txt', 'text/plain']] });
		await page.getByRole('dialog', { name: 'Send these 2 files' }).waitFor();
		assert.deepEqual(await faults(page), []);
		await choose(page, 'Cancel');
		await thumb.click();
		await page.getByRole('dialog', { name: 'Picture' }).waitFor();
		assert.deepEqual(await faults(page), []);
	});
}

test('everything works with the keyboard', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const bob = await Nc.named(t, server, 'bob', '#tea');
	bob.say('MSG tea is ready');
	await page.goto(server.url);
	await page.waitForFunction(() => document.activeElement.id === 'welcome-nick');
	await page.getByRole('button', { name: 'Join the conversation' }).waitFor();
	await page.keyboard.type('ann');
	await page.keyboard.press('Enter');
	await page.waitForFunction(() => document.activeElement.id === 'input');
	// The user opens another room by its first letters.
	await page.keyboard.press('Control+k');
	await page.waitForFunction(() => document.activeElement.id === 'find');
	await page.keyboard.type('te');
	await page.locator('#rooms li', { hasText: 'tea' }).waitFor();
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await message(page, 'tea is ready').waitFor();
	await page.waitForFunction(() => document.activeElement.id === 'input');
	await page.keyboard.type('coming');
	await page.keyboard.press('Enter');
	await bob.expect(/^MSG #tea ann coming$/m);
	await until(async () => Boolean(await page.locator('.row', { hasText: 'coming' }).getAttribute('data-id')), true);
	// The user moves up into the messages and down again, and deletes a message.
	await page.keyboard.press('PageUp');
	await page.locator('.row:focus', { hasText: 'coming' }).waitFor();
	await page.keyboard.press('ArrowUp');
	await page.locator('.row:focus', { hasText: 'tea is ready' }).waitFor();
	await page.keyboard.press('ArrowDown');
	await page.keyboard.press('Delete');
	await page.getByRole('dialog', { name: 'Delete this message for everyone?' }).waitFor();
	await page.keyboard.press('Enter');
	await bob.expect(/^REMOVE #tea ann \d+$/m);
	await page.keyboard.press('Escape');
	await page.waitForFunction(() => document.activeElement.id === 'input');
	await page.keyboard.press('Alt+ArrowUp');
	await page.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	// Every stop of Tab is visible, and none is a trap.
	const stops = new Set();
	for (let i = 0; i < 40; i++) {
		await page.keyboard.press('Tab');
		const stop = await page.evaluate(() => {
			const element = document.activeElement;
			const { width, height } = element.getBoundingClientRect();
			return element === document.body ? null : { name: element.id || element.ariaLabel || element.textContent, isSeen: width > 0 && height > 0 };
		});
		if (!stop) continue;
		assert.ok(stop.isSeen, `${stop.name} has the focus and cannot be seen`);
		stops.add(stop.name);
	}
	for (const name of ['find', 'input', 'attach', 'me', 'log']) assert.ok(stops.has(name), `${name} is not reached by Tab: ${[...stops]}`);
});

test('a screen reader reads new messages, and not loaded history', async (t) => {
	const server = await chatd(t);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('MSG before');
	await bob.expect(/^OK MSG/m);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await message(page, 'before').waitFor();
	const said = page.locator('[aria-live="polite"]');
	assert.equal(await said.textContent(), '');
	bob.say('MSG hello');
	await until(() => said.textContent(), 'bob: hello');
});
