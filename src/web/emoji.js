// Emoji by name. The page contains no pictures of them; the operating system draws them. Pure.

/** Each emoji, its name as in `:smile:`, and other words that find it. */
const LIST = `👍 thumbsup +1 yes ok agree|👎 thumbsdown -1 no|❤️ heart love|😂 joy laugh tears|🎉 tada party hooray|👀 eyes look seen|✅ done check yes|❌ x no wrong cross
🙏 pray thanks please|👏 clap bravo|🙌 raised_hands hooray|🤝 handshake deal|💪 muscle strong|👋 wave hello bye|👌 ok_hand perfect|✋ hand stop|🤞 fingers_crossed luck|✌️ v peace|☝️ point_up|👇 point_down|👉 point_right|👈 point_left|🫡 salute|🤷 shrug dunno|🤦 facepalm
😀 grinning happy|😄 smile happy|😁 grin|😅 sweat_smile phew|😊 blush|🙂 slightly_smiling|🙃 upside_down|😉 wink|😍 heart_eyes love|😘 kiss|😋 yum|😜 tongue crazy|🤪 zany|🤓 nerd|😎 cool sunglasses|🥳 partying|😏 smirk|😐 neutral|😑 expressionless|😬 grimace|🙄 eye_roll|🤔 thinking hmm|🤨 raised_eyebrow|🫠 melting|😴 sleeping tired|🥱 yawn|😌 relieved|😔 pensive sad|😢 cry sad|😭 sob|😱 scream|😳 flushed|😮 open_mouth wow|😯 hushed|😲 astonished|🤯 mind_blown|😡 rage angry|😠 angry|🤬 cursing|😤 triumph|😞 disappointed|😟 worried|🥺 pleading|😷 mask sick|🤒 ill fever|🤕 hurt|🤢 nauseated|🤮 vomit|🥶 cold|🥵 hot|🤠 cowboy|🤗 hug|🤭 giggle oops|🤫 shush quiet|🤐 zipper|😇 innocent angel|😈 devil|👻 ghost|💀 skull dead|🤖 robot bot|💩 poop|🤡 clown|👽 alien|🎃 pumpkin
🔥 fire hot lit|✨ sparkles new|⭐ star|🌟 glowing_star|💯 100 hundred|💥 boom|💔 broken_heart|💜 purple_heart|💙 blue_heart|💚 green_heart|💛 yellow_heart|🧡 orange_heart|🖤 black_heart|❗ exclamation important|❓ question|⚠️ warning|🚨 alert siren|🚫 forbidden|🛑 stop|🟢 green_circle|🔴 red_circle|🟡 yellow_circle|➕ plus|➖ minus|🔁 repeat again|🔄 refresh|⏳ hourglass wait|⏰ alarm clock|🕐 time|📅 calendar date|📌 pin|📎 paperclip|📝 memo note|📈 chart up|📉 chart_down|📊 bar_chart|📦 package|📣 megaphone|🔔 bell|🔕 mute|🔍 search find|🔑 key|🔒 lock|🔓 unlock|💡 bulb idea|🔧 wrench fix|🔨 hammer build|⚙️ gear settings|🛠️ tools|🧪 test|🐛 bug|🚀 rocket ship deploy|🚢 ship|🏁 finish flag|🏆 trophy win|🥇 gold medal|🎯 target|🎁 gift|🎂 cake birthday|🎈 balloon|🎵 music|📷 camera|💻 laptop|🖥️ desktop|📱 phone|☎️ telephone|✉️ mail|💾 save disk|🗑️ trash|💰 money|💸 expensive|🧹 clean broom|🩹 patch bandage
☕ coffee|🍵 tea|🍺 beer|🍻 cheers|🥂 toast|🍷 wine|🍕 pizza|🍔 burger|🍟 fries|🌮 taco|🍣 sushi|🍜 noodles|🥗 salad|🍞 bread|🧀 cheese|🍎 apple|🍌 banana|🍓 strawberry|🍋 lemon|🥑 avocado|🍪 cookie|🍩 donut|🍫 chocolate|🍦 icecream|🍿 popcorn
🐶 dog|🐱 cat|🐭 mouse|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐸 frog|🐵 monkey|🙈 see_no_evil|🙉 hear_no_evil|🙊 speak_no_evil|🦄 unicorn|🐝 bee|🦋 butterfly|🐢 turtle|🐍 snake|🐙 octopus|🐳 whale|🐟 fish|🐧 penguin|🦆 duck|🦉 owl|🦀 crab rust|🌱 seedling plant|🌳 tree|🌸 blossom flower|🌹 rose|🌻 sunflower|🍀 clover luck|🌍 earth world|🌈 rainbow|☀️ sun|🌧️ rain|❄️ snow|⚡ zap fast|🌊 ocean|🌙 moon|⚽ soccer|🏀 basketball|🎮 game|🎲 dice|🎸 guitar|🚗 car|🚲 bike|✈️ plane|🚆 train|🏠 house home|🏖️ beach holiday|⛺ tent`;

/** `[{emoji, name, words}]` */
export const EMOJI = LIST.split(/[|\n]/).map((entry) => {
	const [emoji, ...words] = entry.split(' ');
	return { emoji, name: words[0], words };
});

/** The emoji that are offered first to a user who has not chosen any yet. */
export const FIRST = ['👍', '❤️', '😂', '🎉', '👀'];

/**
 * Returns whether a text may be a reaction: one character as people see it, but not a letter of a keyboard
 * (protocol.md §4.37).
 */
export function isEmoji(text) {
	// Without `Segmenter`, which older browsers lack, an emoji of several code points is not recognised.
	const [first, second] = Intl.Segmenter ? new Intl.Segmenter().segment(text) : text;
	return Boolean(first) && !second && /[^\x20-\x7e]/.test(text) && !/[\s,*\p{L}\p{C}]/u.test(text.replace(/\u200d|[\u{e0020}-\u{e007f}]/gu, '')) && new TextEncoder().encode(text).length <= 32;
}

/**
 * Returns the emoji that match a text, the best first: whole words, then beginnings of words, then other parts of
 * words.
 */
export function findEmoji(text, max = Infinity) {
	const needle = text.trim().toLowerCase().replace(/^:|:$/g, '').replace(/\s+/g, '_');
	const ranked = [[], [], []];
	for (const entry of EMOJI) {
		const rank = entry.words.includes(needle) ? 0 : entry.words.some((word) => word.startsWith(needle)) ? 1 : entry.words.some((word) => word.includes(needle)) ? 2 : 3;
		ranked[rank]?.push(entry);
	}
	return ranked.flat().slice(0, max);
}

/**
 * Replaces the word `:smile:` before `caret` by its emoji. Returns `{text, caret}`, or `null` if there is no such
 * word.
 */
export function replaceName(text, caret) {
	const [, whole, name] = /(?:^|\s)(:([a-z0-9_+-]+):)$/.exec(text.slice(0, caret)) ?? [];
	const found = name && EMOJI.find((entry) => entry.words.includes(name));
	if (!found) return null;
	const from = caret - whole.length;
	return { text: text.slice(0, from) + found.emoji + text.slice(caret), caret: from + found.emoji.length };
}
