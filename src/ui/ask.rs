//! `chatc history`, `search`, `who` and `rooms`: one request each.

use serde_json::json;

use super::failure::{Exit, Failure, complain};
use super::login::request_as_invited;
use super::print::{Output, Print, json_text};
use super::renderer::SEARCH_CUT;
use super::server::Server;
use super::shorthand::room_name;
use crate::client::{Client, Error, HistoryRange, LoggedEvent};
use crate::protocol::text::clean;

/// The maximum number of messages that a search returns.
pub(super) const FOUND_MAX: usize = 100;

/// The maximum number of events of its log that a server returns at once.
const PAGE: u64 = 1000;

/// A part of a room's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// The number of events; 50 if it is not given.
    pub count: Option<u64>,
    /// If given, only events before this one.
    pub before: Option<u64>,
    /// If given, only events after this one.
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
    ask_for_tags(&mut client).await?;
    let room = room_or_lobby(&mut client, room).await?;
    let (print, mut output) = (Print::new(is_json, false), Output::new());
    let mut left = part.count.unwrap_or(50);
    if let Some(mut after) = part.after {
        while left > 0 {
            let range = HistoryRange::After(after);
            let events = page(&mut client, server, &room, left, range).await?;
            let Some(last) = events.last().map(|event| event.id.get()) else {
                break;
            };
            let is_wanted = |event: &&LoggedEvent| {
                let before = part.before;
                before.is_none_or(|before| event.id.get() < before)
            };
            let shown: Vec<&LoggedEvent> = events.iter().filter(is_wanted).collect();
            let is_all = shown.len() < events.len();
            show(&shown, &print, &mut output).await?;
            left = left.saturating_sub(events.len() as u64);
            after = last;
            if is_all {
                break;
            }
        }
    } else {
        // The server returns the newest page first, but people read the oldest event first.
        let (mut pages, mut range) = (Vec::new(), HistoryRange::Newest);
        if let Some(before) = part.before {
            range = HistoryRange::Before(before);
        }
        while left > 0 {
            let events = page(&mut client, server, &room, left, range).await?;
            let Some(first) = events.first().map(|event| event.id.get()) else {
                break;
            };
            left = left.saturating_sub(events.len() as u64);
            range = HistoryRange::Before(first);
            pages.push(events);
        }
        for events in pages.iter().rev() {
            show(&events.iter().collect::<Vec<_>>(), &print, &mut output).await?;
        }
    }
    output.flush().await?;
    Ok(Exit::Success)
}

/// Gets a page of a room's log.
async fn page(
    client: &mut Client,
    server: &Server,
    room: &str,
    most: u64,
    range: HistoryRange,
) -> Result<Vec<LoggedEvent>, Error> {
    let request = format!("HISTORY {room} {}{range}", most.min(PAGE));
    let reply = request_as_invited(client, server, &request).await?;
    Ok(reply.events())
}

/// Prints the messages of a room that contain all the words. With `is_everywhere`, searches all rooms.
///
/// # Errors
/// Those of [`Client::request`]. Finding nothing is not an error, but the exit code is [`Exit::Refused`], as with
/// `grep`.
pub async fn search(
    server: &Server,
    room: Option<&str>,
    is_everywhere: bool,
    words: &str,
    is_json: bool,
) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    if is_json {
        ask_for_tags(&mut client).await?;
    }
    let room = if is_everywhere {
        "*".to_owned()
    } else {
        room_or_lobby(&mut client, room).await?
    };
    let request = format!("SEARCH {room} {words}");
    let reply = request_as_invited(&mut client, server, &request).await?;
    let events = reply.events();
    let mut output = Output::new();
    let print = Print::new(is_json, is_everywhere);
    show(&events.iter().collect::<Vec<_>>(), &print, &mut output).await?;
    output.flush().await?;
    if reply.is_cut() {
        complain(SEARCH_CUT);
    } else if events.len() >= FOUND_MAX {
        complain(format_args!(
            "these are the newest {FOUND_MAX} messages, and there may be more: add a word to narrow the search"
        ));
    }
    Ok(if events.is_empty() {
        Exit::Refused
    } else {
        Exit::Success
    })
}

/// Prints the members of a room.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn who(server: &Server, room: Option<&str>, is_json: bool) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let room = room_or_lobby(&mut client, room).await?;
    let request = format!("WHO {room}");
    let users = request_as_invited(&mut client, server, &request)
        .await?
        .users();
    let mut output = Output::new();
    for nick in users {
        let text = if is_json {
            json_text(&json!({ "room": room, "nick": nick }))
        } else {
            clean(&nick).into_owned()
        };
        output.write(&format!("{text}\n")).await?;
    }
    output.flush().await?;
    Ok(Exit::Success)
}

/// Prints the rooms.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn rooms(server: &Server, is_json: bool) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let mut output = Output::new();
    for room in client.rooms().await? {
        let (name, members, topic) = (room.name, room.members, room.topic);
        let text = if is_json {
            json_text(&json!({ "room": name, "members": members, "topic": topic }))
        } else {
            clean(format!("{name}  {members}  {topic}").trim_end()).into_owned()
        };
        output.write(&format!("{text}\n")).await?;
    }
    output.flush().await?;
    Ok(Exit::Success)
}

/// Returns the room's name with its `#`. Without a room, returns the lobby, which a server lists first.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn room_or_lobby(client: &mut Client, room: Option<&str>) -> Result<String, Failure> {
    if let Some(room) = room {
        return Ok(room_name(room));
    }
    let mut rooms = client.rooms().await?.into_iter();
    let lobby = rooms.next().map(|room| room.name);
    lobby.ok_or(Failure::Impossible("the server has no rooms"))
}

/// Requests the tags of events, which also say what has been deleted. An older server does not support tags.
async fn ask_for_tags(client: &mut Client) -> Result<(), Error> {
    match client.turn_tags_on().await {
        Err(Error::Refused { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn show(events: &[&LoggedEvent], print: &Print, output: &mut Output) -> Result<(), Failure> {
    for logged in events {
        let (id, time) = (Some(logged.id), Some(logged.time));
        let line = print.event(id, time, &logged.tags, &logged.event);
        output.write(&line).await?;
    }
    Ok(())
}
