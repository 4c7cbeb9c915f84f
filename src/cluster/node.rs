//! One server's part in the log: what it publishes, and what each message of the log makes it do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, BadMessage, Item, Written};
use super::{Members, Published, Publisher, Read};
use crate::model::{Action, Change, Entry, PeerId, ServerName, StoredChange, Ticket};
use crate::protocol::EventId;

/// The maximum size of an item in a message in bytes. NATS allows messages of 1 MiB by default.
pub const ITEM_BYTES_MAX: usize = 1_000_000;

/// A server on the log.
#[derive(Debug)]
pub struct Node {
    server: ServerName,
    members: Members,
    publisher: Publisher<Written, Receipt>,
    /// The sequence number of the last message that was read; 0 for none.
    read_to: u64,
}

/// What leads from an item that this server has proposed to the request that waits for it.
#[derive(Clone, Debug)]
pub enum Receipt {
    /// An entry. It has no ticket if no request waits for it.
    Entry(Arc<Entry>, Option<Ticket>),
    /// A change, and the connection that has caused it.
    Change(Option<PeerId>),
    /// A change of what is stored besides events, and the number that the caller has given it.
    Stored(u64),
}

/// A message as the log reports it.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// The sequence number, 1 or more.
    pub sequence: u64,
    /// The message, in the form of [`wire`].
    pub bytes: &'a [u8],
}

/// What a server must do because of a message. The time of a step is the time at which the log has received the message:
/// the same for all servers.
#[derive(Debug)]
pub enum Step {
    /// Store an entry, with this id for the first of its events, and show it.
    Store(Arc<Entry>, EventId, Option<Ticket>),
    /// Decide on a change. `Some` is the connection of this server that has caused the change.
    Decide(Change, Option<PeerId>),
    /// Change what is stored besides events. `Some` is the number that this server has given the change.
    Change(StoredChange, Option<u64>),
    /// Let the users of a server leave, because its epoch has ended. If it is this server, close the connections with a
    /// nick first: others may use these nicks from now on.
    End(ServerName),
    /// Refuse these items of this server, which will never take effect.
    Refuse(Vec<Receipt>),
}

/// The reason why a server cannot go on.
#[derive(Debug)]
pub enum Stuck {
    /// A message was not read before this one. The caller must read the log from this sequence number on.
    Gap(u64),
    /// A message cannot be read.
    BadMessage(BadMessage),
    /// Another server uses the name of this server.
    NameTaken(ServerName),
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(from) => write!(f, "the log must be read from its message {from} on"),
            Self::BadMessage(bad) => bad.fmt(f),
            Self::NameTaken(name) => {
                write!(
                    f,
                    "another chatd is called {name} on this log; choose another --node"
                )
            }
        }
    }
}

impl std::error::Error for Stuck {}

impl Node {
    /// Returns a server that has read the log up to the message `read_to`, where it knew `members`. `nonce` is a random
    /// number.
    pub fn restore(
        server: ServerName,
        members: Members,
        read_to: u64,
        nonce: u64,
        now: Duration,
    ) -> Self {
        let former = members.newest_epoch(&server);
        Self {
            publisher: Publisher::new(server.clone(), former, nonce, now),
            members,
            server,
            read_to,
        }
    }

    /// Returns the number of the last message that was read; 0 for none.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Returns what is known of the servers.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Returns the publisher's state.
    pub fn publisher(&self) -> &Publisher<Written, Receipt> {
        &self.publisher
    }

    /// Gives up the server's epoch; see [`Publisher::give_up`].
    pub fn give_up(&mut self, nonce: u64) -> Vec<Receipt> {
        self.publisher.give_up(nonce)
    }

    /// Takes what was not sent yet; see [`Publisher::take_waiting`].
    pub fn take_waiting(&mut self) -> Vec<Receipt> {
        self.publisher.take_waiting()
    }

    /// Takes everything that is not known to have taken effect.
    pub fn take_all(&mut self) -> Vec<Receipt> {
        self.publisher.take_all()
    }

    /// Makes the server say goodbye as soon as everything is published.
    pub fn leave(&mut self) {
        self.publisher.leave();
    }

    /// Adds an entry to what the server publishes.
    ///
    /// # Errors
    /// When the server is cut off from the log or stops. The entry will never be stored.
    pub fn propose_entry(
        &mut self,
        entry: Arc<Entry>,
        ticket: Option<Ticket>,
        now: Duration,
    ) -> Result<(), Receipt> {
        let receipt = Receipt::Entry(entry.clone(), ticket);
        self.propose(Item::Entry(entry), receipt, now)
    }

    /// Adds a change of what is stored besides events to what the server publishes. `number` identifies it.
    ///
    /// # Errors
    /// When the server is cut off from the log or stops. The change will never be made.
    pub fn propose_stored(
        &mut self,
        change: StoredChange,
        number: u64,
        now: Duration,
    ) -> Result<(), Receipt> {
        self.propose(Item::Stored(change), Receipt::Stored(number), now)
    }

    /// Adds a change of this server to what the server publishes.
    ///
    /// # Errors
    /// When the server is cut off from the log or stops. The change will never be decided on.
    pub fn propose_change(
        &mut self,
        action: Action,
        by: Option<PeerId>,
        now: Duration,
    ) -> Result<(), Receipt> {
        self.propose(Item::Change(action), Receipt::Change(by), now)
    }

    fn propose(&mut self, item: Item, receipt: Receipt, now: Duration) -> Result<(), Receipt> {
        let item = Written::new(item);
        let size = item.size();
        if size.bytes > ITEM_BYTES_MAX {
            return Err(receipt); // NATS would refuse the message
        }
        self.publisher.propose(item, size, receipt, now)
    }

    /// Returns the bytes of the message that must be published now, if there is one. A server must not call this before
    /// it has read the log up to its end; see [`Publisher::publish`].
    pub fn publish(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.publisher.publish(now).map(wire::encode)
    }

    /// Returns when [`Self::publish`] must be called, unless something is proposed or read before.
    pub fn due(&self) -> Option<Duration> {
        self.publisher.due()
    }

    /// Reads the next message of the log. A message that was read before has no effect.
    ///
    /// # Errors
    /// See [`Stuck`].
    pub fn read(
        &mut self,
        logged: Logged<'_>,
        nonce: impl FnOnce() -> u64,
        now: Duration,
    ) -> Result<Vec<Step>, Stuck> {
        let next = self.read_to + 1;
        if logged.sequence < next {
            return Ok(Vec::new());
        }
        if logged.sequence > next {
            return Err(Stuck::Gap(next));
        }
        let message = match wire::decode(logged.bytes, self.publisher.sent_items()) {
            Err(BadMessage::Foreign) => {
                self.read_to = next;
                return Ok(Vec::new());
            }
            message => message.map_err(Stuck::BadMessage)?,
        };
        self.read_to = next;
        let read = self.members.read(next, &message);
        let published = self
            .publisher
            .on_read(&message, &read, &self.members, nonce, now);
        let mut receipts = Vec::new();
        let mut steps = Vec::new();
        match published {
            Published::Nothing => {}
            Published::Own(own) => receipts = own,
            Published::Lost(lost) => steps.push(Step::Refuse(lost)),
            Published::NameTaken => return Err(Stuck::NameTaken(self.server.clone())),
        }
        match read {
            Read::Ignored => {}
            Read::Begun {
                has_ended_former, ..
            } => steps.extend(has_ended_former.then(|| Step::End(message.by.clone()))),
            Read::Ended => steps.push(Step::End(message.by.clone())),
            Read::Items { ended, items } => {
                steps.extend(ended.into_iter().map(Step::End));
                self.add_items(items, &message.by, receipts, &mut steps);
            }
        }
        Ok(steps)
    }

    fn add_items(
        &self,
        items: &[Item],
        by: &ServerName,
        receipts: Vec<Receipt>,
        steps: &mut Vec<Step>,
    ) {
        let mut place = 0;
        let mut receipts = receipts.into_iter();
        for item in items {
            let receipt = receipts.next();
            match item {
                Item::Entry(entry) => {
                    let ticket = match receipt {
                        Some(Receipt::Entry(_, ticket)) => ticket,
                        _ => None,
                    };
                    if let Some(id) = wire::event_id(self.read_to, place) {
                        steps.push(Step::Store(entry.clone(), id, ticket));
                    }
                }
                Item::Change(action) => {
                    let connection = match receipt {
                        Some(Receipt::Change(connection)) => connection,
                        _ => None,
                    };
                    let change = Change {
                        server: by.clone(),
                        action: action.clone(),
                    };
                    steps.push(Step::Decide(change, connection));
                }
                Item::Stored(change) => {
                    let number = match receipt {
                        Some(Receipt::Stored(number)) => Some(number),
                        _ => None,
                    };
                    steps.push(Step::Change(change.clone(), number));
                }
            }
            place += wire::ids(item) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::publisher::{BEAT_EVERY, SILENT_BEATS};
    use crate::model::{EventKind, Scope};
    use crate::protocol::RoomName;

    /// Servers on a log that loses nothing.
    struct Servers {
        nodes: Vec<Node>,
        log: Vec<Vec<u8>>,
        now: Duration,
    }

    impl Servers {
        fn new(names: &[&str]) -> Self {
            let nodes = names.iter().enumerate();
            let nodes = nodes.map(|(n, name)| {
                let (name, members) = ((*name).into(), Members::default());
                Node::restore(name, members, 0, n as u64, Duration::ZERO)
            });
            Self {
                nodes: nodes.collect(),
                log: Vec::new(),
                now: Duration::ZERO,
            }
        }

        /// Lets a server publish what is due.
        fn publish(&mut self, on: usize) {
            if let Some(message) = self.nodes[on].publish(self.now) {
                self.log.push(message);
            }
        }

        fn read_one(&mut self, on: usize, sequence: u64) -> Result<Vec<Step>, Stuck> {
            let logged = Logged {
                sequence,
                bytes: &self.log[sequence as usize - 1],
            };
            self.nodes[on].read(logged, || 77, self.now)
        }

        /// Lets a server read everything, and returns what it must do, in words.
        fn read(&mut self, on: usize) -> Vec<String> {
            let mut all = Vec::new();
            for sequence in self.nodes[on].read_to + 1..=self.log.len() as u64 {
                let steps = self.read_one(on, sequence).expect("it goes on");
                all.extend(steps.into_iter().map(|step| match step {
                    Step::Store(entry, id, ticket) => {
                        let waits = if ticket.is_some() { " and answer" } else { "" };
                        format!("store {} as {}{waits}", entry.text(), id.get())
                    }
                    Step::Decide(change, by) => {
                        let waits = if by.is_some() { " and answer" } else { "" };
                        format!("decide {:?} of {}{waits}", change.action, change.server)
                    }
                    Step::Change(change, _) => format!("change {change:?}"),
                    Step::End(server) => format!("end {server}"),
                    Step::Refuse(receipts) => format!("refuse {}", receipts.len()),
                }));
            }
            all
        }

        fn say(&mut self, on: usize, text: &str) {
            let room = RoomName::parse("#ops").expect("it is a room");
            let kind = if text.contains('\n') {
                EventKind::Text
            } else {
                EventKind::Msg
            };
            let entry = Entry::new(Scope::Room(room.into()), kind, "ann", text);
            let peer = PeerId::NONE;
            let ticket = Some(Ticket { peer, number: 1 });
            let proposed = self.nodes[on].propose_entry(entry.into(), ticket, self.now);
            assert!(proposed.is_ok());
        }

        /// Lets all servers publish and read until they have greeted.
        fn greet(&mut self) {
            for on in 0..self.nodes.len() {
                self.publish(on);
            }
            for on in 0..self.nodes.len() {
                assert_eq!(self.read(on), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn all_servers_take_the_same_steps_and_only_the_proposer_answers() {
        let mut servers = Servers::new(&["one", "two"]);
        servers.greet();
        servers.say(0, "hello");
        servers.say(0, "two\nlines");
        let peer = Some(PeerId::NONE);
        let proposed = servers.nodes[0].propose_change(Action::CatchUp, peer, servers.now);
        assert!(proposed.is_ok());
        servers.say(0, "end");
        servers.publish(0);
        let first = 3 * 1024;
        let steps = |answer: &str| {
            [
                format!("store hello as {first}{answer}"),
                format!("store two\nlines as {}{answer}", first + 1),
                format!("decide CatchUp of one{answer}"),
                format!("store end as {}{answer}", first + 4),
            ]
        };
        assert_eq!(servers.read(0), steps(" and answer"));
        assert_eq!(servers.read(1), steps(""));
        // The same message again, as after a lost acknowledgement.
        servers.log.push(servers.log[2].clone());
        for on in [0, 1] {
            assert_eq!(servers.read(on), Vec::<String>::new());
        }
    }

    #[test]
    fn a_message_that_was_missed_must_be_read_first() {
        let mut servers = Servers::new(&["one", "two"]);
        servers.greet();
        for text in ["a", "b"] {
            servers.say(0, text);
            servers.publish(0);
            servers.read(0);
        }
        assert!(matches!(servers.read_one(1, 4), Err(Stuck::Gap(3))));
        assert_eq!(servers.read(1), ["store a as 3072", "store b as 4096"]);
        assert!(servers.read_one(1, 3).expect("it was read").is_empty());
    }

    #[test]
    fn a_suspended_server_learns_that_its_epoch_has_ended_and_begins_another() {
        let mut servers = Servers::new(&["one", "two"]);
        servers.greet();
        for _ in 0..SILENT_BEATS {
            servers.publish(0);
            servers.read(0);
            servers.now += BEAT_EVERY;
        }
        servers.publish(0);
        assert_eq!(servers.read(0), ["end two"]);
        // The other server goes on where it was.
        servers.say(1, "late");
        servers.publish(1);
        assert_eq!(servers.read(1), ["refuse 1", "end two"]);
        assert_eq!(servers.read(0), Vec::<String>::new());
        servers.publish(1);
        assert_eq!(servers.read(1), Vec::<String>::new());
        servers.say(1, "back");
        servers.publish(1);
        let id = servers.log.len() * 1024;
        assert_eq!(servers.read(1), [format!("store back as {id} and answer")]);
        assert_eq!(servers.read(0), [format!("store back as {id}")]);
    }

    #[test]
    fn a_server_that_ends_another_epoch_says_so_once() {
        let mut servers = Servers::new(&["one", "two"]);
        servers.greet();
        for _ in 0..20 {
            for _ in 0..3 {
                servers.publish(0);
                servers.read(0);
            }
            servers.now += BEAT_EVERY;
        }
        assert_eq!(
            servers.log.len(),
            2 + 20 + 1,
            "greetings, beats, and a fence"
        );
    }

    #[test]
    fn a_suspended_process_does_not_replace_its_successor() {
        let mut servers = Servers::new(&["one", "two", "two"]);
        servers.publish(0);
        servers.publish(1);
        servers.read(0);
        servers.read(1);
        for _ in 0..=SILENT_BEATS {
            servers.publish(0);
            servers.read(0);
            servers.now += BEAT_EVERY;
        }
        // The first process has not read yet that its epoch has ended, and another one begins.
        servers.read(2);
        servers.publish(2);
        servers.read(2);
        let mut sequence = servers.nodes[1].read_to;
        let stuck = loop {
            sequence += 1;
            match servers.read_one(1, sequence) {
                Ok(_) => {}
                Err(stuck) => break stuck,
            }
        };
        assert!(matches!(stuck, Stuck::NameTaken(_)), "{stuck:?}");
        assert_eq!(sequence, servers.log.len() as u64);
    }

    #[test]
    fn two_servers_of_one_name_and_an_unreadable_message_end_a_server() {
        let mut servers = Servers::new(&["one", "one"]);
        servers.publish(0);
        servers.read(0);
        servers.read(1);
        servers.publish(1);
        servers.read(1);
        let stuck = servers.read_one(0, 2);
        assert!(matches!(stuck, Err(Stuck::NameTaken(_))), "{stuck:?}");
        servers.log.push(b"what somebody has typed".into());
        assert!(servers.read_one(1, 3).expect("it is skipped").is_empty());
        servers.log.push(b"{\"v\":9}".into());
        let stuck = servers.read_one(1, 4);
        assert!(
            matches!(stuck, Err(Stuck::BadMessage(BadMessage::Newer(9)))),
            "{stuck:?}"
        );
    }
}
