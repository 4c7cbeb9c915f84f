//! Transcripts: written conversations, in `protocol.md` and in `tests/conformance/vectors`.
//!
//! This file parses them and compares what was received with what is expected; it knows no server. The
//! notation is described in `protocol.md`, "How to read the transcripts". See `run.rs` for playing one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use plainchat::protocol::{Time, parse_number};

/// One conversation. It begins with a new server.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The section and a number or a fact: `4.2/1`, `3.1/empty_lines_are_ignored`.
    pub id: String,
    pub file: String,
    /// The number of its first line in that file.
    pub line: usize,
    pub strength: Strength,
    /// The sentence that a vector quotes from its section.
    pub quote: String,
    pub settings: Vec<Setting>,
    pub steps: Vec<Step>,
}

/// The words of RFC 2119: what a server must do, and what it should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    Must,
    Should,
}

/// A line `with NAME VALUE`: a flag with which the server must be started. `fresh server` needs no flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    pub peer: String,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `alice> LINE`
    Send(Pattern),
    /// `alice> bytes "…"`
    SendBytes(Vec<u8>),
    /// `alice< LINE`
    Expect(Pattern),
    /// `alice< bytes "…"`
    ExpectBytes(Vec<u8>),
    /// `alice< pieces "…"`
    ExpectPieces(Vec<u8>),
    /// `alice< nothing`
    ExpectNothing,
    /// `alice. eof`
    Eof,
    /// `alice. gone`
    Gone,
    /// `alice! closed`
    Closed,
}

/// A line with placeholders for parts that are not known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Exactly(String),
    Any(Kind, Option<String>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Id,
    Time,
    Clock,
    Sha256,
    Word,
    Text,
}

/// The values of the named placeholders of one run.
pub type Captured = HashMap<String, String>;

impl Kind {
    /// Returns how many bytes at the beginning of `text` the placeholder matches.
    fn take(self, text: &str) -> Option<usize> {
        let run = |good: fn(char) -> bool| text.find(|c| !good(c)).unwrap_or(text.len());
        let end = match self {
            Self::Id => run(|c| c.is_ascii_digit()),
            Self::Time => 24.min(text.len()),
            Self::Clock => 5.min(text.len()),
            Self::Sha256 => run(|c| matches!(c, '0'..='9' | 'a'..='f')),
            Self::Word => run(|c| c != ' '),
            Self::Text => text.len(),
        };
        let taken = text.get(..end)?;
        let good = match self {
            Self::Id => parse_number(taken).is_some(),
            Self::Time => taken.len() == 24 && taken.ends_with('Z') && Time::parse(taken).is_some(),
            Self::Clock => matches!(taken.as_bytes(), [_, _, b':', _, _]),
            Self::Sha256 => taken.len() == 64,
            Self::Word | Self::Text => !taken.is_empty(),
        };
        good.then_some(end)
    }
}

impl Pattern {
    /// Parses a line. A `<` that begins no placeholder is an ordinary character.
    pub fn parse(line: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let placeholder = rest.strip_prefix('<').and_then(|inner| {
                let (inner, after) = inner.split_once('>')?;
                let (kind, name) = match inner.split_once(':') {
                    Some((kind, name)) => (kind, Some(name.to_owned())),
                    None => (inner, None),
                };
                let kind = match kind {
                    "id" => Kind::Id,
                    "time" => Kind::Time,
                    "clock" => Kind::Clock,
                    "sha256" => Kind::Sha256,
                    "server" | "word" => Kind::Word,
                    "text" => Kind::Text,
                    _ => return None,
                };
                Some((Piece::Any(kind, name), after))
            });
            if let Some((piece, after)) = placeholder {
                pieces.push(Piece::Exactly(std::mem::take(&mut plain)));
                pieces.push(piece);
                rest = after;
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        pieces.push(Piece::Exactly(plain));
        pieces.retain(|piece| *piece != Piece::Exactly(String::new()));
        Self(pieces)
    }

    /// Returns whether `line` fits, and adds the values of named placeholders to `captured`.
    pub fn matches(&self, line: &str, captured: &mut Captured) -> bool {
        let mut found = captured.clone();
        let mut rest = line;
        for piece in &self.0 {
            let end = match piece {
                Piece::Exactly(text) => rest.starts_with(text.as_str()).then_some(text.len()),
                Piece::Any(kind, _) => kind.take(rest),
            };
            let Some((taken, after)) = end.and_then(|end| rest.split_at_checked(end)) else {
                return false;
            };
            if let Piece::Any(_, Some(name)) = piece {
                let before = found.entry(name.clone()).or_insert_with(|| taken.into());
                if before != taken {
                    return false;
                }
            }
            rest = after;
        }
        if rest.is_empty() {
            *captured = found;
        }
        rest.is_empty()
    }

    /// Returns the line to send, with the placeholders filled in; the error names a placeholder without a
    /// value.
    pub fn fill(&self, captured: &Captured) -> Result<String, String> {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Exactly(text) => line.push_str(text),
                Piece::Any(_, Some(name)) => {
                    let known = captured.get(name);
                    line.push_str(known.ok_or_else(|| format!("<…:{name}> is not known yet"))?);
                }
                Piece::Any(kind, None) => return Err(format!("a {kind:?} without a name is sent")),
            }
        }
        Ok(line)
    }

    fn rename(&mut self, names: &Names<'_>) {
        for piece in &mut self.0 {
            if let Piece::Exactly(text) = piece {
                *text = String::from_utf8_lossy(&names.replace(text.as_bytes())).into_owned();
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Exactly(text) => f.write_str(text),
            Piece::Any(kind, None) => write!(f, "<{}>", format!("{kind:?}").to_lowercase()),
            Piece::Any(kind, Some(name)) => {
                write!(f, "<{}:{name}>", format!("{kind:?}").to_lowercase())
            }
        })
    }
}

impl Transcript {
    /// Parses the lines of one transcript; `first` is the number of the first line in `file`.
    ///
    /// # Errors
    /// Names the line that cannot be parsed.
    pub fn parse(id: &str, file: &str, first: usize, text: &str) -> Result<Self, String> {
        let mut transcript = Self {
            id: id.into(),
            file: file.into(),
            line: first,
            strength: Strength::Must,
            quote: String::new(),
            settings: Vec::new(),
            steps: Vec::new(),
        };
        for (n, line) in text.lines().enumerate() {
            let number = first + n;
            let wrong = |why: &str| format!("{file}:{number}: {why}: {line}");
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(quote) = line.strip_prefix("MUST ") {
                transcript.quote = quote.trim_matches('"').into();
            } else if let Some(quote) = line.strip_prefix("SHOULD ") {
                transcript.strength = Strength::Should;
                transcript.quote = quote.trim_matches('"').into();
            } else if let Some(setting) = line.strip_prefix("with ") {
                let pair = setting.split_once(' ');
                let (name, value) = pair.ok_or_else(|| wrong("a setting is a name and a value"))?;
                if matches!(name, "nicks" | "registered") {
                    for nick in value.split(' ') {
                        let steps = Step::arrive(number, nick, name == "registered");
                        transcript.steps.extend(steps);
                    }
                    continue;
                }
                if name == "irc" {
                    for nick in value.split(' ') {
                        transcript.steps.extend(Step::arrive_by_irc(number, nick));
                    }
                    continue;
                }
                transcript.settings.push(Setting {
                    name: name.into(),
                    value: value.into(),
                });
            } else {
                let step = Step::parse(number, line).map_err(|why| wrong(&why))?;
                transcript.steps.push(step);
            }
        }
        Ok(transcript)
    }

    /// Returns whether only one peer sends anything in this transcript.
    pub fn has_one_peer(&self) -> bool {
        self.steps.windows(2).all(|two| two[0].peer == two[1].peer)
    }

    /// Returns the same conversation with other names, for a server that has seen these names before. Every nick that
    /// is taken, and every room except the lobby, gets `suffix`. The suffix must consist of digits, because digits
    /// are valid with any script.
    pub fn renamed(mut self, suffix: &str) -> Self {
        let mut names = BTreeSet::new();
        for step in &self.steps {
            names.insert(step.peer.to_lowercase());
            let line = step.to_string();
            let (_, line) = line.split_once(' ').unwrap_or_default();
            let words: Vec<&str> = line.split([' ', '"', ':']).collect();
            let is_sent = matches!(step.action, Action::Send(_) | Action::SendBytes(_));
            for two in words.windows(2).filter(|_| is_sent) {
                let is_nick = two[0].trim_start_matches('/').eq_ignore_ascii_case("nick");
                names.extend(is_nick.then(|| two[1].to_lowercase()));
            }
            let rooms = words.iter().filter_map(|word| word.strip_prefix('#'));
            names.extend(rooms.map(str::to_lowercase));
        }
        // With the suffix, a name near the limit of 32 characters would be too long, and a name that begins with a
        // digit may be a number.
        names.retain(|name| {
            name.len() <= 20 && name.starts_with(char::is_alphabetic) && name != "lobby"
        });
        let names = Names { names, suffix };
        for step in &mut self.steps {
            match &mut step.action {
                Action::Send(pattern) | Action::Expect(pattern) => pattern.rename(&names),
                Action::SendBytes(bytes)
                | Action::ExpectBytes(bytes)
                | Action::ExpectPieces(bytes) => {
                    *bytes = names.replace(bytes);
                }
                _ => {}
            }
        }
        self
    }
}

/// What [`Transcript::renamed`] replaces.
struct Names<'a> {
    names: BTreeSet<String>,
    suffix: &'a str,
}

impl Names<'_> {
    /// Returns `text` with the suffix after every word that is one of the names.
    fn replace(&self, text: &[u8]) -> Vec<u8> {
        let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || *b >= 0x80;
        let mut out = Vec::with_capacity(text.len());
        for word in text.chunk_by(|a, b| in_name(a) == in_name(b)) {
            out.extend_from_slice(word);
            if self
                .names
                .contains(&String::from_utf8_lossy(word).to_lowercase())
            {
                out.extend_from_slice(self.suffix.as_bytes());
            }
        }
        out
    }
}

impl Step {
    /// Returns the steps with which a peer takes its nick, and registers it.
    fn arrive(line: usize, nick: &str, registers: bool) -> Vec<Self> {
        let mut lines = vec![(
            format!("NICK {nick}"),
            format!("OK NICK {nick} #lobby <id>"),
        )];
        if registers {
            lines.push(("REGISTER my secret".into(), format!("OK REGISTER {nick}")));
        }
        let step = |action| Self {
            line,
            peer: nick.into(),
            action,
        };
        let steps = lines.iter().flat_map(|(sent, received)| {
            [
                Action::Send(Pattern::parse(sent)),
                Action::Expect(Pattern::parse(received)),
            ]
            .map(step)
        });
        steps.collect()
    }

    /// Returns the steps with which an IRC client takes its nick and is welcomed.
    fn arrive_by_irc(line: usize, nick: &str) -> Vec<Self> {
        let caps = "server-time message-tags echo-message draft/message-redaction";
        let sent = [
            format!("CAP REQ :{caps}"),
            format!("NICK {nick}"),
            format!("USER {nick} 0 * :{nick}"),
            "CAP END".into(),
        ];
        let sent = sent.map(|line| Action::Send(Pattern::parse(&line)));
        let welcome = [
            "001", "002", "003", "004", "005", "005", "251", "254", "255", "265", "266", "375",
            "372", "372", "376", "221",
        ];
        let welcome = welcome.map(|number| format!(":<word> {number} {nick} <text>"));
        let received = [format!(":<word> CAP * ACK :{caps}")]
            .into_iter()
            .chain(welcome);
        let received = received.map(|line| Action::Expect(Pattern::parse(&line)));
        let steps = sent.into_iter().chain(received);
        let step = |action| Self {
            line,
            peer: nick.into(),
            action,
        };
        steps.map(step).collect()
    }

    fn parse(number: usize, line: &str) -> Result<Self, String> {
        let at = line
            .find(|c: char| !c.is_ascii_alphanumeric())
            .filter(|at| *at > 0)
            .ok_or("a step begins with the name of a peer")?;
        let (peer, rest) = line.split_at(at);
        let (mark, rest) = rest.split_at(1);
        let rest = match rest.strip_prefix(' ') {
            Some(rest) => rest,
            None if rest.is_empty() => "",
            None => return Err("a space stands after the mark".into()),
        };
        let raw = rest.strip_prefix("bytes \"").map(|_| &rest[6..]);
        let pieces = rest.strip_prefix("pieces \"").map(|_| &rest[7..]);
        let action = match (mark, rest, raw.or(pieces)) {
            ("<", _, Some(pieces)) if raw.is_none() => Action::ExpectPieces(unescape(pieces)?),
            (">", _, Some(_)) if raw.is_none() => return Err("nobody sends pieces".into()),
            (">", _, Some(raw)) => Action::SendBytes(unescape(raw)?),
            ("<", _, Some(raw)) => Action::ExpectBytes(unescape(raw)?),
            ("<", "nothing", _) => Action::ExpectNothing,
            (">", _, None) => Action::Send(Pattern::parse(rest)),
            ("<", _, None) => Action::Expect(Pattern::parse(rest)),
            (".", "eof", _) => Action::Eof,
            (".", "gone", _) => Action::Gone,
            ("!", "closed", _) => Action::Closed,
            _ => return Err("no such step".into()),
        };
        Ok(Self {
            line: number,
            peer: peer.into(),
            action,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.peer;
        match &self.action {
            Action::Send(pattern) => write!(f, "{peer}> {pattern}"),
            Action::SendBytes(bytes) => write!(f, "{peer}> bytes \"{}\"", shown(bytes)),
            Action::Expect(pattern) => write!(f, "{peer}< {pattern}"),
            Action::ExpectBytes(bytes) => write!(f, "{peer}< bytes \"{}\"", shown(bytes)),
            Action::ExpectPieces(bytes) => write!(f, "{peer}< pieces \"{}\"", shown(bytes)),
            Action::ExpectNothing => write!(f, "{peer}< nothing"),
            Action::Eof => write!(f, "{peer}. eof"),
            Action::Gone => write!(f, "{peer}. gone"),
            Action::Closed => write!(f, "{peer}! closed"),
        }
    }
}

/// Formats bytes for a person; a long run is shortened.
pub fn shown(bytes: &[u8]) -> String {
    let cut = |b: &[u8]| b.escape_ascii().to_string();
    match bytes.len() {
        0..=400 => cut(bytes),
        long => format!(
            "{}… ({long} bytes) …{}",
            cut(&bytes[..200]),
            cut(&bytes[long - 60..])
        ),
    }
}

/// Parses `"one\n" "x"*3 "two"`: quoted strings, each repeated as often as the number after `*` says.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let inner = rest.strip_prefix('"').ok_or("a quote is missing")?;
        let mut piece = Vec::new();
        let mut chars = inner.char_indices();
        let end = loop {
            match chars.next().ok_or("the closing quote is missing")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next().map(|(_, c)| c) {
                    Some('n') => piece.push(b'\n'),
                    Some('r') => piece.push(b'\r'),
                    Some('t') => piece.push(b'\t'),
                    Some('0') => piece.push(0),
                    Some(c @ ('"' | '\\')) => piece.push(c as u8),
                    Some('x') => {
                        let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                        let byte = u8::from_str_radix(&digits, 16);
                        piece.push(byte.map_err(|_| "\\x needs two hex digits")?);
                    }
                    _ => return Err("no such escape".into()),
                },
                (_, c) => piece.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        };
        rest = &inner[end + 1..];
        let mut times = 1;
        if let Some(after) = rest.strip_prefix('*') {
            let digits = after.find(' ').unwrap_or(after.len());
            times = after[..digits]
                .parse()
                .map_err(|_| "a number stands after *")?;
            rest = &after[digits..];
        }
        out.extend(piece.repeat(times));
        rest = rest.trim_start();
    }
    Ok(out)
}
