//! Converts a server's line to a JSON object, for clients that do not want to parse lines; the fields are
//! named as in `protocol.md`.

use serde_json::{Map, Value, json};

use super::event::{Event, ServerLine};
use super::{EventId, Time};

/// Returns the line as an object; `None` for a line that means nothing outside its conversation.
///
/// ```
/// use plainchat::protocol::json::object;
/// let line = "PAST 7 2026-11-22T17:04:05.123Z MSG #lobby bob hi";
/// let expected = r##"{"id":7,"nick":"bob","room":"#lobby","text":"hi","time":"2026-11-22T17:04:05.123Z","verb":"MSG"}"##;
/// assert_eq!(object(line).unwrap().to_string(), expected);
/// ```
pub fn object(line: &str) -> Option<Value> {
    let object = match ServerLine::parse(line) {
        ServerLine::Past { id, time, event } => event_object(Some(id), Some(time), &event),
        ServerLine::Live { id, time, event } => event_object(id, time, &event),
        ServerLine::Room {
            room,
            members,
            topic,
        } => json!({"verb": "ROOM", "room": room, "members": members, "topic": topic}),
        ServerLine::User { room, nick } => json!({"verb": "USER", "room": room, "nick": nick}),
        ServerLine::Gap { place } => json!({"verb": "GAP", "room": place}),
        ServerLine::Err { verb, code, text } => {
            let code = code.map(|code| code.word());
            json!({"verb": "ERR", "of": verb, "code": code, "text": text})
        }
        ServerLine::Closed { code, text } => {
            let code = code.map(|code| code.word());
            json!({"verb": "CLOSED", "code": code, "text": text})
        }
        ServerLine::Ok { verb, rest } => ok_object(verb, rest),
        _ => return None,
    };
    Some(object)
}

/// Returns what was stored: a message's id and time, or a file's id, length and digest.
fn ok_object(verb: &str, rest: &str) -> Value {
    let mut object = json!({"verb": "OK", "of": verb});
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |text: &str| super::parse_number(text);
    match (verb, fields.as_slice()) {
        ("UPLOAD", [file, length, sha256]) => {
            object["file"] = json!(number(file));
            object["length"] = json!(number(length));
            object["sha256"] = json!(sha256);
        }
        ("MSG" | "ME", [id, time]) => {
            object["id"] = json!(number(id));
            object["time"] = json!(time);
        }
        _ => object["text"] = json!(rest),
    }
    object
}

fn event_object(id: Option<EventId>, time: Option<Time>, event: &Event<'_>) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("id", json!(id.map(EventId::get)));
    put("time", json!(time.map(|time| time.to_string())));
    put("room", json!(event.place()));
    put("nick", json!(event.nick()));
    let verb = match event {
        Event::Msg { text, .. } => {
            put("text", json!(text));
            "MSG"
        }
        Event::Me { text, .. } => {
            put("text", json!(text));
            "ME"
        }
        Event::Topic { text, .. } => {
            put("text", json!(text));
            "TOPIC"
        }
        Event::Note { text, .. } => {
            put("text", json!(text));
            "NOTE"
        }
        Event::Part { text, .. } => {
            put("text", json!(text));
            "PART"
        }
        Event::Join { .. } => "JOIN",
        Event::Invite { .. } => "INVITE",
        Event::Nick { new, .. } => {
            put("new", json!(new));
            "NICK"
        }
        Event::Remove { id, .. } => {
            put("removed", json!(id));
            "REMOVE"
        }
        Event::File {
            file, length, name, ..
        } => {
            put("file", json!(file));
            put("length", json!(length));
            put("name", json!(name));
            "FILE"
        }
        Event::Stored {
            file,
            length,
            sha256,
            ..
        } => {
            put("file", json!(file));
            put("length", json!(length));
            put("sha256", json!(sha256));
            "STORED"
        }
    };
    put("verb", json!(verb));
    Value::Object(object)
}
