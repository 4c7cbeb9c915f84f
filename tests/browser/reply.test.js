// Replies to a message, and edits of the user's own.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, flood, input, message, say, tool, until, visitor } from './support.js';

const row = (page, text) => page.locator('.row', { has: page.locator('.text', { hasText: text }) });

/** A user with nc who sees tags. */
async function tagged(t, server, nick) {
	const nc = await Nc.named(t, server, nick);
	nc.say('TAGS on');
	await nc.expect(/^OK TAGS on\n/m);
	return nc;
}

async function said(nc, line) {
	nc.say(line);
	const [, id] = await nc.expect(/^OK \w+ (\d+) .*\n/m);
	return id;
}

test('a reply shows the line that it answers, and the composer says what is being answered', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await tagged(t, server, 'bob');
	const red = await said(bob, 'MSG the build is red');
	await tool(row(page, 'the build is red'), 'Reply');
	const bar = page.locator('#context');
	await until(() => bar.locator('span').first().textContent(), 'Replying to bob: the build is red');
	await input(page).press('Escape');
	await bar.waitFor({ state: 'hidden' });
	await say(page, 'no reply');
	await bob.expect(/^MSG #lobby ann no reply$/m);
	await row(page, 'the build is red').focus();
	await page.keyboard.press('r');
	await bar.waitFor();
	await say(page, 'I am looking');
	await bob.expect(new RegExp(`^@reply=${red} MSG #lobby ann I am looking$`, 'm'));
	await bar.waitFor({ state: 'hidden' });
	const quote = row(page, 'I am looking').locator('.quote');
	await until(() => quote.textContent(), 'In reply to bobthe build is red');
	// The answered message is edited, then deleted.
	bob.say(`EDIT ${red} the build is green`);
	await until(() => quote.textContent(), 'In reply to bobthe build is green');
	bob.say(`REMOVE ${red}`);
	await until(() => quote.textContent(), 'In reply to bobmessage deleted');
	await page.reload();
	await until(() => quote.textContent(), 'In reply to bobmessage deleted');
});

test('a reply to a message far back shows it, and leads there, and is highlighted for the user whom it answers', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await say(page, 'who has the <b>key</b>?');
	await page.locator('.row[data-id]:not(.waiting)', { hasText: 'who has' }).waitFor();
	const asked = await row(page, 'who has the').getAttribute('data-id');
	await flood(server, 'bot', '#lobby', Array.from({ length: 1000 }, (_, i) => `line ${i}`));
	await message(page, 'line 999').waitFor();
	await page.reload();
	await message(page, 'line 999').waitFor();
	const bob = await tagged(t, server, 'bob');
	await said(bob, `@reply=${asked} MSG I do`);
	const quote = row(page, 'I do').locator('.quote');
	await until(() => quote.textContent(), 'In reply to annwho has the <b>key</b>?');
	await page.locator('.row.call', { hasText: 'I do' }).waitFor();
	await row(page, 'I do').focus();
	await page.keyboard.press('Enter');
	await page.locator(`.row[data-id="${asked}"]:focus`).waitFor();
	await page.getByRole('button', { name: 'To the newest' }).click();
	await quote.click();
	await page.locator(`.row[data-id="${asked}"]:focus`).waitFor();
});

test('the composer still shows what is being answered when that is far back', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await tagged(t, server, 'bob');
	const red = await said(bob, 'MSG the build is red');
	await tool(row(page, 'the build is red'), 'Reply');
	await flood(server, 'bot', '#lobby', Array.from({ length: 1000 }, (_, i) => `line ${i}`));
	await message(page, 'line 999').waitFor();
	await until(() => row(page, 'the build is red').count(), 0);
	const bar = page.locator('#context span').first();
	await until(() => bar.textContent(), 'Replying to bob: the build is red');
	bob.say(`EDIT ${red} the build is green`);
	await until(() => bar.textContent(), 'Replying to bob: the build is green');
});

test('an edit of several lines, or to nothing, is refused, and the user can correct it', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await tagged(t, server, 'bob');
	await say(page, 'at ten');
	await page.locator('.row:not(.waiting)', { hasText: 'at ten' }).waitFor();
	await input(page).press('ArrowUp');
	await until(() => input(page).inputValue(), 'at ten');
	await say(page, 'at eleven\nin the hall');
	await page.getByText('An edited message must be one line of at most about 4,000 bytes.').waitFor();
	assert.equal(await input(page).inputValue(), 'at eleven\nin the hall');
	await say(page, ' ');
	await page.getByText('A message cannot be empty. To remove it, delete it.').waitFor();
	await say(page, 'at eleven');
	const [, text] = await bob.expect(/^EDIT #lobby ann \d+ (.*)$/m);
	assert.equal(text, 'at eleven');
});

test('one edits the last message with the up arrow, or any by its button', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await tagged(t, server, 'bob');
	for (const text of ['at ten', 'in the hall']) {
		await say(page, text);
		await page.locator('.row:not(.waiting)', { hasText: text }).waitFor();
	}
	await input(page).press('ArrowUp');
	await until(() => input(page).inputValue(), 'in the hall');
	await input(page).press('Escape');
	assert.equal(await input(page).inputValue(), '');
	await input(page).fill('a draft');
	await tool(row(page, 'at ten'), 'Edit');
	await until(() => input(page).inputValue(), 'at ten');
	await say(page, 'at <i>eleven</i>');
	await bob.expect(/^EDIT #lobby ann \d+ at <i>eleven<\/i>$/m);
	await message(page, 'at <i>eleven</i> (edited)').waitFor();
	await until(() => input(page).inputValue(), 'a draft');
	// What is deleted on another device meanwhile cannot be edited. The page says so in its own words.
	await tool(row(page, 'in the hall'), 'Edit');
	await input(page).fill('in the garden');
	const phone = new Nc(t, server);
	phone.say(`NICK ann ${await page.evaluate(() => JSON.parse(localStorage.getItem('plainchat.me')).password)}`);
	await phone.expect(/^OK NICK ann/m);
	phone.say(`REMOVE ${await row(page, 'in the hall').getAttribute('data-id')}`);
	await phone.expect(/^OK REMOVE/m);
	await input(page).press('Enter');
	await page.getByText('That message was deleted, so it cannot be edited.').waitFor();
	assert.equal(await input(page).inputValue(), 'in the garden');
	await input(page).press('Escape');
	await until(() => input(page).inputValue(), 'a draft');
});
