//! IRC clients: what is bounded for them.

use std::time::Duration;

use super::super::batch::Batch;
use super::super::output::{keep_whole_texts, lines_of_records};
use super::Table;
use crate::config::Config;
use crate::config::fixed::{IRC_CONFIRM_EVERY, TEXT_WITHIN, TEXTS_ARRIVING_MAX};
use crate::dialect::Dialect;
use crate::dialect::irc::{Cap, Client, LINE_BYTES_MAX};
use crate::log::{LogQuery, LogResult, Reader, Record, run_query};
use crate::model::Now;
use crate::protocol::multiline::{TEXT_BYTES_MAX, TEXT_LINES_MAX};
use crate::protocol::{Event, EventId, Time};

impl Table {
    /// Welcomes an IRC client with the capabilities `caps`. The client joins `#a` and reads all output.
    fn arrive_with(&mut self, who: usize, caps: &str) {
        let request = format!("CAP REQ :{caps}");
        let nick = format!("NICK n{who}");
        for line in [&*request, &nick, "USER a 0 * :a", "CAP END", "JOIN #a"] {
            self.say(who, line);
        }
    }

    /// Returns the output of a session, which is sent in pieces of at most `most` bytes. The batch may have been filled
    /// for another session.
    fn read_by(&mut self, who: usize, batch: &mut Batch, most: usize) -> String {
        let mut out = Vec::new();
        let session = &mut self.sessions[who];
        session.take_outcomes(&mut self.chat);
        while session.fill(&mut self.chat, batch) {
            let all: Vec<u8> = batch.stretches(0).flatten().copied().collect();
            let taken = all.len().min(most);
            out.extend_from_slice(&all[..taken]);
            session.sent(&mut self.chat, batch, taken);
        }
        String::from_utf8(out).expect("it is text")
    }

    /// Sends a text of two lines as one message.
    fn say_text(&mut self, who: usize, lines: [&str; 2]) {
        self.say(who, "BATCH +1 draft/multiline #a");
        for line in lines {
            self.say(who, &format!("@batch=1 PRIVMSG #a :{line}"));
        }
        self.say(who, "BATCH -1");
    }

    /// Welcomes an IRC client with capabilities, and lets it join `#a`.
    fn arrive_by_irc(&mut self, who: usize, nick: &str) {
        self.say(
            who,
            "CAP REQ :batch draft/multiline labeled-response echo-message",
        );
        for line in [
            &*format!("NICK {nick}"),
            "USER a 0 * :a",
            "CAP END",
            "JOIN #a",
        ] {
            self.say(who, line);
        }
    }
}

#[test]
fn a_batch_of_lines_has_the_limits_of_a_text() {
    let mut table = Table::new(1);
    table.arrive_by_irc(0, "ann");
    let refused = |table: &mut Table, line: &str| {
        table.say(0, "@label=x BATCH +1 draft/multiline #a");
        (1..)
            .find_map(|n| {
                let out = table.say(0, &format!("@batch=1 PRIVMSG #a :{line}"));
                (!out.is_empty()).then_some((n, out))
            })
            .expect("it is refused once")
    };
    let (count, out) = refused(&mut table, "x");
    assert_eq!(count, TEXT_LINES_MAX + 1);
    let expected =
        format!("@label=x :chatd.chat FAIL BATCH MULTILINE_MAX_LINES {TEXT_LINES_MAX} :");
    assert!(out.starts_with(&expected), "{out}");
    let (count, out) = refused(&mut table, &"x".repeat(1023));
    assert_eq!(count as u64, TEXT_BYTES_MAX / 1024 + 1);
    let expected =
        format!("@label=x :chatd.chat FAIL BATCH MULTILINE_MAX_BYTES {TEXT_BYTES_MAX} :");
    assert!(out.starts_with(&expected), "{out}");
    // A line of any length is sent, split into lines that `TEXT` allows.
    table.say(0, "BATCH +2 draft/multiline #a");
    for _ in 0..20 {
        let long = "y".repeat(1000);
        table.say(
            0,
            &format!("@batch=2;draft/multiline-concat PRIVMSG #a :{long}"),
        );
    }
    let out = table.say(0, "BATCH -2");
    assert_eq!(out.matches("BATCH").count(), 2, "{out}");
    let lines = out.lines().filter(|line| line.contains("PRIVMSG"));
    let new = lines.filter(|line| !line.contains("-concat ")).count();
    assert_eq!((new, out.matches('y').count()), (5, 20_000));
}

#[test]
fn incomplete_batches_are_limited_in_number_and_time() {
    let most = TEXTS_ARRIVING_MAX / 2; // of one address
    let mut table = Table::new(most + 1);
    for n in 0..=most {
        table.arrive_by_irc(n, &format!("n{n}"));
        let out = table.say(n, "@label=x BATCH +1 draft/multiline #a");
        let expected = if n == most {
            "@label=x :chatd.chat FAIL BATCH TEMPORARILY_UNAVAILABLE :too many texts are arriving, in all or from your address; try again later\r\n"
        } else {
            ""
        };
        assert_eq!(out, expected, "{n}");
    }
    let limits = table.chat.limits().clone();
    assert_eq!(table.sessions[0].due(&limits), Some(TEXT_WITHIN));
    let late = Now {
        uptime: TEXT_WITHIN + Duration::from_millis(1),
        ..Now::default()
    };
    let (session, chat) = (&mut table.sessions[0], &mut table.chat);
    session.on_time(chat, late);
    assert_eq!(session.due(&limits), None);
    let out = table.read(0);
    assert!(
        out.starts_with("@label=x :chatd.chat FAIL BATCH TIMEOUT :"),
        "{out}"
    );
    assert_eq!(table.say(most, "BATCH +1 draft/multiline #a"), "");
    // A lost connection also releases its place.
    assert_ne!(table.say(0, "BATCH +1 draft/multiline #a"), "");
    table.sessions.truncate(most);
    assert_eq!(table.say(0, "BATCH +1 draft/multiline #a"), "");
}

#[test]
fn a_client_that_does_not_read_sends_no_second_long_text() {
    let mut table = Table::new(1);
    table.arrive_by_irc(0, "ann");
    let limits = table.chat.limits().clone();
    table.ask(0, "BATCH +1 draft/multiline #a");
    for _ in 0..64 {
        let long = "x".repeat(1023);
        table.ask(0, &format!("@batch=1 PRIVMSG #a :{long}"));
    }
    assert!(table.sessions[0].takes_lines(&limits));
    table.ask(0, "BATCH -1");
    assert!(!table.sessions[0].takes_lines(&limits));
    assert!(table.sessions[0].buffered_bytes() > 60 << 10);
    assert!(table.read(0).len() > 60 << 10);
    assert!(table.sessions[0].takes_lines(&limits));
}

/// A client whose message is refused is told how many bytes fit, and nobody receives a part of the message.
#[test]
fn a_message_that_does_not_fit_in_one_line_is_refused() {
    let mut table = Table::new(2);
    table.arrive_by_irc(0, "ann");
    table.arrive_by_irc(1, "eve");
    for (head, tail) in [
        ("PRIVMSG #a :", ""),
        ("NOTICE #a :", ""),
        ("PRIVMSG #a :\u{1}ACTION ", "\u{1}"),
        ("PRIVMSG eve :", ""),
    ] {
        let space = LINE_BYTES_MAX - ":ann!ann@chatd.chat ".len() - head.len() - tail.len() - 2;
        let text = "é".repeat(space / 2) + &"x".repeat(space % 2);
        let sent = table.say(0, &format!("{head}{text}{tail}"));
        assert!(sent.contains(&text), "{sent}");
        let heard = table.read(1);
        assert!(
            heard.ends_with(&format!("{head}{text}{tail}\r\n")),
            "{heard}"
        );
        let refused = table.say(0, &format!("{head}{text}x{tail}"));
        let what = format!(
            "space for {space} bytes of text, and this has {}\r\n",
            space + 1
        );
        assert!(
            refused.contains(" 417 ann :") && refused.ends_with(&what),
            "{refused}"
        );
        assert_eq!(table.read(1), "");
    }
}

/// If a client leaves without `QUIT`, it receives again only the events that it has not confirmed. The server asks a
/// client to confirm only if the client uses a named reader and has received new events.
#[test]
fn an_answered_ping_moves_the_named_readers_to_what_was_sent_before_it() {
    let mut table = Table::new(2);
    table.arrive_by_irc(0, "ann");
    table.arrive_by_irc(1, "eve");
    let limits = table.chat.limits().clone();
    let position = |table: &Table| {
        let query = LogQuery::Reader(Reader {
            place: "b".into(),
            nick: "eve".into(),
            name: "laptop".into(),
        });
        let LogResult::Reader(seen) = run_query(&table.log.log, &query).expect("it is read") else {
            panic!("that is no position");
        };
        seen.expect("there is one")
    };
    let ping = |table: &mut Table, uptime: Duration| {
        let now = Now {
            uptime,
            ..Now::default()
        };
        table.sessions[1].on_time(&mut table.chat, now);
        table.read(1)
    };
    for line in ["JOIN #b", "PRIVMSG #b :zero"] {
        table.say(0, line);
    }
    assert_eq!(table.sessions[1].due(&limits), None);
    table.say(1, "JOIN #b laptop");
    let first = position(&table);
    table.say(0, "PRIVMSG #b :one");
    assert!(table.read(1).contains(":one"));
    assert_eq!(table.sessions[1].due(&limits), Some(IRC_CONFIRM_EVERY));
    assert_eq!(ping(&mut table, IRC_CONFIRM_EVERY / 2), "");
    assert_eq!(ping(&mut table, IRC_CONFIRM_EVERY), "PING :1\r\n");
    assert_eq!(table.sessions[1].due(&limits), None);
    table.say(0, "PRIVMSG #b :two");
    assert!(table.read(1).contains(":two"));
    assert_eq!(table.say(1, "PONG :7"), "");
    assert_eq!(position(&table), first);
    assert_eq!(table.say(1, "PONG :1"), "");
    assert_eq!(position(&table), first + 1);
    let due = 2 * IRC_CONFIRM_EVERY;
    assert_eq!(table.sessions[1].due(&limits), Some(due));
    assert_eq!(ping(&mut table, due), "PING :2\r\n");
    table.say(1, "PONG chatd.chat :2");
    assert_eq!(position(&table), first + 2);
    assert_eq!(table.sessions[1].due(&limits), None);
    assert_eq!(table.sessions[0].due(&limits), None);
}

#[test]
fn the_list_of_capabilities_is_complete_however_long_the_names_are() {
    let config = Config {
        name: "x".repeat(63),
        ..Config::default()
    };
    let mut table = Table::with(1, config);
    table.say(0, "CAP REQ :batch");
    for line in [
        &*format!("NICK {}", "é".repeat(32)),
        "USER a 0 * :a",
        "CAP END",
    ] {
        table.say(0, line);
    }
    let out = table.say(0, "CAP LS 302");
    for (name, cap) in Cap::NAMES {
        let shown = cap
            .value()
            .map_or_else(|| (*name).to_owned(), |value| format!("{name}={value}"));
        let words = out
            .split_ascii_whitespace()
            .map(|word| word.trim_start_matches(':'));
        assert_eq!(
            words.filter(|word| *word == shown).count(),
            1,
            "{name}: {out}"
        );
    }
    assert!(
        out.split_inclusive("\r\n")
            .all(|line| line.len() <= LINE_BYTES_MAX),
        "{out}"
    );
}

#[test]
fn a_list_contains_the_rooms_that_match_a_mask() {
    let mut table = Table::new(1);
    table.arrive_by_irc(0, "ann");
    table.say(0, "JOIN #Ops,#dev");
    let mut listed = |masks: &str| {
        let out = table.say(0, &format!("LIST {masks}"));
        let lines = out.lines().filter(|line| line.contains(" 322 "));
        let names = lines.filter_map(|line| line.split(' ').nth(3).map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed("#o*"), ["#Ops"]);
    assert_eq!(listed("*EV,#a"), ["#a", "#dev"]);
    assert_eq!(listed("?dev,>0"), ["#dev"]);
    assert_eq!(listed("?dev,>1"), [""; 0]);
    assert_eq!(listed("*,*,*,*,*"), [""; 0]);
}

#[test]
fn a_text_is_one_batch_or_separate_messages_whatever_part_is_read() {
    let record = |id: u64, tags: &str| {
        let event = Event::Msg {
            to: "#a".into(),
            nick: "bob".into(),
            text: "x".into(),
        };
        Record {
            id: EventId::new(id).expect("it is not 0"),
            time: Time(0),
            tags: tags.into(),
            line: event.to_string(),
            layout: event.layout(),
            quoted: None,
        }
    };
    let log = [
        record(1, ""),
        record(2, "lines=3"),
        record(3, "of=2"),
        record(4, "of=2"),
        record(5, "lines=2"),
        record(6, "of=5"),
        record(7, "lines=2"), // its second line was removed
        record(8, ""),
    ];
    let mut client = Client::new("chatd", "");
    client.caps = client
        .caps
        .requested("batch draft/multiline")
        .expect("both are known");
    let to = Dialect::Irc.to(Some(&client));
    for from in 0..log.len() {
        for end in from..=log.len() {
            let mut records = log[from..end].to_vec();
            let all = records.len();
            keep_whole_texts(&mut records);
            assert!(!records.is_empty() || all == 0);
            let mut rest = &records[..];
            let mut shown = Vec::new();
            while !rest.is_empty() {
                let lines = lines_of_records(rest, to);
                shown.push((rest[0].id.get(), lines));
                rest = &rest[lines..];
            }
            // Either a text is whole, or each line that was read is a separate message.
            let whole = |id: u64, lines: u64| (from as u64) < id && id + lines - 1 <= end as u64;
            let is_joined = |id: u64, lines: usize| shown.contains(&(id, lines));
            assert_eq!(is_joined(2, 3), whole(2, 3), "{from} to {end}: {shown:?}");
            assert_eq!(is_joined(5, 2), whole(5, 2), "{from} to {end}: {shown:?}");
            // The record that was left for the next piece is the beginning of a text.
            if let Some(left) = log
                .get(from + records.len())
                .filter(|_| records.len() < all)
            {
                assert!(left.tags.starts_with("lines="), "{from} to {end}");
            }
        }
    }
}

#[test]
fn each_reader_receives_a_message_in_the_form_of_its_capabilities() {
    let forms: &[(&str, &str, [&str; 4])] = &[
        ("", "", ["", "", "", ""]),
        ("server-time", "@time=T ", ["", "@time=T ", "@time=T ", ""]),
        (
            "message-tags",
            "@msgid=N ",
            ["", "@msgid=N ", "@msgid=N ", ""],
        ),
        (
            "message-tags server-time",
            "@time=T;msgid=N ",
            ["", "@time=T;msgid=N ", "@time=T;msgid=N ", ""],
        ),
        (
            "message-tags server-time echo-message cap-notify away-notify",
            "@time=T;msgid=N ",
            ["", "@time=T;msgid=N ", "@time=T;msgid=N ", ""],
        ),
        ("draft/multiline", "", ["", "", "", ""]),
        (
            "batch draft/multiline message-tags",
            "@msgid=N ",
            ["@msgid=N BATCH", "@batch=textN ", "@batch=textN ", "BATCH"],
        ),
    ];
    let mut table = Table::new(forms.len() + 1);
    table.arrive_with(0, "batch draft/multiline");
    for (n, (caps, ..)) in forms.iter().enumerate() {
        table.arrive_with(n + 1, caps);
    }
    let mut batch = Batch::default();
    for who in 0..=forms.len() {
        table.read_by(who, &mut batch, usize::MAX);
    }
    let digits = |text: &str| -> String {
        let time = text.replace("1970-01-01T00:00:00.000Z", "T");
        let mut out = String::new();
        let mut rest = &*time;
        while let Some(at) = ["msgid=", "text"]
            .iter()
            .filter_map(|word| Some(rest.find(word)? + word.len()))
            .min()
        {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() < after.len() {
                out.push('N');
            }
        }
        out + rest
    };
    table.say(0, "PRIVMSG #a :hello");
    for (n, (caps, tags, _)) in forms.iter().enumerate() {
        let out = table.read_by(n + 1, &mut batch, usize::MAX);
        let expected = format!("{tags}:n0!n0@chatd.chat PRIVMSG #a :hello\r\n");
        assert_eq!(digits(&out), expected, "{caps}");
    }
    table.say_text(0, ["one", "two"]);
    for (n, (caps, _, [begin, one, two, end])) in forms.iter().enumerate() {
        let out = table.read_by(n + 1, &mut batch, usize::MAX);
        let source = ":n0!n0@chatd.chat";
        let mut expected = String::new();
        if let Some(tags) = begin.strip_suffix("BATCH") {
            expected += &format!("{tags}{source} BATCH +textN draft/multiline #a\r\n");
        }
        expected += &format!("{one}{source} PRIVMSG #a :one\r\n{two}{source} PRIVMSG #a :two\r\n");
        if !end.is_empty() {
            expected += ":chatd.chat BATCH -textN\r\n";
        }
        assert_eq!(digits(&out), expected, "{caps}");
    }
}

#[test]
fn readers_with_the_same_capabilities_share_the_bytes_of_a_message() {
    let caps = [
        "server-time",
        "message-tags",
        "server-time echo-message away-notify",
    ];
    let mut table = Table::new(caps.len() + 1);
    table.arrive_with(0, "");
    for (n, caps) in caps.iter().enumerate() {
        table.arrive_with(n + 1, caps);
    }
    let mut batch = Batch::default();
    for who in 0..=caps.len() {
        table.read_by(who, &mut batch, usize::MAX);
    }
    // Short lines are copied, because a copy costs less than another slice.
    for _ in 0..10 {
        table.say(0, &format!("PRIVMSG #a :{}", "x".repeat(400)));
    }
    let places = [1, 2, 3].map(|who| {
        let session = &mut table.sessions[who];
        assert!(session.fill(&mut table.chat, &mut batch));
        let stretches: Vec<&[u8]> = batch.stretches(0).collect();
        let [only] = stretches[..] else {
            panic!("it is all shared");
        };
        let place = only.as_ptr();
        session.sent(&mut table.chat, &batch, batch.len());
        place
    });
    assert_eq!(places[0], places[2]);
    assert_ne!(places[0], places[1]);
}

#[test]
fn a_slow_reader_receives_the_same_bytes_as_a_fast_one() {
    let forms = [
        "",
        "server-time message-tags away-notify",
        "batch draft/multiline message-tags draft/message-redaction extended-join",
    ];
    for most in [7, 300, 5000] {
        let mut table = Table::new(2 + 2 * forms.len());
        table.arrive_with(0, "batch draft/multiline");
        table.say(1, "NICK bob");
        table.say(1, "JOIN #a");
        for (n, caps) in forms.iter().enumerate() {
            table.arrive_with(2 + 2 * n, caps);
            table.arrive_with(3 + 2 * n, caps);
        }
        let mut batch = Batch::default();
        for who in 0..2 + 2 * forms.len() {
            table.read_by(who, &mut batch, usize::MAX);
        }
        for round in 0..2 {
            for n in 0..6 {
                table.say(0, &format!("PRIVMSG #a :{round} {n} {}", "x".repeat(300)));
                let said = table.say(1, &format!("MSG {n}"));
                let id = said.split(' ').nth(2).expect("it has an id").to_owned();
                table.say(1, &format!("REACT {id} +1"));
                table.say(1, &format!("REMOVE {id}"));
                table.say_text(0, ["first", "last"]);
                table.say(1, &format!("NICK bob{round}{n}"));
                table.say(1, "AWAY for a while");
                table.say(1, "PART #a");
                table.say(1, "JOIN #a");
            }
            for (n, caps) in forms.iter().enumerate() {
                let slow = table.read_by(2 + 2 * n, &mut batch, most);
                let fast = table.read_by(3 + 2 * n, &mut batch, usize::MAX);
                assert!(slow == fast, "{most} {caps}:\n{slow}\n{fast}");
                assert_eq!(fast.matches(" PRIVMSG #a :first").count(), 6, "{fast}");
                assert_eq!(fast.matches(" NICK ").count(), 6, "{fast}");
            }
        }
    }
}

/// A comparison of thousands of names with masks in a single step would delay every connection.
#[test]
fn a_list_of_rooms_that_match_no_mask_is_made_in_many_small_steps() {
    const ROOMS: usize = 40;
    const CLIENTS: usize = 25;
    let mut table = Table::new(CLIENTS + 1);
    for who in 1..=CLIENTS {
        table.say(who, &format!("NICK n{who}"));
        for room in 0..ROOMS {
            let out = table.say(who, &format!("JOIN #r{who}-{room}"));
            assert!(out.contains("OK JOIN"), "{out}");
        }
    }
    table.arrive_by_irc(0, "ann");
    let mut steps = |line: &str| {
        table.ask(0, line);
        let mut batch = Batch::default();
        let (mut count, mut out) = (0, Vec::new());
        while table.sessions[0].fill(&mut table.chat, &mut batch) {
            count += 1;
            out.extend(batch.stretches(0).flatten());
            table.sessions[0].sent(&mut table.chat, &batch, batch.len());
        }
        (count, String::from_utf8(out).expect("it is text"))
    };
    let (count, out) = steps("LIST *nowhere*");
    assert!(out.ends_with(":End of /LIST\r\n"), "{out}");
    assert_eq!(out.matches(" 322 ").count(), 0, "{out}");
    assert!(count >= ROOMS * CLIENTS / 50, "{count} steps");
    let (_, out) = steps("LIST #R?-39");
    assert_eq!(out.matches(" 322 ").count(), 9, "{out}");
    assert!(out.ends_with(":End of /LIST\r\n"), "{out}");
}
