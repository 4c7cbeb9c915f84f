// Nothing that was typed or said is lost or doubled, whatever happens to the page or the server.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { Nc, chatd, enter, input, message, say, texts, until, visitor } from './support.js';

function folder(t) {
	const path = mkdtempSync(join(tmpdir(), 'chatd-'));
	t.after(() => rmSync(path, { recursive: true, force: true }));
	return path;
}

test('a reload loses nothing: who one is, rooms, what was said, the draft', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann', '#tea');
	await say(page, '/join #cake');
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	await say(page, 'lemon');
	await say(page, 'or plum');
	await input(page).fill('half a sentence');
	await page.reload();
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	await until(() => texts(page), ['lemon', 'or plum']);
	assert.equal(await input(page).inputValue(), 'half a sentence');
	await page.getByRole('link', { name: 'tea' }).click();
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	assert.equal(await input(page).inputValue(), '');
	await page.getByRole('link', { name: 'cake' }).click();
	await until(() => input(page).inputValue(), 'half a sentence');
});

test('a server that is restarted: no gap, no repeat, and what was typed meanwhile is said once', async (t) => {
	const args = ['--data', folder(t)];
	let server = await chatd(t, args);
	const [ann, bob] = [await visitor(t), await visitor(t)];
	await enter(ann, server, 'ann');
	await enter(bob, server, 'bob');
	await say(ann, 'before');
	await message(bob, 'before').waitFor();
	await server.stop();
	await ann.getByText('What you write is kept').waitFor();
	await bob.getByText('What you write is kept').waitFor();
	await say(ann, 'typed while away');
	await say(ann, 'and more');
	await message(ann, 'typed while away').waitFor();
	// What is on its way survives a reload of a page that cannot even be fetched: it is kept in the tab.
	server = await chatd(t, args, server.port);
	const carol = new Nc(t, server);
	carol.say('NICK carol');
	carol.say('MSG first after the restart');
	const all = ['before', 'typed while away', 'and more'];
	for (const page of [ann, bob]) {
		await page.getByText('What you write is kept').waitFor({ state: 'hidden' });
		await message(page, 'and more').waitFor();
		await until(async () => (await texts(page)).filter((text) => all.includes(text)), all);
		await until(async () => (await texts(page)).filter((text) => text === 'first after the restart').length, 1);
	}
	await until(() => ann.locator('.waiting').count(), 0);
	carol.say('HISTORY #lobby');
	const [history] = await carol.expect(/(PAST .*\n)+OK HISTORY \d+/);
	for (const text of all) assert.equal(history.split(`ann ${text}\n`).length, 2, text);
});

test('a connection that breaks in mid-conversation says nothing twice', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await page.addInitScript(() => {
		// The page's sockets, so that the test can cut them.
		const sockets = [];
		globalThis.cut = () => sockets.at(-1).close();
		globalThis.WebSocket = class extends WebSocket {
			constructor(...args) {
				super(...args);
				sockets.push(this);
			}
		};
	});
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	for (let round = 0; round < 5; round++) {
		// Said and cut in one turn: whether it arrived is unknown to the page.
		await page.evaluate((round) => {
			const input = document.getElementById('input');
			input.value = `round ${round}`;
			input.form.requestSubmit();
			globalThis.cut();
		}, round);
		bob.say(`MSG meanwhile ${round}`);
		await page.locator('.row:not(.waiting) .text', { hasText: `round ${round}` }).waitFor();
		await message(page, `meanwhile ${round}`).waitFor();
	}
	const said = (await texts(page)).sort();
	assert.deepEqual(said, [0, 1, 2, 3, 4].flatMap((i) => [`meanwhile ${i}`, `round ${i}`]).sort());
	bob.say('HISTORY #lobby');
	const [history] = await bob.expect(/(PAST .*\n)+OK HISTORY \d+/);
	for (let i = 0; i < 5; i++) assert.equal(history.split(`ann round ${i}\n`).length, 2);
});

test('a reload with something unsent says it once', async (t) => {
	const args = ['--data', folder(t)];
	let server = await chatd(t, args);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await say(page, 'hello');
	await page.locator('.row:not(.waiting) .text', { hasText: 'hello' }).waitFor();
	await server.stop();
	await page.getByText('What you write is kept').waitFor();
	await say(page, 'kept in the tab');
	await page.evaluate(() => dispatchEvent(new Event('pagehide')));
	await page.goto('about:blank');
	server = await chatd(t, args, server.port);
	await page.goto(server.url);
	await until(() => texts(page), ['hello', 'kept in the tab']);
	await until(() => page.locator('.waiting').count(), 0);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('HISTORY #lobby');
	const [history] = await bob.expect(/(PAST .*\n)+OK HISTORY \d+/);
	assert.equal(history.split('kept in the tab').length, 2);
});
