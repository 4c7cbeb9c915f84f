//! Servers on a log that loses, delays and repeats what is published, while servers are suspended and killed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::publisher::{AGAIN_AFTER, BATCH_BYTES_MAX, BEAT_EVERY, CUT_OFF_AFTER, ITEMS_MAX};
use super::{Content, Fence, Members, Message, Published, Publisher, Read, Size};
use crate::model::ServerName;

const SERVERS: usize = 3;

const SMALL: Size = Size { bytes: 1, ids: 1 };

/// An item: the process that has proposed it, and its number among the items of that process.
type Item = (u64, u32);

/// What a process knows of an item that it has proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Pending,
    Accepted,
    Refused,
}

#[derive(Clone, Debug)]
enum Step {
    /// Time passes.
    Wait(u64),
    Propose(usize),
    /// A server does what it has to: it publishes, and reads at most this number of messages.
    Run(usize, usize),
    /// A server is suspended for this many steps.
    Suspend(usize, usize),
    /// A server is killed and started again.
    Kill(usize),
    /// What becomes of the next messages that are published.
    Network(Delivery),
}

#[derive(Clone, Copy, Debug)]
enum Delivery {
    Once,
    Never,
    Twice,
    /// After this many steps.
    Late(usize),
}

/// A process of a server.
struct Process {
    id: u64,
    name: ServerName,
    publisher: Publisher<Item, Item>,
    members: Members,
    read: usize,
    proposed: u32,
    suspended: usize,
}

struct World {
    now: Duration,
    step: usize,
    log: Vec<Message<Item>>,
    /// What has read the whole log.
    members: Members,
    delivery: Delivery,
    late: Vec<(usize, Message<Item>)>,
    processes: Vec<Process>,
    known: HashMap<Item, Known>,
    started: u64,
}

/// Returns whether a server may rely on its epoch.
fn has_lease<T, R>(publisher: &Publisher<T, R>, now: Duration) -> bool {
    publisher.lease_until().is_some_and(|until| now < until)
}

fn name(server: usize) -> ServerName {
    format!("server{server}").into()
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            step: 0,
            log: Vec::new(),
            members: Members::default(),
            delivery: Delivery::Once,
            late: Vec::new(),
            processes: Vec::new(),
            known: HashMap::new(),
            started: 0,
        };
        for server in 0..SERVERS {
            let process = world.start(server);
            world.processes.push(process);
        }
        world
    }

    fn start(&mut self, server: usize) -> Process {
        self.started += 1;
        Process {
            id: self.started,
            name: name(server),
            publisher: Publisher::new(name(server), 0, self.started << 32, self.now),
            members: Members::default(),
            read: 0,
            proposed: 0,
            suspended: 0,
        }
    }

    fn append(&mut self, message: Message<Item>) {
        self.members.read(self.log.len() as u64 + 1, &message);
        self.log.push(message);
    }

    fn deliver_late(&mut self) {
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= self.step);
        self.late = late;
        for (_, message) in due {
            self.append(message);
        }
    }

    fn run(&mut self, server: usize, reads: usize) -> Result<(), TestCaseError> {
        let now = self.now;
        let process = &mut self.processes[server];
        if process.suspended > 0 {
            process.suspended -= 1;
            return Ok(());
        }
        for _ in 0..reads {
            let Some(message) = self.log.get(process.read) else {
                break;
            };
            process.read += 1;
            let read = process.members.read(process.read as u64, message);
            let nonce = (process.id << 32) + process.read as u64;
            let publisher = &mut process.publisher;
            match publisher.on_read(message, &read, &process.members, || nonce, now) {
                Published::Nothing => {}
                Published::Own(receipts) => {
                    let Read::Items { items, .. } = read else {
                        return Err(TestCaseError::fail("it has no items"));
                    };
                    prop_assert_eq!(&*receipts, items);
                    for receipt in receipts {
                        self.known.insert(receipt, Known::Accepted);
                    }
                }
                Published::Lost(receipts) => {
                    for receipt in receipts {
                        self.known.insert(receipt, Known::Refused);
                    }
                }
                Published::NameTaken => return Err(TestCaseError::fail("the name was taken")),
            }
        }
        if process.publisher.is_cut_off(now) {
            for receipt in process.publisher.take_waiting() {
                self.known.insert(receipt, Known::Refused);
            }
        }
        if process.publisher.due().is_some_and(|due| due <= now)
            && let Some(message) = process.publisher.publish(now).cloned()
        {
            match self.delivery {
                Delivery::Once => self.append(message),
                Delivery::Never => {}
                Delivery::Twice => {
                    self.append(message.clone());
                    self.append(message);
                }
                Delivery::Late(steps) => self.late.push((self.step + steps, message)),
            }
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.step += 1;
        self.deliver_late();
        match *step {
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::Propose(server) => {
                let process = &mut self.processes[server];
                if process.suspended > 0 {
                    return Ok(());
                }
                process.proposed += 1;
                let item = (process.id, process.proposed);
                let result = process.publisher.propose(item, SMALL, item, self.now);
                let known = result.map_or(Known::Refused, |()| Known::Pending);
                self.known.insert(item, known);
            }
            Step::Run(server, reads) => self.run(server, reads)?,
            Step::Suspend(server, steps) => self.processes[server].suspended = steps,
            Step::Kill(server) => self.processes[server] = self.start(server),
            Step::Network(delivery) => self.delivery = delivery,
        }
        for process in &self.processes {
            // Whatever a suspended server believes, it can do nothing.
            if has_lease(&process.publisher, self.now) && process.suspended == 0 {
                let epoch = self.members.epoch(&process.name);
                prop_assert!(epoch.is_some(), "{} has been fenced", process.name);
            }
        }
        Ok(())
    }

    /// Lets everything come to rest, on a network without faults.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.take(&Step::Network(Delivery::Once))?;
        for process in &mut self.processes {
            process.suspended = 0;
        }
        for _ in 0..200 {
            self.take(&Step::Wait(AGAIN_AFTER.as_millis() as u64))?;
            for server in 0..SERVERS {
                self.take(&Step::Run(server, usize::MAX))?;
            }
        }
        for server in 0..SERVERS {
            self.run(server, usize::MAX)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut members = Members::default();
        let mut counted: BTreeMap<Item, usize> = BTreeMap::new();
        let mut newest: HashMap<u64, u32> = HashMap::new();
        for (at, message) in self.log.iter().enumerate() {
            if let Read::Items { items, .. } = members.read(at as u64 + 1, message) {
                for item in items {
                    *counted.entry(*item).or_default() += 1;
                    let before = newest.insert(item.0, item.1);
                    prop_assert!(before < Some(item.1), "{:?} after {:?}", item, before);
                }
            }
        }
        for (item, known) in &self.known {
            let count = counted.get(item).copied().unwrap_or_default();
            let is_of_living = self.processes.iter().any(|process| process.id == item.0);
            match known {
                Known::Accepted => prop_assert_eq!(count, 1, "{:?} was accepted", item),
                Known::Refused => prop_assert_eq!(count, 0, "{:?} was refused", item),
                Known::Pending => {
                    prop_assert!(!is_of_living, "{:?} has no outcome", item);
                    prop_assert!(count <= 1, "{:?} counts twice", item);
                }
            }
        }
        for process in &self.processes {
            prop_assert_eq!(&process.members, &members);
            prop_assert!(members.epoch(&process.name).is_some());
            prop_assert!(has_lease(&process.publisher, self.now));
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let delivery = prop_oneof![
        4 => Just(Delivery::Once),
        1 => Just(Delivery::Never),
        1 => Just(Delivery::Twice),
        2 => (1_usize..60).prop_map(Delivery::Late),
    ];
    prop_oneof![
        8 => (1_u64..900).prop_map(Step::Wait),
        8 => (0..SERVERS).prop_map(Step::Propose),
        20 => (0..SERVERS, 0_usize..6).prop_map(|(server, reads)| Step::Run(server, reads)),
        1 => (0..SERVERS, 1_usize..40).prop_map(|(server, steps)| Step::Suspend(server, steps)),
        1 => (0..SERVERS).prop_map(Step::Kill),
        2 => delivery.prop_map(Step::Network),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// An accepted item counts exactly once, a refused one never, and the items of a process count in their order. All
    /// servers agree on what counts. A server that relies on its epoch has not been fenced.
    #[test]
    fn items_count_once_or_never(steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step)?;
        }
        world.settle()?;
        world.check()?;
    }
}

fn batch(by: usize, epoch: u64, number: u64, fences: Vec<Fence>) -> Message<Item> {
    let content = Content::Batch {
        epoch,
        number,
        fences,
        items: vec![(by as u64, number as u32)],
    };
    Message {
        by: name(by),
        content,
    }
}

#[test]
fn batches_count_once_each_in_order_until_their_epoch_ends() {
    let mut members = Members::default();
    let hello = |by: usize, former| Message::<Item> {
        by: name(by),
        content: Content::Hello { former, nonce: 7 },
    };
    let fence = |batches| Fence {
        server: name(0),
        epoch: 1,
        batches,
    };
    let log = [
        (hello(0, 0), true),
        (hello(0, 0), false),
        (batch(0, 1, 1, Vec::new()), true),
        (batch(0, 1, 1, Vec::new()), false),
        (batch(0, 1, 3, Vec::new()), false),
        (hello(1, 0), true),
        (batch(0, 1, 2, Vec::new()), true),
        (batch(1, 6, 1, vec![fence(1)]), true), // the server was not silent
        (batch(0, 1, 3, Vec::new()), true),
        (batch(1, 6, 2, vec![fence(3)]), true),
        (batch(0, 1, 4, Vec::new()), false),
        (hello(0, 1), true),
        (batch(1, 6, 3, vec![fence(3)]), true), // it has no effect on the new epoch
        (batch(0, 1, 3, Vec::new()), false),
        (batch(0, 12, 1, Vec::new()), true),
        (batch(2, 1, 1, Vec::new()), false),
    ];
    for (at, (message, counts)) in log.iter().enumerate() {
        let read = members.read(at as u64 + 1, message);
        assert_eq!(read != Read::Ignored, *counts, "{at}: {message:?}");
    }
    let live: Vec<_> = members.all_live().collect();
    assert_eq!(live, [&name(0), &name(1)]);
}

/// Lets one server run alone on a perfect log until `until`, and returns the log.
fn alone(publisher: &mut Publisher<Item, Item>, from: Duration, until: Duration) -> usize {
    let (mut members, mut now, mut sequence) = (Members::default(), from, 0);
    while now < until {
        if let Some(message) = publisher.publish(now).cloned() {
            sequence += 1;
            let read = members.read(sequence, &message);
            publisher.on_read(&message, &read, &members, || 1, now);
        }
        now += Duration::from_millis(50);
    }
    sequence as usize
}

#[test]
fn an_idle_server_shows_every_two_seconds_that_it_is_alive() {
    let mut publisher = Publisher::new(name(0), 0, 1, Duration::ZERO);
    let until = BEAT_EVERY * 5;
    assert_eq!(alone(&mut publisher, Duration::ZERO, until), 1 + 5);
    assert!(has_lease(&publisher, until) && !publisher.is_cut_off(until));
    assert!(!has_lease(&publisher, until + CUT_OFF_AFTER));
    assert!(publisher.is_cut_off(until + CUT_OFF_AFTER));
    let refused = publisher.propose((1, 1), SMALL, (1, 1), until + CUT_OFF_AFTER);
    assert_eq!(refused, Err((1, 1)));
}

#[test]
fn a_server_that_leaves_publishes_everything_first() {
    let mut publisher = Publisher::new(name(0), 0, 1, Duration::ZERO);
    let proposed = publisher.propose((1, 1), SMALL, (1, 1), Duration::ZERO);
    assert_eq!(proposed, Ok(()));
    publisher.leave();
    assert!(
        publisher
            .propose((1, 2), SMALL, (1, 2), Duration::ZERO)
            .is_err()
    );
    let messages = alone(&mut publisher, Duration::ZERO, BEAT_EVERY * 5);
    assert_eq!(messages, 3, "a greeting, a batch, a goodbye");
    assert!(publisher.has_left() && publisher.due().is_none());
}

/// Returns the number of items in each batch that a server publishes, if it has proposed items of these sizes.
fn batches(sizes: &[Size]) -> Vec<usize> {
    let mut publisher = Publisher::new(name(0), 0, 1, Duration::ZERO);
    for (n, size) in sizes.iter().enumerate() {
        let item = (1, n as u32);
        let proposed = publisher.propose(item, *size, item, Duration::ZERO);
        assert_eq!(proposed, Ok(()));
    }
    let (mut members, mut lengths) = (Members::default(), Vec::new());
    for sequence in 1.. {
        let Some(message) = publisher.publish(Duration::ZERO).cloned() else {
            break;
        };
        let read = members.read(sequence, &message);
        publisher.on_read(&message, &read, &members, || 1, Duration::ZERO);
        if let Content::Batch { items, .. } = &message.content {
            lengths.push(items.len());
        }
    }
    lengths
}

#[test]
fn a_batch_is_limited_in_items_ids_and_bytes_but_has_at_least_one_item() {
    assert_eq!(batches(&[SMALL; 3]), [3]);
    assert_eq!(batches(&[SMALL; ITEMS_MAX + 1]), [ITEMS_MAX, 1]);
    let text = |ids| Size { bytes: 1, ids };
    assert_eq!(batches(&[text(600), text(400), text(1), SMALL]), [2, 2]);
    assert_eq!(batches(&[SMALL, text(ITEMS_MAX), SMALL]), [1, 1, 1]);
    let large = |bytes| Size { bytes, ids: 1 };
    let half = large(BATCH_BYTES_MAX / 2);
    assert_eq!(batches(&[half, half, SMALL]), [2, 1]);
    assert_eq!(
        batches(&[SMALL, large(2 * BATCH_BYTES_MAX), SMALL]),
        [1, 1, 1]
    );
}
