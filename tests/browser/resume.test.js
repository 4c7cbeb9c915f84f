// No message is lost or sent twice, whatever happens to the page or the server.

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

test('a reload keeps the name, the rooms, the messages and the draft', async (t) => {
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

test('the user who changes the topic sees that at its place, once, also after a break and a reload', async (t) => {
	const args = ['--data', folder(t)];
	let server = await chatd(t, args);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const lines = async () => (await page.locator('.row').allInnerTexts()).map((text) => text.split('\n').at(-1)).filter((text) => text);
	await say(page, 'one');
	await bob.expect(/^MSG #lobby ann one$/m);
	await say(page, '/topic all about tea');
	await bob.expect(/^TOPIC #lobby ann all about tea$/m);
	const topic = 'ann changed the topic to all about tea';
	await until(lines, ['one', topic]);
	const restart = async () => {
		await server.stop();
		await page.getByText('Messages that you write now are sent').waitFor();
		server = await chatd(t, args, server.port);
		await page.getByText('Messages that you write now are sent').waitFor({ state: 'hidden' });
	};
	await restart();
	await say(page, 'two');
	await until(lines, ['one', topic, 'two']);
	await say(page, '/topic -');
	await until(lines, ['one', topic, 'two', 'ann removed the topic']);
	const carl = await Nc.named(t, server, 'carl');
	carl.say('MSG three');
	await message(page, 'three').waitFor();
	await restart();
	const all = ['one', topic, 'two', 'ann removed the topic', 'three', 'four'];
	await say(page, 'four');
	await until(lines, all);
	await page.reload();
	await until(lines, all);
});

test('after a restart of the server nothing is missing or repeated, and what was typed meanwhile is sent once', async (t) => {
	const args = ['--data', folder(t)];
	let server = await chatd(t, args);
	const [ann, bob] = [await visitor(t), await visitor(t)];
	await enter(ann, server, 'ann');
	await enter(bob, server, 'bob');
	await say(ann, 'before');
	await message(bob, 'before').waitFor();
	await server.stop();
	await ann.getByText('Messages that you write now are sent').waitFor();
	await bob.getByText('Messages that you write now are sent').waitFor();
	await say(ann, 'typed offline');
	await say(ann, 'and more');
	await message(ann, 'typed offline').waitFor();
	server = await chatd(t, args, server.port);
	const carol = new Nc(t, server);
	carol.say('NICK carol');
	carol.say('MSG first after the restart');
	const all = ['before', 'typed offline', 'and more'];
	for (const page of [ann, bob]) {
		await page.getByText('Messages that you write now are sent').waitFor({ state: 'hidden' });
		await message(page, 'and more').waitFor();
		await until(async () => (await texts(page)).filter((text) => all.includes(text)), all);
		await until(async () => (await texts(page)).filter((text) => text === 'first after the restart').length, 1);
	}
	await until(() => ann.locator('.waiting').count(), 0);
	carol.say('HISTORY #lobby');
	const [history] = await carol.expect(/^PAST [^]*^OK HISTORY \d+/m);
	for (const text of all) assert.equal(history.split(`ann ${text}\n`).length, 2, text);
});

test('a connection that breaks in mid-conversation sends nothing twice', async (t) => {
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
		// Sent and cut in one turn: the page cannot know whether it arrived.
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
	const said = [0, 1, 2, 3, 4].flatMap((i) => [`meanwhile ${i}`, `round ${i}`]).sort();
	await until(async () => (await texts(page)).sort(), said);
	bob.say('HISTORY #lobby');
	const [history] = await bob.expect(/^PAST [^]*^OK HISTORY \d+/m);
	for (let i = 0; i < 5; i++) assert.equal(history.split(`ann round ${i}\n`).length, 2);
});

test('a message that is unsent at a reload is sent once', async (t) => {
	const args = ['--data', folder(t)];
	let server = await chatd(t, args);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await say(page, 'hello');
	await page.locator('.row:not(.waiting) .text', { hasText: 'hello' }).waitFor();
	await server.stop();
	await page.getByText('Messages that you write now are sent').waitFor();
	await say(page, 'kept in the tab');
	await page.evaluate(() => dispatchEvent(new Event('pagehide')));
	await page.goto('about:blank');
	server = await chatd(t, args, server.port);
	await page.goto(server.url);
	await until(() => texts(page), ['hello', 'kept in the tab']);
	await until(() => page.locator('.waiting').count(), 0);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('HISTORY #lobby');
	const [history] = await bob.expect(/^PAST [^]*^OK HISTORY \d+/m);
	assert.equal(history.split('kept in the tab').length, 2);
});
