// The welcome card, which asks a new user for a name.

import { byId, setText } from './dom.js';

export function welcome(chat, ui) {
	const form = byId('welcome').querySelector('form');
	const { nick, password, pass } = form.elements;
	let wasAsking = false;

	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		const name = nick.value.trim().replace(/\s+/g, '-');
		if (name) await chat.enter(name, password.value, ui.wanted(), pass.value);
		if (chat.phase === 'welcome') nick.select();
	});

	return {
		update() {
			const isAsking = chat.phase === 'welcome';
			byId('welcome').hidden = !isAsking;
			byId('app').hidden = isAsking;
			if (isAsking && !wasAsking) {
				nick.value ||= chat.nick; // the user may have typed before this runs
				document.documentElement.classList.remove('returning');
				nick.focus();
			}
			wasAsking = isAsking;
			if (chat.server) setText(byId('welcome-title'), `Choose a name to join ${chat.server}.`);
			pass.closest('div').hidden = !chat.isLocked;
			pass.required = chat.isLocked;
			if (chat.isNameHeld && byId('welcome-error').textContent !== chat.refused) form.querySelector('details').open = true;
			setText(byId('welcome-error'), chat.refused);
			setText(byId('welcome-keeps'), chat.keeps);
			const button = form.querySelector('.primary');
			button.disabled = !chat.isUp;
			setText(button, `Join ${ui.wanted() ?? 'the conversation'}`);
			const state = chat.connection.state === 'down' ? 'No connection. Retrying…' : 'Connecting…';
			setText(byId('loading'), isAsking && !chat.isUp ? state : '');
			const rooms = chat.directory.filter(({ members }) => members).sort((a, b) => b.members - a.members).slice(0, 5);
			const now = rooms.map(({ room, members }) => `${members} in ${room}`).join(', ');
			setText(byId('welcome-rooms'), now && `Here now: ${now}.`);
		},
	};
}
