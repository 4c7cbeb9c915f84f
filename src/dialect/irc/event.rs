//! Writes events as lines of IRC.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Cap, Client, Message, escape, pieces};
use crate::dialect::TextPart;
use crate::protocol::event::EventVerb;
use crate::protocol::multiline::text_of;
use crate::protocol::tags::find;
use crate::protocol::{Event, EventId, Time};

/// The facts about an event that its line does not contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<'a> {
    /// The position of the line in its text, if all lines of the text are written.
    pub part: TextPart,
    pub id: Option<EventId>,
    pub time: Time,
    /// The event's tags, in the form of plainchat.
    pub tags: &'a str,
    /// Whether the nick that joins is registered.
    pub is_registered: bool,
}

/// Returns the source (`nick!user@host`) of a nick's lines. It is made from the nick alone, so that it reveals no
/// address and the log need not store one.
pub fn source(nick: &str, server: &str) -> String {
    format!("{nick}!{}@{server}", user(nick))
}

/// Returns the user part of a source: the nick if it is ASCII, otherwise a short word made from it. A nick that is not
/// ASCII may have many bytes, which would take much of each line.
pub fn user(nick: &str) -> String {
    if nick.is_ascii() {
        return nick.to_owned();
    }
    // This is FNV-1a, because its result is the same on each machine and in each version.
    let hash = nick
        .to_lowercase()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    format!("u{hash:08x}")
}

/// Returns whether the lines of an event with this verb are the same for all clients with the same
/// [capabilities](super::Caps::of_events). The lines of other events contain the client's nick or the address at
/// which it has connected, or depend on what the client has been shown.
pub fn is_for_all(verb: EventVerb) -> bool {
    match verb {
        EventVerb::Msg
        | EventVerb::Me
        | EventVerb::Stored
        | EventVerb::Topic
        | EventVerb::Remove
        | EventVerb::Edit
        | EventVerb::React
        | EventVerb::Unreact
        | EventVerb::Join
        | EventVerb::Part => true,
        EventVerb::File
        | EventVerb::Nick
        | EventVerb::Away
        | EventVerb::Note
        | EventVerb::Invite
        | EventVerb::Seen => false,
    }
}

/// Appends an event. Appends nothing if IRC cannot express it.
pub(super) fn write(client: &Client, event: &Event<'_>, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let source = source(event.nick(), &client.server);
    let line = |command, params: &[&str], text: Option<&str>, out: &mut Vec<u8>| {
        let tags = tags(client, stamp, "", true);
        let source = &source;
        Message {
            tags: &tags,
            source,
            command,
            params,
            text,
        }
        .write(out);
    };
    let word = if find(stamp.tags, "notice").is_some() {
        "NOTICE"
    } else {
        "PRIVMSG"
    };
    match event {
        Event::Msg { to, text, .. } => say(client, stamp, &source, word, to, text, ("", ""), out),
        Event::Me { to, text, .. } => {
            say(
                client,
                stamp,
                &source,
                word,
                to,
                text,
                ("\u{1}ACTION ", "\u{1}"),
                out,
            );
        }
        Event::File {
            room,
            file,
            length,
            name,
            ..
        } => {
            let text = client.file_text(*file, *length, name);
            say(client, stamp, &source, word, room, &text, ("", ""), out);
        }
        Event::Edit { to, id, text, .. } => {
            let reply = format!("reply={id}");
            let stamp = Stamp {
                tags: &reply,
                ..stamp
            };
            say(
                client,
                stamp,
                &source,
                word,
                to,
                &format!("* {text}"),
                ("", ""),
                out,
            );
        }
        Event::Topic { room, text, .. } => line("TOPIC", &[room], Some(text), out),
        Event::Remove { room, id, .. } if client.caps.has(Cap::Redaction) => {
            let reason = find(stamp.tags, "x-reason");
            let stamp = Stamp { tags: "", ..stamp };
            Message {
                tags: &tags(client, stamp, "", true),
                source: &source,
                command: "REDACT",
                params: &[room, &id.to_string()],
                text: reason.as_deref(),
            }
            .write(out);
        }
        Event::React { to, id, emoji, .. } | Event::Unreact { to, id, emoji, .. }
            if client.caps.has(Cap::MessageTags) =>
        {
            let is_on = matches!(event, Event::React { .. });
            let word = if is_on { "react" } else { "unreact" };
            let more = format!("+draft/{word}={};+draft/reply={id}", escape(emoji));
            let tags = tags(client, stamp, &more, true);
            let (source, params) = (&source, &[to.as_ref()][..]);
            Message {
                tags: &tags,
                source,
                command: "TAGMSG",
                params,
                text: None,
            }
            .write(out);
        }
        Event::Join { room, nick } if client.caps.has(Cap::ExtendedJoin) => {
            let account = if stamp.is_registered {
                nick.as_ref()
            } else {
                "*"
            };
            line("JOIN", &[room, account], Some(nick), out);
        }
        Event::Join { room, .. } => line("JOIN", &[room], None, out),
        Event::Part { room, text, .. } => {
            let text = Some(text.as_ref()).filter(|text| !text.is_empty());
            line("PART", &[room], text, out);
        }
        Event::Nick { room, old, new } => {
            if client.shows_change(room, old, new, stamp.time) {
                line("NICK", &[new], None, out);
            }
        }
        Event::Away { to, nick, text } if client.caps.has(Cap::AwayNotify) => {
            if client.shows_change(to, nick, text, stamp.time) {
                line(
                    "AWAY",
                    &[],
                    Some(text)
                        .filter(|text| !text.is_empty())
                        .map(|text| &**text),
                    out,
                );
            }
        }
        Event::Invite { room, .. } => line("INVITE", &[&client.nick, room], None, out),
        Event::Note { from, text } => {
            let is_server = **from == *client.name;
            let from = if is_server {
                &*client.server
            } else {
                source.as_str()
            };
            let tags = tags(client, stamp, "", true);
            let params = &[&*client.nick];
            let text = Some(text.as_ref());
            Message {
                tags: &tags,
                source: from,
                command: "NOTICE",
                params,
                text,
            }
            .write(out);
        }
        Event::Stored { .. }
        | Event::Away { .. }
        | Event::Remove { .. }
        | Event::React { .. }
        | Event::Unreact { .. }
        | Event::Seen { .. } => {}
    }
}

/// Appends a message in as many lines as it needs. The first line has the id.
#[allow(clippy::too_many_arguments)] // each is a part of the lines
fn say(
    client: &Client,
    stamp: Stamp<'_>,
    source: &str,
    command: &str,
    to: &str,
    text: &str,
    (before, after): (&str, &str),
    out: &mut Vec<u8>,
) {
    let params = &[to];
    let empty = Message {
        source,
        command,
        params,
        ..Message::default()
    };
    let space = empty.space().saturating_sub(before.len() + after.len());
    let text_id = match stamp.part {
        _ if !client.joins_texts() => None,
        TextPart::None => None,
        TextPart::First => stamp.id,
        TextPart::Middle | TextPart::Last => text_of(stamp.tags),
    };
    let batch = text_id.map(|id| format!("text{id}"));
    // Outside of a batch, IRC has no empty messages. In a text of several lines, a line may be empty.
    let text = if text.is_empty() && batch.is_none() {
        " "
    } else {
        text
    };
    if let Some(batch) = batch.as_ref().filter(|_| stamp.part == TextPart::First) {
        Message {
            tags: &tags(client, stamp, "", true),
            source,
            command: "BATCH",
            params: &[&format!("+{batch}"), "draft/multiline", to],
            text: None,
        }
        .write(out);
    }
    for (n, piece) in pieces(text, space).into_iter().enumerate() {
        let tags = match &batch {
            None => tags(client, stamp, "", n == 0),
            Some(batch) if n == 0 => format!("batch={batch}"),
            Some(batch) => format!("batch={batch};draft/multiline-concat"),
        };
        let text = Some(piece);
        Message {
            tags: &tags,
            text,
            ..empty
        }
        .write_around(before, after, out);
    }
    if let Some(batch) = batch.filter(|_| stamp.part == TextPart::Last) {
        let outer = client.batch.map(|outer| format!("batch={outer}"));
        Message {
            tags: outer.as_deref().unwrap_or_default(),
            source: &client.server,
            command: "BATCH",
            params: &[&format!("-{batch}")],
            text: None,
        }
        .write(out);
    }
}

/// Returns those tags of a line that the client has requested. If a message has several lines, only the first line
/// has the message's tags.
fn tags(client: &Client, stamp: Stamp<'_>, more: &str, is_first: bool) -> String {
    let mut tags = String::new();
    let add = |tags: &mut String, tag: std::fmt::Arguments<'_>| {
        if !tags.is_empty() {
            tags.push(';');
        }
        let _ = tags.write_fmt(tag);
    };
    if let Some(batch) = client.batch {
        add(&mut tags, format_args!("batch={batch}"));
    }
    if client.caps.has(Cap::ServerTime) {
        add(&mut tags, format_args!("time={}", stamp.time));
    }
    if !client.caps.has(Cap::MessageTags) || !is_first {
        return tags;
    }
    if let Some(id) = stamp.id {
        add(&mut tags, format_args!("msgid={id}"));
    }
    if !more.is_empty() {
        add(&mut tags, format_args!("{more}"));
    }
    for tag in stamp.tags.split(';') {
        let (name, _) = tag.split_once('=').unwrap_or((tag, ""));
        let Some(value) = find(stamp.tags, name) else {
            continue;
        };
        if name == "reply" && more.is_empty() {
            add(&mut tags, format_args!("+draft/reply={}", escape(&value)));
        } else if let Some(name) = name.strip_prefix("x-") {
            add(
                &mut tags,
                format_args!("+plainchat/{name}={}", escape(&value)),
            );
        }
    }
    tags
}

/// Returns a number that identifies a change of a nick. The number is the same in every room.
pub(super) fn change_key(old: &str, new: &str, time: Time) -> u64 {
    let mut hasher = DefaultHasher::new();
    (old, new, time.0).hash(&mut hasher);
    hasher.finish().max(1)
}

/// Returns a number that identifies a room.
pub(super) fn room_key(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::Caps;
    use super::*;

    fn written(client: &Client, line: &str, part: TextPart) -> String {
        let stamp = Stamp {
            part,
            id: EventId::new(7),
            time: Time(0),
            tags: "reply=5;x-run=1;of=6",
            is_registered: true,
        };
        let mut out = Vec::new();
        let event = Event::parse(line).expect("it is an event");
        write(client, &event, stamp, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    fn client(nick: &str, files: &str, caps: Caps) -> Client {
        let mut client = Client::new("chatd", files);
        client.nick = nick.into();
        client.caps = caps;
        client
    }

    /// Clients that agree in the capabilities that matter receive the same bytes, so the bytes can be shared.
    #[test]
    fn a_shared_event_has_the_same_lines_for_all_with_the_capabilities_that_count() {
        let caps = Cap::NAMES.iter().map(|(_, cap)| *cap);
        let all = caps
            .clone()
            .fold(Caps::NONE, |all, cap| all.with(cap, true));
        let pairs = caps.clone().flat_map(|one| {
            let with = move |two| Caps::NONE.with(one, true).with(two, true);
            let without = move |two| all.with(one, false).with(two, false);
            caps.clone().flat_map(move |two| [with(two), without(two)])
        });
        let sets: Vec<Caps> = pairs.chain([Caps::NONE, all]).collect();
        let parts = [
            TextPart::None,
            TextPart::First,
            TextPart::Middle,
            TextPart::Last,
        ];
        for line in [
            "MSG #lobby bob hello",
            "ME #lobby bob waves",
            "STORED #lobby bob 17 5 abc",
            "TOPIC #lobby bob on time",
            "REMOVE #lobby bob 17",
            "EDIT #lobby bob 17 better words",
            "REACT #lobby bob 17 +1",
            "UNREACT #lobby bob 17 +1",
            "JOIN #lobby bob",
            "PART #lobby bob bye",
        ] {
            let event = Event::parse(line).expect("it is an event");
            assert!(is_for_all(event.verb()), "{line}");
            for caps in &sets {
                for part in parts {
                    let one = client("ann", "http://127.0.0.1:5002", *caps);
                    let other = client("eve", "", caps.of_events());
                    assert_eq!(
                        written(&one, line, part),
                        written(&other, line, part),
                        "{}",
                        caps.names()
                    );
                }
            }
        }
    }

    #[test]
    fn an_event_whose_line_depends_on_its_reader_is_not_shared() {
        let [ann, eve] = ["ann", "eve"].map(|nick| client(nick, nick, Caps::NONE));
        for line in [
            "FILE #lobby bob 17 1024 notes.txt",
            "INVITE #lobby bob",
            "NOTE bob hello",
        ] {
            let event = Event::parse(line).expect("it is an event");
            assert!(!is_for_all(event.verb()), "{line}");
            let of = |client| written(client, line, TextPart::None);
            assert_ne!(of(&ann), of(&eve), "{line}");
        }
        // A client is shown a change of a nick or of an away status only once, although each room has an event for
        // it.
        for line in ["NICK #lobby bob bert", "AWAY #lobby bob"] {
            let event = Event::parse(line).expect("it is an event");
            assert!(!is_for_all(event.verb()), "{line}");
        }
    }
}
