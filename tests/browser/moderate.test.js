// Deleting, ignoring, inviting and banning: by command and by mouse, and what the page says when it is refused.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, choose, enter, input, message, register, say, tool, until, visitor } from './support.js';

const row = (page, text) => page.locator('.row', { has: page.locator('.text', { hasText: text }) });

/** Opens what can be done with a user. */
async function more(page, nick) {
	const people = page.getByRole('button', { name: 'Who is here' });
	if ((await people.getAttribute('aria-pressed')) !== 'true') await people.click();
	await page.getByRole('button', { name: `More about ${nick}`, exact: true }).click();
}

test('users delete what is theirs by command, and see why they cannot delete, edit or react', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('MSG hello from bob');
	const [, id] = await bob.expect(/^OK MSG (\d+) /m);
	await message(page, 'hello from bob').waitFor();
	await say(page, '/remove');
	await page.getByText('You have sent no message here.').waitFor();
	await say(page, 'one\ntwo');
	await page.locator('.row:not(.waiting)', { hasText: 'two' }).waitFor();
	await input(page).fill('');
	await say(page, '/remove');
	await choose(page, 'Delete');
	await bob.expect(/^REMOVE #lobby ann \d+\n/m);
	await message(page, 'message deleted').waitFor();
	assert.equal(await input(page).inputValue(), '');
	// Another user's message, an id that does not exist, and a word instead of a number are refused.
	await row(page, 'hello from bob').hover();
	await page.getByRole('button', { name: 'Reply', exact: true }).waitFor();
	assert.equal(await page.getByRole('button', { name: 'Delete', exact: true }).count(), 0);
	for (const [line, why] of [
		[`/remove ${id}`, 'You can only delete your own messages.'],
		[`/remove ${server.url}#lobby/999999`, 'That message is no longer there.'],
	]) {
		await input(page).fill('');
		await say(page, line);
		await choose(page, 'Delete');
		await page.getByText(why).waitFor();
		await until(() => input(page).inputValue(), line);
	}
	await input(page).fill('');
	await say(page, '/remove it');
	await page.getByText('Type /remove [number]').waitFor();
	// A message has at most 20 different reactions.
	for (let i = 0; i < 20; i++) bob.say(`REACT ${id} ${String.fromCodePoint(0x1f600 + i)}`);
	await until(() => row(page, 'hello from bob').locator('.chip:not(.more)').count(), 20);
	await row(page, 'hello from bob').focus();
	await page.keyboard.press('+');
	await page.getByLabel('Find an emoji', { exact: true }).fill('rocket');
	await page.keyboard.press('Enter');
	await page.getByText('This message cannot have any more reactions.').waitFor();
	// The page still works.
	await say(page, 'still here');
	await bob.expect(/^MSG #lobby ann still here\n/m);
});

test('an operator deletes, disconnects and bans by mouse', async (t) => {
	const server = await chatd(t, ['--memory', '--operator', 'ann']);
	const page = await visitor(t);
	await register(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const carol = await Nc.named(t, server, 'carol');
	bob.say('MSG buy my things');
	await bob.expect(/^OK MSG/m);
	bob.child.stdin.write('UPLOAD things.txt 3\nabc');
	await page.locator('.row .name', { hasText: 'things.txt' }).waitFor();
	await tool(row(page, 'buy my things'), 'Delete');
	await page.getByText('Delete this message from bob for everyone?').waitFor();
	await choose(page, 'Delete');
	await carol.expect(/^REMOVE #lobby ann \d+\n/m);
	await page.getByRole('button', { name: 'Files' }).click();
	await page.getByRole('button', { name: 'Delete things.txt' }).click();
	await choose(page, 'Delete');
	await carol.expect(/^REMOVE #lobby ann \d+\n/m);
	await page.locator('#panel').getByText('No files yet.').waitFor();
	await more(page, 'bob');
	await choose(page, 'Disconnect');
	await bob.expect(/^CLOSED kicked /m);
	await more(page, 'carol');
	await choose(page, 'Ban');
	await choose(page, 'For an hour');
	await carol.expect(/^CLOSED banned /m);
	await say(page, '/bans');
	await page.getByText(/^carol until /).waitFor();
});

test('the same by command: an operator disconnects and bans, and users ignore others', async (t) => {
	const server = await chatd(t, ['--memory', '--operator', 'ann']);
	const page = await visitor(t);
	await register(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const carol = await Nc.named(t, server, 'carol');
	carol.say('MSG la la la');
	await message(page, 'la la la').waitFor();
	await say(page, '/ignore carol');
	await until(() => message(page, 'la la la').count(), 0);
	await say(page, '/unignore carol');
	await message(page, 'la la la').waitFor();
	await say(page, '/kick bob too loud');
	await bob.expect(/^CLOSED kicked .*too loud/m);
	await say(page, '/ban carol 12h spam');
	await carol.expect(/^CLOSED banned .*spam/m);
	await say(page, '/bans');
	await page.getByText(/^carol until /).waitFor();
	await say(page, '/unban carol');
	await page.getByText('carol is no longer banned.').waitFor();
	await Nc.named(t, server, 'carol');
});

test('users ignore others, and owners invite to their room, by mouse', async (t) => {
	const server = await chatd(t);
	const [ann, bob] = [await visitor(t), await visitor(t)];
	await register(bob, server, 'bob');
	await register(ann, server, 'ann');
	await say(ann, '/join #tea');
	await ann.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	const carol = await Nc.named(t, server, 'carol', '#tea');
	carol.say('MSG la la la');
	await message(ann, 'la la la').waitFor();
	await ann.getByRole('button', { name: 'Who is here' }).click();
	await ann.getByRole('button', { name: 'Make invite-only' }).waitFor();
	await more(ann, 'carol');
	assert.deepEqual(await ann.getByRole('dialog').getByRole('button').allTextContents(), ['Send a message', 'Ignore', 'Invite to #tea', 'Cancel']);
	await choose(ann, 'Ignore');
	await until(() => message(ann, 'la la la').count(), 0);
	await more(ann, 'carol');
	await choose(ann, 'Stop ignoring');
	await message(ann, 'la la la').waitFor();
	await ann.getByRole('button', { name: 'Make invite-only' }).click();
	await ann.locator('#rooms li', { hasText: 'tea' }).getByText('invite-only').waitFor();
	await carol.expect(/^PART #tea carol/m);
	await ann.getByLabel('Invite a registered user').fill('bob');
	await ann.getByRole('button', { name: 'Invite', exact: true }).click();
	await bob.getByText('ann invited you to #tea.').waitFor();
	await bob.getByRole('button', { name: 'Join', exact: true }).click();
	await bob.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	await bob.getByRole('button', { name: 'Who is here' }).click();
	await bob.getByRole('heading', { name: 'Invited' }).waitFor();
	assert.equal(await bob.getByRole('button', { name: 'Open to everyone' }).count(), 0);
	await ann.getByRole('button', { name: 'Withdraw the invitation of bob' }).click();
	await bob.getByText('You are no longer in #tea').waitFor();
	await ann.getByRole('button', { name: 'Open to everyone' }).click();
	await ann.getByText('#tea is open to everyone.').waitFor();
	await bob.getByRole('button', { name: 'Try again' }).click();
	await bob.locator('#shut').waitFor({ state: 'hidden' });
});
