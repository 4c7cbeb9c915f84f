//! Composes requests from texts that come separately, as in an HTTP request. Each text is checked as it would
//! be in the line of the request, and refused for the same reasons.

use std::borrow::Cow;

use super::line::LINE_BYTES_MAX;
use super::request::{
    HAS_NUL, Refusal, Request, SearchOf, Target, TextRequest, UploadRequest, bad_syntax, has_nul,
    password,
};
use super::tags::SentTags;
use super::text::clean;
use super::{Code, Digest, FileName, Nick, RoomName, Verb};

impl Request<'static> {
    /// Returns the request to send a message.
    ///
    /// # Errors
    /// When no `MSG` line can have that text.
    ///
    /// ```
    /// use plainchat::protocol::{Code, Request};
    /// assert_eq!(Request::message(b"hello").unwrap().to_string(), "MSG hello");
    /// assert_eq!(Request::message(b"\xff").unwrap_err().code, Code::NotUtf8);
    /// ```
    pub fn message(text: &[u8]) -> Result<Self, Refusal> {
        let verb = Verb::Msg;
        check(verb, [text])?;
        let text = std::str::from_utf8(text);
        let not_utf8 = |_| Refusal::new(verb, Code::NotUtf8, "that line is not UTF-8");
        let text = clean(text.map_err(not_utf8)?);
        if text.is_empty() {
            return Err(bad_syntax(verb));
        }
        let text = Cow::Owned(text.into_owned());
        Ok(Self::Msg {
            text,
            tags: SentTags::default(),
        })
    }

    /// Returns the request with these tags; a request that takes none is returned as it is.
    #[must_use]
    pub fn with_tags(mut self, sent: SentTags) -> Self {
        match &mut self {
            Self::Msg { tags, .. }
            | Self::Me { tags, .. }
            | Self::Tell { tags, .. }
            | Self::Text(TextRequest { tags, .. })
            | Self::Upload(UploadRequest { tags, .. }) => *tags = sent,
            _ => {}
        }
        self
    }

    /// Returns the request to take a nick; an empty password is none.
    ///
    /// # Errors
    /// When no `NICK` line can have them.
    pub fn nick(nick: &str, secret: &str) -> Result<Self, Refusal> {
        let verb = Verb::Nick;
        check(verb, [nick.as_bytes(), secret.as_bytes()])?;
        let bad_name = |why| Refusal::new(verb, Code::BadName, format!("{why}"));
        let nick = Nick::parse(nick).map_err(bad_name)?;
        let password = password(verb, secret)?.map(|secret| Cow::Owned(secret.to_owned()));
        Ok(Self::Nick { nick, password })
    }

    /// Returns the request to search a room.
    ///
    /// # Errors
    /// When no `SEARCH` line can have them.
    pub fn search(room: RoomName, words: &str) -> Result<Self, Refusal> {
        let verb = Verb::Search;
        check(verb, [room.as_str().as_bytes(), words.as_bytes()])?;
        let words = clean(words);
        if words.split_whitespace().next().is_none() {
            return Err(bad_syntax(verb));
        }
        let of = SearchOf::Room(room);
        let words = Cow::Owned(words.into_owned());
        Ok(Self::Search { of, words })
    }

    /// Returns the request to send `length` bytes of text to a room.
    pub fn text(room: Option<RoomName>, length: u64) -> Self {
        Self::Text(TextRequest {
            to: Ok(room.map(Target::Room)),
            length,
            tags: SentTags::default(),
        })
    }

    /// Returns the request to send a file; as on a line, a bad name is refused once the file's bytes have been dropped.
    pub fn upload(name: &str, length: Option<u64>, sha256: Option<Digest>) -> Self {
        let verb = Verb::Upload;
        let bad_name = |why| Refusal::new(verb, Code::BadName, format!("{why}"));
        let name =
            check(verb, [name.as_bytes()]).and_then(|()| FileName::parse(name).map_err(bad_name));
        Self::Upload(UploadRequest {
            name,
            length,
            sha256,
            tags: SentTags::default(),
        })
    }
}

/// Checks that the texts of a request fit into its line and have no NULs.
fn check<const N: usize>(verb: Verb, texts: [&[u8]; N]) -> Result<(), Refusal> {
    let bytes = texts.iter().map(|text| text.len() + 1).sum::<usize>();
    if verb.word().len() + bytes >= LINE_BYTES_MAX {
        return Err(Refusal::too_long());
    }
    if texts.iter().any(|text| has_nul(text)) {
        return Err(Refusal::new(verb, Code::NotUtf8, HAS_NUL));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a composed request is the one that its line parses to.
    #[track_caller]
    fn check_same(composed: Result<Request<'_>, Refusal>, line: &[u8]) {
        assert_eq!(
            composed.map(Some),
            Request::parse(line),
            "{}",
            line.escape_ascii()
        );
    }

    #[test]
    fn a_composed_request_is_what_its_line_is() {
        for text in [
            &b"hello"[..],
            b"  two  spaces ",
            b"BYE",
            b"\x1b[31mred",
            b"\x07",
            b"a\xff",
            b"\xc3\xa9",
        ] {
            check_same(Request::message(text), &[b"MSG ", text].concat());
        }
        for (nick, secret) in [
            ("ann", ""),
            ("ann", " "),
            ("ann", "a  b"),
            ("a#b", "x"),
            ("ann", "\x07"),
            ("ann", "\0"),
        ] {
            check_same(
                Request::nick(nick, secret),
                format!("NICK {nick} {secret}").as_bytes(),
            );
        }
        let room = || RoomName::parse("#ops").unwrap();
        for words in ["build done", " ", "", "\x1b[31m", "\0"] {
            check_same(
                Request::search(room(), words),
                format!("SEARCH #ops {words}").as_bytes(),
            );
        }
        for name in [
            "notes.txt",
            "my  notes.txt",
            "a 7",
            "../x",
            "",
            "..",
            "\u{202a}x",
        ] {
            for length in [None, Some(7)] {
                let digits = length.map_or("*".to_owned(), |length| format!("{length}"));
                let line = format!("UPLOAD {name} {digits}");
                check_same(Ok(Request::upload(name, length, None)), line.as_bytes());
            }
        }
    }

    #[test]
    fn what_fits_on_a_line_may_be_asked() {
        let fits = vec![b'x'; LINE_BYTES_MAX - "MSG ".len() - 1];
        assert!(Request::message(&fits).is_ok());
        let refused = Request::message(&[&fits[..], b"x"].concat());
        assert_eq!(refused, Err(Refusal::too_long()));
    }
}
