// Notifications while the page is closed (http.md, section 6). The browser gives the page an address at its push service,
// and the page gives that address to the server.

import { basic } from './files.js';

/** Whether this browser can be notified while the page is closed. */
const IS_POSSIBLE = Boolean(globalThis.isSecureContext && globalThis.navigator?.serviceWorker && globalThis.PushManager);

/** Allows the only script that the page runs beside its own (see its Content-Security-Policy). */
const policy = globalThis.trustedTypes?.createPolicy('worker', { createScriptURL: () => 'sw.js' });
const worker = () => policy?.createScriptURL('') ?? 'sw.js';

export class Push {
	/** Whether the user wants notifications in this browser. */
	isOn = false;
	#key = null;
	#last = Promise.resolve();

	constructor(chat) {
		this.chat = chat;
		this.isOn = chat.store.isPushed;
	}

	/** Returns the server's key, or '' if the server or the browser does not notify. */
	async key() {
		if (!IS_POSSIBLE) return '';
		const reply = await this.#ask('GET').catch(() => null);
		this.#key = reply?.ok ? (await reply.text()).trim() : '';
		return this.#key;
	}

	/**
	 * Runs `act` after all earlier actions have ended. Otherwise a late answer to an earlier action could turn on again
	 * what the user has turned off.
	 */
	#next(act) {
		const done = this.#last.then(act);
		this.#last = done.catch(() => {});
		return done;
	}

	/** Turns notifications on in this browser. Returns why that failed, or ''. */
	start() {
		return this.#next(() => this.#start());
	}

	async #start() {
		try {
			const key = this.#key || (await this.key());
			await navigator.serviceWorker.register(worker());
			const { pushManager } = await navigator.serviceWorker.ready;
			const options = { userVisibleOnly: true, applicationServerKey: key };
			const made = await pushManager.subscribe(options).catch(async () => {
				// The browser still has an address for another server's key.
				await (await pushManager.getSubscription())?.unsubscribe();
				return pushManager.subscribe(options);
			});
			return await this.#tell(made);
		} catch (problem) {
			return `Your browser refused: ${problem.message}`;
		}
	}

	/** Turns notifications off in this browser. */
	stop() {
		return this.#next(() => this.#stop());
	}

	async #stop() {
		this.#set(false);
		const made = await this.#subscription();
		if (!made) return;
		await this.#ask('DELETE', { endpoint: made.endpoint }).catch(() => null);
		await made.unsubscribe();
	}

	/** Sends the address to the server again: the server may have dropped it, or must learn whom the user ignores now. */
	renew() {
		return this.#next(() => this.#renew());
	}

	async #renew() {
		if (!this.isOn || !IS_POSSIBLE) return;
		const made = await this.#subscription();
		if (made) await this.#tell(made).catch(() => null);
	}

	async #subscription() {
		const registration = await navigator.serviceWorker.getRegistration();
		return registration?.pushManager.getSubscription();
	}

	async #tell(made) {
		const { endpoint, keys } = made.toJSON();
		const reply = await this.#ask('PUT', { endpoint, keys, ignore: this.chat.ignored });
		this.#set(reply.ok);
		if (reply.ok) return '';
		return reply.status === 403 ? 'Register your name first.' : `The server refused: ${await reply.text()}`;
	}

	#set(isOn) {
		this.isOn = isOn;
		this.chat.store.isPushed = isOn;
	}

	#ask(method, body) {
		const headers = { authorization: basic(this.chat) };
		return fetch('push', { method, headers, body: body && JSON.stringify(body) });
	}
}
