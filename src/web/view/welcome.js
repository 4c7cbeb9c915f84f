// The card that asks for a name: all that somebody sees who comes for the first time.

import { byId, setText } from './dom.js';

export class Welcome {
	#chat;
	#ui;
	#form = byId('welcome').querySelector('form');
	#isAsking = false;

	constructor(chat, ui) {
		this.#chat = chat;
		this.#ui = ui;
		this.#form.addEventListener('submit', async (event) => {
			event.preventDefault();
			const { nick, password } = this.#form.elements;
			const name = nick.value.trim().replace(/\s+/g, '-');
			if (name) await chat.enter(name, password.value, ui.wanted());
			if (chat.phase === 'welcome') nick.select();
		});
	}

	update() {
		const chat = this.#chat;
		const isAsking = chat.phase === 'welcome';
		byId('welcome').hidden = !isAsking;
		byId('app').hidden = isAsking;
		const { nick } = this.#form.elements;
		if (isAsking && !this.#isAsking) {
			nick.value = chat.nick;
			nick.focus();
		}
		this.#isAsking = isAsking;
		if (!isAsking) return;
		const wanted = this.#ui.wanted();
		setText(byId('welcome-title'), chat.server || 'plainchat');
		setText(byId('welcome-error'), chat.refused);
		setText(byId('welcome-keeps'), chat.keeps);
		const button = this.#form.querySelector('.primary');
		button.disabled = !chat.isUp;
		setText(button, chat.isUp ? `Join ${wanted ?? 'the conversation'}` : 'Connecting…');
		const rooms = chat.directory.filter(({ members }) => members).sort((a, b) => b.members - a.members).slice(0, 5);
		const now = rooms.map(({ room, members }) => `${members} in ${room}`).join(', ');
		setText(byId('welcome-rooms'), now && `Here now: ${now}.`);
	}
}
