//! Talker mode: the dialect for a person who types into `nc` or `telnet`; see "Talker mode" in `protocol.md`. The
//! requests and events are those of the protocol, in a form for people.

use std::fmt::Write as _;

use super::{Line, Live, Past, ReplyBody};
use crate::protocol::human::{away, describe, describe_answer, describe_past};
use crate::protocol::request::{HAS_NUL, Refusal, has_nul};
use crate::protocol::tags::{SentTags, is_removed};
use crate::protocol::text::clean;
use crate::protocol::{Code, Event, Request, Time, Verb};

/// Parses a line that a person has typed: a command after a slash, or a message.
pub(super) fn parse(line: &[u8], has_nick: bool) -> Result<Option<Request<'_>>, Refusal> {
    let message = match line {
        [b'/', b'/', ..] => line.get(1..).unwrap_or_default(),
        // Tags come before the verb. The usage of the verb does not say what is wrong with them.
        [b'/', tagged @ ..] if tagged.starts_with(b"@") => {
            return Request::parse(tagged).map_err(|refusal| match refusal.code {
                Code::BadSyntax => refusal,
                _ => for_people(refusal),
            });
        }
        [b'/', ..] => return Request::parse(line).map_err(for_people),
        line => line,
    };
    if !has_nick {
        let text = "choose a name first: /nick yourname";
        return Err(Refusal::new(Verb::Msg, Code::NeedNick, text));
    }
    if has_nul(message) {
        return Err(Refusal::new(Verb::Msg, Code::NotUtf8, HAS_NUL));
    }
    let text = std::str::from_utf8(message);
    let text =
        text.map_err(|_| Refusal::new(Verb::Msg, Code::NotUtf8, "that line is not UTF-8"))?;
    let text = clean(text);
    Ok((!text.is_empty()).then(|| Request::Msg {
        text,
        tags: SentTags::default(),
    }))
}

/// Rewrites the usage of a command in the form of this dialect.
fn for_people(refusal: Refusal) -> Refusal {
    match refusal.verb {
        None => Refusal {
            text: "unknown command; /help lists the commands".into(),
            ..refusal
        },
        Some(verb) if refusal.code == Code::BadSyntax => {
            let word = verb.word().to_ascii_lowercase();
            let usage = verb.usage().replacen(verb.word(), &word, 1);
            Refusal {
                text: format!("usage: /{usage}").into(),
                ..refusal
            }
        }
        Some(_) => refusal,
    }
}

pub(super) fn write(line: Line<'_>, out: &mut Vec<u8>) {
    let text = match line {
        Line::Ok { sentence: "", .. } => return,
        Line::Ok { sentence, .. } => format!("-- {sentence}"),
        Line::Decided { verb, body, .. } => match (verb, body) {
            (Verb::Topic, ReplyBody::Text(body)) => match body.split_once(' ') {
                Some((room, topic)) => format!("-- topic of {room}: {topic}"),
                None => format!("-- {body} has no topic now"),
            },
            (Verb::Remove, ReplyBody::Text(room)) if room.starts_with('#') => {
                format!("-- {room} is deleted")
            }
            (Verb::Remove, ReplyBody::Text(id)) => format!("-- {id} is deleted"),
            (Verb::Edit, _) => "-- the message was edited".to_owned(),
            (Verb::React, _) => "-- your reaction was added".to_owned(),
            (Verb::Unreact, _) => "-- your reaction was withdrawn".to_owned(),
            _ => return, // people see their own lines as they type them
        },
        Line::Found {
            count,
            is_cut: true,
        } => {
            format!("-- {count} found; that took too long, so older ones may be missing")
        }
        Line::Found { count, .. } => format!("-- {count} found"),
        Line::Refused(refusal) => format!("! {}", clean(&refusal.text)),
        Line::Closed { text, .. } => format!("! {text}"),
        Line::Entry { fields, .. } => {
            let mut line = "  ".to_owned();
            for field in fields.iter().filter(|field| !field.is_empty()) {
                line.push(' ');
                line.push_str(field);
            }
            line
        }
        Line::Room {
            name,
            members,
            topic: "",
        } => format!("   {name} ({members})"),
        Line::Room {
            name,
            members,
            topic,
        } => format!("   {name} ({members}) {topic}"),
        Line::Gap { of, was_slow: true } => {
            format!("-- you read too slowly: some messages of {of} are missing here")
        }
        Line::Gap { of, .. } => format!("-- some messages of {of} are no longer saved"),
        Line::Away { nick, text, .. } => away(nick, text),
        Line::Notice { text, .. } => format!("-- {text}"),
        Line::Removed {
            room,
            reason,
            is_current,
            ..
        } => {
            let next = if is_current {
                "; /join another room to continue"
            } else {
                ""
            };
            format!("-- you have left {room}: {reason}{next}")
        }
    };
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Appends an event without its ending. If the event did not happen in the reader's current room, the line begins with
/// the name of the event's room, or with `(private)`.
pub(super) fn write_event(live: &Live<'_>, out: &mut Vec<u8>) {
    let Some(event) = live.layout.event(live.line) else {
        return out.extend_from_slice(live.line.as_bytes());
    };
    let mut text = String::with_capacity(live.line.len() + 16);
    match (live.is_here, event.place()) {
        (true, _) | (_, "*") => {}
        (false, room) if room.starts_with('#') => {
            let _ = write!(text, "{room} ");
        }
        (false, _) => text.push_str("(private) "),
    }
    let at = local(live.time, live.utc_offset_s).strftime("%H:%M");
    let _ = write!(text, "[{at}] ");
    text.push_str(&match live.quoted {
        Some(quoted) => describe_answer(&event, quoted),
        None => describe(&event),
    });
    out.extend_from_slice(text.as_bytes());
}

/// Appends a past event with its id and date, without its ending. People need the id to edit, delete or react to a
/// message.
pub(super) fn write_past(past: &Past<'_>, out: &mut Vec<u8>) {
    let Some(event) = past.layout.event(past.line) else {
        return out.extend_from_slice(past.line.as_bytes());
    };
    let mut text = past_prefix(past, &event);
    text.push_str(&match past.quoted {
        Some(quoted) if !is_removed(past.tags) => describe_answer(&event, quoted),
        _ => describe_past(&event, past.tags),
    });
    out.extend_from_slice(text.as_bytes());
}

/// Returns what precedes the description of a past event: its id, the recipient of a direct message, and the date.
pub(super) fn past_prefix(past: &Past<'_>, event: &Event<'_>) -> String {
    let mut text = match event.place() {
        place if place.starts_with('#') => format!("{} ", past.id),
        recipient => format!("{} (private to {recipient}) ", past.id),
    };
    let at = local(past.time, past.utc_offset_s).strftime("%Y-%m-%d %H:%M");
    let _ = write!(text, "[{at}] ");
    text
}

fn local(time: Time, utc_offset_s: i32) -> jiff::civil::DateTime {
    let at = i64::try_from(time.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let offset = jiff::tz::Offset::from_seconds(utc_offset_s).unwrap_or(jiff::tz::Offset::UTC);
    offset.to_datetime(at.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Event, EventId};

    fn check(line: &str, here: bool, expected: &str) {
        let mut out = Vec::new();
        let live = Live {
            line,
            layout: Event::parse(line).unwrap().layout(),
            tags: "",
            id: None,
            quoted: None,
            time: Time(1_795_346_525_007),
            is_here: here,
            is_for_everyone: false,
            is_registered: false,
            utc_offset_s: 3600,
        };
        write_event(&live, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn events_are_described_in_words_for_people() {
        check("MSG #lobby bob hello", true, "[12:22] <bob> hello");
        check("MSG #ops bob hello", false, "#ops [12:22] <bob> hello");
        check("MSG alice bob psst", false, "(private) [12:22] <bob> psst");
        check("ME #lobby bob waves", true, "[12:22] * bob waves");
        check("JOIN #lobby bob", true, "[12:22] -- bob joined #lobby");
        check(
            "PART #lobby bob bye",
            true,
            "[12:22] -- bob left #lobby (bye)",
        );
        check("NICK #lobby bob rob", true, "[12:22] -- bob is now rob");
        check("TOPIC #lobby bob", true, "[12:22] -- bob cleared the topic");
        check(
            "FILE #lobby bob 17 1234567 a b.txt",
            true,
            "[12:22] -- bob sent a file: a b.txt, 1.2 MB; /download 17",
        );
        check("NOTE * chatd hi", false, "[12:22] ** chatd: hi");
    }

    #[test]
    fn past_events_have_their_ids_and_what_was_deleted_is_said_to_be() {
        let check = |line: &str, tags: &str, quoted: Option<&str>, expected: &str| {
            let mut out = Vec::new();
            let past = Past {
                id: EventId::new(17).unwrap(),
                time: Time(1_795_346_525_007),
                tags,
                line,
                layout: Event::parse(line).unwrap().layout(),
                quoted,
                utc_offset_s: 3600,
            };
            write_past(&past, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, format!("17 [2026-11-22 12:22] {expected}"));
        };
        check("MSG #lobby bob -", "", None, "<bob> -");
        check("MSG #lobby bob -", "removed", None, "<bob> (deleted)");
        check("EDIT #lobby bob 16 -", "removed", None, "<bob> (deleted)");
        check("ME #lobby bob -", "removed", None, "* bob (deleted)");
        check(
            "MSG #lobby bob -",
            "removed",
            Some("ann: hello"),
            "<bob> (deleted)",
        );
        let file = "-- bob sent a file (deleted)";
        check("FILE #lobby bob 17 5 -", "removed", None, file);
    }
}
