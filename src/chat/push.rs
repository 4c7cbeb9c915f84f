//! Decides who is notified of a message while the page is closed, for Web Push (http.md, section 6).
//!
//! When a message is applied, the message is only queued. Later, its text is searched for the nicks that it mentions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Chat;
use crate::config::fixed::{PUSH_IN_ALL, PUSH_PACE, PUSH_TEXT_BYTES_MAX, PUSH_WAITING_BYTES_MAX};
use crate::model::{Entry, EventKind, PeerId, Scope, Subscription};
use crate::protocol::name::NAME_CHARS_MAX;
use crate::protocol::{Digest, EventId, Nick, Time};

/// The browsers that are notified, and the messages that have not been searched for nicks yet.
#[derive(Debug, Default)]
pub struct Push {
    by_nick: HashMap<Box<str>, Browsers>,
    /// The casefolded nick of each browser.
    nicks: HashMap<Digest, Box<str>>,
    messages: VecDeque<Waiting>,
    /// The size of the waiting messages.
    messages_bytes: usize,
    /// The ids of the message that was taken last. `is_taken_removed` says whether it has been removed since.
    taken: Range<u64>,
    is_taken_removed: bool,
}

/// A message that has not been searched for nicks yet.
#[derive(Debug)]
struct Waiting {
    entry: Arc<Entry>,
    /// The ids of the message's lines.
    ids: Range<u64>,
}

/// The browsers of a nick.
#[derive(Debug, Default)]
struct Browsers {
    all: Vec<Subscription>,
    /// The time from which the nick has its full allowance of notifications again; see [`crate::config::Rate`].
    used_up: Duration,
}

/// What is shown to the user of a nick.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// The browsers that show the notice.
    pub browsers: Vec<Subscription>,
    /// The author of the message and, unless it is a direct message, the room.
    pub title: String,
    /// The beginning of the message.
    pub text: String,
    /// The room, or the author of the direct message.
    pub place: String,
}

impl Push {
    /// Creates the table from the stored browsers.
    pub fn new(stored: Vec<Subscription>) -> Self {
        let mut push = Self::default();
        for one in stored {
            push.add(one);
        }
        push
    }

    /// Returns whether the server has reached its maximum number of browsers.
    pub fn is_full(&self) -> bool {
        self.nicks.len() >= PUSH_IN_ALL
    }

    /// Returns the nick to which a browser belongs.
    pub fn nick_of(&self, id: &Digest) -> Option<Nick> {
        let browsers = self.by_nick.get(self.nicks.get(id)?)?;
        let own = browsers.all.iter().find(|one| one.id == *id);
        own.map(|one| one.nick.clone())
    }

    /// Adds a stored browser, or updates a known browser.
    pub fn add(&mut self, one: Subscription) {
        self.remove(&one.id);
        let form: Box<str> = one.nick.casefolded().into();
        self.nicks.insert(one.id, form.clone());
        self.by_nick.entry(form).or_default().all.push(one);
    }

    /// Removes a browser.
    pub fn remove(&mut self, id: &Digest) {
        let Some(form) = self.nicks.remove(id) else {
            return;
        };
        if let Some(browsers) = self.by_nick.get_mut(&form) {
            browsers.all.retain(|one| one.id != *id);
            if browsers.all.is_empty() {
                self.by_nick.remove(&form);
            }
        }
    }

    /// Removes all browsers of a nick.
    pub fn forget(&mut self, nick: &Nick) {
        let browsers = self.by_nick.remove(nick.casefolded());
        for one in browsers.into_iter().flat_map(|browsers| browsers.all) {
            self.nicks.remove(&one.id);
        }
    }

    /// Notes an applied entry: queues a message for notification, or forgets a removed message. If too many messages
    /// wait already, does not queue another.
    pub(super) fn applied(&mut self, entry: &Arc<Entry>, id: Option<EventId>) {
        if let EventKind::Remove(of, _) = entry.kind {
            return self.removed(of.get());
        }
        let is_message = match (&entry.scope, &entry.kind) {
            (Scope::Room(_), EventKind::Msg | EventKind::Me | EventKind::Text) => true,
            (
                Scope::Inbox(message),
                EventKind::Msg | EventKind::Me | EventKind::Text | EventKind::File(_),
            ) => self.by_nick.contains_key(message.to.casefolded()),
            _ => false,
        };
        let bytes = size(entry);
        let has_space = self.messages_bytes + bytes <= PUSH_WAITING_BYTES_MAX;
        if is_message && !self.by_nick.is_empty() && has_space {
            self.messages_bytes += bytes;
            let first = id.map_or(0, EventId::get);
            let lines = if id.is_some() { entry.events() } else { 0 };
            self.messages.push_back(Waiting {
                entry: entry.clone(),
                ids: first..first + lines as u64,
            });
        }
    }

    /// Forgets the waiting message that contains the event `id`.
    fn removed(&mut self, id: u64) {
        self.is_taken_removed |= self.taken.contains(&id);
        let place = self.messages.iter().position(|one| one.ids.contains(&id));
        if let Some(one) = place.and_then(|place| self.messages.remove(place)) {
            self.messages_bytes -= size(&one.entry);
        }
    }

    /// Returns whether messages wait to be searched for nicks.
    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Takes the oldest message that waits to be searched for nicks.
    pub fn take_message(&mut self) -> Option<Arc<Entry>> {
        let Waiting { entry, ids } = self.messages.pop_front()?;
        self.messages_bytes -= size(&entry);
        (self.taken, self.is_taken_removed) = (ids, false);
        Some(entry)
    }
}

impl Chat {
    /// Records that a connection is a client over WebSocket: the page, or another client.
    pub fn came_as_page(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.is_page = true;
        }
    }

    /// Returns whether a browser may still be notified of the message that was taken last. Since the decision to
    /// notify, the browser's nick may have given up the browser, opened the page, or lost the right to read the room.
    /// The message may have been removed. The author may have been banned, or may have lost access to the room.
    pub fn may_still_notify(&self, entry: &Entry, browser: &Subscription, now: Time) -> bool {
        let form = browser.nick.casefolded();
        let may_read = match &entry.scope {
            Scope::Room(name) => {
                let room = self.find_room(name).and_then(|room| self.room(room));
                room.is_some_and(|room| {
                    let author = entry.author_casefolded();
                    room.admits(Some(form)) && room.admits(Some(&author))
                })
            }
            _ => true,
        };
        let author = Nick::parse(entry.author());
        let is_banned = author.is_ok_and(|author| self.ban_of_nick(&author, now).is_some());
        may_read
            && !is_banned
            && !self.push.is_taken_removed
            && !self.has_page(form)
            && self.push.nick_of(&browser.id).as_ref() == Some(&browser.nick)
    }

    /// Returns the notices about a message. `words` contains the nicks that the text may mention; see [`words`].
    pub fn notices(
        &mut self,
        entry: &Entry,
        words: &HashSet<String>,
        now: Duration,
    ) -> Vec<Notice> {
        let author = entry.author_casefolded();
        let (whom, title, place) = match &entry.scope {
            Scope::Inbox(message) => {
                let by = message.by.as_str().to_owned();
                (vec![message.to.casefolded().to_owned()], by.clone(), by)
            }
            Scope::Room(name) => {
                let Some(room) = self.find_room(name).and_then(|room| self.room(room)) else {
                    return Vec::new();
                };
                let is_known = |word: &&String| self.push.by_nick.contains_key(word.as_str());
                let known = words.iter().filter(is_known);
                let whom = known.filter(|word| room.admits(Some(word)));
                let title = format!("{} in {}", entry.author(), room.name);
                (whom.cloned().collect(), title, room.name.to_string())
            }
            Scope::Unsaved(_) => return Vec::new(),
        };
        let mut notices = Vec::new();
        for form in whom.into_iter().filter(|form| *form != author) {
            if self.has_page(&form) {
                continue;
            }
            let Some(known) = self.push.by_nick.get_mut(form.as_str()) else {
                continue;
            };
            let browsers = known.all.iter().filter(|one| !one.ignores(&author));
            let browsers: Vec<_> = browsers.cloned().collect();
            if browsers.is_empty() || !PUSH_PACE.wait(known.used_up, now).is_zero() {
                continue;
            }
            known.used_up = PUSH_PACE.once_more(known.used_up, now);
            notices.push(Notice {
                browsers,
                title: title.clone(),
                text: beginning(entry),
                place: place.clone(),
            });
        }
        notices
    }

    /// Returns whether the page is open under a casefolded nick.
    fn has_page(&self, form: &str) -> bool {
        let nick = Nick::parse(form)
            .ok()
            .and_then(|nick| self.find_here(&nick));
        let user = nick.and_then(|nick| self.user(nick));
        let mut connections = user.into_iter().flat_map(|user| &user.here.connections);
        connections.any(|peer| self.peers.get(*peer).is_some_and(|peer| peer.is_page))
    }
}

/// Returns the number of bytes that a message takes from the memory for waiting messages.
fn size(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.author().len() + entry.text().len()
}

/// Returns the beginning of a message, or the name of a file.
fn beginning(entry: &Entry) -> String {
    let text = match &entry.kind {
        EventKind::File(file) => file.name.as_str(),
        _ => entry.text(),
    };
    if text.len() <= PUSH_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(PUSH_TEXT_BYTES_MAX - "…".len());
    format!("{}…", &text[..end])
}

/// Returns the words of a text that can be nicks, in lower case. The caller looks up each word, so the time for a
/// message does not depend on how many nicks can be notified.
pub fn words(text: &str) -> HashSet<String> {
    let is_part = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '-' | '.') || !c.is_ascii() && is_mark(c)
    };
    let mut found = HashSet::new();
    for word in text.split(|c| !is_part(c)) {
        // A dot may belong to the nick, or end the sentence.
        let whole = word.trim_matches('.');
        let parts = whole.split('.').filter(|part| part.len() < whole.len());
        for word in [whole].into_iter().chain(parts) {
            let is_nick = word.starts_with(char::is_alphabetic);
            // No character takes more than four bytes.
            if is_nick && word.len() <= 4 * NAME_CHARS_MAX {
                found.insert(word.to_lowercase());
            }
        }
    }
    found
}

fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DirectMessage, Now, Removed, RoomAcl, ignored_nick};
    use crate::protocol::RoomName;

    const NOW: Duration = Duration::from_secs(1000);

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn browser(who: &str, n: u8, ignored: &[&str]) -> Subscription {
        Subscription {
            nick: nick(who),
            endpoint: "https://push.example/".into(),
            id: Digest([n; 32]),
            key: Box::default(),
            secret: [n; 16],
            ignored: ignored.iter().map(|nick| ignored_nick(nick)).collect(),
            made: Time(1),
        }
    }

    fn room() -> RoomName {
        RoomName::parse("#ops").expect("it is a name")
    }

    fn chat(browsers: Vec<Subscription>) -> Chat {
        let mut chat = Chat::new(Arc::default());
        chat.insert_room(room());
        chat.push = Push::new(browsers);
        chat
    }

    fn said(by: &str, text: &str) -> Entry {
        Entry::new(Scope::Room(room().into()), EventKind::Msg, by, text)
    }

    fn told(by: &str, to: &str, text: &str) -> Entry {
        let (by, to) = (nick(by), nick(to));
        let author = by.clone();
        let scope = Scope::Inbox(DirectMessage { by, to }.into());
        Entry::new(scope, EventKind::Msg, author.as_str(), text)
    }

    /// Returns the numbers of the browsers that are notified, each with the title and text that it shows.
    fn notified(chat: &mut Chat, entry: &Entry) -> Vec<(u8, String)> {
        let notices = chat.notices(entry, &words(entry.text()), NOW);
        let mut rows: Vec<_> = notices
            .iter()
            .flat_map(|notice| notice.browsers.iter().map(move |one| (one, notice)))
            .map(|(one, notice)| (one.id.0[0], format!("{}: {}", notice.title, notice.text)))
            .collect();
        rows.sort();
        rows
    }

    fn row(n: u8, shown: &str) -> (u8, String) {
        (n, shown.to_owned())
    }

    #[test]
    fn words_that_can_be_nicks_are_found_despite_punctuation() {
        let check = |text: &str, expected: &[&str]| {
            let mut found: Vec<_> = words(text).into_iter().collect();
            found.sort();
            assert_eq!(found, expected, "{text}");
        };
        check("Ann, @BOB: (zoë)! 12 9x", &["ann", "bob", "zoë"]);
        check("ask j.r. or ann.", &["ann", "ask", "j", "j.r", "or", "r"]);
        check("anna-bob_c", &["anna-bob_c"]);
        check(&"x".repeat(129), &[]);
    }

    #[test]
    fn mentions_and_direct_messages_notify_and_no_other_message_does() {
        let mut chat = chat(vec![
            browser("ann", 1, &[]),
            browser("Ann", 2, &[]),
            browser("bob", 3, &[]),
        ]);
        assert_eq!(
            notified(&mut chat, &said("cyn", "hello ANN and anna")),
            [
                row(1, "cyn in #ops: hello ANN and anna"),
                row(2, "cyn in #ops: hello ANN and anna")
            ]
        );
        assert_eq!(notified(&mut chat, &said("ann", "ann is here")), []);
        assert_eq!(notified(&mut chat, &said("cyn", "hello")), []);
        assert_eq!(
            notified(&mut chat, &told("ann", "bob", "hi")),
            [row(3, "ann: hi")]
        );
        assert_eq!(notified(&mut chat, &told("bob", "cyn", "bob")), []);
        let long = format!("bob {}", "é".repeat(400));
        let [(_, shown)] = &notified(&mut chat, &said("cyn", &long))[..] else {
            panic!("bob is notified");
        };
        assert!(
            shown.len() <= "cyn in #ops: ".len() + PUSH_TEXT_BYTES_MAX,
            "{shown}"
        );
        chat.push.remove(&Digest([1; 32]));
        let (told_by_bob, of_ann) = (told("bob", "ann", "hi"), browser("ann", 1, &[]));
        assert!(!chat.may_still_notify(&told_by_bob, &of_ann, Time(1)));
        assert_eq!(
            notified(&mut chat, &told("bob", "ann", "hi")),
            [row(2, "bob: hi")]
        );
        chat.push.forget(&nick("ann"));
        assert_eq!(notified(&mut chat, &told("bob", "ann", "hi")), []);
        assert_eq!((chat.push.by_nick.len(), chat.push.nicks.len()), (1, 1));
    }

    #[test]
    fn a_closed_room_an_ignored_author_and_an_open_page_notify_nobody() {
        let mut chat = chat(vec![browser("ann", 1, &["cyn"])]);
        assert_eq!(notified(&mut chat, &said("Cyn", "ann")), []);
        assert_eq!(notified(&mut chat, &told("Cyn", "ann", "hi")), []);
        let now = Now {
            time: Time(1),
            uptime: NOW,
        };
        let peer = chat.connect([127, 0, 0, 1].into());
        let taken = chat.take_nick(peer, None, &[], nick("Ann"), None, now);
        taken.expect("it is free");
        assert_eq!(
            notified(&mut chat, &said("bob", "ann?")),
            [row(1, "bob in #ops: ann?")]
        );
        chat.came_as_page(peer);
        assert_eq!(notified(&mut chat, &said("bob", "ann?")), []);
        let still = |chat: &Chat| {
            chat.may_still_notify(&said("bob", "ann?"), &browser("ann", 1, &[]), Time(1))
        };
        assert!(!still(&chat));
        chat.disconnect(peer);
        assert!(still(&chat));
        assert_eq!(
            notified(&mut chat, &told("bob", "ann", "hi")),
            [row(1, "bob: hi")]
        );
        let room = chat.find_room(&room()).expect("it is there");
        let acl = RoomAcl {
            is_closed: true,
            ..RoomAcl::default()
        };
        chat.set_acl(room, Some(Box::new(acl)));
        assert_eq!(notified(&mut chat, &said("bob", "ann?")), []);
        assert!(!still(&chat));
    }

    #[test]
    fn a_message_that_waits_is_dropped_when_it_is_removed_or_its_author_excluded() {
        let mut chat = chat(vec![browser("ann", 1, &[])]);
        let id = |n| EventId::new(n).expect("it is an id");
        let remove = |chat: &mut Chat, n| {
            let kind = EventKind::Remove(id(n), Removed::Message.into());
            let entry = Entry::new(Scope::Room(room().into()), kind, "cyn", "");
            chat.push.applied(&entry.into(), Some(id(20)));
        };
        let still = |chat: &Chat, entry: &Entry| {
            chat.may_still_notify(entry, &browser("ann", 1, &[]), Time(1))
        };
        let text = Entry::new(
            Scope::Room(room().into()),
            EventKind::Text,
            "cyn",
            "ann\nb\nc",
        );
        let message = Arc::new(said("cyn", "ann"));
        chat.push.applied(&text.into(), Some(id(5)));
        for n in [8, 9] {
            chat.push.applied(&message, Some(id(n)));
        }
        remove(&mut chat, 7);
        remove(&mut chat, 20);
        assert_eq!(chat.push.messages.len(), 2);
        assert!(chat.push.take_message().is_some());
        assert!(still(&chat, &message));
        remove(&mut chat, 8);
        assert!(!still(&chat, &message));
        assert!(chat.push.take_message().is_some());
        assert!(still(&chat, &message));
        assert_eq!(chat.push.messages_bytes, 0);
        let room = chat.find_room(&room()).expect("it is there");
        let acl = RoomAcl {
            is_closed: true,
            invited: ["ann".to_owned()].into(),
            ..RoomAcl::default()
        };
        chat.set_acl(room, Some(Box::new(acl)));
        assert!(!still(&chat, &message) && still(&chat, &said("ann", "ann")));
    }

    #[test]
    fn notifications_to_a_nick_are_paced_and_the_messages_that_wait_are_limited() {
        let mut chat = chat(vec![browser("ann", 1, &[]), browser("bob", 2, &[])]);
        let entry = Arc::new(said("cyn", "ann"));
        let count = (0..100)
            .filter(|_| !notified(&mut chat, &entry).is_empty())
            .count();
        assert_eq!(count, PUSH_PACE.burst as usize);
        assert_eq!(notified(&mut chat, &said("cyn", "bob")).len(), 1);
        let later = chat.notices(&entry, &words("ann"), NOW + PUSH_PACE.every);
        assert_eq!(later.len(), 1);
        for _ in 0..PUSH_WAITING_BYTES_MAX {
            chat.push.applied(&entry, None);
        }
        let most = PUSH_WAITING_BYTES_MAX / size(&entry);
        assert_eq!(chat.push.messages.len(), most);
        while chat.push.take_message().is_some() {}
        assert_eq!(chat.push.messages_bytes, 0);
    }
}
