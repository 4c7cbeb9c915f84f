// The panel beside the messages: members, search, files, the user's own name, help.

import { COMMANDS } from '../commands.js';
import { linkTo } from '../files.js';
import { marked, size } from '../text.js';
import { fold, isRoom } from '../wire.js';
import { byId, el, icon, setText } from './dom.js';
import { people as makePeople } from './people.js';

const FILES_SHOWN = 500;
/** The maximum number of messages that one search returns (protocol.md §4.23). */
const FOUND_MAX = 100;

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const KEYS = [
	['Enter', 'Send'],
	['Shift Enter', 'Begin a new line'],
	['Tab', 'Complete a name, a room, a command or an emoji (:smile)'],
	['Ctrl K', 'Find or create a room, find a person'],
	['Alt ↑, Alt ↓', 'Previous room, next room'],
	['↑ in an empty line', 'Edit your last message; Esc cancels'],
	['Page Up in an empty line', 'Go through the messages with ↑ and ↓; Esc goes back'],
	['On a message', '+ reacts, R replies, E edits, C copies a text of several lines, L copies the link, Delete deletes'],
	['Enter on a reply', 'Show the message that this one replies to'],
];

const TITLES = { people: 'Who is here', search: 'Search', files: 'Files', help: 'Help', you: 'You' };

export function panel(chat, ui) {
	const body = byId('panel-body');
	const people = makePeople(chat, ui);
	const buttons = [...document.querySelectorAll('[data-panel]')];
	let kind = null;
	let shown = null; // the room that it shows
	let files = 0; // the version of that room's files

	function open(which, words = '') {
		kind = which;
		shown = null;
		byId('panel').hidden = !kind;
		for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.panel === kind));
		if (!kind) return ui.focusInput();
		byId('panel-title').textContent = TITLES[kind];
		update(words);
		(body.querySelector('input') ?? byId('panel-close')).focus();
	}

	function update(words = '') {
		const room = chat.active;
		const hasLog = room && !room.isPrivate;
		byId('member-count').textContent = hasLog && room.hasMembers ? room.members.size.toLocaleString() : '';
		const fits = (kind) => hasLog || (room && (kind === 'search' || kind === 'files'));
		for (const button of buttons) button.hidden = !fits(button.dataset.panel);
		if (!kind) return;
		if (!fits(kind) && kind !== 'help' && kind !== 'you') return open(null);
		if (kind === 'files' && files !== room?.files) shown = null; // one is new, or was deleted
		if (shown !== room) {
			shown = room;
			files = room?.files;
			body.replaceChildren(...fill[kind](room, words));
			if (words) body.querySelector('form')?.requestSubmit();
		}
		if (kind === 'people') people.members(room, body.children);
	}

	const field = (label, props) => el('input', { type: 'search', placeholder: label, 'aria-label': label, ...props });

	function notifications() {
		const is = globalThis.isSecureContext && globalThis.Notification?.permission;
		if (is === 'granted') return el('div', {}, el('p.small', {}, 'You are notified of mentions and direct messages.'), whileClosed());
		if (is !== 'default') return el('p.small', {}, globalThis.isSecureContext ? 'Your browser blocks notifications from this page.' : 'Notifications need HTTPS. Open this page with https:// in front.');
		const onclick = async () => {
			await Notification.requestPermission();
			button.replaceWith(notifications());
		};
		const button = el('div.acts', {}, el('button.plain', { onclick }, "Notify me when I'm mentioned"));
		return button;
	}

	/** Returns the switch for the sound of a mention. */
	function sound() {
		const text = () => (ui.hasSound() ? 'Play no sound' : "Play a sound when I'm mentioned");
		const button = el('button.plain', { type: 'button', onclick: () => (ui.setSound(!ui.hasSound()), setText(button, text())) }, text());
		return el('div.acts', {}, button);
	}

	/** Returns the switch for notifications while the page is closed, if the server and the browser have them. */
	function whileClosed() {
		const push = ui.push();
		const error = el('p.error', { role: 'alert' });
		const button = el('button.plain', { type: 'button', onclick });
		const all = el('div', { hidden: true }, el('div.acts', {}, button), error);
		const label = () => setText(button, push.isOn ? 'Do not notify me while this page is closed' : 'Notify me while this page is closed too');
		async function onclick() {
			button.disabled = true;
			error.textContent = push.isOn ? (await push.stop(), '') : await push.start();
			button.disabled = false;
			label();
		}
		label();
		push.key().then((key) => (all.hidden = !key));
		return all;
	}

	/** Returns the text above the results of a search. `shown` of them are shown. */
	function foundText(shown, hasMore, { isCut, error }, isTold) {
		if (error) return error;
		const advice = isTold ? "To search only older ones, add before:<id>, with the number at the end of a message's link." : 'Add a less common word.';
		if (!shown && isCut) return `No messages found yet, but the search took too long. ${advice}`;
		if (!shown) return hasMore ? 'Nothing found yet.' : 'No messages contain all these words.';
		const newest = `Showing the newest ${shown.toLocaleString()}.`;
		if (hasMore) return newest;
		return isCut ? `${newest} The search took too long to find older ones. ${advice}` : `${shown.toLocaleString()} found, newest first`;
	}

	const fill = {
		people: people.fill,

		search(room, words) {
			const input = field('Words', { value: words });
			const where = el('select', { 'aria-label': 'Where', onchange: find }, el('option', {}, room.name), el('option', {}, 'All rooms'), el('option', {}, 'All direct messages'));
			const about = el('p.small', { role: 'status' }, 'Finds messages and files with all of these words, in any order. With from:name, only what that user sent.');
			const results = el('ol.results');
			const more = el('button.plain', { hidden: true, onclick: () => find(null, last) }, 'Show older');
			let last = 0; // the oldest message found
			let lastTime = 0;
			let turn = 0;

			/**
			 * Shows the results of a search. With `older`, adds only results before that id below those that are already
			 * shown.
			 */
			async function find(event, older) {
				event?.preventDefault();
				const typed = input.value.trim().split(/\s+/).filter(Boolean);
				const isFilter = (word) => /^(from|before):./i.test(word);
				const wanted = typed.filter((word) => !isFilter(word));
				if (!typed.length) return;
				const filters = typed.filter((word) => isFilter(word) && !(older && /^before/i.test(word)));
				if (older) filters.push(`before:${older}`);
				const isHere = where.selectedIndex === 0;
				const isTold = where.selectedIndex === 2 || (isHere && room.isPrivate);
				const place = isTold ? '@' : isHere ? room.name : '*';
				const mine = ++turn;
				const found = await chat.list(`SEARCH ${[place, ...filters, ...wanted].join(' ')}`);
				if (mine !== turn) return; // the user has searched for something else meanwhile
				if (!older) results.replaceChildren();
				let hits = found.events;
				last = hits.at(-1)?.id;
				more.hidden = !last || !(found.isCut || hits.length >= FOUND_MAX);
				if (isTold) {
					// What the server has not saved is shown on the page to which it belongs by its time.
					const until = older ? lastTime : Infinity;
					lastTime = more.hidden ? 0 : hits.at(-1).time;
					const isOnPage = ({ time }) => time < until && time >= lastTime;
					const isAll = !found.error && wanted.length && !typed.some((word) => /^before:./i.test(word));
					if (isAll) hits = [...hits, ...chat.unsaved(wanted, filters.find((word) => /^from/i.test(word))?.slice('from:'.length)).filter(isOnPage)];
					hits = hits.filter((hit) => !isRoom(hit.room) && !(isHere && fold(chat.placeOf(hit)) !== fold(room.name))).sort((a, b) => b.time - a.time);
				}
				results.append(...hits.filter(({ nick }) => !chat.isIgnored(nick)).map((hit) => row(hit, !isHere, wanted)));
				about.textContent = foundText(results.children.length, !more.hidden, found, isTold);
			}

			const row = (hit, isAll, words) => el('li', {}, el('button', { onclick: () => ui.show(chat.placeOf(hit), hit.id ?? hit.key) },
				el('bdi.nick', { hue: hit.nick }, hit.nick), ' ', el('span.hint', {}, `${isAll ? `${chat.placeOf(hit)}, ` : ''}${when.format(hit.time)}`),
				el('span.text', { dir: 'auto' }, ...marked(hit.text ?? hit.name, words).map(([part, isWord]) => (isWord ? el('mark', {}, part) : part)))));
			return [el('form', { onsubmit: find }, input, where), about, results, more];
		},

		files(room) {
			const list = el('ul');
			const about = el('p.small', { role: 'status' }, 'Loading…');
			const row = (file) => el('li.file', {}, icon('clip'), el('div', {},
				linkTo(el('a.name', { download: file.name, dir: 'auto' }, file.name), file, chat),
				el('span.size', {}, `${size(file.size)}, ${file.nick}, ${when.format(file.time)}`)),
			chat.canRemove(room, file) && el('button.tool', { title: 'Delete', 'aria-label': `Delete ${file.name}`, onclick: () => ui.remove(room, file) }, icon('bin')));
			chat.list(`FILES ${room.isPrivate ? '@' : room.name}`).then(({ events: all, error }) => {
				const events = all.filter((file) => fold(chat.placeOf(file)) === fold(room.name));
				about.textContent = error || (events.length ? '' : 'No files yet. Drop one anywhere on this page to send it.');
				list.replaceChildren(...events.slice(0, FILES_SHOWN).map(row));
			});
			return [about, list];
		},

		you() {
			const name = el('input', { id: 'you-nick', value: chat.nick, maxLength: 32, spellcheck: false });
			const error = el('p.error', { role: 'alert' });
			const onsubmit = async (event) => {
				event.preventDefault();
				error.textContent = await chat.rename(name.value.trim());
				if (error.textContent) return;
				ui.toast(`You are ${chat.nick} now.`);
				ui.panel('you');
			};
			const password = el('input', { id: 'you-password', type: 'password', value: chat.password, spellcheck: false, autocomplete: 'off' });
			const wrong = el('p.error', { role: 'alert' });
			const register = async (event) => {
				event.preventDefault();
				wrong.textContent = await chat.register(password.value);
				if (!wrong.textContent) ui.toast(`${chat.nick} is registered to you.`);
			};
			const show = el('button.plain', { type: 'button', onclick: toggle }, 'Show');
			function toggle() {
				const isShown = password.type === 'text';
				password.type = isShown ? 'password' : 'text';
				setText(show, isShown ? 'Show' : 'Hide');
			}
			return [
				el('form', { onsubmit }, el('label', { htmlFor: 'you-nick' }, 'Your name'),
					el('div.both', {}, name, el('button.primary', {}, 'Save')), error),
				el('form', { onsubmit: register }, el('label', { htmlFor: 'you-password' }, 'Password'), password,
					el('div.acts', {}, show, el('button.plain', { type: 'button', onclick: () => ui.copy(password.value) }, 'Copy'), el('button.plain', {}, 'Register')),
					wrong,
					el('p.small', {}, 'It protects your name. Enter it to use the name in another browser, or type ', el('code', {}, `NICK ${chat.nick}`), ' and the password in a terminal.'),
					el('p.small', {}, 'A registered name stays yours while you are offline. You can choose a new password before you register: at least 8 characters.')),
				el('h3', {}, 'Notifications'), notifications(), sound(),
				el('h3', {}, 'Direct messages'),
				el('p.small', {}, 'Unless both users are registered, only this browser keeps them.'),
				el('div.acts', {}, el('button.plain', { onclick: () => ui.deleteTalks() }, 'Delete them from this browser')),
				el('h3', {}, 'Leave this server'),
				el('div.acts', {}, el('button.plain', { onclick: () => ui.command('forget') }, 'Delete my name from this browser')),
			];
		},

		help() {
			const list = (pairs, tag) => el('dl', {}, ...pairs.flatMap(([what, does]) => [el('dt', {}, el(tag, {}, what)), el('dd', {}, does)]));
			return [
				list(COMMANDS.map(({ name, args, does }) => [`/${name} ${args}`, does]), 'code'),
				el('h3', {}, 'Keys'), list(KEYS, 'kbd'),
				el('h3', {}, 'Without a browser'),
				el('pre', {}, `nc ${location.hostname} ${location.port || (location.protocol === 'https:' ? 443 : 80)}`),
			];
		},
	};

	for (const button of buttons) {
		button.addEventListener('click', () => open(kind === button.dataset.panel ? null : button.dataset.panel));
	}
	byId('panel-close').addEventListener('click', () => open(null));
	byId('panel').addEventListener('keydown', ({ key }) => key === 'Escape' && open(null));
	return { open, update };
}
