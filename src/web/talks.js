// The direct messages that this browser keeps, because the server saves only those between two registered users. Pure.

import { fold } from './wire.js';

/** The maximum number of messages of one conversation. */
export const PRIVATE_MAX = 200;

/** The maximum length of one conversation in characters, without the names. The browser gives a site about 5 MB. */
const CHARACTERS_MAX = 50_000;

/** The maximum number of conversations of all nicks together. */
const TALKS_MAX = 20;

/** Returns whether the browser keeps an item of a conversation for `nick`. */
function isKeepable({ id, time, verb, room, nick: by }, nick) {
	return !id && Boolean(time) && (verb === 'MSG' || verb === 'ME') && (fold(room) === fold(nick) || fold(by) === fold(nick));
}

/** Returns the messages of a conversation that the browser keeps for `nick`, each with the fields that are needed to show it again. */
export function keepable(items, nick) {
	return items.filter((item) => isKeepable(item, nick))
		.map(({ verb, room, nick, text, time, count }) => ({ verb, room, nick, text, time, id: null, ...(count && { count }) }));
}

/**
 * Joins what two tabs know of a conversation, in the order of time. Messages of one user with the same time are the
 * lines of one text, so the longer list of them has all of them.
 */
export function merged(some, others) {
	const groups = new Map();
	for (const items of [some, others]) {
		const own = new Map();
		for (const item of items) {
			const key = item.id ? `m${item.id}` : `${item.time} ${fold(item.nick ?? '')}`;
			own.set(key, [...(own.get(key) ?? []), item]);
		}
		for (const [key, group] of own) if (!(groups.get(key)?.length >= group.length)) groups.set(key, group);
	}
	return [...groups.values()].flat().sort((a, b) => a.time - b.time);
}

/**
 * Returns the newest messages that the browser has space for. A text of several lines stays whole, unless it alone is
 * too long.
 */
export function newest(items) {
	let left = CHARACTERS_MAX;
	let from = items.length;
	while (from > 0 && items.length - from < PRIVATE_MAX && (left -= items[from - 1].text.length) >= 0) from -= 1;
	const isCut = (at) => at > 0 && items[at] && items[at].time === items[at - 1].time && items[at].nick === items[at - 1].nick;
	let whole = from;
	while (isCut(whole)) whole += 1;
	return items.slice(whole < items.length ? whole : from);
}

/** Returns the keys of the conversations for which there is no space: `talks` is `[[key, items]]`. */
export function superfluous(talks) {
	const byTime = talks.filter(([, items]) => items.length).sort(([, a], [, b]) => b.at(-1).time - a.at(-1).time);
	return byTime.slice(TALKS_MAX).map(([key]) => key);
}
