// Elements from values. Text goes in as text nodes only, so nothing that anybody said can become markup.

import { hue, initials } from '../text.js';

/** `el('a.link', {href}, 'text', child)`: `on…` is a listener, `aria-…` and `data-…` are attributes, `hue` colours. */
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

/** A name's letters in its colour; a screen reader gets the name itself, beside it. */
export const avatar = (nick, size = '') => el(`span.avatar${size}`, { hue: nick, 'aria-hidden': 'true' }, initials(nick));

const SVG = 'http://www.w3.org/2000/svg';

/** One of the symbols at the end of index.html; it says nothing to a screen reader. */
export function icon(name) {
	const svg = document.createElementNS(SVG, 'svg');
	svg.setAttribute('class', 'icon');
	svg.setAttribute('aria-hidden', 'true');
	const use = document.createElementNS(SVG, 'use');
	use.setAttribute('href', `#i-${name}`);
	svg.append(use);
	return svg;
}

export const byId = (id) => document.getElementById(id);

/**
 * Makes the children of `parent` those of `rows` (`{key, sign, build()}`): one whose key and sign are as before stays
 * the element that it was, with its focus and its selection.
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

/** Sets text only where it changes, so that a screen reader is not told again what it knows. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
