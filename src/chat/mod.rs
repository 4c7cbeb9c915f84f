//! The domain: who is here under which nick, in which rooms, and what was said there.
//!
//! A function of its own state, what it is asked, and the time that it is told. Everything that readers
//! get is appended to a [`Tail`]; nobody is written to from here. Pure: knows no socket, task or file.
//! A connection's own state is [`crate::session`]'s. Read [`room`], then [`nick`].

pub mod bans;
pub mod closed;
mod held;
pub mod nick;
mod pace;
mod quota;
pub mod room;
mod tally;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Limits};
use crate::model::{
    Applied, Arena, Connected, Directory, Entry, EventKind, FileContents, FileTotals, Id, Now,
    PeerId, Removed, RoomRow, Scope, address_prefix, millis,
};
use crate::protocol::name::NAME_CHARS_MAX;
use crate::protocol::{Code, Digest, EventId, RoomName, Time};
use crate::tail::{Seq, Tail};

use bans::Order;
use held::Held;
use nick::{Holder, Reserved};
use pace::Pace;
use quota::FileBytes;
use room::Room;
use tally::Tally;

/// A connection, as the chat knows it.
#[derive(Debug)]
pub struct Peer {
    /// Where it comes from.
    address: IpAddr,
    /// It does what one request over HTTP asks; the connection of that stands beside it.
    is_request: bool,
    /// A proxy says that it passes on what comes here.
    is_passed_on: bool,
    /// What has become of the entries of this connection, by the numbers of their tickets; its session takes it.
    kept: Vec<(u32, Result<Kept, Code>)>,
}

impl Peer {
    /// A connection from `address` that has appended nothing yet.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            is_request: false,
            is_passed_on: false,
            kept: Vec::new(),
        }
    }
}

/// Names a room.
pub type RoomId = Id<Room>;
/// Names a nick that is held.
pub type NickId = Id<Holder>;

/// Why something cannot be done: a code, and a sentence for whoever asked.
pub type Refused = (Code, String);

/// The most bytes that the line of a private message has beside its body: the verb, and the longest nick.
const DIRECT_LINE_BYTES: usize = 6 + 4 * NAME_CHARS_MAX;

/// Where events stand, each with a tail of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What concerns everybody.
    Everyone,
    /// A room.
    Room(RoomId),
    /// What one nick is told.
    Nick(NickId),
}

/// A draft is kept: its id, if it is logged, when, and where in its tail.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its number, if it is logged.
    pub id: Option<EventId>,
    /// When it was kept.
    pub time: Time,
    /// Its entry in the tail of its place.
    pub seq: Seq,
}

/// All of the chat.
#[derive(Debug)]
pub struct Chat {
    /// What an operator has set.
    pub config: Arc<Config>,
    /// How far local time is from UTC, in seconds, for people in talker mode.
    pub utc_offset_s: i32,
    peers: Arena<Peer, Connected>,
    /// How many of them do what a request asks.
    requests: usize,
    /// How many of them come from each address but this machine's own.
    origins: Tally,
    rooms: Arena<Room>,
    room_ids: HashMap<Box<str>, RoomId>,
    /// The rooms in the order in which they were made.
    room_order: BTreeMap<RoomId, ()>,
    lobby: RoomId,
    /// The newest event of all.
    newest_id: u64,
    holders: Arena<Holder>,
    /// By skeleton, so that look-alikes meet.
    nick_ids: HashMap<Box<str>, NickId>,
    /// Who belongs.
    directory: Directory,
    /// The skeletons of the nicks that are banned.
    banned: HashSet<Box<str>>,
    /// How many rooms each address has made that are still there.
    rooms_by_origin: Tally,
    registrations: Pace,
    uploads: Pace,
    /// Of those, under nicks that nobody has registered.
    nobodys_uploads: Pace,
    /// How often a nick was registered or had its password changed since the start.
    account_changes: u64,
    /// After how many of those that was last so, by the form of the nick; of the others it is 0.
    account_versions: HashMap<Box<str>, u64>,
    /// What connections are ordered to do by others and have not done yet: hardly ever anything.
    orders: BTreeMap<PeerId, Vec<Order>>,
    /// Connections that do not know of their orders yet.
    ordered: Vec<PeerId>,
    /// Live files that have been taken back.
    removed_live: Vec<EventId>,
    /// Somebody may read less than before.
    has_new_rights: bool,
    /// Rooms that have been spoken in for the first time, and who made them.
    made: Vec<(RoomName, String)>,
    /// What operators have done, which the driver writes down.
    acts: Vec<String>,
    /// Why the server stops, if somebody has said so.
    pub farewell: Option<String>,
    /// What concerns everybody.
    notes: Tail,
    /// How much memory what was said takes.
    held: Held,
    /// How many files can be fetched.
    files: usize,
    /// How many bytes they have, and those that are coming in.
    file_bytes: FileBytes,
    /// Digests that one file less has now.
    released: Vec<Digest>,
    /// Places with news that their readers do not know of yet.
    news: Vec<Place>,
    /// How many bytes of lines those have.
    fresh_bytes: usize,
    /// Where a line is made: its memory is used again, so that none is asked for to say something.
    line: Vec<u8>,
    /// Authors of what was kept, or could not be, who do not know yet: they need not read where it stands.
    answered: Vec<PeerId>,
    /// Whose `JOIN` is to be announced when, if they still stay; the wait is the same for all, so a queue
    /// is in order.
    announcing: VecDeque<(Duration, RoomId, NickId)>,
    /// Which nicks are free when, if their owners do not come back.
    reserved: Reserved,
}

impl Chat {
    /// A chat with nobody in it and an empty lobby.
    pub fn new(config: Arc<Config>) -> Self {
        let mut rooms = Arena::default();
        let lobby = rooms.insert(Room::new(
            config.lobby.clone(),
            config.limits.tail_bytes_max,
        ));
        Self {
            peers: Arena::default(),
            requests: 0,
            origins: Tally::default(),
            rooms,
            room_ids: HashMap::from([(config.lobby.form().into(), lobby)]),
            room_order: BTreeMap::from([(lobby, ())]),
            lobby,
            newest_id: 0,
            holders: Arena::default(),
            nick_ids: HashMap::new(),
            directory: Directory::default(),
            banned: HashSet::new(),
            rooms_by_origin: Tally::default(),
            registrations: Pace::default(),
            uploads: Pace::default(),
            nobodys_uploads: Pace::default(),
            account_changes: 0,
            account_versions: HashMap::new(),
            orders: BTreeMap::new(),
            ordered: Vec::new(),
            removed_live: Vec::new(),
            has_new_rights: false,
            made: Vec::new(),
            acts: Vec::new(),
            farewell: None,
            notes: Tail::new(config.limits.told_bytes_max),
            held: Held::default(),
            files: 0,
            file_bytes: FileBytes::default(),
            released: Vec::new(),
            news: Vec::new(),
            fresh_bytes: 0,
            line: Vec::new(),
            answered: Vec::new(),
            announcing: VecDeque::new(),
            reserved: Reserved::default(),
            utc_offset_s: 0,
            config,
        }
    }

    /// What is allowed.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// A connection has come.
    pub fn connect(&mut self, address: IpAddr) -> PeerId {
        self.sit_down(Peer::new(address))
    }

    /// Somebody asks for something over HTTP, from `address`: as a connection, but for the limit on those,
    /// since it has one beside this.
    pub fn connect_request(&mut self, address: IpAddr, is_passed_on: bool) -> PeerId {
        self.requests += 1;
        self.sit_down(Peer {
            is_request: true,
            is_passed_on,
            ..Peer::new(address)
        })
    }

    fn sit_down(&mut self, peer: Peer) -> PeerId {
        if let Some(origin) = self.counted_at(&peer) {
            self.origins.add(origin);
        }
        self.peers.insert(peer)
    }

    /// Where a connection counts: nowhere for this machine's own and a proxy's, which are many people's, and
    /// only once for a request, by its connection or by the address that a proxy tells.
    fn counted_at(&self, peer: &Peer) -> Option<IpAddr> {
        let origin = address_prefix(peer.address);
        let is_many = origin.is_loopback() || self.is_proxy(peer.address);
        let is_counted = !peer.is_request || peer.is_passed_on;
        (is_counted && !is_many).then_some(origin)
    }

    /// Whether what comes from `address` is a proxy's, which is believed when it says for whom it asks.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let mut proxies = self.config.proxies.iter();
        proxies.any(|proxy| proxy.holds(address))
    }

    /// A proxy passes on what comes on a connection, from `address`.
    pub fn passes_on(&mut self, peer: PeerId, address: IpAddr) {
        let was_counted_at = self.peers.get(peer).and_then(|peer| self.counted_at(peer));
        if let Some(known) = self.peers.get_mut(peer) {
            known.address = address.to_canonical();
            known.is_passed_on = true;
        }
        if let Some(origin) = was_counted_at {
            self.origins.remove(origin);
        }
        let is_counted_at = self.peers.get(peer).and_then(|peer| self.counted_at(peer));
        if let Some(origin) = is_counted_at {
            self.origins.add(origin);
        }
    }

    /// Whether there are more connections than are allowed, in all or from where `peer` comes from.
    pub fn has_too_many(&self, peer: PeerId) -> bool {
        let limits = self.limits();
        let known = self.peers.get(peer);
        let origin = known.and_then(|known| self.counted_at(known));
        let from = origin.map_or(0, |origin| self.origins.count(origin));
        let is_request = known.is_some_and(|known| known.is_request);
        (!is_request && self.connections() > limits.connections_max)
            || from > limits.connections_per_address_max
    }

    /// Where a connection comes from.
    pub fn address(&self, peer: PeerId) -> Option<IpAddr> {
        self.peers.get(peer).map(|peer| peer.address)
    }

    /// Whether somebody on the server's own machine is at the other end, as far as is known.
    pub fn is_here(&self, peer: PeerId) -> bool {
        let peer = self.peers.get(peer);
        peer.is_some_and(|peer| peer.address.is_loopback() && !peer.is_passed_on)
    }

    /// A connection has gone; its session has left its rooms and its nick before.
    pub fn disconnect(&mut self, peer: PeerId) {
        if let Some(gone) = self.peers.remove(peer) {
            self.requests -= usize::from(gone.is_request);
            if let Some(origin) = self.counted_at(&gone) {
                self.origins.remove(origin);
            }
        }
        self.orders.remove(&peer);
        self.file_came(peer);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.peers.count() - self.requests
    }

    /// Whether nobody is here, and nothing is done for anybody.
    pub fn is_deserted(&self) -> bool {
        self.peers.count() == 0
    }

    /// Takes in what the log holds from before: rooms, and how many files there are.
    pub fn restore(&mut self, rooms: Vec<RoomRow>, files: FileTotals) {
        for row in rooms {
            let id = match self.find_room(&row.name) {
                Some(id) => id,
                None => self.insert_room(row.name),
            };
            if let Some(room) = self.rooms.get_mut(id) {
                room.topic = row.topic.into();
                room.last_id = Some(row.last_id);
                self.newest_id = self.newest_id.max(row.last_id.get());
            }
        }
        self.files = files.count;
        self.restore_file_bytes(files.by_nick);
    }

    /// Takes in what the roster holds from before.
    pub fn restore_roster(&mut self, mut directory: Directory) {
        for (name, acl) in std::mem::take(&mut directory.rooms) {
            let id = match self.find_room(&name) {
                Some(id) => id,
                None if acl.is_closed => self.insert_room(name),
                None => continue, // what was said there is no longer kept
            };
            if let Some(room) = self.rooms.get_mut(id) {
                room.acl = Some(Box::new(acl));
            }
        }
        self.directory = directory;
        self.index_bans();
        self.recount_nobodys();
    }

    /// The number of the newest event of all that is known; 0 before the first.
    pub fn newest_id(&self) -> u64 {
        self.newest_id
    }

    /// Files have gone by age: whose each was, as the nick is spelt in the log, and what was in it.
    pub fn files_went(&mut self, files: &[(String, Option<FileContents>)]) {
        self.files = self.files.saturating_sub(files.len());
        for (nick, contents) in files {
            if let Some(contents) = contents {
                self.count_file_bytes(nick, contents.length, true);
            }
        }
    }

    /// The log has let go of rooms in which nothing is any more, each with its last event.
    pub fn forget_rooms(&mut self, rooms: &[(RoomName, EventId)]) {
        for (name, last_id) in rooms {
            let Some(id) = self.find_room(name) else {
                continue;
            };
            // Something may have been said there since.
            if let Some(room) = self.rooms.get_mut(id)
                && room.last_id == Some(*last_id)
            {
                room.last_id = None;
                room.topic = Box::default();
                self.close_if_unused(id);
            }
        }
    }

    /// Applies an entry that the log has decided on: every logged event becomes visible through this function,
    /// whoever proposed it and on whichever server. Its author learns the outcome by the ticket.
    pub fn apply(&mut self, applied: Applied) {
        let Applied {
            entry,
            outcome,
            ticket,
        } = applied;
        if let Ok((Some(id), _)) = outcome {
            self.newest_id = self.newest_id.max(id.get());
        }
        if let (Some(ticket), true) = (ticket, entry.completes_upload()) {
            self.file_came(ticket.peer);
        }
        if outcome.is_err() {
            // The bytes of a file are stored before its event; now nobody can ask for them.
            let contents = match &entry.kind {
                EventKind::File(file) => file.contents,
                EventKind::Stored(_, contents) => Some(*contents),
                _ => None,
            };
            self.released
                .extend(contents.map(|contents| contents.sha256));
        }
        let room = entry.room().and_then(|name| {
            let known = self.find_room(name);
            let is_new = known.is_none() && outcome.is_ok();
            known.or_else(|| is_new.then(|| self.insert_room(RoomName::clone(name))))
        });
        let kept = outcome.and_then(|(id, time)| {
            let place = self.place_of(&entry, room, id.is_some())?;
            Ok(self.append_event(&entry, place, id, time, ticket.map(|ticket| ticket.peer)))
        });
        let Some(ticket) = ticket else {
            return;
        };
        if let Some(id) = room
            && let Some(room) = self.rooms.get_mut(id)
        {
            room.coming = room.coming.saturating_sub(1);
            self.close_if_unused(id);
        }
        if let Some(peer) = self.peers.get_mut(ticket.peer) {
            peer.kept.push((ticket.number, kept));
            if self.answered.last() != Some(&ticket.peer) {
                self.answered.push(ticket.peer);
            }
        }
    }

    /// Returns the tail in which an entry is seen; `None` for a private message to a nick that is offline.
    fn place_of(
        &self,
        entry: &Entry,
        room: Option<RoomId>,
        is_logged: bool,
    ) -> Result<Option<Place>, Code> {
        let to = match &entry.scope {
            Scope::Room(_) => return room.map(Place::Room).map(Some).ok_or(Code::NoSuchRoom),
            Scope::Inbox(message) => &message.to,
            Scope::Unsaved(nick) => nick,
        };
        let Some(here) = self.find_nick(to) else {
            return if is_logged {
                Ok(None)
            } else {
                Err(Code::NoSuchNick)
            };
        };
        // No log has it, so it is sent to its reader or to nobody. Whether there is space was asked when it
        // was requested, but more may have come on the same way since.
        let bytes = entry.bytes() + DIRECT_LINE_BYTES;
        if !is_logged && !self.has_space_for_told(here, bytes) {
            return Err(Code::Busy);
        }
        Ok(Some(Place::Nick(here)))
    }

    fn append_event(
        &mut self,
        entry: &Entry,
        place: Option<Place>,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
    ) -> Kept {
        let Some(place) = place else {
            return Kept { id, time, seq: 0 };
        };
        if let (Place::Room(room), Some(id)) = (place, id) {
            self.change_room(room, entry, id);
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let name = match place {
            Place::Everyone => "*",
            Place::Room(room) => self.rooms.get(room).map_or("?", |room| room.name.as_str()),
            Place::Nick(nick) => self.nick_str(nick),
        };
        entry.event(name, id).encode(&mut line);
        let seq = self.append(place, id, time, author, &line);
        self.line = line;
        let seq = seq.unwrap_or_default();
        Kept { id, time, seq }
    }

    /// Changes what a logged event changes in its room: its topic, its files, its owner.
    fn change_room(&mut self, room: RoomId, entry: &Entry, id: EventId) {
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        if room.last_id.is_none()
            && let Some(owner) = room.acl.as_ref().and_then(|acl| acl.owner.clone())
        {
            self.made.push((RoomName::clone(&room.name), owner));
        }
        room.last_id = Some(id);
        match &entry.kind {
            EventKind::Msg | EventKind::Me => {}
            EventKind::Topic => room.topic = entry.text().into(),
            EventKind::Stored(_, contents) => {
                self.count_file_bytes(entry.author(), contents.length, false);
            }
            EventKind::File(file) => {
                self.files += 1;
                if let Some(contents) = file.contents {
                    self.count_file_bytes(entry.author(), contents.length, false);
                }
            }
            EventKind::Remove(_, Removed::Message) => {}
            EventKind::Remove(file, Removed::File { owner, contents }) => {
                self.files = self.files.saturating_sub(1);
                match contents {
                    None => self.removed_live.push(*file),
                    Some(contents) => {
                        self.count_file_bytes(owner, contents.length, true);
                        self.released.push(contents.sha256);
                    }
                }
            }
        }
    }

    fn append(
        &mut self,
        place: Place,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
        line: &[u8],
    ) -> Option<Seq> {
        // What is kept is told even to one who leaves it unread, and so may have to make space for itself.
        let is_short = matches!(place, Place::Nick(_)) && self.is_full_of_told();
        let tail = self.tail_mut(place)?;
        let from = tail.memory();
        let seq = tail.push(id, time, author, line);
        if is_short && id.is_some() {
            tail.shed();
        }
        let to = tail.memory();
        if !std::mem::replace(&mut tail.is_news, true) {
            self.news.push(place);
        }
        self.count_tail(place, from, to);
        self.fresh_bytes += line.len() + 1;
        Some(seq)
    }

    /// Takes what has become of the entries of `peer` since the last call, by the numbers of their tickets.
    pub fn take_kept(&mut self, peer: PeerId) -> Vec<(u32, Result<Kept, Code>)> {
        self.peers
            .get_mut(peer)
            .map(|peer| std::mem::take(&mut peer.kept))
            .unwrap_or_default()
    }

    /// The bytes of a file are kept, and nobody can ask for them.
    pub fn release(&mut self, digest: Digest) {
        self.released.push(digest);
    }

    /// Takes the digests of which a file has gone, for the store to let go of.
    pub fn take_released(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.released)
    }

    /// Takes the live files that have been taken back: nobody gets more of them.
    pub fn take_removed_live(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.removed_live)
    }

    /// Takes whether somebody may read less than at the last call, so that what goes out is asked about anew.
    pub fn take_new_rights(&mut self) -> bool {
        std::mem::take(&mut self.has_new_rights)
    }

    /// Whether [`Self::take_news`] would name anybody.
    pub fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.answered.is_empty() || !self.ordered.is_empty()
    }

    /// Takes the connections that have orders since the last call: they are woken whatever they wait for.
    pub fn take_ordered(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.ordered)
    }

    /// How many bytes of lines nobody has been woken for.
    pub fn fresh_bytes(&self) -> usize {
        self.fresh_bytes
    }

    /// Calls `wake` for every connection that has something to read or was answered since the last call;
    /// one that is in several places may be named more than once.
    pub fn take_news(&mut self, mut wake: impl FnMut(PeerId)) {
        self.fresh_bytes = 0;
        self.answered.drain(..).for_each(&mut wake);
        while let Some(place) = self.news.pop() {
            if let Some(tail) = self.tail_mut(place) {
                tail.is_news = false;
            }
            match place {
                Place::Everyone => {
                    let mut slot = 0;
                    while let Some((peer, _)) = self.peers.from_slot(slot) {
                        wake(peer);
                        slot = peer.slot() + 1;
                    }
                }
                Place::Room(room) => {
                    let room = self.rooms.get(room);
                    room.into_iter()
                        .flat_map(|room| &room.readers)
                        .copied()
                        .for_each(&mut wake);
                }
                Place::Nick(nick) => {
                    let holder = self.holders.get(nick);
                    let peers = holder.into_iter().flat_map(|holder| &holder.connections);
                    peers.copied().for_each(&mut wake);
                }
            }
        }
    }

    /// The tail of a place; none for a nick that was told nothing yet, or a place that has gone.
    pub fn tail(&self, place: Place) -> Option<&Tail> {
        match place {
            Place::Everyone => Some(&self.notes),
            Place::Room(room) => self.rooms.get(room).map(|room| &room.tail),
            Place::Nick(nick) => self.holders.get(nick)?.told.as_deref(),
        }
    }

    fn tail_mut(&mut self, place: Place) -> Option<&mut Tail> {
        let told_bytes_max = self.config.limits.told_bytes_max;
        match place {
            Place::Everyone => Some(&mut self.notes),
            Place::Room(room) => self.rooms.get_mut(room).map(|room| &mut room.tail),
            Place::Nick(nick) => {
                let told = &mut self.holders.get_mut(nick)?.told;
                Some(told.get_or_insert_with(|| Box::new(Tail::new(told_bytes_max))))
            }
        }
    }

    /// Where a reader of `place` that comes now begins.
    pub fn end(&self, place: Place) -> Seq {
        self.tail(place).map_or(0, Tail::end)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, room, nick)) = self.announcing.pop_front_if(|due| due.0 <= now.uptime) {
            self.announce_due(room, nick, now);
        }
        while let Some(nick) = self.reserved.pop_due(millis(now.uptime)) {
            self.free(nick);
        }
        if self.announcing.is_empty() {
            self.announcing = VecDeque::new(); // ten thousand may have come at once
        }
    }

    /// When [`Self::tick`] next has something to do.
    pub fn next_due(&self) -> Option<Duration> {
        let announcing = self.announcing.front().map(|due| due.0);
        let freeing = self.reserved.next_ms().map(Duration::from_millis);
        announcing.into_iter().chain(freeing).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ticket;

    fn woken(chat: &mut Chat) -> Vec<PeerId> {
        let mut woken = Vec::new();
        chat.take_news(|peer| woken.push(peer));
        woken
    }

    /// `TELL` to a room that one is not in, kept after the connection had gone to sleep, was answered
    /// only when something else woke it; so was anything that could not be kept.
    #[test]
    fn an_author_is_woken_whose_draft_is_kept_or_not_and_who_does_not_read_the_room() {
        let name = |name| RoomName::parse(name).expect("it is a name");
        let mut chat = Chat::new(Arc::new(Config {
            name: "here".into(),
            lobby: name("#lobby"),
            limits: Limits::default(),
            ..Config::default()
        }));
        let author = chat.connect(IpAddr::from([127, 0, 0, 1]));
        chat.insert_room(name("#ops"));
        let scope = Scope::Room(name("#ops").into());
        let entry = Entry::new(scope, EventKind::Msg, "alice", "hello");
        for outcome in [Ok((EventId::new(7), Time(0))), Err(Code::Internal)] {
            chat.apply(Applied {
                entry: entry.clone(),
                outcome,
                ticket: Some(Ticket {
                    peer: author,
                    number: 0,
                }),
            });
            assert_eq!(woken(&mut chat), [author]);
            assert_eq!(woken(&mut chat), []);
        }
    }

    #[test]
    fn one_address_has_so_many_connections_and_others_are_not_kept_out() {
        let limits = Limits {
            connections_per_address_max: 2,
            ..Limits::default()
        };
        let mut chat = Chat::new(Arc::new(Config {
            limits,
            ..Config::default()
        }));
        let mut come = |from: &str| {
            let peer = chat.connect(from.parse().expect("it is an address"));
            (peer, chat.has_too_many(peer))
        };
        let (first, _) = come("2001:db8::1");
        assert!(!come("2001:db8::2").1);
        let (third, is_over) = come("2001:db8::3");
        assert!(is_over);
        assert!(!come("2001:db8:0:1::1").1 && !come("192.0.2.1").1);
        for _ in 0..4 {
            assert!(!come("127.0.0.1").1);
        }
        chat.disconnect(first);
        assert!(!chat.has_too_many(third));
    }
}
