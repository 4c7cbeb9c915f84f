// Creates elements. Text becomes text nodes only, so no message can become markup.

import { hue, initials } from '../text.js';

/**
 * Creates an element: `el('a.link', {href}, 'text', child)`. A property `on…` is a listener; `aria-…` and `data-…`
 * are attributes.
 */
export function el(tag, props = {}, ...children) {
	const [name, ...classes] = tag.split('.');
	const element = document.createElement(name);
	if (classes.length) element.className = classes.join(' ');
	for (const [key, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
		else if (key === 'hue') element.style.setProperty('--h', hue(value));
		else if (/^(aria|data)-|^role$/.test(key)) element.setAttribute(key, value);
		else element[key] = value;
	}
	element.append(...children.filter((child) => child || child === 0));
	return element;
}

/** Creates the avatar of a name. Screen readers skip it, because the name is beside it. */
export const avatar = (nick, size = '') => el(`span.avatar${size}`, { hue: nick, 'aria-hidden': 'true' }, initials(nick));

/**
 * Creates an icon. Its shapes are copied from a symbol at the end of index.html: hundreds of references to the symbol,
 * with `use`, would take far longer to lay out. Screen readers skip the icon.
 */
export function icon(name) {
	const symbol = byId(`i-${name}`);
	const svg = document.createElementNS(symbol.namespaceURI, 'svg');
	svg.setAttribute('class', 'icon');
	svg.setAttribute('aria-hidden', 'true');
	svg.setAttribute('viewBox', symbol.getAttribute('viewBox'));
	svg.append(...symbol.cloneNode(true).childNodes);
	return svg;
}

export const byId = (id) => document.getElementById(id);

/**
 * Replaces the children of `parent` by those of `rows` (`{key, sign, build()}`). A row with the same key and sign as
 * before keeps its element, and so its focus and selection.
 */
export function sync(parent, rows) {
	const old = (parent.rows ??= new Map());
	const now = new Map();
	const wanted = new Set(rows.map(({ key }) => key));
	for (const [key, { element }] of old) {
		if (!wanted.has(key)) element.remove();
	}
	let place = parent.firstChild;
	for (const { key, sign = '', build } of rows) {
		let row = old.get(key);
		if (row?.sign !== sign) {
			const element = build();
			if (row) {
				const hadFocus = row.element.contains(document.activeElement);
				if (place === row.element) place = element;
				row.element.replaceWith(element);
				if (hadFocus) element.focus({ preventScroll: true });
			}
			row = { element, sign };
		}
		now.set(key, row);
		if (row.element === place) place = place.nextSibling;
		else parent.insertBefore(row.element, place);
	}
	parent.rows = now;
}

/** Sets a text if it has changed, so that a screen reader does not repeat it. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
