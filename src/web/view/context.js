// The purpose of the composer: a new message, a reply to a message, or the new text of one of the user's own. A bar
// above the composer shows which it is.

import { byId, el } from './dom.js';
import { quoteOf } from './row.js';

export function contexts(chat) {
	const bar = byId('context');
	const kept = new WeakMap(); // room → {kind: 'reply' or 'edit', id, text}; `text` is that of the edit so far
	let shown = null;

	const of = (room) => (room && kept.get(room)) ?? null;

	function set(room, context) {
		if (context) kept.set(room, context);
		else kept.delete(room);
		draw(room);
	}

	/** Draws the bar again if it must show something else now. */
	function draw(room) {
		const context = of(room);
		bar.hidden = !context;
		const { nick, text } = context ? quoteOf(room, context.id) : {};
		const sign = context && [context.kind, nick, text].join();
		if (sign === shown) return;
		shown = sign;
		if (!context) return;
		const what = context.kind === 'edit' ? ['Editing: '] : ['Replying to ', el('bdi.nick', { hue: nick }, nick), ': '];
		bar.firstElementChild.replaceChildren(...what, el('span.said', { dir: 'auto' }, text));
	}

	return { of, set, draw };
}
