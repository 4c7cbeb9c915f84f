//! chatd.md 8: the client of NATS with real servers, which hang and are killed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use plainchat::cluster::nats::jetstream::{NO_SUCH_STREAM, STREAM_DIFFERS};
use plainchat::cluster::nats::{
    Address, Dialer, Error, Handle, Headers, JetStream, Lost, Settings, Stored, Unfit, Writer,
};
use plainchat::cluster::publisher::AGAIN_AFTER as AGAIN;
use rustix::process::Signal;

use smol::LocalExecutor;

use crate::servers::{Server, Servers, connected, retry, run, settled};

/// The time after which a reader looks whether it has missed the end of the log.
const LOOK: Duration = Duration::from_millis(600);

const SUBJECT: &str = "pc.test.log";
const DONE: &str = "pc.test.done";
const STREAM: &str = "PC_TEST";

/// The number of JetStream for the error that a message is too large.
const TOO_LARGE: u32 = 10054;

fn settings() -> Settings {
    Settings {
        name: STREAM.into(),
        subject: SUBJECT.into(),
        republish: DONE.into(),
        replicas: 3,
        age_max: Duration::from_secs(3600),
        bytes_max: Some(256 << 20),
        message_bytes_max: 700_000,
        first_sequence: Some(1000),
    }
}

/// Connects to a server, and lets `executor` run the connection.
async fn join(executor: &LocalExecutor<'_>, server: &Server) -> Handle {
    let (handle, connection) = server.connect().await;
    executor.spawn(connection.run()).detach();
    handle
}

fn numbered(number: usize) -> Headers {
    let mut headers = Headers::new();
    headers
        .add("Number", &number.to_string())
        .expect("a header");
    headers
}

/// Reads messages from the sequence number `from` to `to`.
async fn caught_up(jetstream: &JetStream, from: u64, to: u64) -> Result<Vec<Stored>, Error> {
    let mut reader = jetstream.catch_up(STREAM, from, to)?;
    let mut all = Vec::new();
    while let Some(stored) = settled(async || reader.next().await).await? {
        all.push(stored);
    }
    Ok(all)
}

#[test]
fn what_is_published_is_read_in_order_and_can_be_read_again() {
    let servers = Servers::three();
    let executor = LocalExecutor::new();
    run(executor.run(async {
        let first = join(&executor, &servers.all[0]).await;
        assert_eq!(first.info().check(), Ok(()));
        let jetstream = JetStream::new(first.clone());
        retry(async || jetstream.account().await).await;
        retry(async || match jetstream.stream(STREAM).await {
            Err(Error::Refused { code, .. }) if code == NO_SUCH_STREAM => Ok(()),
            other => Err(other),
        })
        .await;
        let writer = Writer::new(first.clone(), SUBJECT).expect("it is connected");
        writer
            .publish(&Headers::new(), b"")
            .expect("it is connected");
        assert_eq!(writer.answer().await, Err(Error::NoResponders));

        retry(async || jetstream.create(&settings()).await).await;
        let again = retry(async || jetstream.create(&settings()).await).await;
        assert_eq!((again.state.messages, again.state.last), (0, 999));
        let other = Settings {
            message_bytes_max: 5,
            ..settings()
        };
        let differs = settled(async || jetstream.create(&other).await).await;
        assert!(
            matches!(
                differs,
                Err(Error::Refused {
                    code: STREAM_DIFFERS,
                    ..
                })
            ),
            "{differs:?}"
        );

        // Of what a reader asks for at once, the number of messages is the limit at first, and then their size.
        let is_large = |n| n % 60 == 7 || n > 256 && n % 30 == 7;
        let sizes: Vec<usize> = (0..600)
            .map(|n| if is_large(n) { 650_000 } else { n })
            .collect();
        let mut live = Vec::new();
        for server in &servers.all[1..] {
            let handle = join(&executor, server).await;
            live.push(handle.subscribe(DONE).expect("it is connected"));
            // The leader of the stream knows the subscription when it has answered a later request.
            let jetstream = JetStream::new(handle);
            retry(async || jetstream.stream(STREAM).await).await;
        }
        // In the same way, the server of the writer knows that the leader listens.
        retry(async || jetstream.stream(STREAM).await).await;
        let mut read = [Vec::new(), Vec::new()];
        for (n, size) in sizes.iter().enumerate() {
            let payload = vec![b'x'; *size];
            writer
                .publish(&numbered(n), &payload)
                .expect("it is fast enough");
            assert_eq!(writer.answer().await, Ok(1000 + n as u64));
            for (live, read) in live.iter().zip(&mut read) {
                let message = live.next().await.expect("it is connected");
                read.push(Stored::republished(message, STREAM).expect("it is of the stream"));
            }
        }
        for (n, stored) in read[0].iter().enumerate() {
            assert_eq!(stored.sequence, 1000 + n as u64);
            assert_eq!(stored.headers, numbered(n));
            assert_eq!(stored.payload.len(), sizes[n]);
        }
        assert_eq!(read[0], read[1]);

        let caught_up = async |from, to| {
            let all = caught_up(&jetstream, from, to).await;
            let place = |stored: &Stored| (stored.sequence - 1000) as usize;
            all.map(|all| {
                for stored in &all {
                    assert_eq!(stored.headers, numbered(place(stored)));
                    assert!(
                        *stored == read[0][place(stored)],
                        "not what was read before"
                    );
                }
                all.iter().map(place).collect::<Vec<_>>()
            })
        };
        assert_eq!(caught_up(1000, 1599).await, Ok((0..600).collect()));
        assert_eq!(caught_up(1007, 1008).await, Ok(vec![7, 8]));
        assert_eq!(caught_up(1599, 9999).await, Ok(vec![599]));
        assert_eq!(caught_up(1600, 9999).await, Ok(Vec::new()));
        assert_eq!(caught_up(999, 1599).await, Err(Error::Expired(1000)));
        // A reader whose future is dropped continues where it was.
        let mut reader = jetstream.catch_up(STREAM, 1000, 1599).expect("a name");
        for stored in &read[0][..20] {
            let next = match future::poll_once(reader.next()).await {
                Some(next) => next,
                None => settled(async || reader.next().await).await,
            };
            assert_eq!(next.as_ref(), Ok(&Some(stored.clone())));
        }

        let large = vec![b'x'; 800_000];
        writer
            .publish(&Headers::new(), &large)
            .expect("the server takes it");
        let refused = writer.answer().await;
        assert!(
            matches!(
                refused,
                Err(Error::Refused {
                    code: TOO_LARGE,
                    ..
                })
            ),
            "{refused:?}"
        );
        let most = first.info().max_payload;
        let larger = writer.publish(&Headers::new(), &vec![b'x'; most + 1]);
        assert_eq!(larger, Err(Error::TooLarge(most + 1, most)));
    }));
}

/// A reader of the log, which also publishes numbers until it has read them.
struct Node {
    log: RefCell<Vec<Stored>>,
    changed: Event,
}

impl Node {
    fn new() -> Self {
        Self {
            log: RefCell::default(),
            changed: Event::new(),
        }
    }

    /// Reads the log until the future is dropped, and publishes the next of `numbers` as soon as the one before has been read.
    async fn work(&self, addresses: Vec<Address>, seed: u64, numbers: usize) {
        let mut dialer = Dialer::new(addresses, "test", None, seed);
        loop {
            let (_, handle, connection) = dialer.connect(|_, _| {}).await;
            let reads = self.read(&handle);
            let writes = self.write(&handle, numbers);
            let ends = async {
                connection.run().await;
            };
            future::or(ends, future::or(reads, writes)).await;
        }
    }

    async fn read(&self, handle: &Handle) {
        let live = retry(async || handle.subscribe(DONE)).await;
        let jetstream = JetStream::new(handle.clone());
        let mut last = retry(async || jetstream.stream(STREAM).await)
            .await
            .state
            .last;
        loop {
            let next = self.next();
            if last >= next {
                let mut missed = jetstream.catch_up(STREAM, next, last).expect("a name");
                while let Some(stored) = retry(async || missed.next().await).await {
                    self.apply(stored);
                }
            }
            match live.next_within(LOOK).await {
                Ok(message) => {
                    let stored = Stored::republished(message, STREAM).expect("it is of the stream");
                    last = stored.sequence;
                    if last == self.next() {
                        self.apply(stored);
                    }
                }
                // During an election, there is no answer.
                Err(_) => {
                    let stream = jetstream.stream(STREAM).await;
                    last = stream.map_or(last, |stream| stream.state.last);
                }
            }
        }
    }

    /// Returns the sequence number of the next message.
    fn next(&self) -> u64 {
        self.log
            .borrow()
            .last()
            .map_or(1000, |stored| stored.sequence + 1)
    }

    fn apply(&self, stored: Stored) {
        assert_eq!(stored.sequence, self.next());
        self.log.borrow_mut().push(stored);
        self.changed.notify(usize::MAX);
    }

    fn has(&self, number: usize) -> bool {
        let log = self.log.borrow();
        log.iter().any(|stored| stored.headers == numbered(number))
    }

    async fn write(&self, handle: &Handle, numbers: usize) {
        for number in 0..numbers {
            while !self.has(number) {
                let changed = self.changed.listen();
                // It may fail if the server hangs; it is published again.
                let _ = handle.publish(SUBJECT, None, &numbered(number), b"");
                let late = async {
                    Timer::after(AGAIN).await;
                };
                future::or(changed, late).await;
            }
        }
        future::pending().await
    }

    /// Waits until a number has been read.
    async fn until(&self, number: usize) {
        while !self.has(number) {
            let changed = self.changed.listen();
            if !self.has(number) {
                changed.await;
            }
        }
    }
}

#[test]
fn when_the_leader_is_killed_nothing_is_lost_and_all_read_the_same() {
    let mut servers = Servers::three();
    let addresses = servers.addresses();
    let nodes = [Node::new(), Node::new(), Node::new()];
    let executor = LocalExecutor::new();
    run(executor.run(async {
        let handle = join(&executor, &servers.all[0]).await;
        let jetstream = JetStream::new(handle);
        retry(async || jetstream.create(&settings()).await).await;
        let leader = retry(async || {
            let stream = jetstream.stream(STREAM).await.ok();
            stream.and_then(|stream| stream.cluster?.leader).ok_or(())
        });
        let leader = leader.await;
        // One node for each server, so one of them is connected to the server that is killed.
        for (seed, node) in nodes.iter().enumerate() {
            let numbers = if seed == 0 { 200 } else { 0 };
            executor
                .spawn(node.work(addresses.clone(), seed as u64, numbers))
                .detach();
        }
        nodes[0].until(99).await;
        servers.named(&leader).kill();
        for node in &nodes {
            node.until(199).await;
        }
    }));
    let lengths = nodes.each_ref().map(|node| node.log.borrow().len());
    let shared = *lengths.iter().min().expect("there are three");
    let first = nodes[0].log.borrow();
    for node in &nodes[1..] {
        assert_eq!(node.log.borrow()[..shared], first[..shared]);
    }
    let read: BTreeSet<_> = first
        .iter()
        .map(|stored| stored.headers.get("Number").map(str::to_owned))
        .collect();
    assert_eq!(read.len(), 200, "each number is read");
}

#[test]
fn a_server_that_hangs_is_noticed_and_connected_to_again() {
    let servers = Servers::one("");
    let server = &servers.all[0];
    run(async {
        let (handle, connection) = server.connect().await;
        let messages = handle.subscribe("a").expect("it is connected");
        let work = async {
            // The connection works.
            handle
                .publish("a", None, &Headers::new(), b"hi")
                .expect("it is connected");
            assert_eq!(
                messages.next().await.map(|message| message.payload),
                Some(b"hi".into())
            );
            asked(&handle, Error::NoResponders).await;
            server.signal(Signal::STOP);
            // The signal takes effect a moment later.
            asked(&handle, Error::TimedOut).await;
            // Sending all the time must not hide that the server is silent.
            while handle
                .publish("a", None, &Headers::new(), &[0; 1000])
                .is_ok()
            {
                future::yield_now().await;
            }
            assert_eq!(messages.next().await, None);
        };
        let (lost, ()) = future::zip(connection.run(), work).await;
        assert!(matches!(lost, Lost::Silent), "{lost}");
        assert!(handle.is_closed());
        assert_eq!(
            handle.publish("a", None, &Headers::new(), b""),
            Err(Error::Closed)
        );

        // The kernel accepts the connection, and nothing follows.
        let mut dialer = Dialer::new(vec![server.address.clone()], "test", None, 0);
        let mut failed = Vec::new();
        dialer
            .connect(|_, lost| {
                failed.push(lost.to_string());
                server.signal(Signal::CONT);
            })
            .await;
        let silent = Lost::Silent.to_string();
        assert!(
            !failed.is_empty() && failed.iter().all(|why| *why == silent),
            "{failed:?}"
        );
    });
}

/// Asks for an answer that nobody gives, until this is what is reported.
async fn asked(handle: &Handle, what: Error) {
    loop {
        match handle.request("nobody", &Headers::new(), b"", AGAIN).await {
            Err(error) if error == what => return,
            Err(Error::Closed) => panic!("the connection has ended too early"),
            _ => future::yield_now().await,
        }
    }
}

#[test]
fn a_server_says_what_is_wrong() {
    let mut servers = Servers::one("authorization { user: ann, password: \"a b\" }");
    let port = servers.all[0].address.to_string();
    let port = port.rsplit(':').next().expect("it has a port");
    run(async {
        for login in ["", "bob:x@", "token@"] {
            let address = format!("nats://{login}127.0.0.1:{port}")
                .parse()
                .expect("an address");
            let refused = connected(&address).await.map(|_| ());
            assert!(
                matches!(&refused, Err(Lost::Refused(why)) if why.contains("Authorization")),
                "{refused:?}"
            );
        }
        let address = format!("nats://ann:a%20b@127.0.0.1:{port}")
            .parse()
            .expect("an address");
        let (handle, connection) = connected(&address).await.expect("she is admitted");
        assert_eq!(handle.info().check(), Err(Unfit::NoJetStream));
        let jetstream = JetStream::new(handle);
        let asked = async {
            loop {
                match jetstream.account().await {
                    Err(Error::TimedOut) => {} // the server is busy
                    account => break Some(account),
                }
            }
        };
        let account = future::or(asked, async {
            connection.run().await;
            None
        });
        assert_eq!(account.await, Some(Err(Error::NoResponders)));
        let (_, connection) = connected(&address).await.expect("she is admitted");
        servers.all[0].kill();
        let lost = connection.run().await;
        assert!(matches!(lost, Lost::Closed | Lost::Io(_)), "{lost}");
    });
}
