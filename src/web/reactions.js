// The reactions to a message: `[{emoji, count, nicks}]`, oldest first. `nicks` is `null` while only the number is
// known, from the message's tag. Lists are never changed, but replaced by new ones. Pure.

import { fold } from './wire.js';

/** The maximum number of different emoji that the server allows for one message (protocol.md §4.37). */
const EMOJI_MAX = 20;
const COUNT_MAX = 1000;

/** The maximum number of names in a title. After them comes the number of the other users. */
const NAMES_SHOWN = 20;

const same = (a) => (b) => fold(a) === fold(b);

/** Returns the reactions after one has been added or withdrawn. */
export function reacted(list, { verb, emoji, nick }) {
	const isOn = verb === 'REACT';
	const old = list.find((reaction) => reaction.emoji === emoji);
	if (!old) return isOn && list.length < EMOJI_MAX ? [...list, { emoji, count: 1, nicks: [nick] }] : list;
	const others = old.nicks?.filter((other) => !same(nick)(other));
	const nicks = others ? (isOn ? [...others, nick].slice(0, COUNT_MAX) : others) : null;
	const count = nicks?.length ?? old.count + (isOn ? 1 : -1);
	return list.map((reaction) => (reaction === old ? { emoji, count, nicks } : reaction)).filter((reaction) => reaction.count > 0);
}

/** Returns the reactions that `REACTS` lists: `[{nick, emoji}]`. */
export const listed = (all) => all.reduce((list, { nick, emoji }) => reacted(list, { verb: 'REACT', nick, emoji }), []);

/** Returns whether it is known who has reacted. */
export const isKnown = (list) => list.every(({ nicks }) => nicks);

/** Returns whether a user has reacted with this emoji. */
export const hasReacted = (list, emoji, nick) => Boolean(list.find((reaction) => reaction.emoji === emoji)?.nicks?.some(same(nick)));

/** Returns who has reacted: "bob, carol and you". */
export function whoText({ count, nicks }, me) {
	if (!nicks) return count === 1 ? '1 person' : `${count} people`;
	const names = nicks.filter((nick) => !same(me)(nick)).slice(0, NAMES_SHOWN);
	const isMine = nicks.some(same(me));
	const rest = count - names.length - (isMine ? 1 : 0);
	const all = [...names, ...(rest > 0 ? [`${rest} more`] : []), ...(isMine ? ['you'] : [])];
	return all.length > 1 ? `${all.slice(0, -1).join(', ')} and ${all.at(-1)}` : all[0] ?? '';
}
