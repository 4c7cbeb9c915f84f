//! Tests of a client inside this process. Such a client passes the same gate as every other client, and receives the
//! same events in the same order.

use std::sync::Arc;

use super::{Config, Now, Table};
use crate::dialect::{Delivery, Dialect};
use crate::model::Secret;
use crate::protocol::request::{JoinFrom, Refusal};
use crate::protocol::{Request, RoomName};
use crate::session::batch::Batch;

/// Connects a client inside this process. Returns the client's number.
fn connect(table: &mut Table) -> usize {
    let who = table.connect();
    let session = table.sessions.remove(who);
    table.sessions.push(session.in_dialect(Dialect::Values));
    who
}

/// Sends a request, or the refusal of one.
fn ask(table: &mut Table, who: usize, request: Result<Request<'static>, Refusal>) {
    let session = &mut table.sessions[who];
    let effect = session.apply_request(request, &mut table.chat, Now::default());
    assert!(table.asked(who, effect).is_none());
}

/// Returns the output for the client as lines.
fn read(table: &mut Table, who: usize) -> Vec<String> {
    let session = &mut table.sessions[who];
    let mut batch = Batch::default();
    let mut lines = Vec::new();
    session.take_outcomes(&mut table.chat);
    while session.fill(&mut table.chat, &mut batch) {
        for value in batch.take_values() {
            let mut line = Vec::new();
            value.write_line(&mut line);
            let line = String::from_utf8(line).unwrap();
            lines.push(match value {
                Delivery::Live(_) if line.is_empty() => "not logged".to_owned(),
                Delivery::Live(_) => line.replace("PAST", "LIVE"),
                _ => line,
            });
        }
        assert_eq!(batch.stretches(0).count(), 0, "no line is made for it");
        session.sent(&mut table.chat, &batch, batch.len());
    }
    lines
}

/// Removes ids and times.
fn plain(lines: &[String]) -> Vec<String> {
    let is_word = |word: &&str| !word.starts_with(|c: char| c.is_ascii_digit());
    let words = |line: &String| {
        line.split(' ')
            .filter(is_word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    lines.iter().map(words).collect()
}

#[test]
fn replies_keep_their_place_among_the_events_and_their_order() {
    let mut table = Table::new(1);
    table.say(0, "NICK bob");
    let ann = connect(&mut table);
    ask(&mut table, ann, Request::nick("ann", ""));
    assert_eq!(plain(&read(&mut table, ann)), ["OK NICK ann #lobby"]);
    table.say(0, "MSG before");
    ask(&mut table, ann, Request::message(b"own"));
    ask(&mut table, ann, Request::message(b"\xff"));
    table.say(0, "MSG after");
    ask(&mut table, ann, Ok(Request::Bye { text: "".into() }));
    let expected = [
        "LIVE MSG #lobby bob before",
        "OK MSG",
        "ERR MSG not-utf8 that line is not UTF-8",
        "OK BYE",
    ];
    assert_eq!(plain(&read(&mut table, ann)), expected);
    assert!(table.sessions[ann].is_over());
}

#[test]
fn an_event_is_encoded_once_for_all_readers_inside_this_process() {
    let mut table = Table::new(1);
    table.say(0, "NICK bob");
    let readers = [connect(&mut table), connect(&mut table)];
    for reader in readers {
        let join = Request::Join {
            room: RoomName::parse("#lobby").unwrap(),
            from: JoinFrom::Now,
        };
        ask(&mut table, reader, Ok(join));
        read(&mut table, reader);
    }
    table.say(0, "MSG one");
    table.say(0, "MSG two");
    let mut batch = Batch::default();
    let records = readers.map(|reader| {
        let (session, chat) = (&mut table.sessions[reader], &mut table.chat);
        assert!(session.fill(chat, &mut batch));
        let records = batch.take_values().map(|value| match value {
            Delivery::Live(record) => record,
            other => panic!("{other:?}"),
        });
        records.collect::<Vec<_>>()
    });
    let [ours, theirs] = &records;
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    assert!(ours.iter().zip(theirs).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!(ours[0].event.to_string(), "MSG #lobby bob one");
    assert_eq!(ours[1].event.to_string(), "MSG #lobby bob two");
}

#[test]
fn a_server_with_a_password_refuses_a_client_of_its_own_process_too() {
    let config = Config {
        password: Some(Secret::new("open sesame")),
        ..Config::default()
    };
    let mut table = Table::with(0, config);
    let client = connect(&mut table);
    for request in [
        Request::Rooms { is_all: false },
        Request::Part { room: None },
    ] {
        let verb = request.verb();
        ask(&mut table, client, Ok(request));
        let found = read(&mut table, client);
        let expected = format!("ERR {} need-password ", verb.word());
        assert!(found.concat().starts_with(&expected), "{found:?}");
    }
    ask(&mut table, client, Request::nick("ann", ""));
    assert!(
        read(&mut table, client)
            .concat()
            .starts_with("ERR NICK need-password ")
    );
}
