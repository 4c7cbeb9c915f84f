// Writing: what Enter sends, what a paste becomes, and that no draft is lost.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, input, message, say, tool, transfer, until, visitor } from './support.js';

test('Enter sends what was typed, and completes only what was chosen', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const marie = await Nc.named(t, server, 'bob-marie');
	const bob = await Nc.named(t, server, 'bob');
	for (const room of ['#room-1', '#room-10']) bob.say(`JOIN ${room}`);
	bob.say('JOIN #lobby');
	marie.say('MSG hello');
	await message(page, 'hello').waitFor();
	await page.locator('#member-count', { hasText: '3' }).waitFor();
	await page.getByRole('searchbox').focus(); // loads the names of the rooms
	await page.getByRole('link', { name: 'room-10' }).waitFor();
	await input(page).pressSequentially('thanks @bob');
	await page.getByRole('option', { name: 'bob-marie' }).waitFor();
	await input(page).press('Enter');
	await bob.expect(/^MSG #lobby ann thanks @bob$/m);
	await input(page).pressSequentially('thanks @bob');
	await page.getByRole('option', { name: 'bob-marie' }).waitFor();
	// The list is as wide as it needs to be.
	assert.ok((await page.getByRole('listbox').boundingBox()).width < 400);
	const chosen = page.getByRole('option', { name: 'bob-marie', selected: true });
	do await input(page).press('ArrowDown'); while (!(await chosen.count()));
	await input(page).press('Enter');
	assert.equal(await input(page).inputValue(), 'thanks @bob-marie ');
	await input(page).press('Enter');
	await bob.expect(/^MSG #lobby ann thanks @bob-marie ?$/m);
	await input(page).pressSequentially('/re');
	const hint = page.getByRole('option', { name: '/remove' }).locator('.hint');
	assert.ok(await hint.evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth), 'the explanation is cut off');
	await input(page).fill('');
	await input(page).pressSequentially('/join #room-1');
	await page.getByRole('option', { name: '#room-10' }).waitFor();
	await input(page).press('Enter');
	await page.getByRole('heading', { name: '#room-1', exact: true }).waitFor();
});

test('the field is as high as its text when the page is opened again, and in a narrower window', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const height = () => input(page).evaluate((field) => Math.round(field.getBoundingClientRect().height));
	await until(height, 32);
	await input(page).fill('one\ntwo\nthree');
	await until(height, 76);
	await page.reload();
	await input(page).waitFor();
	await until(() => input(page).inputValue(), 'one\ntwo\nthree');
	await until(height, 76);
	await page.setViewportSize({ width: 500, height: 700 });
	await until(height, 88);
});

test('what is typed right after a command that opens a conversation belongs there', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	// Nothing is drawn until the user has typed on.
	await page.evaluate(() => {
		const { requestAnimationFrame: atOnce } = globalThis;
		const held = [];
		globalThis.requestAnimationFrame = (frame) => held.push(frame);
		globalThis.drawHeld = () => {
			globalThis.requestAnimationFrame = atOnce;
			held.forEach((frame) => atOnce(frame));
		};
	});
	await say(page, '/msg bob hello');
	await bob.expect(/^MSG bob ann hello$/m);
	await input(page).fill('and goodbye');
	await page.evaluate(() => globalThis.drawHeld());
	await page.getByRole('heading', { name: 'bob', exact: true }).waitFor();
	await input(page).press('Enter');
	await bob.expect(/^MSG bob ann and goodbye$/m);
});

test('the Enter that confirms a composition sends nothing', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	// Chrome's order, then Safari's.
	for (const [isComposing, keyCode] of [[true, 229], [false, 229]]) {
		await input(page).fill('日本');
		const isDefault = await input(page).evaluate((input, { isComposing, keyCode }) => {
			const end = () => input.dispatchEvent(new CompositionEvent('compositionend', { bubbles: true, data: '日本' }));
			input.dispatchEvent(new CompositionEvent('compositionstart', { bubbles: true }));
			if (!isComposing) end();
			const key = new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, isComposing, keyCode });
			const isDefault = input.dispatchEvent(key);
			if (isComposing) end();
			return isDefault;
		}, { isComposing, keyCode });
		assert.equal(isDefault, true);
		assert.equal(await input(page).inputValue(), '日本');
	}
	await input(page).press('Enter');
	await bob.expect(/^MSG #lobby ann 日本$/m);
});

test('a paste of text with a picture of it is text; a picture alone is uploaded', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	assert.equal(await transfer(input(page), 'paste', { text: 'a\tb\n1\t2\n', files: [['cells.png', 'image/png']] }), true);
	assert.equal(await transfer(input(page), 'paste', { files: [['alone.png', 'image/png']] }), false);
	await page.getByRole('dialog', { name: 'Send this file to #lobby?' }).getByRole('button', { name: 'Send' }).click();
	const [, name] = await bob.expect(/^FILE #lobby ann \d+ 13 (\S+)$/m);
	assert.equal(name, 'alone.png');
});

test('for a long paste the user chooses: messages, a code block, a file or nothing', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const text = Array.from({ length: 20 }, (_, i) => `line ${i}`).join('\n');
	const dialog = page.getByRole('dialog');
	const paste = async (choice) => {
		await input(page).fill('');
		assert.equal(await transfer(input(page), 'paste', { text }), false);
		await dialog.getByText('You pasted 20 lines. Send them as').waitFor();
		if (choice === 'Escape') await page.keyboard.press('Escape');
		else await dialog.getByRole('button', { name: choice }).click();
		await dialog.waitFor({ state: 'detached' });
	};
	for (const none of ['Cancel', 'Escape']) {
		await paste(none);
		assert.equal(await input(page).inputValue(), '');
	}
	await paste('One message');
	await until(() => input(page).inputValue(), text);
	await paste('Code block');
	await until(() => input(page).inputValue(), `\`\`\`\n${text}\n\`\`\``);
	await paste('File');
	await bob.expect(/^FILE #lobby ann \d+ \d+ paste\.txt$/m);
	assert.equal(await input(page).inputValue(), '');
	await until(() => page.locator('.row').count(), 1);
});

test('the topic is edited in place, and the draft stays', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const long = `${'a long topic '.repeat(30)}with an end`;
	bob.say(`TOPIC ${long}`);
	await page.getByRole('button', { name: long }).waitFor();
	await input(page).fill('a long draft');
	const topic = page.locator('#topic');
	assert.ok((await topic.getAttribute('title')).startsWith(long));
	await page.getByRole('button', { name: 'Who is here' }).click();
	await page.locator('#panel').getByText(long).waitFor();
	const edit = page.getByRole('textbox', { name: 'Topic' });
	await topic.click();
	await edit.fill('another');
	await edit.press('Escape');
	await edit.waitFor({ state: 'hidden' });
	await topic.click();
	assert.equal(await edit.inputValue(), long);
	await edit.fill('all about tea');
	await edit.press('Enter');
	await bob.expect(/^TOPIC #lobby ann all about tea$/m);
	assert.equal(await input(page).inputValue(), 'a long draft');
});

test('a toast covers no message and no button, can be closed, and is shown once and in its room only', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	bob.say('MSG hello');
	await message(page, 'hello').waitFor();
	const toast = page.locator('.toast');
	for (let i = 0; i < 2; i++) {
		await say(page, '/dance');
		await toast.getByText('Unknown command /dance').waitFor();
	}
	assert.equal(await toast.count(), 1);
	const covered = await toast.evaluate((toast) => {
		const { top, bottom, left, right } = toast.getBoundingClientRect();
		const isUnder = (e) => {
			const box = e.getBoundingClientRect();
			return box.width > 0 && box.top < bottom && box.bottom > top && box.left < right && box.right > left;
		};
		return [...document.querySelectorAll('#app button, #composer, .row')].filter(isUnder).map((e) => e.outerHTML);
	});
	assert.deepEqual(covered, []);
	await toast.getByRole('button', { name: 'Close' }).click();
	assert.equal(await toast.count(), 0);
	await say(page, '/dance');
	await toast.waitFor();
	await page.evaluate(() => { location.hash = '#tea'; });
	await page.getByRole('heading', { name: '#tea', exact: true }).waitFor();
	assert.equal(await toast.count(), 0);
});

test('a text of several lines is one message: with code that a button copies, edited, answered and deleted as one', async (t) => {
	const server = await chatd(t);
	const [ann, bob] = [await visitor(t, { permissions: ['clipboard-read', 'clipboard-write'] }), await visitor(t)];
	const carol = await Nc.named(t, server, 'carol');
	await enter(ann, server, 'ann');
	await enter(bob, server, 'bob');
	const code = 'if x:\n\n\treturn <b>';
	const live = `it broke:\n\`\`\`py\n${code}\n\`\`\`\nann, see www.x.example`;
	carol.say(`TEXT ${Buffer.byteLength(live)}\n${live}PING sent`);
	await carol.expect(/^OK TEXT \d+ \S+ 7\nOK PING sent\n/m);
	await input(bob).fill(`${code}\nyes\nno`);
	await input(bob).press('Enter');
	await message(ann, 'yes').waitFor();
	const rows = (page) => page.locator('.row').evaluateAll((rows) => rows.map((row) => [row.querySelector('.by button')?.textContent, ...[...row.querySelectorAll('.text, pre')].map((e) => e.textContent)]));
	const first = ['carol', 'it broke:', code, 'ann, see www.x.example'];
	for (const page of [ann, bob]) await until(() => rows(page), [first, ['bob', `${code}\nyes\nno`]]);
	await until(() => ann.locator('.row.call').count(), 1);
	const copy = ann.getByRole('button', { name: 'Copy the code' });
	await copy.click();
	await until(() => ann.evaluate(() => navigator.clipboard.readText()), code);
	await ann.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined })); // as over plain HTTP
	await tool(ann.locator('.row', { hasText: 'yes' }), 'Copy text');
	await input(ann).press('Control+v');
	await until(() => input(ann).inputValue(), `${code}\nyes\nno`);
	await input(ann).fill('');
	// An edit can change lines, but not their number.
	await input(bob).press('ArrowUp');
	await until(() => input(bob).inputValue(), `${code}\nyes\nno`);
	await say(bob, `${code}\nyes`);
	await bob.getByText('This message has 5 lines. An edit can change them, but not add or remove any.').waitFor();
	await say(bob, `${code}\nmaybe\nno`);
	await carol.expect(/^EDIT #lobby bob \d+ maybe\n/m);
	for (const page of [ann, bob]) await until(() => rows(page), [first, ['bob', `${code}\nmaybe\nno (edited)`]]);
	await ann.reload();
	await until(() => rows(ann), [first, ['bob', `${code}\nmaybe\nno (edited)`]]);
	// A link to any of its lines leads to the message, and its reactions are below it.
	const at = Number(await ann.locator('.row', { hasText: 'maybe' }).getAttribute('data-id'));
	carol.say(`REACT ${at + 3} 👍`);
	await ann.locator('.row', { hasText: 'maybe' }).getByRole('button', { name: '👍 carol' }).waitFor();
	await ann.evaluate((id) => { location.hash = `#lobby/${id}`; }, at + 4);
	await ann.locator('.row:focus', { hasText: 'maybe' }).waitFor();
	await bob.locator('.row', { hasText: 'maybe' }).focus();
	await bob.keyboard.press('Delete');
	await bob.keyboard.press('Enter');
	await until(() => rows(ann), [first, ['bob', 'message deleted']]);
});
