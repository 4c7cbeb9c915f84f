//! `MARKREAD` (`draft/read-marker`): the time up to which a nick has read a room or the direct messages with another
//! nick. The log stores the marker as a named reader whose position is the time. No other reader can have its name.

use super::super::request::Done;
use super::super::{Effect, Session};
use super::talk::{nick_name, room_name};
use crate::chat::Chat;
use crate::config::fixed::IRC_MARKERS_MAX;
use crate::dialect::irc::{Cap, IrcLine};
use crate::log::{LogQuery, LogResult, Reader};
use crate::model::Now;
use crate::protocol::request::JoinFrom;
use crate::protocol::{Request, RoomName, Time, Verb};

/// The name of the reader. The names of all other readers are nicks, which cannot begin with `@`.
pub(in super::super) const NAME: &str = "@read";

/// A read marker that is being read from the log or set.
#[derive(Debug)]
pub(in super::super) struct Marker {
    reader: Reader,
    /// The room or nick, as it is shown.
    place: Box<str>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// Shows the marker.
    Show,
    /// Moves the marker to this time, unless the marker is already later.
    Set(Time),
    /// The marker has been set to this time. Next, the client is shown the time.
    Stored(Time),
    /// Joins the room after the marker has been read.
    Join(RoomName, JoinFrom),
}

impl Session {
    /// Handles `MARKREAD`.
    pub(super) fn irc_markread(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        let Some(target) = line.param(0) else {
            return self.irc_markread_fails("NEED_MORE_PARAMS", "*", "a room or nick is missing");
        };
        let time = match line.param(1) {
            None => None,
            Some(text) => match text.strip_prefix("timestamp=").and_then(Time::parse) {
                Some(time) => Some(time),
                None => {
                    let text = "write the time as timestamp=<time>";
                    return self.irc_markread_fails("INVALID_PARAMS", target, text);
                }
            },
        };
        if !target.starts_with('#') {
            return self.irc_mark_nick(target, time, chat);
        }
        let room = room_name(Verb::Seen, target).ok();
        let room = room.and_then(|name| chat.find_room(&name));
        let room = room.filter(|room| chat.may_read(*room, self.nick));
        let marker = room.and_then(|room| {
            let name = &chat.room(room)?.name;
            let reader = self.irc_reader(name.casefolded().into(), chat)?;
            Some((name.as_str().into(), reader))
        });
        let Some((place, reader)) = marker else {
            if time.is_none() {
                self.irc_show_marker(target, None);
                return Ok(None);
            }
            let text = "there is no such room";
            return self.irc_markread_fails("INVALID_PARAMS", target, text);
        };
        let then = time.map_or(Then::Show, Then::Set);
        Ok(self.irc_read_marker(Marker {
            reader,
            place,
            then,
        }))
    }

    /// Shows or moves the marker of the direct messages with a nick. If the connection's nick is not registered, only
    /// this connection remembers the marker, because another user may have the nick later.
    fn irc_mark_nick(&mut self, target: &str, time: Option<Time>, chat: &Chat) -> Done {
        let Ok(nick) = nick_name(Verb::Seen, target) else {
            return self.irc_markread_fails("INVALID_PARAMS", target, "that is not a nick");
        };
        let own = self.nick.and_then(|nick| chat.user(nick));
        if own.is_some_and(|own| chat.is_registered(&own.nick))
            && let Some(reader) = self.irc_reader(format!("@{}", nick.casefolded()).into(), chat)
        {
            return Ok(self.irc_read_marker(Marker {
                reader,
                place: target.into(),
                then: time.map_or(Then::Show, Then::Set),
            }));
        }
        let Some(irc) = self.irc.as_deref_mut() else {
            return Ok(None);
        };
        let form = nick.casefolded();
        let at = irc.read.iter().position(|(known, _)| **known == *form);
        let (_, before) = at.map_or((Box::default(), None), |at| {
            let (form, time) = irc.read.remove(at);
            (form, Some(time))
        });
        let time = before.max(time);
        if let Some(time) = time {
            if irc.read.len() >= IRC_MARKERS_MAX {
                irc.read.remove(0);
            }
            irc.read.push((form.into(), time));
        }
        self.irc_show_marker(target, time);
        Ok(None)
    }

    /// Joins a room. If the client supports read markers, the session first queries the marker, because the client is
    /// shown the marker before the members.
    pub(super) fn irc_enter(
        &mut self,
        room: RoomName,
        from: JoinFrom,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let wants = self
            .irc
            .as_deref()
            .is_some_and(|irc| irc.client.caps.has(Cap::ReadMarker));
        let known = chat.find_room(&room);
        let is_in = known.is_some_and(|room| self.room_ids().contains(&room));
        if wants
            && !is_in
            && let Some(reader) = self.irc_reader(room.casefolded().into(), chat)
        {
            let place = room.as_str().into();
            let then = Then::Join(room, from);
            return Ok(self.irc_read_marker(Marker {
                reader,
                place,
                then,
            }));
        }
        self.irc_request(Request::Join { room, from }, chat, now)
    }

    /// Returns the named reader that stores the marker of this nick in `place`.
    fn irc_reader(&self, place: Box<str>, chat: &Chat) -> Option<Reader> {
        let user = chat.user(self.nick?)?;
        Some(Reader {
            place,
            nick: user.nick.casefolded().to_owned(),
            name: NAME.to_owned(),
        })
    }

    fn irc_read_marker(&mut self, marker: Marker) -> Option<Effect> {
        let query = LogQuery::Reader(marker.reader.clone());
        self.query_marker(marker, query)
    }

    /// Continues with the result of a query.
    pub(in super::super) fn irc_got_marker(
        &mut self,
        marker: Marker,
        result: LogResult,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let Marker {
            reader,
            place,
            then,
        } = marker;
        let known = match result {
            LogResult::Reader(seen) => seen.map(Time),
            _ => None,
        };
        match then {
            Then::Show => self.irc_show_marker(&place, known),
            Then::Stored(time) => {
                self.irc_show_marker(&place, Some(time));
                self.tell_moved(&reader.name, &place, time.0, chat);
            }
            Then::Set(time) if known >= Some(time) => {
                self.irc_show_marker(&place, known);
            }
            Then::Set(_) if known.is_none() && !chat.may_make_reader(self.peer, now) => {
                let text = "this nick or address has too many readers";
                let _ = self.irc_markread_fails("INTERNAL_ERROR", &place, text);
            }
            Then::Set(time) => {
                let query = LogQuery::SetReader {
                    reader: reader.clone(),
                    owner: self.reader_owner(chat),
                    seen: time.0,
                };
                let then = Then::Stored(time);
                let marker = Marker {
                    reader,
                    place,
                    then,
                };
                return self.query_marker(marker, query);
            }
            Then::Join(room, from) => {
                if let Some(irc) = self.irc.as_deref_mut() {
                    irc.marker = Some(known);
                }
                let done = self.irc_request(Request::Join { room, from }, chat, now);
                if let Some(irc) = self.irc.as_deref_mut() {
                    irc.marker = None;
                }
                return self.irc_done(done, chat, now);
            }
        }
        None
    }

    /// Shows the client a marker that another connection of its nick has moved.
    pub(in super::super) fn irc_marker_moved(&mut self, place: &str, time: Time) {
        let irc = self.irc.as_deref().filter(|irc| irc.arriving.is_none());
        if irc.is_some_and(|irc| irc.client.caps.has(Cap::ReadMarker)) {
            self.irc_show_marker(place, Some(time));
        }
    }

    /// Reports that a marker cannot be read or set.
    pub(in super::super) fn irc_marker_failed(&mut self, marker: &Marker, text: &str) {
        let _ = self.irc_markread_fails("INTERNAL_ERROR", &marker.place, text);
    }

    fn irc_markread_fails(&mut self, why: &str, target: &str, text: &str) -> Done {
        let params = ["MARKREAD", why, target];
        self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
        Ok(None)
    }

    fn irc_show_marker(&mut self, target: &str, time: Option<Time>) {
        let time = shown(time);
        self.irc_send(|client, out| client.by_server("MARKREAD", &[target, &time], None, out));
    }
}

/// Returns the text of a marker for the client.
pub(super) fn shown(time: Option<Time>) -> String {
    time.map_or_else(|| "*".to_owned(), |time| format!("timestamp={time}"))
}
