//! Lines of IRC: parses what a client sends, and writes lines of at most 512 bytes (without their tags).

use std::borrow::Cow;

use crate::protocol::text::clean;

/// The maximum length of a line in bytes, without its tags and with its ending (RFC 2812, 2.3).
pub const LINE_BYTES_MAX: usize = 512;

/// The maximum number of parameters of a line. Any further text belongs to the last one.
const PARAMS_MAX: usize = 15;

/// A line that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub struct IrcLine<'a> {
    tags: &'a str,
    /// The line without its tags and its source.
    pub rest: &'a str,
    /// The command in capitals.
    pub command: String,
    /// The parameters.
    pub params: Vec<&'a str>,
}

impl<'a> IrcLine<'a> {
    /// Parses a line without its end; `None` for a line without a command.
    ///
    /// ```
    /// use plainchat::dialect::irc::IrcLine;
    /// let line = IrcLine::parse("@label=7 privmsg #ops :hello there").unwrap();
    /// assert_eq!(line.command, "PRIVMSG");
    /// assert_eq!(line.params, ["#ops", "hello there"]);
    /// assert_eq!(line.tag("label").as_deref(), Some("7"));
    /// ```
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut rest = line.trim_start_matches(' ');
        let mut tags = "";
        if let Some(tagged) = rest.strip_prefix('@') {
            (tags, rest) = word(tagged);
        }
        if let Some(sourced) = rest.strip_prefix(':') {
            rest = word(sourced).1;
        }
        let (command, mut left) = word(rest);
        if command.is_empty() {
            return None;
        }
        let mut params = Vec::new();
        while !left.is_empty() {
            if let Some(text) = left.strip_prefix(':') {
                params.push(text);
                break;
            }
            if params.len() + 1 == PARAMS_MAX {
                params.push(left);
                break;
            }
            let (param, next) = word(left);
            params.push(param);
            left = next;
        }
        Some(Self {
            tags,
            rest,
            command: command.to_ascii_uppercase(),
            params,
        })
    }

    /// Returns a parameter, if it is not empty.
    pub fn param(&self, at: usize) -> Option<&'a str> {
        self.params
            .get(at)
            .copied()
            .filter(|param| !param.is_empty())
    }

    /// Returns the value of a tag. It is empty for a tag without a value.
    pub fn tag(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut tags = self.tags.split(';').rev();
        tags.find_map(|tag| {
            let (found, value) = tag.split_once('=').unwrap_or((tag, ""));
            (found == name).then(|| unescape(value))
        })
    }
}

/// Returns whether only an IRC client can have sent the line, because plainchat has no such verb.
pub fn begins_irc(line: &[u8]) -> bool {
    // Some clients send a real name that is not UTF-8.
    let text = String::from_utf8_lossy(line);
    IrcLine::parse(&text).is_some_and(|line| {
        let first = line.param(0).unwrap_or_default();
        match &*line.command {
            // Clients write this command in capitals. No message that a person types begins like this.
            "CAP" => {
                let is_known = |word: &&str| first.eq_ignore_ascii_case(word);
                ["LS", "LIST", "REQ", "END"].iter().any(is_known)
                    || !first.is_empty() && first.bytes().all(|b| b.is_ascii_uppercase())
            }
            "USER" | "WEBIRC" => line.params.len() >= 4,
            _ => false,
        }
    })
}

/// Returns the first word, and the text after the spaces that follow it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start_matches(' '))
}

/// Decodes the value of a tag.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (c, false) => text.push(c),
            (_, true) => match chars.next() {
                Some(':') => text.push(';'),
                Some('s') => text.push(' '),
                Some('r') => text.push('\r'),
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
        }
    }
    Cow::Owned(text)
}

/// Encodes the value of a tag.
pub fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ';' => text.push_str("\\:"),
            ' ' => text.push_str("\\s"),
            '\\' => text.push_str("\\\\"),
            '\r' => text.push_str("\\r"),
            '\n' => text.push_str("\\n"),
            '\0' => {}
            c => text.push(c),
        }
    }
    text
}

/// A line for a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The tags, without the `@`; empty for none.
    pub tags: &'a str,
    /// The sender; empty for none.
    pub source: &'a str,
    /// The command: a word or a number.
    pub command: &'a str,
    /// The parameters before the text. A value that is not a valid parameter is written as `*`.
    pub params: &'a [&'a str],
    /// The last parameter, which may contain spaces. It is cut if the line would be too long.
    pub text: Option<&'a str>,
}

impl Message<'_> {
    /// Appends the line with its ending.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_around("", "", out);
    }

    /// Appends the line with its ending. Its text stands between `before` and `after`, which may be control
    /// characters.
    pub fn write_around(&self, before: &str, after: &str, out: &mut Vec<u8>) {
        if !self.tags.is_empty() {
            out.push(b'@');
            out.extend_from_slice(self.tags.as_bytes());
            out.push(b' ');
        }
        let mut line = String::with_capacity(80);
        self.head(&mut line);
        if let Some(text) = self.text {
            line.push_str(" :");
            line.push_str(before);
            line.push_str(&clean(text));
        }
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX - 2 - after.len()));
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(after.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Returns the number of bytes of text that fit into the line.
    pub fn space(&self) -> usize {
        let mut line = String::new();
        self.head(&mut line);
        (LINE_BYTES_MAX - 4).saturating_sub(line.len())
    }

    fn head(&self, line: &mut String) {
        if !self.source.is_empty() {
            line.push(':');
            line.push_str(self.source);
            line.push(' ');
        }
        line.push_str(self.command);
        for param in self.params {
            line.push(' ');
            let is_word = !param.is_empty()
                && !param.starts_with(':')
                && !param.chars().any(|c| c == ' ' || c.is_control());
            line.push_str(if is_word { param } else { "*" });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_parsed_as_rfc_1459_and_message_tags_specify() {
        let params = |line: &'static str| IrcLine::parse(line).map(|line| line.params);
        assert_eq!(params("JOIN #a,#b"), Some(vec!["#a,#b"]));
        assert_eq!(
            params("  PRIVMSG   #a   :  b :c "),
            Some(vec!["#a", "  b :c "])
        );
        assert_eq!(params(":me!x@y TOPIC #a :"), Some(vec!["#a", ""]));
        assert_eq!(params("@a=b :me QUIT"), Some(vec![]));
        assert_eq!(params("@a=b"), None);
        assert_eq!(params(":me"), None);
        assert_eq!(params(""), None);
        let many = format!("X {}", "a ".repeat(20));
        assert_eq!(IrcLine::parse(&many).unwrap().params.len(), PARAMS_MAX);
        let line = IrcLine::parse("@a=1;b=x\\:\\sy\\\\;c;a=2 X").unwrap();
        assert_eq!(line.tag("a").as_deref(), Some("2"));
        assert_eq!(line.tag("b").as_deref(), Some("x; y\\"));
        assert_eq!(line.tag("c").as_deref(), Some(""));
        assert_eq!(line.tag("d"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_and_written_lines_fit_the_limit(line in ".{0,300}", text in ".{0,900}") {
            if let Some(line) = IrcLine::parse(&line) {
                assert!(line.params.len() <= PARAMS_MAX && !line.command.is_empty());
            }
            let params = [line.as_str(), &text];
            let message = Message { source: "a!b@c", command: "PRIVMSG", params: &params, text: Some(&text), ..Message::default() };
            let mut out = Vec::new();
            message.write(&mut out);
            let out = String::from_utf8(out).expect("it is UTF-8");
            let inner = out.strip_suffix("\r\n").expect("it has an end");
            assert!(out.len() <= LINE_BYTES_MAX);
            assert!(!inner.contains(['\r', '\n', '\0']), "{inner:?}");
        }

        #[test]
        fn a_tag_value_is_read_as_it_was_written(value in "[^\0]*") {
            assert_eq!(unescape(&escape(&value)), value);
        }
    }
}
