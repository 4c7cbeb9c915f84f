// Keyboard, screen reader, contrast: in light and dark, on a desk and on a phone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { Nc, chatd, enter, input, message, say, until, visitor } from './support.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe-core finds that would keep somebody out. */
async function faults(page) {
	await page.evaluate(axe);
	return page.evaluate(async () => {
		const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] });
		return violations
			.filter(({ impact }) => impact === 'serious' || impact === 'critical')
			.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
	});
}

for (const [where, viewport] of [['a desk', { width: 1200, height: 760 }], ['a phone', { width: 390, height: 780 }]]) {
	for (const colorScheme of ['light', 'dark']) {
		test(`no serious fault on ${where}, ${colorScheme}`, async (t) => {
			const server = await chatd(t);
			const page = await visitor(t, { viewport, colorScheme, reducedMotion: 'reduce' });
			await page.goto(server.url);
			await page.getByRole('button', { name: 'Join the conversation' }).waitFor();
			assert.deepEqual(await faults(page), []);
			await enter(page, server, 'ann');
			// Twelve names, so that every hue is looked at.
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
}

test('all of it with the keyboard', async (t) => {
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
	// Another room, by its first letters.
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
	// Up into the messages, back, and one's own taken back.
	await page.keyboard.press('ArrowUp');
	await page.locator('.row:focus', { hasText: 'coming' }).waitFor();
	await page.keyboard.press('ArrowUp');
	await page.locator('.row:focus', { hasText: 'tea is ready' }).waitFor();
	await page.keyboard.press('ArrowDown');
	page.once('dialog', (dialog) => dialog.accept());
	await page.keyboard.press('Delete');
	await bob.expect(/^REMOVE #tea ann \d+$/m);
	await page.keyboard.press('Escape');
	await page.waitForFunction(() => document.activeElement.id === 'input');
	await page.keyboard.press('Alt+ArrowUp');
	await page.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	// Every stop of Tab can be seen, and none is a trap.
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

test('a screen reader hears what is said, and not what is fetched', async (t) => {
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
