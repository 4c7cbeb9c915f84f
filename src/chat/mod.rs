//! The domain: connections and their nicks, rooms, and the events in rooms.
//!
//! The behaviour of this module depends only on its own state, the requests, and the time that the caller passes. The
//! module is pure: it uses no socket, task or file. It sends nothing itself: everything that readers receive is
//! appended to a [`Tail`]. The state of a single connection belongs to [`crate::session`]. Read [`state`] first, then
//! [`room`] and [`nick`]. If several servers share one chat, their changes are decided on later ([`Chat::decide`]).

pub mod acl;
mod away;
pub mod bans;
mod changes;
mod deletion;
mod hooks;
mod memory_budget;
pub mod nick;
mod pace;
mod push;
mod quota;
pub mod room;
mod shares;
pub mod state;
mod tally;
mod undecided;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::fixed::TEXTS_ARRIVING_MAX;
use crate::config::{Config, Limits};
use crate::model::{
    Applied, Arena, Connected, DeletedFile, Directory, Entry, EventKind, FileSum, FileTotals, Id,
    Now, PeerId, Removed, RoomRow, Scope, ServerName, Ticket, address_prefix, millis,
};
use crate::protocol::event::EventLayout;
use crate::protocol::name::NAME_CHARS_MAX;
use crate::protocol::{Code, Digest, Event, EventId, RoomName, Time};
use crate::tail::{Seq, Tail};

use away::PacedAway;
use bans::ConnectionCommand;
use hooks::Hooks;
use memory_budget::MemoryUse;
use pace::Pace;
use push::Push;
use quota::FileShares;
use room::Room;
use state::State;
use tally::Tally;
use undecided::Undecided;

pub use acl::FilePlace;
pub(crate) use changes::CUT_OFF;
pub use push::{Notice, words};
pub use shares::{Reservation, Shares};
pub use state::NickId;
pub use undecided::{Claimed, Proposal};

/// A connection, as the chat sees it.
#[derive(Debug)]
pub struct Peer {
    /// The client's address.
    address: IpAddr,
    /// Whether this is a single HTTP request. The HTTP connection itself is a separate peer.
    is_request: bool,
    /// Whether a proxy has reported that it forwards the connection.
    is_passed_on: bool,
    /// Whether this is a client over WebSocket: the page in a browser, or another client.
    is_page: bool,
    /// The outcomes of this connection's entries, each with the number of the ticket. The session takes the outcomes
    /// from here.
    outcomes: Vec<(u32, Result<Committed, Code>)>,
}

impl Peer {
    /// Creates a connection from `address`.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            is_request: false,
            is_passed_on: false,
            is_page: false,
            outcomes: Vec::new(),
        }
    }
}

/// Identifies a room.
pub type RoomId = Id<Room>;

/// A refusal of a request: a code, and a sentence for the user.
pub type Refused = (Code, String);

/// The maximum number of bytes that the line of a direct message has besides the text: the verb and the longest nick.
const DIRECT_LINE_BYTES: usize = 6 + 4 * NAME_CHARS_MAX;

/// The place of an event decides who sees the event. Each place has its own tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The place of events for everyone.
    Everyone,
    /// A room.
    Room(RoomId),
    /// The inbox of a nick.
    Nick(NickId),
}

/// The outcome of a successful entry: its id, its time and its position in the tail.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// The event's id, if it is logged.
    pub id: Option<EventId>,
    /// The time at which the entry was stored.
    pub time: Time,
    /// The entry's number in the tail of its place; [`Seq::MAX`] if the tail does not contain the entry. For an event that
    /// a room has shown before, the number of the next entry.
    pub seq: Seq,
}

impl Committed {
    /// Returns the outcome of an entry that is in no tail, because the recipient is offline or the event was shown
    /// earlier.
    fn shown_before(id: Option<EventId>, time: Time) -> Self {
        let seq = Seq::MAX;
        Self { id, time, seq }
    }
}

/// The whole state of the chat.
#[derive(Debug)]
pub struct Chat {
    /// The operator's settings.
    pub config: Arc<Config>,
    /// The offset of local time from UTC in seconds, for people in talker mode.
    pub utc_offset_s: i32,
    peers: Arena<Peer, Connected>,
    /// The number of connections that are single HTTP requests.
    requests: usize,
    /// The number of connections from each address. Connections from this machine are not counted.
    origins: Tally,
    rooms: Arena<Room>,
    room_ids: HashMap<Box<str>, RoomId>,
    /// The rooms in the order of their creation.
    room_order: BTreeSet<RoomId>,
    lobby: RoomId,
    /// The room of the newest entry. The room may have been deleted.
    newest_room: RoomId,
    /// The id of the newest event in the log.
    newest_id: u64,
    /// What all servers of the chat agree on.
    state: State,
    /// This server's name in the changes of `state`.
    server: ServerName,
    /// The changes that are not decided on yet; `None` on a single server, which decides on each change at once.
    undecided: Option<Box<Undecided>>,
    /// The largest number of nicks that have been in use at once.
    nicks_most: usize,
    /// The number of existing rooms that were created from each address.
    rooms_by_origin: Tally,
    /// The number of rooms that each registered nick (casefolded) owns.
    rooms_by_owner: Tally<Box<str>>,
    /// The hooks of all nicks, and the alerts that were posted through them.
    pub hooks: Hooks,
    /// Decides which messages are shown as notifications while the page is closed, and to whom.
    pub push: Push,
    registrations: Pace,
    new_readers: Pace,
    uploads: Pace,
    /// The pace of uploads under unregistered nicks. These uploads also count in `uploads`.
    unowned_uploads: Pace,
    /// Commands that connections have not executed yet. This map is nearly always empty.
    commands: BTreeMap<PeerId, Vec<ConnectionCommand>>,
    /// Connections that have not been woken for their commands yet.
    commanded: Vec<PeerId>,
    /// Live files that have been removed. Their downloads must be ended.
    removed_live: Vec<EventId>,
    /// Whether someone may have lost the right to read a room.
    has_acl_changes: bool,
    /// The rooms that the log is deleting, by their casefolded names. The rooms have no members or readers.
    deleting: BTreeMap<Box<str>, Room>,
    /// Whether the log must still delete the events of deleted rooms.
    has_deleted: bool,
    /// Rooms that have received their first message, with their owners. The owners must be stored.
    new_owners: Vec<(RoomName, String)>,
    /// What operators have done, for the server's audit log.
    audit_log: Vec<String>,
    /// The reason why the server stops, if the operator has given one.
    pub farewell: Option<String>,
    /// The events for everyone.
    notes: Tail,
    /// The memory that the tails take.
    memory_use: MemoryUse,
    /// The number of files that can be downloaded.
    files: usize,
    /// The number and size of the files of each nick and address. Uploads in progress count as well.
    file_shares: FileShares,
    /// The digests of deleted files' contents, once for each deleted file.
    released: Vec<Digest>,
    /// The places with new events whose readers have not been woken yet.
    news: Vec<Place>,
    /// The total size in bytes of the lines of the new events.
    undelivered_bytes: usize,
    /// Limits how many texts of several lines can arrive at the same time, in total and from one address.
    pub texts: Arc<Shares>,
    /// A buffer in which lines are formatted. The buffer is reused, so that messages need no allocation.
    line: Vec<u8>,
    /// The authors to wake because their entries have been decided on. An author is not necessarily a reader of the
    /// entry's place.
    answered: Vec<PeerId>,
    /// The time at which each `JOIN` must be announced, in milliseconds of uptime, unless the member leaves before.
    announcing: BTreeSet<(u64, RoomId, NickId)>,
    /// The nicks whose state, away or back, was announced recently.
    paced_away: BTreeMap<NickId, PacedAway>,
    /// The times at which the nicks in `paced_away` may be announced again, in milliseconds of uptime.
    away_due: BTreeSet<(u64, NickId)>,
}

impl Chat {
    /// Creates a chat without connections and with an empty lobby.
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
            room_ids: HashMap::from([(config.lobby.casefolded().into(), lobby)]),
            room_order: BTreeSet::from([lobby]),
            lobby,
            newest_room: lobby,
            newest_id: 0,
            state: State::default(),
            server: config.server_name().into(),
            undecided: None,
            nicks_most: 0,
            rooms_by_origin: Tally::default(),
            rooms_by_owner: Tally::default(),
            hooks: Hooks::default(),
            push: Push::default(),
            registrations: Pace::default(),
            new_readers: Pace::default(),
            uploads: Pace::default(),
            unowned_uploads: Pace::default(),
            commands: BTreeMap::new(),
            commanded: Vec::new(),
            removed_live: Vec::new(),
            has_acl_changes: false,
            deleting: BTreeMap::new(),
            has_deleted: false,
            new_owners: Vec::new(),
            audit_log: Vec::new(),
            farewell: None,
            notes: Tail::new(config.limits.inbox_bytes_max),
            memory_use: MemoryUse::default(),
            files: 0,
            file_shares: FileShares::default(),
            released: Vec::new(),
            news: Vec::new(),
            undelivered_bytes: 0,
            line: Vec::new(),
            texts: Arc::new(Shares::new(TEXTS_ARRIVING_MAX, 1)),
            answered: Vec::new(),
            announcing: BTreeSet::new(),
            paced_away: BTreeMap::new(),
            away_due: BTreeSet::new(),
            utc_offset_s: 0,
            config,
        }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Registers a new connection.
    pub fn connect(&mut self, address: IpAddr) -> PeerId {
        self.add_peer(Peer::new(address))
    }

    /// Registers an HTTP request from `address` as a connection. The request does not count towards the limit on
    /// connections, because its HTTP connection already counts.
    pub fn connect_request(&mut self, address: IpAddr, is_passed_on: bool) -> PeerId {
        self.requests += 1;
        self.add_peer(Peer {
            is_request: true,
            is_passed_on,
            ..Peer::new(address)
        })
    }

    fn add_peer(&mut self, peer: Peer) -> PeerId {
        if let Some(origin) = self.counted_at(&peer) {
            self.origins.add(origin);
        }
        self.peers.insert(peer)
    }

    /// Returns the address whose limits apply to a connection. Returns `None` for a connection from this machine or
    /// from a proxy, because such a connection may serve many people. A request that a proxy forwards counts towards
    /// the limits of the client's address. Any other request counts only through its HTTP connection.
    fn counted_at(&self, peer: &Peer) -> Option<IpAddr> {
        let origin = address_prefix(peer.address);
        let is_many = origin.is_loopback() || self.is_proxy(peer.address);
        let is_counted = !peer.is_request || peer.is_passed_on;
        (is_counted && !is_many).then_some(origin)
    }

    /// Returns whether `address` belongs to a trusted proxy. The server trusts the client address that a trusted proxy
    /// reports.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let mut proxies = self.config.proxies.iter();
        proxies.any(|proxy| proxy.contains(address))
    }

    /// Replaces the address of a connection that a proxy forwards. `address` is the client's address, as the proxy
    /// reports it.
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

    /// Returns whether there are more connections than allowed, in total or from the address of `peer`.
    pub fn has_too_many(&self, peer: PeerId) -> bool {
        let limits = self.limits();
        let known = self.peers.get(peer);
        let origin = known.and_then(|known| self.counted_at(known));
        let from = origin.map_or(0, |origin| self.origins.count(&origin));
        let is_request = known.is_some_and(|known| known.is_request);
        (!is_request && self.connections() > limits.connections_max)
            || from > limits.connections_per_address_max
    }

    /// Returns a connection's address.
    pub fn address(&self, peer: PeerId) -> Option<IpAddr> {
        self.peers.get(peer).map(|peer| peer.address)
    }

    /// Returns whether the client is known to run on the server's own machine.
    pub fn is_local(&self, peer: PeerId) -> bool {
        let peer = self.peers.get(peer);
        peer.is_some_and(|peer| peer.address.is_loopback() && !peer.is_passed_on)
    }

    /// Removes a connection. The connection's session must have left its rooms and dropped its nick before.
    pub fn disconnect(&mut self, peer: PeerId) {
        if let Some(gone) = self.peers.remove(peer) {
            self.requests -= usize::from(gone.is_request);
            if let Some(origin) = self.counted_at(&gone) {
                self.origins.remove(origin);
            }
        }
        self.commands.remove(&peer);
        self.forget_undecided(peer);
        self.end_upload(peer);
    }

    /// Returns the number of connections, without single HTTP requests.
    pub fn connections(&self) -> usize {
        self.peers.count() - self.requests
    }

    /// Returns whether there are no connections and no requests.
    pub fn is_deserted(&self) -> bool {
        self.peers.count() == 0
    }

    /// When the server starts, restores the rooms and the totals of files from the log.
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
        self.restore_files(files.by_nick);
    }

    /// Restores the contents of the account store when the server starts.
    pub fn restore_accounts(&mut self, mut directory: Directory) {
        for (name, acl) in std::mem::take(&mut directory.rooms) {
            let id = match self.find_room(&name) {
                Some(id) => id,
                None if acl.is_closed => self.insert_room(name),
                None => continue, // nothing from that room is stored any more
            };
            self.set_acl(id, Some(Box::new(acl)));
        }
        self.hooks = Hooks::new(std::mem::take(&mut directory.hooks));
        let browsers = std::mem::take(&mut directory.subscriptions);
        if self.config.push.is_some() {
            self.push = Push::new(browsers);
        }
        self.state.restore_directory(directory);
        self.recount_unowned();
    }

    /// Returns what all servers of the chat agree on, as text, for [`Self::restore_checkpoint`].
    pub fn checkpoint(&self) -> String {
        self.state.written()
    }

    /// When a server that shares the chat starts, restores what all servers of the chat agreed on when the text was
    /// written. `version` is a place in the log at which all access lists that are known were stored.
    ///
    /// # Errors
    /// When the text is not a checkpoint.
    pub fn restore_checkpoint(
        &mut self,
        checkpoint: &str,
        version: u64,
    ) -> Result<(), serde_json::Error> {
        self.state.read(checkpoint)?;
        let rooms: Vec<RoomId> = self.room_order.iter().copied().collect();
        for room in rooms {
            if let Some(room) = self.rooms.get_mut(room) {
                room.acl_version = version;
            }
        }
        self.recount_unowned();
        Ok(())
    }

    /// Returns the id of the newest event in the log; 0 if the log is empty.
    pub fn newest_id(&self) -> u64 {
        self.newest_id
    }

    /// Records that files were deleted because of their age or with their room.
    pub fn files_went(&mut self, files: &[DeletedFile]) {
        self.files = self.files.saturating_sub(files.len());
        for DeletedFile { id, nick, contents } in files {
            self.uncount_file(*id, nick, *contents);
        }
    }

    /// Subtracts the files that the log has deleted together with the inbox of a nick, and releases their bytes.
    pub fn inbox_cleared(&mut self, files: &[DeletedFile]) {
        self.files_went(files);
        for file in files {
            match file.contents {
                Some(contents) => self.released.push(contents.sha256),
                None => self.removed_live.push(file.id),
            }
        }
    }

    /// Forgets rooms after the log has deleted their last stored events. `rooms` contains the id of each room's last
    /// event.
    pub fn forget_rooms(&mut self, rooms: &[(RoomName, EventId)]) {
        for (name, last_id) in rooms {
            let Some(id) = self.find_room(name) else {
                continue;
            };
            // If a newer event has been stored meanwhile, the room stays.
            if let Some(room) = self.rooms.get_mut(id)
                && room.last_id == Some(*last_id)
            {
                room.last_id = None;
                room.topic = Box::default();
                self.close_if_unused(id);
            }
        }
    }

    /// Applies an entry that the log has decided on. Every logged event becomes visible through this function,
    /// whichever connection or server proposed the event. The author learns the outcome through the ticket.
    pub fn apply(&mut self, applied: Applied) {
        let Applied {
            entry,
            outcome,
            is_repeat,
            is_withheld,
            ticket,
        } = applied;
        if let Ok((Some(id), _)) = outcome {
            self.newest_id = self.newest_id.max(id.get() + entry.events() as u64 - 1);
        }
        if let (Some(ticket), true) = (ticket, entry.completes_upload()) {
            self.end_upload(ticket.peer);
        }
        let sent_from = match (ticket, &entry.kind) {
            (Some(ticket), EventKind::File(_)) => self.file_sent(ticket.peer),
            _ => None,
        };
        if outcome.is_err() || is_repeat {
            // The bytes of a file are stored before its event. If the event is rejected, nothing refers to the bytes.
            let contents = match &entry.kind {
                EventKind::File(file) => file.contents,
                EventKind::Stored(_, contents) => Some(**contents),
                _ => None,
            };
            self.released
                .extend(contents.map(|contents| contents.sha256));
        }
        if let (Some(name), EventKind::DeleteRoom(files)) = (entry.room(), &entry.kind) {
            let kept = self.room_deleted(name, files, outcome);
            return self.tell_author(ticket, kept);
        }
        let room = entry.room().and_then(|name| {
            let known = self.room_of_entry(name);
            let is_new = known.is_none() && outcome.is_ok() && !self.is_being_deleted(name);
            known.or_else(|| is_new.then(|| self.insert_room(RoomName::clone(name))))
        });
        let kept = outcome.and_then(|(id, time)| {
            if is_repeat {
                // The reply comes after everything that the room has shown so far, and before what follows.
                let seq = room.map_or(Seq::MAX, |room| self.end(Place::Room(room)));
                return Ok(Committed { id, time, seq });
            }
            self.push.applied(&entry, id);
            let place = if is_withheld {
                None
            } else {
                self.place_of(&entry, room, id.is_some())?
            };
            if let (EventKind::File(_), Some(id), Some(from)) = (&entry.kind, id, sent_from) {
                self.file_is_from(id, from);
            }
            if id.is_some() {
                self.count_change(&entry);
            }
            let author = ticket.map(|ticket| ticket.peer);
            self.copy_to_author(&entry, id, time, author);
            Ok(self.append_event(&entry, place, id, time, author))
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
        self.tell_author(Some(ticket), kept);
    }

    /// Delivers a direct message that is not logged, and that a user of another server has sent.
    ///
    /// # Errors
    /// `no-such-nick` if no connection of this server uses the nick; `busy` if there is no space for the message.
    pub fn deliver(&mut self, entry: &Entry, time: Time) -> Result<(), Code> {
        let place = self.place_of(entry, None, false)?.ok_or(Code::NoSuchNick)?;
        self.append_event(entry, Some(place), None, time, None);
        Ok(())
    }

    /// Returns the room of an entry. Tries the room of the previous entry first, because most entries belong to the
    /// same room as the entry before. A lookup by name for every entry took a tenth of the instructions for a message.
    fn room_of_entry(&mut self, name: &Arc<RoomName>) -> Option<RoomId> {
        let newest = self.rooms.get(self.newest_room);
        if !newest.is_some_and(|room| Arc::ptr_eq(&room.name, name)) {
            self.newest_room = self.find_room(name)?;
        }
        Some(self.newest_room)
    }

    fn tell_author(&mut self, ticket: Option<Ticket>, kept: Result<Committed, Code>) {
        let Some(ticket) = ticket else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(ticket.peer) {
            peer.outcomes.push((ticket.number, kept));
            if self.answered.last() != Some(&ticket.peer) {
                self.answered.push(ticket.peer);
            }
        }
    }

    /// Returns the place of an entry; `None` for a logged direct message to a nick that is offline.
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
        let Some(here) = self.find_here(to) else {
            // On another server, the nick's connections receive it there.
            return if is_logged || self.find_nick(to).is_some() {
                Ok(None)
            } else {
                Err(Code::NoSuchNick)
            };
        };
        // An unlogged message is kept only in the inbox. The inbox had enough space when the sender made the request,
        // but other messages may have filled it since then.
        let bytes = entry.bytes() + entry.events() * DIRECT_LINE_BYTES;
        if !is_logged && (!self.has_inbox_space(here, bytes) || self.is_claimed(to)) {
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
    ) -> Committed {
        let Some(place) = place else {
            return Committed::shown_before(id, time);
        };
        if matches!(entry.kind, EventKind::Text) {
            return self.append_lines(entry, place, id, time, author);
        }
        if let (Place::Room(room), Some(id)) = (place, id) {
            self.change_room(room, entry, id);
        }
        let tags = entry.tags.kept();
        let seq = self.append(place, id, time, author, tags, |chat, line| {
            write(&entry.event(chat.addressee(entry, place), id), line)
        });
        let seq = seq.unwrap_or(Seq::MAX);
        Committed { id, time, seq }
    }

    /// Appends a logged event between two users to the tail of its author's nick too, for the other connections of that
    /// nick. Connections without `TAGS on` leave it out.
    fn copy_to_author(
        &mut self,
        entry: &Entry,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
    ) {
        let Scope::Inbox(message) = &entry.scope else {
            return;
        };
        let Some(nick) = self.find_here(&message.by) else {
            return;
        };
        let Some(user) = self.user(nick) else { return };
        // An operator may have deleted the message of another user. A registered nick belongs to its owner, even if the
        // connection that sent the message has ended.
        let is_own = user.nick.as_str() == entry.author() && self.is_registered(&message.by);
        let connections = &user.here.connections;
        let has_others = connections.iter().any(|peer| Some(*peer) != author);
        if !is_own || !has_others || message.by.casefolded() == message.to.casefolded() {
            return;
        }
        self.append_event(entry, Some(Place::Nick(nick)), id, time, author);
    }

    /// Returns the room or the recipient that an event names, when it is appended to the tail of `place`. In the tail of its
    /// author, a direct message names its recipient.
    fn addressee<'a>(&'a self, entry: &'a Entry, place: Place) -> &'a str {
        let own = self.place_text(place);
        match &entry.scope {
            Scope::Inbox(message) if own == message.by.as_str() => message.to.as_str(),
            _ => own,
        }
    }

    /// Appends each line of a text as an event. Returns the outcome of the first line.
    fn append_lines(
        &mut self,
        entry: &Entry,
        place: Place,
        first: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
    ) -> Committed {
        let mut committed = Committed::shown_before(first, time);
        let mut next = first;
        let _ = entry.each_line(|line| {
            let appended = self.append_event(&line, Some(place), next, time, author);
            committed.seq = committed.seq.min(appended.seq);
            next = next.and_then(|id| EventId::new(id.get() + 1));
            Ok::<_, Infallible>(appended.id)
        });
        committed
    }

    /// After a logged event, updates the counts of files, and releases the bytes of a removed file.
    fn count_change(&mut self, entry: &Entry) {
        match &entry.kind {
            EventKind::Stored(_, contents) => {
                let bytes = contents.length;
                self.count_files(entry.author(), FileSum { count: 0, bytes });
            }
            EventKind::File(file) => {
                self.files += 1;
                let bytes = file.contents.map_or(0, |contents| contents.length);
                self.count_files(entry.author(), FileSum { count: 1, bytes });
            }
            EventKind::Remove(file, removed) => {
                let Removed::File { owner, contents } = &**removed else {
                    return;
                };
                match contents {
                    Some(contents) => self.released.push(contents.sha256),
                    None => self.removed_live.push(*file),
                }
                self.files = self.files.saturating_sub(1);
                self.uncount_file(*file, owner, *contents);
            }
            _ => {}
        }
    }

    /// After a logged event, updates the room's topic, live files or owner.
    fn change_room(&mut self, room: RoomId, entry: &Entry, id: EventId) {
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        if room.last_id.is_none()
            && let Some(owner) = room.acl.as_ref().and_then(|acl| acl.owner.clone())
        {
            self.new_owners.push((RoomName::clone(&room.name), owner));
        }
        room.last_id = Some(id);
        match &entry.kind {
            EventKind::Msg
            | EventKind::Me
            | EventKind::Text
            | EventKind::Edit(_)
            | EventKind::React(_)
            | EventKind::DeleteRoom(_) => {}
            EventKind::Topic => room.topic = entry.text().into(),
            EventKind::Stored(file, _) | EventKind::Remove(file, _) => {
                room.live.retain(|live| live != file);
            }
            EventKind::File(file) => {
                if file.contents.is_none() {
                    room.live.push(id);
                }
            }
        }
    }

    /// Returns the name of a place as events contain it.
    fn place_text(&self, place: Place) -> &str {
        match place {
            Place::Everyone => "*",
            Place::Room(room) => self.rooms.get(room).map_or("?", |room| room.name.as_str()),
            Place::Nick(nick) => self.nick_text(nick),
        }
    }

    /// Appends an event once, for all readers, to the tail of its place. `write` writes the event's line.
    fn append(
        &mut self,
        place: Place,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
        tags: &str,
        write: impl FnOnce(&Self, &mut Vec<u8>) -> EventLayout,
    ) -> Option<Seq> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let layout = write(self, &mut line);
        let seq = self.append_line(place, id, time, author, layout, tags, &line);
        self.line = line;
        seq
    }

    #[allow(clippy::too_many_arguments)] // each is a part of one event
    fn append_line(
        &mut self,
        place: Place,
        id: Option<EventId>,
        time: Time,
        author: Option<PeerId>,
        layout: EventLayout,
        tags: &str,
        line: &[u8],
    ) -> Option<Seq> {
        // A stored message is delivered even to a reader whose inbox is full. In that case, space may have to be made
        // for the message.
        let is_short = matches!(place, Place::Nick(_)) && self.are_inboxes_full();
        let tail = self.tail_mut(place)?;
        let from = tail.memory();
        let seq = tail.push(id, time, author, layout, tags, line);
        if is_short && id.is_some() {
            tail.shrink();
        }
        let to = tail.memory();
        if !std::mem::replace(&mut tail.is_news, true) {
            self.news.push(place);
        }
        self.count_tail(place, from, to);
        self.undelivered_bytes += line.len() + 1;
        Some(seq)
    }

    /// Takes the outcomes that `peer` has received since the last call, each with the number of its ticket.
    pub fn take_outcomes(&mut self, peer: PeerId) -> Vec<(u32, Result<Committed, Code>)> {
        self.peers
            .get_mut(peer)
            .map(|peer| std::mem::take(&mut peer.outcomes))
            .unwrap_or_default()
    }

    /// Records that one reference to the stored bytes of a file is gone.
    pub fn release(&mut self, digest: Digest) {
        self.released.push(digest);
    }

    /// Takes the digests of file contents that have lost a reference. The file store then deletes contents without any
    /// reference.
    pub fn take_released(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.released)
    }

    /// Takes the live files that have been removed. The caller ends their downloads.
    pub fn take_removed_live(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.removed_live)
    }

    /// Returns whether someone may have lost the right to read a room since the last call. If so, the caller checks the
    /// rights of running transfers again.
    pub fn take_acl_changes(&mut self) -> bool {
        std::mem::take(&mut self.has_acl_changes)
    }

    /// Returns whether [`Self::take_news`] or [`Self::take_commanded`] may name a connection.
    pub fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.answered.is_empty() || !self.commanded.is_empty()
    }

    /// Takes the connections that have received commands since the last call. A connection is woken even while it waits
    /// for something else.
    pub fn take_commanded(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.commanded)
    }

    /// Returns the total size in bytes of the lines whose readers have not been woken yet.
    pub fn undelivered_bytes(&self) -> usize {
        self.undelivered_bytes
    }

    /// Calls `wake` for every connection that has received new events or an outcome since the last call. A connection
    /// that reads several places may be woken more than once.
    pub fn take_news(&mut self, mut wake: impl FnMut(PeerId)) {
        self.undelivered_bytes = 0;
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
                    let user = self.user(nick);
                    let peers = user.into_iter().flat_map(|user| &user.here.connections);
                    peers.copied().for_each(&mut wake);
                }
            }
        }
    }

    /// Returns the tail of a place; `None` for a nick that has received no messages, or for a place that no longer
    /// exists.
    pub fn tail(&self, place: Place) -> Option<&Tail> {
        match place {
            Place::Everyone => Some(&self.notes),
            Place::Room(room) => self.rooms.get(room).map(|room| &room.tail),
            Place::Nick(nick) => self.user(nick)?.here.inbox.as_deref(),
        }
    }

    fn tail_mut(&mut self, place: Place) -> Option<&mut Tail> {
        let inbox_bytes_max = self.config.limits.inbox_bytes_max;
        match place {
            Place::Everyone => Some(&mut self.notes),
            Place::Room(room) => self.rooms.get_mut(room).map(|room| &mut room.tail),
            Place::Nick(nick) => {
                let inbox = &mut self.state.here_mut(nick)?.inbox;
                Some(inbox.get_or_insert_with(|| Box::new(Tail::new(inbox_bytes_max))))
            }
        }
    }

    /// Returns the position in the tail of `place` at which a new reader begins.
    pub fn end(&self, place: Place) -> Seq {
        self.tail(place).map_or(0, Tail::end)
    }

    /// Does everything that is due: announces members and their away status, and releases nicks.
    pub fn tick(&mut self, now: Now) {
        while let Some((at_ms, room, nick)) = self.announcing.first().copied()
            && at_ms <= millis(now.uptime)
        {
            self.announcing.pop_first();
            self.announce_due(room, nick, now);
        }
        while let Some((at_ms, nick)) = self.away_due.first().copied()
            && at_ms <= millis(now.uptime)
        {
            self.away_due.pop_first();
            self.away_is_due(nick, now);
        }
        // Where several servers share the chat, only changes release nicks, in the same order on every server.
        if !self.is_shared() {
            self.state.release_due(millis(now.uptime));
        }
    }

    /// Returns the time at which [`Self::tick`] must run next.
    pub fn next_due(&self) -> Option<Duration> {
        let announcing = self.announcing.first().map(|due| due.0);
        let away = self.away_due.first().map(|due| due.0);
        let due = announcing.into_iter().chain(away);
        let released = self.state.next_due_ms().filter(|_| !self.is_shared());
        let due_ms = due.chain(released).min();
        due_ms.map(Duration::from_millis)
    }
}

/// Appends the line of an event. Returns the positions of the line's parts.
fn write(event: &Event<'_>, line: &mut Vec<u8>) -> EventLayout {
    event.encode(line);
    event.layout()
}

#[cfg(test)]
mod tests {
    use super::bans::MovedReader;
    use super::*;
    use crate::config::fixed::MOVED_READERS_MAX;
    use crate::model::Ticket;
    use crate::protocol::Nick;

    fn woken(chat: &mut Chat) -> Vec<PeerId> {
        let mut woken = Vec::new();
        chat.take_news(|peer| woken.push(peer));
        woken
    }

    /// Regression test. The idle author of a `TELL` was not woken after the log had stored or rejected the message,
    /// unless the author was a member of the room. Authors of other entries were not woken after a rejection.
    #[test]
    fn an_author_outside_the_room_is_woken_when_its_entry_is_stored_or_rejected() {
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
        let entry = Arc::new(Entry::new(scope, EventKind::Msg, "alice", "hello"));
        for outcome in [Ok((EventId::new(7), Time(0))), Err(Code::Internal)] {
            chat.apply(Applied {
                entry: entry.clone(),
                outcome,
                is_repeat: false,
                is_withheld: false,
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
    fn a_connection_that_takes_nothing_is_told_of_few_moved_readers_and_of_their_newest_positions()
    {
        let mut chat = Chat::new(Arc::default());
        let now = Now {
            time: Time(0),
            uptime: Duration::ZERO,
        };
        let [first, second] = [1, 2].map(|n| chat.connect(IpAddr::from([127, 0, 0, n])));
        let ann = || Nick::parse("ann").expect("it is a nick");
        let mut take = |peer| chat.take_nick(peer, None, &[], ann(), Some("secret"), now);
        let nick = take(first).expect("it is free").expect("at once");
        assert_eq!(take(second), Ok(Some(nick)));
        for seen in 0..3 {
            for n in 0..1000 {
                let moved = MovedReader {
                    nick,
                    place: format!("#r{}", n / 2).into(),
                    name: ["me", "@read"][n % 2].into(),
                    seen,
                };
                chat.reader_moved(first, &moved);
            }
        }
        assert!(!chat.has_commands(first));
        let told = chat.take_commands(second);
        assert_eq!(told.len(), MOVED_READERS_MAX);
        let is_newest = |command: &_| {
            matches!(
                command,
                ConnectionCommand::Moved(MovedReader { seen: 2, .. })
            )
        };
        assert!(told.iter().all(is_newest), "{told:?}");
    }

    #[test]
    fn a_nick_that_is_away_and_back_many_times_is_announced_once_a_second_with_its_newest_text() {
        let mut chat = Chat::new(Arc::default());
        let at = |ms| Now {
            time: Time(0),
            uptime: Duration::from_millis(ms),
        };
        let peer = chat.connect(IpAddr::from([127, 0, 0, 1]));
        let room = chat.insert_room(RoomName::parse("#ops").expect("it is a name"));
        chat.enter(room, peer, None, at(0));
        let ann = Nick::parse("ann").expect("it is a nick");
        let nick = chat.take_nick(peer, None, &[room], ann, None, at(0));
        let nick = nick.expect("it is free").expect("at once");
        chat.tick(at(2000));
        let mut announced = chat.end(Place::Room(room));
        let mut toggle = |chat: &mut Chat, from: u64| {
            for n in 0..900 {
                let text = if n % 2 == 0 { "" } else { "gone" };
                chat.set_away(
                    nick,
                    &format!("{text}{}", n / 2),
                    peer,
                    &[room],
                    at(from + n),
                );
                chat.tick(at(from + n));
            }
            let before = std::mem::replace(&mut announced, chat.end(Place::Room(room)));
            announced - before
        };
        assert_eq!(toggle(&mut chat, 5000), 1);
        // Announces the newest state, which has waited until now.
        chat.tick(at(6000));
        assert_eq!(toggle(&mut chat, 6050), 1);
        let last = |chat: &Chat| {
            let tail = chat.tail(Place::Room(room)).expect("it is there");
            tail.end()
        };
        let before = last(&chat);
        chat.set_away(nick, "", peer, &[room], at(6990));
        chat.tick(at(7000));
        assert_eq!(last(&chat), before + 1);
        assert_eq!(chat.away(nick), None);
        // The state has not changed since.
        for ms in [8000, 9000, 10_000] {
            chat.tick(at(ms));
        }
        assert_eq!(last(&chat), before + 1);
        assert!(chat.paced_away.is_empty() && chat.away_due.is_empty());
        // After a pause, a change is announced at once.
        chat.set_away(nick, "lunch", peer, &[room], at(11_000));
        assert_eq!(last(&chat), before + 2);
    }

    #[test]
    fn nicks_that_were_away_and_have_gone_take_no_memory() {
        let limits = Limits {
            announce_after: Duration::from_secs(3600),
            ..Limits::default()
        };
        let mut chat = Chat::new(Arc::new(Config {
            limits,
            ..Config::default()
        }));
        let now = Now {
            time: Time(0),
            uptime: Duration::from_secs(5),
        };
        let peer = chat.connect(IpAddr::from([127, 0, 0, 1]));
        let room = chat.insert_room(RoomName::parse("#ops").expect("it is a name"));
        let mut current = None;
        for n in 0..100 {
            let nick = Nick::parse(&format!("ann{n}")).expect("it is a nick");
            // Every other nick has a password, which reserves it.
            let password = Some("secret").filter(|_| n % 2 == 0);
            let taken = chat.take_nick(peer, current, &[], nick, password, now);
            let taken = taken.expect("it is free").expect("at once");
            for text in ["gone", ""] {
                chat.set_away(taken, text, peer, &[room], now);
            }
            let has_gone = n % 3 == 0;
            if has_gone {
                chat.drop_nick(taken, peer, nick::Leaves::ForNow, now);
            }
            current = Some(taken).filter(|_| !has_gone);
        }
        assert!(chat.paced_away.len() <= 1 && chat.away_due.len() <= 1);
    }

    /// Thousands of members may join a room at once.
    #[test]
    fn a_room_with_too_many_members_remembers_no_announcements() {
        let mut chat = Chat::new(Arc::new(Config {
            limits: Limits {
                announce_up_to: 2,
                ..Limits::default()
            },
            ..Config::default()
        }));
        let now = Now {
            time: Time(0),
            uptime: Duration::ZERO,
        };
        let room = chat.insert_room(RoomName::parse("#ops").expect("it is a name"));
        for n in 0..5 {
            let peer = chat.connect(IpAddr::from([127, 0, 0, 1]));
            chat.enter(room, peer, None, now);
            let nick = Nick::parse(&format!("ann{n}")).expect("it is a nick");
            let taken = chat.take_nick(peer, None, &[room], nick, None, now);
            taken.expect("it is free").expect("at once");
        }
        assert_eq!(chat.announcing.len(), 2);
    }

    #[test]
    fn one_address_cannot_use_up_the_connections() {
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
