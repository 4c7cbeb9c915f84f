//! The requests of a client: each line that it sends parses to one [`Request`].
//!
//! Parsing borrows from the line. An invalid line never closes the connection: it becomes a [`Refusal`], which
//! formats as its `ERR` line. `session` decides whether a request is allowed at the moment.

use std::borrow::Cow;
use std::fmt;

use super::ban_target::BanTarget;
use super::commands::Verb;
use super::event::words;
use super::name::BadName;
use super::tags::{BadTags, SentTags};
use super::text::{clean, is_clean};
use super::{Code, Digest, EventId, FileName, Nick, RoomName, parse_number};

/// Returns whether `line` looks like a request: it begins with a verb in capitals or with a slash, or is blank. After
/// the bytes of an upload, this tells a request from more bytes of the file, which seldom look like a request.
pub fn looks_like_command(line: &[u8]) -> bool {
    match first_word(line) {
        None => line.iter().all(|b| *b == b' '),
        Some([b'/', ..]) => true,
        Some(word) => word.iter().all(u8::is_ascii_uppercase) && Verb::parse(word).is_some(),
    }
}

/// Returns the verb of a line. The beginning of the line is enough.
pub fn verb_of(line: &[u8]) -> Option<Verb> {
    first_word(line).and_then(Verb::parse)
}

/// Returns the first word of a line. If the line begins with tags, they are skipped.
fn first_word(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
    match words.next() {
        Some([b'@', ..]) => words.next(),
        word => word,
    }
}

/// A request of a client. Its text has already been cleaned (see [`super::text`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those in `protocol.md`
pub enum Request<'a> {
    Nick {
        nick: Nick,
        password: Option<Cow<'a, str>>,
    },
    /// `None` unregisters the nick.
    Register {
        password: Option<Cow<'a, str>>,
    },
    Token {
        label: Nick,
        /// An ssh public key that serves as the token; `None` to create a new token.
        key: Option<Cow<'a, str>>,
    },
    Tokens,
    Hook {
        label: Nick,
        room: RoomName,
    },
    Hooks,
    Revoke {
        label: Nick,
    },
    Pass {
        password: Cow<'a, str>,
    },
    Kick {
        nick: Nick,
        text: Cow<'a, str>,
    },
    Ban {
        target: BanTarget,
        /// The duration of the ban in seconds; `None` for a ban without end.
        lasts: Option<u64>,
        text: Cow<'a, str>,
    },
    Unban {
        target: BanTarget,
    },
    Bans,
    Note {
        text: Cow<'a, str>,
    },
    Shutdown {
        text: Cow<'a, str>,
    },
    Ignore {
        /// `None` lists the ignored nicks.
        nick: Option<Nick>,
    },
    Unignore {
        nick: Nick,
    },
    Mode {
        room: Option<RoomName>,
        /// `None` shows whether the room is invite-only.
        is_closed: Option<bool>,
    },
    Invite {
        room: Option<RoomName>,
        nick: Nick,
        is_moderator: bool,
    },
    Uninvite {
        room: Option<RoomName>,
        nick: Nick,
    },
    Invites {
        room: Option<RoomName>,
    },
    Msg {
        text: Cow<'a, str>,
        tags: SentTags,
    },
    Me {
        text: Cow<'a, str>,
        tags: SentTags,
    },
    Tell {
        to: Target,
        text: Cow<'a, str>,
        tags: SentTags,
    },
    Join {
        room: RoomName,
        from: JoinFrom,
    },
    Seen {
        room: RoomName,
        id: u64,
        /// The name of the reader; `None` for the reader that the connection named when it joined the room.
        reader: Option<Nick>,
    },
    Readers,
    Forget {
        room: RoomName,
        reader: Nick,
    },
    History {
        of: HistoryOf,
        count: Option<usize>,
        side: Side,
    },
    Search {
        of: SearchOf,
        words: Cow<'a, str>,
    },
    Part {
        room: Option<RoomName>,
    },
    Rooms {
        /// Whether to also list the rooms that the connection may not read.
        is_all: bool,
    },
    Who {
        room: Option<RoomName>,
    },
    Whois {
        nick: Nick,
    },
    /// An empty text means that the user is back.
    Away {
        text: Cow<'a, str>,
    },
    Mine,
    Topic {
        room: Option<RoomName>,
        text: Option<Cow<'a, str>>,
    },
    Text(TextRequest),
    Upload(UploadRequest),
    Download {
        file: EventId,
        offset: u64,
    },
    Files {
        of: FilesOf,
    },
    Remove {
        id: EventId,
    },
    /// Replaces the text of a message.
    Edit {
        id: EventId,
        text: Cow<'a, str>,
    },
    /// Adds a reaction to a message, or withdraws it.
    React {
        id: EventId,
        emoji: Cow<'a, str>,
        is_on: bool,
    },
    Reacts {
        id: EventId,
    },
    /// Deletes the account of a nick.
    RemoveAccount {
        nick: Nick,
    },
    /// Deletes a room with everything in it.
    RemoveRoom {
        room: RoomName,
    },
    Stamps {
        on: bool,
    },
    Tags {
        on: bool,
    },
    Stay,
    Chat,
    Raw,
    Ping {
        word: Cow<'a, str>,
    },
    Hello,
    Help {
        verb: Option<Verb>,
    },
    Bye {
        text: Cow<'a, str>,
    },
    Quit {
        text: Cow<'a, str>,
    },
}

/// The recipient of a `TELL`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Target {
    Room(RoomName),
    Nick(Nick),
}

impl Target {
    /// Returns the name. The name of a room has its `#`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Room(room) => room.as_str(),
            Self::Nick(nick) => nick.as_str(),
        }
    }
}

/// Where a search looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchOf {
    /// The current room.
    Current,
    /// The named room.
    Room(RoomName),
    /// Every room that the connection may read.
    All,
    /// The direct messages of the connection's own nick.
    Inbox,
}

/// The place whose files are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesOf {
    /// The current room.
    Current,
    /// The named room.
    Room(RoomName),
    /// The direct messages of the connection's own nick.
    Inbox,
}

/// The room or nick whose history is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HistoryOf {
    /// The history of the current room.
    Current,
    Room(RoomName),
    /// The direct messages that the requesting user exchanged with this nick.
    Nick(Nick),
}

/// The part of the history that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The newest events.
    Newest,
    /// The newest events before this id.
    Before(u64),
    /// The oldest events after this id.
    After(u64),
}

/// The position at which a `JOIN` starts to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinFrom {
    /// Only live events.
    Now,
    /// The events after this id; 0 means from the beginning.
    After(u64),
    /// The events after the stored position of this named reader.
    Reader(Nick),
}

/// The announcement of an upload. An invalid name is not a syntax error, because the server must still read the bytes
/// of the file that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRequest {
    /// The file's name, or the refusal of an invalid name.
    pub name: Result<FileName, Refusal>,
    /// The number of bytes that follow; `None` if they end with the client's input.
    pub length: Option<u64>,
    /// The digest that the contents must have.
    pub sha256: Option<Digest>,
    /// The nick that gets the file (`None` for the current room), or the refusal of an invalid nick.
    pub to: Result<Option<Nick>, Refusal>,
    /// The tags of the file's event.
    pub tags: SentTags,
}

/// The announcement of a text of several lines. An invalid recipient is not a syntax error, because the server must
/// still read the bytes of the text that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// The recipient (`None` for the current room), or the refusal of an invalid one.
    pub to: Result<Option<Target>, Refusal>,
    /// The number of bytes that follow.
    pub length: u64,
    /// The tags of the text.
    pub tags: SentTags,
}

/// The refusal of a request: the content of its `ERR` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The command; `None` if no verb could be read.
    pub verb: Option<Verb>,
    /// The reason for programs.
    pub code: Code,
    /// The reason for people.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// Returns a refusal of `verb`.
    pub fn new(verb: Verb, code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            verb: Some(verb),
            code,
            text: text.into(),
        }
    }

    /// Returns a refusal of a line in which no verb could be read.
    pub fn of_line(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            verb: None,
            code,
            text: text.into(),
        }
    }
}

impl Refusal {
    /// Returns a refusal of a line that is too long.
    pub fn too_long() -> Self {
        Self::of_line(
            Code::TooLong,
            "a line has at most 4096 bytes; send a longer text with TEXT or UPLOAD",
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb.map_or("-", Verb::word);
        write!(f, "ERR {verb} {} {}", self.code, self.text)
    }
}

impl<'a> Request<'a> {
    /// Parses a line without its line ending; returns `None` if it is empty.
    ///
    /// # Errors
    /// When the line is not a valid request. The refusal formats as the `ERR` line to send.
    pub fn parse(line: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let start = line.iter().position(|b| *b != b' ');
        let Some(line) = start.and_then(|at| line.get(at..)) else {
            return Ok(None);
        };
        let (tags, line) = split_tags(line);
        let (word, rest) = split_word(line);
        if word.contains(&0) {
            // The error names the verb in spite of the NUL: the caller must know that it is an `UPLOAD` or `TEXT`,
            // because an unknown number of bytes that are not lines then follow.
            let word: Vec<u8> = word.iter().copied().filter(|b| *b != 0).collect();
            return Err(Refusal {
                verb: Verb::parse(&word),
                code: Code::NotUtf8,
                text: HAS_NUL.into(),
            });
        }
        let Some(verb) = Verb::parse(word) else {
            return Err(Refusal::of_line(
                Code::UnknownVerb,
                "unknown command; HELP lists the commands, and CHAT lets you just type messages",
            ));
        };
        // A line that announces bytes is parsed even if it contains a NUL, because it says how many bytes follow.
        if !verb.has_bytes() && has_nul(rest) {
            return Err(Refusal::new(verb, Code::NotUtf8, HAS_NUL));
        }
        let tags = match tags.map(|tags| parse_tags(verb, tags)) {
            None => SentTags::default(),
            Some(Ok(tags)) => tags,
            Some(Err(refusal)) => return Fields::refused(verb, rest, refusal).map(Some),
        };
        let request = match std::str::from_utf8(rest) {
            Ok(rest) => Fields { verb, tags, rest }.request()?,
            Err(_) => {
                let refusal = Refusal::new(verb, Code::NotUtf8, "that line is not UTF-8");
                Fields::refused(verb, rest, refusal)?
            }
        };
        Ok(Some(request))
    }

    /// Returns the verb of the request.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Nick { .. } => Verb::Nick,
            Self::Register { .. } => Verb::Register,
            Self::Token { .. } => Verb::Token,
            Self::Tokens => Verb::Tokens,
            Self::Hook { .. } => Verb::Hook,
            Self::Hooks => Verb::Hooks,
            Self::Revoke { .. } => Verb::Revoke,
            Self::Pass { .. } => Verb::Pass,
            Self::Kick { .. } => Verb::Kick,
            Self::Ban { .. } => Verb::Ban,
            Self::Unban { .. } => Verb::Unban,
            Self::Bans => Verb::Bans,
            Self::Note { .. } => Verb::Note,
            Self::Shutdown { .. } => Verb::Shutdown,
            Self::Ignore { .. } => Verb::Ignore,
            Self::Unignore { .. } => Verb::Unignore,
            Self::Mode { .. } => Verb::Mode,
            Self::Invite { .. } => Verb::Invite,
            Self::Uninvite { .. } => Verb::Uninvite,
            Self::Invites { .. } => Verb::Invites,
            Self::Msg { .. } => Verb::Msg,
            Self::Me { .. } => Verb::Me,
            Self::Tell { .. } => Verb::Tell,
            Self::Join { .. } => Verb::Join,
            Self::Seen { .. } => Verb::Seen,
            Self::Readers => Verb::Readers,
            Self::Forget { .. } => Verb::Forget,
            Self::History { .. } => Verb::History,
            Self::Search { .. } => Verb::Search,
            Self::Part { .. } => Verb::Part,
            Self::Rooms { .. } => Verb::Rooms,
            Self::Who { .. } => Verb::Who,
            Self::Whois { .. } => Verb::Whois,
            Self::Away { .. } => Verb::Away,
            Self::Mine => Verb::Mine,
            Self::Topic { .. } => Verb::Topic,
            Self::Text(_) => Verb::Text,
            Self::Upload(_) => Verb::Upload,
            Self::Download { .. } => Verb::Download,
            Self::Files { .. } => Verb::Files,
            Self::Remove { .. } | Self::RemoveAccount { .. } | Self::RemoveRoom { .. } => {
                Verb::Remove
            }
            Self::Edit { .. } => Verb::Edit,
            Self::React { is_on: true, .. } => Verb::React,
            Self::React { is_on: false, .. } => Verb::Unreact,
            Self::Reacts { .. } => Verb::Reacts,
            Self::Stamps { .. } => Verb::Stamps,
            Self::Tags { .. } => Verb::Tags,
            Self::Stay => Verb::Stay,
            Self::Chat => Verb::Chat,
            Self::Raw => Verb::Raw,
            Self::Ping { .. } => Verb::Ping,
            Self::Hello => Verb::Hello,
            Self::Help { .. } => Verb::Help,
            Self::Bye { .. } => Verb::Bye,
            Self::Quit { .. } => Verb::Quit,
        }
    }
}

/// The error text for bytes that contain a NUL. In practice such a text is UTF-16.
pub const HAS_NUL: &str = "the text contains NUL bytes, as UTF-16 does; send UTF-8 (PowerShell: Out-File -Encoding utf8; elsewhere: iconv -f UTF-16 -t UTF-8)";

/// Returns whether `bytes` contain a NUL. A NUL after a CR does not count, because telnet sends CR NUL for a CR.
pub fn has_nul(bytes: &[u8]) -> bool {
    memchr::memchr_iter(0, bytes)
        .any(|at| at.checked_sub(1).and_then(|at| bytes.get(at)) != Some(&b'\r'))
}

/// Returns the first word of `line`, and what follows the space after it.
fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.get(1..).unwrap_or_default())
}

/// Splits a line into its tags, without the `@`, and the rest.
fn split_tags(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(tagged) = line.strip_prefix(b"@") else {
        return (None, line);
    };
    let (tags, mut rest) = split_word(tagged);
    while let Some(after) = rest.strip_prefix(b" ") {
        rest = after;
    }
    (Some(tags), rest)
}

fn parse_tags(verb: Verb, tags: &[u8]) -> Result<SentTags, Refusal> {
    if !verb.takes_tags() {
        let text = "tags are for messages and files";
        return Err(Refusal::new(verb, Code::BadSyntax, text));
    }
    let tags = std::str::from_utf8(tags)
        .map_err(|_| Refusal::new(verb, Code::NotUtf8, "the tags are not UTF-8"))?;
    let bad = |e: BadTags| Refusal::new(verb, Code::BadSyntax, e.to_string());
    SentTags::parse(tags).map_err(bad)
}

/// The unparsed rest of a line: words separated by spaces, and then text.
struct Fields<'a> {
    verb: Verb,
    tags: SentTags,
    rest: &'a str,
}

/// Stands for the direct messages of the client's own nick, and before a nick that gets a file.
const INBOX: &str = "@";

impl<'a> Fields<'a> {
    /// Returns the refusal of a line. If bytes follow the line, returns instead the request with the refusal in it,
    /// because the request says how many bytes follow.
    fn refused(verb: Verb, rest: &[u8], refusal: Refusal) -> Result<Request<'static>, Refusal> {
        let lossy = String::from_utf8_lossy(rest);
        let mut fields = Fields {
            verb,
            tags: SentTags::default(),
            rest: &lossy,
        };
        match verb {
            Verb::Upload => {
                let upload = fields.upload()?;
                Ok(Request::Upload(UploadRequest {
                    to: upload.to.map_err(|_| refusal.clone()),
                    name: Err(refusal),
                    ..upload
                }))
            }
            Verb::Text => Ok(Request::Text(TextRequest {
                to: Err(refusal),
                ..fields.multiline()?
            })),
            _ => Err(refusal),
        }
    }

    fn request(&mut self) -> Result<Request<'a>, Refusal> {
        let request = match self.verb {
            Verb::Nick => {
                let nick = self.need_word()?;
                let nick = Nick::parse(nick).map_err(|e| self.bad_name(e))?;
                Request::Nick {
                    nick,
                    password: self.password()?,
                }
            }
            Verb::Register => match self.password()? {
                None => return Err(self.bad()),
                Some(password) => Request::Register {
                    password: (password != "-").then_some(password),
                },
            },
            Verb::Token => {
                let label = self.label()?;
                let key = self.rest_as_text();
                Request::Token {
                    label,
                    key: (!key.trim().is_empty()).then_some(key),
                }
            }
            Verb::Tokens => Request::Tokens,
            Verb::Hook => {
                let label = self.label()?;
                let room = self.need_word()?;
                let room = RoomName::parse_loose(room).map_err(|e| self.bad_name(e))?;
                Request::Hook { label, room }
            }
            Verb::Hooks => Request::Hooks,
            Verb::Revoke => Request::Revoke {
                label: self.label()?,
            },
            Verb::Pass => Request::Pass {
                password: self.password()?.ok_or_else(|| self.bad())?,
            },
            Verb::Kick => {
                let nick = Nick::parse(self.need_word()?).map_err(|e| self.bad_name(e))?;
                let text = self.rest_as_text();
                Request::Kick { nick, text }
            }
            Verb::Ban => {
                let target = self.target()?;
                let rest = self.rest;
                let word = self.word().unwrap_or_default();
                let lasts = parse_lasts(word);
                // `-` means that the ban has no end, as in the list of bans. With it, the reason may begin with any
                // word.
                if lasts.is_none() && word != "-" {
                    // A word that begins with a digit is probably a mistyped duration. If it counted as part of the
                    // reason, the ban would never end.
                    if word.starts_with(|c: char| c.is_ascii_digit()) {
                        let text = format!(
                            "{word} is not a duration; write 90s, 30m, 12h or 7d, or - before a reason that begins with a digit"
                        );
                        let text = clean(&text).into_owned();
                        return Err(Refusal::new(self.verb, Code::BadSyntax, text));
                    }
                    self.rest = rest;
                }
                let text = self.rest_as_text();
                Request::Ban {
                    target,
                    lasts,
                    text,
                }
            }
            Verb::Unban => Request::Unban {
                target: self.target()?,
            },
            Verb::Bans => Request::Bans,
            Verb::Note => Request::Note { text: self.text()? },
            Verb::Shutdown => Request::Shutdown {
                text: self.rest_as_text(),
            },
            Verb::Ignore => {
                let nick = self.word().map(Nick::parse).transpose();
                let nick = nick.map_err(|e| self.bad_name(e))?;
                Request::Ignore { nick }
            }
            Verb::Unignore => Request::Unignore {
                nick: self.label()?,
            },
            Verb::Mode => {
                let room = self.room_if_marked()?;
                let is_closed = match self.word() {
                    None => None,
                    Some("open") => Some(false),
                    Some("invite") => Some(true),
                    Some(_) => return Err(self.bad()),
                };
                Request::Mode { room, is_closed }
            }
            Verb::Invite => {
                let room = self.room_if_marked()?;
                let nick = Nick::parse(self.need_word()?).map_err(|e| self.bad_name(e))?;
                let is_moderator = match self.word() {
                    None => false,
                    Some("keeper") => true,
                    Some(_) => return Err(self.bad()),
                };
                Request::Invite {
                    room,
                    nick,
                    is_moderator,
                }
            }
            Verb::Uninvite => {
                let room = self.room_if_marked()?;
                let nick = Nick::parse(self.need_word()?).map_err(|e| self.bad_name(e))?;
                Request::Uninvite { room, nick }
            }
            Verb::Invites => Request::Invites { room: self.room()? },
            Verb::Msg => Request::Msg {
                text: self.text()?,
                tags: std::mem::take(&mut self.tags),
            },
            Verb::Me => Request::Me {
                text: self.text()?,
                tags: std::mem::take(&mut self.tags),
            },
            Verb::Tell => {
                let to = self.need_word()?;
                Request::Tell {
                    to: self.receiver(to)?,
                    text: self.text()?,
                    tags: std::mem::take(&mut self.tags),
                }
            }
            Verb::Join => {
                let room = self.need_word()?;
                let room = RoomName::parse_loose(room).map_err(|e| self.bad_name(e))?;
                let from = match self.word() {
                    None => JoinFrom::Now,
                    Some(word) if word.eq_ignore_ascii_case("AS") => {
                        JoinFrom::Reader(self.reader()?)
                    }
                    Some(id) => JoinFrom::After(parse_number(id).ok_or_else(|| self.bad())?),
                };
                Request::Join { room, from }
            }
            Verb::Seen => {
                let room = self.need_word()?;
                let room = RoomName::parse_loose(room).map_err(|e| self.bad_name(e))?;
                let id = parse_number(self.need_word()?).ok_or_else(|| self.bad())?;
                let reader = match self.word() {
                    None => None,
                    Some(word) if word.eq_ignore_ascii_case("AS") => Some(self.reader()?),
                    Some(_) => return Err(self.bad()),
                };
                Request::Seen { room, id, reader }
            }
            Verb::Readers => Request::Readers,
            Verb::Forget => {
                let room = self.need_word()?;
                let room = RoomName::parse_loose(room).map_err(|e| self.bad_name(e))?;
                let reader = self.reader()?;
                Request::Forget { room, reader }
            }
            Verb::History => self.history()?,
            Verb::Search => {
                let of = self.search_of()?;
                let words = self.text()?;
                if words.split_whitespace().next().is_none() {
                    return Err(self.bad());
                }
                Request::Search { of, words }
            }
            Verb::Part => Request::Part { room: self.room()? },
            Verb::Who => Request::Who { room: self.room()? },
            Verb::Whois => Request::Whois {
                nick: self.label()?,
            },
            Verb::Away => Request::Away {
                text: self.rest_as_text(),
            },
            Verb::Mine => Request::Mine,
            Verb::Files => Request::Files {
                of: self.files_of()?,
            },
            Verb::Topic => {
                let room = self.room_before_text()?;
                let text = (!self.rest.trim_matches(' ').is_empty()).then(|| self.text());
                Request::Topic {
                    room,
                    text: text.transpose()?,
                }
            }
            Verb::Upload => Request::Upload(self.upload()?),
            Verb::Text => Request::Text(self.multiline()?),
            Verb::Download => {
                let file = self.id()?;
                let offset = match self.word() {
                    None => 0,
                    Some(digits) => parse_number(digits).ok_or_else(|| self.bad())?,
                };
                Request::Download { file, offset }
            }
            Verb::Remove => {
                let word = self.need_word()?;
                // A nick never begins with a digit.
                if word.starts_with(|c: char| c.is_ascii_digit()) {
                    let id = EventId::parse(word).ok_or_else(|| self.bad())?;
                    Request::Remove { id }
                } else if word.starts_with('#') {
                    let room = RoomName::parse(word).map_err(|_| self.bad())?;
                    Request::RemoveRoom { room }
                } else {
                    let nick = Nick::parse(word).map_err(|_| self.bad())?;
                    Request::RemoveAccount { nick }
                }
            }
            Verb::Edit => Request::Edit {
                id: self.id()?,
                text: self.text()?,
            },
            Verb::React | Verb::Unreact => Request::React {
                id: self.id()?,
                emoji: clean(self.need_word()?),
                is_on: self.verb == Verb::React,
            },
            Verb::Reacts => Request::Reacts { id: self.id()? },
            Verb::Stamps => Request::Stamps { on: self.on()? },
            Verb::Tags => Request::Tags { on: self.on()? },
            Verb::Ping => Request::Ping {
                word: clean(self.word().unwrap_or_default()),
            },
            Verb::Help => match self.word() {
                None => Request::Help { verb: None },
                Some(word) => {
                    let word = word.trim_start_matches('/').to_ascii_uppercase();
                    let verb = Verb::parse(word.as_bytes());
                    let none = || {
                        Refusal::new(
                            self.verb,
                            Code::UnknownVerb,
                            "unknown command; HELP lists the commands",
                        )
                    };
                    Request::Help {
                        verb: Some(verb.ok_or_else(none)?),
                    }
                }
            },
            Verb::Bye => Request::Bye {
                text: self.rest_as_text(),
            },
            Verb::Quit => Request::Quit {
                text: self.rest_as_text(),
            },
            Verb::Rooms => match self.word() {
                None => Request::Rooms { is_all: false },
                Some("all") => Request::Rooms { is_all: true },
                Some(_) => return Err(self.bad()),
            },
            Verb::Stay => Request::Stay,
            Verb::Chat => Request::Chat,
            Verb::Raw => Request::Raw,
            Verb::Hello => {
                // A person may type `hello` and more words.
                self.rest = "";
                Request::Hello
            }
        };
        match self.word() {
            None => Ok(request),
            Some(_) => Err(self.bad()),
        }
    }

    /// Parses the name of a reader.
    fn reader(&mut self) -> Result<Nick, Refusal> {
        Nick::parse(self.need_word()?).map_err(|e| self.bad_name(e))
    }

    /// Parses `<name> <length> [<sha256>] [@<nick>]`, beginning at the end, because the name may contain spaces.
    fn upload(&mut self) -> Result<UploadRequest, Refusal> {
        let (before, last) = last_word(std::mem::take(&mut self.rest));
        let (before, last, to) = match last.strip_prefix(INBOX) {
            Some(nick) => {
                let (before, last) = last_word(before);
                (before, last, Some(nick))
            }
            None => (before, last, None),
        };
        let (before, length, sha256) = match Digest::parse(last) {
            Some(digest) => {
                let (before, length) = last_word(before);
                (before, length, Some(digest))
            }
            None => (before, last, None),
        };
        let length = match length {
            "*" => None,
            digits => Some(parse_number(digits).ok_or_else(|| {
                Refusal::new(
                    self.verb,
                    Code::BadSyntax,
                    "the length must be a number, which tells the server where the file ends: UPLOAD <name> <length> [<sha256>] [@<nick>]",
                )
            })?),
        };
        let to = to.map(Nick::parse).transpose();
        let to = to.map_err(|e| self.bad_name(e));
        let mut name = FileName::parse(before).map_err(|e| self.bad_name(e));
        if length.is_none() && self.tags.nonce().is_some() {
            // Without a length, the file is announced before its end arrives, so the server could not tell whether a
            // second upload with the same nonce is the same file.
            let text =
                "an upload with a nonce must give the length of the file: UPLOAD <name> <length>";
            name = Err(Refusal::new(self.verb, Code::BadSyntax, text));
        }
        Ok(UploadRequest {
            name,
            length,
            sha256,
            to,
            tags: std::mem::take(&mut self.tags),
        })
    }

    /// Parses `<bytes> [<room or nick>]`.
    fn multiline(&mut self) -> Result<TextRequest, Refusal> {
        let length = self.word().and_then(parse_number).ok_or_else(|| {
            Refusal::new(
                self.verb,
                Code::BadSyntax,
                "the number of bytes must come first, and tells the server where the text ends: TEXT <bytes> [<room or nick>]",
            )
        })?;
        let to = match (self.word(), self.word()) {
            (None, _) => Ok(None),
            (Some(to), None) => self.receiver(to).map(Some),
            (Some(_), Some(_)) => {
                self.rest = "";
                Err(self.bad())
            }
        };
        Ok(TextRequest {
            to,
            length,
            tags: std::mem::take(&mut self.tags),
        })
    }

    /// Parses the recipient of a message: a room or a nick.
    fn receiver(&self, to: &str) -> Result<Target, Refusal> {
        let to = if to.starts_with('#') {
            RoomName::parse(to).map(Target::Room)
        } else {
            Nick::parse(to).map(Target::Nick)
        };
        to.map_err(|e| self.bad_name(e))
    }

    fn on(&mut self) -> Result<bool, Refusal> {
        match self.word() {
            Some("on" | "ON") => Ok(true),
            Some("off" | "OFF") => Ok(false),
            _ => Err(self.bad()),
        }
    }

    /// Parses the first word if it is a room.
    fn room_before_text(&mut self) -> Result<Option<RoomName>, Refusal> {
        if !self.rest.starts_with('#') {
            return Ok(None);
        }
        let (word, after) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = after;
        let room = RoomName::parse(word).map_err(|e| self.bad_name(e))?;
        Ok(Some(room))
    }

    /// Parses the first word if it says where to search: a room such as `#ops`, `*` for all rooms, or `@` for the
    /// direct messages.
    fn search_of(&mut self) -> Result<SearchOf, Refusal> {
        for (mark, of) in [("* ", SearchOf::All), ("@ ", SearchOf::Inbox)] {
            if let Some(after) = self.rest.strip_prefix(mark) {
                self.rest = after;
                return Ok(of);
            }
        }
        let room = self.room_before_text()?;
        Ok(room.map_or(SearchOf::Current, SearchOf::Room))
    }

    /// Parses the room whose files are listed, or `@` for the direct messages.
    fn files_of(&mut self) -> Result<FilesOf, Refusal> {
        let after = self.rest.trim_matches(' ').strip_prefix(INBOX);
        if after == Some("") {
            self.rest = "";
            return Ok(FilesOf::Inbox);
        }
        let room = self.room()?;
        Ok(room.map_or(FilesOf::Current, FilesOf::Room))
    }

    /// Parses the next word if it begins with `#`.
    fn room_if_marked(&mut self) -> Result<Option<RoomName>, Refusal> {
        self.rest = self.rest.trim_start_matches(' ');
        self.room_before_text()
    }

    /// Parses `[<room or nick>] [<count>] [before <id> | after <id>]`.
    fn history(&mut self) -> Result<Request<'a>, Refusal> {
        let is_before = |word: &str| word.eq_ignore_ascii_case("before");
        let is_after = |word: &str| word.eq_ignore_ascii_case("after");
        let is_side = |word: &str| is_before(word) || is_after(word);
        let mut of = HistoryOf::Current;
        let mut word = self.word();
        if let Some(name) = word
            && name.starts_with('#')
        {
            of = HistoryOf::Room(RoomName::parse(name).map_err(|e| self.bad_name(e))?);
            word = self.word();
        } else if let Some(name) = word
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !is_side(name)
        {
            of = HistoryOf::Nick(Nick::parse(name).map_err(|e| self.bad_name(e))?);
            word = self.word();
        }
        let mut count = None;
        if let Some(digits) = word.filter(|word| !is_side(word)) {
            let number = parse_number(digits).and_then(|n| usize::try_from(n).ok());
            count = Some(number.ok_or_else(|| self.bad())?);
            word = self.word();
        }
        let mut id = || parse_number(self.need_word()?).ok_or_else(|| self.bad());
        let side = match word {
            None => Side::Newest,
            Some(word) if is_before(word) => Side::Before(id()?),
            Some(word) if is_after(word) => Side::After(id()?),
            Some(_) => return Err(self.bad()),
        };
        Ok(Request::History { of, count, side })
    }

    /// Returns the next word, skipping any spaces before it.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start_matches(' ');
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn need_word(&mut self) -> Result<&'a str, Refusal> {
        self.word().ok_or_else(|| self.bad())
    }

    fn room(&mut self) -> Result<Option<RoomName>, Refusal> {
        let room = self.word().map(RoomName::parse_loose).transpose();
        room.map_err(|e| self.bad_name(e))
    }

    fn label(&mut self) -> Result<Nick, Refusal> {
        Nick::parse(self.need_word()?).map_err(|e| self.bad_name(e))
    }

    fn target(&mut self) -> Result<BanTarget, Refusal> {
        BanTarget::parse(self.need_word()?).map_err(|e| self.bad_name(e))
    }

    fn id(&mut self) -> Result<EventId, Refusal> {
        let word = self.need_word()?;
        EventId::parse(word).ok_or_else(|| self.bad())
    }

    /// Returns the rest as text, which must not be empty.
    fn text(&mut self) -> Result<Cow<'a, str>, Refusal> {
        let text = self.rest_as_text();
        if text.is_empty() {
            Err(self.bad())
        } else {
            Ok(text)
        }
    }

    fn rest_as_text(&mut self) -> Cow<'a, str> {
        clean(std::mem::take(&mut self.rest))
    }

    fn password(&mut self) -> Result<Option<Cow<'a, str>>, Refusal> {
        let password = password(self.verb, std::mem::take(&mut self.rest))?;
        Ok(password.map(Cow::Borrowed))
    }

    fn bad(&self) -> Refusal {
        bad_syntax(self.verb)
    }

    fn bad_name(&self, why: BadName) -> Refusal {
        Refusal::new(self.verb, Code::BadName, why.to_string())
    }
}

/// Returns the password that `text` contains; `None` if it is blank.
pub(super) fn password(verb: Verb, text: &str) -> Result<Option<&str>, Refusal> {
    if !is_clean(text) {
        let why = "a password cannot contain control characters";
        return Err(Refusal::new(verb, Code::BadPassword, why));
    }
    let is_blank = text.trim_matches(' ').is_empty();
    Ok((!is_blank).then_some(text))
}

/// Returns the refusal of a request that does not match its usage.
pub(super) fn bad_syntax(verb: Verb) -> Refusal {
    Refusal::new(verb, Code::BadSyntax, format!("write it {}", verb.usage()))
}

/// Parses a duration such as `90s`, `30m`, `12h` or `7d`; returns it in seconds.
fn parse_lasts(word: &str) -> Option<u64> {
    let unit = match word.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number = parse_number(word.get(..word.len() - 1)?)?;
    number.checked_mul(unit)
}

/// Returns the text before its last word, and the last word.
fn last_word(text: &str) -> (&str, &str) {
    let text = text.trim_end_matches(' ');
    text.rsplit_once(' ').unwrap_or(("", text))
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        let verb = self.verb().word();
        let mut write = |fields: &[&str]| words(&mut line, fields);
        let name =
            |room: &Option<RoomName>| room.as_ref().map_or(String::new(), RoomName::to_string);
        match self {
            Self::Nick { nick, password } => {
                write(&[verb, nick.as_str(), password.as_deref().unwrap_or_default()]);
            }
            Self::Register { password } => write(&[verb, password.as_deref().unwrap_or("-")]),
            Self::Token { label, key } => {
                write(&[verb, label.as_str(), key.as_deref().unwrap_or_default()]);
            }
            Self::Revoke { label } => write(&[verb, label.as_str()]),
            Self::Hook { label, room } => write(&[verb, label.as_str(), room.as_str()]),
            Self::Pass { password } => write(&[verb, password]),
            Self::Kick { nick, text } => write(&[verb, nick.as_str(), text]),
            Self::Ban {
                target,
                lasts,
                text,
            } => {
                let needs_mark = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                let lasts = match lasts {
                    Some(seconds) => format!("{seconds}s"),
                    None if needs_mark => "-".to_owned(),
                    None => String::new(),
                };
                let fields = [verb, &target.to_string(), &lasts, text];
                let fields: Vec<&str> = fields.into_iter().filter(|f| !f.is_empty()).collect();
                write(&fields);
            }
            Self::Unban { target } => write(&[verb, &target.to_string()]),
            Self::Note { text } | Self::Shutdown { text } => write(&[verb, text]),
            Self::Ignore { nick } => write(&[verb, nick.as_ref().map_or("", Nick::as_str)]),
            Self::Unignore { nick } => write(&[verb, nick.as_str()]),
            Self::Mode { room, is_closed } => {
                let mode = match is_closed {
                    None => "",
                    Some(true) => "invite",
                    Some(false) => "open",
                };
                let fields = [verb, &name(room), mode];
                let fields: Vec<&str> = fields.into_iter().filter(|f| !f.is_empty()).collect();
                write(&fields);
            }
            Self::Invite {
                room,
                nick,
                is_moderator,
            } => {
                let keeper = if *is_moderator { "keeper" } else { "" };
                let fields = [verb, &name(room), nick.as_str(), keeper];
                let fields: Vec<&str> = fields.into_iter().filter(|f| !f.is_empty()).collect();
                write(&fields);
            }
            Self::Uninvite { room, nick } => {
                let fields = [verb, &name(room), nick.as_str()];
                let fields: Vec<&str> = fields.into_iter().filter(|f| !f.is_empty()).collect();
                write(&fields);
            }
            Self::Msg { text, .. } | Self::Me { text, .. } => write(&[verb, text]),
            Self::Tell { to, text, .. } => write(&[verb, to.as_str(), text]),
            Self::Join { room, from } => match from {
                JoinFrom::Now => write(&[verb, room.as_str()]),
                JoinFrom::After(id) => write(&[verb, room.as_str(), &id.to_string()]),
                JoinFrom::Reader(reader) => write(&[verb, room.as_str(), "AS", reader.as_str()]),
            },
            Self::Seen { room, id, reader } => {
                let id = id.to_string();
                match reader {
                    None => write(&[verb, room.as_str(), &id]),
                    Some(reader) => write(&[verb, room.as_str(), &id, "AS", reader.as_str()]),
                }
            }
            Self::Forget { room, reader } => write(&[verb, room.as_str(), reader.as_str()]),
            Self::Search { of, words } => match of {
                SearchOf::Current => write(&[verb, words]),
                SearchOf::Room(room) => write(&[verb, room.as_str(), words]),
                SearchOf::All => write(&[verb, "*", words]),
                SearchOf::Inbox => write(&[verb, INBOX, words]),
            },
            Self::History { of, count, side } => {
                let of = match of {
                    HistoryOf::Current => None,
                    HistoryOf::Room(room) => Some(room.to_string()),
                    HistoryOf::Nick(nick) => Some(nick.to_string()),
                };
                let side = match side {
                    Side::Newest => None,
                    Side::Before(id) => Some(format!("before {id}")),
                    Side::After(id) => Some(format!("after {id}")),
                };
                let count = count.map(|count| count.to_string());
                let fields: Vec<String> = [of, count, side].into_iter().flatten().collect();
                write(&[verb, &fields.join(" ")]);
            }
            Self::Part { room } | Self::Who { room } | Self::Invites { room } => {
                write(&[verb, &name(room)])
            }
            Self::Files { of } => match of {
                FilesOf::Current => write(&[verb]),
                FilesOf::Room(room) => write(&[verb, room.as_str()]),
                FilesOf::Inbox => write(&[verb, INBOX]),
            },
            Self::Topic {
                room: Some(room),
                text,
            } => {
                write(&[verb, room.as_str(), text.as_deref().unwrap_or_default()]);
            }
            Self::Topic { room: None, text } => write(&[verb, text.as_deref().unwrap_or_default()]),
            Self::Text(text) => {
                let to = text.to.as_ref();
                let to = to.map_or("?", |to| to.as_ref().map_or("", Target::as_str));
                write(&[verb, &text.length.to_string(), to]);
            }
            Self::Upload(upload) => {
                let name = upload.name.as_ref().map_or("?", FileName::as_str);
                let length = upload.length.map_or_else(|| "*".into(), |n| n.to_string());
                let sha256 = upload.sha256.map(|digest| digest.to_string());
                let to = match &upload.to {
                    Ok(to) => to.as_ref().map(|to| format!("{INBOX}{to}")),
                    Err(_) => Some(format!("{INBOX}?")),
                };
                let rest: Vec<String> = sha256.into_iter().chain(to).collect();
                write(&[verb, name, &length, &rest.join(" ")]);
            }
            Self::Download { file, offset: 0 } => write(&[verb, &file.to_string()]),
            Self::Download { file, offset } => {
                write(&[verb, &file.to_string(), &offset.to_string()])
            }
            Self::Remove { id } | Self::Reacts { id } => write(&[verb, &id.to_string()]),
            Self::Edit { id, text } => write(&[verb, &id.to_string(), text]),
            Self::React { id, emoji, .. } => write(&[verb, &id.to_string(), emoji]),
            Self::RemoveAccount { nick } | Self::Whois { nick } => write(&[verb, nick.as_str()]),
            Self::RemoveRoom { room } => write(&[verb, room.as_str()]),
            Self::Rooms { is_all } => write(&[verb, if *is_all { "all" } else { "" }]),
            Self::Stamps { on } | Self::Tags { on } => {
                write(&[verb, if *on { "on" } else { "off" }])
            }
            Self::Ping { word } => write(&[verb, word]),
            Self::Help { verb: of } => write(&[verb, of.map_or("", Verb::word)]),
            Self::Bye { text } | Self::Quit { text } | Self::Away { text } => {
                write(&[verb, text]);
            }
            Self::Bans
            | Self::Tokens
            | Self::Hooks
            | Self::Mine
            | Self::Stay
            | Self::Chat
            | Self::Raw
            | Self::Readers
            | Self::Hello => write(&[verb]),
        }
        match self {
            Self::Msg { tags, .. }
            | Self::Me { tags, .. }
            | Self::Tell { tags, .. }
            | Self::Text(TextRequest { tags, .. })
            | Self::Upload(UploadRequest { tags, .. })
                if !tags.is_empty() =>
            {
                write!(f, "@{tags} ")?;
            }
            _ => {}
        }
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what `line` parses to. `expected` is the request as a line, or its refusal.
    fn check(line: &str, expected: &str) {
        let read = match Request::parse(line.as_bytes()) {
            Ok(None) => "(empty)".to_owned(),
            Ok(Some(request)) => request.to_string(),
            Err(refusal) => {
                let verb = refusal.verb.map_or("-", Verb::word);
                format!("{verb} {}", refusal.code)
            }
        };
        assert_eq!(read, expected, "of {line:?}");
    }

    #[test]
    fn a_well_formed_request_is_written_back_unchanged() {
        for line in [
            "NICK bob",
            "NICK bob my secret",
            "IGNORE",
            "IGNORE bob",
            "UNIGNORE bob",
            "MODE",
            "MODE #ops",
            "MODE #ops invite",
            "MODE open",
            "INVITE bob",
            "INVITE #ops bob",
            "INVITE #ops bob keeper",
            "UNINVITE bob",
            "UNINVITE #ops bob",
            "INVITES",
            "INVITES #ops",
            "PASS my secret",
            "KICK bob",
            "KICK bob enough of that",
            "BAN bob",
            "BAN bob 60s",
            "BAN 192.0.2.0/24 60s enough of that",
            "BAN ::1 enough of that",
            "UNBAN 2001:db8::/32",
            "BANS",
            "NOTE tea is ready",
            "SHUTDOWN",
            "SHUTDOWN back at six",
            "REGISTER my secret",
            "REGISTER -",
            "TOKEN ci",
            "TOKEN ci ssh-ed25519 AAAA ann@laptop",
            "TOKENS",
            "HOOK ci #ops",
            "HOOKS",
            "REVOKE ci",
            "MSG hello",
            "MSG  two  spaces ",
            "ME waves",
            "TELL #ops done",
            "TELL bob psst",
            "JOIN #ops",
            "JOIN #ops 17",
            "JOIN #ops 0",
            "JOIN #ops AS hourly",
            "SEEN #ops 17",
            "SEEN #ops 17 AS me",
            "READERS",
            "FORGET #ops hourly",
            "HISTORY",
            "HISTORY #ops",
            "HISTORY #ops 10 before 17",
            "HISTORY 10",
            "HISTORY after 0",
            "HISTORY bob 5 after 17",
            "SEARCH on time",
            "SEARCH #ops on time",
            "PART",
            "PART #ops",
            "ROOMS",
            "ROOMS all",
            "WHO",
            "WHO #ops",
            "TOPIC",
            "TOPIC #ops",
            "TOPIC on time",
            "TOPIC #ops on time",
            "TOPIC -",
            "UPLOAD a.txt 5",
            "UPLOAD a.txt *",
            "UPLOAD my notes.txt 5",
            "UPLOAD my notes.txt 5 @bob",
            "UPLOAD @types * @bob",
            "UPLOAD a 5 0000000000000000000000000000000000000000000000000000000000000000 @bob",
            "UPLOAD a 5 0000000000000000000000000000000000000000000000000000000000000000",
            "DOWNLOAD 17",
            "DOWNLOAD 17 5",
            "FILES",
            "FILES #ops",
            "FILES @",
            "REMOVE 17",
            "REMOVE bob",
            "REMOVE #ops",
            "STAMPS on",
            "STAMPS off",
            "EDIT 17 better words",
            "REACT 17 👍",
            "UNREACT 17 👍",
            "REACTS 17",
            "TAGS on",
            "@reply=17;x-severity=very%20high MSG disk full",
            "@notice ME waves",
            "@x-a;nonce=a.b TELL bob psst",
            "@reply=1 UPLOAD a 5",
            "STAY",
            "CHAT",
            "RAW",
            "PING",
            "PING x",
            "HELLO",
            "HELP",
            "HELP MSG",
            "BYE",
            "BYE see you",
            "QUIT",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn verbs_are_upper_case_or_lower_case_or_follow_a_slash() {
        check("nick bob", "NICK bob");
        check("/Nick bob", "NICK bob");
        check("/JOIN ops", "JOIN #ops");
        for prose in [
            "Me too",
            "Nick is here",
            "howdy",
            "/",
            "/ me",
            "//me",
            "MSG\thi",
            "é",
        ] {
            check(prose, "- unknown-verb");
        }
        for empty in ["", " ", "   "] {
            check(empty, "(empty)");
        }
    }

    #[test]
    fn fields_are_counted_and_checked() {
        check("  NICK   bob  ", "NICK bob"); // spaces alone are not a password
        check("JOIN  ops  ", "JOIN #ops");
        check("help /Msg", "HELP MSG");
        for bad in [
            "MSG",
            "MSG ",
            "ME",
            "NICK",
            "REGISTER",
            "REGISTER ",
            "TOKEN",
            "IGNORE a b",
            "UNIGNORE",
            "MODE #ops shut",
            "MODE #ops open x",
            "INVITE",
            "INVITE #ops",
            "INVITE bob x",
            "UNINVITE #ops",
            "UNINVITE bob x",
            "PASS",
            "PASS ",
            "KICK",
            "BAN",
            "UNBAN",
            "UNBAN bob x",
            "BANS x",
            "NOTE",
            "NOTE ",
            "TOKENS a",
            "HOOK",
            "HOOK ci",
            "HOOK ci #ops x",
            "HOOKS a",
            "REVOKE",
            "TELL",
            "TELL #a",
            "TELL #a ",
            "JOIN",
            "JOIN #a x",
            "JOIN #a AS",
            "JOIN #a 1 2",
            "PART #a b",
            "ROOMS x",
            "ROOMS all x",
            "UPLOAD",
            "UPLOAD x",
            "UPLOAD x y",
            "UPLOAD x -1",
            "UPLOAD x 9007199254740992",
            "TEXT",
            "TEXT x",
            "TEXT *",
            "TEXT 9007199254740992",
            "DOWNLOAD",
            "DOWNLOAD x",
            "DOWNLOAD 0",
            "DOWNLOAD 1 -1",
            "REMOVE",
            "REMOVE #a b",
            "STAMPS",
            "STAMPS maybe",
            "STAY x",
            "PING a b",
            "MSG \x1b[0m",
            "TAGS",
            "TAGS maybe",
            "EDIT",
            "EDIT 17",
            "EDIT x y",
            "REACT 17",
            "REACT 17 👍 x",
            "REACTS",
        ] {
            let verb = bad.split(' ').next().unwrap();
            check(bad, &format!("{verb} bad-syntax"));
        }
        // The bytes that follow these lines are dropped.
        check("TEXT 5", "TEXT 5");
        check("@reply=7 TEXT 5 #ops", "@reply=7 TEXT 5 #ops");
        check("TEXT 5  bob ", "TEXT 5 bob");
        check("TEXT 5 bob ann eve", "TEXT 5 ?");
        check("TEXT 5 #", "TEXT 5 ?");
        check("@A TEXT 5", "TEXT 5 ?");
        check("BAN bob 2d x", "BAN bob 172800s x");
        check("BAN bob 2 days", "BAN bad-syntax");
        check("BAN bob - 2 warnings", "BAN bob - 2 warnings");
        check("BAN bob 2d 2 warnings", "BAN bob 172800s 2 warnings");
        check("BAN bob - - hm", "BAN bob - - hm");
        check("BAN bob -", "BAN bob");
        check("BAN bob -x", "BAN bob - -x");
        check("BAN bob 7D", "BAN bad-syntax");
        check("BAN bob d7", "BAN bob d7");
        check("BAN 1.2.3", "BAN bad-name");
        check("@reply=x MSG hi", "MSG bad-syntax");
        check("@ MSG hi", "MSG bad-syntax");
        check("@notice JOIN #a", "JOIN bad-syntax");
        check("@bob hi", "- unknown-verb");
        check("@reply=1   MSG hi", "@reply=1 MSG hi");
        check("NICK 1", "NICK bad-name");
        check("NICK a\u{202e}b", "NICK bad-name");
        check("NICK a b\u{7}", "NICK bad-password");
        check("JOIN #a#", "JOIN bad-name");
        check("HELP nothing", "HELP unknown-verb");
    }

    #[test]
    fn a_line_that_is_not_utf8_is_refused_under_its_verb() {
        let refused = Request::parse(b"MSG \xff").unwrap_err();
        assert_eq!(
            (refused.verb, refused.code),
            (Some(Verb::Msg), Code::NotUtf8)
        );
        let Ok(Some(Request::Upload(upload))) = Request::parse(b"UPLOAD a\xffb 7") else {
            panic!("the bytes of that file follow all the same");
        };
        assert_eq!(upload.length, Some(7));
        assert_eq!(upload.name.unwrap_err().code, Code::NotUtf8);
    }

    #[test]
    fn a_line_with_a_nul_is_refused_under_its_intended_verb() {
        let utf16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        for (line, verb) in [
            (b"MSG a\0b".to_vec(), Some(Verb::Msg)),
            (utf16("MSG hi"), Some(Verb::Msg)),
            ([b"\0", &utf16("/me hi")[..]].concat(), Some(Verb::Me)),
            (utf16("UPLOAD a 5"), Some(Verb::Upload)),
            (utf16("hallo"), None),
            (b"\0".to_vec(), None),
        ] {
            let refusal = Request::parse(&line).expect_err("it holds NUL");
            assert_eq!((refusal.verb, refusal.code), (verb, Code::NotUtf8));
        }
        // A CR as telnet sends it.
        check("MSG a\r\0b", "MSG ab");
    }

    #[test]
    fn terminal_sequences_are_removed_from_text() {
        check("MSG \x1b]0;x\x07red\x1b[0m", "MSG red");
        check("TOPIC a\u{85}b", "TOPIC ab");
    }

    #[test]
    fn bytes_of_a_file_are_distinguished_from_commands() {
        for good in ["MSG hi", "/x", "", "  ", "BYE", "@x-a MSG hi"] {
            assert!(looks_like_command(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "msg hi",
            "hello",
            "<html>",
            "MSGS hi",
            "{\"a\":1}",
            "@",
            "@media x",
        ] {
            assert!(!looks_like_command(bad.as_bytes()), "{bad:?}");
        }
    }
}
