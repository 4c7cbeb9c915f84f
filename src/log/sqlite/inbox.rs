//! Direct messages between registered nicks. They are stored under a row of `rooms` that belongs to the nick that
//! received them. No room's name has the form of such a row, so queries about rooms never find it. The table `told`
//! has one row for each of the two nicks that may read a message.

use rusqlite::{Connection, Transaction, params};

use super::rows::{RECORD, collect, deleted_file, number, record, span_from};
use crate::log::{HistoryPage, Location, Record, Span};
use crate::model::{DeletedFile, DirectMessage, StorageError};
use crate::protocol::{EventId, Nick};

/// Adds an event to the inboxes of both nicks. If it concerns an earlier message or file, adds it only to the inboxes
/// that contain that one.
pub(super) fn insert(
    step: &Transaction<'_>,
    id: i64,
    message: &DirectMessage,
    concerned: Option<EventId>,
) -> rusqlite::Result<()> {
    for nick in [&message.by, &message.to] {
        if let Some(concerned) = concerned
            && !contains(step, nick, number(concerned.get()))?
        {
            continue;
        }
        step.prepare_cached("INSERT OR IGNORE INTO told (nick, id) VALUES (?1, ?2)")?
            .execute(params![nick.casefolded(), id])?;
    }
    Ok(())
}

/// Returns whether the inbox of a nick contains an event.
pub(super) fn contains(step: &Transaction<'_>, nick: &Nick, id: i64) -> rusqlite::Result<bool> {
    step.prepare_cached("SELECT 1 FROM told WHERE nick = ?1 AND id = ?2")?
        .exists(params![nick.casefolded(), id])
}

pub(super) fn read(
    db: &Connection,
    nick: &Nick,
    span: Span,
    count: usize,
    bytes: usize,
) -> Result<HistoryPage, StorageError> {
    let mut events = db.prepare_cached(&format!(
        "SELECT {RECORD} FROM told t
         CROSS JOIN events e ON e.id = t.id CROSS JOIN rooms r ON r.id = e.room
         WHERE t.nick = ?1 AND t.id > ?2 AND t.id <= ?3 ORDER BY t.id LIMIT ?4",
    ))?;
    let (after, up_to) = (number(span.after), number(span.up_to));
    let found = events.query_map(
        params![nick.casefolded(), after, up_to, count as i64],
        record,
    )?;
    Ok(HistoryPage::complete(collect(found, bytes)?))
}

pub(super) fn newest(
    db: &Connection,
    nick: &Nick,
    before: u64,
    count: usize,
) -> Result<Span, StorageError> {
    let up_to = before.saturating_sub(1);
    let mut first = db.prepare_cached(
        "SELECT min(id) FROM
           (SELECT id FROM told WHERE nick = ?1 AND id <= ?2 ORDER BY id DESC LIMIT ?3)",
    )?;
    let key = params![nick.casefolded(), number(up_to), count as i64];
    Ok(span_from(first.query_row(key, |row| row.get(0))?, up_to))
}

/// Empties the inbox of a nick. Deletes the files that only this nick could still read, and returns them.
pub(super) fn forget(db: &Connection, form: &str) -> Result<Vec<DeletedFile>, StorageError> {
    let mut files = db.prepare_cached(
        "SELECT f.id, e.nick, f.length, f.sha256 FROM told t JOIN files f ON f.id = t.id JOIN events e ON e.id = f.id
         WHERE t.nick = ?1 AND NOT EXISTS (SELECT 1 FROM told WHERE id = t.id AND nick <> ?1)",
    )?;
    let files = files.query_map([form], deleted_file)?;
    let files: Vec<DeletedFile> = files.collect::<Result<_, _>>()?;
    for file in &files {
        db.prepare_cached("DELETE FROM files WHERE id = ?1")?
            .execute([number(file.id.get())])?;
    }
    let mut forget = db.prepare_cached("DELETE FROM told WHERE nick = ?1")?;
    forget.execute([form])?;
    let readers =
        "DELETE FROM readers WHERE nick = ?1 AND (substr(room, 1, 1) = '@' OR owner = ?1)";
    db.prepare_cached(readers)?.execute([form])?;
    Ok(files)
}

/// Returns the place of a direct message from `by`. `to` is the name of the row of `rooms` under which it is stored.
pub(super) fn location(
    db: &Connection,
    id: EventId,
    by: &str,
    to: &str,
) -> Result<Option<Location>, StorageError> {
    let (Ok(by), Ok(to)) = (Nick::parse(by), Nick::parse(to)) else {
        return Ok(None);
    };
    let mut readers = db.prepare_cached("SELECT nick FROM told WHERE id = ?1")?;
    let readers = readers.query_map([number(id.get())], |row| {
        row.get::<_, String>(0).map(Into::into)
    })?;
    let readers = readers.collect::<Result<_, _>>()?;
    let message = DirectMessage { by, to };
    Ok(Some(Location::Inbox { message, readers }))
}

/// Reads direct messages of all nicks, oldest first: at most `count` of the messages whose ids are greater than
/// `after`.
pub(super) fn all(db: &Connection, after: u64, count: usize) -> Result<Vec<Record>, StorageError> {
    let mut events = db.prepare_cached(&format!(
        "SELECT {RECORD} FROM
           (SELECT DISTINCT id FROM told WHERE id > ?1 ORDER BY id LIMIT ?2) t
         CROSS JOIN events e ON e.id = t.id CROSS JOIN rooms r ON r.id = e.room ORDER BY e.id",
    ))?;
    let found = events.query_map(params![number(after), count as i64], record)?;
    Ok(found.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc::{Receiver, channel};

    use crate::config::fixed::REACTIONS_MAX;
    use crate::log::memory::MemoryLog;
    use crate::log::sqlite::SqliteLog;
    use crate::log::text::Query;
    use crate::log::work::Work;
    use crate::log::{Location, Log, Reader, SearchScope, Span};
    use crate::model::{
        DirectMessage, Entry, EventKind, Outcome, Reaction, Removed, Report, Scope,
    };
    use crate::protocol::{Code, EventId, Nick, RoomName, Time};

    const ALL: Span = Span {
        after: 0,
        up_to: u64::MAX >> 1,
    };

    fn nick(nick: &str) -> Nick {
        Nick::parse(nick).unwrap()
    }

    fn entry(by: &str, to: &str, kind: EventKind, text: &str) -> Entry {
        let (author, by, to) = (by, nick(by), nick(to));
        let scope = Scope::Inbox(Box::new(DirectMessage { by, to }));
        Entry::new(scope, kind, author, text)
    }

    /// A log on disk and a log in memory, with the same contents.
    struct Both {
        logs: [Box<dyn Log>; 2],
        kept: Receiver<(Outcome, bool)>,
        _folder: tempfile::TempDir,
    }

    impl Both {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (tell, kept) = channel();
            let sink = move |batch: Vec<Report>| {
                for applied in batch.into_iter().filter_map(Report::applied) {
                    tell.send((applied.outcome, applied.is_withheld)).unwrap();
                }
            };
            let disk = SqliteLog::open(folder.path(), Box::new(sink)).unwrap();
            Self {
                logs: [Box::new(MemoryLog::new(0, 1 << 20)), Box::new(disk)],
                kept,
                _folder: folder,
            }
        }

        fn append(&self, time: u64, entry: impl Fn() -> Entry) -> Outcome {
            self.applied(time, entry).0
        }

        /// Returns the outcome of an entry, and whether it is withheld from its recipient.
        fn applied(&self, time: u64, entry: impl Fn() -> Entry) -> (Outcome, bool) {
            let [memory, disk] = &self.logs;
            let known = memory.append(entry().into(), None, Time(time)).unwrap();
            let known = (known.outcome, known.is_withheld);
            assert!(disk.append(entry().into(), None, Time(time)).is_none());
            assert_eq!(self.kept.recv().unwrap(), known);
            known
        }

        fn tell(&self, by: &str, to: &str, text: &str) {
            self.append(7, || entry(by, to, EventKind::Msg, text))
                .unwrap()
                .0
                .unwrap();
        }

        /// Returns the inbox of a nick, after checking that both logs give the same answer.
        fn past(&self, of: &str, span: Span, count: usize) -> Vec<String> {
            let past = self.logs.each_ref().map(|log| {
                let past = log.read_inbox(&nick(of), span, count, usize::MAX).unwrap();
                assert!(!past.has_hole);
                past.records
            });
            assert_eq!(past[0], past[1]);
            past[0].iter().map(|past| past.line.clone()).collect()
        }

        fn newest(&self, of: &str, before: u64, count: usize) -> Span {
            let spans = self
                .logs
                .each_ref()
                .map(|log| log.newest_in_inbox(&nick(of), before, count).unwrap());
            assert_eq!(spans[0], spans[1]);
            spans[0]
        }
    }

    #[test]
    fn both_logs_give_a_direct_message_to_its_two_nicks_only() {
        let both = Both::new();
        both.tell("Ann", "ben", "one");
        let room = RoomName::parse("#ben").unwrap();
        let sent = || {
            let scope = Scope::Room(room.clone().into());
            Entry::new(scope, EventKind::Msg, "eve", "in a room of that name")
        };
        both.append(7, sent).unwrap();
        both.tell("ben", "ann", "two");
        both.tell("eve", "ben", "three");
        both.tell("ann", "ann", "four");
        let (one, two) = ("MSG ben Ann one", "MSG ann ben two");
        assert_eq!(both.past("BEN", ALL, 9), [one, two, "MSG ben eve three"]);
        assert_eq!(both.past("ann", ALL, 9), [one, two, "MSG ann ann four"]);
        assert_eq!(both.past("eve", ALL, 9), ["MSG ben eve three"]);
        assert_eq!(both.past("zoe", ALL, 9), [""; 0]);
        let span = both.newest("ann", 5, 1);
        assert_eq!(both.past("ann", span, 1), [two]);
        assert_eq!(both.newest("zoe", 5, 1), Span { after: 4, up_to: 4 });
        for log in &both.logs {
            let rooms = log.rooms().unwrap();
            assert_eq!(rooms.len(), 1, "{rooms:?}");
            assert_eq!(log.read(&room, ALL, 9, 999).unwrap().records.len(), 1);
            let one = Query::parse("one").unwrap();
            let everywhere = SearchScope::AllBut(HashSet::new().into());
            let found = |of: &str, words: &str| -> Vec<String> {
                let scope = SearchScope::Inbox(nick(of).into());
                let query = Query::parse(words).unwrap();
                let found = log.search(&scope, &query, 2, &Work::begin()).unwrap();
                assert!(!found.is_cut);
                found.records.into_iter().map(|found| found.line).collect()
            };
            assert_eq!(found("BEN", "ONE"), ["MSG ben Ann one"]);
            assert_eq!(found("ann", "from:ben two"), [two]);
            for (of, words) in [
                ("eve", "one"),
                ("zoe", "one"),
                ("ann", "from:ann two"),
                ("ben", "before:2 two"),
            ] {
                assert_eq!(found(of, words), [""; 0], "{of}: {words}");
            }
            for scope in [SearchScope::Room(room.clone().into()), everywhere] {
                let found = log.search(&scope, &one, 9, &Work::begin()).unwrap();
                assert!(found.records.is_empty(), "{scope:?}: {found:?}");
            }
            let authorship = log.authorship(EventId::new(1).unwrap()).unwrap().unwrap();
            let Location::Inbox {
                message,
                mut readers,
            } = authorship.location
            else {
                panic!("it is in no room");
            };
            readers.sort();
            assert_eq!((message.by.as_str(), message.to.as_str()), ("Ann", "ben"));
            assert_eq!(readers, ["ann".into(), "ben".into()]);
            assert_eq!(authorship.removable, Some(Removed::Message));
        }

        let id = EventId::new(1).unwrap();
        let remove = || {
            entry(
                "ann",
                "ben",
                EventKind::Remove(id, Removed::Message.into()),
                "",
            )
        };
        both.append(8, remove).unwrap();
        both.append(9, remove).unwrap_err();
        let taken_back = [
            "MSG ben Ann -",
            two,
            "MSG ben eve three",
            "REMOVE ben ann 1",
        ];
        assert_eq!(both.past("ben", ALL, 9), taken_back);

        for log in &both.logs {
            let marker = |place: &str| Reader {
                place: place.into(),
                nick: "ben".into(),
                name: "@read".into(),
            };
            for (place, owner) in [("@ann", "@::1"), ("milk", "ben"), ("tea", "@::1")] {
                log.set_reader(&marker(place), owner, 7).unwrap();
            }
            log.clear_inbox(&nick("Ben")).unwrap();
            assert_eq!(log.reader(&marker("@ann")).unwrap(), None);
            // This reader belonged to the previous owner of the nick.
            assert_eq!(log.reader(&marker("milk")).unwrap(), None);
            assert_eq!(log.reader(&marker("tea")).unwrap(), Some(7));
            let Location::Inbox { readers, .. } = log.authorship(id).unwrap().unwrap().location
            else {
                panic!("it is in no room");
            };
            assert_eq!(readers, ["ann".into()]);
        }
        assert_eq!(both.past("ben", ALL, 9), [""; 0]);
        assert_eq!(both.past("eve", ALL, 9), ["MSG ben eve three"]);
        both.tell("ann", "ben", "anew");
        assert_eq!(both.past("ben", ALL, 9), ["MSG ben ann anew"]);
        // The next owner of the nick is not told that an older message is removed.
        let remove_older = |by, to, of| {
            let kind = EventKind::Remove(EventId::new(of).unwrap(), Removed::Message.into());
            both.applied(9, || entry(by, to, kind.clone(), ""))
        };
        let before = both.past("ann", ALL, 9).len();
        let (outcome, is_withheld) = remove_older("ben", "ann", 3);
        assert!(outcome.is_ok() && !is_withheld);
        let (outcome, is_withheld) = remove_older("eve", "ben", 4);
        assert!(outcome.is_ok() && is_withheld);
        assert_eq!(both.past("ben", ALL, 9), ["MSG ben ann anew"]);
        assert_eq!(both.past("ann", ALL, 9).len(), before + 1);
        assert_eq!(both.past("eve", ALL, 9).last().unwrap(), "REMOVE ben eve 4");
    }

    #[test]
    fn both_logs_bound_the_reactions_to_a_message() {
        let both = Both::new();
        let room = Scope::Room(RoomName::parse("#tea").unwrap().into());
        let react = |nick: &str, is_withdrawn| {
            let kind = EventKind::React(Box::new(Reaction {
                to: EventId::new(1).unwrap(),
                emoji: "x".into(),
                is_withdrawn,
            }));
            both.append(7, || Entry::new(room.clone(), kind.clone(), nick, ""))
        };
        both.append(7, || Entry::new(room.clone(), EventKind::Msg, "ann", "hm"))
            .unwrap();
        for n in 0..REACTIONS_MAX {
            react(&format!("ann{n}"), false)
                .unwrap()
                .0
                .expect("it is an event");
        }
        assert_eq!(react("bob", false), Err(Code::Quota));
        assert_eq!(react("ANN7", false).unwrap().0, None, "it is there already");
        assert!(react("ann7", true).unwrap().0.is_some());
        assert!(react("bob", false).unwrap().0.is_some());
        for log in &both.logs {
            let reactions = log.reactions(EventId::new(1).unwrap()).unwrap();
            assert_eq!(reactions.len(), REACTIONS_MAX);
            assert_eq!(reactions.last().unwrap().nick, "bob");
        }
    }

    #[test]
    fn direct_messages_are_bounded_in_memory() {
        let log = MemoryLog::new(0, 64 << 10);
        let names = ["ann", "ben", "eve"];
        for n in 0..10_000 {
            let (by, to) = (names[n % 3], names[n % 2]);
            let entry = entry(by, to, EventKind::Msg, &"x".repeat(n % 100));
            log.append(entry.into(), None, Time(n as u64));
        }
        let ids = names.map(|name| {
            let past = log.read_inbox(&nick(name), ALL, usize::MAX, usize::MAX);
            past.unwrap().records.len()
        });
        assert!(ids.iter().all(|count| (10..200).contains(count)), "{ids:?}");
    }
}
