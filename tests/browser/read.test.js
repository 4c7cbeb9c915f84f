// Unread messages, history and search.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, flood, message, register, rewrite, say, texts, until, visitor } from './support.js';

const numbered = (count, from = 1) => Array.from({ length: count }, (_, i) => `line ${from + i}`);

test('unread messages and mentions are counted, also after a reload, until they are read', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann', '#tea');
	await say(ann, '/join #cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	const bob = await Nc.named(t, server, 'bob', '#tea');
	const badge = ann.locator('#rooms li', { hasText: 'tea' }).locator('.badge');
	bob.say('MSG one');
	bob.say('MSG two');
	await until(() => badge.textContent(), '2');
	await until(() => ann.title(), '• #cake – plainchat');
	bob.say('MSG annual report: no mention');
	bob.say('MSG hey Ann, are you there?');
	await until(() => badge.textContent(), '1'); // one mention, of four unread messages
	await until(() => ann.title(), '(1) #cake – plainchat');
	await ann.reload();
	await until(() => ann.title(), '(1) #cake – plainchat');
	await ann.getByRole('link', { name: 'tea' }).click();
	await message(ann, 'are you there?').waitFor();
	await ann.getByRole('separator', { name: 'New' }).waitFor();
	const after = await ann.locator('.new-line ~ .row .text').allTextContents();
	assert.equal(after[0], 'one');
	await until(() => badge.count(), 0);
	await until(() => ann.title(), '#tea – plainchat');
	assert.equal(await ann.locator('mark', { hasText: 'Ann' }).count(), 1);
});

test('a mention counts on the icon of an installed page, and plays a sound if the user wants that', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await ann.addInitScript(() => {
		globalThis.heard = 0;
		const start = OscillatorNode.prototype.start;
		OscillatorNode.prototype.start = function (...when) {
			globalThis.heard += 1;
			return start.apply(this, when);
		};
		navigator.setAppBadge = async (count) => { globalThis.onIcon = count; };
	});
	await enter(ann, server, 'ann', '#tea');
	await say(ann, '/join #cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	const bob = await Nc.named(t, server, 'bob', '#tea');
	const heard = () => ann.evaluate(() => globalThis.heard);
	bob.say('MSG hello ann');
	await until(() => ann.evaluate(() => globalThis.onIcon), 1);
	assert.equal(await heard(), 0);
	await ann.getByRole('button', { name: 'ann, you' }).click();
	await ann.getByRole('button', { name: 'Play a sound' }).click();
	await ann.getByRole('button', { name: 'Play no sound' }).waitFor();
	const before = await heard();
	bob.say('MSG nothing to hear');
	bob.say('MSG @room: all of you');
	await until(() => ann.evaluate(() => globalThis.onIcon), 2);
	await until(heard, 2 * before);
	await ann.getByRole('link', { name: 'tea' }).click();
	await ann.locator('mark', { hasText: '@room' }).waitFor();
	await until(() => ann.evaluate(() => globalThis.onIcon), 0);
});

test('the icon of the tab has a dot while messages are unread, a red one for a mention', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await ann.addInitScript(() => delete Navigator.prototype.setAppBadge); // as on a page without TLS
	await enter(ann, server, 'ann', '#tea');
	await say(ann, '/join #cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	const href = () => ann.locator('link[rel="icon"]').evaluate((link) => link.href);
	/** Returns the color of the icon at its dot, as the browser draws it. */
	const dot = () => ann.evaluate(async () => {
		const image = new Image(32, 32);
		image.src = document.querySelector('link[rel="icon"]').href;
		await image.decode();
		const context = document.createElement('canvas').getContext('2d');
		context.drawImage(image, 0, 0, 32, 32);
		return [...context.getImageData(24, 8, 1, 1).data];
	});
	const plain = await dot();
	const bob = await Nc.named(t, server, 'bob', '#tea');
	bob.say('MSG hello');
	await until(dot, [0x77, 0x77, 0x77, 255]);
	bob.say('MSG hello ann');
	await until(dot, [0xdd, 0x22, 0x22, 255]);
	await ann.getByRole('link', { name: 'tea' }).click();
	await until(href, `${server.url}icon.svg`);
	assert.deepEqual(await dot(), plain);
});

test('@room mentions everybody only if the owner, a moderator or an operator says it', async (t) => {
	const server = await chatd(t);
	const cid = await Nc.named(t, server, 'cid');
	cid.say('REGISTER a secret');
	cid.say('JOIN #tea');
	await cid.expect(/^OK JOIN #tea/m);
	const ann = await visitor(t);
	await enter(ann, server, 'ann', '#tea');
	await say(ann, '/join #cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	const bob = await Nc.named(t, server, 'bob', '#tea');
	bob.say('MSG @room: I may not do that');
	await bob.expect(/^OK MSG/m);
	cid.say('MSG @room: I may');
	const badge = ann.locator('#rooms li', { hasText: 'tea' }).locator('.badge');
	await until(() => badge.textContent(), '1'); // one mention, of two unread messages
	await ann.getByRole('link', { name: 'tea' }).click();
	await message(ann, 'I may not do that').waitFor();
	assert.deepEqual(await ann.locator('mark').allTextContents(), ['@room']);
	assert.equal(await message(ann, 'I may not do that').locator('mark').count(), 0);
});

test('scrolling loads history, and the document stays small', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', numbered(3000));
	const page = await visitor(t);
	await enter(page, server, 'ann', '#log');
	await message(page, 'line 3000').waitFor();
	assert.ok(await page.locator('.row').count() <= 300);
	await page.locator('#log').focus();
	// The user scrolls up to the first message, as fast as the page loads the log.
	for (;;) {
		const first = (await texts(page))[0];
		if (first === 'line 1') break;
		await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
		await until(async () => (await texts(page))[0] !== first, true);
		assert.ok(await page.locator('.row').count() <= 700);
	}
	await page.locator('#log').evaluate((log) => { log.scrollTop = 0; });
	await page.getByText('This is where #log begins').waitFor();
	let found = (await texts(page)).map((text) => Number(text.slice(5)));
	for (let i = 1; i < found.length; i++) assert.equal(found[i], found[i - 1] + 1);
	// A new message waits below, and one click goes there.
	await Nc.named(t, server, 'bob', '#log').then((bob) => bob.say('MSG still here?'));
	await page.getByRole('button', { name: '1 new' }).click();
	await message(page, 'still here?').waitFor();
	found = await texts(page);
	assert.equal(found.at(-1), 'still here?');
	assert.equal(found.at(-2), 'line 3000');
});

test('new messages cause no requests for history, on a tall screen too', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', numbered(1000));
	const page = await visitor(t, { viewport: { width: 1200, height: 3000 } });
	const asked = [];
	page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => /^HISTORY/.test(payload) && asked.push(payload)));
	await enter(page, server, 'ann', '#log');
	await message(page, 'line 1000').waitFor();
	for (let i = 0; i < 10; i++) {
		await flood(server, 'bob', '#log', numbered(10).map((line) => `more ${i} ${line}`));
		await message(page, `more ${i} line 10`).last().waitFor();
	}
	assert.ok(asked.length <= 3, asked.join());
	const shown = await texts(page);
	assert.equal(new Set(shown).size, shown.length);
	assert.ok(shown.length > 150, `${shown.length} messages`); // they fill the screen
});

test('scrolling down again reaches the end without gap or repeat', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', numbered(1500));
	const page = await visitor(t);
	await enter(page, server, 'ann', '#log');
	await message(page, 'line 1500').waitFor();
	const log = page.locator('#log');
	while ((await texts(page)).at(-1) === 'line 1500') {
		const first = (await texts(page))[0];
		await log.evaluate((log) => { log.scrollTop = 0; });
		await until(async () => (await texts(page))[0] !== first, true);
	}
	for (;;) {
		const found = (await texts(page)).map((text) => Number(text.slice(5)));
		for (let i = 1; i < found.length; i++) assert.equal(found[i], found[i - 1] + 1);
		if (found.at(-1) === 1500) break;
		await log.evaluate((log) => { log.scrollTop = log.scrollHeight; });
		await until(async () => Number((await texts(page)).at(-1).slice(5)) > found.at(-1), true);
	}
});

test('loading older messages does not move those in view', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', numbered(1000));
	const page = await visitor(t);
	await enter(page, server, 'ann', '#log');
	await message(page, 'line 1000').waitFor();
	const moved = await page.evaluate(async () => {
		const log = document.getElementById('log');
		const count = document.querySelectorAll('.row').length;
		log.scrollTop = 500;
		const row = [...document.querySelectorAll('.row')].find((row) => row.offsetTop > log.scrollTop);
		const at = row.getBoundingClientRect().top;
		while (document.querySelectorAll('.row').length < count + 90) await new Promise(requestAnimationFrame);
		return row.getBoundingClientRect().top - at;
	});
	assert.ok(Math.abs(moved) < 1.5, `moved by ${moved} pixels`);
});

test('search finds a message and goes to it', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', [...numbered(40), 'the Needle is here', ...numbered(1000, 41)]);
	const page = await visitor(t);
	let isSlow = false;
	await rewrite(page, (line) => (isSlow ? line.replace(/^OK SEARCH \d+$/, '$& cut') : line));
	await enter(page, server, 'ann', '#log');
	await page.getByRole('button', { name: 'Search' }).click();
	await page.getByLabel('Words', { exact: true }).fill('needle HERE');
	await page.keyboard.press('Enter');
	await page.getByText('1 found').waitFor();
	await page.getByRole('button', { name: /the Needle is here/ }).click();
	await page.locator('.row:focus .text', { hasText: 'the Needle is here' }).waitFor();
	await until(async () => (await texts(page)).includes('line 40') && (await texts(page)).includes('line 41'), true);
	await page.getByRole('button', { name: 'To the newest' }).click();
	await message(page, 'line 1040').waitFor();
	await page.getByLabel('Words', { exact: true }).fill('nothing-of-the-kind');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await page.getByText('No messages contain').waitFor();
	// More messages match than a search returns, or than the server could search in its time.
	await page.getByLabel('Words', { exact: true }).fill('line');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await page.getByText('Showing the newest 100.').waitFor();
	await page.getByRole('button', { name: 'Show older' }).click();
	await page.getByText('Showing the newest 200.').waitFor();
	assert.equal(new Set(await page.locator('.results .text').allTextContents()).size, 200);
	assert.deepEqual([...new Set(await page.locator('.results mark').allTextContents())], ['line']);
	isSlow = true;
	await page.getByLabel('Words', { exact: true }).fill('needle');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await page.getByText('Showing the newest 1.').waitFor();
	await page.getByRole('button', { name: 'Show older' }).click();
	await page.getByText('Showing the newest 1. The search took too long to find older ones').waitFor();
});

test('a search in all rooms finds what the user may read, by everyone or by one', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const [bob, carol] = [await Nc.named(t, server, 'bob', '#tea'), await Nc.named(t, server, 'carol')];
	carol.say('REGISTER her secret');
	await carol.expect(/^OK REGISTER/m);
	for (const line of ['JOIN #vault', 'MODE invite', 'MSG gold at the harbour', 'TELL #tea harbour at noon']) carol.say(line);
	await carol.expect(/^OK TELL/m);
	bob.say('MSG I like the Harbour');
	await bob.expect(/^OK MSG/m);
	await enter(page, server, 'ann');
	await page.getByRole('button', { name: 'Search' }).click();
	await page.getByLabel('Words', { exact: true }).fill('harbour');
	await page.keyboard.press('Enter');
	await page.getByText('No messages contain all these words.').waitFor();
	await page.getByLabel('Where', { exact: true }).selectOption('All rooms');
	const found = () => page.locator('.results .text').allTextContents();
	await until(found, ['I like the Harbour', 'harbour at noon']);
	assert.match(await page.locator('.results button').first().textContent(), /^bob #tea, /);
	await page.getByLabel('Words', { exact: true }).fill('harbour from:carol');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await until(found, ['harbour at noon']);
	assert.deepEqual(await page.locator('.results mark').allTextContents(), ['harbour']);
	await page.getByRole('button', { name: /harbour at noon/ }).click();
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await page.locator('.row:focus .text', { hasText: 'harbour at noon' }).waitFor();
});

test('a search in direct messages finds those that the server or the page has, of one user or of all', async (t) => {
	const server = await chatd(t);
	const [bob, carol] = [await Nc.named(t, server, 'bob'), await Nc.named(t, server, 'carol')];
	carol.say('REGISTER her secret');
	await carol.expect(/^OK REGISTER/m);
	const page = await visitor(t);
	await register(page, server, 'ann');
	carol.say('TELL ann harbour at noon');
	await carol.expect(/^OK TELL/m);
	bob.say('TELL ann more to come');
	await bob.expect(/^OK TELL/m);
	for (let i = 0; i < 210; i++) carol.say(`TELL ann more ${i}`);
	await page.locator('#people').getByRole('link', { name: /carol/ }).click();
	await message(page, 'more 209').waitFor();
	assert.equal(await message(page, 'harbour at noon').count(), 0);
	bob.say('TELL ann which Harbour?');
	bob.say('MSG the harbour, in the lobby');
	await bob.expect(/^OK MSG/m);
	const found = () => page.locator('.results .text').allTextContents();
	await page.getByRole('button', { name: 'Search' }).click();
	await page.getByLabel('Words', { exact: true }).fill('harbour');
	await page.keyboard.press('Enter');
	await until(found, ['harbour at noon']);
	await page.getByLabel('Where', { exact: true }).selectOption('All direct messages');
	await until(found, ['which Harbour?', 'harbour at noon']);
	await page.getByLabel('Where', { exact: true }).selectOption('carol');
	await until(found, ['harbour at noon']);
	await page.getByRole('button', { name: /harbour at noon/ }).click();
	await page.locator('.row:focus .text', { hasText: 'harbour at noon' }).waitFor();
	// It stays while the user reads it.
	carol.say('TELL ann more 210');
	await page.getByRole('button', { name: '1 new' }).waitFor();
	assert.equal(await message(page, 'harbour at noon').count(), 1);
	await page.getByLabel('Where', { exact: true }).selectOption('All direct messages');
	await page.getByRole('button', { name: /which Harbour/ }).click();
	await page.getByRole('heading', { name: 'bob', exact: true }).waitFor();
	await page.locator('.row:focus .text', { hasText: 'which Harbour?' }).waitFor();
	// Each page has all messages of its time, from the server and from the browser.
	await page.getByLabel('Words', { exact: true }).fill('more');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await page.getByLabel('Where', { exact: true }).selectOption('All direct messages');
	const numbers = Array.from({ length: 211 }, (_, i) => `more ${210 - i}`);
	await until(found, numbers.slice(0, 100));
	await page.getByRole('button', { name: 'Show older' }).click();
	await until(found, numbers.slice(0, 200));
	await page.getByRole('button', { name: 'Show older' }).click();
	await until(found, [...numbers, 'more to come']);
	await page.getByLabel('Words', { exact: true }).fill('from:bob');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await until(found, []);
	await page.getByLabel('Where', { exact: true }).selectOption('All rooms');
	await page.getByLabel('Words', { exact: true }).fill('harbour');
	await page.getByLabel('Words', { exact: true }).press('Enter');
	await until(found, ['the harbour, in the lobby']);
});

test('mentions in other rooms and direct messages are notified, each time', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await page.addInitScript(() => {
		// Headless Chromium shows none: the test collects them.
		globalThis.shown = [];
		globalThis.Notification = class {
			static permission = 'granted';
			constructor(title, options) {
				globalThis.shown.push(`${title}: ${options.body}${options.renotify ? '' : ' (silent)'}`);
			}
		};
	});
	await enter(page, server, 'ann', '#tea');
	await say(page, '/join #cake');
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	const bob = await Nc.named(t, server, 'bob', '#tea');
	bob.say('MSG nothing of interest');
	bob.say('MSG ann: tea is ready');
	bob.say('MSG ann: it gets cold');
	bob.say('TELL ann psst');
	await until(() => page.evaluate(() => globalThis.shown.sort()), ['bob in #tea: ann: it gets cold', 'bob in #tea: ann: tea is ready', 'bob: psst']);
});

test('messages that the user sees arrive are not marked as new', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann', '#tea');
	const bob = await Nc.named(t, server, 'bob', '#tea');
	const line = page.getByRole('separator', { name: 'New' });
	for (const text of numbered(4)) {
		bob.say(`MSG ${text}`);
		await message(page, text).waitFor();
		assert.equal(await line.count(), 0);
	}
	assert.equal(await page.locator('.row.head').count(), 1);
	// Messages that arrive while the user is in another room are marked, and the mark stays where it is.
	await say(page, '/join #cake');
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	bob.say('MSG line 5');
	await page.locator('#rooms .badge', { hasText: '1' }).waitFor();
	await page.getByRole('link', { name: 'tea' }).click();
	await line.waitFor();
	bob.say('MSG line 6');
	await message(page, 'line 6').waitFor();
	assert.deepEqual(await page.locator('.new-line ~ .row .text').allTextContents(), numbered(2, 5));
});

test('in a long series of one user the name is repeated', async (t) => {
	const server = await chatd(t);
	await flood(server, 'bot', '#log', numbered(90));
	const page = await visitor(t);
	await enter(page, server, 'ann', '#log');
	await message(page, 'line 90').waitFor();
	const isHead = await page.locator('.row').evaluateAll((rows) => rows.map((row) => row.classList.contains('head')));
	for (let i = 0; i + 30 <= isHead.length; i++) assert.ok(isHead.slice(i, i + 30).includes(true), `no name in rows ${i} to ${i + 30}`);
	assert.ok(isHead.filter(Boolean).length < 12);
});

test('the date is above the first message of a day, also when the clock has gone back', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { timezoneId: 'UTC' });
	await rewrite(page, (line) => line.replace(/^(LIVE \d+) \S+ (MSG #tea bob \S+ (\S+))$/, '$1 $3 $2'));
	await enter(page, server, 'ann', '#tea');
	const bob = await Nc.named(t, server, 'bob', '#tea');
	const times = ['2026-11-18T23:58:00Z', '2026-11-19T00:01:00Z', '2026-11-18T23:59:00Z', '2026-11-19T00:00:00Z'];
	for (const [i, time] of times.entries()) bob.say(`MSG ${i} ${time}`);
	await message(page, times[3]).waitFor();
	// Without the date of bob's join, and the comma that some versions put into a date.
	const shown = async () => (await page.locator('.date, .row .text').allTextContents()).filter((text) => text !== 'Today').map((text) => text.replace(',', ''));
	const dates = ['Wednesday 18 November 2026', 'Thursday 19 November 2026'];
	await until(shown, times.flatMap((time, i) => [dates[i % 2], `${i} ${time}`]));
	await say(page, '/join #cake');
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	await until(shown, []);
});

test('what a registered user has read on one device is read on the others', async (t) => {
	const server = await chatd(t);
	const ann = await Nc.named(t, server, 'ann', '#tea');
	ann.say('REGISTER only mine');
	await ann.expect(/^OK REGISTER ann$/m);
	const device = async () => {
		const page = await visitor(t);
		// It has been in both rooms, and has read nothing.
		await page.addInitScript(() => {
			const put = (name, value) => localStorage.setItem(`plainchat.${name}`, JSON.stringify(value));
			put('me', { nick: 'ann', password: 'only mine' });
			for (const at of [1, 2]) put(`room.#${['tea', 'cake'][at - 1]}`, { read: 0, at });
		});
		await page.goto(`${server.url}#cake`);
		await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
		return page;
	};
	const badge = (page) => page.locator('#rooms li', { hasText: 'tea' }).locator('.badge');
	const [laptop, phone] = [await device(), await device()];
	const bob = await Nc.named(t, server, 'bob', '#tea');
	bob.say('MSG one');
	for (const page of [laptop, phone]) await until(() => badge(page).allTextContents(), ['1']);
	await laptop.getByRole('link', { name: 'tea' }).click();
	for (const page of [laptop, phone]) await until(() => badge(page).allTextContents(), []);
	// A page in the background shows a message, but nobody reads it there.
	await laptop.evaluate(() => { document.hasFocus = () => false; });
	bob.say('MSG two');
	bob.say('MSG three');
	await message(laptop, 'three').waitFor();
	await until(() => badge(phone).allTextContents(), ['2']);
	ann.say('READERS');
	const [, seen] = await ann.expect(/^READER #tea me (\d+)$/m);
	ann.say('HISTORY #tea 2');
	const [, two] = await ann.expect(/^PAST (\d+) \S+ MSG #tea bob two$/m);
	assert.ok(Number(seen) < Number(two), `${seen} ${two}`);
	await laptop.evaluate(() => {
		document.hasFocus = () => true;
		dispatchEvent(new Event('focus'));
	});
	await until(() => badge(phone).allTextContents(), []);
	// Another device knows it when it comes.
	await laptop.evaluate(() => { document.hasFocus = () => false; });
	bob.say('MSG four');
	await until(() => badge(phone).allTextContents(), ['1']);
	const tablet = await device();
	await until(() => badge(tablet).allTextContents(), ['1']);
});
