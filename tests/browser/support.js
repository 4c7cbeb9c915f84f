// A real chatd, real browsers and a real nc, each ended with its test. Every wait has a deadline.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const DEADLINE_MS = 30_000;
const root = new URL('../../', import.meta.url);
/** The folder of what was built, and of what `tests/run` has installed. */
export const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('target', root));
const CHATD = process.env.CHATD ?? `${TARGET}/release/chatd`;
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Returns `promise`, or a failure that says what did not happen. */
function within(promise, what, ms = DEADLINE_MS) {
	let timer;
	const late = new Promise((_, fail) => {
		timer = setTimeout(() => fail(new Error(`not within ${ms} ms: ${what()}`)), ms);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const ended = (child) => (child.exitCode === null && child.signalCode === null
	? new Promise((done) => child.once('exit', done))
	: Promise.resolve());

/** A program whose output the test waits for. */
export class Program {
	constructor(t, command, args, env = {}) {
		this.name = [command, ...args].join(' ');
		this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
		this.out = '';
		this.waiting = new Set();
		this.child.stdout.setEncoding('utf8').on('data', (text) => {
			this.out += text;
			for (const look of this.waiting) look();
		});
		this.child.stdin.on('error', () => {}); // the program has ended: the next wait says so
		this.started = new Promise((done, fail) => this.child.once('spawn', done).once('error', fail));
		t.after(() => this.end('SIGKILL'));
	}

	/** Waits for `pattern` in the output after the last match. */
	async expect(pattern) {
		await this.started;
		let look;
		const found = new Promise((done) => {
			look = () => {
				const match = pattern.exec(this.out);
				if (!match) return;
				this.out = this.out.slice(match.index + match[0].length);
				done(match);
			};
			this.waiting.add(look);
			look();
		});
		return within(found, () => `${pattern} from ${this.name}, which has said ${JSON.stringify(this.out.slice(-2000))}`)
			.finally(() => this.waiting.delete(look));
	}

	async end(signal = 'SIGTERM') {
		this.child.kill(signal);
		await within(ended(this.child), () => `the end of ${this.name}`);
	}
}

/** A server of its own for a test: `{port, url, stop()}`. */
export async function chatd(t, args = ['--memory'], port = 0, env = {}) {
	const name = args.includes('--name') ? [] : ['--name', 'plain.test'];
	const program = new Program(t, CHATD, ['--listen', `127.0.0.1:${port}`, ...name, ...args], env);
	const [, given] = await program.expect(/listening on \S*:(\d+)/);
	return { port: Number(given), url: `http://127.0.0.1:${given}/`, stop: () => program.end() };
}

/** A user with nc. */
export class Nc extends Program {
	constructor(t, { port }) {
		super(t, 'nc.openbsd', ['127.0.0.1', String(port)]);
	}

	say(line) {
		this.child.stdin.write(`${line}\n`);
	}

	static async named(t, server, nick, room) {
		const nc = new Nc(t, server);
		if (room) nc.say(`JOIN ${room}`);
		nc.say(`NICK ${nick}`);
		await nc.expect(/^OK NICK .*\n/m);
		return nc;
	}
}

/** Sends many messages as fast as the server takes them; ends when the last is answered. */
export async function flood({ port }, nick, room, texts) {
	const socket = net.connect(port, '127.0.0.1');
	let out = '';
	const done = new Promise((done, fail) => {
		socket.setEncoding('utf8').on('data', (text) => {
			out = (out + text).slice(-200);
			if (/^OK BYE$/m.test(out)) done();
		});
		socket.on('error', fail);
	});
	socket.write(`JOIN ${room}\nNICK ${nick}\n`);
	for (let i = 0; i < texts.length; i += 1000) {
		const lines = texts.slice(i, i + 1000).map((text) => `MSG ${text}\n`).join('');
		if (!socket.write(lines)) await new Promise((drained) => socket.once('drain', drained));
	}
	socket.write('BYE\n');
	await within(done, () => `${texts.length} messages sent; the last reply was ${out}`, 60_000);
	socket.destroy();
}

/** One Chromium for all tests of a file: each visitor has a profile of its own. */
let launched;
after(async () => (await launched)?.close());

function browser() {
	launched ??= chromium.launch({
		executablePath: CHROMIUM,
		args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync'],
	});
	return launched;
}

/** Every frame is drawn this much later, as on a slow machine. A test that does not wait for it fails each time. */
const FRAMES_LATE_MS = Number(process.env.FRAMES_LATE_MS ?? 50);

function lateFrames(ms) {
	const { requestAnimationFrame: atOnce } = globalThis;
	globalThis.requestAnimationFrame = (draw) => setTimeout(() => atOnce(draw), ms);
}

/** The last lines that a page has sent to the server and received from it. */
const spoken = new WeakMap();

function listen(page) {
	const lines = [];
	spoken.set(page, lines);
	page.on('websocket', (socket) => {
		const add = (mark) => ({ payload = '' } = {}) => {
			lines.push(`${mark} ${String(payload).slice(0, 300)}`);
			lines.splice(0, lines.length - 40);
		};
		socket.on('framesent', add('>')).on('framereceived', add('<')).on('close', add('closed'));
	});
}

/** Returns a function that throws a problem again, with what the page shows and what it has sent and received. */
const explain = (page) => async (problem) => {
	const [shown, typed] = [await page.locator('body').innerText(), await input(page).inputValue().catch(() => '')];
	throw new Error(`${problem.message}\nThe page shows: ${shown}\nThe field has: ${typed}\nThe last lines:\n${spoken.get(page)?.join('\n')}`);
};

/** Opens a browser window with storage of its own. An error in the page fails the test. */
export async function visitor(t, options = {}) {
	const context = await (await browser()).newContext({ viewport: { width: 1200, height: 760 }, locale: 'en-GB', ...options });
	context.setDefaultTimeout(DEADLINE_MS);
	const page = await context.newPage();
	listen(page);
	if (FRAMES_LATE_MS) await page.addInitScript(lateFrames, FRAMES_LATE_MS);
	const wrong = [];
	page.on('pageerror', (error) => wrong.push(error.stack));
	page.on('console', (message) => {
		if (/Content.Security.Policy/i.test(message.text())) wrong.push(message.text());
	});
	t.after(async () => {
		await context.close();
		assert.deepEqual(wrong, []);
	});
	return page;
}

/**
 * Presses one of a message's buttons, which its row has while the pointer is on it. If the row moves away from the pointer
 * first, because a line arrives or the input changes its height, the pointer follows it.
 */
export async function tool(row, name) {
	const button = row.getByRole('button', { name, exact: true }).first();
	await until(async () => {
		await row.hover();
		return button.click({ timeout: 2000 }).then(() => true, (problem) => {
			if (problem.name !== 'TimeoutError') throw problem;
			return false;
		});
	}, true);
}

/** Opens the page and chooses a name, as a new user does. */
export async function enter(page, server, nick, address = '') {
	await page.goto(server.url + address);
	await page.getByLabel('Your name', { exact: true }).fill(nick);
	await page.getByRole('button', { name: /^Join/ }).click();
	await page.getByRole('textbox', { name: 'Message' }).or(page.getByRole('combobox', { name: 'Message' })).waitFor().catch(explain(page));
}

/** Changes the lines that the page receives: `change(line)` returns what arrives instead. */
export const rewrite = (page, change) => page.routeWebSocket(/\/ws$/, (socket) => {
	socket.connectToServer().onMessage((line) => socket.send(change(line)));
});

/** Pastes or drops into an element; `files` are `[name, type]`. Returns whether the browser would have handled it. */
export const transfer = (locator, type, { text, files = [] }) => locator.evaluate((element, { type, text, files }) => {
	const data = new DataTransfer();
	for (const [name, type] of files) data.items.add(new File(['from the desk'], name, { type }));
	if (text !== undefined) data.setData('text/plain', text);
	const props = { bubbles: true, cancelable: true };
	return element.dispatchEvent(type === 'drop' ? new DragEvent('drop', { dataTransfer: data, ...props }) : new ClipboardEvent('paste', { clipboardData: data, ...props }));
}, { type, text, files });

export const input = (page) => page.locator('#input');

export async function say(page, text) {
	await input(page).fill(text);
	await input(page).press('Enter');
}

/** Enters, and registers the name. */
export async function register(page, server, nick) {
	await enter(page, server, nick);
	await say(page, '/register');
	await registered(page, nick);
}

/** Waits until the name is registered. */
export const registered = (page, nick) => page.getByText(`${nick} is registered to you`).waitFor().catch(explain(page));

/** Presses a button of the dialog. */
export const choose = (page, name) => page.getByRole('dialog').getByRole('button', { name, exact: true }).click();

/** Attaches files, and sends them after a look at them. */
export async function attach(page, files) {
	await page.locator('#pick').setInputFiles(files);
	await choose(page, 'Send');
}

/** Finds messages with this text. */
export const message = (page, text) => page.locator('.row .text').filter({ hasText: text });

/** Waits until the server has acknowledged a message. */
export const sent = (page, text) => message(page, text).and(page.locator('.row:not(.waiting) .text')).waitFor();

/** Returns the texts of all messages in the document, in order. */
export const texts = (page) => page.locator('.row .text').allTextContents();

/** Waits until `look()` returns what is expected. */
export async function until(look, expected) {
	const end = Date.now() + DEADLINE_MS;
	for (;;) {
		const found = await look();
		try {
			assert.deepEqual(found, expected);
			return;
		} catch (difference) {
			if (Date.now() > end) throw difference;
		}
		await new Promise((next) => setTimeout(next, 20));
	}
}
