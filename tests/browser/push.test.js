// Notifications while the page is closed (http.md, section 6).

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Nc, Program, TARGET, chatd, enter, message, say, until, visitor } from './support.js';

/** Starts a push service, and a browser that it serves; see tests/hooks/push_service.py. */
async function service(t) {
	const folder = await mkdtemp(join(tmpdir(), 'push-'));
	t.after(() => rm(folder, { recursive: true }));
	const script = fileURLToPath(new URL('../hooks/push_service.py', import.meta.url));
	const program = new Program(t, join(TARGET, 'hook-clients/bin/python'), [script, folder]);
	const [line] = await program.expect(/^.*\n/);
	return { program, folder, browser: JSON.parse(line) };
}

/** Replaces the part of the browser that needs the push service of the browser's vendor. */
function subscribed(browser) {
	const make = (applicationServerKey) => ({ ...browser, applicationServerKey, toJSON: () => browser, unsubscribe: async () => localStorage.removeItem('test.made') });
	PushManager.prototype.subscribe = async ({ applicationServerKey }) => (localStorage.setItem('test.made', applicationServerKey), make(applicationServerKey));
	PushManager.prototype.getSubscription = async () => (localStorage.getItem('test.made') ? make(localStorage.getItem('test.made')) : null);
}

test('a user is notified while the page is closed, and opens the conversation from the notification', async (t) => {
	const { program, folder, browser } = await service(t);
	const env = { SSL_CERT_FILE: join(folder, 'cert.pem') };
	const server = await chatd(t, ['--memory', '--push', 'mailto:root@example.org', '--push-service', new URL(browser.endpoint).host], 0, env);
	const page = await visitor(t, { permissions: ['notifications'] });
	await page.addInitScript(subscribed, browser);
	await enter(page, server, 'ann');
	const open = () => page.getByRole('button', { name: 'ann, you' }).click();
	await open();
	const on = page.getByRole('button', { name: 'Notify me while this page is closed too' });
	await on.click();
	await page.getByText('Register your name first.').waitFor();
	await page.getByRole('button', { name: 'Register' }).click();
	await page.getByText('ann is registered to you.').waitFor();
	await on.click();
	await page.getByRole('button', { name: 'Do not notify me while this page is closed' }).waitFor();
	const bob = await Nc.named(t, server, 'bob');
	bob.say('REGISTER my secret');
	await bob.expect(/^OK REGISTER/m);
	bob.say('TELL ann while it is open');
	await bob.expect(/^OK TELL/m);
	// The page is closed. Another page of this server keeps the browser open.
	await page.goto(`${server.url}health`);
	const isAlone = (members = '1') => until(async () => {
		bob.say('WHO #lobby');
		return (await bob.expect(/^OK WHO.* (\d+)$/m))[1];
	}, members);
	await isAlone();
	bob.say('TELL ann psst');
	const [line] = await program.expect(/^.*\n/);
	const { text } = JSON.parse(line);
	assert.deepEqual(text, { title: 'bob', body: 'psst', room: 'bob' });

	// The service worker shows what was decrypted.
	const devtools = await page.context().newCDPSession(page);
	const versions = [];
	devtools.on('ServiceWorker.workerVersionUpdated', ({ versions: changed }) => versions.push(...changed));
	await devtools.send('ServiceWorker.enable');
	const activated = () => versions.find(({ status }) => status === 'activated');
	await until(() => activated() !== undefined, true);
	const { registrationId } = activated();
	await devtools.send('ServiceWorker.deliverPushMessage', { origin: new URL(server.url).origin, registrationId, data: JSON.stringify(text) });
	const shown = () => page.evaluate(async () => {
		const registration = await navigator.serviceWorker.getRegistration('/');
		return (await registration.getNotifications()).map(({ title, body, tag, data }) => ({ title, body, tag, data }));
	});
	await until(shown, [{ title: 'bob', body: 'psst', tag: 'bob', data: 'bob' }]);

	// The page is opened again, where the notification leads to the conversation.
	await page.goto(server.url);
	await bob.expect(/^JOIN #lobby ann$/m);
	const [worker] = page.context().serviceWorkers();
	await worker.evaluate(() => show('bob').catch(() => {})); // without a click, it may not take the focus
	await page.getByRole('heading', { name: 'bob', exact: true }).waitFor();

	// A hidden page that the browser has stopped is like a closed one.
	// This browser never stops a visible page, so the test sends the event itself and keeps the page offline meanwhile.
	await page.context().setOffline(true);
	await page.evaluate(() => document.dispatchEvent(new Event('freeze')));
	await isAlone();
	bob.say('TELL ann while it is stopped');
	assert.equal((await program.expect(/"body": "([^"]*)"/))[1], 'while it is stopped');
	await page.context().setOffline(false);
	await message(page, 'while it is stopped').waitFor();

	// A message of an ignored user notifies nobody.
	const cyn = await Nc.named(t, server, 'cyn');
	cyn.say('REGISTER my secret');
	await cyn.expect(/^OK REGISTER/m);
	const renewed = page.waitForResponse((response) => response.url().endsWith('/push') && response.request().method() === 'PUT');
	await say(page, '/ignore bob');
	assert.equal((await renewed).status(), 204);
	await page.goto(`${server.url}health`);
	await isAlone('2');
	bob.say('TELL ann this is ignored');
	await bob.expect(/^OK TELL/m);
	cyn.say('TELL ann this is not');
	assert.equal((await program.expect(/"body": "([^"]*)"/))[1], 'this is not');

	// Notifications can be turned off even while the page is still telling the server that they are on.
	let answer = null;
	const asked = new Promise((done) => {
		page.route('**/push', async (route) => {
			if (route.request().method() !== 'PUT') return route.continue();
			await new Promise((go) => done(answer = go));
			return route.continue();
		});
	});
	await page.goto(server.url);
	await asked;
	await open();
	await page.getByRole('button', { name: 'Do not notify me while this page is closed' }).click();
	answer();
	await on.waitFor();
	assert.equal(await page.evaluate(() => localStorage.getItem('test.made')), null);
});

test('without the flag, the page offers no notifications while it is closed', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { permissions: ['notifications'] });
	await enter(page, server, 'ann');
	const asked = page.waitForResponse((response) => response.url().endsWith('/push'));
	await page.getByRole('button', { name: 'ann, you' }).click();
	assert.equal((await asked).status(), 404);
	await page.getByText('You are notified of mentions and direct messages.').waitFor();
	assert.equal(await page.getByRole('button', { name: 'while this page is closed' }).count(), 0);
});
