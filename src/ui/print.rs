//! Prints events on standard output, for people and for programs. Standard output may be a slow pipe, or a pipe
//! without a reader.

use std::io;
use std::time::Duration;

use futures_lite::{AsyncWriteExt, FutureExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Map, Value, json};
use smol::Unblock;

use super::failure::Failure;
use super::stdio::write_all;
use crate::client::Tags;
use crate::protocol::human::describe_past;
use crate::protocol::json::tags_object;
use crate::protocol::text::{clean, is_unsafe};
use crate::protocol::{Event, EventId, Time};

/// The number of bytes that are written at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The time between two checks for a reader of the output, while there is nothing to write.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns an event as a JSON object.
pub fn to_json(id: Option<EventId>, time: Option<Time>, tags: &Tags, event: &Event<'_>) -> Value {
    let (kind, more) = match event {
        Event::Msg { text, .. } => ("msg", json!({ "text": text })),
        Event::Me { text, .. } => ("me", json!({ "text": text })),
        Event::File {
            file, length, name, ..
        } => (
            "file",
            json!({ "file": file, "length": length, "name": name }),
        ),
        Event::Stored {
            file,
            length,
            sha256,
            ..
        } => (
            "stored",
            json!({ "file": file, "length": length, "sha256": sha256 }),
        ),
        Event::Topic { text, .. } => ("topic", json!({ "text": text })),
        Event::Remove { id, .. } => ("remove", json!({ "removed": id })),
        Event::Edit { id, text, .. } => ("edit", json!({ "edited": id, "text": text })),
        Event::React { id, emoji, .. } => ("react", json!({ "reacts_to": id, "emoji": emoji })),
        Event::Unreact { id, emoji, .. } => ("unreact", json!({ "reacts_to": id, "emoji": emoji })),
        Event::Join { .. } => ("join", json!({})),
        Event::Invite { .. } => ("invite", json!({})),
        Event::Seen { id, reader, .. } => ("seen", json!({ "seen": id, "reader": reader })),
        Event::Part { text, .. } => ("part", json!({ "text": text })),
        Event::Nick { new, .. } => ("nick", json!({ "new": new })),
        Event::Away { text, .. } => ("away", json!({ "text": text })),
        Event::Note { text, .. } => ("note", json!({ "text": text })),
    };
    let mut object = Map::new();
    object.insert("type".into(), kind.into());
    object.insert("id".into(), id.map(EventId::get).into());
    object.insert("time".into(), time.map(|time| time.to_string()).into());
    object.insert("room".into(), event.place().into());
    object.insert("nick".into(), event.nick().into());
    if !tags.as_str().is_empty() {
        object.insert("tags".into(), tags_object(tags.as_str()));
    }
    if let Value::Object(more) = more {
        object.extend(more);
    }
    Value::Object(object)
}

/// Returns JSON that is safe on a terminal: control characters, and marks that change the writing direction, are
/// escaped. They occur only in strings, so programs read the same values.
pub fn json_text(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// A format for events.
#[derive(Clone, Debug)]
pub struct Print {
    is_json: bool,
    /// Whether each line names its room, because there may be several rooms.
    names_rooms: bool,
    zone: TimeZone,
}

impl Print {
    /// Creates a format for programs (`is_json`) or for people.
    pub fn new(is_json: bool, names_rooms: bool) -> Self {
        Self {
            is_json,
            names_rooms,
            zone: TimeZone::system(),
        }
    }

    /// Formats an event as a line, with its line ending.
    pub fn event(
        &self,
        id: Option<EventId>,
        time: Option<Time>,
        tags: &Tags,
        event: &Event<'_>,
    ) -> String {
        if self.is_json {
            return format!("{}\n", json_text(&to_json(id, time, tags, event)));
        }
        let at = time.and_then(|time| i64::try_from(time.0).ok());
        let at = at
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .unwrap_or_else(Timestamp::now);
        let at = at
            .to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string();
        let text = describe_past(event, tags.as_str());
        if self.names_rooms {
            format!("{at}  {}  {}\n", clean(event.place()), clean(&text))
        } else {
            format!("{at}  {}\n", clean(&text))
        }
    }

    /// Formats a gap as a line.
    pub fn gap(&self, place: &str) -> String {
        if self.is_json {
            let gap = json!({ "type": "gap", "id": null, "time": null, "room": place });
            format!("{}\n", json_text(&gap))
        } else {
            format!("-- some messages of {} are missing here\n", clean(place))
        }
    }
}

/// Standard output. It has a thread of its own, because it may be a slow file or pipe.
pub struct Output {
    stdout: Unblock<io::Stdout>,
}

impl Output {
    /// Creates the standard output of this process.
    pub fn new() -> Self {
        Self {
            stdout: Unblock::with_capacity(PIECE_BYTES, io::stdout()),
        }
    }

    /// Writes text. Waits while the reader is slow.
    pub async fn write(&mut self, text: &str) -> Result<(), Failure> {
        write_all(&mut self.stdout, text.as_bytes())
            .await
            .map_err(Failure::Output)
    }

    /// Flushes what was written.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().await.map_err(Failure::Output)
    }

    /// Waits for `next`. Fails if the reader has gone, as `head` does after its last line. Without this, the missing
    /// reader would be noticed only at the next write.
    pub async fn or_gone<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Failure> {
        let gone = async {
            loop {
                smol::Timer::after(LOOK_EVERY).await;
                let stdout = io::stdout();
                let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
                let now = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                let is_gone = poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
                    && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR));
                if is_gone {
                    return Err(Failure::Output(io::ErrorKind::BrokenPipe.into()));
                }
            }
        };
        async { Ok(next.await) }.or(gone).await
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Line;

    #[test]
    fn event_objects_match_the_schema() {
        let time = Time::parse("2026-11-24T06:47:00.000Z");
        for (line, expected) in [
            (
                "MSG #a bob say \"hi\"",
                r##"{"id":7,"nick":"bob","room":"#a","text":"say \"hi\"","time":"2026-11-24T06:47:00.000Z","type":"msg"}"##,
            ),
            (
                "FILE #a bob 7 * x.log",
                r##"{"file":7,"id":7,"length":null,"name":"x.log","nick":"bob","room":"#a","time":"2026-11-24T06:47:00.000Z","type":"file"}"##,
            ),
            (
                "NICK #a bob rob",
                r##"{"id":7,"new":"rob","nick":"bob","room":"#a","time":"2026-11-24T06:47:00.000Z","type":"nick"}"##,
            ),
        ] {
            let event = Event::parse(line).unwrap();
            let object = to_json(EventId::new(7), time, &Tags::default(), &event);
            assert_eq!(object.to_string(), expected);
        }
        let line = "MSG #a bob \u{9b}31m\u{202e}txt\u{7f}\u{2028}\u{1b}";
        let event = Event::parse(line).unwrap();
        let tags = Line::from(format!("@notice;x-a=%1B%5B31m {line}")).tags();
        let text = json_text(&to_json(None, None, &tags, &event));
        assert!(
            text.contains(r#""tags":{"notice":"","x-a":"\u001b[31m"}"#),
            "{text}"
        );
        assert!(
            text.contains(r#""text":"\u009b31m\u202etxt\u007f\u2028\u001b""#),
            "{text}"
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["text"], line.strip_prefix("MSG #a bob ").unwrap());
        let print = Print::new(true, true);
        assert_eq!(
            print.gap("#a"),
            "{\"id\":null,\"room\":\"#a\",\"time\":null,\"type\":\"gap\"}\n"
        );
    }
}
