//! The levels of section 1.4 of the document: which transcripts a minimal server must pass.

use plainchat::protocol::Verb;

use crate::support::transcript::{Action, Transcript};

/// The level that the suite checks (`--level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A client, which the suite runs and serves.
    MinimalClient,
    /// A server that has only what section 1.4 requires.
    MinimalServer,
    /// A server that has everything.
    FullServer,
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "minimal-client" => Ok(Self::MinimalClient),
            "minimal-server" => Ok(Self::MinimalServer),
            "full-server" => Ok(Self::FullServer),
            _ => Err("the levels are minimal-client, minimal-server and full-server".into()),
        }
    }
}

/// The commands of a minimal server, each with the maximum number of fields that the server must know.
const COMMANDS: &[(&str, usize)] = &[
    ("NICK", 1),
    ("MSG", usize::MAX),
    ("JOIN", 1),
    ("PART", 1),
    ("PING", usize::MAX),
    ("HELLO", 0),
    ("BYE", usize::MAX),
];

/// The sections that a minimal server need not follow, although it has their commands.
const OPTIONAL: &[&str] = &["3.4", "8"];

/// The section whose transcripts send `UPLOAD` and `TEXT`. The server refuses both.
const REFUSALS: &str = "1.4";

/// Transcripts that use only the commands of a minimal server, but need more than a minimal server has, each with the
/// reason.
const NEEDS_MORE: &[(&str, &str)] = &[
    ("3.5/1", LOOK_ALIKES),
    ("3.5/a_look_alike_is_taken", LOOK_ALIKES),
    ("3.5/a_mix_of_scripts_is_refused", OTHER_SCRIPTS),
    ("3.5/names_are_checked_and_compared", LOOK_ALIKES),
    ("3.5/names_of_many_scripts_are_good", OTHER_SCRIPTS),
    (
        "3.7/a_connection_is_in_64_rooms_at_most",
        "that limit is one of chatd",
    ),
    (
        "4.19/1",
        "its reply lists the capabilities of a full server",
    ),
    ("5.1/telnet_options_are_no_first_line", "it speaks telnet"),
    (
        "6/an_upload_line_with_tags_that_is_too_long_closes",
        "it sends tags",
    ),
];

const LOOK_ALIKES: &str = "a minimal server need not recognize names that look alike";
const OTHER_SCRIPTS: &str = "a minimal server may refuse names that are not ASCII";

/// Returns whether a minimal server must pass the transcript: it needs no setting, and sends only the commands of a
/// minimal server, or lines that are not commands.
pub fn is_minimal(transcript: &Transcript) -> bool {
    let id = transcript.id.as_str();
    let section = id.split('/').next().unwrap_or_default();
    // The transcripts of the other documents have ids that begin with the document's name.
    if id.contains(".md ")
        || !transcript.settings.is_empty()
        || OPTIONAL.contains(&section)
        || NEEDS_MORE.iter().any(|(named, _)| *named == id)
    {
        return false;
    }
    if section == REFUSALS {
        return true;
    }
    let mut peers: Vec<&str> = transcript.steps.iter().map(|s| s.peer.as_str()).collect();
    peers.sort_unstable();
    peers.dedup();
    peers.iter().all(|peer| {
        let sent = sent_by(transcript, peer);
        sent.split(|b| *b == b'\n').all(is_known)
    })
}

/// Returns everything that `peer` sends.
fn sent_by(transcript: &Transcript, peer: &str) -> Vec<u8> {
    let mut sent = Vec::new();
    for step in transcript.steps.iter().filter(|step| step.peer == peer) {
        match &step.action {
            Action::Send(line) => sent.extend(format!("{line}\n").bytes()),
            Action::SendBytes(bytes) => sent.extend(bytes),
            _ => {}
        }
    }
    sent
}

/// Returns whether a minimal server knows the command in a line. A line without a command counts as known, because
/// every server refuses it.
fn is_known(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line
        .split(|b| matches!(b, b' ' | b'\r'))
        .filter(|word| !word.is_empty())
        .collect();
    let Some((verb, fields)) = words.split_first() else {
        return true;
    };
    let Some(verb) = Verb::parse(verb) else {
        return true;
    };
    COMMANDS
        .iter()
        .any(|(known, most)| *known == verb.word() && fields.len() <= *most)
}
