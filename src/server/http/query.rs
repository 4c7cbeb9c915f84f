//! The address of a request: the parts of its path, and its parameters.

use hyper::{HeaderMap, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::reply::Problem;
use crate::protocol::name::BadName;
use crate::protocol::tags::{SentTags, is_nonce};
use crate::protocol::text::clean;
use crate::protocol::{Code, Nick, RoomName, parse_number};

/// The decoded query of a URL.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a URL. It may contain only the parameters `known`, each of them once.
    ///
    /// # Errors
    /// 400 for a parameter that is unknown or given twice, because it would otherwise be ignored without notice.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| {
                    Problem::new(
                        StatusCode::BAD_REQUEST,
                        Code::NotUtf8,
                        "the address is not UTF-8",
                    )
                })
        };
        let pairs = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let pairs: Vec<(String, String)> = pairs.collect::<Result<_, Problem>>()?;
        for (n, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name = clean(name);
                return Err(bad(match known {
                    [] => format!("unknown parameter {name}; this address has no parameters"),
                    known => format!("unknown parameter {name}; known are {}", known.join(", ")),
                }));
            }
            if pairs.iter().take(n).any(|(before, _)| before == name) {
                return Err(bad(format!("{name} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// Returns whether a parameter is set. A parameter is set if it has no value, or if its value is a word for yes.
    pub fn is_on(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("0" | "false" | "no" | "off") => Ok(false),
            Some("" | "1" | "true" | "yes" | "on") => Ok(true),
            Some(_) => Err(bad(format!("{name} must be 1 or 0"))),
        }
    }

    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let wrong = || bad(format!("{name} is not a number"));
        parse_number(value).map(Some).ok_or_else(wrong)
    }
}

/// Returns the refusal of a request whose address cannot be parsed.
pub fn bad(text: impl AsRef<str>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::BadSyntax, text)
}

/// Decodes a part of a path. Refuses a part that contains a line ending.
pub fn decode(part: &str) -> Result<String, Problem> {
    let text = percent_decode_str(part).decode_utf8();
    let text = text.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::NotUtf8,
            "the address is not UTF-8",
        )
    })?;
    if text.contains(['\r', '\n', '\0']) {
        Err(bad("the address contains a line end"))
    } else {
        Ok(text.into_owned())
    }
}

/// Parses the name of a room in a part of a path, with or without its `#`.
pub fn room(part: &str) -> Result<RoomName, Problem> {
    RoomName::parse_loose(&decode(part)?).map_err(bad_name)
}

fn bad_name(e: BadName) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::BadName, e.to_string())
}

/// The part of a path that stands for the direct messages of the client's own nick, in the place of a room.
pub const INBOX: &str = "@";

/// Returns whether a part of a path stands for the direct messages of the client's own nick.
pub fn is_inbox(part: &str) -> bool {
    percent_decode_str(part).eq(INBOX.bytes())
}

/// The recipient of a file.
pub enum Recipient {
    Room(RoomName),
    Nick(Nick),
}

/// Parses the recipient of a file in a part of a path: a room with or without its `#`, or a nick after `@`.
pub fn recipient(part: &str) -> Result<Recipient, Problem> {
    let decoded = decode(part)?;
    let recipient = match decoded.strip_prefix(INBOX) {
        Some(nick) => Nick::parse(nick).map(Recipient::Nick),
        None => RoomName::parse_loose(&decoded).map(Recipient::Room),
    };
    recipient.map_err(bad_name)
}

/// Returns the tags of the message in a request: those in each `X-Chat-Tag` header, and `Idempotency-Key` as the
/// nonce.
///
/// # Errors
/// 400 if the tags are malformed.
pub fn tags(headers: &HeaderMap) -> Result<SentTags, Problem> {
    let mut tags: Vec<String> = Vec::new();
    for tag in headers.get_all("x-chat-tag") {
        let tag =
            std::str::from_utf8(tag.as_bytes()).map_err(|_| bad("X-Chat-Tag is not UTF-8"))?;
        tags.push(tag.trim().to_owned());
    }
    if let Some(key) = headers.get("idempotency-key") {
        let key = key.to_str().unwrap_or_default().trim();
        // According to the draft of this header, the value is in quotes. Few clients write the quotes.
        let key = key
            .strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key);
        if !is_nonce(key) {
            return Err(bad(
                "Idempotency-Key consists of 1 to 64 characters: A-Z, a-z, 0-9, -, _ and .",
            ));
        }
        tags.push(format!("nonce={key}"));
    }
    if tags.is_empty() {
        return Ok(SentTags::default());
    }
    SentTags::parse(&tags.join(";")).map_err(|why| bad(why.to_string()))
}
