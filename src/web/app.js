// The page: creates its parts, connects them, and draws when something has changed. Start reading at chat.js.

import { Chat } from './chat.js';
import { joined } from './blocks.js';
import { usageOf } from './commands.js';
import { Uploads, isPicture } from './files.js';
import { ended, refusal } from './refusals.js';
import { Push } from './push.js';
import { playSound } from './sound.js';
import { Store } from './store.js';
import { Tabs } from './tabs.js';
import { size } from './text.js';
import { isRoom } from './wire.js';
import { composer as makeComposer } from './view/composer.js';
import { byId, el, icon, setText, sync } from './view/dom.js';
import { messages as makeMessages } from './view/messages.js';
import { panel as makePanel } from './view/panel.js';
import { pickEmoji } from './view/picker.js';
import { askToSend, showPicture } from './view/pictures.js';
import { addressIn } from './view/row.js';
import { sidebar as makeSidebar } from './view/sidebar.js';
import { welcome as makeWelcome } from './view/welcome.js';

const store = new Store();
let isDue = false;
let isEntered = false;
let pressEnds = 0;
let announced = [];

/** The number of messages after which a user whose name is not registered is offered to register it. */
const SENT_BEFORE_OFFER = 3;

/** A press of a button ends within this time, or is no click. */
const PRESS_MS_MAX = 10_000;

const isNarrow = () => matchMedia('(max-width: 900px)').matches;
const isTouched = () => matchMedia('(pointer: coarse)').matches;

/** The functions of the page that its parts may call. */
const ui = {
	/**
	 * Draws in the next frame, once for all changes before it. A hidden page has no frames, so a timer draws it: its title
	 * can change.
	 */
	changed() {
		if (isDue) return;
		isDue = true;
		if (document.hidden) setTimeout(drawIfReleased, 100);
		else requestAnimationFrame(drawIfReleased);
	},

	/** Lets the user type into another room or conversation. */
	switched: () => composer.update(),

	/** Must be called when the height of a message has changed. */
	resized: () => messages.resized(),
	isFollowing: () => messages.isFollowing(),
	rowsWanted: () => messages.rowsWanted(),
	isLooking: (room) => room === chat.active && messages.isFollowing() && document.hasFocus() && !document.hidden,

	/** Shows a text for some seconds. If it has a button, shows it until the button is pressed or the text is closed. */
	toast(text, button) {
		for (const other of byId('toasts').children) if (other.firstChild.textContent === text) other.remove();
		const close = el('button.tool', { 'aria-label': 'Close', title: 'Close', onclick: () => toast.remove() }, icon('close'));
		const toast = el('div.toast', {}, el('span', {}, text), button, close);
		byId('toasts').append(toast);
		if (!button) setTimeout(() => toast.remove(), 6000 + text.length * 40);
		return toast;
	},

	/** Goes to the room or message in the address after the user has signed in. */
	entered() {
		if (isEntered) return;
		isEntered = true;
		draw(); // a hidden element takes no focus
		ui.focusInput();
		follow();
		push.renew();
	},

	/**
	 * Sends the subscription for notifications again, because the list of ignored users in it has changed, or because the
	 * server has dropped it with the old password.
	 */
	renewPush: () => push.renew(),
	push: () => push,
	hasSound: () => store.hasSound,
	setSound(hasSound) {
		store.hasSound = hasSound;
		if (hasSound) playSound(); // also so that the browser allows later sounds
	},

	/** Lets a screen reader read the new messages of this room. If there are many, it reads only their number. */
	announce(room, event) {
		if (room !== chat.active || event.kind !== 'live') return;
		announced.push(`${event.nick}: ${event.text ?? event.name}`);
		ui.changed();
	},

	/** Shows a draft that another tab has changed. */
	draft: (room, text, old) => composer.drafted(room, text, old),

	/** Signs out, because another tab has deleted the user's name. */
	forgotten() {
		if (chat.phase !== 'in') return;
		chat.phase = 'forgotten';
		chat.connection.stop();
		store.private = undefined;
		location.replace('./');
	},

	/** Asks the user to choose one of `{name: text}`. Returns the name of the choice, or '' if the user cancels. */
	choose(question, choices) {
		return new Promise((done) => {
			const button = ([name, text]) => el('button.plain', { value: name }, text);
			const dialog = el('dialog.ask', { 'aria-label': question, onclose: () => (done(dialog.returnValue), dialog.remove()) },
				el('form', { method: 'dialog' }, el('p', {}, question), el('div.acts', {}, ...Object.entries(choices).map(button), el('button.plain', { value: '' }, 'Cancel'))));
			document.body.append(dialog);
			dialog.showModal();
		});
	},

	/** Deletes a message or file, if the user confirms that. Returns whether it was deleted. */
	async remove(room, { id, nick, name }) {
		const what = name ?? (nick ? `this message${chat.isMe(nick) ? '' : ` from ${nick}`}` : `message ${id}`);
		return Boolean((await ui.choose(`Delete ${what} for everyone?`, { remove: 'Delete' })) && (await chat.remove(room, id)));
	},

	/** Deletes a conversation, or all of them, from this browser, if the user confirms that. */
	async deleteTalks(room) {
		const what = room ? `the messages with ${room.name}` : 'all direct messages';
		if (await ui.choose(`Delete ${what} that only this browser keeps?`, { delete: 'Delete' })) chat.deleteTalks(room);
	},

	editTopic: () => editTopic(),

	/** Shows an invitation. */
	invited(room, who) {
		const join = el('button.plain', { onclick: () => (toast.remove(), ui.open(room)) }, 'Join');
		const toast = ui.toast(`${who} invited you to ${room}.`, join);
	},

	notify(room, event) {
		if (store.hasSound) playSound();
		if (!globalThis.isSecureContext || globalThis.Notification?.permission !== 'granted') return;
		const title = room.isPrivate ? event.nick : `${event.nick} in ${room.name}`;
		try {
			const note = new Notification(title, { body: event.text ?? event.name, tag: room.name, renotify: true, icon: 'icon.svg' });
			note.onclick = () => {
				window.focus();
				ui.open(room.name);
				note.close();
			};
		} catch {
			// Some phones allow notifications from service workers only.
		}
	},

	async copy(text) {
		try {
			await navigator.clipboard.writeText(text);
		} catch {
			// Without HTTPS there is no clipboard, but there is a command. If that fails too, the text stays, so that the user
			// can copy it.
			const field = el('textarea', { value: text });
			const focused = document.activeElement;
			document.body.append(field);
			field.select();
			const isCopied = document.execCommand('copy');
			field.remove();
			focused?.focus({ preventScroll: true });
			if (!isCopied) return void ui.toast(text, el('span'));
		}
		ui.toast('Copied.');
	},

	async open(name) {
		for (const toast of [...byId('toasts').children]) if (!toast.querySelector('.plain')) toast.remove();
		sidebar.toggle(false);
		if (isNarrow()) panel.open(null);
		const room = await chat.open(name);
		if (room) ui.focusInput();
		return room;
	},

	async show(name, id) {
		const room = await ui.open(name);
		if (room) await messages.show(room, id);
	},

	find: () => sidebar.find(),
	panel(kind) {
		sidebar.toggle(false);
		panel.open(kind);
	},
	mention: (nick) => composer.mention(nick),
	async react(item) {
		const room = chat.active;
		const emoji = await pickEmoji(store);
		if (emoji) chat.react(room, item.id, emoji);
	},
	reply: (item) => composer.about('reply', item),
	edit: (item) => composer.about('edit', item),
	// On a phone, the focus would open the keyboard.
	focusInput: () => isTouched() || composer.focus(),
	focusMessages: () => messages.focusLast(),
	toEnd: () => messages.toEnd(),
	upload: (files) => uploads.add(chat.active, files),
	/** Sends files that were chosen, pasted or dropped, if the user wants that after a look at them. */
	async offer(files) {
		const room = chat.active;
		const all = [...files]; // the list is empty after the event
		if (room && uploads.mayAdd(room) && (await askToSend(all, room.name))) uploads.add(room, all);
		ui.focusInput();
	},
	/** Shows a picture of the room, and lets the user go to the others. */
	look(file) {
		const room = chat.active;
		const all = room.items.map((item) => ({ ...item, size: room.stored.get(item.file) ?? item.size }));
		showPicture(all.filter((item) => item.verb === 'FILE' && isPicture(item.name, item.size) && !room.isRemoved(item) && !chat.isIgnored(item.nick)), file, chat);
	},

	/** The room in the address, or `null`. */
	wanted() {
		const { name } = address();
		return name && isRoom(name) ? name : null;
	},

	/** Runs a `/command`. Returns whether it succeeded, so that the composer can be cleared. */
	async command(name, rest = '') {
		const room = chat.active;
		const [first] = rest.split(/\s+/);
		const more = rest.slice(first.length).trim();
		const roomName = isRoom(first) ? first : `#${first}`;
		const no = (why) => (ui.toast(why), false);
		const usage = () => no(`Type ${usageOf(name)}`);
		switch (name) {
			case 'join':
				return first ? Boolean(await ui.open(roomName)) : (ui.find(), true);
			case 'leave': {
				const which = first ? chat.room(roomName) : room;
				if (!which) return no(`You are not in ${first}.`);
				await chat.leave(which);
				return true;
			}
			case 'msg': {
				if (!first || isRoom(first)) return usage();
				const to = await ui.open(first.replace(/^@/, ''));
				if (more) chat.sender.send(to, more);
				return true;
			}
			case 'me':
				if (!rest) return usage();
				if (room.isPrivate) chat.sender.send(room, `* ${rest}`);
				else chat.sender.send(room, rest, 'ME');
				return true;
			case 'nick': {
				if (!first) return usage();
				const why = await chat.rename(first, more);
				return why ? no(why) : true;
			}
			case 'topic':
				if (room.isPrivate) return no('Only rooms have a topic.');
				if (!rest) ui.toast(room.topic || 'This room has no topic.');
				else await chat.setTopic(room, rest);
				return true;
			case 'remove': {
				const [, number] = /(?:^|\/)(\d+)$/.exec(rest) ?? [];
				if (rest && !number) return usage();
				const last = (item) => chat.isMe(item.nick) && chat.canRemove(room, item);
				const item = number ? { id: Number(number) } : joined(room.items).findLast(last);
				return item ? ui.remove(room, item) : no('You have sent no message here.');
			}
			case 'away':
				if (!(await chat.setAway(rest))) return false;
				ui.toast(rest ? `Others see that you are away: ${rest}. Type /away when you are back.` : 'You are back.');
				return true;
			case 'ignore':
				if (!first) return ui.toast(chat.ignored.length ? `You ignore ${chat.ignored.join(', ')}.` : 'You are not ignoring anybody.'), true;
				return (await chat.ignore(first)) && (ui.toast(`You no longer see messages from ${first}. /unignore ${first} shows them again.`), true);
			case 'unignore':
				return first ? (await chat.ignore(first, false)) && (ui.toast(`You see messages from ${first} again.`), true) : usage();
			case 'mode': {
				if (room.isPrivate) return no('Only rooms can be invite-only.');
				if (first && first !== 'invite' && first !== 'open') return usage();
				if (!(await chat.setMode(room, first))) return false;
				ui.toast(`${room.name} is ${room.isClosed ? 'invite-only' : 'open to everyone'}.`);
				return true;
			}
			case 'invite':
			case 'uninvite': {
				if (room.isPrivate) return no('Open the room first, then type this command there.');
				if (!first) return name === 'invite' ? invitations(room) : usage();
				const line = `${name.toUpperCase()} ${room.name} ${first}${/^(keeper|moderator)$/.test(more) ? ' keeper' : ''}`;
				if (!(await chat.ask(line, { nick: first, room: room.name }))) return false;
				ui.toast(name === 'invite' ? `${first} is invited to ${room.name}.` : `${first} is no longer invited to ${room.name}.`);
				return true;
			}
			case 'kick':
			case 'ban':
			case 'unban': {
				if (!first) return usage();
				if (!(await chat.ask(`${name.toUpperCase()} ${rest}`, { nick: first }))) return false;
				ui.toast(`${first} is ${{ kick: 'disconnected', ban: 'banned', unban: 'no longer banned' }[name]}.`);
				return true;
			}
			case 'bans': {
				const bans = [];
				const reply = await chat.connection.request('BANS', (ban) => bans.push(ban));
				if (!reply?.ok) return no(refusal(reply));
				ui.toast(bans.map(({ whom, until, text }) => `${whom}${until ? ` until ${new Date(until).toLocaleString()}` : ''}${text ? ` (${text})` : ''}`).join('; ') || 'Nobody is banned.');
				return true;
			}
			case 'upload':
				return composer.attach(), true;
			case 'rooms':
				return ui.find(), true;
			case 'register': {
				const why = await chat.register(rest || undefined);
				if (why) return no(why);
				ui.toast(`${chat.nick} is registered to you. To see its password, type /password.`);
				return true;
			}
			case 'forget':
				if (!(await ui.choose(`Delete your name ${chat.nick} and its password from this browser? Unless you know the password, you lose the name. Direct messages that only this browser keeps are deleted too.`, { forget: 'Delete' }))) return false;
				await push.stop();
				await chat.forget();
				location.replace('./');
				return true;
			default: // search, files, help, and two panels with other names
				panel.open({ who: 'people', password: 'you' }[name] ?? name, rest);
				return true;
		}
	},
};

const ROLES = { maker: 'owner', keeper: 'moderator' };

/** Shows who is invited to a room. */
async function invitations(room) {
	const invited = [];
	const reply = await chat.connection.request(`INVITES ${room.name}`, (one) => invited.push(one));
	if (!reply?.ok) return ui.toast(refusal(reply, { room: room.name })), false;
	const names = invited.map(({ nick, role }) => (ROLES[role] ? `${nick} (${ROLES[role]})` : nick)).join(', ');
	ui.toast(names ? `Invited to ${room.name}: ${names}.` : `Nobody is invited to ${room.name}.`);
	return true;
}

const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
const chat = new Chat({ url: `${scheme}//${location.host}/ws`, store, page: ui, tabs: new Tabs() });
const uploads = new Uploads(chat, ui);
const push = new Push(chat);
const messages = makeMessages(chat, ui);
const composer = makeComposer(chat, ui);
const sidebar = makeSidebar(chat, ui);
const panel = makePanel(chat, ui);
const welcome = makeWelcome(chat, ui);

// ---- drawing

// A click is lost if its button is moved or replaced while it is pressed. So nothing is drawn meanwhile.
const press = (target) => { pressEnds = target.closest?.('button, a') ? performance.now() + PRESS_MS_MAX : 0; };
const release = () => setTimeout(() => { pressEnds = 0; }); // the click comes first
addEventListener('pointerdown', ({ target, button, isPrimary }) => isPrimary && button === 0 && press(target), true);
addEventListener('keydown', ({ key, target }) => key === ' ' && press(target), true);
for (const end of ['pointerup', 'pointercancel', 'keyup', 'dragend', 'contextmenu']) addEventListener(end, release, true);
addEventListener('blur', release); // of the window

function drawIfReleased() {
	if (performance.now() < pressEnds) setTimeout(drawIfReleased, 50);
	else draw();
}

function draw() {
	isDue = false;
	welcome.update();
	if (chat.phase === 'welcome') return;
	const room = chat.active;
	setText(byId('title'), room?.name ?? '');
	const away = room?.isPrivate && chat.away.of(room.name);
	byId('topic').hidden = !room || (room.isPrivate && !away) || topicOf === room;
	byId('topic').disabled = Boolean(room?.isPrivate);
	topicForm.hidden = !room || topicOf !== room;
	byId('topic').title = away || (room?.topic ? `${room.topic} – click to change` : 'Add a topic');
	setText(byId('topic'), away ? `away: ${away}` : room?.topic || 'Add a topic');
	byId('topic').classList.toggle('unset', !room?.topic && !away);
	sidebar.update();
	messages.update();
	composer.update();
	panel.update();
	drawOffline();
	byId('shut').hidden = !room?.shut;
	setText(byId('shut').firstChild, room?.shut ?? '');
	drawUploads();
	byId('offer').hidden = !chat.isGuest || chat.sent < SENT_BEFORE_OFFER || store.isOffered;
	setText(byId('offer').firstChild, `Others can take the name ${chat.nick} while you are offline. If you register it, only this browser has the password; /password shows it.`);
	if (announced.length) {
		byId('said').textContent = announced.length > 3 ? `${announced.length} messages` : announced.join('. ');
		announced = [];
	}
	keepAddress(room);
}

/** Registers the name with the password of this browser, or never asks that again. */
async function answerOffer(isWanted) {
	if (!isWanted || (await ui.command('register'))) store.isOffered = true;
	ui.changed();
	ui.focusInput();
}
byId('offer').children[1].addEventListener('click', () => answerOffer(true));
byId('offer').children[2].addEventListener('click', () => answerOffer(false));

let tick = null;
function drawOffline() {
	const { state, retryAt, closed } = chat.connection;
	const bar = byId('offline');
	bar.hidden = state === 'up';
	clearTimeout(tick);
	const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
	const why = closed ? ended(closed) : 'No connection.';
	const what = state === 'down' ? `Retrying in ${seconds} s. Messages that you write now are sent when you are back online.` : '';
	setText(bar.firstChild, state === 'connecting' ? 'Connecting…' : `${why} ${what}`);
	bar.lastChild.hidden = state === 'connecting';
	if (state === 'down') tick = setTimeout(ui.changed, 500);
}

function drawUploads() {
	sync(byId('uploads'), uploads.list.map((upload) => ({
		key: upload.key,
		sign: upload.state,
		build: () => el('li', {},
			el('span.name', { dir: 'auto' }, upload.file.name),
			upload.state === 'failed'
				? el('span.error', { role: 'alert' }, upload.error)
				: el('progress', { max: upload.file.size || 1, value: 0, 'aria-label': `Uploading ${upload.file.name}` }),
			el('span.size'),
			upload.state === 'failed' && el('button.plain', { onclick: () => uploads.retry(upload) }, 'Retry'),
			el('button.tool', { 'aria-label': `Cancel ${upload.file.name}`, title: 'Cancel', onclick: () => uploads.cancel(upload) }, icon('close'))),
	})));
	for (const [i, upload] of uploads.list.entries()) {
		const row = byId('uploads').children[i];
		const bar = row.querySelector('progress');
		if (bar) bar.value = upload.sent;
		const text = upload.state === 'going' ? `${size(upload.sent)} of ${size(upload.file.size)}` : size(upload.file.size);
		setText(row.querySelector('.size'), text);
	}
}

// ---- addresses: #lobby, #lobby/1234, #@bob

function address() {
	const [, who, id] = /^#([^/]+)(?:\/(\d+))?$/.exec(location.hash) ?? [];
	if (!who) return {};
	try {
		const name = decodeURIComponent(who);
		return { name: name.startsWith('@') ? name.slice(1) : `#${name}`, id: Number(id) || null };
	} catch {
		return {};
	}
}

let addressed = null;
let followed = location.hash;
/**
 * Puts the shown room into the address, so that the back button and reloading the page work. An address that the user
 * has just chosen stays: `follow` goes there next.
 */
function keepAddress(room) {
	if (room === addressed || !room || location.hash !== followed) return;
	addressed = room;
	const { name } = address();
	if (!name || chat.room(name) !== room) history.pushState(null, '', addressIn(room.name));
	followed = location.hash;
}

async function follow() {
	followed = location.hash;
	const { name, id } = address();
	if (!name || chat.phase !== 'in') return;
	if (id) await ui.show(name, id);
	else await ui.open(name);
}

addEventListener('hashchange', follow);

// ---- the window

for (const type of ['focus', 'visibilitychange']) {
	addEventListener(type, () => {
		if (document.hidden) return;
		chat.connection.retryNow();
		ui.changed();
	});
}
// A row that was pressed is drawn when it is released. A link may have been dragged.
for (const type of ['pointerup', 'pointercancel', 'dragend']) addEventListener(type, ui.changed);
addEventListener('online', () => chat.connection.retryNow());
addEventListener('pagehide', () => chat.sender.release());
addEventListener('pageshow', ({ persisted }) => persisted && chat.sender.reclaim());

document.addEventListener('keydown', (event) => {
	if (chat.phase !== 'in') return;
	const { key, altKey } = event;
	if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === 'k') ui.find();
	else if (altKey && (key === 'ArrowUp' || key === 'ArrowDown')) {
		const { all } = chat;
		const next = all.indexOf(chat.active) + (key === 'ArrowUp' ? -1 : 1);
		if (all[next]) ui.open(all[next].name);
	} else return;
	event.preventDefault();
});

// The topic is edited in place: Enter saves it, Esc cancels.
const topicForm = byId('topic-form');
let topicOf = null;
function editTopic() {
	topicOf = chat.active;
	topicForm.firstElementChild.value = topicOf.topic;
	ui.changed();
	draw();
	topicForm.firstElementChild.select();
}
async function endTopic(isSaved) {
	const room = topicOf;
	const text = topicForm.firstElementChild.value.trim();
	topicOf = null;
	ui.changed();
	if (isSaved && room && text !== room.topic) await chat.setTopic(room, text);
}
byId('topic').addEventListener('click', editTopic);
topicForm.addEventListener('submit', (event) => {
	event.preventDefault();
	endTopic(true);
	ui.focusInput();
});
topicForm.addEventListener('keydown', (event) => {
	if (event.key !== 'Escape') return;
	endTopic(false);
	ui.focusInput();
});
byId('shut').lastChild.addEventListener('click', () => ui.open(chat.active.name));
byId('offline').lastChild.addEventListener('click', () => chat.connection.retryNow());

// The user has chosen a notification.
navigator.serviceWorker?.addEventListener('message', ({ data }) => data?.room && ui.open(data.room));

// The browser stops a hidden page without ending its connection, and messages would neither arrive nor cause a notification.
document.addEventListener('freeze', () => push.isOn && chat.connection.drop());

// Files can be dropped anywhere on the page.
const drop = byId('drop');
const hasFiles = (event) => chat.phase === 'in' && event.dataTransfer?.types.includes('Files');
addEventListener('dragover', (event) => {
	if (!hasFiles(event)) return;
	event.preventDefault();
	drop.hidden = false;
	setText(drop, `Drop to send to ${chat.active?.name ?? 'a room'}`);
});
addEventListener('dragleave', ({ relatedTarget }) => (drop.hidden = !relatedTarget || drop.hidden));
addEventListener('drop', (event) => {
	drop.hidden = true;
	if (!hasFiles(event)) return;
	event.preventDefault();
	ui.offer(event.dataTransfer.files);
});

chat.start(address().name);
ui.changed();
