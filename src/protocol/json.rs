//! Events as JSON objects, for clients that do not want to parse lines. `http.md` lists the fields.

use serde_json::{Map, Value, json};

use super::event::Event;
use super::{EventId, Time};

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
