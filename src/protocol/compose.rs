//! Composes requests from separate texts, such as the fields of an HTTP request. Each text is checked as if it stood
//! in the request's line, and is refused for the same reasons.

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
    /// When a `MSG` line cannot contain the text.
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

    /// Returns the request with the tags `sent`. A request that takes no tags is returned unchanged.
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

    /// Returns the request to take a nick. An empty password means that no password is given.
    ///
    /// # Errors
    /// When a `NICK` line cannot contain the nick or the password.
    pub fn nick(nick: &str, secret: &str) -> Result<Self, Refusal> {
        let verb = Verb::Nick;
        check(verb, [nick.as_bytes(), secret.as_bytes()])?;
        let bad_name = |why| Refusal::new(verb, Code::BadName, format!("{why}"));
        let nick = Nick::parse(nick).map_err(bad_name)?;
        let password = password(verb, secret)?.map(|secret| Cow::Owned(secret.to_owned()));
        Ok(Self::Nick { nick, password })
    }

    /// Returns the request to search a place.
    ///
    /// # Errors
    /// When a `SEARCH` line cannot contain the words.
    pub fn search(of: SearchOf, words: &str) -> Result<Self, Refusal> {
        let verb = Verb::Search;
        let name = match &of {
            SearchOf::Room(room) => room.as_str(),
            SearchOf::Current | SearchOf::All | SearchOf::Inbox => "*",
        };
        check(verb, [name.as_bytes(), words.as_bytes()])?;
        let words = clean(words);
        if words.split_whitespace().next().is_none() {
            return Err(bad_syntax(verb));
        }
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

    /// Returns the request to send a file to the nick `to`, or to the current room for `None`. A bad name is not refused
    /// here: as with an `UPLOAD` line, the server refuses it after it has received and dropped the bytes of the file.
    pub fn upload(
        name: &str,
        length: Option<u64>,
        sha256: Option<Digest>,
        to: Option<Nick>,
    ) -> Self {
        let verb = Verb::Upload;
        let bad_name = |why| Refusal::new(verb, Code::BadName, format!("{why}"));
        let name =
            check(verb, [name.as_bytes()]).and_then(|()| FileName::parse(name).map_err(bad_name));
        Self::Upload(UploadRequest {
            name,
            length,
            sha256,
            to: Ok(to),
            tags: SentTags::default(),
        })
    }
}

/// Checks that the texts of a request fit into one line and contain no NUL.
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

    /// Checks that the composed request is equal to the parsed line.
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
    fn a_composed_request_equals_its_parsed_line() {
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
                Request::search(SearchOf::Room(room()), words),
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
                check_same(
                    Ok(Request::upload(name, length, None, None)),
                    line.as_bytes(),
                );
            }
        }
    }

    #[test]
    fn every_text_that_fits_on_a_line_can_be_composed() {
        let fits = vec![b'x'; LINE_BYTES_MAX - "MSG ".len() - 1];
        assert!(Request::message(&fits).is_ok());
        let refused = Request::message(&[&fits[..], b"x"].concat());
        assert_eq!(refused, Err(Refusal::too_long()));
    }
}
