//! chatd.md 8, protocol.md 11.5: while servers, NATS and the network between them fail, nothing that was acknowledged is
//! lost, and all servers show the same.
//!
//! `ROUNDS=100 SEED=1 cargo test --test cluster -- --ignored random_faults --nocapture` draws faults at random. `RATE` is
//! the number of messages that a client sends in a second, `FAULT` a part of the name of the faults that may be drawn,
//! `LASTS` the maximum time in seconds that a fault lasts, and `LOGS` a folder for what servers log and clients see.

mod clients;
mod judge;
mod link;

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use plainchat::cluster::nats::JetStream;
use rustix::process::Signal;
use smol::LocalExecutor;
use tempfile::TempDir;

use super::servers::{Servers, retry, run};
use super::support::random::Random;
use super::support::server::Chatd;
use clients::{Broken, Habit, Memory, Plan, Wire, World, contents, work};
use judge::{Event, Figures};
use link::{Link, Way};

/// The names of the servers.
const NODES: [&str; 3] = ["one", "two", "three"];

/// The time within which all servers agree after the last fault.
const AGREE_WITHIN: Duration = Duration::from_secs(90);

/// The time after which a server that reaches no other is cut off, and lets nobody in.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(12);

/// The time within which a server answers a question of a test.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The part of a second for which a test waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

/// What fails. The number is the place of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ChatdKilled(usize),
    ChatdStopped(usize),
    ChatdCut(usize),
    ChatdStill(usize),
    NatsKilled(usize),
    NatsStopped(usize),
    LeaderKilled,
    LeaderStopped,
    MachineCut(usize),
    MachineStill(usize),
    AllNatsKilled,
}

impl Fault {
    const KINDS: u64 = 11;

    fn draw(random: &mut Random) -> Self {
        let place = random.below(3) as usize;
        match random.below(Self::KINDS) {
            0 => Self::ChatdKilled(place),
            1 => Self::ChatdStopped(place),
            2 => Self::ChatdCut(place),
            3 => Self::ChatdStill(place),
            4 => Self::NatsKilled(place),
            5 => Self::NatsStopped(place),
            6 => Self::LeaderKilled,
            7 => Self::LeaderStopped,
            8 => Self::MachineCut(place),
            9 => Self::MachineStill(place),
            _ => Self::AllNatsKilled,
        }
    }

    fn is_of_chatd(self) -> bool {
        matches!(
            self,
            Self::ChatdKilled(_) | Self::ChatdStopped(_) | Self::ChatdCut(_) | Self::ChatdStill(_)
        )
    }

    fn kind(self) -> String {
        let name = format!("{self:?}");
        name.split('(').next().unwrap_or_default().to_owned()
    }
}

/// Three NATS servers and three `chatd`. They reach one another through links.
struct Bed {
    nats: Servers,
    /// The links from one NATS server to another.
    routes: HashMap<(usize, usize), Link>,
    /// The links from a `chatd` to a NATS server.
    clients: HashMap<(usize, usize), Link>,
    chatds: Vec<Chatd>,
    folder: TempDir,
}

impl Bed {
    fn begin() -> Self {
        let mut routes = HashMap::new();
        // Servers that a NATS server has not been told of are looked for at this address, where there are none.
        let nats = Servers::three_through("advertise: \"127.0.0.1:1\"", |from, to, port| {
            let link = Link::to(port);
            let port = link.port;
            routes.insert((from, to), link);
            port
        });
        let addresses = nats.addresses();
        let mut clients = HashMap::new();
        for from in 0..3 {
            for (to, address) in addresses.iter().enumerate() {
                let address = address.to_string();
                let port = address
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse().ok());
                clients.insert((from, to), Link::to(port.expect("a port")));
            }
        }
        let mut bed = Self {
            nats,
            routes,
            clients,
            chatds: Vec::new(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let mut init = Command::new(env!("CARGO_BIN_EXE_chatd"));
        let data = bed.data(0);
        init.args(["cluster", "init", "--cluster", &bed.addresses(0), "--data"])
            .arg(data);
        let done = init.output().expect("it is built");
        assert!(done.status.success(), "{done:?}");
        bed.chatds = (0..3).map(|place| bed.start(place)).collect();
        bed
    }

    fn data(&self, place: usize) -> PathBuf {
        self.folder.path().join(NODES[place])
    }

    /// Returns the addresses of NATS for a `chatd`.
    fn addresses(&self, from: usize) -> String {
        let ports = (0..3).map(|to| self.clients[&(from, to)].port);
        let all: Vec<_> = ports
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        all.join(",")
    }

    fn start(&self, place: usize) -> Chatd {
        let (data, addresses) = (self.data(place), self.addresses(place));
        let data = data.to_str().expect("a plain name");
        let flags = [
            "--cluster",
            &addresses,
            "--node",
            NODES[place],
            "--data",
            data,
        ];
        let Some(logs) = env::var_os("LOGS") else {
            return Chatd::with(&flags);
        };
        let file = PathBuf::from(logs).join(NODES[place]);
        let script = format!("exec \"${{@/#off/info}}\" 2>>{:?}", file.display());
        Chatd::under(&["bash", "-c", &script, "chatd"], &flags)
    }

    /// Returns the place of the NATS server that leads the log.
    fn leader(&self) -> usize {
        let executor = LocalExecutor::new();
        run(executor.run(async {
            let mut at = 0;
            retry(async || {
                at += 1;
                let (handle, connection) = self.nats.all[at % 3].connect().await;
                let running = executor.spawn(connection.run());
                let stream = JetStream::new(handle).stream("PC_chat").await;
                drop(running);
                let leader = stream.ok().and_then(|stream| stream.cluster?.leader);
                let leader = leader.ok_or(())?;
                let place = self.nats.all.iter().position(|nats| nats.name == leader);
                place.ok_or(())
            })
            .await
        }))
    }

    /// Lets something fail. Returns what has failed exactly.
    fn strike(&mut self, fault: Fault) -> Fault {
        let fault = match fault {
            Fault::LeaderKilled => Fault::NatsKilled(self.leader()),
            Fault::LeaderStopped => Fault::NatsStopped(self.leader()),
            fault => fault,
        };
        match fault {
            Fault::ChatdKilled(place) => self.chatds[place].signal(Signal::KILL),
            Fault::ChatdStopped(place) => self.chatds[place].signal(Signal::STOP),
            Fault::ChatdCut(place) => self.cut_chatd(place, Way::Cut),
            Fault::ChatdStill(place) => self.cut_chatd(place, Way::Still),
            Fault::NatsKilled(place) => self.nats.all[place].kill(),
            Fault::NatsStopped(place) => self.nats.all[place].signal(Signal::STOP),
            Fault::MachineCut(place) => self.cut_machine(place, Way::Cut),
            Fault::MachineStill(place) => self.cut_machine(place, Way::Still),
            Fault::AllNatsKilled => self.nats.all.iter_mut().for_each(|nats| nats.kill()),
            Fault::LeaderKilled | Fault::LeaderStopped => {}
        }
        fault
    }

    /// Mends what has failed.
    fn heal(&mut self, fault: Fault, world: &World) {
        match fault {
            Fault::ChatdKilled(place) => {
                let ended = self.chatds[place].wait(ANSWER_WITHIN);
                assert!(ended.is_some(), "it was killed");
                self.chatds[place] = self.start(place);
                let mut addresses = world.addresses.lock().expect("no thread panics with it");
                addresses[place] = self.chatds[place].address;
            }
            Fault::ChatdStopped(place) => self.chatds[place].signal(Signal::CONT),
            Fault::ChatdCut(place) | Fault::ChatdStill(place) => self.cut_chatd(place, Way::Open),
            Fault::NatsKilled(place) => self.nats.all[place].start_again(),
            Fault::NatsStopped(place) => self.nats.all[place].signal(Signal::CONT),
            Fault::MachineCut(place) | Fault::MachineStill(place) => {
                self.cut_machine(place, Way::Open);
            }
            Fault::AllNatsKilled => self.nats.all.iter_mut().for_each(|nats| nats.start_again()),
            Fault::LeaderKilled | Fault::LeaderStopped => {}
        }
    }

    fn cut_chatd(&self, place: usize, way: Way) {
        for to in 0..3 {
            self.clients[&(place, to)].set(way);
        }
    }

    /// Changes all links between a machine, with a NATS server and a `chatd`, and the others.
    fn cut_machine(&self, place: usize, way: Way) {
        for other in (0..3).filter(|other| *other != place) {
            for ends in [(place, other), (other, place)] {
                self.routes[&ends].set(way);
                self.clients[&ends].set(way);
            }
        }
    }

    /// Lets clients talk while something fails, waits until all servers agree, and compares what they have with what
    /// clients were told. Each fault lasts for the time beside it. The next fault begins halfway through.
    fn round(&mut self, number: u64, rate: u64, faults: &[(Fault, Duration)]) -> Figures {
        let addresses: Vec<_> = self.chatds.iter().map(|chatd| chatd.address).collect();
        let world = Arc::new(World::new(addresses));
        let clients: Vec<_> = plans(number, rate)
            .into_iter()
            .enumerate()
            .map(|(n, plan)| {
                let (world, seed) = (world.clone(), number * 100 + n as u64);
                thread::spawn(move || work(&world, plan, 0, seed))
            })
            .collect();
        pass(Duration::from_secs(1));
        let mut struck = Vec::new();
        for (n, (fault, lasts)) in faults.iter().enumerate() {
            let is_last = n + 1 == faults.len();
            struck.push(self.strike(*fault));
            pass(if is_last { *lasts } else { *lasts / 2 });
        }
        if let [(Fault::ChatdCut(place) | Fault::MachineCut(place), lasts)] = faults
            && *lasts >= CUT_OFF_WITHIN
        {
            let let_in = self.probe(*place, "nobody");
            assert!(let_in.is_err(), "the links are not cut");
        }
        // A chatd starts only if there is NATS.
        struck.sort_by_key(|fault| fault.is_of_chatd());
        for fault in struck {
            self.heal(fault, &world);
        }
        pass(Duration::from_secs(2));
        world.end();
        let clients: Vec<Memory> = clients
            .into_iter()
            .map(|client| client.join().expect("it does not panic"))
            .collect();
        self.compare(number, faults, &clients)
    }

    fn compare(
        &mut self,
        number: u64,
        faults: &[(Fault, Duration)],
        clients: &[Memory],
    ) -> Figures {
        let mut figures = Figures::default();
        let kinds: Vec<_> = faults.iter().map(|(fault, _)| fault.kind()).collect();
        let fault = kinds.join(" and ");
        let (talk, solo) = (room(number), format!("#s{number}"));
        let late = Instant::now() + AGREE_WITHIN;
        let mut attempt = 0;
        let (talks, solos) = loop {
            attempt += 1;
            let is_late = Instant::now() > late;
            let probes = (0..3).map(|place| {
                let nick = format!("p{number}x{attempt}x{place}");
                self.probe(place, &nick)
            });
            let probes: Vec<_> = probes.collect();
            let histories = |room: &str| {
                let all = (0..3).map(|place| self.history(place, room));
                all.collect::<Result<Vec<_>, Broken>>()
            };
            if probes.iter().all(Result::is_ok)
                && let (Ok(talks), Ok(solos)) = (histories(&talk), histories(&solo))
                && (is_late
                    || [&talks, &solos]
                        .iter()
                        .all(|all| all[0] == all[1] && all[1] == all[2]))
            {
                break (talks, solos);
            }
            for (place, chatd) in self.chatds.iter_mut().enumerate() {
                let ended = chatd.wait(Duration::ZERO);
                assert!(ended.is_none(), "{} has ended: {ended:?}", NODES[place]);
            }
            assert!(!is_late, "after {fault}, no answer: {probes:?}");
            pass(PAUSE);
        };
        let of_room = |room: &str| -> Vec<&Memory> {
            let all = clients.iter();
            all.filter(|client| client.plan.room == room).collect()
        };
        figures.judge(&fault, &talks, &of_room(&talk));
        figures.judge(&fault, &solos, &of_room(&solo));
        figures.judge_holders(&solos[0]);
        for client in clients {
            if client.plan.habit == Habit::Uploads {
                let files = client.messages.iter();
                for file in files.filter(|file| !file.ids.is_empty()) {
                    figures.files += 1;
                    for (place, node) in NODES.iter().enumerate() {
                        if self.download(place, file.ids[0], &file.text).is_err() {
                            figures.found(8, format!("{file:?} from {node}"));
                        }
                    }
                }
            }
        }
        if let Some(logs) = env::var_os("LOGS").filter(|_| !figures.is_good()) {
            for client in clients {
                let file = PathBuf::from(&logs).join(&client.plan.name);
                let trace = client.trace.clone().unwrap_or_default();
                fs::write(file, trace).expect("a folder");
            }
        }
        figures
    }

    fn wire(&self, place: usize) -> Result<Wire, Broken> {
        Wire::connect(self.chatds[place].address)
    }

    /// Returns whether a server lets somebody in. Then it has everything that was acknowledged before.
    fn probe(&self, place: usize, nick: &str) -> Result<(), Broken> {
        let late = Instant::now() + ANSWER_WITHIN;
        let mut wire = self.wire(place)?;
        wire.send(format!("NICK {nick}\nBYE\n"))?;
        let line = wire.line_until(late)?;
        if !line.starts_with("OK NICK ") {
            return Err(Broken);
        }
        while !wire.line_until(late)?.starts_with("OK BYE") {}
        Ok(())
    }

    fn history(&self, place: usize, room: &str) -> Result<Vec<Event>, Broken> {
        let late = Instant::now() + ANSWER_WITHIN;
        let mut wire = self.wire(place)?;
        let mut all: Vec<Event> = Vec::new();
        loop {
            let last = all.last().map_or(0, |event| event.id);
            wire.send(format!("HISTORY {room} 1000 after {last}\n"))?;
            let before = all.len();
            loop {
                let line = wire.line_until(late)?;
                let id = line.split(' ').nth(1).and_then(|id| id.parse().ok());
                match (line.split(' ').next(), id) {
                    (Some("PAST"), Some(id)) => all.push(Event { id, line }),
                    (Some("OK"), _) => break,
                    _ => return Err(Broken),
                }
            }
            if all.len() < before + 1000 {
                return Ok(all);
            }
        }
    }

    fn download(&self, place: usize, id: u64, name: &str) -> Result<(), Broken> {
        let late = Instant::now() + ANSWER_WITHIN * 2;
        let mut wire = self.wire(place)?;
        wire.send(format!("DOWNLOAD {id}\n"))?;
        let line = wire.line_until(late)?;
        let contents = contents(name);
        if !line.starts_with(&format!("DATA {id} {} ", contents.len())) {
            return Err(Broken);
        }
        let is_same = wire.bytes_until(contents.len(), late)? == contents;
        is_same.then_some(()).ok_or(Broken)
    }
}

fn room(number: u64) -> String {
    format!("#r{number}")
}

/// Returns what the clients of a round do. On each server, there are writers, a reader, one that uploads, and one that
/// wants the same nick as the others.
fn plans(number: u64, rate: u64) -> Vec<Plan> {
    let mut plans = Vec::new();
    for server in 0..3 {
        let habits = [
            (Habit::Writes(false), 3),
            (Habit::Writes(true), 3),
            (Habit::Writes(true), 30),
            (Habit::Reads, 6),
            (Habit::Uploads, 5),
            (Habit::Holds, 5),
        ];
        for (n, (habit, patience)) in habits.into_iter().enumerate() {
            let name = format!("c{number}x{server}x{n}");
            let pace = match habit {
                Habit::Writes(_) => Duration::from_secs(1) / rate as u32,
                Habit::Uploads => Duration::from_millis(300),
                _ => Duration::from_millis(20),
            };
            plans.push(Plan {
                nick: match habit {
                    Habit::Holds => Some("solo".into()),
                    Habit::Reads => None,
                    _ => Some(name.clone()),
                },
                room: match habit {
                    Habit::Holds => format!("#s{number}"),
                    _ => room(number),
                },
                name,
                server,
                pace,
                patience: Duration::from_secs(patience),
                habit,
            });
        }
    }
    plans
}

/// Lets time pass: that for which a fault lasts.
fn pass(time: Duration) {
    let (_never, waits) = mpsc::channel::<()>();
    let _ = waits.recv_timeout(time);
}

fn setting(name: &str, default: u64) -> u64 {
    let value = env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn when_a_chatd_fails_nothing_acknowledged_is_lost_and_all_show_the_same() {
    let mut bed = Bed::begin();
    let rate = setting("RATE", 20);
    let faults = [
        (Fault::ChatdKilled(0), seconds(4)),
        (Fault::ChatdStopped(1), seconds(11)),
        (Fault::ChatdCut(2), seconds(12)),
    ];
    let mut all = Figures::default();
    for (n, fault) in faults.iter().enumerate() {
        all.add(bed.round(n as u64 + 1, rate, std::slice::from_ref(fault)));
    }
    assert!(all.is_good(), "{all}");
}

#[test]
fn when_nats_fails_nothing_acknowledged_is_lost_and_all_show_the_same() {
    let mut bed = Bed::begin();
    let rate = setting("RATE", 20);
    let faults = [
        (Fault::LeaderStopped, seconds(8)),
        (Fault::MachineCut(0), seconds(12)),
        (Fault::AllNatsKilled, seconds(1)),
    ];
    let mut all = Figures::default();
    for (n, fault) in faults.iter().enumerate() {
        all.add(bed.round(n as u64 + 1, rate, std::slice::from_ref(fault)));
    }
    assert!(all.is_good(), "{all}");
}

#[test]
#[ignore = "takes about 20 seconds for each of its ROUNDS"]
fn random_faults() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = setting("SEED", now.map_or(1, |now| now.as_secs()));
    let (rounds, rate) = (setting("ROUNDS", 10), setting("RATE", 40));
    let wanted = env::var("FAULT").unwrap_or_default();
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let mut bed = Bed::begin();
    let mut all = Figures::default();
    for number in 1..=rounds {
        let mut faults: Vec<(Fault, Duration)> = Vec::new();
        let count = 1 + usize::from(random.below(4) == 0);
        // With FAULT, there may be no second one.
        for _ in 0..1000 {
            if faults.len() == count {
                break;
            }
            let fault = Fault::draw(&mut random);
            let lasts = match fault {
                Fault::AllNatsKilled => random.below(3_000),
                _ => 1_000 + random.below(lasts_max(number)),
            };
            let is_apart = faults
                .iter()
                .all(|(other, _)| other.is_of_chatd() != fault.is_of_chatd());
            if is_apart && fault.kind().contains(&wanted) {
                faults.push((fault, Duration::from_millis(lasts)));
            }
        }
        let began_at = Instant::now();
        let figures = bed.round(number, rate, &faults);
        let took = Instant::now() - began_at;
        println!("round {number}, {faults:?}, {took:.1?}: {figures}");
        all.add(figures);
    }
    println!("{rounds} rounds with SEED={seed}: {all}");
    assert!(all.is_good(), "SEED={seed}");
}

/// Returns how long the faults of a round last at most, in milliseconds besides the first second. Most are short, and
/// some are long.
fn lasts_max(round: u64) -> u64 {
    let longest = setting("LASTS", 20) * 1000;
    let is_long = round.is_multiple_of(4);
    if is_long { longest } else { longest.min(9_000) }
}
