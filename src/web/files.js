// Uploads, one after the other, by `PUT /rooms/<room>/files/<name>`. The user's name and password are sent with each,
// so that the server knows that the file comes from the same user.

import { refusal } from './refusals.js';
import { parse } from './wire.js';

const PICTURE = /\.(png|jpe?g|gif|webp)$/i;
/** The maximum size of a picture that is loaded by itself. A larger picture is shown as a file. */
const PICTURE_BYTES_MAX = 8_000_000;

export const isPicture = (name, size) => PICTURE.test(name) && size > 0 && size <= PICTURE_BYTES_MAX;

export const addressOf = ({ file, name }) => `/files/${file}/${encodeURIComponent(name)}`;

/** Returns the header that logs in over HTTP. */
export function basic({ nick, password }) {
	const bytes = new TextEncoder().encode(`${nick}:${password}`);
	return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

let serial = 0;

export class Uploads {
	/**
	 * The uploads that are `waiting`, `going` or `failed`. `sent` of `file.size` bytes have been sent. A finished
	 * upload is removed.
	 */
	list = [];

	constructor(chat, page) {
		this.chat = chat;
		this.page = page;
	}

	add(room, files) {
		if (!room || room.isPrivate) return this.page.toast('Files can only be sent to rooms, not in direct messages.');
		for (const file of files) this.list.push({ key: `u${++serial}`, room, file, sent: 0, state: 'waiting' });
		this.#next();
	}

	cancel(upload) {
		upload.request?.abort();
		this.list = this.list.filter((other) => other !== upload);
		this.#next();
	}

	retry(upload) {
		upload.state = 'waiting';
		this.#next();
	}

	#next() {
		const upload = this.list.find(({ state }) => state === 'waiting');
		if (upload && !this.list.some(({ state }) => state === 'going')) this.#send(upload);
		this.page.changed();
	}

	#send(upload) {
		const { room, file } = upload;
		const request = new XMLHttpRequest(); // fetch does not report progress
		const failed = (error) => {
			Object.assign(upload, { state: 'failed', error });
			this.#next();
		};
		request.open('PUT', `/rooms/${encodeURIComponent(room.name.slice(1))}/files/${encodeURIComponent(file.name)}`);
		request.setRequestHeader('Authorization', basic(this.chat));
		request.setRequestHeader('Content-Type', 'application/octet-stream');
		request.upload.onprogress = ({ loaded }) => {
			upload.sent = loaded;
			this.page.changed();
		};
		request.onload = () => {
			if (request.status < 300) this.cancel(upload);
			else {
				const reply = parse(request.responseText.trim());
				failed(reply?.kind === 'err' ? refusal(reply, { room: room.name }) : `Upload failed: the server answered with status ${request.status}.`);
			}
		};
		request.onerror = () => failed('Upload failed: the connection broke, or the file cannot be read.');
		Object.assign(upload, { state: 'going', sent: 0, request });
		request.send(file);
	}
}
