//! Handles the updates of the client: events, and the status of the connection.

use std::collections::HashMap;

use jiff::Timestamp;

use super::super::extras::Extras;
use super::super::room::{Entry, EntryKind, PAGE, View};
use super::{App, ConnectionStatus, Effect, PendingRequest};
use crate::client::{ClientState, Sent, Stored, Update};
use crate::protocol::human::describe;
use crate::protocol::text::clean;
use crate::protocol::{Event, EventId, Time};

impl App {
    /// Processes an update.
    pub fn update(&mut self, update: Update, state: &mut ClientState) {
        match update {
            Update::Connected { nick, is_reconnect } => {
                self.status = ConnectionStatus::Connected;
                let nick = nick.unwrap_or_default();
                let was = std::mem::replace(&mut self.nick, nick.clone());
                if is_reconnect {
                    self.note_here("· connected again".to_owned());
                    if was != nick {
                        self.note_here(format!("· your nick was taken; you are {nick} now"));
                    }
                }
                self.ask(
                    state,
                    "ROOMS".into(),
                    PendingRequest::Rooms { is_shown: false },
                );
                self.begin_reading(state);
                if !self.own_away.is_empty() {
                    let text = self.own_away.clone();
                    self.ask(state, format!("AWAY {text}"), PendingRequest::Away(text));
                }
            }
            Update::Disconnected { error, retry_in } => {
                self.breaks = self.breaks.wrapping_add(1);
                self.away.clear();
                let why = error.to_string();
                if self.status == ConnectionStatus::Connected {
                    self.note_here(format!("· {why}"));
                }
                let pause = jiff::SignedDuration::try_from(retry_in).unwrap_or_default();
                let until = self.now.checked_add(pause).unwrap_or(self.now);
                self.status = ConnectionStatus::Offline { why, until };
            }
            Update::Ended(error) => self.request_effect(Effect::End(Some(error))),
            Update::Joined { room, last_id, .. } => self.joined(&room, last_id, state),
            Update::JoinFailed {
                room,
                error,
                is_permanent,
            } => {
                self.complain(format!("{room}: {error}"));
                if is_permanent {
                    self.forget(&room);
                }
            }
            Update::Left { room } => {
                self.forget(&room);
                self.notify(format!("you left {room}"));
            }
            Update::Renamed { nick } => {
                let note = format!("· you are {nick} now");
                for room in &mut self.rooms {
                    if room.leave(&self.nick) {
                        room.enter(&nick);
                    }
                }
                self.nick = nick;
                self.note_here(note);
                self.begin_reading(state);
            }
            Update::Event {
                id,
                time,
                tags,
                event,
                is_replayed,
            } => {
                let replay = is_replayed.then_some(self.breaks);
                let extras = Extras {
                    replay,
                    ..Extras::of(&tags)
                };
                self.event(id, time, extras, &event, state);
            }
            Update::Gap { place } => {
                if let Some(at) = self.find(&place) {
                    self.note_in(at, "· some messages are missing here".into());
                    self.ask(
                        state,
                        format!("WHO {place}"),
                        PendingRequest::Members(place),
                    );
                }
            }
            Update::Sent {
                request_id,
                sent,
                tags,
                event,
            } => {
                self.pending_requests.remove(&request_id);
                for room in &mut self.rooms {
                    room.pending
                        .retain(|pending| pending.request_id != request_id);
                }
                if let Some(event) = event {
                    self.own(sent, Extras::of(&tags), &event, state);
                }
            }
            Update::Seen { room, reader, id } => self.read_elsewhere(&room, &reader, id),
            Update::Answer { request_id, result } => self.answer(request_id, result, state),
        }
        self.fetch_missing(state);
    }

    /// Processes the acceptance of a message of this client. Each line of a text of several lines becomes an entry of
    /// its own.
    fn own(&mut self, sent: Sent, extras: Extras, event: &Event<'_>, state: &mut ClientState) {
        let (id, time) = (sent.id, Some(sent.time));
        let Event::Msg { to, nick, text } = event else {
            return self.event(id, time, extras, event, state);
        };
        for (n, (line, extras)) in lines_of(text, id, extras).enumerate() {
            let event = Event::Msg {
                to: to.clone(),
                nick: nick.clone(),
                text: line.into(),
            };
            let id = id.and_then(|first| EventId::new(first.get() + n as u64));
            self.event(id, time, extras, &event, state);
        }
    }

    /// Shows a file that the user has sent to another user. An older server tells only the other user of it.
    pub fn sent_file(&mut self, to: &str, stored: &Stored, name: &str, state: &mut ClientState) {
        let event = Event::File {
            room: to.into(),
            nick: self.nick.clone().into(),
            file: stored.file,
            length: Some(stored.length),
            name: name.into(),
        };
        let id = EventId::new(stored.file);
        self.event(id, None, Extras::default(), &event, state);
    }

    /// Processes a joined room.
    fn joined(&mut self, name: &str, last_id: u64, state: &mut ClientState) {
        let at = self.open(name);
        let seen = self.seen.remove(name);
        if self.first.as_deref() == Some(name) {
            self.first = None;
            self.at = at;
        }
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        if last_id < room.last_id {
            // The server has lost its log, and its ids have started again.
            room.clear();
            room.last_id = 0;
        }
        room.last_id = room.last_id.max(last_id);
        if room.new_after.is_none() {
            room.new_after = seen;
        }
        if room.first_id().is_none() {
            room.is_loading = true;
            let ask = format!("HISTORY {name} {PAGE} before {}", last_id + 1);
            self.ask(state, ask, PendingRequest::Older(name.into()));
        }
        self.ask(
            state,
            format!("WHO {name}"),
            PendingRequest::Members(name.into()),
        );
        self.ask(
            state,
            format!("TOPIC {name}"),
            PendingRequest::Topic(name.into()),
        );
    }

    /// Processes an event.
    fn event(
        &mut self,
        id: Option<EventId>,
        time: Option<Time>,
        extras: Extras,
        event: &Event<'_>,
        state: &mut ClientState,
    ) {
        if let Some(at) = self.changed(event, extras.replay) {
            let entry = self.entry(id, time, EntryKind::Hidden);
            if let Some(room) = self.rooms.get_mut(at) {
                room.push(entry);
            }
            if let Event::Edit { .. } = event {
                self.fetch_quotes(state);
            }
            return;
        }
        let place = match event {
            Event::Note { from, text } => {
                let note = format!("· {from}: {text}");
                return self.note_here(clean(&note).into_owned());
            }
            Event::Invite { room, by } => {
                let note = format!("· {by} invites you to {room}: /join {room}");
                return self.note_here(clean(&note).into_owned());
            }
            // The nick to which the user has sent a message is away.
            Event::Away { to, nick, .. } if !to.starts_with('#') => nick.to_string(),
            // A direct message belongs to the chat with its sender.
            Event::Msg { to, nick, .. }
            | Event::File { room: to, nick, .. }
            | Event::Stored { room: to, nick, .. }
                if !to.starts_with('#') =>
            {
                self.chat_of(event).to_owned()
            }
            Event::Remove { room, id, .. } if !room.starts_with('#') => {
                let talks = self.rooms.iter_mut().filter(|room| !room.is_room());
                return talks.for_each(|talk| talk.remove(*id));
            }
            event => event.place().to_owned(),
        };
        let at = if place.starts_with('#') {
            self.find(&place)
        } else if self.is_ignored(event.nick()) {
            return;
        } else {
            Some(self.open(&clean(&place)))
        };
        let Some(at) = at else { return };
        let kind = self.seen_as(event, &extras);
        let kind = kind.map(|kind| self.entry(id, time, kind));
        if let Some(id) = extras.reply {
            self.fetch_quote(at, id, state);
        }
        if let Event::Nick { old, new, .. } = event {
            self.rename_chat(&clean(old), &clean(new));
        }
        let is_here = at == self.at && self.is_focused;
        let mut others = self.rooms.iter().enumerate().filter(|(n, _)| *n != at);
        if let Event::Part { nick, .. } = event
            && !others.any(|(_, other)| other.has_member(nick))
        {
            self.away.remove(&**nick);
        }
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        match event {
            Event::Join { nick, .. } => {
                room.enter(nick);
                // If the nick is away, an `AWAY` follows.
                self.away.remove(&**nick);
            }
            Event::Away { nick, text, .. } => note_away(&mut self.away, nick, text),
            Event::Part { nick, .. } => {
                room.leave(nick);
            }
            Event::Nick { old, new, .. } => {
                room.leave(old);
                room.enter(new);
                if let Some(text) = self.away.remove(&**old) {
                    self.away.insert(new.to_string(), text);
                }
            }
            Event::Topic { text, .. } => room.topic = clean(text).into_owned(),
            Event::Remove { id, .. } => room.remove(*id),
            _ => {}
        }
        let Some(mut entry) = kind else { return };
        let answered = extras.reply.and_then(|id| room.get(room.find(id)?));
        let is_answer = answered.is_some_and(|answered| answered.is_mine);
        entry.is_mention |= !entry.is_mine && is_answer;
        // Of a text of several lines, only the first line and lines with a mention are counted.
        let is_first = extras.part_of.is_none();
        let entry = entry.with_extras(extras);
        let is_counted = is_first || entry.is_mention;
        let counts = entry.kind.nick().is_some() && !entry.is_mine && is_counted;
        let is_for_me = entry.is_mention || !room.is_room();
        let is_news = match (entry.id, room.is_room()) {
            (None, _) => true,
            (Some(id), true) => id > room.last_id,
            (Some(id), false) => !room.has(id),
        };
        room.push(entry);
        if counts && is_news {
            let is_read = is_here && room.view == View::Bottom;
            if !is_read {
                room.unread += usize::from(is_first);
                room.mentions += usize::from(is_for_me);
            }
            let is_quiet = room.is_muted || !self.preferences.bell;
            if is_for_me && !(is_here && is_read) && !is_quiet {
                self.request_effect(Effect::Bell);
            }
        }
    }

    /// Returns the entry that shows an event; `None` if the event is not shown.
    pub(super) fn seen_as(&self, event: &Event<'_>, extras: &Extras) -> Option<EntryKind> {
        if self.is_ignored(event.nick()) {
            return Some(EntryKind::Hidden);
        }
        let own = |text: &str| clean(text).into_owned();
        Some(match event {
            Event::Msg { nick, .. } | Event::Me { nick, .. } | Event::File { nick, .. }
                if extras.is_removed =>
            {
                EntryKind::Removed { nick: own(nick) }
            }
            Event::Msg { nick, text, .. } => EntryKind::Msg {
                nick: own(nick),
                text: own(text),
            },
            Event::Me { nick, text, .. } => EntryKind::Me {
                nick: own(nick),
                text: own(text),
            },
            Event::File {
                nick,
                file,
                length,
                name,
                ..
            } => EntryKind::File {
                nick: own(nick),
                file: *file,
                length: *length,
                name: own(name),
            },
            // An edit and a reaction are shown at their message.
            Event::Remove { .. }
            | Event::Edit { .. }
            | Event::React { .. }
            | Event::Unreact { .. } => EntryKind::Hidden,
            Event::Join { .. } | Event::Part { .. } if !self.preferences.presence => return None,
            Event::Away { to, .. } if to.starts_with('#') && !self.preferences.presence => {
                return None;
            }
            Event::Join { nick, .. } => EntryKind::Note(format!("→ {} joined", own(nick))),
            Event::Part { nick, text, .. } if text.is_empty() => {
                EntryKind::Note(format!("← {} left", own(nick)))
            }
            Event::Part { nick, text, .. } => {
                EntryKind::Note(format!("← {} left ({})", own(nick), own(text)))
            }
            other => {
                let text = describe(other);
                let text = text.strip_prefix("-- ").unwrap_or(&text);
                EntryKind::Note(format!("· {}", own(text)))
            }
        })
    }

    /// Creates an entry.
    pub(super) fn entry(&self, id: Option<EventId>, time: Option<Time>, kind: EntryKind) -> Entry {
        let at = time.and_then(|time| i64::try_from(time.0).ok());
        let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let is_mine = kind.nick() == Some(&self.nick[..]);
        let is_mention = !is_mine
            && match &kind {
                EntryKind::Msg { text, .. } | EntryKind::Me { text, .. } => self.is_about_me(text),
                _ => false,
            };
        Entry {
            id: id.map(EventId::get),
            at: at.unwrap_or(self.now),
            kind,
            is_mine,
            is_mention,
            extras: Extras::default(),
        }
    }

    /// Adds a note to the current room.
    pub(super) fn note_here(&mut self, text: String) {
        self.note_in(self.at, text);
    }

    /// Adds a note to a room.
    fn note_in(&mut self, at: usize, text: String) {
        let entry = self.entry(None, None, EntryKind::Note(text));
        if let Some(room) = self.rooms.get_mut(at) {
            room.push(entry);
        }
    }
}

/// Notes why a user is away. If the text is empty, the user is back.
pub(super) fn note_away(away: &mut HashMap<String, String>, nick: &str, text: &str) {
    if text.is_empty() {
        away.remove(nick);
    } else {
        away.insert(nick.to_owned(), clean(text).into_owned());
    }
}

/// Returns the lines of a message of this client, each with its tags.
pub(super) fn lines_of(
    text: &str,
    id: Option<EventId>,
    extras: Extras,
) -> impl Iterator<Item = (String, Extras)> {
    let lines: Vec<String> = match extras.lines {
        Some(_) => text.lines().map(str::to_owned).collect(),
        None => vec![text.to_owned()],
    };
    lines.into_iter().enumerate().map(move |(n, line)| {
        let further = Extras {
            part_of: id.map(EventId::get),
            ..Extras::default()
        };
        (line, if n == 0 { extras.clone() } else { further })
    })
}
