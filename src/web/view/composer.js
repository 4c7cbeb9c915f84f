// The composer: a draft for each room, completion, and files by button and paste.

import { HABITS, complete, understand } from '../commands.js';
import { joined } from '../blocks.js';
import { replaceName } from '../emoji.js';
import { block, pieces } from '../wire.js';
import { contexts } from './context.js';
import { byId, el, sync } from './dom.js';

/** If pasted text has more lines than this, the user chooses how to send it. */
const LINES_MAX = 12;

export function composer(chat, ui) {
	const input = byId('input');
	const list = byId('options');
	const pick = byId('pick');
	const context = contexts(chat);
	let room = null;
	let isComposing = false;
	let completion = null;
	let chosen = 0;
	let hasMoved = false; // with the arrow keys: then Enter completes, otherwise it sends

	function update() {
		input.disabled = !chat.active || Boolean(chat.active.shut);
		byId('composer').classList.toggle('shut', input.disabled);
		context.draw(chat.active);
		if (room === chat.active) {
			if (input.style.height === 'auto') grow();
			return;
		}
		room = chat.active;
		input.value = room ? draft() : '';
		input.placeholder = room ? `Write to ${room.name}` : '';
		byId('attach').hidden = !room;
		grow();
		close();
	}

	const editing = () => (context.of(room)?.kind === 'edit' ? context.of(room) : null);
	const draft = () => editing()?.text ?? chat.store.draft(room.name);

	/** Sets the text, for the user to edit. */
	function write(text, caret = text.length) {
		input.value = text;
		input.focus();
		input.setSelectionRange(caret, caret);
		typed();
	}

	function typed(event) {
		const emoji = event?.data === ':' && replaceName(input.value, input.selectionStart);
		if (emoji) {
			input.value = emoji.text;
			input.setSelectionRange(emoji.caret, emoji.caret);
		}
		if (editing()) editing().text = input.value;
		else if (room) chat.store.keepDraft(room.name, input.value);
		grow();
		suggest(false);
	}

	/** Makes the field as high as its text. While the page does not show the field, nothing can be measured. */
	function grow() {
		input.style.height = 'auto';
		if (input.scrollHeight) input.style.height = `${input.scrollHeight}px`;
		byId('composer').classList.toggle('empty', !input.value.trim());
	}

	/** Shows a draft that another tab has changed, unless the user has written something else here. */
	function drafted(name, text, old) {
		if (room?.name !== name || input.value !== old || isComposing || editing()) return;
		input.value = text;
		grow();
	}

	// ---- replies and edits

	/** Makes the next message a reply to another message, or an edit of one of the user's own. */
	function about(kind, item) {
		room.quotes.set(item.id, item.parts?.[0] ?? item); // for the bar, also when the message is no longer loaded
		context.set(room, { kind, id: item.id, text: item.text, lines: item.parts ?? [item] });
		show();
	}

	/** Returns to a new message, with the draft that existed before an edit. */
	function cancel() {
		context.set(room, null);
		show();
	}

	function show() {
		input.value = draft();
		input.focus();
		grow();
		close();
	}

	/** Edits the user's newest message. Returns whether there is one. */
	function editLast() {
		const item = joined(room?.items ?? [], (item) => room.isRemoved(item)).findLast((item) => chat.canEdit(room, item));
		if (item) about('edit', item);
		return Boolean(item);
	}

	async function saveEdit(edit) {
		const inRoom = room;
		if (edit.isSaving) return;
		const { lines } = edit;
		const texts = (lines.length > 1 && block(edit.text)) || pieces(edit.text, `EDIT ${edit.id} `);
		if (lines.length > 1 && texts.length !== lines.length) return ui.toast(`This message has ${lines.length} lines. An edit can change them, but not add or remove any.`);
		if (texts.length > lines.length) return ui.toast('An edited message must be one line of at most about 4,000 bytes.');
		if (!texts.some((text) => text.trim())) return ui.toast('A message cannot be empty. To remove it, delete it.');
		edit.isSaving = true;
		let why = '';
		for (const [i, { id, text }] of lines.entries()) {
			if (!why && texts[i] !== (room.message(id)?.text ?? text)) why = await chat.edit(inRoom, id, texts[i]);
		}
		edit.isSaving = false;
		if (why) return ui.toast(why);
		if (context.of(inRoom) !== edit) return; // cancelled meanwhile
		context.set(inRoom, null);
		if (room === inRoom) show();
		else context.draw(room);
	}

	// ---- completion

	function suggest(asked) {
		const speakers = room?.items.slice(-60).reverse().map(({ nick }) => nick) ?? [];
		const known = new Set([...speakers, ...(room?.members.values() ?? [])]);
		const rooms = [...chat.all.filter((r) => !r.isPrivate), ...chat.directory].map((r) => r.name ?? r.room);
		completion = complete(input.value, input.selectionStart, {
			nicks: [...known].filter((nick) => nick && !chat.isMe(nick)),
			rooms: [...new Set(rooms)],
			hasEverybody: !room?.isPrivate,
			asked,
		});
		chosen = 0;
		hasMoved = false;
		draw();
	}

	function draw() {
		const options = completion?.options ?? [];
		list.hidden = !options.length;
		input.setAttribute('aria-expanded', String(options.length > 0));
		sync(list, options.map(({ label, hint }, i) => {
			const onpointerdown = (event) => (event.preventDefault(), take(i));
			const props = { id: `option-${i}`, role: 'option', 'aria-selected': String(i === chosen), onpointerdown };
			return { key: label, sign: `${i}${i === chosen}`, build: () => el('li', props, label, hint && el('span.hint', {}, hint)) };
		}));
		input.setAttribute('aria-activedescendant', options.length ? `option-${chosen}` : '');
		byId(`option-${chosen}`)?.scrollIntoView({ block: 'nearest' });
	}

	function close() {
		completion = null;
		draw();
	}

	function take(i) {
		const { from, to, options } = completion;
		const { insert } = options[i];
		write(input.value.slice(0, from) + insert + input.value.slice(to).trimStart(), from + insert.length);
		close();
	}

	/** Returns whether Enter should complete a command: `/to`, but not `/topic` or `/to x`. */
	const isPartOfCommand = () => /^\/[^\s/]+$/.test(input.value) && Boolean(understand(input.value).unknown);

	function pressed(event) {
		// Safari ends a composition before the Enter key that confirms it, and marks that key with the code 229.
		if (event.isComposing || event.keyCode === 229) return;
		const key = event.shiftKey ? `Shift+${event.key}` : event.key;
		const options = completion?.options ?? [];
		const step = { ArrowDown: 1, ArrowUp: options.length - 1 }[key];
		if (step && options.length) {
			chosen = (chosen + step) % options.length;
			hasMoved = true;
			draw();
		} else if (options.length && (key === 'Tab' || (key === 'Enter' && (hasMoved || isPartOfCommand())))) take(chosen);
		else if (options.length && key === 'Escape') close();
		else if (key === 'Enter') submit();
		else if (key === 'Escape' && context.of(room)) cancel();
		else if (key === 'ArrowUp' && !input.value && !context.of(room)) editLast() || ui.focusMessages();
		else if (key === 'PageUp' && !input.value) ui.focusMessages();
		else if (key === 'Tab' && input.value) {
			suggest(true);
			if (!completion) return; // nothing to complete: Tab moves the focus
			if (completion.options.length === 1) take(0);
		} else return;
		event.preventDefault();
	}

	async function pasted(event) {
		const { files } = event.clipboardData;
		const text = event.clipboardData.getData('text/plain');
		const lines = text.trimEnd().split('\n').length;
		// Spreadsheets and word processors add a picture to copied text, but the user wants the text.
		if (files.length && !text) ui.offer(files);
		else if (lines > LINES_MAX) {
			event.preventDefault();
			const inRoom = room;
			const isOne = chat.can.has('multiline') && block(text);
			const choices = { messages: isOne ? 'One message' : `${lines} messages`, code: 'Code block', file: 'File' };
			const choice = await ui.choose(`You pasted ${lines} lines. Send them as`, choices);
			if (choice === 'file') ui.upload([new File([text], 'paste.txt')]);
			if (!choice || choice === 'file' || room !== inRoom) return;
			const put = choice === 'code' ? `\`\`\`\n${text.trimEnd()}\n\`\`\`` : text;
			const { selectionStart, selectionEnd, value } = input;
			write(value.slice(0, selectionStart) + put + value.slice(selectionEnd), selectionStart + put.length);
			return;
		} else return;
		event.preventDefault();
	}

	async function submit() {
		const inRoom = room;
		const line = input.value;
		if (!room) return;
		if (editing()) return saveEdit(editing());
		if (!line.trim()) return;
		const { text, name, rest, unknown } = understand(line);
		if (unknown) return ui.toast(HABITS[unknown] ?? `Unknown command /${unknown}. Type /help for a list, or //${unknown} to send it as text.`);
		write('');
		if (text !== undefined) {
			const { id: reply } = context.of(room) ?? {};
			context.set(room, null);
			chat.sender.send(room, text, 'MSG', reply && { reply });
			ui.toEnd();
		} else if (!(await ui.command(name, rest)) && room === inRoom && !input.value) {
			write(line); // refused: the user can correct it
		}
	}

	input.addEventListener('compositionstart', () => (isComposing = true));
	input.addEventListener('compositionend', () => (isComposing = false));
	input.addEventListener('input', typed);
	input.addEventListener('keydown', pressed);
	input.addEventListener('blur', close);
	addEventListener('resize', grow); // its lines break elsewhere
	input.addEventListener('paste', pasted);
	byId('composer').addEventListener('submit', (event) => {
		event.preventDefault();
		submit();
	});
	byId('context').lastElementChild.addEventListener('click', cancel);
	byId('attach').addEventListener('click', () => pick.click());
	pick.addEventListener('change', () => {
		ui.offer(pick.files);
		pick.value = '';
	});

	return {
		update,
		drafted,
		write,
		about,
		attach: () => pick.click(),
		focus: () => input.focus(),
		mention: (nick) => write(`${input.value} @${nick} `.trimStart()),
	};
}
