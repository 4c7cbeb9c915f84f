//! Converts lines from the server to text for a user. This module is pure: the caller passes the time.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::protocol::human::{describe_past, plural};
use crate::protocol::{Code, Event, ServerLine, Time};

/// The notice for a search that was stopped before it had read the whole log.
pub(super) const SEARCH_CUT: &str =
    "the search took too long and was stopped, so older messages may be missing; try rarer words";

/// A renderer of lines from the server. Its state is the nick and the rooms, because the text depends on them. The
/// lines must be clean (see [`crate::protocol::text`]), because the text goes to a terminal.
#[derive(Clone, Debug)]
pub struct Renderer {
    nick: String,
    /// The joined rooms, the current one last.
    rooms: Vec<String>,
    zone: TimeZone,
}

impl Renderer {
    /// Creates a renderer for `nick` in `room`, with the time zone of this machine.
    pub fn new(nick: String, room: Option<String>) -> Self {
        Self {
            nick,
            rooms: room.into_iter().collect(),
            zone: TimeZone::system(),
        }
    }

    /// Returns the nick.
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Returns the current room.
    pub fn room(&self) -> Option<&str> {
        self.rooms.last().map(String::as_str)
    }

    /// Records that the nick has changed.
    pub fn rename(&mut self, nick: String) {
        self.nick = nick;
    }

    /// Records that the user is not in a room any more.
    pub fn leave(&mut self, room: &str) {
        self.rooms.retain(|known| known != room);
    }

    /// Renders a line that arrives at the time `now`, without a line ending. Returns `None` if the line means nothing
    /// to a user.
    pub fn show(&mut self, line: &ServerLine<'_>, now: Timestamp) -> Option<String> {
        Some(match line {
            ServerLine::Live {
                time, tags, event, ..
            } => {
                let at = time.map_or(now, |time| timestamp(time).unwrap_or(now));
                self.event(event, tags, at, now)
            }
            ServerLine::Past {
                time, tags, event, ..
            } => self.event(event, tags, timestamp(*time).unwrap_or(now), now),
            ServerLine::Ok { verb, rest } => return self.done(verb, rest),
            // The server's own text is for people who type lines of the protocol.
            ServerLine::Err {
                code: Some(Code::UnknownVerb),
                ..
            } => "! unknown command; /help lists them".to_owned(),
            ServerLine::Err { verb, text, .. } => match *text {
                "" => format!("! {verb} was refused"),
                text => format!("! {text}"),
            },
            ServerLine::Room {
                room,
                members,
                topic,
            } => match *topic {
                "" => format!("   {room} ({members})"),
                topic => format!("   {room} ({members}): {topic}"),
            },
            ServerLine::User { nick, text: "", .. } => format!("   {nick}"),
            ServerLine::User { nick, text, .. } => format!("   {nick} (away: {text})"),
            ServerLine::Reaction { nick, emoji, .. } => format!("   {emoji} {nick}"),
            ServerLine::Reader { room, reader, id } => {
                format!("   {reader} has read {room} up to {id}")
            }
            ServerLine::Help { text } => format!("   {text}"),
            ServerLine::Gap { place } => format!("-- some messages of {place} are missing here"),
            ServerLine::Closed { text, .. } => {
                format!("-- the server closed the connection: {text}")
            }
            ServerLine::Hello { .. } | ServerLine::Data { .. } | ServerLine::Unknown => {
                return None;
            }
        })
    }

    fn event(&self, event: &Event<'_>, tags: &str, at: Timestamp, now: Timestamp) -> String {
        let time = self.clock(at, now);
        let text = describe_past(event, tags);
        match event.place() {
            "*" => format!("[{time}] {text}"),
            place if Some(place) == self.room() => format!("[{time}] {text}"),
            place if place.starts_with('#') => format!("{place} [{time}] {text}"),
            // Sent by another connection of this nick.
            place if event.nick() == self.nick && place != self.nick => {
                format!("(private to {place}) [{time}] {text}")
            }
            _ => format!("(private) [{time}] {text}"),
        }
    }

    /// Renders an `OK`, and records what it changes.
    fn done(&mut self, verb: &str, rest: &str) -> Option<String> {
        let mut words = rest.split(' ');
        let first = words.next().unwrap_or_default();
        Some(match verb {
            "NICK" => {
                self.nick = first.to_owned();
                match words.next() {
                    None => format!("-- you are {first} now"),
                    Some(room) => {
                        self.enter(room);
                        format!("-- you are {first} now, in {room}")
                    }
                }
            }
            "JOIN" => {
                self.enter(first);
                format!("-- you are in {first} now")
            }
            "PART" => {
                self.leave(first);
                match self.room() {
                    Some(room) => format!("-- you left {first} and are in {room} now"),
                    None => format!("-- you left {first} and are in no room now"),
                }
            }
            // A sent message is on the screen already, as the user typed it; and the lines of help need no end.
            "MSG" | "ME" | "TELL" | "HELP" | "BYE" | "QUIT" => return None,
            _ => format!("-- {}", done(verb, rest)),
        })
    }

    fn enter(&mut self, room: &str) {
        self.rooms.retain(|known| known != room);
        self.rooms.push(room.to_owned());
    }

    /// Formats a time of day, with the date if it is not today.
    fn clock(&self, at: Timestamp, now: Timestamp) -> String {
        let (at, now) = (
            at.to_zoned(self.zone.clone()),
            now.to_zoned(self.zone.clone()),
        );
        let form = if at.date() == now.date() {
            "%H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        at.strftime(form).to_string()
    }
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time.0).ok()?).ok()
}

/// Describes in words what the server has done. `verb` and `rest` are the text after `OK`.
pub(super) fn done(verb: &str, rest: &str) -> String {
    let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
    let found = || count(first, "message", "messages");
    match (verb, more) {
        ("TOPIC", "") => format!("{first} has no topic"),
        ("TOPIC", topic) => format!("the topic of {first}: {topic}"),
        ("WHO", _) => count(first, "person", "people"),
        ("ROOMS", _) => count(first, "room", "rooms"),
        ("REACTS", _) => count(first, "reaction", "reactions"),
        ("FILES", _) => count(first, "file", "files"),
        ("HISTORY", _) => found(),
        ("SEARCH", "cut") => format!("{} found; {SEARCH_CUT}", found()),
        ("SEARCH", _) => format!("{} found", found()),
        ("BANS", _) => count(first, "ban", "bans"),
        ("TOKENS", _) => count(first, "token", "tokens"),
        ("HOOKS", _) => count(first, "hook", "hooks"),
        ("INVITES", _) => count(first, "invited nick", "invited nicks"),
        ("REMOVE", _) => format!("{first} is deleted"),
        ("PING", _) => "the server answers".to_owned(),
        ("MODE", "invite") => format!("{first} is invite-only"),
        ("MODE", "open") => format!("{first} is open to everybody"),
        ("INVITE", nick) if !nick.is_empty() => format!("{nick} is invited to {first}"),
        ("UNINVITE", nick) if !nick.is_empty() => format!("{nick} is no longer invited to {first}"),
        ("KICK", _) => format!("{first} is disconnected"),
        ("BAN", _) => format!("{first} is banned"),
        ("UNBAN", _) => format!("{first} is no longer banned"),
        ("NOTE", _) => "the notice was sent to everybody".to_owned(),
        ("IGNORE", _) => format!("you do not see messages of {first} any more"),
        ("UNIGNORE", _) => format!("you see messages of {first} again"),
        ("REGISTER", _) => format!("{first} is registered to you"),
        ("REVOKE", _) => format!("{first} is revoked"),
        _ => format!("done: {verb} {rest}").trim_end().to_owned(),
    }
}

fn count(number: &str, one: &str, more: &str) -> String {
    match number.parse() {
        Ok(number) => plural(number, one, more),
        Err(_) => format!("{number} {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer() -> Renderer {
        let mut renderer = Renderer::new("ann".into(), Some("#lobby".into()));
        renderer.zone = TimeZone::UTC;
        renderer
    }

    fn check(lines: &[(&str, &str)]) {
        let (mut renderer, now) = (renderer(), "2026-11-22T06:47:30Z".parse().unwrap());
        for (line, expected) in lines {
            let shown = renderer.show(&ServerLine::parse(line), now);
            assert_eq!(
                shown.as_deref().unwrap_or("(nothing)"),
                *expected,
                "of {line:?}"
            );
        }
    }

    #[test]
    fn events_are_described_in_words_for_people() {
        check(&[
            ("MSG #lobby bob hello", "[06:47] <bob> hello"),
            ("MSG #ops bob hello", "#ops [06:47] <bob> hello"),
            ("MSG ann bob psst", "(private) [06:47] <bob> psst"),
            ("MSG bob ann hey", "(private to bob) [06:47] <ann> hey"),
            ("ME #lobby bob waves", "[06:47] * bob waves"),
            (
                "FILE #lobby bob 17 1536 a b.txt",
                "[06:47] -- bob sent a file: a b.txt, 1.5 kB; /download 17",
            ),
            (
                "FILE #lobby bob 17 * x.log",
                "[06:47] -- bob sent a file: x.log, still uploading; /download 17",
            ),
            ("TOPIC #lobby bob", "[06:47] -- bob cleared the topic"),
            (
                "TOPIC #lobby bob on time",
                "[06:47] -- bob set the topic: on time",
            ),
            (
                "REMOVE #lobby bob 17",
                "[06:47] -- bob deleted a message or file",
            ),
            ("JOIN #lobby bob", "[06:47] -- bob joined #lobby"),
            (
                "PART #lobby bob see you",
                "[06:47] -- bob left #lobby (see you)",
            ),
            ("NICK #lobby bob rob", "[06:47] -- bob is now rob"),
            ("NOTE * chatd back soon", "[06:47] ** chatd: back soon"),
            ("GAP #lobby", "-- some messages of #lobby are missing here"),
            (
                "LIVE 17 2026-11-22T05:00:00.000Z MSG #lobby bob hi",
                "[05:00] <bob> hi",
            ),
            (
                "PAST 17 2026-11-21T05:00:00.000Z MSG #lobby bob hi",
                "[2026-11-21 05:00] <bob> hi",
            ),
            ("ERR NICK nick-taken \"bob\" is taken", "! \"bob\" is taken"),
            (
                "ERR - unknown-verb HELP lists them",
                "! unknown command; /help lists them",
            ),
            ("OK MSG 17 2026-11-22T05:00:00.000Z", "(nothing)"),
            ("HELLO 1 chat files are kept", "(nothing)"),
            ("FUTURE x", "(nothing)"),
        ]);
    }

    #[test]
    fn lists_are_shown_for_people() {
        check(&[
            ("ROOM #lobby 3 on time", "   #lobby (3): on time"),
            ("ROOM #ops 0", "   #ops (0)"),
            ("OK ROOMS 2", "-- 2 rooms"),
            ("USER #lobby bob", "   bob"),
            ("OK WHO 1", "-- 1 person"),
            ("OK FILES 0", "-- no files"),
            ("OK INVITE #ops bob", "-- bob is invited to #ops"),
            ("OK MODE #ops invite", "-- #ops is invite-only"),
            ("OK FUTURE word", "-- done: FUTURE word"),
            ("OK HISTORY 2", "-- 2 messages"),
            ("OK SEARCH 1", "-- 1 message found"),
            (
                "OK SEARCH 3 cut",
                "-- 3 messages found; the search took too long and was stopped, so older messages may be \
                 missing; try rarer words",
            ),
            ("OK TOPIC #lobby on time", "-- the topic of #lobby: on time"),
            ("OK TOPIC #lobby", "-- #lobby has no topic"),
        ]);
    }

    #[test]
    fn the_current_room_is_followed() {
        check(&[
            ("OK JOIN #ops 17", "-- you are in #ops now"),
            ("MSG #ops bob a", "[06:47] <bob> a"),
            ("MSG #lobby bob b", "#lobby [06:47] <bob> b"),
            ("OK PART #ops", "-- you left #ops and are in #lobby now"),
            ("MSG #lobby bob c", "[06:47] <bob> c"),
            (
                "OK PART #lobby",
                "-- you left #lobby and are in no room now",
            ),
            ("OK NICK rob #lobby 5", "-- you are rob now, in #lobby"),
            ("MSG #lobby bob d", "[06:47] <bob> d"),
        ]);
    }
}
