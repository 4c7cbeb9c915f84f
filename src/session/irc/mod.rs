//! The connection of an IRC client. Its lines become the same requests as those of other clients, so rights, limits
//! and order are the same. The replies become what IRC clients expect; see `irc.md`.
//!
//! The dialect writes the lines. This module handles everything that depends on earlier lines of the connection.

mod arrive;
mod ask;
mod confirm;
pub(super) mod history;
mod label;
pub(super) mod marker;
mod multiline;
mod reply;
mod talk;
pub(super) mod targets;

use std::time::Duration;

use super::lazy_list::LazyList;
use super::output::Pending;
use super::request::Done;
use super::{AfterReply, Deferred, Effect, LineEnd, Security, Session};
use crate::chat::nick::Leaves;
use crate::chat::{Chat, RoomId};
use crate::dialect::irc::{Client, IrcLine, numeric};
use crate::dialect::{Dialect, Line, Output, Writer};
use crate::model::Now;
use crate::protocol::Time;
use crate::protocol::request::Refusal;
use arrive::Arriving;
use confirm::Confirm;
use label::Labeled;
use multiline::Incoming;
use reply::Asked;

/// The state of a session with an IRC client.
#[derive(Debug)]
pub(super) struct Irc {
    pub client: Client,
    /// What the client has sent before the welcome; `None` after the welcome.
    arriving: Option<Box<Arriving>>,
    /// The part of the SASL answer that has arrived so far.
    sasl: Option<String>,
    /// The command that is being answered.
    asked: Asked,
    /// The label of the command that is being answered, if the answer must contain the label.
    labeled: Option<Box<Labeled>>,
    /// The message of several lines that is arriving.
    incoming: Option<Box<Incoming>>,
    /// The read markers of direct messages that only this connection remembers: casefolded nicks, each with the
    /// marker's time. The most recently used marker is last.
    read: Vec<(Box<str>, Time)>,
    /// The read marker of the room that is being joined: `Some(None)` if the room has none yet, and `None` if no marker
    /// must be shown.
    marker: Option<Option<Time>>,
    /// The positions of named readers that the client has been asked to confirm; `None` if the client uses no named
    /// reader.
    confirm: Option<Box<Confirm>>,
    /// The reason to close the connection, if the last request has made the connection useless.
    fatal: Option<Box<str>>,
}

impl Session {
    /// Returns a writer for this dialect and the client.
    pub(super) fn writer(&self, dialect: Dialect) -> Writer<'_> {
        dialect.to(self.irc.as_deref().map(|irc| &irc.client))
    }

    /// Returns a reply as a line to queue.
    pub(super) fn reply_line(&mut self, line: Line<'_>) -> Output {
        match self.irc.as_deref_mut() {
            Some(irc) => irc.reply(line),
            None => self.input.line(line),
        }
    }

    /// Returns whether the client speaks IRC.
    pub fn is_irc(&self) -> bool {
        self.irc.is_some()
    }

    /// Returns whether this is an IRC client that has not been welcomed yet. Such a client receives no events.
    pub(super) fn is_arriving(&self) -> bool {
        let irc = self.irc.as_deref();
        irc.is_some_and(|irc| irc.arriving.is_some())
    }

    /// Makes this the connection of an IRC client. The connection keeps its nick and rooms.
    pub fn speak_irc(&mut self, chat: &Chat) {
        let files = match (self.has_web, self.security) {
            (false, _) => String::new(),
            (true, Security::Plain) => format!("http://{}", self.local()),
            (true, Security::Tls) => format!("https://{}", self.local()),
        };
        self.irc = Some(Box::new(Irc {
            client: Client::new(&chat.config.name, &files),
            arriving: Some(Box::default()),
            sasl: None,
            asked: Asked::Nothing,
            labeled: None,
            incoming: None,
            read: Vec::new(),
            marker: None,
            confirm: None,
            fatal: None,
        }));
        self.input = Dialect::Irc;
        self.push(Output::default(), AfterReply::Dialect(Dialect::Irc));
    }

    /// Handles a line of an IRC client.
    pub(super) fn irc_line(
        &mut self,
        line: &[u8],
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        let Ok(text) = std::str::from_utf8(line) else {
            let word = line.split(|b| *b == b' ').next().unwrap_or_default();
            let word = std::str::from_utf8(word)
                .unwrap_or("*")
                .to_ascii_uppercase();
            let text = "the line is not UTF-8 and was ignored";
            self.irc_send(|client, out| {
                client.by_server("FAIL", &[&word, "INVALID_UTF8"], Some(text), out);
            });
            return None;
        };
        let parsed = IrcLine::parse(text)?;
        let depends = chat.is_shared() && depends_on_others(&parsed);
        if depends || !is_message(&parsed) {
            self.take_outcomes(chat);
            if self.replies().undecided > 0 || depends && !self.has_caught_up(chat) {
                self.replies_mut().deferred = Some(Deferred::Line(line.to_vec(), end));
                return None;
            }
        }
        let step = self.next_reply();
        self.irc_take_label(&parsed);
        let done = if self.is_arriving() {
            self.irc_arrive(&parsed, chat, now)
        } else {
            self.irc_command(&parsed, chat, now)
        };
        let effect = self.irc_done(done, chat, now);
        self.irc_label(step, effect.as_ref());
        effect
    }

    /// Reports the refusal, if there is one. Closes the connection if it has become useless.
    fn irc_done(&mut self, done: Done, chat: &mut Chat, now: Now) -> Option<Effect> {
        let effect = done.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        });
        let fatal = self.irc.as_deref_mut().and_then(|irc| irc.fatal.take());
        if let Some(text) = fatal
            && !self.is_ending()
        {
            let mut out = Output::default();
            if let Some(irc) = self.irc.as_deref() {
                irc.client.error(&text, &mut out.bytes);
            }
            self.depart_after_unread("", Leaves::ForNow, chat, now);
            self.push(out, AfterReply::Close);
            return None;
        }
        effect
    }

    /// Continues after a step of a request that needs queries. After the last step, tries to welcome a client that has
    /// not been welcomed yet.
    pub(super) fn irc_continue(
        &mut self,
        effect: Option<Effect>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        if effect.is_some() || self.irc.is_none() {
            return effect;
        }
        let done =
            if self.is_arriving() && self.irc.as_deref().is_some_and(|irc| irc.fatal.is_none()) {
                self.irc_try_welcome(chat, now)
            } else {
                Ok(None)
            };
        self.irc_done(done, chat, now)
    }

    /// Returns the time at which [`Self::irc_on_time`] must be called.
    pub(super) fn irc_due(&self) -> Option<Duration> {
        let due = [self.irc_batch_due(), self.irc_confirm_due()];
        due.into_iter().flatten().min()
    }

    /// Does what is due: drops a message of several lines that has not arrived in time, and asks the client to confirm
    /// the events that it has received.
    pub(super) fn irc_on_time(&mut self, now: Now) {
        self.irc_drop_late_batch(now);
        if self.irc_confirm_due().is_some_and(|due| due <= now.uptime) {
            self.irc_ask_to_confirm(now);
        }
    }

    /// Reports a line that is too long.
    pub(super) fn irc_too_long(&mut self) {
        let text = "a line has at most 4096 bytes";
        self.irc_send(|client, out| client.numeric(numeric::INPUT_TOO_LONG, &[], text, out));
    }

    /// Remembers which command is being answered.
    fn irc_asks(&mut self, asked: Asked) {
        if let Some(irc) = self.irc.as_deref_mut() {
            irc.client.replays = false;
            irc.asked = asked;
        }
    }

    /// Queues lines for the client.
    fn irc_send(&mut self, write: impl FnOnce(&Client, &mut Vec<u8>)) {
        let mut out = Output::default();
        if let Some(irc) = self.irc.as_deref() {
            write(&irc.client, &mut out.bytes);
        }
        if !out.is_empty() {
            self.push(out, AfterReply::Nothing);
        }
    }

    /// Queues a numeric reply.
    fn irc_numeric(&mut self, number: &str, params: &[&str], text: &str) {
        self.irc_send(|client, out| client.numeric(number, params, text, out));
    }

    /// Shows the client a room that it has joined: its own `JOIN`, the topic and the members.
    pub(super) fn irc_entered(&mut self, room: RoomId, chat: &mut Chat) {
        let Some(irc) = self.irc.as_deref() else {
            return;
        };
        let Some(entered) = chat.room(room) else {
            return;
        };
        let mut out = Output::default();
        irc.write_join(entered.name.as_str(), self.nick, chat, &mut out.bytes);
        irc.write_topic(entered.name.as_str(), &entered.topic, false, &mut out.bytes);
        if let Some(marker) = irc.marker {
            let (name, time) = (entered.name.as_str(), marker::shown(marker));
            irc.client
                .by_server("MARKREAD", &[name, &time], None, &mut out.bytes);
        }
        let wants_names = irc.wants_names();
        self.push(out, AfterReply::Nothing);
        if !wants_names {
            return;
        }
        let names = LazyList::names(room);
        if chat.is_shared() {
            // The list is made when the servers have decided that the nick is in the room.
            let names = Pending::List(Box::new(names));
            self.replies_mut().pending.push_back(names);
        } else {
            let _ = self.list(names, chat);
        }
    }
}

fn is_message(line: &IrcLine<'_>) -> bool {
    matches!(&*line.command, "PRIVMSG" | "NOTICE")
}

/// Returns whether the answer to a line depends on earlier changes by others.
fn depends_on_others(line: &IrcLine<'_>) -> bool {
    if is_message(line) {
        return line.params.first().is_some_and(|to| !to.starts_with('#'));
    }
    !matches!(
        &*line.command,
        "CAP"
            | "USER"
            | "PASS"
            | "PING"
            | "PONG"
            | "QUIT"
            | "PART"
            | "AWAY"
            | "AUTHENTICATE"
            | "BATCH"
    )
}

/// Returns the refusal of a line with a missing parameter.
fn lacks(what: &'static str) -> Refusal {
    Refusal::of_line(crate::protocol::Code::BadSyntax, what)
}
