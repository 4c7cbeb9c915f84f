//! Tests of the simulation, and of what the server's tasks leave behind.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::Limits;

/// Plays requests of three clients that read slowly. Returns what each received after each step.
fn play(is_late: bool, servers: usize) -> Vec<Vec<u8>> {
    let config = Config {
        limits: Limits {
            tail_bytes_max: 600,
            ..Limits::default()
        },
        ..Config::default()
    };
    let configs = (0..servers).map(|n| Config {
        name: format!("server{n}"),
        ..config.clone()
    });
    let mut simulation =
        Simulation::new(configs.collect(), Time(1_000_000), is_late).expect("it starts");
    let clients: Vec<_> = (0..3)
        .map(|n| simulation.connect(n % servers, [127, 0, 0, 1].into(), false, 7 + n))
        .collect();
    let mut received = Vec::new();
    for round in 0..20 {
        for (n, client) in clients.iter().enumerate() {
            let lines = match round {
                0 => format!("NICK client{n}\nJOIN #a\nSTAMPS on\n"),
                1 => "UPLOAD a.txt 5\nhello".into(),
                _ => format!("MSG {n} {round}\n").repeat(50) + "HISTORY\n",
            };
            client.push(lines.as_bytes());
            simulation.settle();
            if (round + n) % 3 == 0 {
                simulation.work();
                simulation.settle();
            }
            received.extend(clients.iter().map(PipeClient::take));
        }
    }
    while simulation.work() {
        simulation.settle();
    }
    received.extend(clients.iter().map(PipeClient::take));
    received
}

#[test]
fn the_same_calls_give_the_same_output() {
    for (is_late, servers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let received = play(is_late, servers);
        assert_eq!(play(is_late, servers), received, "{is_late} {servers}");
        let text = String::from_utf8(received.concat()).expect("lines are UTF-8");
        let answered = text.lines().filter(|line| line.starts_with("OK MSG "));
        assert_eq!(answered.count(), 3 * 18 * 50);
        assert_eq!(text.matches("OK UPLOAD ").count(), 3);
    }
}

/// The tasks own the servers, and the servers own what runs the tasks.
#[test]
fn nothing_is_left_of_a_simulation() {
    let mut simulation =
        Simulation::new(vec![Config::default()], Time(1), true).expect("it starts");
    let client = simulation.connect(0, [127, 0, 0, 1].into(), false, usize::MAX);
    client.push(b"NICK ann\nUPLOAD a.txt 5\nhe");
    simulation.settle();
    let server = Arc::downgrade(&simulation.servers[0]);
    let folder = simulation._folder.path().to_owned();
    assert!(folder.exists());
    drop(simulation);
    assert!(server.upgrade().is_none() && !folder.exists());
    assert!(client.is_closed());
}

const CLIENTS: usize = 4;

/// The next action of a client.
#[derive(Clone, Debug)]
enum Act {
    Send(&'static str),
    /// Sends a request that names the event with this index, and what follows its id.
    Name(&'static str, u64, &'static str),
    /// Sends bytes, which may belong to an upload or a text.
    Bytes(usize),
    EndInput,
    Leave,
    Stall(bool),
    /// Lets the held-back work run.
    Work,
    Wait(u64),
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let line = prop::sample::select(vec![
        "NICK ann\n",
        "NICK bob secret\n",
        "REGISTER my secret\n",
        "NICK ann my secret\n",
        "NICK ann a guess\n",
        "JOIN #a 0\n",
        "JOIN #b AS me\n",
        "PART #a\n",
        "MSG hello\n",
        "NICK cat\n@nonce=1 MSG hello\n",
        "NICK dan\n@nonce=1 MSG hello\n@nonce=1 MSG hello\n",
        "NICK eve\n",
        "TELL ann hello\n",
        "UPLOAD a.txt 6\n",
        "UPLOAD b.txt -\n",
        "UPLOAD large.txt 400000\n",
        "TEXT 7\n",
        "HISTORY #lobby 100\n",
        "SEARCH hello\n",
        "KICK ann\n",
        "MODE #a invite\n",
        "STAY\n",
        "CHAT\n",
        "BYE\n",
        "CAP LS 302\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ]);
    let name = prop::sample::select(vec![
        ("DOWNLOAD", ""),
        ("REMOVE", ""),
        ("REACT", " 👍"),
        ("EDIT", " hello again"),
    ]);
    let act = prop_oneof![
        16 => line.prop_map(Act::Send),
        6 => (name, 1..6_u64).prop_map(|((word, rest), id)| Act::Name(word, id, rest)),
        4 => (1..20_usize).prop_map(Act::Bytes),
        1 => Just(Act::Bytes(100_000)),
        1 => Just(Act::EndInput),
        1 => Just(Act::Leave),
        2 => any::<bool>().prop_map(Act::Stall),
        3 => Just(Act::Work),
        2 => (0..20_000_u64).prop_map(Act::Wait),
    ];
    (0..CLIENTS, act)
}

/// Advances the clock step by step until `to`.
fn wait(simulation: &mut Simulation, to: Duration) {
    loop {
        simulation.settle();
        if simulation.work() {
            continue;
        }
        match simulation.next_due() {
            Some(due) if due <= to => simulation.advance(due),
            _ => break simulation.advance(to),
        }
    }
}

/// Checks that no connection and no transfer has left anything in a server.
fn check_empty(server: &Server, folder: &Path) -> Result<(), TestCaseError> {
    let state = server.state();
    prop_assert!(state.chat.is_deserted());
    prop_assert_eq!(state.chat.connections(), 0);
    let budgets = [&server.waiting, &server.pieces, &server.proposed];
    prop_assert_eq!(budgets.map(|budget| budget.used()), [0; 3]);
    prop_assert!(server.live().is_empty(), "live files");
    prop_assert!(!server.scheduler.has_waiting());
    let files = state.chat.totals().files;
    drop(state);
    let count = |name: &str| folder.join(name).read_dir().map(Iterator::count);
    prop_assert_eq!(count("incoming").ok(), Some(0));
    prop_assert!(count("files").unwrap_or(usize::MAX) <= files);
    Ok(())
}

/// Plays `acts`. Then the clients leave, or the server stops.
fn check_end(
    acts: &[(usize, Act)],
    takes: usize,
    is_late: bool,
    is_stopped: bool,
) -> Result<(), TestCaseError> {
    let config = Config {
        limits: Limits {
            tail_bytes_max: 600,
            ..Limits::default()
        },
        ..Config::default()
    };
    let limits = config.limits.clone();
    let mut simulation = Simulation::new(vec![config], Time(0), is_late).expect("it starts");
    let from = IpAddr::from([127, 0, 0, 1]);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| simulation.connect(0, from, false, takes))
        .collect();
    for (n, act) in acts {
        let client = &clients[*n];
        match act {
            Act::Send(line) => client.push(line.as_bytes()),
            Act::Name(word, id, rest) => client.push(format!("{word} {id}{rest}\n").as_bytes()),
            Act::Bytes(count) => client.push(&vec![b'x'; *count]),
            Act::EndInput => client.end_input(),
            Act::Leave => {
                client.close();
                clients[*n] = simulation.connect(0, from, false, takes);
            }
            Act::Stall(is_stalled) => client.stall(*is_stalled),
            Act::Work => {
                simulation.work();
            }
            Act::Wait(ms) => {
                let to = simulation.uptime() + Duration::from_millis(*ms);
                wait(&mut simulation, to);
            }
        }
        simulation.settle();
    }
    let patience = if is_stopped {
        clients.iter().for_each(|client| client.stall(false));
        simulation.servers[0].stopping.notify(usize::MAX);
        limits.stop_within
    } else {
        clients.iter().for_each(PipeClient::close);
        limits.drain_for
    };
    let to = simulation.uptime() + patience;
    wait(&mut simulation, to);
    for (n, client) in clients.iter().enumerate() {
        prop_assert!(client.is_closed(), "client {}", n);
    }
    check_empty(&simulation.servers[0], simulation._folder.path())
}

/// The events before its own upload would have to be read from the log.
#[test]
fn a_client_that_has_gone_while_it_was_far_behind_is_disconnected() {
    let acts = [
        (1, Act::Send("NICK cat\n@nonce=1 MSG hello\n")),
        (1, Act::Send("NICK ann my secret\n")),
        (0, Act::Stall(true)),
        (0, Act::Send("NICK bob secret\n")),
        (1, Act::Send("CHAT\n")),
        (1, Act::Wait(1000)),
        (1, Act::Send("NICK ann\n")),
        (1, Act::Send("NICK ann\n")),
        (0, Act::Send("UPLOAD a.txt 6\n")),
        (1, Act::Send("NICK cat\n@nonce=1 MSG hello\n")),
    ];
    check_end(&acts, usize::MAX, true, false).expect("nothing is left");
}

/// `BYE` moves a reader to what was sent. What is dropped, because the client has gone, was not sent.
#[test]
fn a_reader_does_not_move_past_events_that_a_broken_connection_did_not_receive() {
    let mut simulation =
        Simulation::new(vec![Config::default()], Time(0), false).expect("it starts");
    let mut connect = |lines: &str| {
        let from = IpAddr::from([127, 0, 0, 1]);
        let client = simulation.connect(0, from, false, usize::MAX);
        client.push(lines.as_bytes());
        simulation.settle();
        client
    };
    let ann = connect("NICK ann\nJOIN #a AS me\n");
    ann.stall(true);
    let bob = connect("NICK bob\nJOIN #a\nMSG hello\n");
    ann.push(b"HISTORY #a\nBYE\n");
    bob.push(b"BYE\n");
    drop(connect(""));
    ann.close();
    drop(connect(""));
    let again = connect("NICK ann\nJOIN #a AS me\nBYE\n");
    let received = String::from_utf8(again.take()).expect("lines are UTF-8");
    assert!(received.contains("MSG #a bob hello\n"), "{received}");
    let once_more = connect("NICK ann\nJOIN #a AS me\n").take();
    let received = String::from_utf8(once_more).expect("lines are UTF-8");
    assert!(!received.contains("MSG #a bob hello\n"), "{received}");
}

/// Runs fewer cases than usual, since each is a long conversation; `PROPTEST_CASES=10000` runs more.
fn few() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.div_ceil(2),
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn clients_that_have_gone_leave_nothing_behind(
        acts in vec(act(), 0..60),
        takes in prop_oneof![Just(usize::MAX), 1..100_usize],
        is_late: bool,
    ) {
        check_end(&acts, takes, is_late, false)?;
    }

    /// Whatever the clients do at that moment, if they read.
    #[test]
    fn every_connection_ends_when_the_server_stops(
        acts in vec(act(), 0..60),
        takes in prop_oneof![Just(usize::MAX), 1..100_usize],
        is_late: bool,
    ) {
        check_end(&acts, takes, is_late, true)?;
    }
}
