// Files from the page and to it, byte for byte.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { Nc, attach, chatd, choose, enter, register, registered, say, transfer, until, visitor } from './support.js';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Returns what `DOWNLOAD` sends over a plain connection. */
async function download({ port }, file) {
	const socket = net.connect(port, '127.0.0.1');
	socket.end(`DOWNLOAD ${file}\n`);
	const chunks = [];
	for await (const chunk of socket) chunks.push(chunk);
	const all = Buffer.concat(chunks);
	const end = all.indexOf(10);
	const [word, , length] = all.subarray(0, end).toString().split(' ');
	assert.equal(word, 'DATA');
	return all.subarray(end + 1, end + 1 + Number(length));
}

/** A PNG of one green pixel. */
const PIXEL = Buffer.from(
	'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
	'base64',
);

test('a file goes from the page to nc and back, byte for byte', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const bytes = randomBytes(3_000_001);
	await attach(page, { name: 'some bytes & more.bin', mimeType: 'application/octet-stream', buffer: bytes });
	const [, file] = await bob.expect(/^FILE #lobby ann (\d+) 3000001 some bytes & more\.bin$/m);
	assert.equal(sha256(await download(server, file)), sha256(bytes));
	const link = page.getByRole('link', { name: 'some bytes & more.bin' });
	await link.waitFor();
	await until(() => page.locator('#uploads li').count(), 0);
	const [saved] = await Promise.all([page.waitForEvent('download'), link.click()]);
	assert.equal(saved.suggestedFilename(), 'some bytes & more.bin');
	assert.equal(sha256(readFileSync(await saved.path())), sha256(bytes));
	// And one from nc.
	bob.child.stdin.write('UPLOAD notes.txt 6\n');
	bob.child.stdin.write('a\r\nb\0c');
	await bob.expect(/^OK UPLOAD/m);
	const [notes] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'notes.txt' }).click()]);
	assert.equal(readFileSync(await notes.path()).toString(), 'a\r\nb\0c');
});

test('pictures are shown small, and in full in front of the page or in a new tab', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await attach(page, [
		{ name: 'green.png', mimeType: 'image/png', buffer: PIXEL },
		{ name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('no picture at all') },
		{ name: 'second.png', mimeType: 'image/png', buffer: PIXEL },
	]);
	const picture = page.getByRole('link', { name: 'Show green.png' });
	await picture.waitFor();
	await page.waitForFunction(() => document.querySelector('.thumb img')?.naturalWidth === 1);
	await page.locator('.file', { hasText: 'broken.png' }).waitFor();
	await page.getByRole('link', { name: 'Show second.png' }).waitFor();
	await picture.click();
	const front = page.getByRole('dialog', { name: 'Picture' });
	const shown = () => front.locator('img').evaluate((img) => img.alt + (img.naturalWidth === 1 ? '' : ', not loaded'));
	await until(shown, 'green.png');
	await page.keyboard.press('ArrowLeft');
	await page.keyboard.press('ArrowRight');
	await page.keyboard.press('ArrowRight');
	await until(shown, 'second.png');
	const [saved] = await Promise.all([page.waitForEvent('download'), front.getByRole('link', { name: 'Download' }).click()]);
	assert.equal(saved.suggestedFilename(), 'second.png');
	await page.keyboard.press('Escape');
	await front.waitFor({ state: 'detached' });
	const [whole] = await Promise.all([page.context().waitForEvent('page'), picture.click({ modifiers: ['Control'] })]);
	await whole.waitForFunction(() => document.images[0]?.naturalWidth === 1);
	await whole.close();
});

test('files that are dropped or pasted are sent after a look at them', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	for (const [kind, target, name] of [['drop', '#log', 'dropped.txt'], ['paste', '#input', 'pasted.txt']]) {
		await transfer(page.locator(target), kind, { files: [[`not-${name}`, 'text/plain']] });
		await page.getByRole('dialog').filter({ hasText: `not-${name}` }).getByRole('button', { name: 'Cancel' }).click();
		await transfer(page.locator(target), kind, { files: [[name, 'text/plain'], ['b.png', 'image/png']] });
		const look = page.getByRole('dialog', { name: 'Send these 2 files to #lobby?' });
		await look.getByText(name).waitFor();
		assert.match(await look.locator('img').getAttribute('src'), /^blob:/);
		await look.getByRole('button', { name: 'Send' }).click();
		await look.waitFor({ state: 'detached' });
		await bob.expect(new RegExp(`^FILE #lobby ann \\d+ 13 ${name.replace('.', '\\.')}$`, 'm'));
	}
});

/** A proxy for `server` that stops reading while the file `name` is sent, until `goOn()`. */
async function stalling(t, server, name) {
	const stalled = [];
	const way = net.createServer((browser) => {
		const chatd = net.connect(server.port, '127.0.0.1');
		browser.on('error', () => {}).on('close', () => chatd.destroy());
		chatd.on('error', () => {}).on('close', () => browser.destroy());
		chatd.pipe(browser);
		browser.on('data', (bytes) => {
			chatd.write(bytes);
			if (!bytes.includes(`/files/${name} HTTP/1.1`)) return;
			browser.pause();
			stalled.push(browser);
		});
	});
	await new Promise((done) => way.listen(0, '127.0.0.1', done));
	t.after(() => way.close());
	return { url: `http://127.0.0.1:${way.address().port}/`, goOn: () => stalled.forEach((browser) => browser.resume()) };
}

test('an upload can be cancelled, and the next one is sent', async (t) => {
	const server = await chatd(t);
	const way = await stalling(t, server, 'large.bin');
	const page = await visitor(t);
	await enter(page, way, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	// The file is larger than the kernel's buffers, so the upload cannot finish.
	const folder = mkdtempSync(join(tmpdir(), 'chatd-'));
	t.after(() => rmSync(folder, { recursive: true }));
	writeFileSync(join(folder, 'large.bin'), Buffer.alloc(60_000_000));
	await attach(page, join(folder, 'large.bin'));
	const large = page.locator('#uploads li', { hasText: 'large.bin' });
	await until(() => large.locator('progress').evaluate(({ value, max }) => value > 0 && value < max), true);
	await Promise.all([
		page.waitForEvent('requestfailed', (request) => request.url().endsWith('/files/large.bin')),
		large.getByRole('button', { name: 'Cancel large.bin' }).click(),
	]);
	await large.waitFor({ state: 'detached' });
	way.goOn();
	await attach(page, { name: 'small.bin', mimeType: '', buffer: randomBytes(10) });
	await bob.expect(/^FILE #lobby ann \d+ 10 small\.bin$/m);
	await page.getByRole('button', { name: 'Files' }).click();
	await page.locator('#panel').getByRole('link', { name: 'small.bin' }).waitFor();
	assert.equal(await page.locator('#panel .file').count(), 1);
});

test('a refused upload says why', async (t) => {
	const server = await chatd(t, ['--memory', '--max-upload', '1000']);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	await attach(page, { name: 'large.bin', mimeType: '', buffer: randomBytes(2000) });
	const error = page.locator('#uploads .error');
	await error.waitFor();
	assert.equal(await error.textContent(), 'This file is larger than the server accepts.');
	await page.getByRole('button', { name: 'Cancel large.bin' }).click();
	await until(() => page.locator('#uploads li').count(), 0);
});

test('the list of files follows what is uploaded and deleted', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const listed = () => page.locator('#panel .file .name').allTextContents();
	await page.getByRole('button', { name: 'Files' }).click();
	await page.getByText('No files yet.').waitFor();
	const ids = [];
	for (const name of ['a.txt', `${'long-'.repeat(20)}b.txt`]) {
		bob.say(`UPLOAD ${name} 0`);
		ids.push((await bob.expect(/^OK UPLOAD (\d+)/m))[1]);
	}
	await until(listed, [`${'long-'.repeat(20)}b.txt`, 'a.txt']);
	const widths = await page.locator('#panel .file').evaluateAll((cards) => cards.map((card) => card.getBoundingClientRect().width));
	assert.equal(widths[0], widths[1]);
	bob.say(`REMOVE ${ids[0]}`);
	await until(listed, [`${'long-'.repeat(20)}b.txt`]);
});

test('a file in direct messages reaches the other user, and nobody else', async (t) => {
	const server = await chatd(t);
	const [ann, bob, eve] = [await visitor(t), await visitor(t), await visitor(t)];
	await register(ann, server, 'ann');
	await register(bob, server, 'bob');
	await register(eve, server, 'eve');
	await say(ann, '/msg bob a picture for you');
	await bob.locator('#people').getByRole('link', { name: /ann/ }).click();
	await attach(ann, [
		{ name: 'green.png', mimeType: 'image/png', buffer: PIXEL },
		{ name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('at noon') },
	]);
	for (const page of [ann, bob]) {
		await page.getByRole('link', { name: 'Show green.png' }).waitFor();
		await page.waitForFunction(() => document.querySelector('.thumb img')?.naturalWidth === 1);
		const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'plan.txt' }).click()]);
		assert.equal(saved.suggestedFilename(), 'plan.txt');
		assert.equal(readFileSync(await saved.path()).toString(), 'at noon');
	}
	assert.equal(await ann.locator('#uploads li').count(), 0);
	// In front of the page, in the list of files, and after a reload.
	await bob.getByRole('link', { name: 'Show green.png' }).click();
	const front = bob.getByRole('dialog', { name: 'Picture' });
	await bob.waitForFunction(() => document.querySelector('dialog img')?.naturalWidth === 1);
	const [picture] = await Promise.all([bob.waitForEvent('download'), front.getByRole('link', { name: 'Download' }).click()]);
	assert.equal(picture.suggestedFilename(), 'green.png');
	assert.equal(sha256(readFileSync(await picture.path())), sha256(PIXEL));
	await bob.keyboard.press('Escape');
	await bob.reload();
	await bob.waitForFunction(() => document.querySelector('.thumb img')?.naturalWidth === 1);
	await say(bob, '/files');
	const listed = bob.locator('#panel li.file a');
	await until(() => listed.allTextContents(), ['plan.txt', 'green.png']);
	const [again] = await Promise.all([bob.waitForEvent('download'), listed.first().click()]);
	assert.equal(readFileSync(await again.path()).toString(), 'at noon');
	// A file that is dropped is shown first.
	await transfer(ann.locator('#log'), 'drop', { files: [['dropped.txt', 'text/plain']] });
	await ann.getByRole('dialog', { name: 'Send this file to bob?' }).getByRole('button', { name: 'Send' }).click();
	await bob.locator('.file', { hasText: 'dropped.txt' }).first().waitFor();
	// Eve sees none of it, and her browser gets none of it.
	await until(() => eve.locator('.file, .thumb').count(), 0);
	const href = await ann.getByRole('link', { name: 'plan.txt' }).getAttribute('href');
	assert.equal(await eve.evaluate(async (href) => (await fetch(href)).status, href), 404);
	await say(eve, '/files');
	await eve.getByText('No files yet').waitFor();
	// The sender deletes it.
	await say(ann, '/remove');
	await choose(ann, 'Delete');
	await until(() => bob.locator('.row .file', { hasText: 'dropped.txt' }).count(), 0);
});

test('a file in direct messages needs two registered names, and the page says so', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	await say(page, '/msg bob hello');
	await bob.expect(/^MSG bob ann hello$/m);
	const plan = { name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('at noon') };
	await page.locator('#pick').setInputFiles(plan);
	await page.getByText('Register yours first: open You, or type /register.').waitFor();
	await say(page, '/register');
	await registered(page, 'ann');
	await attach(page, plan);
	await page.locator('#uploads').getByText('bob must register too').waitFor();
	bob.say('REGISTER his secret');
	await bob.expect(/^OK REGISTER bob$/m);
	await page.locator('#uploads').getByRole('button', { name: 'Retry' }).click();
	await bob.expect(/^FILE bob ann \d+ 7 plan\.txt$/m);
	await page.locator('.file', { hasText: 'plan.txt' }).waitFor();
});
