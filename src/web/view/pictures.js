// Pictures and files in front of the page: a picture of the room, as large as fits, and files that are not sent yet.

import { isPicture, linkTo, showIn } from '../files.js';
import { size } from '../text.js';
import { el, icon } from './dom.js';

/** Shows a picture. The arrow keys show the others of `items`, which are FILE events. */
export function showPicture(items, file, chat) {
	let at = items.findIndex((item) => item.file === file);
	const picture = el('img');
	const [name, about, download] = [el('span.name', { dir: 'auto' }), el('span'), el('span')];
	const step = (by, label, text) => el('button.tool', { title: label, 'aria-label': label, onclick: () => show(at + by) }, text);
	const [before, after] = [step(-1, 'Previous picture', '‹'), step(1, 'Next picture', '›')];
	const close = el('button.tool', { title: 'Close', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'));

	function show(next) {
		if (!items[next]) return;
		at = next;
		const item = items[at];
		showIn(picture, item, chat);
		picture.alt = item.name;
		name.replaceChildren(linkTo(el('a', { target: '_blank', rel: 'noopener noreferrer', title: 'Open in a new tab' }, item.name), item, chat));
		download.replaceChildren(linkTo(el('a', { download: item.name }, 'Download'), item, chat));
		about.textContent = `${size(item.size)}, ${item.nick}`;
		before.disabled = !items[at - 1];
		after.disabled = !items[at + 1];
		before.hidden = after.hidden = items.length < 2;
	}

	const onkeydown = ({ key }) => show(at + ({ ArrowLeft: -1, ArrowRight: 1 }[key] ?? NaN));
	const onclick = ({ target }) => (target === dialog || target === picture) && dialog.close();
	const dialog = el('dialog.lightbox', { 'aria-label': 'Picture', onkeydown, onclick, onclose: () => dialog.remove() },
		picture, el('p', {}, before, after, name, about, download, close));
	show(at);
	document.body.append(dialog);
	dialog.showModal();
	close.focus();
}

/** Shows files that the user has pasted or dropped. Returns whether the user wants to send them to `place`. */
export function askToSend(files, place) {
	return new Promise((done) => {
		const addresses = [];
		const picture = (file) => {
			addresses.push(URL.createObjectURL(file));
			return el('img', { src: addresses.at(-1), alt: '' });
		};
		const row = (file) => el('li', {}, isPicture(file.name, file.size) ? picture(file) : icon('clip'),
			el('span.name', { dir: 'auto' }, file.name), el('span.size', {}, size(file.size)));
		const question = `Send ${files.length === 1 ? 'this file' : `these ${files.length} files`} to ${place}?`;
		const onclose = () => {
			addresses.forEach((address) => URL.revokeObjectURL(address));
			dialog.remove();
			done(dialog.returnValue === 'send');
		};
		const dialog = el('dialog.ask', { 'aria-label': question, onclose },
			el('form', { method: 'dialog' }, el('p', {}, question), el('ul.unsent', {}, ...files.map(row)),
				el('div.acts', {}, el('button.plain', { value: 'send' }, 'Send'), el('button.plain', { value: '' }, 'Cancel'))));
		document.body.append(dialog);
		dialog.showModal();
	});
}
