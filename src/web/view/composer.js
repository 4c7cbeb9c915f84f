// Where one writes: a draft for each room, completion, files by button and paste.

import { complete, understand } from '../commands.js';
import { byId, el, sync } from './dom.js';

/** A paste of more lines than this is offered to be sent as a file. */
const LINES_MAX = 12;

export class Composer {
	#chat;
	#ui;
	#input = byId('input');
	#options = byId('options');
	#room = null;
	#completion = null;
	#chosen = 0;

	constructor(chat, ui) {
		this.#chat = chat;
		this.#ui = ui;
		const input = this.#input;
		input.addEventListener('input', () => this.#typed());
		input.addEventListener('keydown', (event) => this.#key(event));
		input.addEventListener('blur', () => this.#close());
		input.addEventListener('paste', (event) => this.#pasted(event));
		byId('composer').addEventListener('submit', (event) => {
			event.preventDefault();
			this.#submit();
		});
		byId('attach').addEventListener('click', () => this.attach());
		byId('pick').addEventListener('change', ({ target }) => {
			ui.upload(target.files);
			target.value = '';
			input.focus();
		});
	}

	attach() {
		byId('pick').click();
	}

	focus() {
		this.#input.focus();
	}

	update() {
		const room = this.#chat.active;
		if (room === this.#room) return;
		this.#room = room;
		this.#input.disabled = !room;
		this.#input.value = room ? this.#chat.store.draft(room.name) : '';
		this.#input.placeholder = room ? `Write to ${room.name}` : '';
		byId('attach').hidden = !room || room.isPrivate;
		this.#grow();
		this.#close();
	}

	/** Puts something there to be finished by the person. */
	write(text) {
		this.#set(text, text.length);
		this.focus();
	}

	mention(nick) {
		this.write(`${this.#input.value} @${nick} `.trimStart());
	}

	#set(text, caret) {
		this.#input.value = text;
		this.#input.setSelectionRange(caret, caret);
		this.#typed();
	}

	#typed() {
		if (this.#room) this.#chat.store.keepDraft(this.#room.name, this.#input.value);
		this.#grow();
		this.#suggest(false);
	}

	#grow() {
		const input = this.#input;
		input.style.height = 'auto';
		input.style.height = `${Math.min(input.scrollHeight, innerHeight * 0.4)}px`;
		byId('composer').classList.toggle('empty', !input.value.trim());
	}

	// ---- completion

	#suggest(asked) {
		const { value, selectionStart, selectionEnd } = this.#input;
		const chat = this.#chat;
		if (selectionStart !== selectionEnd) return this.#close();
		const speakers = this.#room?.items.slice(-60).reverse().map(({ nick }) => nick).filter(Boolean) ?? [];
		const known = [...speakers, ...(this.#room?.members.values() ?? [])];
		this.#completion = complete(value, selectionStart, {
			nicks: [...new Set(known)].filter((nick) => !chat.isMe(nick)),
			rooms: [...new Set([...chat.all.filter((r) => !r.isPrivate), ...chat.directory].map((r) => r.name ?? r.room))],
			asked,
		});
		this.#chosen = 0;
		this.#draw();
	}

	#draw() {
		const options = this.#completion?.options ?? [];
		this.#options.hidden = !options.length;
		this.#input.setAttribute('aria-expanded', String(options.length > 0));
		sync(this.#options, options.map(({ label, hint }, i) => ({
			key: label,
			sign: `${i}${i === this.#chosen}`,
			build: () => el('li', {
				id: `option-${i}`,
				role: 'option',
				'aria-selected': String(i === this.#chosen),
				onpointerdown: (event) => {
					event.preventDefault();
					this.#take(i);
				},
			}, el('span', {}, label), hint && el('span.hint', {}, hint)),
		})));
		if (options.length) this.#input.setAttribute('aria-activedescendant', `option-${this.#chosen}`);
		else this.#input.removeAttribute('aria-activedescendant');
	}

	#close() {
		this.#completion = null;
		this.#draw();
	}

	#take(i) {
		const { from, to, options } = this.#completion;
		const { value } = this.#input;
		const { insert } = options[i];
		this.#set(value.slice(0, from) + insert + value.slice(to).replace(/^ /, ''), from + insert.length);
		this.#close();
	}

	#key(event) {
		const { key } = event;
		if (event.isComposing) return;
		const count = this.#completion?.options.length ?? 0;
		if (count && (key === 'ArrowDown' || key === 'ArrowUp')) {
			this.#chosen = (this.#chosen + (key === 'ArrowDown' ? 1 : count - 1)) % count;
			this.#draw();
		} else if (count && key === 'Tab' && !event.shiftKey) this.#take(this.#chosen);
		else if (count && key === 'Enter' && !event.shiftKey && this.#input.value.trim() !== this.#completion.options[this.#chosen].insert.trim()) {
			this.#take(this.#chosen);
		} else if (count && key === 'Escape') this.#close();
		else if (key === 'Tab' && !event.shiftKey && this.#input.value) {
			this.#suggest(true);
			if (!this.#completion) return; // nothing to complete: Tab goes on to the next thing
			if (this.#completion.options.length === 1) this.#take(0);
		} else if (key === 'Enter' && !event.shiftKey) this.#submit();
		else if (key === 'ArrowUp' && !this.#input.value) this.#ui.focusMessages();
		else return;
		event.preventDefault();
	}

	#pasted(event) {
		const { files } = event.clipboardData;
		const text = event.clipboardData.getData('text/plain');
		const lines = text.trimEnd().split('\n').length;
		if (files.length) this.#ui.upload(files);
		else if (lines > LINES_MAX && !this.#room.isPrivate && confirm(`These ${lines} lines would be ${lines} messages. Send them as a file instead?`)) {
			this.#ui.upload([new File([text], 'paste.txt')]);
		} else return;
		event.preventDefault();
	}

	async #submit() {
		const room = this.#room;
		const typed = this.#input.value;
		if (!room || !typed.trim()) return;
		const { text, name, rest, unknown } = understand(typed);
		if (unknown) return this.#ui.toast(`There is no command /${unknown}. /help lists them; //${unknown} says it.`);
		this.#set('', 0);
		this.#close();
		if (text !== undefined) {
			this.#chat.say(room, text);
			this.#ui.toEnd();
		} else if (!(await this.#ui.command(name, rest)) && this.#room === room && !this.#input.value) {
			this.#set(typed, typed.length); // it was refused: nothing that was typed is lost
		}
	}
}
