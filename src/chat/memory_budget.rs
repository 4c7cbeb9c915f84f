//! Bounds the memory of events, over all rooms and nicks together.
//!
//! A room's tail and a nick's inbox have limits of their own; this bounds their sum. Beyond it, each room drops the
//! older half of its tail in turn: a reader in that half is served from the log. A nick that leaves its messages unread
//! receives no more of them, except those that are stored.

use super::{Chat, Place, RoomId};

/// The bytes in use.
#[derive(Debug, Default)]
pub(super) struct MemoryUse {
    /// By all rooms' tails.
    rooms: usize,
    /// By all direct messages.
    inboxes: usize,
    /// The room after which shrinking continues.
    shrunk_to: Option<RoomId>,
}

impl Chat {
    /// Updates the size of a tail from `from` to `to` bytes; keeps the tails of rooms within their bound.
    pub(super) fn count_tail(&mut self, place: Place, from: usize, to: usize) {
        match place {
            Place::Everyone => {}
            Place::Nick(_) => {
                self.memory_use.inboxes = (self.memory_use.inboxes + to).saturating_sub(from)
            }
            Place::Room(_) => {
                self.memory_use.rooms = (self.memory_use.rooms + to).saturating_sub(from);
                if to > from {
                    self.shrink();
                }
            }
        }
    }

    /// Returns how many bytes direct messages take.
    pub(super) fn inbox_bytes(&self) -> usize {
        self.memory_use.inboxes
    }

    /// Returns whether direct messages together have reached their bound.
    pub(super) fn are_inboxes_full(&self) -> bool {
        self.memory_use.inboxes > self.limits().inboxes_bytes_max()
    }

    /// Shrinks the rooms' tails in turn to a quarter below their bound, so that this is rarely needed.
    fn shrink(&mut self) {
        let most = self.limits().tails_bytes_max();
        if self.memory_use.rooms <= most {
            return;
        }
        // Each turn halves a tail, except for its last line.
        let turns = 2 * self.room_order.len();
        for _ in 0..turns {
            if self.memory_use.rooms <= most / 4 * 3 {
                return;
            }
            let next = self.room_after(self.memory_use.shrunk_to).map(|(id, _)| id);
            self.memory_use.shrunk_to = next;
            if let Some(room) = next.and_then(|id| self.rooms.get_mut(id)) {
                let from = room.tail.memory();
                room.tail.shrink();
                self.memory_use.rooms =
                    (self.memory_use.rooms + room.tail.memory()).saturating_sub(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Limits};
    use crate::model::{Applied, Entry, EventKind, Scope, Ticket};
    use crate::protocol::{EventId, RoomName, Time};

    #[test]
    fn many_busy_rooms_stay_within_the_bound_and_keep_the_newest() {
        let limits = Limits {
            memory_bytes_max: 2 << 20,
            tail_bytes_max: 64 << 10,
            ..Limits::default()
        };
        let most = limits.tails_bytes_max();
        let mut chat = Chat::new(Arc::new(Config {
            limits,
            ..Config::default()
        }));
        let author = chat.connect(IpAddr::from([127, 0, 0, 1]));
        let name = |n| RoomName::parse(&format!("#room{n}")).expect("it is a name");
        let rooms: Vec<_> = (0..100).map(|n| chat.insert_room(name(n))).collect();
        let mut id = 0;
        for n in 0..20_000 {
            id += 1;
            let room = rooms[n % rooms.len()];
            let scope = Scope::Room(name(n % rooms.len()).into());
            let text = "x".repeat(500);
            chat.expect(Place::Room(room));
            chat.apply(Applied {
                is_repeat: false,
                entry: Entry::new(scope, EventKind::Msg, "alice", &text).into(),
                outcome: Ok((EventId::new(id), Time(0))),
                ticket: Some(Ticket {
                    peer: author,
                    number: 0,
                }),
            });
            let tail = chat.tail(Place::Room(room)).expect("it is there");
            assert_eq!(tail.last_id(0, tail.end()), EventId::new(id));
            assert!(
                chat.memory_use.rooms <= most,
                "{} bytes",
                chat.memory_use.rooms
            );
        }
        let all = |chat: &Chat| {
            chat.rooms_in_order()
                .map(|room| room.tail.memory())
                .sum::<usize>()
        };
        assert_eq!(all(&chat), chat.memory_use.rooms);
        assert!(
            chat.memory_use.rooms > most / 3,
            "{} bytes",
            chat.memory_use.rooms
        );
    }
}
