// The tools for a message: buttons that a row shows while the pointer or the focus is on it, and keys.

import { el, icon } from './dom.js';
import { addressIn } from './row.js';

export function toolsOf(chat, ui) {
	let shown = null;

	/** Returns the actions on a message: `{name, key, label, act}`. */
	function actions(room, item) {
		const isMine = chat.isMe(item.nick);
		const isThere = !room.isRemoved(item);
		const found = [];
		if (isThere && chat.can.has('react')) found.push({ name: 'smile', key: '+', label: 'React', act: () => ui.react(item) });
		if (isThere && chat.can.has('reply')) found.push({ name: 'reply', key: 'r', label: 'Reply', act: () => ui.reply(item) });
		else if (!isMine) found.push({ name: 'reply', key: 'r', label: `Mention ${item.nick}`, act: () => ui.mention(item.nick) });
		if (chat.canEdit(room, item)) found.push({ name: 'pen', key: 'e', label: 'Edit', act: () => ui.edit(item) });
		if (isThere && item.parts) found.push({ name: 'copy', key: 'c', label: 'Copy text', act: () => ui.copy(item.text) });
		found.push({ name: 'link', key: 'l', label: 'Copy link', act: () => ui.copy(`${location.origin}/${addressIn(room.name, item.id)}`) });
		if (chat.canRemove(room, item)) found.push({ name: 'bin', key: 'Delete', label: 'Delete', act: () => ui.remove(room, item) });
		return found;
	}

	const canAct = (item) => item?.id && item.verb !== 'TOPIC';

	/** Shows the buttons in a row. */
	function offer(room, row) {
		const item = row?.item;
		if (!canAct(item) || row.contains(shown)) return;
		if (shown?.parentElement) reach(shown.parentElement, false);
		shown?.remove();
		// Within this frame, the buttons stay in sight while a part of the row is above the log.
		shown = el('div.row-frame', {}, el('div.row-tools', { role: 'group', 'aria-label': 'Message' }, ...actions(room, item).map(({ name, label, act }) =>
			el('button.tool', { 'aria-label': label, title: label, onclick: act }, icon(name)))));
		row.append(shown);
		reach(row, true);
	}

	/** Makes the elements of a row reachable with the Tab key, or unreachable. */
	function reach(row, isReached) {
		row.tabs = isReached;
		for (const button of row.querySelectorAll('.chip, .quote, .copy')) button.tabIndex = isReached ? 0 : -1;
	}

	/** Executes what a key means on a message. Returns whether the key has a meaning. */
	function pressed(room, item, key) {
		const action = canAct(item) && actions(room, item).find((action) => action.key === key);
		action?.act();
		return Boolean(action);
	}

	return { offer, pressed };
}
