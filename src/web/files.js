// Files: uploads, one after the other, by `PUT /rooms/<room or @nick>/files/<name>`, and links to files. The user's name
// and password are sent with each upload, so that the server knows that the file comes from the same user.

import { refusal } from './refusals.js';
import { isRoom, parse } from './wire.js';

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

/** The maximum number of files of direct messages that this page holds. */
const LOADED_MAX = 30;

const loaded = new Map(); // address → promise of the address in this page

/** Loads a file of direct messages, which only two users may read. Returns its address in this page. */
function load(item, chat) {
	const address = addressOf(item);
	if (!loaded.has(address)) {
		loaded.set(address, (async () => {
			const reply = await fetch(address, { headers: { Authorization: basic(chat) } });
			if (!reply.ok) throw new Error(reply.status);
			return URL.createObjectURL(await reply.blob());
		})());
		loaded.get(address).catch(() => loaded.delete(address));
		for (const [old, whole] of [...loaded].slice(0, -LOADED_MAX)) {
			loaded.delete(old);
			whole.then(URL.revokeObjectURL);
		}
	}
	return loaded.get(address);
}

/** Creates a link to a file. A browser sends no password with a link, so a file of direct messages is loaded first. */
export function linkTo(link, item, chat) {
	link.href = addressOf(item);
	if (isRoom(item.room)) return link;
	link.addEventListener('click', async (event) => {
		if (event.defaultPrevented) return;
		event.preventDefault();
		const copy = document.createElement('a');
		copy.download = item.name;
		try {
			copy.href = await load(item, chat);
			copy.click();
		} catch {
			chat.page.toast('That file is no longer there, or the connection broke.');
		}
	});
	return link;
}

/** Shows a picture. One of direct messages is loaded first. */
export async function showIn(picture, item, chat) {
	picture.item = item;
	if (isRoom(item.room)) return void (picture.src = addressOf(item));
	picture.removeAttribute('src'); // while this one loads, the previous picture would be seen under its name
	try {
		const address = await load(item, chat);
		if (picture.item === item) picture.src = address;
	} catch {
		picture.onerror?.();
	}
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
		if (!room || !this.mayAdd(room)) return;
		for (const file of files) this.list.push({ key: `u${++serial}`, room, file, sent: 0, state: 'waiting' });
		this.#next();
	}

	/** Returns whether files can be sent to a room or user. If not, shows why. */
	mayAdd(room) {
		const isGuest = room.isPrivate && this.chat.isGuest;
		if (isGuest) this.page.toast('Files in direct messages go only from one registered name to another. Register yours first: open You, or type /register.');
		return !isGuest;
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
		const place = room.isPrivate ? `@${room.name}` : room.name.slice(1);
		request.open('PUT', `/rooms/${encodeURIComponent(place)}/files/${encodeURIComponent(file.name)}`);
		request.setRequestHeader('Authorization', basic(this.chat));
		request.setRequestHeader('Content-Type', 'application/octet-stream');
		request.upload.onprogress = ({ loaded }) => {
			upload.sent = loaded;
			this.page.changed();
		};
		request.onload = () => {
			const reply = parse(request.responseText.trim());
			if (request.status < 300) {
				if (room.isPrivate) this.chat.sentFile(room, file, Number(reply.text.split(' ')[0]));
				this.cancel(upload);
			} else {
				failed(reply?.kind === 'err' ? refusal(reply, { room: room.name }) : `Upload failed: the server answered with status ${request.status}.`);
			}
		};
		request.onerror = () => failed('Upload failed: the connection broke, or the file cannot be read.');
		Object.assign(upload, { state: 'going', sent: 0, request });
		request.send(file);
	}
}
