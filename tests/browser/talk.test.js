// Browsers and nc in one conversation.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { Nc, attach, chatd, choose, enter, input, message, register, say, sent, texts, tool, until, visitor } from './support.js';

test('two browsers and nc talk', async (t) => {
	const server = await chatd(t);
	const [ann, bob] = [await visitor(t), await visitor(t)];
	const carol = await Nc.named(t, server, 'carol');
	await enter(ann, server, 'ann');
	await enter(bob, server, 'bob');
	await say(ann, 'hello from a browser');
	await message(bob, 'hello from a browser').waitFor();
	await carol.expect(/^MSG #lobby ann hello from a browser$/m);
	carol.say('MSG hello from nc');
	await message(ann, 'hello from nc').waitFor();
	await message(bob, 'hello from nc').waitFor();
	await say(bob, 'one\n\n  two');
	await carol.expect(/^MSG #lobby bob one\nMSG #lobby bob\nMSG #lobby bob {3}two$/m);
	await say(ann, '/me waves');
	await carol.expect(/^ME #lobby ann waves$/m);
	await message(bob, 'ann waves').waitFor();
	const said = ['hello from a browser', 'hello from nc', 'one\n\n  two'];
	for (const page of [ann, bob]) await until(async () => (await texts(page)).slice(0, 3), said);
});

test('what is laid out with spaces has columns, also before the server has it', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	const carol = await Nc.named(t, server, 'carol');
	await enter(ann, server, 'ann');
	const table = 'sda1     98%\nsdb1 #2  12%';
	carol.say(`TEXT ${table.length}\n${table}`);
	await say(ann, '    x = y +\n        ^ SyntaxError');
	await say(ann, 'one\ntwo');
	await sent(ann, 'two');
	// The place where a word begins, in pixels.
	const place = (text, at) => message(ann, text).evaluate(({ firstChild }, at) => {
		const range = document.createRange();
		range.setStart(firstChild, at);
		range.setEnd(firstChild, at + 1);
		return Math.round(range.getBoundingClientRect().left);
	}, at);
	assert.equal(await place('sda1', table.indexOf('98')), await place('sda1', table.indexOf('12%')));
	assert.equal(await place('SyntaxError', 8), await place('SyntaxError', 20));
	const isMono = (text) => message(ann, text).evaluate((element) => getComputedStyle(element).fontFamily.includes('monospace'));
	for (const [text, expected] of [['sda1', true], ['SyntaxError', true], ['two', false]]) assert.equal(await isMono(text), expected, text);
});

test('what a registered user sends in a conversation is seen on the user\'s other devices at once', async (t) => {
	const server = await chatd(t);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('REGISTER only mine');
	await bob.expect(/^OK REGISTER bob$/m);
	const laptop = await visitor(t);
	await register(laptop, server, 'ann');
	const me = await laptop.evaluate(() => localStorage.getItem('plainchat.me'));
	const phone = await visitor(t);
	await phone.addInitScript((me) => localStorage.setItem('plainchat.me', me), me);
	await phone.goto(server.url);
	await phone.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	await say(laptop, '/msg bob psst');
	await sent(laptop, 'psst');
	await attach(laptop, { name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') });
	await bob.expect(/^FILE bob ann \d+ 5 plan.txt$/m);
	// It is not news.
	const link = phone.locator('#people').getByRole('link', { name: 'bob' });
	await link.waitFor();
	assert.equal(await phone.locator('#people .badge').count(), 0);
	await link.click();
	for (const page of [laptop, phone]) {
		await message(page, 'psst').waitFor();
		await until(() => page.locator('#messages .name').allTextContents(), ['plan.txt']);
	}
	await say(phone, 'from my phone');
	await message(laptop, 'from my phone').waitFor();
	await say(phone, '/remove');
	await choose(phone, 'Delete');
	await until(() => message(laptop, 'from my phone').count(), 0);
	await until(() => laptop.locator('.row').count(), 3);
});

test('an edited message shows its new text, also to a page that is opened later', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	const carol = await Nc.named(t, server, 'carol');
	await enter(ann, server, 'ann');
	carol.say('MSG the meeting is at ten');
	const [, id] = await carol.expect(/^OK MSG (\d+)/m);
	await message(ann, 'the meeting is at ten').waitFor();
	carol.say(`REACT ${id} 👍`);
	carol.say(`EDIT ${id} the meeting is at eleven`);
	await message(ann, 'the meeting is at eleven (edited)').waitFor();
	const bob = await visitor(t);
	await enter(bob, server, 'bob');
	await message(bob, 'the meeting is at eleven (edited)').waitFor();
	for (const page of [ann, bob]) assert.equal(await message(page, 'the meeting is at ten').count(), 0);
});

test('a new user chooses a name, and sees why one is refused', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await Nc.named(t, server, 'ann', '#tea');
	await page.goto(server.url);
	await page.getByText('1 in #tea').waitFor();
	await page.getByLabel('Your name', { exact: true }).fill('ANN');
	await page.keyboard.press('Enter');
	await page.getByText('The name ANN is taken. Pick another one, or enter its password below.').waitFor();
	await page.getByLabel('Password', { exact: true }).waitFor(); // unfolded
	assert.equal(await page.locator('#app').isVisible(), false);
	await page.getByLabel('Your name', { exact: true }).fill('anna');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
});

test('the search field shows the rooms of the server', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await Nc.named(t, server, 'bob', '#tea');
	await enter(page, server, 'ann');
	const links = () => page.locator('#rooms a').allTextContents();
	await until(links, ['#lobby']);
	await page.getByRole('searchbox', { name: /^Find or create/ }).click();
	await until(links, ['#lobby', '#tea1 here']);
	await input(page).click();
	await until(links, ['#lobby']);
	await page.keyboard.press('Control+k');
	await page.getByRole('link', { name: 'tea' }).click();
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await until(links, ['#lobby', '#tea']);
});

test('a link opens its room, and its message', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann', '#tea');
	await ann.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await say(ann, 'the kettle is on');
	const row = ann.locator('.row[data-id]', { hasText: 'the kettle is on' });
	await row.waitFor();
	await until(async () => Number(await row.getAttribute('data-id')) > 0, true);
	const id = await row.getAttribute('data-id');
	assert.equal(new URL(ann.url()).hash, '#tea');
	await say(ann, '/join cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	await until(async () => new URL(ann.url()).hash, '#cake');
	await ann.evaluate((id) => { location.hash = `#tea/${id}`; }, id);
	await ann.locator(`.row[data-id="${id}"]:focus`).waitFor();
	await ann.goBack();
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	// Links that lead nowhere.
	await ann.evaluate((id) => { location.hash = `#cake/${id}`; }, id);
	await ann.getByText(`Message ${id} is not in #cake. It was deleted, or belongs to another room.`).waitFor();
	await ann.evaluate(() => { location.hash = '#no%20such%20room'; });
	await ann.getByText('A room cannot be called #no such room. Names can only contain').waitFor();
});

/** Opens the page for ann, who is in #tea and #cake, and sees #cake. */
async function inTwoRooms(t) {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann', '#tea');
	await ann.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await say(ann, '/join cake');
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	return { server, ann };
}

test('a link that is clicked at the moment when the page draws another room is followed', async (t) => {
	const { server, ann } = await inTwoRooms(t);
	// Here the page draws its first room only when it has joined all rooms. The click comes just before that.
	await ann.addInitScript(() => {
		const { requestAnimationFrame } = globalThis;
		globalThis.requestAnimationFrame = () => 0;
		let loaded = 0;
		globalThis.WebSocket = class extends WebSocket {
			constructor(...args) {
				super(...args);
				this.addEventListener('message', ({ data }) => {
					if (!data.startsWith('OK HISTORY') || ++loaded !== 2) return;
					globalThis.requestAnimationFrame = requestAnimationFrame;
					location.hash = '#cake';
				});
			}
		};
	});
	await ann.goto('about:blank');
	await ann.goto(server.url);
	await ann.locator('#rooms').getByRole('link', { name: /tea/ }).waitFor();
	await ann.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	assert.equal(new URL(ann.url()).hash, '#cake');
});

test('a click is not lost when a message or another user arrives while the button is down', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	const events = new EventEmitter();
	ann.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => events.emit(String(payload).split(' ').slice(3).join(' '))));
	await register(ann, server, 'ann');
	for (const room of ['tea', 'cake']) {
		await say(ann, `/join ${room}`);
		await ann.getByRole('heading', { name: `#${room}`, exact: true }).waitFor();
	}
	const press = async (button, act, event) => {
		await button.hover();
		const arrived = once(events, event);
		await ann.mouse.down();
		await act();
		await arrived;
		await ann.evaluate(() => new Promise(requestAnimationFrame)); // the page would have drawn it
	};
	const bob = await Nc.named(t, server, 'bob', '#tea');
	const link = ann.locator('#rooms').getByRole('link', { name: /tea/ });
	await press(link, () => bob.say('MSG hello'), 'MSG #tea bob hello');
	await ann.mouse.up();
	await ann.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	// What was not drawn meanwhile is drawn when the button is released.
	await press(ann.locator('#rooms').getByRole('link', { name: /cake/ }), () => bob.say('MSG is anybody here?'), 'MSG #tea bob is anybody here?');
	assert.equal(await message(ann, 'is anybody here?').count(), 0);
	await ann.mouse.move(600, 300);
	await ann.mouse.up();
	await message(ann, 'is anybody here?').waitFor();
	// The list of users grows, and moves the button away.
	await ann.getByRole('button', { name: 'Who is here' }).click();
	const closing = ann.getByRole('button', { name: 'Make invite-only' });
	await press(closing, () => Nc.named(t, server, 'carol', '#tea'), 'JOIN #tea carol');
	await ann.mouse.up();
	await ann.getByText('#tea is invite-only.').waitFor();
});

test('direct messages', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('TELL ann psst');
	const link = ann.locator('#people').getByRole('link', { name: /bob/ });
	await link.locator('.badge', { hasText: '1' }).waitFor();
	await until(() => ann.title(), '(1) #lobby – plainchat');
	await link.click();
	await message(ann, 'psst').waitFor();
	await until(() => ann.title(), 'bob – plainchat');
	await say(ann, 'yes?');
	await bob.expect(/^MSG bob ann yes\?$/m);
	await ann.reload();
	await until(() => texts(ann), ['psst', 'yes?']);
	await say(ann, '/msg nobody are you there?');
	await ann.getByText(/No user named nobody is online/).waitFor();
	const failed = ann.locator('.failed .text', { hasText: 'are you there?' });
	assert.equal(await failed.evaluate((text) => getComputedStyle(text).textDecorationLine), 'none');
	assert.equal(await ann.locator('.failed').getByRole('button', { name: 'Retry' }).count(), 1);
});

/** Opens the page for ann, who sees her conversation with bob, who has nc. */
async function inConversation(t) {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('TELL ann psst');
	await ann.locator('#people').getByRole('link', { name: /bob/ }).click();
	await message(ann, 'psst').waitFor();
	return { server, ann, bob };
}

/** Returns the names of the conversations that the browser keeps. */
const keptBy = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('plainchat.talk.')).sort());

/** Closes a tab, and opens the page in a new one. */
async function newTab(page, server, address = '') {
	const context = page.context();
	const next = await context.newPage();
	await page.close();
	await next.goto(server.url + address);
	return next;
}

test('direct messages that the server does not save survive closing the tab, until they are deleted', async (t) => {
	const { server, ann: first, bob } = await inConversation(t);
	let ann = first;
	await ann.getByText('only this browser keeps these messages').waitFor();
	await say(ann, 'one\n\n\ntwo');
	await bob.expect(/^MSG bob ann two$/m);
	await sent(ann, 'two');
	const kept = () => keptBy(ann);
	await until(kept, ['plainchat.talk.ann bob']);

	ann = await newTab(ann, server, '#@bob');
	await until(() => texts(ann), ['psst', 'one\n\n\ntwo']);
	await say(ann, '/nick anna');
	await ann.getByRole('button', { name: 'anna, you' }).waitFor();
	ann = await newTab(ann, server, '#@bob'); // another name has no messages
	await ann.getByRole('heading', { name: 'You and bob' }).waitFor();
	await ann.getByRole('button', { name: 'Register your name' }).waitFor();
	assert.deepEqual(await texts(ann), []);
	await say(ann, '/nick ann');
	await until(() => texts(ann), ['psst', 'one\n\n\ntwo']);

	const other = await ann.context().newPage();
	await other.goto(`${server.url}#@bob`);
	await until(() => texts(other), ['psst', 'one\n\n\ntwo']);
	await ann.getByRole('button', { name: 'Delete these messages' }).click();
	await choose(ann, 'Delete');
	await until(() => texts(ann), []);
	await until(() => texts(other), []);
	await other.close();
	ann = await newTab(ann, server, '#@bob');
	await ann.getByRole('button', { name: 'Register your name' }).waitFor();
	assert.deepEqual(await texts(ann), []);

	bob.say('TELL ann again');
	await message(ann, 'again').waitFor();
	await until(kept, ['plainchat.talk.ann bob']);
	// The server has not saved them, even if the name is registered later.
	await say(ann, '/register');
	await ann.getByText('Unless bob has registered too').waitFor();
	bob.say('TELL ann and again');
	await message(ann, 'and again').waitFor();
	ann = await newTab(ann, server, '#@bob');
	await until(() => texts(ann), ['again', 'and again']);
	await ann.getByText('Unless bob has registered too').waitFor();
	await ann.getByRole('button', { name: 'Delete these messages' }).click();
	await choose(ann, 'Delete');
	await until(() => texts(ann), []);
	await until(kept, []);
});

test('deleted direct messages do not come back from a tab that shows another page meanwhile', async (t) => {
	const { server, ann, bob } = await inConversation(t);
	const carl = await Nc.named(t, server, 'carl');
	const kept = () => keptBy(ann);
	await until(kept, ['plainchat.talk.ann bob']);
	const other = await ann.context().newPage();
	await other.goto(`${server.url}#@bob`);
	await message(other, 'psst').waitFor();
	await other.goto('about:blank');
	await say(ann, '/nick anna');
	await ann.getByRole('button', { name: 'anna, you' }).waitFor();
	carl.say('TELL anna hey');
	await until(kept, ['plainchat.talk.ann bob', 'plainchat.talk.anna carl']);
	// Those of all the user's names are deleted.
	await ann.getByRole('button', { name: 'anna, you' }).click();
	await ann.getByRole('button', { name: 'Delete them from this browser' }).click();
	await choose(ann, 'Delete');
	await until(kept, []);
	await say(ann, '/nick ann');
	await ann.getByRole('button', { name: 'ann, you' }).waitFor();
	await other.goto(`${server.url}#@bob`);
	await other.getByRole('button', { name: 'Register your name' }).waitFor(); // it has signed in
	bob.say('TELL ann once more');
	await message(other, 'once more').waitFor();
	assert.deepEqual(await texts(other), ['once more']);
	await other.reload();
	await until(() => texts(other), ['once more']);
	// The user's other tabs keep nothing either.
	await say(ann, '/forget');
	await choose(ann, 'Delete');
	await other.getByLabel('Your name', { exact: true }).waitFor();
	assert.equal(await other.evaluate(() => sessionStorage.length), 0);
});

test('who leaves a conversation, or deletes the name, deletes its messages from the browser', async (t) => {
	const { server, ann } = await inConversation(t);
	const cid = await Nc.named(t, server, 'cid');
	cid.say('TELL ann hey');
	const kept = () => keptBy(ann);
	await until(kept, ['plainchat.talk.ann bob', 'plainchat.talk.ann cid']);
	await say(ann, '/leave');
	await until(kept, ['plainchat.talk.ann cid']);
	await ann.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	await say(ann, '/forget');
	await ann.getByText('Direct messages that only this browser keeps are deleted too.').waitFor();
	await choose(ann, 'Delete');
	await ann.getByLabel('Your name', { exact: true }).waitFor();
	assert.deepEqual(await kept(), []);
});

test('direct messages between registered users arrive also after they were offline', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await register(ann, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('REGISTER his secret');
	await bob.expect(/^OK REGISTER bob$/m);
	bob.say('TELL ann here?');
	const link = ann.locator('#people').getByRole('link', { name: /bob/ });
	await link.locator('.badge', { hasText: '1' }).waitFor();
	await link.click();
	await message(ann, 'here?').waitFor();
	await ann.goto('about:blank');
	bob.say('TELL ann call me');
	await bob.expect(/^OK TELL \d+ .*\n[^]*^OK TELL \d+ /m);
	await ann.goto(server.url);
	await link.locator('.badge', { hasText: '1' }).waitFor();
	await link.click();
	await until(() => texts(ann), ['here?', 'call me']);
	// The same in a tab that has not shown these messages yet.
	await ann.evaluate(() => sessionStorage.clear());
	await ann.goto('about:blank');
	await ann.goto(server.url);
	await link.click();
	await until(() => texts(ann), ['here?', 'call me']);
});

test('commands, and their completion', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann');
	const bob = await Nc.named(t, server, 'bernadette');
	await ann.locator('#member-count', { hasText: '2' }).waitFor();
	await input(ann).pressSequentially('hello @bern');
	await ann.getByRole('option', { name: 'bernadette' }).waitFor();
	await input(ann).press('Tab');
	await input(ann).press('Enter');
	await bob.expect(/^MSG #lobby ann hello @bernadette$/m);
	await input(ann).pressSequentially('/to');
	await ann.getByRole('option', { name: /\/topic/ }).waitFor();
	await input(ann).press('Enter');
	await input(ann).pressSequentially('all about tea');
	await input(ann).press('Enter');
	await bob.expect(/^TOPIC #lobby ann all about tea$/m);
	await ann.getByRole('button', { name: 'all about tea' }).waitFor();
	await say(ann, '/nick anna');
	await ann.getByRole('button', { name: 'anna, you' }).waitFor();
	await bob.expect(/^NICK #lobby ann anna$/m);
	await say(ann, '/dance');
	await ann.getByText('Unknown command /dance').waitFor();
	assert.equal(await input(ann).inputValue(), '/dance');
	await say(ann, '//dance');
	await bob.expect(/^MSG #lobby anna \/dance$/m);
	await say(ann, '/join #tea');
	await ann.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await say(ann, '/leave');
	await ann.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	await say(ann, '/quit');
	await ann.getByText('To leave, close this tab.').waitFor();
	assert.equal(await input(ann).inputValue(), '/quit');
	await say(ann, '/forget');
	const question = ann.getByRole('dialog', { name: /^Delete your name anna .* you lose the name/ });
	await question.getByRole('button', { name: 'Delete' }).click();
	await ann.getByLabel('Your name', { exact: true }).waitFor();
	assert.equal(await ann.evaluate(() => localStorage.length + sessionStorage.length), 0);
});

test('a message can be deleted', async (t) => {
	const server = await chatd(t);
	const ann = await visitor(t);
	await enter(ann, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('MSG hello');
	await message(ann, 'hello').waitFor();
	await say(ann, 'that was wrong');
	await bob.expect(/^MSG #lobby ann that was wrong$/m);
	await until(async () => Boolean(await ann.locator('.row', { hasText: 'that was wrong' }).getAttribute('data-id')), true);
	await tool(ann.locator('.row', { hasText: 'that was wrong' }), 'Delete');
	await choose(ann, 'Delete');
	await bob.expect(/^REMOVE #lobby ann \d+$/m);
	await message(ann, 'message deleted').waitFor();
	await ann.reload();
	await message(ann, 'message deleted').waitFor();
});

test('a server with a password asks for it once', async (t) => {
	const folder = mkdtempSync(join(tmpdir(), 'chatd-'));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	writeFileSync(join(folder, 'password'), 'open sesame\n', { mode: 0o600 });
	const server = await chatd(t, ['--memory', '--password-file', join(folder, 'password')]);
	const page = await visitor(t);
	await page.goto(server.url);
	await page.getByLabel('Your name', { exact: true }).fill('ann');
	await page.getByLabel("This server's password", { exact: true }).fill('open barley');
	await page.keyboard.press('Enter');
	await page.getByRole('alert').filter({ hasText: /./ }).first().waitFor();
	await page.getByLabel("This server's password", { exact: true }).fill('open sesame');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
	await say(page, 'in');
	await page.locator('.row[data-id]:not([data-id=""])', { hasText: 'in' }).waitFor();
	await page.reload();
	await message(page, 'in').waitFor();
});

test('a name can be registered', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await say(page, '/register correct horse');
	await page.getByText('ann is registered to you').waitFor();
	const bob = new Nc(t, server);
	bob.say('NICK ann');
	await bob.expect(/^ERR NICK need-password /m);
	bob.say('NICK ann correct horse');
	await bob.expect(/^OK NICK ann/m);
	await page.reload();
	await page.getByRole('heading', { name: '#lobby', exact: true }).waitFor();
});

test('above direct messages, a user whose name is not registered is told how to keep them', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await Nc.named(t, server, 'bob');
	await say(page, '/msg bob hello');
	await page.getByRole('button', { name: 'Register your name' }).click();
	await page.getByRole('button', { name: 'Register', exact: true }).click();
	await page.getByText('ann is registered to you.').waitFor();
	await until(() => page.getByRole('button', { name: 'Register your name' }).count(), 0);
	await page.getByRole('heading', { name: 'You and bob' }).waitFor();
});

test('after the first messages, a name is registered in one click, or the offer is closed for good', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const offer = page.getByText('Others can take the name ann');
	for (const text of ['one', 'two']) {
		await say(page, text);
		await sent(page, text);
	}
	assert.equal(await offer.isVisible(), false);
	await say(page, 'three');
	await offer.waitFor();
	await page.getByRole('button', { name: 'Do not ask again' }).click();
	await offer.waitFor({ state: 'hidden' });
	await page.reload();
	for (const text of ['four', 'five', 'six']) {
		await say(page, text);
		await sent(page, text);
	}
	assert.equal(await offer.isVisible(), false);
	const other = await visitor(t);
	await enter(other, server, 'bob');
	for (const text of ['a', 'b', 'c']) await say(other, text);
	await other.locator('#offer').getByRole('button', { name: 'Register' }).click();
	await other.getByText('bob is registered to you.').waitFor();
	await other.getByText('Others can take the name bob').waitFor({ state: 'hidden' });
});

test('a long message is folded until its button is pressed, and its first lines and its last one are shown', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say(`MSG ${'word '.repeat(320)}`);
	bob.say(`MSG ${'word '.repeat(50)}`);
	await say(page, Array.from({ length: 12 }, (_, i) => `short ${i}`).join('\n'));
	await sent(page, 'short 11');
	await say(page, Array.from({ length: 13 }, (_, i) => `long ${i}`).join('\n'));
	const long = page.locator('.row', { hasText: 'long 12' });
	const unfold = long.getByRole('button', { name: '… 4 more lines …' });
	await unfold.waitFor();
	assert.equal(await unfold.evaluate(({ tabIndex }) => tabIndex), 0); // Tab reaches it
	const buttons = () => page.locator('.unfold').allTextContents();
	assert.deepEqual(await buttons(), ['Show all', '… 4 more lines …']);
	const first = Array.from({ length: 8 }, (_, i) => `long ${i}`).join('\n');
	assert.deepEqual(await long.locator('.text').allTextContents(), [first, 'long 12']);
	for (const text of await long.locator('.text').all()) {
		assert.ok(await text.evaluate((e) => e.getBoundingClientRect().bottom <= e.parentElement.getBoundingClientRect().bottom)); // not clipped
	}
	const height = () => long.evaluate((row) => row.offsetHeight);
	const before = await height();
	await unfold.click();
	assert.ok(await height() > before);
	await bob.expect(/long 12/);
	bob.say('MSG and on');
	await message(page, 'and on').waitFor();
	assert.deepEqual(await buttons(), ['Show all', 'Show less']);
	assert.equal(await long.locator('.text').count(), 1);
	await long.getByRole('button', { name: 'Show less' }).click();
	await until(height, before);
});

test('of a long traceback the error is shown, also in a code block, whose button copies all of it', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { permissions: ['clipboard-read', 'clipboard-write'] });
	await enter(page, server, 'ann');
	const frames = Array.from({ length: 28 }, (_, i) => `  File "app.py", line ${i}`);
	const code = ['Traceback (most recent call last):', ...frames, 'ValueError: no such region'].join('\n');
	await say(page, code);
	await sent(page, 'ValueError');
	await say(page, `\`\`\`\n${code}\n\`\`\``);
	await page.locator('.snippet').last().getByText('ValueError').waitFor();
	await until(() => page.locator('.unfold').allTextContents(), ['… 21 more lines …', '… 21 more lines …']);
	await until(() => page.getByText('ValueError: no such region').count(), 2);
	assert.equal(await page.getByText('line 7').count(), 0);
	const block = page.locator('.row', { has: page.locator('.snippet') });
	await block.hover();
	await block.getByRole('button', { name: 'Copy the code' }).first().click();
	assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
	await block.getByRole('button', { name: '… 21 more lines …' }).click();
	assert.equal(await block.locator('pre').textContent(), code);
});

test('a hook of a room is added, used and deleted', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann', '#ops');
	await page.getByRole('button', { name: 'Who is here' }).click();
	await page.getByText('Add a hook').click();
	const name = page.getByLabel('Name of the hook', { exact: true });
	await name.fill('alerts');
	await page.keyboard.press('Enter');
	await page.getByText('To add a hook, you need a registered name').waitFor();
	await say(page, '/register');
	await page.getByText('ann is registered to you').waitFor();
	await name.fill('alerts');
	await page.keyboard.press('Enter');
	const lines = page.locator('#panel pre');
	await lines.first().waitFor();
	const url = await lines.first().textContent();
	assert.ok(url.startsWith(`${server.url}hooks/`), url);
	const post = () => fetch(url, { method: 'POST', body: JSON.stringify({ text: 'disk full' }) });
	assert.equal(await (await post()).text(), 'ok');
	await message(page, 'disk full').waitFor();
	for (const tool of await page.getByLabel('Tool', { exact: true }).locator('option').allTextContents()) {
		await page.getByLabel('Tool', { exact: true }).selectOption(tool);
		assert.ok((await lines.last().textContent()).includes(url), tool);
	}
	await page.getByRole('button', { name: 'Delete alerts' }).click();
	await page.getByRole('button', { name: 'Delete alerts' }).waitFor({ state: 'detached' });
	assert.equal((await post()).status, 404);
});

test('on a phone the sidebar opens over the messages, and closes after a choice', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true });
	await enter(page, server, 'ann', '#tea');
	const rooms = page.getByRole('button', { name: 'Rooms', exact: true });
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	assert.notEqual(await page.evaluate(() => document.activeElement.id), 'input'); // the phone's keyboard stays closed
	await rooms.tap();
	await page.getByRole('button', { name: 'ann, you' }).tap();
	await page.getByRole('heading', { name: 'You', exact: true }).waitFor();
	await page.locator('#side').waitFor({ state: 'hidden' });
	await page.getByRole('button', { name: 'Close' }).tap();
	await rooms.tap();
	await page.getByLabel('Find or create a room').fill('cake');
	await page.getByRole('link', { name: 'cake' }).tap();
	await page.getByRole('heading', { name: '#cake', exact: true }).waitFor();
	await page.locator('#side').waitFor({ state: 'hidden' });
});

test('an invite-only room: its creator invites, invited users rejoin after a reload, others are removed', async (t) => {
	const server = await chatd(t);
	const [ann, bob] = [await visitor(t), await visitor(t)];
	for (const [page, nick] of [[ann, 'ann'], [bob, 'bob']]) {
		await register(page, server, nick);
	}
	await say(ann, '/join plan');
	await ann.getByRole('heading', { name: '#plan', exact: true }).waitFor();
	await say(ann, '/mode invite');
	await ann.locator('#rooms li', { hasText: 'plan' }).getByText('invite-only').waitFor();
	await say(bob, '/join plan');
	await bob.getByText('#plan is invite-only. If you were invited').waitFor();
	await say(ann, '/invite bob');
	await ann.getByText('bob is invited to #plan.').waitFor();
	await input(bob).fill('');
	await say(bob, '/join plan');
	await bob.getByRole('heading', { name: '#plan', exact: true }).waitFor();
	await input(bob).fill('half a sentence');
	await bob.reload();
	await bob.getByRole('heading', { name: '#plan', exact: true }).waitFor();
	await say(ann, 'still here?');
	await message(bob, 'still here?').waitFor();
	await until(() => input(bob).inputValue(), 'half a sentence');
	await say(ann, '/uninvite bob');
	await bob.getByText('You are no longer in #plan').waitFor();
	await until(() => input(bob).isDisabled(), true);
	assert.equal(await input(bob).inputValue(), 'half a sentence');
	// The notice of the first invitation stays for some seconds.
	await ann.getByText('bob is invited to #plan.').waitFor({ state: 'hidden' });
	await say(ann, '/invite bob');
	await ann.getByText('bob is invited to #plan.').waitFor();
	await bob.getByRole('button', { name: 'Try again' }).click();
	await until(() => input(bob).isDisabled(), false);
	await say(bob, 'back');
	await message(ann, 'back').waitFor();
});

test('who is away, and why, is shown beside the name and above direct messages', async (t) => {
	const server = await chatd(t);
	const bob = await Nc.named(t, server, 'bob');
	bob.say('AWAY <b>lunch</b>');
	await bob.expect(/^OK AWAY$/m);
	const ann = await visitor(t);
	await enter(ann, server, 'ann');
	await ann.getByRole('button', { name: 'Who is here' }).click();
	const shown = (nick) => ann.locator('#panel .people button', { hasText: nick }).locator('.hint').textContent();
	await ann.locator('#panel .people').getByText('away: <b>lunch</b>').waitFor();
	bob.say(`AWAY ${'a long lunch '.repeat(20)}`);
	await ann.locator('#panel .people').getByText('away: a long lunch a long').waitFor();
	const name = ann.locator('#panel .people .name', { hasText: 'bob' });
	assert.equal(await name.evaluate((name) => name.scrollWidth <= name.clientWidth), true, 'the name is not cut');
	bob.say('AWAY <b>lunch</b>');
	await ann.locator('#panel .people').getByText('away: <b>lunch</b>').waitFor();
	// The user's own text is shown to all until the user is back.
	await say(ann, '/away back at four');
	await ann.getByText('Others see that you are away: back at four.').waitFor();
	await bob.expect(/^AWAY #lobby ann back at four$/m);
	await until(() => shown('ann'), 'you, away: back at four');
	await say(ann, `/away ${'x'.repeat(301)}`);
	await ann.getByText('That is too long. Use at most 300 letters.').waitFor();
	await input(ann).fill('');
	await say(ann, '/away');
	await ann.getByText('You are back.', { exact: true }).waitFor();
	await bob.expect(/^AWAY #lobby ann$/m);
	await until(() => shown('ann'), 'you');
	// The text is shown above a conversation. It follows a change of the nick, and goes when the other user is back.
	await say(ann, '/msg bob are you there?');
	const title = ann.locator('#topic');
	await until(() => title.textContent(), 'away: <b>lunch</b>');
	assert.equal(await title.isDisabled(), true);
	bob.say('NICK rob');
	await ann.getByRole('heading', { name: 'rob', exact: true }).waitFor();
	await until(() => title.textContent(), 'away: <b>lunch</b>');
	bob.say('AWAY');
	await title.waitFor({ state: 'hidden' });
	await say(ann, 'welcome back');
	await bob.expect(/^MSG rob ann welcome back$/m);
	// When a user who is away leaves, the text goes too: the next user of the name is not away.
	bob.say('AWAY for ever');
	await until(() => title.textContent(), 'away: for ever');
	bob.say('BYE');
	await title.waitFor({ state: 'hidden' });
});
