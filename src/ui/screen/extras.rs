//! The parts of a message besides its text: the message to which it replies, whether it was edited, and the reactions
//! to it. This module is pure.

use super::room::{Entry, EntryKind, Room};
use crate::client::Tags;
use crate::protocol::text::clean;

/// The maximum number of different reactions that are shown for a message. A server accepts as many.
const REACTIONS_MAX: usize = 20;

/// The maximum length of an emoji in bytes.
const EMOJI_BYTES_MAX: usize = 32;

/// The maximum number of users that are remembered for one reaction, so that nobody is counted twice.
const NICKS_MAX: usize = 50;

/// The maximum number of quoted messages outside of the window that a room remembers.
const QUOTES_MAX: usize = 200;

/// The maximum length of a quoted message in bytes. A line shows less than that.
const QUOTE_BYTES_MAX: usize = 400;

/// The parts of a message besides its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The id of the message to which this one replies.
    pub reply: Option<u64>,
    /// The number of lines, if this is the first line of a text of several lines.
    pub lines: Option<u64>,
    /// The id of the first line, if this is a later line of a text of several lines.
    pub part_of: Option<u64>,
    /// Whether the message mentions everybody in its room, and its author may do that.
    pub is_for_everybody: bool,
    /// Whether the text was replaced.
    pub is_edited: bool,
    /// Whether the event was deleted before it was received.
    pub is_removed: bool,
    /// The reactions, the oldest first.
    pub reactions: Vec<Reaction>,
    /// If the server sent this message among the events that were missed during a break: the number of that break. Such
    /// a message comes with all reactions that the server had when it sent the message.
    pub replay: Option<u32>,
}

/// The users who react with the same emoji.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji, safe for a terminal.
    pub emoji: String,
    /// The number of users.
    pub count: u64,
    /// The nicks of those users who are known.
    pub nicks: Vec<String>,
}

impl Extras {
    /// Reads the tags of an event.
    pub fn of(tags: &Tags) -> Self {
        let reaction = |(emoji, count): (String, u64)| {
            let emoji = safe_emoji(&emoji)?;
            let nicks = Vec::new();
            Some(Reaction {
                emoji,
                count,
                nicks,
            })
        };
        let reactions = tags.reactions().into_iter().filter_map(reaction);
        Self {
            reply: tags.reply().map(|id| id.get()),
            lines: tags.lines(),
            part_of: tags.part_of().map(|id| id.get()),
            is_for_everybody: tags.is_for_everybody(),
            is_edited: tags.edited().is_some(),
            is_removed: tags.is_removed(),
            reactions: reactions.take(REACTIONS_MAX).collect(),
            replay: None,
        }
    }

    /// Adds a reaction.
    pub fn react(&mut self, nick: &str, emoji: &str) {
        let Some(emoji) = safe_emoji(emoji) else {
            return;
        };
        if let Some(known) = self.reactions.iter_mut().find(|known| known.emoji == emoji) {
            if known.nicks.iter().any(|known| known == nick) {
                return;
            }
            known.count = known.count.saturating_add(1);
            if known.nicks.len() < NICKS_MAX {
                known.nicks.push(nick.to_owned());
            }
        } else if self.reactions.len() < REACTIONS_MAX {
            self.reactions.push(Reaction {
                emoji,
                count: 1,
                nicks: vec![nick.to_owned()],
            });
        }
    }

    /// Removes a reaction.
    pub fn unreact(&mut self, nick: &str, emoji: &str) {
        let emoji = clean(emoji);
        for known in &mut self.reactions {
            if known.emoji == emoji {
                known.count = known.count.saturating_sub(1);
                known.nicks.retain(|known| known != nick);
            }
        }
        self.reactions.retain(|known| known.count > 0);
    }

    /// Records whether `nick` reacts with this emoji, without changing the count.
    fn correct(&mut self, nick: &str, emoji: &str, is_on: bool) {
        let emoji = clean(emoji);
        let mut reactions = self.reactions.iter_mut();
        if let Some(known) = reactions.find(|known| known.emoji == emoji) {
            known.nicks.retain(|known| known != nick);
            if is_on && known.nicks.len() < NICKS_MAX {
                known.nicks.push(nick.to_owned());
            }
        }
    }
}

/// Returns an emoji as it can be shown; `None` for a text that is not an emoji.
fn safe_emoji(emoji: &str) -> Option<String> {
    let emoji = clean(emoji);
    let is_one = !emoji.is_empty() && emoji.len() <= EMOJI_BYTES_MAX && !emoji.contains(' ');
    is_one.then(|| emoji.into_owned())
}

impl Room {
    /// Replaces the text of a message that `nick` has sent. Returns whether the message is in the window.
    pub fn edit(&mut self, id: u64, nick: &str, new: &str) -> bool {
        // The quoted text of a message outside of the window is fetched again.
        self.quotes.retain(|(known, _)| *known != id);
        let Some(entry) = self.entry_mut(id) else {
            return false;
        };
        match &mut entry.kind {
            EntryKind::Msg { nick: by, text } | EntryKind::Me { nick: by, text } if by == nick => {
                *text = clean(new).into_owned();
                entry.extras.is_edited = true;
                true
            }
            _ => false,
        }
    }

    /// Adds or removes a reaction to a message in the window. If the reaction is one of the events that were missed
    /// during a break, `replay` is the number of that break (`Extras::replay`). If the message has the same number,
    /// it came with the reaction, which is not counted again.
    pub fn react(&mut self, id: u64, nick: &str, emoji: &str, is_on: bool, replay: Option<u32>) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        let is_counted = replay.is_some() && entry.extras.replay == replay;
        if entry.kind.nick().is_none() || is_counted {
            return;
        }
        if is_on {
            entry.extras.react(nick, emoji);
        } else {
            entry.extras.unreact(nick, emoji);
        }
    }

    /// Records whether `nick` reacts to a message with this emoji, without changing the count.
    pub fn correct_reaction(&mut self, id: u64, nick: &str, emoji: &str, is_on: bool) {
        if let Some(entry) = self.entry_mut(id) {
            entry.extras.correct(nick, emoji, is_on);
        }
    }

    /// Returns the reactions that are shown below the entry at `index`. Those to a text of several lines, and to any of
    /// its lines, are shown below its last line.
    pub fn reactions_below(&self, index: usize) -> Vec<&Reaction> {
        let Some(entry) = self.get(index) else {
            return Vec::new();
        };
        let is_text = entry.extras.lines.is_some();
        let Some(first) = entry.extras.part_of.or(entry.id.filter(|_| is_text)) else {
            return entry.extras.reactions.iter().collect();
        };
        let is_part =
            |entry: &&Entry| entry.id == Some(first) || entry.extras.part_of == Some(first);
        if self.get(index + 1).as_ref().is_some_and(is_part) {
            return Vec::new();
        }
        let all = (0..=index).rev().filter_map(|at| self.get(at));
        let mut parts: Vec<&Entry> = all.take_while(is_part).collect();
        parts.reverse();
        let reactions = parts.into_iter().flat_map(|part| &part.extras.reactions);
        reactions.collect()
    }

    /// Returns the text of a message as it is quoted; `None` if the message is not known.
    pub fn quote(&self, id: u64) -> Option<String> {
        if let Some(index) = self.find(id) {
            return self.get(index).map(|entry| {
                let more = if entry.extras.lines.is_some() {
                    " …"
                } else {
                    ""
                };
                quoted(&entry.kind) + more
            });
        }
        let mut quotes = self.quotes.iter();
        quotes
            .find(|(known, _)| *known == id)
            .map(|(_, text)| text.clone())
    }

    /// Remembers a message outside of the window.
    pub fn remember_quote(&mut self, id: u64, kind: &EntryKind) {
        if self.quotes.len() >= QUOTES_MAX {
            self.quotes.pop_front();
        }
        self.quotes.push_back((id, quoted(kind)));
    }

    /// Returns the text of a message. If it is one line of a text of several lines, returns all lines.
    pub fn whole_text(&self, id: u64) -> String {
        let is_part = |entry: &&Entry| {
            (entry.id == Some(id) || entry.extras.part_of == Some(id))
                && entry.kind != EntryKind::Hidden
        };
        let text = |entry: &Entry| match &entry.kind {
            EntryKind::Msg { text, .. } | EntryKind::Me { text, .. } => Some(text.clone()),
            EntryKind::File { name, .. } => Some(name.clone()),
            _ => None,
        };
        let lines: Vec<String> = self.entries().filter(is_part).filter_map(text).collect();
        lines.join("\n")
    }

    /// Returns the id and text of the newest message of this client that can be edited.
    pub fn editable(&self) -> Option<(u64, String)> {
        let mut entries = self.entries().rev();
        entries.find_map(|entry| match &entry.kind {
            EntryKind::Msg { .. } if entry.is_mine && entry.extras.part_of.is_none() => {
                let id = entry.id?;
                Some((id, self.whole_text(id)))
            }
            _ => None,
        })
    }

    /// Returns the ids and texts of the lines of a message. Usually it has one.
    pub fn lines_of_message(&self, id: u64) -> Vec<(u64, String)> {
        let is_part = |entry: &&Entry| entry.id == Some(id) || entry.extras.part_of == Some(id);
        let line = |entry: &Entry| match &entry.kind {
            EntryKind::Msg { text, .. } | EntryKind::Me { text, .. } => {
                Some((entry.id?, text.clone()))
            }
            _ => None,
        };
        self.entries().filter(is_part).filter_map(line).collect()
    }

    /// Returns the newest message of another user or, if there is none, the newest message.
    pub fn newest_to_answer(&self) -> Option<u64> {
        let can = |entry: &&Entry| entry.can_be_selected();
        let all = || self.entries().rev().filter(can);
        let found = all().find(|entry| !entry.is_mine).or_else(|| all().next());
        found.and_then(|entry| entry.id)
    }
}

fn quoted(kind: &EntryKind) -> String {
    let mut text = match kind {
        EntryKind::Msg { nick, text } => format!("{nick}: {text}"),
        EntryKind::Me { nick, text } => format!("* {nick} {text}"),
        EntryKind::File { nick, name, .. } => format!("{nick}: ▤ {name}"),
        EntryKind::Removed { nick } => format!("{nick}: (deleted)"),
        EntryKind::Note(_) | EntryKind::Trouble(_) | EntryKind::Hidden => "(hidden)".to_owned(),
    };
    text.truncate(text.floor_char_boundary(QUOTE_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Line;

    fn tags(text: &str) -> Tags {
        Line::from(format!("@{text} MSG #a bob x")).tags()
    }

    #[test]
    fn reactions_are_counted_once_and_bounded() {
        let mut extras = Extras::of(&tags("reply=7;reacts=👍*2;edited=2026-11-24T06:47:00.000Z"));
        assert_eq!((extras.reply, extras.is_edited), (Some(7), true));
        extras.react("ann", "👍");
        extras.react("ann", "👍");
        extras.react("ann", "🎉");
        let counts = |extras: &Extras| -> Vec<(String, u64)> {
            let all = extras.reactions.iter();
            all.map(|one| (one.emoji.clone(), one.count)).collect()
        };
        assert_eq!(counts(&extras), [("👍".into(), 3), ("🎉".into(), 1)]);
        extras.unreact("ann", "🎉");
        extras.unreact("ann", "🎉");
        extras.unreact("bob", "👍");
        assert_eq!(counts(&extras), [("👍".into(), 2)]);
        for n in 0..100 {
            extras.react("ann", &format!("x{n}"));
            extras.react(&format!("nick{n}"), "👍");
        }
        assert_eq!(extras.reactions.len(), REACTIONS_MAX);
        assert_eq!(extras.reactions[0].count, 102);
        assert_eq!(extras.reactions[0].nicks.len(), NICKS_MAX);
    }

    #[test]
    fn a_reaction_that_is_not_an_emoji_is_not_shown() {
        let mut extras = Extras::of(&tags("reacts=%C2%9B31m*1,*3,👍*0"));
        for bad in ["", "\u{1b}[31m", "two words", &"x".repeat(33), "\u{202e}"] {
            extras.react("ann", bad);
        }
        assert_eq!(extras.reactions.len(), 1, "{extras:?}");
        assert_eq!(extras.reactions[0].emoji, "31m");
    }
}
