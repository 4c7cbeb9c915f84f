// The page opens, however far away the server is, and says so when a part of it does not arrive.

import assert from 'node:assert/strict';
import test from 'node:test';
import { chatd, input, until, visitor } from './support.js';
import { distant } from './support/proxy.js';

/** Loads of each kind; LOADS=7 makes 21 at each distance. */
const LOADS = Number(process.env.LOADS ?? 1);
/** Some ten round trips of the longest, on a slow machine. */
const LONG = 60_000;

for (const roundTrip of [50, 200, 400, 1000]) {
	test(`it opens at a round trip of ${roundTrip} ms: cold, warm, with restored storage`, async (t) => {
		const server = await chatd(t);
		const far = await distant(t, server, roundTrip);
		for (let i = 0; i < LOADS; i++) {
			const cold = await visitor(t);
			cold.setDefaultTimeout(LONG);
			cold.setDefaultNavigationTimeout(LONG);
			await cold.goto(far.url, { waitUntil: 'commit' });
			await cold.getByLabel('Your name').fill(`ann${i}`);
			await cold.getByRole('button', { name: /^Join/ }).click();
			await input(cold).waitFor();
			// The same profile again: connections and cache are there.
			await cold.goto('about:blank');
			await cold.goto(far.url, { waitUntil: 'commit' });
			await input(cold).waitFor();
			const storageState = await cold.context().storageState();
			await cold.context().close();
			const restored = await visitor(t, { storageState });
			restored.setDefaultNavigationTimeout(LONG);
			await restored.goto(far.url, { waitUntil: 'commit' });
			await input(restored).waitFor({ timeout: LONG });
			await restored.context().close();
		}
	});
}

test('what the page needs comes in two requests', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const asked = [];
	page.on('request', (request) => asked.push(new URL(request.url()).pathname));
	await page.goto(server.url);
	await page.getByRole('button', { name: /^Join/ }).waitFor();
	await until(() => page.locator('#loading').textContent(), '');
	assert.deepEqual(asked.filter((path) => path !== '/icon.svg').sort(), ['/', '/app.js', '/style.css']);
});

test('the card is there before any script is', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { javaScriptEnabled: false });
	await page.goto(server.url);
	await page.getByLabel('Your name').waitFor();
});

test('a script or a style sheet that does not arrive is reported, and comes again', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const isBroken = { '/app.js': true, '/style.css': true };
	await page.route('**/*', (route) => {
		const { pathname } = new URL(route.request().url());
		return isBroken[pathname] ? route.abort('connectionreset') : route.continue();
	});
	await page.goto(server.url);
	await page.getByText('A part of this page did not arrive. Trying again…').waitFor();
	isBroken['/app.js'] = false;
	await page.getByLabel('Your name').fill('ann');
	await page.locator('.primary:enabled').waitFor();
	isBroken['/style.css'] = false;
	await until(() => page.locator('#app').isVisible(), false);
	await page.getByLabel('Your name').fill('ann');
	await page.getByRole('button', { name: /^Join/ }).click();
	await input(page).waitFor();
	await page.waitForFunction(() => getComputedStyle(document.body).margin === '0px');
});
