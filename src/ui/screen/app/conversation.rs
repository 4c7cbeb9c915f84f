//! Replies, edits and reactions, by this client and by others.

use super::super::emoji::{OFFERED, named};
use super::super::extras::Extras;
use super::super::list::{List, Row, RowAction};
use super::super::room::{EntryKind, Room, Target};
use super::{App, ConnectionStatus, PendingRequest};
use crate::client::{ClientState, Reply};
use crate::protocol::Event;
use crate::protocol::text::clean;

/// The minimum number of digits of an id. A shorter number is part of the text.
const ID_DIGITS_MIN: usize = 12;

/// The maximum number of quoted messages that are requested at once, so that many replies do not delay what the user
/// types.
const QUOTES_ASKED_MAX: usize = 10;

impl App {
    /// Processes an edit or a reaction, and returns the index of its room (`usize::MAX` if the room is not in the
    /// list). Returns `None` for any other event. `Extras::replay` describes the number `replay`.
    pub(super) fn changed(&mut self, event: &Event<'_>, replay: Option<u32>) -> Option<usize> {
        let (Event::Edit { to, nick, id, .. }
        | Event::React { to, nick, id, .. }
        | Event::Unreact { to, nick, id, .. }) = event
        else {
            return None;
        };
        // A direct message is in the chat with the other user, who may have had another nick then.
        let at = if to.starts_with('#') {
            self.find(to)
        } else {
            let mut rooms = self.rooms.iter();
            rooms.position(|room| !room.name.starts_with('#') && room.has(*id))
        };
        let at = at.unwrap_or(usize::MAX);
        let is_ignored = self.is_ignored(nick);
        let is_about_me = match event {
            Event::Edit { text, .. } => self.is_about_me(text),
            _ => false,
        };
        let Some(room) = self.rooms.get_mut(at).filter(|_| !is_ignored) else {
            return Some(at);
        };
        match event {
            Event::Edit { text, .. } => {
                if room.edit(*id, nick, text)
                    && let Some(entry) = room.entry_mut(*id)
                {
                    entry.is_mention =
                        !entry.is_mine && (is_about_me || entry.extras.is_for_everybody);
                }
            }
            Event::React { emoji, .. } => room.react(*id, nick, emoji, true, replay),
            Event::Unreact { emoji, .. } => room.react(*id, nick, emoji, false, replay),
            _ => {}
        }
        Some(at)
    }

    /// Requests the messages that visible replies quote, if they are not in the window.
    pub(super) fn fetch_quotes(&mut self, state: &mut ClientState) {
        if self.status != ConnectionStatus::Connected {
            return;
        }
        let count = usize::from(self.size.1);
        let Some(room) = self.room() else { return };
        let last = super::super::lines::last_shown(room);
        let shown = (0..=last).rev().filter_map(|index| room.get(index));
        let is_missing = |id: &u64| room.quote(*id).is_none();
        let quoted = shown.take(count).filter_map(|entry| entry.extras.reply);
        let missing: Vec<u64> = quoted.filter(is_missing).collect();
        for id in missing {
            self.fetch_quote(self.at, id, state);
        }
    }

    /// Requests a quoted message that is not in the window.
    pub(super) fn fetch_quote(&mut self, at: usize, id: u64, state: &mut ClientState) {
        let Some(room) = self.rooms.get(at).filter(|room| room.is_room()) else {
            return;
        };
        let asked = self.pending_requests.values();
        let asked = asked.filter_map(|ask| match ask {
            PendingRequest::Quoted(name, id) => Some((name, *id)),
            _ => None,
        });
        if room.quote(id).is_none()
            && asked.clone().count() < QUOTES_ASKED_MAX
            && !asked.clone().any(|asked| asked == (&room.name, id))
        {
            let name = room.name.clone();
            let ask = format!("HISTORY {name} 1 before {}", id.saturating_add(1));
            self.ask(state, ask, PendingRequest::Quoted(name, id));
        }
    }

    /// Remembers a quoted message.
    pub(super) fn quoted(&mut self, name: &str, id: u64, reply: &Reply) {
        let events = reply.events();
        let found = events.iter().find(|logged| logged.id.get() == id);
        let kind = found.and_then(|logged| self.seen_as(&logged.event, &Extras::of(&logged.tags)));
        if let Some(room) = self.find(name).and_then(|at| self.rooms.get_mut(at)) {
            // A message that no longer exists is not requested again.
            room.remember_quote(id, &kind.unwrap_or(EntryKind::Hidden));
        }
    }

    /// Splits the id of a message from the text of a command. A number is an id if a message has this id, or if it
    /// has as many digits as an id.
    fn id_and_rest<'a>(&self, text: &'a str) -> (Option<u64>, &'a str) {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let id = crate::protocol::parse_number(first);
        let is_known = |id: &u64| {
            first.len() >= ID_DIGITS_MIN || self.room().is_some_and(|room| room.find(*id).is_some())
        };
        match id.filter(is_known) {
            Some(id) => (Some(id), rest.trim_start()),
            None => (None, text),
        }
    }

    /// Returns whether the server supports a part of the protocol. If it does not, shows an error.
    pub(super) fn needs(&mut self, capability: &str, what: &str, state: &ClientState) -> bool {
        let has = state.server().has(capability);
        if !has {
            self.complain(format!("this server does not support {what}"));
        }
        has
    }

    /// Handles `/reply [ID] TEXT`. Without an id, replies to the newest message of another user.
    pub(super) fn reply(&mut self, text: &str, state: &mut ClientState) {
        if !self.needs("reply", "replies", state) {
            return;
        }
        let (id, text) = self.id_and_rest(text);
        let id = id.or_else(|| self.room().and_then(Room::newest_to_answer));
        let here = self.room().map(|room| room.name.clone());
        match (id, here) {
            (Some(id), Some(_)) if text.is_empty() => self.set_target(Target::Reply(id)),
            (Some(id), Some(here)) => drop(self.send(&here, text, false, Some(id), state)),
            _ => self.complain("there is no message to reply to here"),
        }
    }

    /// Handles `/edit [ID] [TEXT]`. Without an id, edits the newest message of this client. Without a text, puts the
    /// message into the input line.
    pub(super) fn edit(&mut self, text: &str, state: &mut ClientState) {
        if !self.needs("edit", "edits", state) {
            return;
        }
        let (id, text) = self.id_and_rest(text);
        let id = id.or_else(|| Some(self.room()?.editable()?.0));
        match id {
            None => self.complain("there is no message of yours here"),
            Some(id) if text.is_empty() => self.start_edit(id),
            Some(id) => self.send_edit(id, text, state),
        }
    }

    /// Puts a message into the input line, so that the user can edit it.
    pub(super) fn start_edit(&mut self, id: u64) {
        let entry = self.room().and_then(|room| room.get(room.find(id)?));
        let text = entry
            .filter(|entry| entry.is_mine)
            .and_then(|entry| match &entry.kind {
                EntryKind::Msg { .. } | EntryKind::Me { .. } => Some(self.room()?.whole_text(id)),
                _ => None,
            });
        let Some(text) = text else {
            return self.complain("you can edit only your own messages");
        };
        let text = typed(&text);
        if let Some(room) = self.room_mut() {
            if room.editor.last() == Some(&text) {
                // From here, Up continues with the line that was typed before this message.
                room.editor.replace(String::new());
                room.editor.older();
            } else {
                room.editor.replace(text);
            }
        }
        self.set_target(Target::Edit(id));
    }

    /// Sends the new text of a message. Of a text of several lines, each line that has changed is replaced.
    pub(super) fn send_edit(&mut self, id: u64, text: &str, state: &mut ClientState) {
        let Some(room) = self.room() else { return };
        let (here, old) = (room.name.clone(), room.lines_of_message(id));
        if old.len() < 2 {
            // The new text of a line must be one line.
            return self.send_line(here, id, &text.replace('\n', " "), state);
        }
        let new: Vec<&str> = text.split('\n').collect();
        if new.len() != old.len() {
            self.complain(format!(
                "this message has {} lines; an edit can change them, but not add or remove any",
                old.len()
            ));
            if let Some(room) = self.room_mut() {
                room.editor.replace(text.to_owned());
            }
            return self.set_target_again(Target::Edit(id));
        }
        for ((id, old), new) in old.into_iter().zip(new) {
            if old != new {
                self.send_line(here.clone(), id, new, state);
            }
        }
    }

    fn send_line(&mut self, here: String, id: u64, text: &str, state: &mut ClientState) {
        let text = clean(text).into_owned();
        let request_id = state.edit(id, &text);
        self.note_request(request_id, PendingRequest::Edited(here, id, text));
    }

    /// Goes on with an edit that could not be sent. What is wrong with it stays on the screen.
    fn set_target_again(&mut self, target: Target) {
        if let Some(room) = self.room_mut() {
            room.target = Some(target);
        }
    }

    /// Edits the newest message of this client, if nothing has been typed in this room since. Returns `false`
    /// otherwise.
    pub fn edit_last(&mut self, state: &ClientState) -> bool {
        let Some(room) = self.room() else {
            return false;
        };
        let Some((id, text)) = room.editable() else {
            return false;
        };
        let is_last = room.editor.last().is_none_or(|last| last == typed(&text));
        if !room.editor.text().is_empty()
            || room.target.is_some()
            || !is_last
            || !state.server().has("edit")
        {
            return false;
        }
        self.start_edit(id);
        true
    }

    /// Handles `/react [ID] EMOJI` and `/unreact [ID] EMOJI`. Without an id, they apply to the newest message of
    /// another user.
    pub(super) fn react(&mut self, text: &str, is_on: bool, state: &mut ClientState) {
        let (id, word) = self.id_and_rest(text);
        let id = id.or_else(|| self.room().and_then(Room::newest_to_answer));
        match id {
            None => self.complain("there is no message to react to here"),
            Some(id) if word.is_empty() => self.offer_reactions(id, state),
            Some(_) if word.contains(' ') => self.complain("a reaction is one emoji"),
            Some(id) => self.send_reaction(id, word, is_on, state),
        }
    }

    /// Sends a reaction, or withdraws it.
    pub(super) fn send_reaction(
        &mut self,
        id: u64,
        word: &str,
        is_on: bool,
        state: &mut ClientState,
    ) {
        if !self.needs("react", "reactions", state) {
            return;
        }
        let Some(here) = self.room().map(|room| room.name.clone()) else {
            return;
        };
        let emoji = named(word).to_owned();
        let request_id = if is_on {
            state.react(id, &emoji)
        } else {
            state.unreact(id, &emoji)
        };
        let ask = PendingRequest::Reacted(here, id, emoji, is_on);
        self.note_request(request_id, ask);
    }

    /// Offers the usual reactions. If the user has already reacted with the chosen one, it is withdrawn.
    pub(super) fn offer_reactions(&mut self, id: u64, state: &ClientState) {
        if !self.needs("react", "reactions", state) {
            return;
        }
        let row = |(emoji, name): &(&str, &str)| Row {
            head: format!("{emoji}  "),
            text: (*name).to_owned(),
            action: RowAction::React(id, (*emoji).to_owned()),
        };
        self.list = Some(List {
            title: "react: Enter sends one of these, /react EMOJI any other".into(),
            rows: OFFERED.iter().map(row).collect(),
            at: 0,
        });
    }

    /// Returns whether this client is known to have reacted to a message with this emoji.
    pub fn has_reacted(&self, id: u64, emoji: &str) -> bool {
        let entry = self.room().and_then(|room| room.get(room.find(id)?));
        entry.is_some_and(|entry| {
            let mut reactions = entry.extras.reactions.iter();
            reactions.any(|known| known.emoji == emoji && known.nicks.contains(&self.nick))
        })
    }

    /// Handles `/reactions [ID]`: lists who has reacted.
    pub(super) fn reactions(&mut self, text: &str, state: &mut ClientState) {
        let (id, _) = self.id_and_rest(text);
        let newest = |room: &Room| {
            let mut entries = room.entries().rev();
            entries
                .find(|entry| !entry.extras.reactions.is_empty())
                .and_then(|entry| entry.id)
        };
        match id.or_else(|| self.room().and_then(newest)) {
            Some(id) => self.ask(state, format!("REACTS {id}"), PendingRequest::Reactions),
            None => self.notify("nobody has reacted to a message here"),
        }
    }

    /// Shows who has reacted.
    pub(super) fn show_reactions(&mut self, reply: &Reply) {
        let row = |reaction: crate::client::Reaction| Row {
            head: format!("{}  ", clean(&reaction.emoji)),
            text: clean(&reaction.nick).into_owned(),
            action: RowAction::Close,
        };
        let rows = reply.reactions().into_iter().map(row).collect();
        self.show(
            "reactions".to_owned(),
            rows,
            "nobody has reacted to that message",
        );
    }

    /// Sets the purpose of the text in the input line.
    pub(super) fn set_target(&mut self, target: Target) {
        if let Some(room) = self.room_mut() {
            room.target = Some(target);
            room.marked = None;
        }
        self.message = None;
    }

    /// Ends a reply or an edit. Returns `false` if there was none.
    pub fn drop_target(&mut self) -> bool {
        let Some(room) = self.room_mut() else {
            return false;
        };
        match room.target.take() {
            Some(Target::Edit(_)) => {
                room.editor.replace(String::new());
                true
            }
            Some(Target::Reply(_)) => true,
            None => false,
        }
    }
}

/// Returns a message as a user would type it. A message that begins with a slash gets a second slash; otherwise it
/// would be a command.
pub(super) fn typed(text: &str) -> String {
    if text.starts_with('/') {
        format!("/{text}")
    } else {
        text.to_owned()
    }
}
