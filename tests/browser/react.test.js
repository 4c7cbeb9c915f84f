// Reactions below a message.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, flood, input, message, say, tool, until, visitor } from './support.js';

const row = (page, text) => page.locator('.row', { has: page.locator('.text', { hasText: text }) });
const chips = (page, text) => async () => (await row(page, text).locator('.chip:not(.more)').allTextContents()).join(' ');

test('reactions are shown with who reacts, and a click adds or withdraws one', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('MSG shall we?');
	const [, id] = await bob.expect(/^OK MSG (\d+)/m);
	for (const emoji of ['👍', '🎉']) bob.say(`REACT ${id} ${emoji}`);
	await bob.expect(/^OK REACT .*\nOK REACT .*\n/m);
	await enter(page, server, 'ann');
	await until(chips(page, 'shall we?'), '👍1 🎉1');
	const chip = (name) => row(page, 'shall we?').getByRole('button', { name });
	await chip('👍 bob').click();
	await bob.expect(new RegExp(`^REACT #lobby ann ${id} 👍$`, 'm'));
	await chip('👍 bob and you').waitFor();
	assert.equal(await chip('👍 bob and you').getAttribute('aria-pressed'), 'true');
	await until(chips(page, 'shall we?'), '👍2 🎉1');
	await chip('👍 bob and you').click();
	await bob.expect(new RegExp(`^UNREACT #lobby ann ${id} 👍$`, 'm'));
	await until(chips(page, 'shall we?'), '👍1 🎉1');
	bob.say(`UNREACT ${id} 👍`);
	bob.say(`REACT ${id} 👀`);
	await until(chips(page, 'shall we?'), '🎉1 👀1');
	// By keyboard: the picker opens, and offers the emoji that was chosen first the next time.
	await row(page, 'shall we?').focus();
	await page.keyboard.press('+');
	const picker = page.getByRole('dialog', { name: 'React with' });
	await picker.getByLabel('Find an emoji', { exact: true }).fill('rocket');
	await page.keyboard.press('Enter');
	await picker.waitFor({ state: 'detached' });
	await bob.expect(new RegExp(`^REACT #lobby ann ${id} 🚀$`, 'm'));
	await until(chips(page, 'shall we?'), '🎉1 👀1 🚀1');
	await page.reload();
	await chip('🚀 you').waitFor();
	await tool(row(page, 'shall we?'), 'React');
	await until(async () => (await picker.locator('.emoji').allTextContents())[0], '🚀');
	await page.keyboard.press('Escape');
	await picker.waitFor({ state: 'detached' });
	bob.say(`REMOVE ${id}`);
	await until(() => page.locator('.chip').count(), 0);
});

test('a name between colons becomes an emoji', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	await input(page).pressSequentially('so :tada: and :rock');
	await page.getByRole('option', { name: '🚀 :rocket:' }).waitFor();
	await input(page).press('Tab');
	assert.equal(await input(page).inputValue(), 'so 🎉 and 🚀 ');
	await input(page).press('Enter');
	await bob.expect(/^MSG #lobby ann so 🎉 and 🚀 ?$/m);
});

test('many messages with reactions and replies scroll, and each is asked about once at most', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await flood(server, 'bot', '#log', Array.from({ length: 300 }, (_, i) => `line ${i}.`));
	const bob = await Nc.named(t, server, 'bob', '#log');
	bob.say('HISTORY #log 300');
	await bob.expect(/^OK HISTORY 300\n/m);
	bob.say('STAMPS on');
	bob.say('HISTORY #log 300');
	const [history] = await bob.expect(/^PAST [^]*^OK HISTORY 300\n/m);
	const ids = [...history.matchAll(/^PAST (\d+) \S+ MSG/gm)].map(([, id]) => id);
	for (const id of ids) bob.say(`REACT ${id} 👍`);
	for (const id of ids.slice(0, 100)) bob.say(`@reply=${id} MSG answer to ${id}.`);
	bob.say('PING done');
	await bob.expect(/^OK PING done\n/m);
	const asked = [];
	page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => /^REACTS/.test(payload) && asked.push(payload)));
	await page.addInitScript(() => {
		globalThis.long = [];
		new PerformanceObserver((list) => globalThis.long.push(...list.getEntries().map(({ duration }) => Math.round(duration)))).observe({ type: 'longtask' });
	});
	await enter(page, server, 'ann', '#log');
	await message(page, `answer to ${ids[99]}.`).waitFor();
	await page.evaluate(() => { globalThis.long.length = 0; });
	while (!(await message(page, 'line 0.').count())) {
		await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
		await page.evaluate(() => new Promise(requestAnimationFrame));
	}
	await row(page, 'line 0.').scrollIntoViewIfNeeded();
	await row(page, 'line 0.').getByRole('button', { name: '👍 bob' }).waitFor();
	t.diagnostic(`long tasks in ms: ${await page.evaluate(() => globalThis.long.join(' '))}`);
	assert.equal(new Set(asked).size, asked.length);
	assert.ok(asked.length < ids.length, `${asked.length} requests`);
});

test('what a broken connection left unanswered about a message is requested again', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const bob = await Nc.named(t, server, 'bob');
	const said = async (line) => {
		bob.say(line);
		return (await bob.expect(/^OK MSG (\d+) .*\n/m))[1];
	};
	const first = await said('MSG shall we?');
	await flood(server, 'bot', '#lobby', Array.from({ length: 300 }, (_, i) => `line ${i}`));
	bob.say(`REACT ${await said(`@reply=${first} MSG yes`)} 👍`);
	await bob.expect(/^OK REACT/m);
	// The first connection answers neither request about the reply, and breaks when it has got both.
	const lost = new Set();
	await page.routeWebSocket(/\/ws$/, (socket) => {
		const real = socket.connectToServer();
		const isFirst = !lost.size;
		socket.onMessage((line) => {
			const [, request] = /^(REACTS|HISTORY #lobby 1) /.exec(line) ?? [];
			if (isFirst && request) lost.add(request);
			if (!isFirst || !lost.size) real.send(line);
			else if (lost.size === 2) socket.close();
		});
	});
	await enter(page, server, 'ann');
	await row(page, 'yes').getByRole('button', { name: '👍 bob' }).waitFor();
	await until(() => row(page, 'yes').locator('.quote').textContent(), 'In reply to bobshall we?');
	assert.deepEqual([...lost].sort(), ['HISTORY #lobby 1', 'REACTS']);
});

test('the tools of a message that is taller than the page stay in sight', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`).join('\n');
	bob.say(`TEXT ${Buffer.byteLength(lines)}\n${lines}`);
	await message(page, 'line 59').waitFor();
	const log = await page.locator('#log').boundingBox();
	await page.mouse.move(log.x + 100, log.y + log.height - 40);
	const reply = row(page, 'line 59').getByRole('button', { name: 'Reply', exact: true });
	await until(async () => {
		const { y, height } = await reply.boundingBox();
		return y >= log.y && y + height <= log.y + log.height;
	}, true);
	await page.mouse.click(log.x + 100, log.y + log.height - 40);
	await reply.click();
	await page.getByText('Replying to').waitFor();
});
