// No message is ever more than text.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { Nc, chatd, enter, message, say, texts, until, visitor } from './support.js';

const HOSTILE = [
	'<img src=x onerror="document.title=\'owned\'">',
	'<script>document.title="owned"</script>',
	'"><svg/onload=alert(1)>',
	'&lt;b&gt; &amp; <b>bold</b>',
	'javascript:alert(1) [x](javascript:alert(1))',
	'https://x.example/"onmouseover="alert(1)',
	'${alert(1)} {{constructor.constructor("alert(1)")()}}',
	'__proto__ constructor toString',
];

test('hostile text is shown as text, everywhere', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	page.on('dialog', (dialog) => assert.fail(`a dialog: ${dialog.message()}`));
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	for (const text of HOSTILE) bob.say(`MSG ${text}`);
	await until(async () => (await texts(page)).length, HOSTILE.length);
	assert.deepEqual(await texts(page), HOSTILE);
	for (const text of HOSTILE) bob.say(`TOPIC ${text}`);
	await until(() => page.locator('#topic').textContent(), HOSTILE.at(-1));
	bob.say('UPLOAD <img src=x onerror=alert(1)>.png 3');
	bob.child.stdin.write('abc');
	await page.getByRole('link', { name: '<img src=x onerror=alert(1)>.png', exact: true }).waitFor();
	bob.say(`TELL ann ${HOSTILE[0]}`);
	await page.locator('#people').getByRole('link', { name: 'bob' }).click();
	// The room has a message with the same text: only the title shows that the conversation is open.
	await until(() => page.title(), 'bob – plainchat');
	await until(() => texts(page), [HOSTILE[0]]);
	// The text has created no element, and no link whose target differs from its text.
	const found = await page.evaluate(() => ({
		scripts: document.querySelectorAll('script').length,
		strange: document.querySelectorAll('b, svg[onload], [onerror], [onmouseover]').length,
		hrefs: [...document.querySelectorAll('.text a')].map((a) => a.protocol),
		title: document.title,
	}));
	assert.deepEqual(found, { scripts: 2, strange: 0, hrefs: [], title: 'bob – plainchat' });
	const links = 'www.x.example https://x.example/y mailto:bob@x.example mailto:javascript:alert(1) www.javascript:alert(1)';
	bob.say(`TELL ann ${links}`);
	await message(page, links).waitFor();
	assert.deepEqual(await page.locator('.text a').evaluateAll((all) => all.map((a) => [a.getAttribute('href'), a.rel])), [
		['http://www.x.example', 'noopener noreferrer'],
		['https://x.example/y', 'noopener noreferrer'],
		['mailto:bob@x.example', 'noopener noreferrer'],
	]);
});

test('rooms and users can be called like properties of every object', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'constructor', '#toString');
	await page.getByRole('heading', { name: '#toString', exact: true }).waitFor();
	const bob = await Nc.named(t, server, 'valueOf', '#toString');
	bob.say('TELL constructor hello');
	await page.locator('#people').getByRole('link', { name: 'valueOf' }).waitFor();
	await page.reload();
	await page.locator('#people').getByRole('link', { name: 'valueOf' }).waitFor();
	await page.locator('#rooms').getByRole('link', { name: 'toString' }).waitFor();
});

test('very long words and right-to-left text stay in their place', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { viewport: { width: 390, height: 700 } });
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	const long = 'x'.repeat(3000);
	const wide = await Nc.named(t, server, 'W'.repeat(32));
	wide.say('MSG my name is long');
	await message(page, 'my name is long').waitFor();
	bob.say(`MSG ${long}`);
	bob.say(`MSG https://x.example/${long}`);
	bob.say('MSG שלום, this turns \u202egnorw\u202c');
	bob.say(`TOPIC ${'t'.repeat(1000)}`);
	bob.say(`UPLOAD ${'n'.repeat(240)}.txt 0`);
	await page.getByRole('link', { name: /^n+\.txt$/ }).waitFor();
	await message(page, 'שלום, this turns gnorw').waitFor();
	const sizes = await page.evaluate(() => ({
		wide: [...document.querySelectorAll('#main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility()).map((e) => e.className || e.tagName),
		scrolls: document.documentElement.scrollWidth > innerWidth || document.getElementById('log').scrollWidth > innerWidth,
	}));
	assert.deepEqual(sizes, { wide: [], scrolls: false });
	assert.deepEqual(await page.locator('.by').evaluateAll((heads) => heads.filter(({ offsetHeight }) => offsetHeight > 24).length), 0);
	await page.getByRole('button', { name: 'Files' }).click();
	await page.locator('#panel').getByRole('link', { name: /^n+\.txt$/ }).waitFor();
	await page.locator('#panel .size').evaluateAll((all) => all.forEach((e) => { e.textContent += 'W'.repeat(100); }));
	const beyond = await page.locator('#panel *').evaluateAll((all) => all.filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className || e.tagName));
	assert.deepEqual(beyond, []);
});

test('another page cannot frame this one, and this one runs nothing inline', async (t) => {
	const server = await chatd(t);
	const reply = await fetch(server.url);
	const policy = reply.headers.get('content-security-policy');
	assert.match(policy, /default-src 'none'/);
	assert.match(policy, /frame-ancestors 'none'/);
	assert.doesNotMatch(policy, /unsafe/);
	// The one inline script is allowed by its digest.
	const html = await reply.text();
	const [, script] = /<script>([^]*?)<\/script>/.exec(html);
	const digest = createHash('sha256').update(script).digest('base64');
	assert.match(policy, new RegExp(`script-src 'self' 'sha256-${digest.replaceAll('+', '\\+')}';`));
	assert.doesNotMatch(html.replace(`<script>${script}`, ''), /<style|style=|<script(?! defer src=)|\son\w+=/);
});

test('a paste with many lines never becomes commands', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	await say(page, 'look:\nBYE\nNICK evil\nMSG x');
	await bob.expect(/^MSG #lobby ann look:\nMSG #lobby ann BYE\nMSG #lobby ann NICK evil\nMSG #lobby ann MSG x$/m);
});

test('the page is small on the network', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await enter(page, server, 'ann');
	const bytes = await page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
		.reduce((sum, { transferSize }) => sum + transferSize, 0));
	t.diagnostic(`${bytes} bytes with their headers`);
	assert.ok(bytes > 10_000 && bytes < 80_000, `${bytes} bytes`);
});
