//! Descriptions of events in words for people. The server's talker mode and `chatc` share them.
//!
//! A description says what happened, and to how many things, but not when or where. This module knows nothing of
//! terminals.

use super::tags::{self, is_removed};
use super::{Event, EventId};

/// The number of characters of a message that are repeated when somebody answers or reacts to it.
const QUOTED_CHARS: usize = 30;

/// Describes an event for a person.
///
/// ```
/// use plainchat::protocol::{Event, human::describe};
/// let event = Event::parse("ME #lobby bob waves").unwrap();
/// assert_eq!(describe(&event), "* bob waves");
/// ```
pub fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Msg { nick, text, .. } => format!("<{nick}> {text}"),
        Event::Me { nick, text, .. } => format!("* {nick} {text}"),
        Event::File {
            nick,
            file,
            length,
            name,
            ..
        } => {
            let length = length.map_or_else(|| "still uploading".into(), size);
            format!("-- {nick} sent a file: {name}, {length}; /download {file}")
        }
        Event::Stored {
            nick, file, length, ..
        } => {
            format!(
                "-- {nick}'s upload of file {file} is finished: {}",
                size(*length)
            )
        }
        Event::Topic { nick, text, .. } if text.is_empty() => {
            format!("-- {nick} cleared the topic")
        }
        Event::Topic { nick, text, .. } => format!("-- {nick} set the topic: {text}"),
        // People see no ids, so these sentences do not name the message by its id.
        Event::Remove { nick, .. } => format!("-- {nick} deleted a message or file"),
        Event::Edit { nick, text, .. } => format!("<{nick}> (edited) {text}"),
        Event::React { nick, emoji, .. } => format!("-- {nick} reacts to a message with {emoji}"),
        Event::Unreact { nick, emoji, .. } => {
            format!("-- {nick} withdraws {emoji} from a message")
        }
        Event::Join { room, nick } => format!("-- {nick} joined {room}"),
        Event::Part { room, nick, text } if text.is_empty() => format!("-- {nick} left {room}"),
        Event::Part { room, nick, text } => format!("-- {nick} left {room} ({text})"),
        Event::Nick { old, new, .. } => format!("-- {old} is now {new}"),
        Event::Away { nick, text, .. } => away(nick, text),
        Event::Note { from, text } => format!("** {from}: {text}"),
        Event::Invite { room, by } => format!("-- {by} invites you to {room}: /join {room}"),
        Event::Seen {
            room, id, reader, ..
        } => format!("-- {reader} has read {room} up to {id}"),
    }
}

/// Describes an event that answers or reacts to a message or file, whose [beginning] is `quoted`.
///
/// ```
/// use plainchat::protocol::{Event, human::describe_answer};
/// let event = Event::parse("MSG #lobby bob yes").unwrap();
/// assert_eq!(describe_answer(&event, "ann: lunch?"), "<bob> (to ann: lunch?) yes");
/// ```
pub fn describe_answer(event: &Event<'_>, quoted: &str) -> String {
    match event {
        Event::Msg { nick, text, .. } => format!("<{nick}> (to {quoted}) {text}"),
        Event::Me { nick, text, .. } => format!("* {nick} (to {quoted}) {text}"),
        Event::React { nick, emoji, .. } => format!("-- {nick} reacts with {emoji} to {quoted}"),
        Event::Unreact { nick, emoji, .. } => format!("-- {nick} withdraws {emoji} from {quoted}"),
        event => describe(event),
    }
}

/// Returns the id of the message or file that an event answers or reacts to. `tags` are those of the event.
pub fn answered(event: &Event<'_>, tags: &str) -> Option<EventId> {
    match event {
        Event::React { id, .. } | Event::Unreact { id, .. } => EventId::new(*id),
        _ => EventId::new(tags::find(tags, "reply")?.parse().ok()?),
    }
}

/// Returns the author of a message or file, and how it begins. Returns `None` for any other event, and if the message or
/// file has been deleted. `tags` are those of the event.
///
/// ```
/// use plainchat::protocol::{Event, human::beginning};
/// let event = Event::parse("MSG #lobby ann a message that is too long to be shown once more").unwrap();
/// assert_eq!(beginning(&event, "").unwrap(), "ann: a message that is too long to …");
/// assert_eq!(beginning(&event, "removed"), None);
/// ```
pub fn beginning(event: &Event<'_>, tags: &str) -> Option<String> {
    let (nick, text) = match event {
        _ if is_removed(tags) => return None,
        Event::Msg { nick, text, .. } | Event::Me { nick, text, .. } => (nick, text),
        Event::File { nick, name, .. } => (nick, name),
        _ => return None,
    };
    let mut rest = text.chars();
    let begin: String = rest.by_ref().take(QUOTED_CHARS).collect();
    let dots = if rest.next().is_some() { "…" } else { "" };
    Some(format!("{nick}: {begin}{dots}"))
}

/// Describes an event of the log for a person. `tags` are those of the event, without the `@`: they say whether the event
/// has been deleted.
///
/// ```
/// use plainchat::protocol::{Event, human::describe_past};
/// let event = Event::parse("MSG #lobby bob -").unwrap();
/// assert_eq!(describe_past(&event, "removed"), "<bob> (deleted)");
/// assert_eq!(describe_past(&event, ""), "<bob> -");
/// ```
pub fn describe_past(event: &Event<'_>, tags: &str) -> String {
    match event {
        Event::Msg { nick, .. } | Event::Edit { nick, .. } if is_removed(tags) => {
            format!("<{nick}> (deleted)")
        }
        Event::Me { nick, .. } if is_removed(tags) => format!("* {nick} (deleted)"),
        Event::File { nick, .. } if is_removed(tags) => format!("-- {nick} sent a file (deleted)"),
        event => describe(event),
    }
}

/// Describes that a nick is away, or is back if the text is empty.
pub fn away(nick: &str, text: &str) -> String {
    if text.is_empty() {
        format!("-- {nick} is back")
    } else {
        format!("-- {nick} is away: {text}")
    }
}

/// Formats a number of bytes, in units of 1000. The page does the same, but may round the last digit the other way.
///
/// ```
/// use plainchat::protocol::human::size;
/// let sizes = [0, 999, 1000, 12_500, 48_213, 999_949, 1_234_567, 4 << 30].map(size);
/// assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "13 kB", "48 kB", "1.0 MB", "1.2 MB", "4.3 GB"]);
/// ```
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit != "B" && value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{} {unit}", value.round())
    }
}

/// Formats a count with its noun in the singular or plural.
///
/// ```
/// use plainchat::protocol::human::plural;
/// let read = [0, 1, 2].map(|count| plural(count, "room", "rooms"));
/// assert_eq!(read, ["no rooms", "1 room", "2 rooms"]);
/// ```
pub fn plural(count: usize, one: &str, more: &str) -> String {
    match count {
        0 => format!("no {more}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {more}"),
    }
}
