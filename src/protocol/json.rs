//! Events as JSON objects, for clients that do not want to parse lines. `http.md` lists the fields.

use serde_json::{Map, Value, json};

use super::event::{Event, ServerLine};
use super::{EventId, Time, parse_number};

/// Converts tags, as they are sent, to an object of their names and decoded values.
pub fn tags_object(tags: &str) -> Value {
    let names = tags
        .split(';')
        .map(|tag| tag.split('=').next().unwrap_or(tag));
    let values = names.map(|name| (name.to_owned(), json!(super::tags::find(tags, name))));
    Value::Object(values.collect())
}

/// Returns an event as an object.
///
/// ```
/// use plainchat::protocol::{Event, EventId, json};
/// let event = Event::parse("MSG #lobby bob hi").unwrap();
/// let object = json::event_object(EventId::new(7), None, "", &event);
/// let expected = r##"{"id":7,"nick":"bob","room":"#lobby","text":"hi","time":null,"verb":"MSG"}"##;
/// assert_eq!(object.to_string(), expected);
/// ```
pub fn event_object(
    id: Option<EventId>,
    time: Option<Time>,
    tags: &str,
    event: &Event<'_>,
) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("id", json!(id.map(EventId::get)));
    put("time", json!(time.map(|time| time.to_string())));
    put("room", json!(event.place()));
    put("nick", json!(event.nick()));
    if !tags.is_empty() {
        put("tags", tags_object(tags));
    }
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
        Event::Away { text, .. } => {
            put("text", json!(text));
            "AWAY"
        }
        Event::Note { text, .. } => {
            put("text", json!(text));
            "NOTE"
        }
        Event::Part { text, .. } => {
            put("text", json!(text));
            "PART"
        }
        Event::Edit { id, text, .. } => {
            put("edited", json!(id));
            put("text", json!(text));
            "EDIT"
        }
        Event::React { id, emoji, .. } => {
            put("reacts_to", json!(id));
            put("emoji", json!(emoji));
            "REACT"
        }
        Event::Unreact { id, emoji, .. } => {
            put("reacts_to", json!(id));
            put("emoji", json!(emoji));
            "UNREACT"
        }
        Event::Join { .. } => "JOIN",
        Event::Invite { .. } => "INVITE",
        Event::Seen { id, reader, .. } => {
            put("seen", json!(id));
            put("reader", json!(reader));
            "SEEN"
        }
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

/// Returns a line of the server as an object. For a line without members of its own in `http.md`, `verb` is its first
/// word and `text` is the rest.
///
/// ```
/// use plainchat::protocol::json;
/// let object = json::line_object("ERR JOIN no-such-room there is no such room");
/// let expected = r##"{"code":"no-such-room","of":"JOIN","text":"there is no such room","verb":"ERR"}"##;
/// assert_eq!(object.to_string(), expected);
/// assert_eq!(json::line_object("USER #ops bob").to_string(), r##"{"text":"#ops bob","verb":"USER"}"##);
/// ```
pub fn line_object(line: &str) -> Value {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match ServerLine::parse(line) {
        ServerLine::Past {
            id,
            time,
            tags,
            event,
        } => {
            let mut object = event_object(Some(id), Some(time), tags, &event);
            if let Some(members) = object.as_object_mut() {
                members.insert("past".to_owned(), json!(true));
            }
            object
        }
        ServerLine::Live {
            id,
            time,
            tags,
            event,
        } => event_object(id, time, tags, &event),
        ServerLine::Room {
            room,
            members,
            topic,
        } => json!({"verb": word, "room": room, "members": members, "topic": topic}),
        ServerLine::Gap { place } => json!({"verb": word, "room": place}),
        ServerLine::Err {
            verb,
            code: Some(code),
            text,
        } => json!({"verb": word, "of": verb, "code": code.word(), "text": text}),
        ServerLine::Closed {
            code: Some(code),
            text,
        } => json!({"verb": word, "code": code.word(), "text": text}),
        ServerLine::Ok { verb, rest } => ok_object(verb, rest),
        _ => json!({"verb": word, "text": rest}),
    }
}

/// Returns `OK` as an object. `fields` follow the verb `of`.
fn ok_object(of: &str, fields: &str) -> Value {
    let members = ok_members(of, fields).unwrap_or_else(|| json!({"text": fields}));
    let mut object = json!({"verb": "OK", "of": of});
    if let (Some(object), Value::Object(members)) = (object.as_object_mut(), members) {
        object.extend(members);
    }
    object
}

/// Returns the members for the fields that have a meaning of their own.
fn ok_members(of: &str, fields: &str) -> Option<Value> {
    let id = |word: &str| match word {
        "-" => Some(None),
        word => Some(Some(EventId::parse(word)?.get())),
    };
    let time = |word: &str| Time::parse(word).map(|time| time.to_string());
    let fields: Vec<&str> = fields.split(' ').collect();
    Some(match (of, fields.as_slice()) {
        ("SEARCH", [count]) => json!({"count": parse_number(count)?, "cut": false}),
        ("SEARCH", [count, "cut"]) => json!({"count": parse_number(count)?, "cut": true}),
        ("UPLOAD", [file, length, sha256]) => {
            json!({"file": id(file)?, "length": parse_number(length)?, "sha256": sha256})
        }
        ("TEXT", [first, at, lines]) => {
            json!({"id": id(first)?, "time": time(at)?, "lines": parse_number(lines)?})
        }
        (_, [kept, at]) => json!({"id": id(kept)?, "time": time(at)?}),
        _ => return None,
    })
}
