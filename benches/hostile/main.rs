//! Measures whether a conversation suffers from thousands of hostile connections.
//!
//!     cargo bench --bench hostile
//!
//! Ten clients talk, with a hundred messages a second. Meanwhile 10,000 other connections send nothing, or a byte a
//! second each, or random bytes, and do not read the replies. The time from a speaker's write to each reader's read
//! is measured with and without these connections, and so is the server's memory. Both sides share the machine's
//! cores, so the figures include the work of the load generator.
//!
//! After that, one address sends requests as fast as it can (`floods`). `--floods` measures only this, and
//! `--only MSG` only one of the floods.

mod floods;
#[path = "../support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;
use plainchat::config::Limits;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::{CHATD, Chatd, Client, Dice, PATIENCE, data, folder, grouped, quantile};

/// A conversation beside hostile connections.
#[derive(FromArgs)]
struct Flags {
    /// a few connections for a moment, which only checks that nothing is lost
    #[argh(switch)]
    smoke: bool,

    /// how many hostile connections there are (default: 10000)
    #[argh(option, default = "10_000")]
    others: usize,

    /// for how many seconds they stay (default: 60)
    #[argh(option, default = "60")]
    seconds: u64,

    /// only the floods from one address
    #[argh(switch)]
    floods: bool,

    /// only the flood of this name; implies --floods
    #[argh(option)]
    only: Option<String>,

    /// the server that is measured (default: this build)
    #[argh(option, default = "CHATD.to_owned()")]
    chatd: String,

    /// passed by cargo to every benchmark
    #[argh(switch, hidden_help)]
    #[allow(dead_code)]
    bench: bool,
}

/// What the hostile connections do.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    NotThere,
    Silence,
    Trickle,
    Noise,
}

impl Deed {
    const ALL: [Self; 4] = [Self::NotThere, Self::Silence, Self::Trickle, Self::Noise];

    fn name(self) -> &'static str {
        match self {
            Self::NotThere => "none",
            Self::Silence => "that send nothing",
            Self::Trickle => "that send a byte a second",
            Self::Noise => "that send 256 random bytes a second",
        }
    }

    /// Returns the number of bytes that each connection writes once a second.
    fn bytes(self) -> usize {
        match self {
            Self::NotThere | Self::Silence => 0,
            Self::Trickle => 1,
            Self::Noise => 256,
        }
    }
}

/// The goal: 99 of 100 messages arrive within this many milliseconds.
const P99_MS: f64 = 50.0;

const READERS: usize = 9;
const SAID_EVERY: Duration = Duration::from_millis(10);

/// The result of a measurement.
struct Found {
    deed: Deed,
    came: usize,
    /// The time from write to read in milliseconds, for every message and every reader.
    waits: Vec<f64>,
    memory: u64,
    /// CPU-seconds of the server per second.
    cpu: f64,
}

fn main() -> ExitCode {
    let flags: Flags = argh::from_env();
    let (others, stay) = if flags.smoke {
        (100, Duration::from_millis(300))
    } else {
        (flags.others, Duration::from_secs(flags.seconds))
    };
    let measured = if flags.floods || flags.only.is_some() {
        Ok(Vec::new())
    } else {
        run(&flags.chatd, others, stay)
    };
    let measured = measured.and_then(|found| {
        Ok((
            found,
            floods::run(&flags.chatd, flags.only.as_deref(), flags.smoke)?,
        ))
    });
    match measured {
        Ok((found, floods)) => {
            print(&found);
            floods::print(&floods);
            let missed = if flags.smoke {
                Vec::new()
            } else {
                missed(&found)
            };
            for what in &missed {
                eprintln!("hostile: {what}");
            }
            if missed.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(e) => {
            eprintln!("hostile: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str, others: usize, stay: Duration) -> io::Result<Vec<Found>> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let mut found = Vec::new();
    for deed in Deed::ALL {
        // Each measurement has a server of its own, so that its memory was used only by this measurement.
        let folder = folder()?;
        let chatd = Chatd::spawn(program, &data(folder.path())).map_err(io::Error::other)?;
        let come = if deed == Deed::NotThere { 0 } else { others };
        found.push(beside(&chatd, deed, come, stay)?);
    }
    Ok(found)
}

/// Lets the clients talk for as long as the hostile connections stay.
fn beside(chatd: &Chatd, deed: Deed, come: usize, stay: Duration) -> io::Result<Found> {
    let begun = Instant::now();
    let mut readers = Vec::new();
    for n in 0..READERS {
        let mut reader = Client::connect(chatd.address)?;
        reader.ask(&format!("NICK reader{n}"))?;
        readers.push(reader);
    }
    let mut speaker = Client::connect(chatd.address)?;
    speaker.ask("NICK speaker")?;
    let others = (0..come).map(|_| other(chatd.address));
    let others = others.collect::<io::Result<Vec<_>>>()?;
    // This request is answered after all connections have been accepted. Only then is anything measured.
    speaker.ask("PING")?;
    let is_over = AtomicBool::new(false);
    let (cpu, since) = (cpu_seconds(chatd.id()), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| annoy(&others, deed, &is_over));
        let reading = readers
            .into_iter()
            .map(|reader| scope.spawn(move || read(reader, begun)));
        let reading: Vec<_> = reading.collect();
        let said = speak(&mut speaker, begun, stay);
        is_over.store(true, Ordering::Relaxed);
        let said = said?;
        let memory = memory(chatd.id());
        let cpu = (cpu_seconds(chatd.id()) - cpu) / since.elapsed().as_secs_f64();
        let mut waits = Vec::new();
        for reading in reading {
            let heard = reading
                .join()
                .map_err(|_| io::Error::other("a reader panicked"))??;
            if heard.len() != said {
                let text = format!(
                    "{} of {said} messages came beside {}",
                    heard.len(),
                    deed.name()
                );
                return Err(io::Error::other(text));
            }
            waits.extend(heard);
        }
        Ok(Found {
            deed,
            came: come,
            waits,
            memory,
            cpu,
        })
    })
}

/// Checks the goals: nobody waits for long, and the hostile connections add no more to the server's memory than the
/// data that may wait for clients (`--max-memory`) and 16 KiB for each connection.
fn missed(found: &[Found]) -> Vec<String> {
    let alone = found.first().map_or(0, |found| found.memory);
    let waits = Limits::default().memory_bytes_max as u64;
    let mut missed = Vec::new();
    for found in found {
        let (name, bound) = (
            found.deed.name(),
            alone + waits + (found.came as u64 * (16 << 10)),
        );
        let p99 = quantile(&mut found.waits.clone(), 0.99).unwrap_or_default();
        if p99 >= P99_MS {
            missed.push(format!(
                "p99 is {p99:.1} ms beside {name}, not below {P99_MS} ms"
            ));
        }
        if found.memory > bound {
            missed.push(format!(
                "{} bytes of memory beside {name}, more than {bound}",
                found.memory
            ));
        }
    }
    missed
}

/// Opens a connection that does nothing yet.
fn other(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Writes to each connection once a second, evenly spread, until the measurement is over. Reads nothing. Skips a
/// connection whose buffer is full.
fn annoy(others: &[TcpStream], deed: Deed, is_over: &AtomicBool) {
    let bytes = deed.bytes();
    let mut dice = Dice::new(7);
    let begun = Instant::now();
    let mut written = 0;
    while !is_over.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * others.len() as f64) as usize;
        if bytes > 0 {
            while written < due {
                let noise: Vec<u8> = (0..bytes).map(|_| dice.below(256) as u8).collect();
                if let Some(mut other) = others.get(written % others.len()) {
                    let _ = other.write(&noise);
                }
                written += 1;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    for other in others {
        let _ = other.shutdown(Shutdown::Both);
    }
}

/// Sends messages that contain the current time, again and again. Returns their number. The last message is `end`.
fn speak(speaker: &mut Client, begun: Instant, stay: Duration) -> io::Result<usize> {
    let (since, mut said) = (Instant::now(), 0);
    while since.elapsed() < stay {
        let line = format!("MSG {}\n", begun.elapsed().as_nanos());
        speaker.send(line.as_bytes())?;
        said += 1;
        let next = SAID_EVERY * u32::try_from(said).unwrap_or(u32::MAX);
        thread::sleep(next.saturating_sub(since.elapsed()));
    }
    speaker.send(b"MSG end\n")?;
    let mut answered = 0;
    while answered <= said {
        speaker.read(|line| {
            match line.split(' ').next() {
                Some("OK") => answered += 1,
                Some("ERR" | "CLOSED") => return Err(io::Error::other(line.to_owned())),
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(said)
}

/// Returns how long each message took, in milliseconds.
fn read(mut reader: Client, begun: Instant) -> io::Result<Vec<f64>> {
    let mut waits = Vec::new();
    let mut is_over = false;
    while !is_over {
        reader.read(|line| {
            let Some(text) = line.strip_prefix("MSG #lobby speaker ") else {
                return Ok(());
            };
            match text.parse::<u64>() {
                Ok(at) => {
                    let wait = begun.elapsed().saturating_sub(Duration::from_nanos(at));
                    waits.push(wait.as_secs_f64() * 1e3);
                }
                Err(_) => is_over = true,
            }
            Ok(())
        })?;
    }
    Ok(waits)
}

/// Returns the memory of a process (`VmRSS`), in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Returns the CPU time of a process, in seconds (`proc_pid_stat`(5), fields 14 and 15).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0 // USER_HZ, the same on every Linux
}

fn print(found: &[Found]) {
    if found.is_empty() {
        return;
    }
    println!(
        "| other connections | p50 | p99 | maximum | server's memory | per connection | CPU |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let alone = found.first().map_or(0, |found| found.memory);
    for found in found {
        let mut waits = found.waits.clone();
        let [p50, p99, most] =
            [0.5, 0.99, 1.0].map(|share| quantile(&mut waits, share).unwrap_or_default());
        let mib = found.memory as f64 / f64::from(1 << 20);
        let each = match found.came {
            0 => String::new(),
            came => format!(
                "{:.1} KiB",
                found.memory.saturating_sub(alone) as f64 / came as f64 / 1024.0
            ),
        };
        let who = match found.came {
            0 => found.deed.name().to_owned(),
            came => format!("{} {}", grouped(came as u64), found.deed.name()),
        };
        println!(
            "| {who} | {p50:.2} ms | {p99:.2} ms | {most:.1} ms | {mib:.1} MiB | {each} | {:.0} % |",
            found.cpu * 100.0
        );
    }
}
