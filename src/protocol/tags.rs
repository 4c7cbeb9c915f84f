//! The tags that may precede a message, as in `@reply=1290;x-severity=critical MSG …`; see "Tags" in `protocol.md`.
//!
//! Names are in lower case. In values, a space, `;`, `%` and control characters are percent-encoded (RFC 3986).

use std::borrow::Cow;
use std::fmt;

use super::EventId;

/// The maximum length of the tags of one line in bytes, without the `@`.
pub const TAGS_BYTES_MAX: usize = 1024;

/// The maximum number of tags on one line.
pub const TAGS_MAX: usize = 16;

/// The maximum length of a tag's name in bytes.
const NAME_BYTES_MAX: usize = 32;

/// The maximum length of a tag's decoded value in bytes.
pub const VALUE_BYTES_MAX: usize = 256;

/// The name of the tag of a deleted message or file, or of an edit of a deleted message. Only the server sets it.
pub const REMOVED: &str = "removed";

/// The name of the tag of a message that mentions everybody in its room. Only the server sets it.
pub const EVERYBODY: &str = "everybody";

/// The maximum number of characters in a nonce.
const NONCE_CHARS_MAX: usize = 64;

/// The tags of a request: some are stored with the event, and others are only for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct SentTags(Option<Box<Sent>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
struct Sent {
    reply: Option<EventId>,
    nonce: Option<Box<str>>,
    kept: Box<str>,
}

/// The reason why tags are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTags(&'static str);

const TOO_LARGE: BadTags = BadTags("a line has at most 16 tags, with 1024 bytes in all");

impl fmt::Display for BadTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl SentTags {
    /// Parses the tags of a line, without the `@`. Leaves out tags with unknown names, unless the name begins with
    /// `x-`.
    ///
    /// # Errors
    /// When a tag is malformed or occurs twice, or there are too many.
    ///
    /// ```
    /// use plainchat::protocol::tags::SentTags;
    /// let tags = SentTags::parse("reply=17;x-severity=very%20high;later=1").unwrap();
    /// assert_eq!(tags.reply().unwrap().get(), 17);
    /// assert_eq!(tags.kept(), "reply=17;x-severity=very%20high");
    /// ```
    pub fn parse(text: &str) -> Result<Self, BadTags> {
        if text.len() > TAGS_BYTES_MAX || text.split(';').count() > TAGS_MAX {
            return Err(TOO_LARGE);
        }
        let mut sent = Sent::default();
        let mut kept = String::new();
        let mut names: Vec<&str> = Vec::new();
        for tag in text.split(';') {
            let (name, value) = match tag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (tag, None),
            };
            if !is_name(name) {
                return Err(BadTags(
                    "a tag is <name> or <name>=<value>; its name consists of 1 to 32 characters: a-z, 0-9 and -",
                ));
            }
            if names.contains(&name) {
                return Err(BadTags("a tag occurs twice"));
            }
            names.push(name);
            let value = decode(value.unwrap_or_default())?;
            match name {
                "reply" => {
                    let id = EventId::parse(&value);
                    sent.reply = Some(id.ok_or(BadTags("reply=<id> needs the id of an event"))?);
                }
                "nonce" if is_nonce(&value) => sent.nonce = Some(value.as_ref().into()),
                "nonce" => {
                    return Err(BadTags(
                        "a nonce consists of 1 to 64 characters: A-Z, a-z, 0-9, -, _ and .",
                    ));
                }
                "notice" => {}
                name if name.starts_with("x-") => {}
                _ => continue,
            }
            if name != "nonce" {
                push(&mut kept, name, &value);
            }
        }
        // A space is kept as three bytes.
        if kept.len() > TAGS_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        sent.kept = kept.into();
        let is_empty = sent == Sent::default();
        Ok(Self((!is_empty).then(|| Box::new(sent))))
    }

    /// Returns the tags that mark a text as sent by a program.
    pub fn notice() -> Self {
        Self::parse("notice").unwrap_or_default()
    }

    /// Returns the tag of a deleted event.
    pub fn removed() -> Self {
        let sent = Sent {
            kept: REMOVED.into(),
            ..Sent::default()
        };
        Self(Some(Box::new(sent)))
    }

    /// Returns whether these tags mark a text as sent by a program.
    pub fn is_notice(&self) -> bool {
        find(self.kept(), "notice").is_some()
    }

    /// Adds the tag of a message that mentions everybody in its room.
    #[must_use]
    pub fn with_everybody(mut self) -> Self {
        let sent = self.0.get_or_insert_default();
        let mut kept = String::from(std::mem::take(&mut sent.kept));
        push(&mut kept, EVERYBODY, "");
        sent.kept = kept.into();
        self
    }

    /// Adds a nonce, which must be valid, to the tags.
    #[must_use]
    pub fn with_nonce(mut self, nonce: &str) -> Self {
        debug_assert!(is_nonce(nonce));
        self.0.get_or_insert_default().nonce = Some(nonce.into());
        self
    }

    /// Returns the tags for one line of a text. The text has `lines` lines, and `first` is the id of its first line,
    /// if that is already known.
    #[must_use]
    pub fn of_line(&self, line: usize, lines: usize, first: Option<EventId>) -> Self {
        let mut sent = Sent::default();
        let mut kept = String::new();
        if line == 0 {
            sent.reply = self.reply();
            kept.push_str(self.kept());
            push(&mut kept, "lines", &lines.to_string());
        } else {
            if let Some(first) = first {
                push(&mut kept, "of", &first.to_string());
            }
            if find(self.kept(), "notice").is_some() {
                push(&mut kept, "notice", "");
            }
        }
        sent.kept = kept.into();
        let is_empty = sent == Sent::default();
        Self((!is_empty).then(|| Box::new(sent)))
    }

    /// Returns whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the id of the event to which the message replies.
    pub fn reply(&self) -> Option<EventId> {
        self.0.as_ref()?.reply
    }

    /// Returns the nonce. If a nick sends a second request with the same nonce, the server does not execute it again.
    pub fn nonce(&self) -> Option<&str> {
        self.0.as_ref()?.nonce.as_deref()
    }

    /// Returns the tags that are stored with the event, as they are sent; empty for none.
    pub fn kept(&self) -> &str {
        self.0.as_ref().map_or("", |sent| &sent.kept)
    }
}

impl fmt::Display for SentTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tags = self.kept().to_owned();
        if let Some(nonce) = self.nonce() {
            push(&mut tags, "nonce", nonce);
        }
        f.write_str(&tags)
    }
}

/// Returns the value of the tag `name` in `tags`, which have the form of the protocol. The value is empty for a tag
/// without a value.
///
/// ```
/// use plainchat::protocol::tags::find;
/// assert_eq!(find("reply=17;notice", "reply").as_deref(), Some("17"));
/// assert_eq!(find("reply=17;notice", "notice").as_deref(), Some(""));
/// assert_eq!(find("reply=17;notice", "edited"), None);
/// ```
pub fn find<'a>(tags: &'a str, name: &str) -> Option<Cow<'a, str>> {
    if tags.is_empty() {
        return None; // as those of nearly every message
    }
    tags.split(';').find_map(|tag| {
        let (found, value) = tag.split_once('=').unwrap_or((tag, ""));
        (found == name).then(|| decode(value).unwrap_or_default())
    })
}

/// Returns whether the tags of a past event say that it has been deleted, so that `-` stands for its text or file name.
pub fn is_removed(tags: &str) -> bool {
    find(tags, REMOVED).is_some()
}

/// Appends a tag to `tags`, with the separator and the encoding of the protocol.
pub fn push(tags: &mut String, name: &str, value: &str) {
    if !tags.is_empty() {
        tags.push(';');
    }
    tags.push_str(name);
    if value.is_empty() {
        return;
    }
    tags.push('=');
    for c in value.chars() {
        if matches!(c, ' ' | ';' | '%') || super::text::is_unsafe(c) || c == '\t' {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                tags.push_str(&format!("%{byte:02X}"));
            }
        } else {
            tags.push(c);
        }
    }
}

/// Splits a line into its tags, without the `@`, and the rest. The tags are empty if the line has none.
pub fn split(line: &str) -> (&str, &str) {
    match line.strip_prefix('@') {
        Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
        None => ("", line),
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part)
}

/// Returns whether `text` is a valid nonce.
pub fn is_nonce(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=NONCE_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

fn decode(value: &str) -> Result<Cow<'_, str>, BadTags> {
    let decoded = if value.contains('%') {
        let mut bytes = Vec::with_capacity(value.len());
        let mut rest = value.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            let is_hex = |digits: &&str| digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = digits
                .filter(is_hex)
                .and_then(|two| u8::from_str_radix(two, 16).ok());
            bytes.push(code.ok_or(BadTags("% in a tag's value needs two hexadecimal digits"))?);
            rest = rest.get(2..).unwrap_or_default();
        }
        let text = String::from_utf8(bytes);
        Cow::Owned(text.map_err(|_| BadTags("a tag's value is not UTF-8"))?)
    } else {
        Cow::Borrowed(value)
    };
    if decoded.len() > VALUE_BYTES_MAX {
        return Err(BadTags("a tag's value has at most 256 bytes"));
    }
    if value
        .chars()
        .any(|c| c == '\t' || super::text::is_unsafe(c))
    {
        return Err(BadTags(
            "control characters in a tag's value must be percent-encoded",
        ));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_kept_as_they_are_sent_and_unknown_ones_left_out() {
        for (text, kept) in [
            ("reply=17", "reply=17"),
            ("notice", "notice"),
            ("notice=", "notice"),
            ("x-a=b%20c;x-b", "x-a=b%20c;x-b"),
            ("x-a=%C3%A9", "x-a=é"),
            ("x-a=%3b%25", "x-a=%3B%25"),
            ("x-a=%0A", "x-a=%0A"),
            ("later=1;reply=2", "reply=2"),
            ("edited=1", ""),
            ("everybody", ""),
            ("nonce=a", ""),
        ] {
            let tags = SentTags::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(tags.kept(), kept, "of {text}");
        }
        let tags = SentTags::parse("nonce=a-B_9.;notice").unwrap();
        assert_eq!((tags.nonce(), tags.kept()), (Some("a-B_9."), "notice"));
        assert_eq!(SentTags::parse(&tags.to_string()), Ok(tags));
        assert!(SentTags::parse("later=1").unwrap().is_empty());
    }

    #[test]
    fn malformed_tags_are_errors() {
        let long = format!("x-a={}", "y".repeat(257));
        let plural = ["x"; 17].join(";");
        let spaces = ["a", "b", "c", "d"].map(|x| format!("x-{x}={}", " ".repeat(100)));
        for bad in [
            "",
            ";",
            "a;",
            "A=1",
            "é",
            "=1",
            "a b",
            "reply",
            "reply=",
            "reply=0",
            "reply=x",
            "nonce",
            "nonce=a%20b",
            "x-a=1;x-a=2",
            "x-a=%4",
            "x-a=%g0",
            "x-a=%+1",
            "x-a=%ff",
            "x-a=\u{1}",
            "x-a=\u{202e}",
            "x-a=\t",
            &long,
            &plural,
            &spaces.join(";"),
        ] {
            assert!(SentTags::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_is_split_after_its_tags() {
        assert_eq!(split("@a=1;b MSG x y"), ("a=1;b", "MSG x y"));
        assert_eq!(split("MSG @x"), ("", "MSG @x"));
        assert_eq!(split("@a"), ("a", ""));
    }
}
