//! Writes the protocol as `protocol.md` describes it.

use super::{Line, Live, Marks, Past, ReplyBody};
use crate::protocol::event::words;
use crate::protocol::{Event, EventId, Time, Verb};

/// Appends a line without its ending.
pub(super) fn write(line: Line<'_>, out: &mut Vec<u8>) {
    match line {
        Line::Ok { verb, fields, .. } => words(out, &["OK", verb.word(), fields]),
        Line::Decided {
            verb,
            id,
            time,
            body,
        } => {
            out.extend_from_slice(b"OK ");
            out.extend_from_slice(verb.word().as_bytes());
            out.push(b' ');
            match body {
                ReplyBody::Nothing => {}
                ReplyBody::Text(text) => out.extend_from_slice(text.as_bytes()),
                ReplyBody::File(file) => {
                    write_id(file.announced.or(id), out);
                    let (length, sha256) = (file.length.to_string(), file.sha256.to_string());
                    words(out, &["", &length, &sha256]);
                }
                ReplyBody::IdAndTime
                | ReplyBody::Event(_)
                | ReplyBody::Labeled(_)
                | ReplyBody::Lines(_) => {
                    write_id(id, out);
                    out.push(b' ');
                    time.encode(out);
                    if let ReplyBody::Lines(lines) = body {
                        words(out, &["", &lines.to_string()]);
                    }
                }
            }
        }
        Line::Found { count, is_cut } => {
            let cut = if is_cut { "cut" } else { "" };
            words(out, &["OK", Verb::Search.word(), &count.to_string(), cut]);
        }
        Line::Refused(refusal) => out.extend_from_slice(refusal.to_string().as_bytes()),
        Line::Closed { code, text } => words(out, &["CLOSED", code.word(), text]),
        Line::Entry { word, room, fields } => {
            out.extend_from_slice(word.as_bytes());
            for field in room.iter().chain(fields).filter(|field| !field.is_empty()) {
                out.push(b' ');
                out.extend_from_slice(field.as_bytes());
            }
        }
        Line::Room {
            name,
            members,
            topic,
        } => words(out, &["ROOM", name, &members.to_string(), topic]),
        Line::Gap { of, .. } => words(out, &["GAP", of]),
        Line::Away { to, nick, text } => words(out, &["AWAY", to, nick, text]),
        Line::Notice { server, text } => {
            let (from, text) = (server.into(), text.into());
            Event::Note { from, text }.encode(out);
        }
        Line::Removed {
            room, nick, reason, ..
        } => {
            let (room, nick, text) = (room.into(), nick.into(), reason.into());
            Event::Part { room, nick, text }.encode(out);
        }
    }
}

pub(super) fn write_event(event: &Live<'_>, marks: Marks, out: &mut Vec<u8>) {
    if marks.stamps && !event.is_for_everyone {
        out.extend_from_slice(b"LIVE ");
        write_id(event.id, out);
        out.push(b' ');
        event.time.encode(out);
        out.push(b' ');
    }
    write_tags(event.tags, marks, out);
    out.extend_from_slice(event.line.as_bytes());
}

pub(super) fn write_past(event: &Past<'_>, marks: Marks, out: &mut Vec<u8>) {
    write_past_head(event.id, event.time, event.tags, marks, out);
    out.extend_from_slice(event.line.as_bytes());
}

/// Appends the words before a past event.
pub(super) fn write_past_head(
    id: EventId,
    time: Time,
    tags: &str,
    marks: Marks,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"PAST ");
    id.encode(out);
    out.push(b' ');
    time.encode(out);
    out.push(b' ');
    write_tags(tags, marks, out);
}

/// Appends the tags of an event, if the reader receives tags and the event has any.
fn write_tags(tags: &str, marks: Marks, out: &mut Vec<u8>) {
    if marks.tags && !tags.is_empty() {
        out.push(b'@');
        out.extend_from_slice(tags.as_bytes());
        out.push(b' ');
    }
}

fn write_id(id: Option<EventId>, out: &mut Vec<u8>) {
    match id {
        Some(id) => id.encode(out),
        None => out.push(b'-'),
    }
}
