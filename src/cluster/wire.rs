//! The form in which servers write messages to the log.
//!
//! A message is lines of JSON, so that an operator can read the log. The first line contains the version of the form
//! and the message, but the items of a batch follow, one in each line:
//!
//! ```text
//! {"v":1,"by":"one","content":{"Batch":{"epoch":17,"number":4,"fences":[]}}}
//! {"Change":{"EnterRoom":{"room":{"shown":"#ops","casefolded":null},"nick":{"shown":"Ann","casefolded":"ann"}}}}
//! {"Entry":{"scope":{"Room":{"shown":"#ops","casefolded":null}},"kind":"Msg","tags":null,"words":"Annhello","author_bytes":3}}
//! ```
//!
//! Names are written with their comparison forms, which come from tables of Unicode. So two versions of `chatd` with
//! different tables agree on which names are equal. (Banned nicks are an exception: a server reads them like a command.)

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::publisher::ITEMS_MAX;
use super::{Content, Message, Size};
use crate::model::{Action, Entry, ServerName, StoredChange};
use crate::protocol::EventId;

/// The version of the form. A server that reads a newer version must end, because it cannot know what it skips.
const VERSION: u32 = 1;

/// An item of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Item {
    /// Something that is proposed to the log of messages and files.
    Entry(Arc<Entry>),
    /// A change to the state that all servers share. It is proposed by the server that has published the batch.
    Change(Action),
    /// A change of what is stored besides events.
    Stored(StoredChange),
}

/// An item that this server publishes, with the line that it has in a message. So an item is written once, and is not
/// read again when the log returns it.
#[derive(Clone, Debug)]
pub struct Written {
    item: Item,
    line: Box<[u8]>,
}

impl Written {
    /// Writes an item.
    ///
    /// # Panics
    /// Never: all values of these types can be written as JSON.
    pub fn new(item: Item) -> Self {
        let mut line = Vec::with_capacity(USUAL_LINE_BYTES);
        push_line(&mut line, &item);
        let line = line.into();
        Self { item, line }
    }

    /// Returns the size of the item in a message.
    pub fn size(&self) -> Size {
        Size {
            bytes: self.line.len(),
            ids: ids(&self.item),
        }
    }
}

/// Most lines are shorter.
const USUAL_LINE_BYTES: usize = 256;

/// The reason why a message cannot be read.
#[derive(Debug)]
pub enum BadMessage {
    /// A newer `chatd` has written the message, in this version of the form.
    Newer(u32),
    /// The message does not have the form, although it begins like one.
    Malformed(String),
    /// This is no message of a server. All servers skip it.
    Foreign,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(version) => write!(
                f,
                "another server uses version {version} of the messages between servers, and this chatd knows only \
                 {VERSION}: update this chatd"
            ),
            Self::Malformed(why) => write!(f, "a message of another server is malformed: {why}"),
            Self::Foreign => f.write_str("this is no message of a server"),
        }
    }
}

impl std::error::Error for BadMessage {}

/// The first line of a message. The items are not in it.
#[derive(Serialize, Deserialize)]
struct Head<'a, T: Clone> {
    v: u32,
    by: ServerName,
    #[serde(bound = "")]
    content: Cow<'a, Content<T>>,
}

/// Writes a message.
///
/// # Panics
/// Never: all values of these types can be written as JSON.
pub fn encode(message: &Message<Written>) -> Vec<u8> {
    let head = Head {
        v: VERSION,
        by: message.by.clone(),
        content: Cow::Borrowed(&message.content),
    };
    let mut written = Vec::new();
    push_line(&mut written, &head);
    if let Content::Batch { items, .. } = &message.content {
        written.reserve_exact(items.iter().map(|item| item.line.len()).sum());
        items.iter().for_each(|item| written.extend(&item.line));
    }
    written
}

/// Returns the number of ids that an item takes.
pub fn ids(item: &Item) -> usize {
    match item {
        Item::Entry(entry) => entry.events(),
        Item::Change(_) | Item::Stored(_) => 1,
    }
}

fn push_line(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *out, value).expect("all values can be written");
    out.push(b'\n');
}

/// Reads a message. `own` are the items that this server has sent last: if the message contains them, they are not read
/// again.
///
/// # Errors
/// When the bytes are not a message, or a newer `chatd` has written them.
pub fn decode(bytes: &[u8], own: &[Written]) -> Result<Message<Item>, BadMessage> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let malformed = |e: serde_json::Error| BadMessage::Malformed(e.to_string());
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, lines) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
    if !head.starts_with(b"{") {
        return Err(BadMessage::Foreign);
    }
    let version = serde_json::from_slice(head).map_err(|_| BadMessage::Foreign);
    let Version { v } = version?;
    if v > VERSION {
        return Err(BadMessage::Newer(v));
    }
    let head: Head<'_, Item> = serde_json::from_slice(head).map_err(malformed)?;
    let all = if are_lines_of(own, lines) {
        own.iter().map(|written| written.item.clone()).collect()
    } else {
        read_items(lines)?
    };
    let mut content = head.content.into_owned();
    match &mut content {
        Content::Batch { items, .. } => *items = all,
        _ if all.is_empty() => {}
        _ => return Err(BadMessage::Malformed("only a batch has items".into())),
    }
    let by = head.by;
    Ok(Message { by, content })
}

/// Returns whether the lines are those of these items.
fn are_lines_of(items: &[Written], lines: &[u8]) -> bool {
    let mut rest = Some(lines);
    for item in items {
        rest = rest.and_then(|rest| rest.strip_prefix(&*item.line));
    }
    rest == Some(&[])
}

fn read_items(lines: &[u8]) -> Result<Vec<Item>, BadMessage> {
    let malformed = |e: serde_json::Error| BadMessage::Malformed(e.to_string());
    let mut all = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if all.len() == ITEMS_MAX {
            let text = format!("more than {ITEMS_MAX} items");
            return Err(BadMessage::Malformed(text));
        }
        all.push(serde_json::from_slice(line).map_err(malformed)?);
    }
    if all.iter().map(ids).sum::<usize>() as u64 > IDS_PER_MESSAGE {
        return Err(BadMessage::Malformed("too many events".into()));
    }
    Ok(all)
}

/// The number of ids for each message of the log.
const IDS_PER_MESSAGE: u64 = 1 << 10;

/// Returns the id of an event. It depends only on the place of the event in the log: the message's sequence number
/// (1 or more), and the number of ids that the items before it in the message take (see [`ids`]).
/// Returns `None` if there are too many events in the message, or too many messages.
pub fn event_id(sequence: u64, place: u64) -> Option<EventId> {
    let first = sequence.checked_mul(IDS_PER_MESSAGE)?;
    EventId::new(first + place).filter(|_| place < IDS_PER_MESSAGE)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::cluster::Fence;
    use crate::model::{
        Ban, Claim, DirectMessage, EventKind, FileContents, FormerNick, Hook, NewFile, Reaction,
        ReaderName, Removed, Reserve, RoomAcl, Scope, ValuesChange, VersionedAcl,
    };
    use crate::protocol::ban_target::BanTarget;
    use crate::protocol::name::FileName;
    use crate::protocol::tags::SentTags;
    use crate::protocol::{Digest, Nick, RoomName, Time};

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn room(text: &str) -> Arc<RoomName> {
        Arc::new(RoomName::parse(text).expect("it is a room"))
    }

    fn id(number: u64) -> EventId {
        EventId::new(number).expect("it is an id")
    }

    fn entries() -> Vec<Entry> {
        let contents = FileContents {
            length: 5,
            sha256: Digest([7; 32]),
        };
        let file = |contents| {
            let name = FileName::parse("my notes.txt").expect("it is a name");
            EventKind::File(NewFile { name, contents }.into())
        };
        let reaction = |is_withdrawn| Reaction {
            to: id(1),
            emoji: "👍".into(),
            is_withdrawn,
        };
        let removed = |contents| Removed::File {
            owner: "Zoë".into(),
            contents,
        };
        let kinds = [
            EventKind::Msg,
            EventKind::Me,
            EventKind::Text,
            EventKind::Topic,
            EventKind::Remove(id(9), Removed::Message.into()),
            EventKind::Remove(id(9), removed(None).into()),
            EventKind::Remove(id(9), removed(Some(contents)).into()),
            EventKind::Edit(id(3)),
            EventKind::React(reaction(false).into()),
            EventKind::React(reaction(true).into()),
            file(None),
            file(Some(contents)),
            EventKind::Stored(id(4), contents.into()),
            EventKind::DeleteRoom(Vec::new()),
        ];
        let inbox = DirectMessage {
            by: nick("Zoë"),
            to: nick("bob"),
        };
        let scopes = [
            Scope::Room(room("#Straße")),
            Scope::Inbox(inbox.into()),
            Scope::Unsaved(nick("Bob").into()),
        ];
        let tags = SentTags::parse("reply=3;nonce=a1;x-job=7").expect("they are tags");
        let mut entries = Vec::new();
        for kind in kinds {
            for scope in &scopes {
                let text = "one\ntwo \u{1f600} \"quoted\"";
                let entry = Entry::new(scope.clone(), kind.clone(), "Zoë", text);
                entries.push(entry.with_tags(tags.clone()));
            }
        }
        entries
    }

    fn actions() -> Vec<Action> {
        let former = |is_last| FormerNick {
            nick: nick("Ann"),
            is_last,
            rooms: vec![room("#a"), room("#B")],
        };
        let reserve = Reserve {
            for_ms: 120_000,
            origin: Ipv4Addr::LOCALHOST.into(),
            nicks_max: 10,
            nicks_per_address_max: 2,
        };
        let claims = [
            Claim::Free,
            Claim::Account,
            Claim::Shared,
            Claim::Password([9; 32].into()),
        ];
        let mut actions = Vec::new();
        for claim in claims {
            let (nick, former) = (nick("Bob"), Some(former(true)));
            actions.push(Action::TakeNick {
                nick,
                claim,
                former,
            });
        }
        let ban = |target: &str| Ban {
            target: BanTarget::parse(target).expect("it is a target"),
            by: "ann".into(),
            text: "spam".into(),
            until: Some(Time(5)),
        };
        let acl = VersionedAcl {
            room: RoomName::parse("#ops").expect("it is a room"),
            acl: RoomAcl::owned_by("ann"),
            version: 3,
        };
        let hook = Hook {
            nick: nick("ann"),
            label: nick("ci"),
            room: RoomName::parse("#ops").expect("it is a room"),
            sha256: Digest([1; 32]),
            made: Time(6),
        };
        let (place, name, seen) = ("#ops".into(), "me".into(), 5);
        actions.extend([
            Action::TakeNick {
                nick: nick("Bob"),
                claim: Claim::Free,
                former: Some(former(false)),
            },
            Action::DropNick {
                nick: nick("Bob"),
                reserve: Some(reserve),
            },
            Action::DropNick {
                nick: nick("Bob"),
                reserve: None,
            },
            Action::AddAccount { nick: nick("Bob") },
            Action::RemoveAccount { nick: nick("Bob") },
            Action::AddBan(ban("Mallory").into()),
            Action::AddBan(ban("192.0.2.0/24").into()),
            Action::RemoveBan(BanTarget::parse("2001:db8::1").expect("it is a target")),
            Action::SetAcls(vec![acl]),
            Action::Invite {
                nick: nick("bob"),
                room: room("#ops"),
                by: nick("ann"),
            },
            Action::AddHook(hook.into()),
            Action::Revoke {
                nick: nick("ann"),
                label: nick("ci"),
            },
            Action::Kick {
                nick: nick("bob"),
                text: "go".into(),
            },
            Action::Notify {
                by: nick("ann"),
                text: "hi".into(),
            },
            Action::MoveReader {
                nick: nick("ann"),
                place,
                name,
                seen,
            },
            Action::CatchUp,
            Action::OpenRoom { room: room("#ops") },
            Action::CloseRoom { room: room("#ops") },
            Action::DeleteRoom { room: room("#ops") },
            Action::SetAway {
                nick: nick("ann"),
                text: Some("lunch".into()),
                rooms: vec![room("#ops")],
            },
            Action::EnterRoom {
                room: room("#ops"),
                nick: nick("ann"),
            },
            Action::LeaveRoom {
                room: room("#ops"),
                nick: nick("ann"),
                text: "bye".into(),
            },
        ]);
        actions
    }

    fn stored_changes() -> [StoredChange; 4] {
        let reader = ReaderName {
            place: "@bob".into(),
            nick: "ann".into(),
            name: "phone".into(),
        };
        let owner: Box<str> = "ann".into();
        let text = || Box::<str>::from("a b");
        let values = ValuesChange {
            read: vec![
                (text(), text(), None),
                (text(), text(), Some(Digest([1; 32]))),
            ],
            listed: vec![(text(), "".into(), Digest([2; 32]))],
            written: vec![(text(), text(), Some("{}".into())), (text(), text(), None)],
        };
        [
            StoredChange::Values(values),
            StoredChange::SetReader {
                reader: reader.clone(),
                owner: owner.clone(),
                seen: 5,
            },
            StoredChange::ForgetReader { reader, owner },
            StoredChange::ClearInbox(nick("ann")),
        ]
    }

    fn batch(items: &[Item]) -> Content<Written> {
        let fences = vec![Fence {
            server: "two".into(),
            epoch: 5,
            batches: 9,
        }];
        Content::Batch {
            epoch: 17,
            number: 4,
            fences,
            items: items.iter().cloned().map(Written::new).collect(),
        }
    }

    fn message<T>(content: Content<T>) -> Message<T> {
        let by = "one".into();
        Message { by, content }
    }

    fn check(content: Content<Written>) {
        let message = message(content);
        let written = encode(&message);
        let read = decode(&written, &[]).unwrap_or_else(|e| panic!("{e}: {message:?}"));
        assert_eq!(read.by, message.by);
        match (&read.content, &message.content) {
            (Content::Batch { items: read, .. }, Content::Batch { items, .. }) => {
                let items: Vec<_> = items.iter().map(|written| &written.item).collect();
                assert_eq!(format!("{read:?}"), format!("{items:?}"));
            }
            (read, sent) => assert_eq!(format!("{read:?}"), format!("{sent:?}")),
        }
        let again = match read.content {
            Content::Batch { items, .. } => batch(&items),
            _ => message.content,
        };
        assert_eq!(encode(&self::message(again)), written);
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let (former, nonce) = (u64::MAX, 3);
        check(Content::Hello { former, nonce });
        check(Content::Goodbye { epoch: 7 });
        let entries = entries().into_iter().map(|entry| Item::Entry(entry.into()));
        let items: Vec<_> = entries
            .chain(actions().into_iter().map(Item::Change))
            .chain(stored_changes().into_iter().map(Item::Stored))
            .collect();
        check(batch(&items));
        let lines = items.iter().cloned().map(Written::new);
        let lines: usize = lines.map(|written| written.size().bytes).sum();
        let written = encode(&message(batch(&items)));
        let head = written
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line");
        assert_eq!(written.len(), head + 1 + lines);
    }

    #[test]
    fn a_servers_own_items_are_not_read_again() {
        let entry = |item: &Item| match item {
            Item::Entry(entry) => entry.clone(),
            other => panic!("not an entry: {other:?}"),
        };
        let items: Vec<_> = entries()
            .into_iter()
            .map(|it| Item::Entry(it.into()))
            .collect();
        let (some, rest) = items.split_at(5);
        let Content::Batch { items: own, .. } = batch(some) else {
            panic!("it is a batch");
        };
        let read = |sent: &[Item]| {
            let read = decode(&encode(&message(batch(sent))), &own).expect("it is a message");
            match read.content {
                Content::Batch { items, .. } => items,
                other => panic!("not a batch: {other:?}"),
            }
        };
        for (read, sent) in read(some).iter().zip(some) {
            assert!(Arc::ptr_eq(&entry(read), &entry(sent)));
        }
        // Other items are read, also if some of them, or the first of them, are the own ones.
        for others in [rest, &some[1..], &some[..4], &items[..6], &[]] {
            assert_eq!(format!("{:?}", read(others)), format!("{others:?}"));
        }
    }

    #[test]
    fn what_is_not_a_message_is_an_error() {
        let lines = |items: &str| {
            format!(
                "{{\"v\":1,\"by\":\"a\",\"content\":{{\"Batch\":{{\"epoch\":1,\"number\":1,\"fences\":[]}}}}}}\n{items}"
            )
        };
        assert!(decode(lines("").as_bytes(), &[]).is_ok());
        let catch_up = "{\"Change\":\"CatchUp\"}\n";
        assert!(decode(lines(catch_up).as_bytes(), &[]).is_ok());
        let malformed = [
            "{\"v\":1}\n".into(),
            lines("hello\n"),
            lines("{\"Change\":\"Unheard\"}\n"),
            lines("{\"Change\":\"Cat"),
            lines(&catch_up.repeat(ITEMS_MAX + 1)),
            "{\"v\":1,\"by\":\"a\",\"content\":{\"Goodbye\":{\"epoch\":1}}}\n".to_owned()
                + catch_up,
        ];
        for text in malformed {
            let read = decode(text.as_bytes(), &[]);
            assert!(matches!(read, Err(BadMessage::Malformed(_))), "{text:?}");
        }
        let text = Entry::new(
            Scope::Room(room("#ops")),
            EventKind::Text,
            "ann",
            &"x\n".repeat(1024),
        );
        let written = encode(&message(batch(&[Item::Entry(text.into())])));
        let read = decode(&written, &[]);
        assert!(matches!(read, Err(BadMessage::Malformed(_))), "{read:?}");
        for foreign in ["", "\n", "hello\n", "{\"hello\":1}\n", "[1]"] {
            let read = decode(foreign.as_bytes(), &[]);
            assert!(matches!(read, Err(BadMessage::Foreign)), "{foreign:?}");
        }
        let newer = decode(b"{\"v\":2,\"unheard\":[]}\n", &[]);
        assert!(matches!(newer, Err(BadMessage::Newer(2))));
    }

    #[test]
    fn the_ids_of_a_log_grow_and_fit_into_a_number_of_javascript() {
        let number = |sequence, place| event_id(sequence, place).map(EventId::get);
        assert_eq!(number(1, 0), Some(1024));
        assert_eq!(number(1, 1023), Some(2047));
        assert_eq!(number(2, 0), Some(2048));
        assert_eq!(number(1, 1024), None);
        let last = (1 << 43) - 1;
        assert_eq!(number(last, 1023), Some((1 << 53) - 1));
        assert_eq!(number(last + 1, 0), None);
    }
}
