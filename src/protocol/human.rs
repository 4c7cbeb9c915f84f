//! Descriptions of events in words for people. The server's talker mode and `chatc` share them.
//!
//! A description says what happened, and to how many things, but not when or where. This module knows nothing of
//! terminals.

use super::Event;

/// Describes an event for a person; `size` formats a number of bytes.
///
/// ```
/// use plainchat::protocol::{Event, human::describe};
/// let event = Event::parse("ME #lobby bob waves").unwrap();
/// assert_eq!(describe(&event, |bytes| bytes.to_string()), "* bob waves");
/// ```
pub fn describe(event: &Event<'_>, size: impl Fn(u64) -> String) -> String {
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
        Event::Remove { nick, id, .. } => format!("-- {nick} deleted {id}"),
        Event::Edit { nick, text, .. } => format!("<{nick}> (edited) {text}"),
        Event::React {
            nick, id, emoji, ..
        } => format!("-- {nick} reacts to {id} with {emoji}"),
        Event::Unreact {
            nick, id, emoji, ..
        } => format!("-- {nick} withdraws {emoji} from {id}"),
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

/// Describes that a nick is away, or is back if the text is empty.
pub fn away(nick: &str, text: &str) -> String {
    if text.is_empty() {
        format!("-- {nick} is back")
    } else {
        format!("-- {nick} is away: {text}")
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
