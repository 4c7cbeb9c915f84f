// The page opens, however far away the server is, and says so if a part of it cannot be loaded.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Nc, chatd, enter, input, say, until, visitor } from './support.js';
import { distant } from './support/proxy.js';

/** How often the page is loaded in each of the three ways: LOADS=7 makes 21 loads at each round trip. */
const LOADS = Number(process.env.LOADS ?? 1);
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
			await cold.getByLabel('Your name', { exact: true }).fill(`ann${i}`);
			await cold.getByRole('button', { name: /^Join/ }).click();
			await input(cold).waitFor();
			// The same profile again, with its connections and cache.
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

/**
 * How many round trips a new user waits at most: until the name can be typed, until the page is connected, and from "Join"
 * until a message can be typed. One round trip is needed for each connection that the browser opens.
 */
const TRIPS_MAX = { name: 2.5, connected: 6.5, message: 2.5 };

test('a new user can type after few round trips', { timeout: 120_000 }, async (t) => {
	const server = await chatd(t);
	const took = async (roundTrip, nick) => {
		const far = await distant(t, server, roundTrip);
		const page = await visitor(t);
		page.setDefaultTimeout(LONG);
		const began = Date.now();
		await page.goto(far.url, { waitUntil: 'commit' });
		await page.getByLabel('Your name', { exact: true }).fill(nick);
		const name = Date.now();
		await page.locator('#loading').filter({ hasNotText: /./ }).waitFor({ state: 'attached' });
		const connected = Date.now();
		await page.getByRole('button', { name: /^Join/ }).click();
		await input(page).waitFor();
		const message = Date.now();
		return { name: name - began, connected: connected - began, message: message - connected };
	};
	// What the machine itself needs is in both.
	const [near, far] = [await took(400, 'ann'), await took(2000, 'bob')];
	for (const [until, max] of Object.entries(TRIPS_MAX)) {
		const trips = (far[until] - near[until]) / 1600;
		t.diagnostic(`${until}: ${near[until]} ms at a round trip of 400 ms, ${trips.toFixed(2)} round trips`);
		assert.ok(trips <= max, `${until} takes ${trips} round trips`);
	}
});

test('the page loads with two more requests', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const asked = [];
	page.on('request', (request) => asked.push(new URL(request.url()).pathname));
	await page.goto(server.url);
	await page.getByRole('button', { name: /^Join/ }).waitFor();
	await until(() => page.locator('#loading').textContent(), '');
	assert.deepEqual(asked.filter((path) => path !== '/icon.svg').sort(), ['/', '/app.js', '/style.css']);
});

test('the welcome card needs no script', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t, { javaScriptEnabled: false });
	await page.goto(server.url);
	await page.getByLabel('Your name', { exact: true }).waitFor();
});

test('a script or style sheet that cannot be loaded is reported, and loaded again', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	const isBroken = { '/app.js': true, '/style.css': true };
	await page.route('**/*', (route) => {
		const { pathname } = new URL(route.request().url());
		return isBroken[pathname] ? route.abort('connectionreset') : route.continue();
	});
	await page.goto(server.url);
	await page.getByText('Part of this page could not be loaded. Retrying…').waitFor();
	isBroken['/app.js'] = false;
	await page.getByLabel('Your name', { exact: true }).fill('ann');
	await page.locator('.primary:enabled').waitFor();
	isBroken['/style.css'] = false;
	await until(() => page.locator('#app').isVisible(), false);
	await page.getByLabel('Your name', { exact: true }).fill('ann');
	await page.getByRole('button', { name: /^Join/ }).click();
	await input(page).waitFor();
	await page.waitForFunction(() => getComputedStyle(document.body).margin === '0px');
});

test('with blocked storage a user can join and talk', async (t) => {
	const server = await chatd(t);
	const page = await visitor(t);
	await page.addInitScript(() => {
		const get = () => { throw new DOMException('Access is denied for this document.', 'SecurityError'); };
		for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(globalThis, name, { get });
	});
	await enter(page, server, 'ann');
	const bob = await Nc.named(t, server, 'bob');
	await say(page, 'hello');
	await bob.expect(/^MSG #lobby ann hello$/m);
});
