//! Stores the positions of a client's named readers while it is connected, because it may leave without `QUIT`. From
//! time to time, the server sends a `PING`. The client's `PONG` proves that the client has received everything that was
//! sent before the `PING`.

use std::time::Duration;

use super::super::request::Done;
use super::super::{Session, millis};
use super::reply::Asked;
use crate::chat::Chat;
use crate::config::fixed::IRC_CONFIRM_EVERY;
use crate::dialect::irc::{IrcLine, Message};
use crate::log::Reader;
use crate::model::Now;

/// The last `PING` to an IRC client, and the positions of named readers that the client confirms by answering it.
#[derive(Debug)]
pub(super) struct Confirm {
    /// The uptime at which the client was last asked. Before the first time, the uptime at which it began to use a
    /// named reader.
    asked_ms: u64,
    /// The number in the last `PING`.
    number: u64,
    readers: Vec<AskedReader>,
}

#[derive(Debug)]
struct AskedReader {
    reader: Reader,
    /// The id of the last event that was sent before the `PING`.
    seen: u64,
    is_confirmed: bool,
}

impl Session {
    /// Remembers that the client uses a named reader.
    pub(super) fn irc_uses_reader(&mut self, now: Now) {
        if let Some(irc) = self.irc.as_deref_mut() {
            irc.confirm.get_or_insert_with(|| {
                Box::new(Confirm {
                    asked_ms: millis(now.uptime),
                    number: 0,
                    readers: Vec::new(),
                })
            });
        }
    }

    /// Returns the time at which the client must be asked next; `None` if the client has received nothing new.
    pub(super) fn irc_confirm_due(&self) -> Option<Duration> {
        let confirm = self.irc.as_deref()?.confirm.as_deref()?;
        let mut moved = self.irc_read_by_name();
        moved
            .any(|(reader, seen)| {
                let mut known = confirm.readers.iter();
                !known.any(|known| known.reader == *reader && known.seen >= seen)
            })
            .then(|| Duration::from_millis(confirm.asked_ms) + IRC_CONFIRM_EVERY)
    }

    /// Returns the named readers of this connection with their positions.
    fn irc_read_by_name(&self) -> impl Iterator<Item = (&Reader, u64)> {
        let rooms = self.rooms.iter();
        let rooms = rooms.filter(|room| !room.is_leaving && !room.waits_for_backlog);
        rooms.filter_map(|room| Some((room.reader.as_deref()?, room.seen)))
    }

    /// Asks the client to confirm that it has received everything up to now.
    pub(super) fn irc_ask_to_confirm(&mut self, now: Now) {
        let positions: Vec<(Reader, u64)> = self
            .irc_read_by_name()
            .map(|(reader, seen)| (reader.clone(), seen))
            .collect();
        let Some(confirm) = self
            .irc
            .as_deref_mut()
            .and_then(|irc| irc.confirm.as_deref_mut())
        else {
            return;
        };
        confirm.asked_ms = millis(now.uptime);
        confirm.number += 1;
        let before = std::mem::take(&mut confirm.readers);
        confirm.readers = positions
            .into_iter()
            .map(|(reader, seen)| {
                let is_confirmed = before.iter().any(|known| {
                    known.is_confirmed && known.reader == reader && known.seen >= seen
                });
                AskedReader {
                    reader,
                    seen,
                    is_confirmed,
                }
            })
            .collect();
        let number = confirm.number.to_string();
        self.irc_send(|_, out| {
            Message {
                command: "PING",
                text: Some(&number),
                ..Message::default()
            }
            .write(out);
        });
    }

    /// Handles `PONG`. If the `PONG` answers the last `PING`, stores the positions that the named readers had when the
    /// `PING` was sent.
    pub(super) fn irc_pong(&mut self, line: &IrcLine<'_>, chat: &Chat) -> Done {
        self.irc_asks(Asked::Silent);
        let confirm = self
            .irc
            .as_deref_mut()
            .and_then(|irc| irc.confirm.as_deref_mut());
        let number = line.params.last().and_then(|word| word.parse::<u64>().ok());
        let Some(confirm) = confirm.filter(|confirm| number == Some(confirm.number)) else {
            return Ok(None);
        };
        let unconfirmed = confirm.readers.iter_mut();
        let unconfirmed = unconfirmed.filter(|asked| !asked.is_confirmed);
        let positions = unconfirmed.map(|asked| {
            asked.is_confirmed = true;
            (asked.reader.clone(), asked.seen)
        });
        let positions = positions.collect();
        Ok(self.store_confirmed(positions, chat))
    }
}
