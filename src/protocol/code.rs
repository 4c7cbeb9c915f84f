//! The codes that follow `ERR <VERB>` and `CLOSED`. `protocol.md` lists them in a table, and a test compares the two.

use std::fmt;

/// The reason why a request was refused or a connection was closed, for programs. The text that follows the code on
/// the line is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each is its row in `protocol.md`, "Errors"
pub enum Code {
    UnknownVerb,
    BadSyntax,
    TooLong,
    NotUtf8,
    NeedNick,
    NeedPassword,
    BadPassword,
    NickTaken,
    BadName,
    NoSuchNick,
    NoSuchRoom,
    NotInRoom,
    NoSuchFile,
    NoSuchId,
    TooLarge,
    Quota,
    Incomplete,
    Corrupt,
    NeedDigest,
    OutOfStep,
    NotAllowed,
    Banned,
    Busy,
    ShuttingDown,
    CutOff,
    Internal,
    Kicked,
    Idle,
}

impl Code {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 28] = [
        Self::UnknownVerb,
        Self::BadSyntax,
        Self::TooLong,
        Self::NotUtf8,
        Self::NeedNick,
        Self::NeedPassword,
        Self::BadPassword,
        Self::NickTaken,
        Self::BadName,
        Self::NoSuchNick,
        Self::NoSuchRoom,
        Self::NotInRoom,
        Self::NoSuchFile,
        Self::NoSuchId,
        Self::TooLarge,
        Self::Quota,
        Self::Incomplete,
        Self::Corrupt,
        Self::NeedDigest,
        Self::OutOfStep,
        Self::NotAllowed,
        Self::Banned,
        Self::Busy,
        Self::ShuttingDown,
        Self::CutOff,
        Self::Internal,
        Self::Kicked,
        Self::Idle,
    ];

    /// Returns the code as it is sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownVerb => "unknown-verb",
            Self::BadSyntax => "bad-syntax",
            Self::TooLong => "too-long",
            Self::NotUtf8 => "not-utf8",
            Self::NeedNick => "need-nick",
            Self::NeedPassword => "need-password",
            Self::BadPassword => "bad-password",
            Self::NickTaken => "nick-taken",
            Self::BadName => "bad-name",
            Self::NoSuchNick => "no-such-nick",
            Self::NoSuchRoom => "no-such-room",
            Self::NotInRoom => "not-in-room",
            Self::NoSuchFile => "no-such-file",
            Self::NoSuchId => "no-such-id",
            Self::TooLarge => "too-large",
            Self::Quota => "quota",
            Self::Incomplete => "incomplete",
            Self::Corrupt => "corrupt",
            Self::NeedDigest => "need-digest",
            Self::OutOfStep => "out-of-step",
            Self::NotAllowed => "not-allowed",
            Self::Banned => "banned",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting-down",
            Self::CutOff => "cut-off",
            Self::Internal => "internal",
            Self::Kicked => "kicked",
            Self::Idle => "idle",
        }
    }

    /// Parses a code; `None` if it is not known.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.word() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
