//! Tests of how a session handles results that arrive late. Each test decides what happens in between.

mod irc;
mod two_servers;
mod values;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use super::batch::Batch;
use super::{Begun, Effect, Session, Upload};
use crate::accounts::buckets::MemoryBuckets;
use crate::accounts::{AccountQuery, AccountResult, Accounts};
use crate::chat::Chat;
use crate::config::{Config, Limits};
use crate::log::memory::MemoryLog;
use crate::log::{self, Log};
use crate::model::{Applied, Entry, FileContents, Now, Ticket};
use crate::protocol::line::LineEnd;
use crate::protocol::{Digest, Nick};

/// The log and the accounts that several servers share. Each server receives all decisions of the log in the same
/// order, with the tickets of its own entries.
struct SharedLog {
    log: MemoryLog,
    accounts: Accounts,
    /// The entries that each server has not applied yet.
    feeds: RefCell<Vec<VecDeque<Applied>>>,
}

impl SharedLog {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            log: MemoryLog::new(1, 1 << 20),
            accounts: Accounts::new(Arc::new(MemoryBuckets::default()), None),
            feeds: RefCell::default(),
        })
    }

    fn append(&self, entry: Arc<Entry>, ticket: Ticket, server: usize) {
        let time = Now::default().time;
        let applied = self.log.append(entry, Some(ticket), time);
        let applied = applied.expect("it is known at once");
        for (n, feed) in self.feeds.borrow_mut().iter_mut().enumerate() {
            feed.push_back(Applied {
                is_repeat: applied.is_repeat,
                is_withheld: applied.is_withheld,
                entry: applied.entry.clone(),
                outcome: applied.outcome,
                ticket: applied.ticket.filter(|_| n == server),
            });
        }
    }
}

/// The sessions of one chat, and the log and accounts that they use.
struct Table {
    chat: Chat,
    log: Rc<SharedLog>,
    /// The index of this server among the feeds of the log.
    server: usize,
    sessions: Vec<Session>,
}

impl Table {
    fn new(count: usize) -> Self {
        Self::with(count, Config::default())
    }

    fn with(count: usize, config: Config) -> Self {
        Self::on(SharedLog::new(), count, config)
    }

    /// Adds a server with `count` connections that uses `log`.
    fn on(log: Rc<SharedLog>, count: usize, config: Config) -> Self {
        let config = Config {
            operators: vec![Nick::parse("root").expect("it is a nick")],
            ..config
        };
        let server = log.feeds.borrow().len();
        log.feeds.borrow_mut().push(VecDeque::new());
        let mut table = Self {
            sessions: Vec::new(),
            log,
            server,
            chat: Chat::new(Arc::new(config)),
        };
        for _ in 0..count {
            table.connect();
        }
        table
    }

    /// Adds a connection; returns its number.
    fn connect(&mut self) -> usize {
        let at = SocketAddr::from(([127, 0, 0, 1], 5002));
        let peer = self.chat.connect(IpAddr::from([127, 0, 0, 1]));
        self.sessions
            .push(Session::new(peer, at, &self.chat, Now::default()));
        self.sessions.len() - 1
    }

    /// Applies the log's decisions that this server has not applied yet.
    fn apply(&mut self) {
        let feed = std::mem::take(&mut self.log.feeds.borrow_mut()[self.server]);
        for applied in feed {
            self.chat.apply(applied);
        }
    }

    /// Passes a line to a session; returns its query to the accounts.
    fn ask(&mut self, who: usize, line: &str) -> Option<AccountQuery> {
        let session = &mut self.sessions[who];
        let chat = &mut self.chat;
        let effect = session.apply(line.as_bytes(), LineEnd::Lf, chat, Now::default());
        self.asked(who, effect)
    }

    /// Passes a message to a session. The log has it then, but this server has not applied it.
    fn propose(&mut self, who: usize, line: &str) {
        let session = &mut self.sessions[who];
        let chat = &mut self.chat;
        match session.apply(line.as_bytes(), LineEnd::Lf, chat, Now::default()) {
            Some(Effect::Append(entry, ticket)) => self.log.append(entry, ticket, self.server),
            other => panic!("{other:?}"),
        }
    }

    /// Answers the queries to the log, and returns the query to the accounts.
    fn asked(&mut self, who: usize, mut effect: Option<Effect>) -> Option<AccountQuery> {
        loop {
            match effect? {
                Effect::QueryAccounts(ask) => return Some(*ask),
                Effect::QueryLog(question) => {
                    let answer = log::run_query(&self.log.log, &question).map_err(|e| e.code());
                    let session = &mut self.sessions[who];
                    effect = session.on_log_result(answer, &mut self.chat, Now::default());
                }
                Effect::Append(entry, ticket) => {
                    self.log.append(entry, ticket, self.server);
                    self.apply();
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns a table of `sessions` sessions with limits.
    fn limited(sessions: usize, limits: Limits) -> Self {
        let config = Config {
            limits,
            ..Config::default()
        };
        Self::with(sessions, config)
    }

    /// Answers the session's query for what it has missed. Returns whether there was one.
    fn read_backlog(&mut self, who: usize) -> bool {
        let Some((room, query)) = self.sessions[who].backlog_query(&self.chat) else {
            return false;
        };
        let answer = log::run_query(&self.log.log, &query).ok();
        self.sessions[who].on_backlog(room, answer, &mut self.chat, Now::default());
        true
    }

    /// Passes a line that begins an upload to a session.
    fn upload(&mut self, who: usize, line: &str) -> Upload {
        let session = &mut self.sessions[who];
        let chat = &mut self.chat;
        match session.apply(line.as_bytes(), LineEnd::Lf, chat, Now::default()) {
            Some(Effect::Receive(upload)) => *upload,
            other => panic!("{other:?}"),
        }
    }

    /// Executes a query to the accounts; the session does not have the result yet.
    fn done(&self, ask: &AccountQuery) -> AccountResult {
        self.log
            .accounts
            .run(ask, Now::default().time)
            .expect("it is in memory")
    }

    /// Passes a result to the session. Returns the session's next query.
    fn direct_message(&mut self, who: usize, answer: AccountResult) -> Option<AccountQuery> {
        let session = &mut self.sessions[who];
        let effect = session.on_account_result(Ok(answer), &mut self.chat, Now::default());
        self.asked(who, effect)
    }

    /// Passes a line to a session, answers all its queries and returns its output.
    fn say(&mut self, who: usize, line: &str) -> String {
        let query = self.ask(who, line);
        self.answer(who, query);
        self.read(who)
    }

    /// Answers a session's query to the accounts, and all queries that follow.
    fn answer(&mut self, who: usize, mut query: Option<AccountQuery>) {
        while let Some(asked) = query {
            let answer = self.done(&asked);
            query = self.direct_message(who, answer);
        }
    }

    /// Returns whether a session accepts a line now.
    fn takes_lines(&self, who: usize) -> bool {
        self.sessions[who].takes_lines(self.chat.limits())
    }

    /// Lets the sessions process input that has waited for decisions.
    fn go_on(&mut self) {
        for who in 0..self.sessions.len() {
            let session = &mut self.sessions[who];
            session.take_outcomes(&mut self.chat);
            while self.sessions[who].owes_deferred() {
                let session = &mut self.sessions[who];
                let effect = session.apply_deferred(&mut self.chat, Now::default());
                let query = self.asked(who, effect);
                self.answer(who, query);
                self.sessions[who].take_outcomes(&mut self.chat);
            }
        }
    }

    /// Returns the output of a session.
    fn read(&mut self, who: usize) -> String {
        let mut out = Vec::new();
        let mut batch = Batch::default();
        let session = &mut self.sessions[who];
        session.take_outcomes(&mut self.chat);
        session.run_commands(&mut self.chat, Now::default());
        while session.fill(&mut self.chat, &mut batch) {
            out.extend(batch.stretches(0).flatten());
            session.sent(&mut self.chat, &batch, batch.len());
        }
        String::from_utf8(out).expect("it is text")
    }
}

#[test]
fn a_nick_registered_while_a_guess_waits_belongs_to_its_owner() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann hunter2");
    let guess = table.ask(1, "NICK ann wrong").expect("it waits");
    assert_eq!(table.say(0, "REGISTER new secret"), "OK REGISTER ann\n");
    let answer = table.done(&guess);
    let again = table
        .direct_message(1, answer)
        .expect("it is an account's by now");
    assert!(matches!(again, AccountQuery::Login { .. }));
    let answer = table.done(&again);
    assert!(table.direct_message(1, answer).is_none());
    assert!(table.read(1).starts_with("ERR NICK bad-password "));
    // The refusal does not prevent a later login with the right password.
    assert!(
        table
            .say(1, "NICK ann new secret")
            .starts_with("OK NICK ann ")
    );
}

#[test]
fn a_result_for_an_outdated_account_is_queried_again() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(0, "REGISTER old secret");
    let enters = table.ask(1, "NICK ann old secret").expect("it waits");
    let answer = table.done(&enters);
    assert!(matches!(answer, AccountResult::Password));
    table.say(0, "REGISTER new secret");
    let again = table
        .direct_message(1, answer)
        .expect("the answer is of before");
    let answer = table.done(&again);
    table.direct_message(1, answer);
    assert!(table.read(1).starts_with("ERR NICK bad-password "));
}

#[test]
fn a_nick_banned_while_its_password_is_checked_is_refused() {
    let mut table = Table::new(3);
    table.say(0, "NICK root");
    table.say(0, "REGISTER my secret");
    table.say(1, "NICK eve");
    table.say(1, "REGISTER eve's secret");
    let enters = table.ask(2, "NICK eve eve's secret").expect("it waits");
    let answer = table.done(&enters);
    assert_eq!(table.say(0, "BAN eve 1h enough"), "OK BAN eve\n");
    table.direct_message(2, answer);
    assert!(table.read(2).starts_with("ERR NICK banned "));
    assert!(table.say(2, "NICK mallory").starts_with("OK NICK mallory "));
}

#[test]
fn a_former_moderator_changes_nothing_and_a_released_nick_is_not_invited() {
    let mut table = Table::new(3);
    for (who, nick) in ["ann", "bob", "eve"].into_iter().enumerate() {
        table.say(who, &format!("NICK {nick}"));
        table.say(who, "REGISTER my secret");
    }
    table.say(0, "JOIN #plan");
    table.say(0, "MODE invite");
    assert_eq!(table.say(0, "INVITE bob keeper"), "OK INVITE #plan bob\n");
    table.say(1, "JOIN #plan");
    // Bob is a moderator when he sends the request, but no longer when the request is carried out.
    let invite = table.ask(1, "INVITE eve").expect("it waits");
    assert_eq!(table.say(0, "UNINVITE bob"), "OK UNINVITE #plan bob\n");
    let answer = table.done(&invite);
    table.direct_message(1, answer);
    assert!(table.read(1).contains("ERR INVITE not-allowed "));
    // Eve has an account when she is invited, but no longer when the request is carried out.
    let invite = table.ask(0, "INVITE eve").expect("it waits");
    table.say(2, "REGISTER -");
    let answer = table.done(&invite);
    table.direct_message(0, answer);
    assert!(table.read(0).starts_with("ERR INVITE "));
    table.say(2, "REGISTER my secret");
    assert!(
        table
            .say(2, "JOIN #plan")
            .starts_with("ERR JOIN not-allowed ")
    );
    assert_eq!(
        table.say(0, "INVITES"),
        "INVITE #plan ann maker\nOK INVITES 1\n"
    );
}

#[test]
fn two_changes_of_a_room_apply_in_stored_order_however_they_arrive() {
    let mut table = Table::new(3);
    for (who, nick) in ["ann", "bob", "eve"].into_iter().enumerate() {
        table.say(who, &format!("NICK {nick}"));
        table.say(who, "REGISTER my secret");
    }
    table.say(0, "JOIN #plan");
    table.say(0, "MODE invite");
    table.say(0, "INVITE bob keeper");
    table.say(1, "JOIN #plan");
    let first = table.ask(0, "INVITE eve").expect("it waits");
    let second = table.ask(1, "UNINVITE eve");
    assert!(second.is_none(), "she is not invited yet");
    table.read(1);
    let answer = table.done(&first);
    table.direct_message(0, answer);
    let invite = table.ask(0, "INVITE eve keeper").expect("it waits");
    let uninvite = table.ask(1, "UNINVITE eve").expect("it waits");
    let (invited, uninvited) = (table.done(&invite), table.done(&uninvite));
    table.direct_message(1, uninvited);
    table.direct_message(0, invited);
    assert!(
        table
            .say(2, "JOIN #plan")
            .starts_with("ERR JOIN not-allowed ")
    );
}

#[test]
fn a_live_file_that_is_removed_while_its_end_is_stored_is_not_announced_again() {
    let contents = FileContents {
        length: 5,
        sha256: Digest([7; 32]),
    };
    for is_known in [true, false] {
        let mut table = Table::new(2);
        table.say(0, "NICK ann secret");
        table.say(1, "NICK ann secret");
        let upload = table.upload(0, "UPLOAD build.log *");
        let effect = table.sessions[0].announce(&upload, &mut table.chat);
        table.asked(0, effect.expect("it is allowed"));
        let id = table.sessions[0].announced(&mut table.chat).flatten();
        let id = id.expect("it is kept");
        table.read(0);
        let removed = table.say(1, &format!("REMOVE {id}"));
        assert!(
            removed.contains(&format!(
                "OK REMOVE {id}
"
            )),
            "{removed}"
        );
        let begun = if is_known {
            Begun::Removed
        } else {
            Begun::Live(id)
        };
        let session = &mut table.sessions[0];
        let effect = session.received(upload, begun, Ok(contents), &mut table.chat, Now::default());
        table.asked(0, effect);
        let read = table.read(0);
        assert!(read.contains("ERR UPLOAD no-such-file "), "{read}");
        assert_eq!(table.chat.take_released(), [contents.sha256]);
        assert_eq!(table.say(1, "FILES"), "OK FILES 0\n");
    }
}

#[test]
fn a_live_file_is_not_announced_to_the_next_owner_of_a_nick() {
    let mut table = Table::new(2);
    for (who, nick) in ["ann", "bob"].iter().enumerate() {
        table.say(who, &format!("NICK {nick}"));
        table.say(who, "REGISTER my secret");
    }
    let upload = table.upload(0, "UPLOAD c.log * @bob");
    table.say(1, "REGISTER -");
    table.say(1, "REGISTER another secret");
    let refused = table.sessions[0].announce(&upload, &mut table.chat);
    let refused = refused.expect_err("the nick has another owner");
    let (session, chat) = (&mut table.sessions[0], &mut table.chat);
    let effect = session.received(
        upload,
        Begun::Unannounced,
        Err(refused),
        chat,
        Now::default(),
    );
    assert!(effect.is_none(), "{effect:?}");
    assert!(table.read(0).contains("ERR UPLOAD not-allowed one of you "));
    assert_eq!(table.say(1, "HISTORY bob"), "OK HISTORY 0\n");
}

#[test]
fn no_token_is_created_for_a_nick_that_was_unregistered_meanwhile() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(0, "REGISTER my secret");
    table.say(1, "NICK ann my secret");
    let token = table.ask(0, "TOKEN ci").expect("it waits");
    assert_eq!(table.say(1, "REGISTER -"), "OK REGISTER ann\n");
    let answer = table.done(&token);
    table.direct_message(0, answer);
    assert!(table.read(0).contains("ERR TOKEN not-allowed "));
    table.say(1, "REGISTER my secret");
    assert_eq!(table.say(1, "TOKENS"), "OK TOKENS 0\n");
}

#[test]
fn nobody_can_take_a_look_alike_nick_and_an_owner_may_change_its_case() {
    let mut table = Table::new(5);
    table.say(0, "NICK alice");
    table.say(0, "REGISTER my secret");
    table.say(1, "NICK BOB");
    for fake in ["AIice", "aIice", "A1ice"] {
        let answer = table.say(2, &format!("NICK {fake}"));
        assert!(
            answer.starts_with("ERR NICK nick-taken "),
            "{fake}: {answer}"
        );
    }
    for fake in ["B0B", "b0b", "\u{412}\u{41e}\u{412}"] {
        let answer = table.say(2, &format!("NICK {fake}"));
        assert!(
            answer.starts_with("ERR NICK nick-taken "),
            "{fake}: {answer}"
        );
    }
    for own in ["Alice", "ALICE", "alice"] {
        let answer = table.say(0, &format!("NICK {own}"));
        assert!(answer.contains(&format!("OK NICK {own} ")), "{answer}");
        let answer = table.say(4, &format!("NICK {own} my secret"));
        assert!(answer.contains("OK NICK "), "{answer}");
        table.say(4, "NICK somebody");
    }
    for own in ["bob", "Bob"] {
        assert!(table.say(1, &format!("NICK {own}")).contains("OK NICK "));
    }
    // The owner of a registered nick cannot choose a spelling that looks like another nick.
    assert!(table.say(3, "NICK aiice").contains("OK NICK aiice "));
    assert_eq!(table.say(3, "REGISTER my secret"), "OK REGISTER aiice\n");
    let answer = table.say(3, "NICK AIice");
    assert!(answer.starts_with("ERR NICK nick-taken "), "{answer}");
    assert!(table.say(3, "NICK Aiice").contains("OK NICK Aiice "));
    // A nick that was unregistered is free, in any spelling.
    table.say(1, "NICK robert");
    assert!(table.say(2, "NICK B0B").contains("OK NICK B0B "));
    let answer = table.say(1, "NICK bob");
    assert!(answer.starts_with("ERR NICK nick-taken "), "{answer}");
    table.say(2, "NICK other");
    assert!(table.say(1, "NICK bob").contains("OK NICK bob "));
}

#[test]
fn no_other_user_gets_any_spelling_of_a_registered_nick() {
    let mut table = Table::new(4);
    for (who, nick) in [(0, "Lan"), (1, "Ian"), (2, "ill")] {
        assert!(table.say(who, &format!("NICK {nick}")).contains("OK NICK "));
        assert!(
            table
                .say(who, "REGISTER my secret")
                .starts_with("OK REGISTER ")
        );
    }
    for fake in ["III", "lll", "lan", "1an"] {
        let answer = table.say(3, &format!("NICK {fake}"));
        assert!(!answer.contains("OK NICK "), "{fake}: {answer}");
    }
    // The owner of one nick must not spell it like the other nick.
    let answer = table.say(0, "NICK lan");
    assert!(
        answer.starts_with("ERR NICK nick-taken ") && answer.contains("spell yours Lan"),
        "{answer}"
    );
    assert!(table.say(0, "NICK LAN").contains("OK NICK LAN "));
    assert!(table.say(3, "NICK Lan my secret").contains("OK NICK "));
}

#[test]
fn a_room_receives_a_file_before_its_disconnected_sender_leaves() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(1, "JOIN #lobby");
    table.chat.tick(Now {
        uptime: Limits::default().announce_after,
        ..Now::default()
    });
    assert_eq!(table.read(1), "JOIN #lobby ann\n");
    let upload = table.upload(0, "UPLOAD z 0");
    let contents = FileContents {
        length: 0,
        sha256: Digest([0; 32]),
    };
    let (session, chat) = (&mut table.sessions[0], &mut table.chat);
    let effect = session.received(
        upload,
        Begun::Unannounced,
        Ok(contents),
        chat,
        Now::default(),
    );
    // The log has not stored the file yet.
    let none = session.apply(b"nope", LineEnd::Lf, chat, Now::default());
    assert!(none.is_none());
    table.asked(0, effect);
    let (session, chat) = (&mut table.sessions[0], &mut table.chat);
    session.take_outcomes(chat);
    assert!(session.owes_deferred());
    session.apply_deferred(chat, Now::default());
    let got = table.read(1);
    let verbs: Vec<_> = got
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(verbs, ["FILE", "PART"], "{got}");
    assert!(table.read(0).contains("ERR - out-of-step "));
}

#[test]
fn a_change_of_an_ignored_nick_is_shown() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(1, "NICK bob");
    table.say(0, "IGNORE bob");
    table.say(1, "NICK rob");
    assert_eq!(table.read(0), "NICK #lobby bob rob\n");
}

#[test]
fn talker_mode_counts_the_others_of_a_room() {
    let mut table = Table::new(3);
    for (who, nick, others) in [
        (0, "ann", "no others"),
        (1, "bob", "1 other"),
        (2, "carl", "2 others"),
    ] {
        table.say(who, &format!("NICK {nick}"));
        table.say(who, "CHAT");
        let reply = table.say(who, "/join #ops");
        let expected = format!("you are in #ops with {others}\n");
        assert!(reply.contains(&expected), "{reply}");
    }
}

#[test]
fn acknowledged_direct_messages_are_sent_before_the_goodbye() {
    let last_lines = ["BYE", "QUIT", "/bye see you"];
    for last in last_lines {
        let mut table = Table::new(2);
        table.say(0, "NICK root");
        table.say(0, "REGISTER my secret");
        table.say(1, "NICK bob");
        assert!(table.say(0, "TELL bob one").starts_with("OK TELL - "));
        table.say(0, "NOTE all");
        assert!(table.say(0, "TELL bob two").starts_with("OK TELL - "));
        let verb = last.trim_start_matches('/').split(' ').next();
        let verb = verb.expect("there is one").to_uppercase();
        let expected = format!("NOTE * root all\nMSG bob root one\nMSG bob root two\nOK {verb}\n");
        assert_eq!(table.say(1, last), expected);
        assert!(
            table
                .say(0, "TELL bob three")
                .starts_with("ERR TELL no-such-nick ")
        );
    }
    // At the end of the input and at the stop of the server, unread messages are sent too.
    let mut table = Table::new(3);
    table.say(0, "NICK ann");
    for (who, nick) in [(1, "bob"), (2, "carol")] {
        table.say(who, &format!("NICK {nick}"));
        assert!(
            table
                .say(0, &format!("TELL {nick} one"))
                .starts_with("OK TELL - ")
        );
    }
    table.sessions[1].end_of_input(&mut table.chat, Now::default());
    assert_eq!(table.read(1), "MSG bob ann one\n");
    table.sessions[2].shut_down(&mut table.chat, Now::default());
    let got = table.read(2);
    assert!(
        got.starts_with("MSG carol ann one\nCLOSED shutting-down "),
        "{got}"
    );
}

#[test]
fn a_reserved_nick_that_is_offline_receives_nothing() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(1, "NICK bob secret");
    let session = &mut table.sessions[0];
    let effect = session.apply(
        b"TELL bob one",
        LineEnd::Lf,
        &mut table.chat,
        Now::default(),
    );
    // The client breaks off between the request and its delivery.
    table.sessions[1].lost(&mut table.chat, Now::default());
    table.asked(0, effect);
    let got = table.read(0);
    assert!(got.starts_with("ERR TELL no-such-nick "), "{got}");
    assert!(
        table
            .say(0, "TELL bob two")
            .starts_with("ERR TELL no-such-nick ")
    );
}

#[test]
fn a_connection_has_one_nick_and_an_address_limited_reservations() {
    let limits = Limits {
        reserved_nicks_per_address_max: 2,
        ..Limits::default()
    };
    let mut table = Table::limited(6, limits);
    for n in 0..1000 {
        let answer = table.say(0, &format!("NICK g{n} secret"));
        assert!(answer.contains(&format!("OK NICK g{n}")), "{answer}");
    }
    assert_eq!(table.chat.totals().nicks, 1);
    assert!(table.say(1, "NICK g7").starts_with("OK NICK g7 "));
    for (who, nick) in [(2, "bob"), (3, "carol"), (4, "dan")] {
        table.say(who, &format!("NICK {nick} secret"));
        table.sessions[who].lost(&mut table.chat, Now::default());
    }
    // Two nicks are reserved for their owners, and the third is free.
    assert_eq!(table.chat.totals().nicks, 4);
    assert!(table.say(5, "NICK bob").starts_with("ERR NICK nick-taken "));
    assert!(table.say(5, "NICK dan").starts_with("OK NICK dan "));
    // A nick that is in use again does not count as reserved. Afterwards, the nick is reserved again.
    assert!(table.say(5, "NICK bob secret").contains("OK NICK bob "));
    table.sessions[5].lost(&mut table.chat, Now::default());
    assert_eq!(table.chat.totals().nicks, 4);
    let later = Now {
        uptime: Limits::default().guard_for,
        ..Now::default()
    };
    table.chat.tick(later);
    assert_eq!(table.chat.totals().nicks, 2);
}

#[test]
fn one_address_does_not_use_up_rooms_accounts_and_files() {
    let limits = Limits {
        rooms_max: 640,
        ..Limits::default()
    };
    let mut table = Table::limited(2, limits);
    let far = table.chat.connect(IpAddr::from([192, 0, 2, 1]));
    let at = SocketAddr::from(([127, 0, 0, 1], 5002));
    table
        .sessions
        .push(Session::new(far, at, &table.chat, Now::default()));
    let other = 2;
    table.say(0, "NICK eve");
    for n in 0..70 {
        let answer = table.say(0, &format!("TELL #r{n} x"));
        assert_eq!(answer.starts_with("OK TELL "), n < 64, "{n}: {answer}");
    }
    assert!(table.say(1, "JOIN #mine").starts_with("ERR JOIN quota "));
    assert!(table.say(other, "JOIN #mine").starts_with("OK JOIN #mine "));
    // A room that everyone has left without a message no longer counts.
    for n in 0..100 {
        let answer = table.say(other, &format!("JOIN #s{n}"));
        assert!(answer.starts_with("OK JOIN "), "{answer}");
        table.say(other, "PART");
    }
    let burst = Limits::default().registrations_per_address.burst;
    let mut refused = 0;
    for n in 0..burst + 10 {
        table.say(0, &format!("NICK n{n}x"));
        let asks = table.ask(0, "REGISTER my secret");
        match asks {
            // The cost of the hash does not matter here.
            Some(_) => drop(table.direct_message(0, AccountResult::Done)),
            None => refused += 1,
        }
        let answer = table.read(0);
        assert_eq!(
            answer.contains("ERR REGISTER busy "),
            n >= burst,
            "{answer}"
        );
    }
    assert_eq!(refused, 10);
    table.say(other, "NICK ann");
    let answer = table.say(other, "REGISTER my secret");
    assert!(answer.starts_with("OK REGISTER ann\n"), "{answer}");
}

/// Returns limits with which a room soon drops events that a reader has not received.
fn short_tail() -> Limits {
    Limits {
        tail_bytes_max: 600,
        ..Limits::default()
    }
}

/// Regression test. The tail may drop lines between the write that sends them and the record that they were sent; such
/// lines were once sent twice.
#[test]
fn nothing_is_sent_twice_when_the_tail_moves_on_during_a_write() {
    for takes in [usize::MAX, 20] {
        let mut table = Table::limited(2, short_tail());
        let [bob, alice] = [0, 1];
        table.say(bob, "JOIN #a");
        table.say(alice, "JOIN #a");
        table.say(alice, "NICK alice");
        table.read(bob);
        (0..3).for_each(|n| drop(table.say(alice, &format!("MSG {n}"))));
        let mut batch = Batch::default();
        assert!(table.sessions[bob].fill(&mut table.chat, &mut batch));
        let taken = takes.min(batch.len());
        let mut out: Vec<u8> = batch.stretches(0).flatten().copied().collect();
        out.truncate(taken);
        (3..40).for_each(|n| drop(table.say(alice, &format!("MSG {n}"))));
        table.sessions[bob].sent(&mut table.chat, &batch, taken);
        let mut out = String::from_utf8(out).expect("it is text");
        loop {
            out += &table.read(bob);
            if !table.read_backlog(bob) {
                break;
            }
        }
        let expected: String = (0..40).map(|n| format!("MSG #a alice {n}\n")).collect();
        assert_eq!(out, expected, "{takes} bytes were taken");
    }
}

#[test]
fn a_slow_reader_in_talker_mode_sees_what_is_answered() {
    for ignores in [false, true] {
        let mut table = Table::limited(2, short_tail());
        let [bob, alice] = [0, 1];
        table.say(alice, "NICK alice");
        table.say(bob, "JOIN #lobby");
        if ignores {
            table.say(bob, "IGNORE carl");
        }
        table.say(bob, "CHAT");
        let first = table.say(alice, "MSG lunch?");
        let id = first.split(' ').nth(2).expect("it is the id");
        (0..40).for_each(|_| drop(table.say(alice, &format!("@reply={id} MSG yes"))));
        let mut out = String::new();
        while table.read_backlog(bob) {
            out += &table.read(bob);
        }
        let quote = if ignores { "" } else { "(to alice: lunch?) " };
        let expected = format!("] <alice> {quote}yes");
        let answers: Vec<_> = out.lines().skip(1).collect();
        assert_eq!(answers.len(), 40, "{out}");
        assert!(
            answers.iter().all(|line| line.ends_with(&expected)),
            "{out}"
        );
    }
}

#[test]
fn an_operators_nick_is_not_registered_through_a_proxy() {
    let mut table = Table::new(1);
    let peer = table.sessions[0].peer();
    table.say(0, "NICK root");
    table.chat.passes_on(peer, [127, 0, 0, 1].into());
    let answer = table.say(0, "REGISTER my secret");
    assert!(answer.starts_with("ERR REGISTER not-allowed "), "{answer}");
    table.say(0, "NICK ann");
    assert_eq!(table.say(0, "REGISTER my secret"), "OK REGISTER ann\n");
}

#[test]
fn the_reply_to_a_message_comes_at_its_place_also_after_a_repeated_message() {
    let mut table = Table::new(2);
    table.say(0, "NICK ann");
    table.say(1, "NICK bob");
    table.say(0, "@nonce=1 MSG one");
    table.propose(0, "@nonce=1 MSG one");
    table.propose(0, "MSG two");
    table.propose(1, "MSG three");
    table.propose(0, "MSG four");
    table.apply();
    let got = table.read(0);
    let first_words: Vec<_> = got.lines().map(|line| &line[..6]).collect();
    assert_eq!(
        first_words,
        ["OK MSG", "OK MSG", "MSG #l", "OK MSG"],
        "{got}"
    );
    assert!(table.read(1).ends_with("MSG #lobby ann four\n"));
    // A reaction that changes nothing has no place.
    for answer in ["OK REACT 6 ", "OK REACT - "] {
        let got = table.say(1, "REACT 2 👍");
        assert!(got.starts_with(answer), "{got}");
    }
    table.say(0, "MSG five");
    assert_eq!(table.read(1), "MSG #lobby ann five\n");
}
