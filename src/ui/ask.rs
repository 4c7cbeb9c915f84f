//! `chatc send`, `history`, `search`, `who` and `rooms`: one thing asked or said, and done.

use std::io;

use futures_lite::{AsyncBufReadExt, StreamExt};
use serde_json::json;

use super::enter::ask_as_invited;
use super::print::{Output, Print, json_text};
use super::server::Server;
use super::{Exit, Failure, complain, enter, input};
use crate::client::{Client, Error, Line, Reply};
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::text::clean;
use crate::protocol::{Code, ServerLine};

/// How many messages a server finds at most.
pub(super) const FOUND_MAX: usize = 100;

/// The most that a server gives of its log at once.
const PAGE: u64 = 1000;

/// Says `text` in a room or to a nick; without text, each line of standard input. A name that is no nick's is taken for
/// that of a room, if there is such a room: the `#` is one that a shell makes people leave out.
///
/// # Errors
/// Those of [`Client::tell`].
pub async fn send(server: &Server, to: &str, text: Option<&str>) -> Result<Exit, Failure> {
    let mut client = server.connect().await?;
    let room = to.starts_with('#').then_some(to);
    enter(&mut client, server, room).await?;
    let mut to = to.to_owned();
    match text {
        Some(text) => say(&mut client, &mut to, text).await?,
        None => {
            let mut lines = futures_lite::io::BufReader::new(input(64 * 1024)).split(b'\n');
            while let Some(line) = lines.next().await {
                let line = line.map_err(Failure::Input)?;
                say(&mut client, &mut to, &String::from_utf8_lossy(&line)).await?;
            }
        }
    }
    client.bye().await?;
    Ok(Exit::Well)
}

/// Says each line of `text`, a long one in pieces.
async fn say(client: &mut Client, to: &mut String, text: &str) -> Result<(), Failure> {
    let most = LINE_BYTES_MAX.saturating_sub("TELL # \n".len() + to.len());
    for line in text.lines() {
        let line = clean(line);
        let mut rest = line.trim_end_matches('\r');
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
            match client.tell(to, piece).await {
                Err(error) if error.refusal() == Some(Code::NoSuchNick) => {
                    let room = with_hash(to);
                    if client.request(format!("TOPIC {room}")).await.is_err() {
                        return Err(error.into());
                    }
                    *to = room;
                    client.tell(to, piece).await?;
                }
                told => drop(told?),
            }
            rest = after;
        }
    }
    Ok(())
}

/// Which part of a room's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// How many events; 50 unless told.
    pub count: Option<u64>,
    /// Only what came before that one.
    pub before: Option<u64>,
    /// Only what came after that one.
    pub after: Option<u64>,
}

/// Prints a part of a room's log, oldest first.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn history(
    server: &Server,
    room: Option<&str>,
    part: Part,
    is_json: bool,
) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let room = room_or_lobby(&mut client, room).await?;
    let (print, mut output) = (Print::new(is_json, false), Output::new());
    let mut left = part.count.unwrap_or(50);
    if let Some(mut after) = part.after {
        while left > 0 {
            let count = left.min(PAGE);
            let request = format!("HISTORY {room} {count} after {after}");
            let lines = ask_as_invited(&mut client, server, &request).await?.lines;
            let Some(last) = lines.iter().rev().find_map(id_of) else {
                break;
            };
            let is_before = |line: &&Line| {
                part.before
                    .is_none_or(|before| id_of(line).is_some_and(|id| id < before))
            };
            let shown: Vec<&Line> = lines.iter().filter(is_before).collect();
            let is_all = shown.len() < lines.len();
            show(&shown, &print, &mut output).await?;
            left = left.saturating_sub(lines.len() as u64);
            after = last;
            if is_all {
                break;
            }
        }
    } else {
        // The newest come first from the server, and last to the reader.
        let (mut pages, mut before) = (Vec::new(), part.before);
        while left > 0 {
            let count = left.min(PAGE);
            let end = before.map_or(String::new(), |id| format!(" before {id}"));
            let request = format!("HISTORY {room} {count}{end}");
            let lines = ask_as_invited(&mut client, server, &request).await?.lines;
            let Some(first) = lines.iter().find_map(id_of) else {
                break;
            };
            left = left.saturating_sub(lines.len() as u64);
            before = Some(first);
            pages.push(lines);
        }
        for page in pages.iter().rev() {
            show(&page.iter().collect::<Vec<_>>(), &print, &mut output).await?;
        }
    }
    output.flush().await?;
    Ok(Exit::Well)
}

/// Prints what holds all the words.
///
/// # Errors
/// Those of [`Client::request`]. Nothing found is [`Exit::Refused`], as with `grep`.
pub async fn search(
    server: &Server,
    room: Option<&str>,
    words: &str,
    is_json: bool,
) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let room = room_or_lobby(&mut client, room).await?;
    let request = format!("SEARCH {room} {words}");
    let reply = ask_as_invited(&mut client, server, &request).await?;
    let (is_cut, lines) = (is_cut(&reply), reply.lines);
    let mut output = Output::new();
    show(
        &lines.iter().collect::<Vec<_>>(),
        &Print::new(is_json, false),
        &mut output,
    )
    .await?;
    output.flush().await?;
    if is_cut {
        complain(CUT);
    } else if lines.len() >= FOUND_MAX {
        complain(format_args!(
            "these are the newest {FOUND_MAX}; there may be more: add a word to find fewer"
        ));
    }
    Ok(if lines.is_empty() {
        Exit::Refused
    } else {
        Exit::Well
    })
}

/// What a person reads when a search has ended before it was through the whole log.
pub(super) const CUT: &str =
    "the search took too long and was stopped, so older messages may be missing; try rarer words";

/// Returns whether a search has ended before it was through the whole log: `OK SEARCH 3 cut`.
pub(super) fn is_cut(reply: &Reply) -> bool {
    reply.rest.split(' ').nth(1) == Some("cut")
}

/// Prints who is in a room.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn who(server: &Server, room: Option<&str>, is_json: bool) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let room = room_or_lobby(&mut client, room).await?;
    let request = format!("WHO {room}");
    let lines = ask_as_invited(&mut client, server, &request).await?.lines;
    let mut output = Output::new();
    for line in &lines {
        if let ServerLine::User { room, nick } = line.read() {
            let text = match is_json {
                true => json_text(&json!({ "room": room, "nick": nick })),
                false => clean(nick).into_owned(),
            };
            output.write(&format!("{text}\n")).await?;
        }
    }
    output.flush().await?;
    Ok(Exit::Well)
}

/// Prints the rooms.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn rooms(server: &Server, is_json: bool) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let lines = client.request("ROOMS").await?.lines;
    let mut output = Output::new();
    for line in &lines {
        if let ServerLine::Room {
            room,
            members,
            topic,
        } = line.read()
        {
            let text = match is_json {
                true => json_text(&json!({ "room": room, "members": members, "topic": topic })),
                false => clean(format!("{room}  {members}  {topic}").trim_end()).into_owned(),
            };
            output.write(&format!("{text}\n")).await?;
        }
    }
    output.flush().await?;
    Ok(Exit::Well)
}

/// The room as the protocol writes it everywhere: with its `#`. The lobby is the first of all.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn room_or_lobby(client: &mut Client, room: Option<&str>) -> Result<String, Error> {
    if let Some(room) = room {
        return Ok(with_hash(room));
    }
    let rooms = client.request("ROOMS").await?.lines;
    let name = |line: &Line| match line.read() {
        ServerLine::Room { room, .. } => Some(room.to_owned()),
        _ => None,
    };
    let none = Error::Lost(io::Error::new(
        io::ErrorKind::NotFound,
        "the server has no rooms",
    ));
    rooms.iter().find_map(name).ok_or(none)
}

/// A room's name with its `#`, which a shell makes people leave out.
pub fn with_hash(room: &str) -> String {
    match room.starts_with('#') {
        true => room.to_owned(),
        false => format!("#{room}"),
    }
}

/// The number of a line of the log.
pub(super) fn id_of(line: &Line) -> Option<u64> {
    match line.read() {
        ServerLine::Past { id, .. } => Some(id.get()),
        _ => None,
    }
}

async fn show(lines: &[&Line], print: &Print, output: &mut Output) -> Result<(), Failure> {
    for line in lines {
        if let ServerLine::Past { id, time, event } = line.read() {
            output
                .write(&print.event(Some(id), Some(time), &event))
                .await?;
        }
    }
    Ok(())
}
