//! What the server tells: who comes and goes, what is said, how the connection does.

use jiff::Timestamp;

use super::super::room::{Entry, PAGE, View, What};
use super::{App, Ask, Effect, Standing, names, size};
use crate::client::Update;
use crate::client::link::Link;
use crate::protocol::people::describe;
use crate::protocol::text::clean;
use crate::protocol::{Event, EventId, Time};

impl App {
    /// Takes in what the link tells.
    pub fn update(&mut self, update: Update, link: &mut Link) {
        match update {
            Update::Here { nick, is_again } => {
                self.standing = Standing::Here;
                let nick = nick.unwrap_or_default();
                let was = std::mem::replace(&mut self.nick, nick.clone());
                if is_again {
                    self.note_here("· connected again".to_owned());
                    if was != nick {
                        self.note_here(format!("· your nick was taken; you are {nick} now"));
                    }
                }
                self.ask(link, "ROOMS".into(), Ask::Rooms { is_shown: false });
            }
            Update::Away { why, pause } => {
                let why = why.to_string();
                if self.standing == Standing::Here {
                    self.note_here(format!("· {why}"));
                }
                let pause = jiff::SignedDuration::try_from(pause).unwrap_or_default();
                let until = self.now.checked_add(pause).unwrap_or(self.now);
                self.standing = Standing::Away { why, until };
            }
            Update::Over(error) => self.want(Effect::End(Some(error))),
            Update::Entered { room, last_id, .. } => self.entered(&room, last_id, link),
            Update::KeptOut {
                room,
                error,
                is_for_good,
            } => {
                self.complain(format!("{room}: {error}"));
                if is_for_good {
                    self.forget(&room);
                }
            }
            Update::Left { room } => {
                self.forget(&room);
                self.say(format!("you left {room}"));
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
            }
            Update::Event {
                id, time, event, ..
            } => self.event(id, time, &event),
            Update::Gap { place } => {
                if let Some(at) = self.find(&place) {
                    self.note_in(at, "· something is left out here".into());
                    self.ask(link, format!("WHO {place}"), Ask::Members(place));
                }
            }
            Update::Sent {
                ticket,
                sent,
                event,
            } => {
                self.asked.remove(&ticket);
                for room in &mut self.rooms {
                    room.pending.retain(|pending| pending.ticket != ticket);
                }
                if let Some(event) = event {
                    self.event(sent.id, Some(sent.time), &event);
                }
            }
            Update::Answer { ticket, result } => self.answer(ticket, result, link),
        }
        self.settle(link);
    }

    fn entered(&mut self, name: &str, last_id: u64, link: &mut Link) {
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
            // The server began anew, and its ids with it.
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
            self.ask(link, ask, Ask::Older(name.into()));
        }
        self.ask(link, format!("WHO {name}"), Ask::Members(name.into()));
        self.ask(link, format!("TOPIC {name}"), Ask::Topic(name.into()));
    }

    fn event(&mut self, id: Option<EventId>, time: Option<Time>, event: &Event<'_>) {
        let place = match event {
            Event::Note { from, text } => {
                let note = format!("· {from}: {text}");
                return self.note_here(clean(&note).into_owned());
            }
            Event::Invite { room, by } => {
                let note = format!("· {by} invites you to {room}: /join {room}");
                return self.note_here(clean(&note).into_owned());
            }
            // What was told to one stands with who told it.
            Event::Msg { to, nick, .. } if !to.starts_with('#') => match **to == self.nick[..] {
                true => nick.to_string(),
                false => to.to_string(),
            },
            Event::Remove { room, id, .. } if !room.starts_with('#') => {
                let talks = self.rooms.iter_mut().filter(|room| !room.is_room());
                return talks.for_each(|talk| talk.remove(*id));
            }
            event => event.place().to_owned(),
        };
        let at = match place.starts_with('#') {
            true => self.find(&place),
            false if self.is_ignored(event.nick()) => return,
            false => Some(self.open(&clean(&place))),
        };
        let Some(at) = at else { return };
        let what = self.seen_as(event).map(|what| self.entry(id, time, what));
        let is_here = at == self.at && self.is_focused;
        let Some(room) = self.rooms.get_mut(at) else {
            return;
        };
        match event {
            Event::Join { nick, .. } => room.enter(nick),
            Event::Part { nick, .. } => {
                room.leave(nick);
            }
            Event::Nick { old, new, .. } => {
                room.leave(old);
                room.enter(new);
            }
            Event::Topic { text, .. } => room.topic = clean(text).into_owned(),
            Event::Remove { id, .. } => room.remove(*id),
            _ => {}
        }
        let Some(entry) = what else { return };
        let counts = entry.what.nick().is_some() && !entry.is_mine;
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
                room.unread += 1;
                room.mentions += usize::from(is_for_me);
            }
            if is_for_me && !(is_here && is_read) && self.options.bell {
                self.want(Effect::Bell);
            }
        }
    }

    /// What an event looks like; `None` for one that leaves no trace.
    pub(super) fn seen_as(&self, event: &Event<'_>) -> Option<What> {
        if self.is_ignored(event.nick()) {
            return Some(What::Hidden);
        }
        let own = |text: &str| clean(text).into_owned();
        Some(match event {
            Event::Msg { nick, text, .. } => What::Msg {
                nick: own(nick),
                text: own(text),
            },
            Event::Me { nick, text, .. } => What::Me {
                nick: own(nick),
                text: own(text),
            },
            Event::File {
                nick,
                file,
                length,
                name,
                ..
            } => What::File {
                nick: own(nick),
                file: *file,
                length: *length,
                name: own(name),
            },
            Event::Remove { .. } => What::Hidden,
            Event::Join { .. } | Event::Part { .. } if !self.options.presence => return None,
            Event::Join { nick, .. } => What::Note(format!("→ {} came in", own(nick))),
            Event::Part { nick, text, .. } if text.is_empty() => {
                What::Note(format!("← {} left", own(nick)))
            }
            Event::Part { nick, text, .. } => {
                What::Note(format!("← {} left ({})", own(nick), own(text)))
            }
            other => {
                let text = describe(other, size);
                let text = text.strip_prefix("-- ").unwrap_or(&text);
                What::Note(format!("· {}", own(text)))
            }
        })
    }

    pub(super) fn entry(&self, id: Option<EventId>, time: Option<Time>, what: What) -> Entry {
        let at = time.and_then(|time| i64::try_from(time.0).ok());
        let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let is_mine = what.nick() == Some(&self.nick[..]);
        let is_mention = !is_mine
            && match &what {
                What::Msg { text, .. } | What::Me { text, .. } => names(text, &self.nick),
                _ => false,
            };
        Entry {
            id: id.map(EventId::get),
            at: at.unwrap_or(self.now),
            what,
            is_mine,
            is_mention,
        }
    }

    /// A note where one looks.
    pub(super) fn note_here(&mut self, text: String) {
        self.note_in(self.at, text);
    }

    fn note_in(&mut self, at: usize, text: String) {
        let entry = self.entry(None, None, What::Note(text));
        if let Some(room) = self.rooms.get_mut(at) {
            room.push(entry);
        }
    }
}
