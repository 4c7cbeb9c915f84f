//! Reads what ntfy's clients publish, and writes what its subscribers receive; see "ntfy" in `hooks.md`.

use serde_json::{Map, Value, json};

use super::{BadBody, Message, parse, string, titled};
use crate::protocol::{Event, EventId, Time, multiline, tags};

/// The lowest priority with which a message is marked as urgent. ntfy's priorities are 1 to 5.
const URGENT: u8 = 4;

/// The priority of a message that states none.
const DEFAULT_PRIORITY: u8 = 3;

/// The headers or parameters that contain the title of a notification.
const TITLE: &[&str] = &["title", "ti", "t"];
const PRIORITY: &[&str] = &["priority", "prio", "p"];

/// The number of digits in an id after its first letter. With so many digits, no subscriber mistakes an id for a
/// time.
const ID_DIGITS: usize = 11;

/// A notification that a client publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The topic. Only a JSON body names one.
    pub topic: Option<String>,
    /// The title; may be empty.
    pub title: String,
    /// The text.
    pub text: String,
    /// The priority, from 1 to 5.
    pub priority: u8,
}

impl Notification {
    /// Reads a notification that is published as JSON. A field that the JSON does not contain may be in a header or
    /// parameter: `field` returns the value of the first header or parameter that has one of the given names.
    ///
    /// # Errors
    /// When the body is not JSON, or names no topic.
    pub fn from_json(
        body: &[u8],
        field: impl Fn(&[&str]) -> Option<String>,
    ) -> Result<Self, BadBody> {
        let fields = parse(body)?;
        let topic = string(fields.get("topic"));
        if topic.is_empty() {
            return Err(BadBody::Malformed);
        }
        let find = |name: &str, names: &[&str]| {
            let given = Some(string(fields.get(name))).filter(|given| !given.is_empty());
            given.or_else(|| field(names)).unwrap_or_default()
        };
        Ok(Self {
            topic: Some(topic),
            title: find("title", TITLE),
            text: string(fields.get("message")),
            priority: priority(&find("priority", PRIORITY)),
        })
    }

    /// Reads a notification whose body is its text. `field` is used as in [`Self::from_json`].
    ///
    /// # Errors
    /// When the text is not UTF-8.
    pub fn from_text(
        body: &[u8],
        field: impl Fn(&[&str]) -> Option<String>,
    ) -> Result<Self, BadBody> {
        let text = match field(&["message", "m"]) {
            Some(text) => text,
            None => String::from_utf8(body.to_vec()).map_err(|_| BadBody::Malformed)?,
        };
        Ok(Self {
            topic: None,
            title: field(TITLE).unwrap_or_default(),
            text,
            priority: priority(&field(PRIORITY).unwrap_or_default()),
        })
    }

    /// Returns the notification as a message. A notification without a text gets the text `triggered`, as in ntfy.
    ///
    /// # Errors
    /// When the notification has nothing that can be shown.
    pub fn message(&self) -> Result<Message, BadBody> {
        let is_blank = self.text.trim().is_empty();
        let text = if is_blank { "triggered" } else { &self.text };
        let mut fields = Map::new();
        fields.insert("title".into(), self.title.as_str().into());
        fields.insert("message".into(), text.into());
        let mark = if self.priority >= URGENT { "(!) " } else { "" };
        let text = format!("{mark}{}", titled(&fields, &["message"]));
        let priority = self.priority.to_string();
        Message::new(&text, &[("x-priority", &priority)])
    }
}

/// Parses a priority, which is a number or a word. Any other text, such as the `u=3, i` of RFC 9218, counts as no
/// priority.
fn priority(text: &str) -> u8 {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "min" => 1,
        "2" | "low" => 2,
        "4" | "high" => 4,
        "5" | "max" | "urgent" => 5,
        _ => DEFAULT_PRIORITY,
    }
}

/// The past messages that a subscriber requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// No past messages.
    Now,
    /// The newest message.
    Latest,
    /// All messages after this id.
    Id(u64),
    /// All messages from this time on.
    Time(Time),
}

impl Since {
    /// Parses `all`, `none`, `latest`, an id, a time in seconds since 1970, or a duration such as `10m`.
    pub fn parse(text: &str, now: Time) -> Option<Self> {
        match text {
            "" | "none" => return Some(Self::Now),
            "all" => return Some(Self::Id(0)),
            "latest" => return Some(Self::Latest),
            _ => {}
        }
        if let Some(id) = parse_id(text) {
            return Some(Self::Id(id));
        }
        let (number, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let number: u64 = number.parse().ok()?;
        let ago = |unit_ms: u64| Time(now.0.saturating_sub(number.saturating_mul(unit_ms)));
        Some(Self::Time(match unit {
            "" => Time(number.saturating_mul(1000)),
            "s" => ago(1000),
            "m" => ago(60_000),
            "h" => ago(3_600_000),
            "d" => ago(86_400_000),
            _ => return None,
        }))
    }
}

/// Returns the id of an event as ntfy's clients expect it: twelve letters and digits.
pub fn id(id: Option<EventId>) -> String {
    let mut rest = id.map_or(0, EventId::get);
    let mut digits = [b'0'; ID_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
        rest /= 36;
    }
    digits.iter().fold("p".to_owned(), |text, digit| {
        text + &char::from(*digit).to_string()
    })
}

fn parse_id(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix('p')
        .filter(|digits| digits.len() == ID_DIGITS)?;
    u64::from_str_radix(digits, 36).ok()
}

/// Returns an object for a subscriber. It is not a message, but the event `open` or `keepalive`.
pub fn control(event: &str, topics: &str, now: Time) -> Value {
    json!({"id": id(None), "time": now.0 / 1000, "event": event, "topic": topics})
}

/// Returns an event as the message that a subscriber receives; `None` if the event is not a message. If a text
/// has several lines, the subscriber receives the first line and the number of lines that are left out.
pub fn message(of: Option<EventId>, time: Time, tags: &str, event: &Event<'_>) -> Option<Value> {
    let (nick, text) = match event {
        Event::Msg { nick, text, .. } => (nick, text.to_string()),
        Event::Me { nick, text, .. } => (nick, format!("* {nick} {text}")),
        Event::File { nick, name, .. } => (nick, format!("sent the file {name}")),
        _ => return None,
    };
    if multiline::text_of(tags).is_some() {
        return None;
    }
    let text = match multiline::text_lines(tags) {
        Some(lines @ 2..) => format!("{text} (and {} more lines)", lines - 1),
        _ => text,
    };
    let mut object = json!({
        "id": id(of),
        "time": time.0 / 1000,
        "event": "message",
        "topic": event.place().trim_start_matches('#'),
        "title": nick,
        "message": text,
    });
    if let Some(given) = tags::find(tags, "x-priority") {
        object["priority"] = priority(&given).into();
    }
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_from_json_or_from_a_text_and_its_headers() {
        let json =
            br#"{"topic":"ops","title":"Backup","message":"done","priority":5,"tags":["x"]}"#;
        let none = |_: &[&str]| None;
        let read = Notification::from_json(json, none).expect("it is JSON");
        assert_eq!(read.topic.as_deref(), Some("ops"));
        let message = read.message().expect("it has a text");
        assert_eq!(message.text.as_str(), "(!) Backup: done");
        assert_eq!(message.tags, "notice;x-priority=5");
        assert_eq!(
            Notification::from_json(br#"{"message":"a"}"#, none),
            Err(BadBody::Malformed)
        );
        let urgent = |names: &[&str]| names.contains(&"priority").then(|| "high".to_owned());
        let read = Notification::from_json(br#"{"topic":"ops"}"#, urgent).expect("it is JSON");
        assert_eq!(read.priority, 4);
        let plain = Notification::from_text("grüße\n2".as_bytes(), none).expect("it is UTF-8");
        let message = plain.message().expect("it has a text");
        assert_eq!((message.text.as_str(), plain.priority), ("grüße\n2", 3));
        let header = |names: &[&str]| names.contains(&"t").then(|| "Door".to_owned());
        let empty = Notification::from_text(b"", header).expect("it is UTF-8");
        assert_eq!(
            empty.message().expect("a title").text.as_str(),
            "Door: triggered"
        );
        assert_eq!(
            Notification::from_text(b"\xff", none),
            Err(BadBody::Malformed)
        );
    }

    #[test]
    fn priorities_are_numbers_or_words() {
        for (text, expected) in [
            ("", 3),
            ("urgent", 5),
            ("High", 4),
            ("1", 1),
            ("u=3, i", 3),
            ("9", 3),
        ] {
            assert_eq!(priority(text), expected, "{text}");
        }
    }

    #[test]
    fn an_id_has_twelve_characters_and_can_be_parsed() {
        for n in [1, 35, 36, EventId::MAX.get()] {
            let written = id(EventId::new(n));
            assert_eq!(written.len(), 12, "{written}");
            assert_eq!(Since::parse(&written, Time(0)), Some(Since::Id(n)));
        }
    }

    #[test]
    fn since_is_an_id_a_time_or_a_duration() {
        let now = Time(10_000_000);
        for (text, expected) in [
            ("", Some(Since::Now)),
            ("none", Some(Since::Now)),
            ("all", Some(Since::Id(0))),
            ("latest", Some(Since::Latest)),
            ("5000", Some(Since::Time(Time(5_000_000)))),
            ("10m", Some(Since::Time(Time(9_400_000)))),
            ("99d", Some(Since::Time(Time(0)))),
            ("99999999999999999999d", None),
            ("yesterday", None),
        ] {
            assert_eq!(Since::parse(text, now), expected, "{text}");
        }
    }

    #[test]
    fn messages_actions_and_files_are_shown_and_a_text_by_its_first_line() {
        let shown = |tags: &str, line: &str| {
            let event = Event::parse(line).expect("it is an event");
            let object = message(EventId::new(7), Time(5_999), tags, &event)?;
            Some(object["message"].as_str().expect("a text").to_owned())
        };
        assert_eq!(shown("", "MSG #ops ann hi").as_deref(), Some("hi"));
        assert_eq!(
            shown("", "ME #ops ann waves").as_deref(),
            Some("* ann waves")
        );
        assert_eq!(
            shown("lines=3", "MSG #ops ann a").as_deref(),
            Some("a (and 2 more lines)")
        );
        assert_eq!(shown("of=7", "MSG #ops ann b"), None);
        assert_eq!(shown("", "TOPIC #ops ann t"), None);
        let event = Event::parse("MSG #ops ann hi").expect("it is an event");
        let object = message(EventId::new(7), Time(5_999), "x-priority=4", &event);
        let expected = r#"{"event":"message","id":"p00000000007","message":"hi","priority":4,"time":5,"title":"ann","topic":"ops"}"#;
        assert_eq!(object.expect("it is a message").to_string(), expected);
    }
}
