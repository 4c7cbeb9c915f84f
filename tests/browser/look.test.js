// Where things are on the screen, and how they look.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, message, rewrite, say, until, visitor } from './support.js';

test('a 12-hour clock fits beside the messages', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { locale: 'en-US', timezoneId: 'UTC' });
	await rewrite(page, (line) => line.replace(/^LIVE (\d+) \S+ (MSG.* (\S+))$/, 'LIVE $1 2026-11-22T$3:00.000Z $2'));
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	for (const time of ['12:47', '12:48', '16:09']) bob.say(`MSG at ${time}`);
	await message(page, 'at 16:09').waitFor();
	assert.match(await page.locator('.row.head .at').last().textContent(), /^4:09\sPM$/u);
	await message(page, 'at 12:48').hover();
	const beside = page.locator('.row', { hasText: 'at 12:48' }).locator('.beside');
	assert.equal(await beside.textContent(), '12:48');
	assert.match(await page.locator('.row.head .at').first().textContent(), /^12:47\sPM$/u);
	const [time, text] = await Promise.all([beside, message(page, 'at 12:48')].map((e) => e.evaluate((e) => {
		const range = document.createRange();
		range.selectNodeContents(e);
		return range.getBoundingClientRect().toJSON();
	})));
	assert.ok(time.right <= text.left - 4, `${time.right} ${text.left}`);
	assert.ok(time.left >= 248, 'it begins left of the messages');
});

test('only the names of others are highlighted, and members are sorted by number', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const others = [];
	for (const nick of ['guest-12', 'guest-2', 'guest-102']) others.push(await Nc.named(t, server, nick));
	await say(page, 'I am ann');
	others[0].say('MSG hello ann');
	await message(page, 'hello ann').waitFor();
	await message(page, 'I am ann').waitFor();
	assert.deepEqual(await page.locator('.row', { has: page.locator('mark') }).locator('.text').allTextContents(), ['hello ann']);
	await page.getByRole('button', { name: 'Who is here' }).click();
	await until(() => page.locator('.people .name').allTextContents(), ['ann', 'guest-2', 'guest-12', 'guest-102']);
});

test('with many rooms the sidebar shows the open room and points at unread direct messages', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await page.addInitScript(() => {
		localStorage.setItem('plainchat.me', JSON.stringify({ nick: 'ann', password: 'a password' }));
		for (let i = 10; i < 50; i++) localStorage.setItem(`plainchat.room.#room-${i}`, JSON.stringify({ read: 0, at: i }));
	});
	await page.goto(`${server.url}#room-49`);
	await page.getByRole('heading', { name: '#room-49', exact: true }).waitFor();
	const me = page.locator('#me');
	/** Whether a link of the sidebar is in view and not under the user's name. */
	const isInView = (name) => page.locator('#side li a', { hasText: name }).evaluate((link) => {
		const { left, top, height } = link.getBoundingClientRect();
		return link.contains(document.elementFromPoint(left + 40, top + height / 2));
	});
	await until(() => isInView('room-49'), true);
	// Nothing shows below or behind the user's name.
	const under = await me.evaluate((me) => {
		const { left, top, width } = me.getBoundingClientRect();
		const found = [];
		for (let y = top + 1; y < innerHeight; y += 4) if (!me.contains(document.elementFromPoint(left + width / 2, y))) found.push(y);
		return found;
	});
	assert.deepEqual(under, []);
	await page.locator('#side').evaluate((side) => { side.scrollTop = 0; });
	const bob = await Nc.named(t, server, 'bob');
	bob.say('TELL ann psst');
	const pointer = page.getByRole('button', { name: 'Unread: bob' });
	await pointer.click();
	await until(() => isInView('bob'), true);
	await pointer.waitFor({ state: 'hidden' });
});
