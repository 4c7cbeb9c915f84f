// Where one writes: a draft for each room, completion, files by button and paste.

import { HABITS, complete, understand } from '../commands.js';
import { byId, el, sync } from './dom.js';

/** A paste of more lines than this is offered to be sent as a file. */
const LINES_MAX = 12;

export function composer(chat, ui) {
	const input = byId('input');
	const list = byId('options');
	const pick = byId('pick');
	let room = null;
	let isComposing = false;
	let completion = null;
	let chosen = 0;
	let hasMoved = false; // Enter takes what was chosen, and sends what was only offered

	function update() {
		input.disabled = !chat.active || Boolean(chat.active.shut);
		byId('composer').classList.toggle('shut', input.disabled);
		if (room === chat.active) return;
		room = chat.active;
		input.value = room ? chat.store.draft(room.name) : '';
		input.placeholder = room ? `Write to ${room.name}` : '';
		byId('attach').hidden = !room || room.isPrivate;
		grow();
		close();
	}

	/** Puts something there to be finished by the person. */
	function write(text, caret = text.length) {
		input.value = text;
		input.focus();
		input.setSelectionRange(caret, caret);
		typed();
	}

	function typed() {
		if (room) chat.store.keepDraft(room.name, input.value);
		grow();
		suggest(false);
	}

	function grow() {
		input.style.height = 'auto';
		input.style.height = `${input.scrollHeight}px`;
		byId('composer').classList.toggle('empty', !input.value.trim());
	}

	/** Follows a draft that another tab has changed, unless something else is written here. */
	function drafted(name, text, old) {
		if (room?.name !== name || input.value !== old || isComposing) return;
		input.value = text;
		grow();
	}

	// ---- completion

	function suggest(asked) {
		const speakers = room?.items.slice(-60).reverse().map(({ nick }) => nick) ?? [];
		const known = new Set([...speakers, ...(room?.members.values() ?? [])]);
		const rooms = [...chat.all.filter((r) => !r.isPrivate), ...chat.directory].map((r) => r.name ?? r.room);
		completion = complete(input.value, input.selectionStart, {
			nicks: [...known].filter((nick) => nick && !chat.isMe(nick)),
			rooms: [...new Set(rooms)],
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

	/** `/to` is no command yet: Enter completes it. A whole one, or one with a word after it, is sent as it stands. */
	const isPartOfCommand = () => /^\/[^\s/]+$/.test(input.value) && Boolean(understand(input.value).unknown);

	function pressed(event) {
		// Safari ends a composition before the Enter that confirms it, and marks that key alone.
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
		else if (key === 'ArrowUp' && !input.value) ui.focusMessages();
		else if (key === 'Tab' && input.value) {
			suggest(true);
			if (!completion) return; // nothing to complete: Tab goes on to the next thing
			if (completion.options.length === 1) take(0);
		} else return;
		event.preventDefault();
	}

	async function pasted(event) {
		const { files } = event.clipboardData;
		const text = event.clipboardData.getData('text/plain');
		const lines = text.trimEnd().split('\n').length;
		// Cells of a spreadsheet and text of a word processor come with a picture of them: the text is meant.
		if (files.length && !text) ui.upload(files);
		else if (lines > LINES_MAX) {
			event.preventDefault();
			const inRoom = room;
			const choices = { messages: `${lines} messages`, code: 'Code block', ...(!room.isPrivate && { file: 'File' }) };
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
		const said = input.value;
		if (!room || !said.trim()) return;
		const { text, name, rest, unknown } = understand(said);
		if (unknown) return ui.toast(HABITS[unknown] ?? `Unknown command /${unknown}. Type /help for a list, or //${unknown} to send it as text.`);
		write('');
		if (text !== undefined) {
			chat.say(room, text);
			ui.toEnd();
		} else if (!(await ui.command(name, rest)) && room === inRoom && !input.value) {
			write(said); // it was refused: nothing that was typed is lost
		}
	}

	input.addEventListener('compositionstart', () => (isComposing = true));
	input.addEventListener('compositionend', () => (isComposing = false));
	input.addEventListener('input', typed);
	input.addEventListener('keydown', pressed);
	input.addEventListener('blur', close);
	input.addEventListener('paste', pasted);
	byId('composer').addEventListener('submit', (event) => {
		event.preventDefault();
		submit();
	});
	byId('attach').addEventListener('click', () => pick.click());
	pick.addEventListener('change', () => {
		ui.upload(pick.files);
		pick.value = '';
	});

	return {
		update,
		drafted,
		write,
		attach: () => pick.click(),
		focus: () => input.focus(),
		mention: (nick) => write(`${input.value} @${nick} `.trimStart()),
	};
}
