// The dialog in which a user chooses an emoji. It offers the last used ones, a list that the user narrows down by a
// name, and a field for any emoji of the system's keyboard.

import { EMOJI, findEmoji, isEmoji } from '../emoji.js';
import { el, sync } from './dom.js';

/** Lets the user choose an emoji. Returns it, or '' if the user cancels. */
export function pickEmoji(store) {
	return new Promise((done) => {
		let chosen = '';
		const take = (emoji) => {
			chosen = emoji;
			dialog.close();
		};
		const option = ({ emoji, name }) => ({
			key: emoji,
			build: () => el('button.emoji', { type: 'button', title: `:${name}:`, 'aria-label': `${emoji} ${name.replaceAll('_', ' ')}`, onclick: () => take(emoji) }, emoji),
		});
		const nameOf = (emoji) => EMOJI.find((entry) => entry.emoji === emoji) ?? { emoji, name: 'emoji' };
		const last = el('div.emojis', { role: 'group', 'aria-label': 'Last used' });
		const grid = el('div.emojis', { role: 'group', 'aria-label': 'All' });
		const none = el('p.small', { role: 'status' });
		const find = el('input', { type: 'search', placeholder: 'Name, or any emoji', 'aria-label': 'Find an emoji', autocomplete: 'off', oninput: draw });

		function draw() {
			const text = find.value.trim();
			const found = isEmoji(text) ? [nameOf(text)] : findEmoji(text);
			sync(grid, found.map(option));
			none.textContent = found.length ? '' : 'No emoji has this name.';
		}

		/** Moves the focus in the grid by the arrow keys. */
		function pressed(event) {
			const all = [...dialog.querySelectorAll('.emoji')];
			const at = all.indexOf(document.activeElement);
			const rows = all.filter((button) => button.offsetTop === all.at(-1).offsetTop || button.parentElement === grid);
			const columns = rows.filter((button) => button.offsetTop === grid.firstChild?.offsetTop).length || 1;
			const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: at < 0 ? 1 : columns, ArrowUp: -columns }[event.key];
			if (!step || (at < 0 && event.key !== 'ArrowDown')) return;
			event.preventDefault();
			if (at + step < 0) find.focus();
			else all[Math.min(at + step, all.length - 1)]?.focus();
		}

		const onsubmit = (event) => {
			event.preventDefault();
			grid.querySelector('.emoji')?.click();
		};
		const dialog = el('dialog.ask.picker', { 'aria-label': 'React with', onkeydown: pressed, onclose: () => (dialog.remove(), done(chosen)), onclick: ({ target }) => target === dialog && dialog.close() },
			el('form', { onsubmit }, last, find, none, grid));
		sync(last, store.emoji.map(nameOf).map(option));
		draw();
		document.body.append(dialog);
		dialog.showModal();
		if (!matchMedia('(pointer: coarse)').matches) find.focus();
	});
}
