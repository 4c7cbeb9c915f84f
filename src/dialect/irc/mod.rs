//! The dialect for IRC clients: parses their lines as requests, and writes answers and events as IRC clients expect
//! them; see `irc.md`.
//!
//! The session remembers what a connection has sent before, and which command is being answered. A [`Client`]
//! contains what must be known about the recipient in order to write a line.

mod caps;
mod event;
mod label;
mod line;
pub mod numeric;
mod text;
mod who;

use std::sync::{Mutex, PoisonError};

pub use caps::{Cap, Caps};
pub use event::{is_for_all, source, user};
pub use label::{Label, begin_batch, end_batch, is_batch};
pub use line::{IrcLine, LINE_BYTES_MAX, Message, begins_irc, escape};
pub use text::{Said, fits, pieces, plain};
pub use who::{Shown, WhoForm};

use super::talker;
use super::{Line, Live, OwnEvent, Past, ReplyBody, TextPart};
use crate::protocol::event::EventLayout;
use crate::protocol::human::size;
use crate::protocol::request::Refusal;
use crate::protocol::tags::{find, is_removed, push};
use crate::protocol::{Code, Event, EventId, Time, Verb};

/// The client to which lines are written.
#[derive(Debug)]
pub struct Client {
    /// The name of the server in plainchat.
    pub name: Box<str>,
    /// The name of the server in IRC. It contains a dot, because clients take a name without a dot for a nick.
    pub server: Box<str>,
    /// The client's nick; `*` before it has one.
    pub nick: Box<str>,
    /// The capabilities that the client has requested.
    pub caps: Caps,
    /// The address at which files can be opened, without a slash at the end; empty if there is none.
    pub files: Box<str>,
    /// Whether past events are written as messages. If not, they are described in notices.
    pub replays: bool,
    /// The masks of the list of rooms that is being sent, in lower case.
    pub list_masks: Vec<Vec<char>>,
    /// The batch to which the lines of past events belong.
    pub batch: Option<&'static str>,
    /// The newest changes of nicks and of away status, each with the room whose event was shown. The server has such
    /// an event in each room, but the client wants only one.
    changes: Mutex<[(u64, u64); CHANGES_MAX]>,
}

/// The maximum number of changes of nicks and of away status that are remembered.
const CHANGES_MAX: usize = 8;

impl Client {
    /// Creates a client without a nick.
    pub fn new(name: &str, files: &str) -> Self {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let word = name.chars().map(|c| if is_known(c) { c } else { '-' });
        let mut server: String = word.take(SERVER_BYTES_MAX).collect();
        if !server.contains('.') {
            server.push_str(".chat");
        }
        Self {
            name: name.into(),
            server: server.into(),
            nick: "*".into(),
            caps: Caps::default(),
            files: files.into(),
            replays: false,
            list_masks: Vec::new(),
            batch: None,
            changes: Mutex::default(),
        }
    }

    /// Returns the source of the client's own lines.
    pub fn source(&self) -> String {
        source(&self.nick, &self.server)
    }

    /// Appends a numeric reply. Its parameters follow the nick, and its text comes last.
    pub fn numeric(&self, command: &str, params: &[&str], text: &str, out: &mut Vec<u8>) {
        self.write_numeric(command, params, Some(text), out);
    }

    /// Appends a numeric reply without a text.
    pub fn words(&self, command: &str, params: &[&str], out: &mut Vec<u8>) {
        self.write_numeric(command, params, None, out);
    }

    fn write_numeric(&self, command: &str, params: &[&str], text: Option<&str>, out: &mut Vec<u8>) {
        let mut all = vec![&*self.nick];
        all.extend_from_slice(params);
        self.by_server(command, &all, text, out);
    }

    /// Appends a line from the server.
    pub fn by_server(&self, command: &str, params: &[&str], text: Option<&str>, out: &mut Vec<u8>) {
        write_from(&self.server, command, params, text, out);
    }

    /// Appends a line from the client itself, as others see it.
    pub fn by_self(&self, command: &str, params: &[&str], text: Option<&str>, out: &mut Vec<u8>) {
        write_from(&self.source(), command, params, text, out);
    }

    /// Appends a notice to this client alone, in as many lines as it needs.
    pub fn notice(&self, from: &str, text: &str, out: &mut Vec<u8>) {
        let params = &[&*self.nick];
        let empty = Message {
            source: from,
            command: "NOTICE",
            params,
            ..Message::default()
        };
        for text in pieces(text, empty.space()) {
            Message {
                text: Some(text),
                ..empty
            }
            .write(out);
        }
    }

    /// Appends each line of a text for talker mode as a notice.
    pub fn notices(&self, lines: &[u8], out: &mut Vec<u8>) {
        for line in String::from_utf8_lossy(lines).lines() {
            self.notice(
                &self.server,
                line.trim_start_matches("-- ").trim_start(),
                out,
            );
        }
    }

    /// Appends the last line of the connection.
    pub fn error(&self, text: &str, out: &mut Vec<u8>) {
        let text = format!("Closing link: {text}");
        let text = Some(text.as_str());
        Message {
            command: "ERROR",
            text,
            ..Message::default()
        }
        .write(out);
    }

    /// Returns the message that shows a file: its name, and the address at which it can be opened.
    fn file_text(&self, id: u64, length: Option<u64>, name: &str) -> String {
        let length = length.map_or_else(|| "still uploading".into(), size);
        match &*self.files {
            "" => format!("{name}, {length}; file {id}"),
            files => format!("{name}, {length}: {files}/files/{id}"),
        }
    }

    /// Returns whether to show this room's event for a change of a nick or of its away status. Each room has such an
    /// event, but the client is shown only one of them.
    fn shows_change(&self, room: &str, old: &str, new: &str, time: Time) -> bool {
        let (key, room) = (event::change_key(old, new, time), event::room_key(room));
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, shown)) = changes.iter().find(|(known, _)| *known == key) {
            return *shown == room;
        }
        changes.rotate_right(1);
        if let Some(first) = changes.first_mut() {
            *first = (key, room);
        }
        true
    }

    /// Returns whether the client receives a text of several lines (`TEXT`) as one message.
    pub fn joins_texts(&self) -> bool {
        self.caps.joins_texts()
    }

    /// Appends the refusal of a message to `about`, or of a change of such a message.
    pub fn refuse(&self, refusal: &Refusal, about: &str, out: &mut Vec<u8>) {
        let number = match refusal.code {
            Code::NoSuchNick => numeric::NO_SUCH_NICK,
            Code::NoSuchRoom => numeric::NO_SUCH_CHANNEL,
            Code::NotInRoom => numeric::NOT_ON_CHANNEL,
            Code::Busy | Code::Quota => numeric::TRY_AGAIN,
            Code::NotAllowed => numeric::CANNOT_SEND,
            _ => numeric::UNKNOWN_ERROR,
        };
        let word = refusal.verb.map_or("*", irc_word);
        let about = if about.is_empty() { "*" } else { about };
        let params: &[&str] = match number {
            numeric::TRY_AGAIN => &[word],
            numeric::UNKNOWN_ERROR => &[word, about],
            _ => &[about],
        };
        self.numeric(number, params, &refusal.text, out);
    }
}

/// The maximum number of bytes in the server's name in IRC (HOSTLEN), without `.chat`.
const SERVER_BYTES_MAX: usize = 58;

/// Returns the IRC command that corresponds to a verb.
pub fn irc_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Msg | Verb::Me | Verb::Tell => "PRIVMSG",
        Verb::Kick => "KILL",
        Verb::Uninvite => "KICK",
        Verb::Remove => "REDACT",
        Verb::Rooms => "LIST",
        verb => verb.word(),
    }
}

/// Appends a line that is not an event.
pub(super) fn write(client: &Client, line: Line<'_>, out: &mut Vec<u8>) {
    match line {
        Line::Decided {
            id,
            time,
            body: ReplyBody::Event(own),
            ..
        } => write_own(client, own, (id, time), None, out),
        Line::Decided {
            verb,
            id,
            time,
            body: ReplyBody::Labeled(labeled),
        } => match &**labeled {
            (label, ReplyBody::Event(own)) => {
                write_own(client, own, (id, time), Some(label), out);
            }
            (label, body) => {
                let from = out.len();
                let line = Line::Decided {
                    verb,
                    id,
                    time,
                    body,
                };
                write(client, line, out);
                label.mark(client, from, out);
            }
        },
        Line::Refused(refusal) => client.refuse(refusal, "", out),
        Line::Closed { code, text } => {
            match code {
                Code::Banned => client.numeric(numeric::BANNED, &[], text, out),
                Code::NeedPassword | Code::BadPassword => {
                    client.numeric(numeric::BAD_PASSWORD, &[], text, out);
                }
                _ => {}
            }
            client.error(text, out);
        }
        Line::Gap { of, was_slow } => {
            let text = if was_slow {
                "some messages are missing here: you read too slowly"
            } else {
                "some messages are missing here: they are no longer saved"
            };
            let of = if of == "*" { &*client.nick } else { of };
            client.by_server("NOTICE", &[of], Some(text), out);
        }
        Line::Away { nick, text, .. } => client.numeric(numeric::AWAY, &[nick], text, out),
        Line::Notice { text, .. } => client.notice(&client.server, text, out),
        Line::Removed { room, reason, .. } => {
            client.by_server("KICK", &[room, &client.nick], Some(reason), out);
        }
        Line::Room {
            name,
            members,
            topic,
        } => {
            client.numeric(numeric::LIST, &[name, &members.to_string()], topic, out);
        }
        Line::Ok { .. } | Line::Decided { .. } | Line::Found { .. } | Line::Entry { .. } => {
            let mut text = Vec::new();
            talker::write(line, &mut text);
            client.notices(&text, out);
        }
    }
}

/// Appends the client's own event, in reply to the command that caused the event.
fn write_own(
    client: &Client,
    own: &OwnEvent,
    (id, time): (Option<EventId>, Time),
    label: Option<&Label>,
    out: &mut Vec<u8>,
) {
    let Some(event) = Event::parse(&own.line) else {
        return;
    };
    let is_message = matches!(event, Event::Msg { .. } | Event::Me { .. });
    let lines = own.lines().count();
    let is_notice = find(&own.tags, "notice").is_some();
    let first = id.map_or(0, EventId::get);
    let write_lines = |out: &mut Vec<u8>| {
        for (n, text) in own.lines() {
            let line = match text {
                Some(text) => Event::Msg {
                    to: event.place().into(),
                    nick: event.nick().into(),
                    text: text.into(),
                }
                .to_string(),
                None => own.line.clone(),
            };
            let mut tags = String::new();
            if n > 0 {
                push(&mut tags, "of", &first.to_string());
                if is_notice {
                    push(&mut tags, "notice", "");
                }
            } else {
                tags.push_str(&own.tags);
                if lines > 1 {
                    push(&mut tags, "lines", &lines.to_string());
                }
            }
            let live = Live {
                line: &line,
                layout: Event::parse(&line)
                    .map_or_else(EventLayout::default, |event| event.layout()),
                tags: &tags,
                id: id.and_then(|_| EventId::new(first + n as u64)),
                quoted: None,
                time,
                is_here: true,
                is_for_everyone: false,
                is_registered: false,
                utc_offset_s: 0,
            };
            let lines = if id.is_some() { lines } else { 1 };
            write_event(client, &live, TextPart::of(n, lines), out);
        }
    };
    // A message from the client to itself also arrives as a message, besides the reply.
    if is_message && event.place() == &*client.nick {
        write_lines(out);
    }
    let from = out.len();
    if !is_message || client.caps.has(Cap::EchoMessage) {
        write_lines(out);
    }
    if let Some(label) = label {
        label.mark(client, from, out);
    }
}

/// Appends a live event.
pub(super) fn write_event(client: &Client, live: &Live<'_>, part: TextPart, out: &mut Vec<u8>) {
    let stamp = event::Stamp {
        part,
        id: live.id,
        time: live.time,
        tags: live.tags,
        is_registered: live.is_registered,
    };
    write_line(client, live.layout, live.line, stamp, out);
}

/// Appends a past event: as a message, or described in a notice.
pub(super) fn write_past(client: &Client, past: &Past<'_>, part: TextPart, out: &mut Vec<u8>) {
    if client.replays {
        let stamp = event::Stamp {
            part,
            id: Some(past.id),
            time: past.time,
            tags: past.tags,
            is_registered: false,
        };
        // A deleted message is not shown. A deleted line of a text that is sent as one message is shown, because it
        // may be the line that ends the message.
        if part == TextPart::None && is_removed(past.tags) {
            return;
        }
        return write_line(client, past.layout, past.line, stamp, out);
    }
    let mut text = Vec::new();
    match past.layout.event(past.line) {
        // There is no command to download a file, but it can be opened by its address.
        Some(
            ref event @ Event::File {
                file,
                length,
                ref name,
                ref nick,
                ..
            },
        ) if !is_removed(past.tags) => {
            let file = client.file_text(file, length, name);
            let prefix = talker::past_prefix(past, event);
            text.extend_from_slice(format!("{prefix}<{nick}> {file}").as_bytes());
        }
        _ => talker::write_past(past, &mut text),
    }
    client.notices(&text, out);
}

fn write_line(
    client: &Client,
    layout: EventLayout,
    line: &str,
    stamp: event::Stamp<'_>,
    out: &mut Vec<u8>,
) {
    if let Some(event) = layout.event(line) {
        event::write(client, &event, stamp, out);
    }
}

/// Appends a line without tags.
fn write_from(source: &str, command: &str, params: &[&str], text: Option<&str>, out: &mut Vec<u8>) {
    Message {
        source,
        command,
        params,
        text,
        ..Message::default()
    }
    .write(out);
}
