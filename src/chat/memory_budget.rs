//! Bounds the memory of events in all rooms and inboxes together.
//!
//! Each room's tail and each inbox has its own limit; this module bounds their sums. When the tails of rooms exceed
//! their bound, one room after the other drops the older half of its tail. A reader that needs a dropped line is served
//! from the log. When the inboxes exceed their bound, a nick that does not read its messages receives only messages
//! that are stored.

use super::{Chat, Place, RoomId};

/// The memory in use, in bytes.
#[derive(Debug, Default)]
pub(super) struct MemoryUse {
    /// The memory of the tails of all rooms.
    rooms: usize,
    /// The memory of all direct messages.
    inboxes: usize,
    /// The last room whose tail was shrunk. The next tail to shrink is that of the room after it.
    shrunk_to: Option<RoomId>,
}

impl Chat {
    /// Records that the size of a tail changes from `from` to `to` bytes. If the tails of all rooms together exceed
    /// their bound, shrinks them.
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

    /// Returns whether all direct messages together exceed their bound.
    pub(super) fn are_inboxes_full(&self) -> bool {
        self.memory_use.inboxes > self.limits().inboxes_bytes_max()
    }

    /// If the tails of all rooms together exceed their bound, shrinks them in turn until they fill three quarters of
    /// the bound. The free quarter makes shrinking rare.
    fn shrink(&mut self) {
        let most = self.limits().tails_bytes_max();
        if self.memory_use.rooms <= most {
            return;
        }
        // A turn halves one tail, but keeps its last line.
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
                is_withheld: false,
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
