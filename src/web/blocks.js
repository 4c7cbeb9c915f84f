// Messages of several lines, and code blocks. Pure.

/** The longest time between two lines of a code block that were sent together. */
const BURST_MS = 2000;

/** Whether an event is a line of a text. */
const isLine = ({ of, count }) => Boolean(of) || count > 1;

const isFence = (text) => text.startsWith('```') && !text.includes('```', 3);

/**
 * Joins the events that are lines of one text (`TEXT`, protocol.md §4.38) to one item, with the events as its
 * `parts`. If the first lines of the text are not loaded, the item still has the id of the first line, and `isWhole` is
 * false.
 */
export function joined(items, isRemoved = () => false) {
	const found = [];
	for (const item of items) {
		const last = found.at(-1);
		if (last?.parts && belongs(item, last)) last.parts.push(item);
		else if (isLine(item)) found.push({ ...item, id: item.of ?? item.id, key: item.of ? `m${item.of}` : item.key, isWhole: !item.of, parts: [item] });
		else found.push(item);
	}
	for (const item of found.filter(({ parts }) => parts)) {
		item.parts = item.parts.filter((part) => !isRemoved(part));
		item.text = item.parts.map(({ text }) => text).join('\n');
		item.edited = item.parts.reduce((last, { edited }) => edited ?? last, undefined);
	}
	return found;
}

/**
 * Returns whether an event is the next line of a text. The lines of a direct message may have no ids; in that case, no
 * other message comes between them.
 */
const belongs = ({ verb, nick, id, of, count }, { id: first, nick: sender, count: lines, parts }) =>
	of ? of === first : !id && !first && verb === 'MSG' && nick === sender && !count && parts.length < lines;

/**
 * Returns whether a text of several lines is laid out with spaces or tabs, as tracebacks, tables and lists of programs
 * are. Two spaces after the end of a sentence do not count.
 */
export const isAligned = (text) => text.includes('\n') && /^ {2,}\S|\t|[^ .!?] {2,}\S| {3}\S/m.test(text);

/**
 * Splits a text at its code fences: `[{isCode, text}]`. A fence without its end is text. If the text is not
 * `isWhole`, it may begin inside a code block.
 */
export function sections(text, isWhole = true) {
	const lines = text.split('\n');
	const found = [];
	const isEnd = (line) => line.trim() === '```';
	const lastEnd = lines.findLastIndex(isEnd);
	let rest = []; // lines outside
	const put = (isCode, lines) => lines.length && found.push({ isCode, text: lines.join('\n') });
	let at = 0;
	if (!isWhole && lines.filter(isFence).length % 2) {
		at = lines.findIndex(isFence) + 1;
		put(true, lines.slice(0, at - 1));
	}
	for (; at < lines.length; at++) {
		const end = at < lastEnd && isFence(lines[at]) ? lines.findIndex((line, i) => i > at && isEnd(line)) : -1;
		if (end < 0) rest.push(lines[at]);
		else {
			put(false, rest);
			rest = [];
			put(true, lines.slice(at + 1, end));
			at = end;
		}
	}
	put(false, rest);
	return found.length ? found : [{ isCode: false, text }];
}

/**
 * Returns what is shown of a long text while it is folded: the blocks of its first `lines` lines, the block of its last
 * line, where the error of a traceback stands, and the `count` of the lines in between. Empty lines at the end do not
 * count. Each block has the text of the `whole` block. A text of one line has no last line.
 */
export function ends(blocks, lines) {
	const all = blocks.flatMap((block) => block.text.split('\n').map((text) => ({ block, text })));
	const last = all.findLastIndex(({ text }) => text.trim());
	if (last < 1) return { begin: blocks, count: 0, end: [] };
	const part = ({ block: { isCode, text: whole }, text }) => ({ isCode, text, whole });
	const begin = [];
	for (const [i, line] of all.slice(0, Math.min(lines, last)).entries()) {
		if (line.block === all[i - 1]?.block) begin.at(-1).text += `\n${line.text}`;
		else begin.push(part(line));
	}
	return { begin, count: Math.max(0, last - lines), end: [part(all[last])] };
}

/**
 * Finds code blocks: the lines of one user between two lines that begin with ```. Other users' lines may come in
 * between. Returns `fence` or `code` for each item of a block. A fence without its other end is text. If `items` do
 * not begin at the start of the room (`isStart` is false), they may begin inside a block.
 */
export function fences(items, isStart = true) {
	const found = new Map();
	const open = new Map(); // nick → the lines since the fence
	const seen = new Set(); // nicks that have had a fence
	for (const [i, item] of items.entries()) {
		if (item.verb !== 'MSG' || isLine(item)) continue; // `sections` finds those of a text
		if (!isFence(item.text)) {
			open.get(item.nick)?.push(item);
			continue;
		}
		const lines = open.get(item.nick) ?? (isStart || seen.has(item.nick) ? [] : blockBefore(items, i));
		seen.add(item.nick);
		if (!lines.length) {
			open.set(item.nick, [item]);
			continue;
		}
		for (const line of lines) found.set(line, 'code');
		if (open.delete(item.nick)) found.set(lines[0], 'fence');
		found.set(item, 'fence');
	}
	return found;
}

/**
 * Returns the lines of a block that ends at `at` and whose beginning is not loaded. The lines of a block are sent
 * together, so they are just before its end, and the same user writes nothing just after it. If that is not the case,
 * returns no lines.
 */
function blockBefore(items, at) {
	const { nick, text, time } = items[at];
	const isOwn = (item) => item.verb === 'MSG' && item.nick === nick;
	const next = items.slice(at + 1).find(isOwn);
	if (text.trim() !== '```' || (next && next.time - time < BURST_MS)) return [];
	const lines = [];
	let last = time;
	for (const item of items.slice(0, at).filter(isOwn).reverse()) {
		if (last - item.time >= BURST_MS) break;
		last = item.time;
		lines.push(item);
	}
	return lines;
}
