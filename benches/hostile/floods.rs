//! Measures how long another client waits for the `OK` of a message while one address, 127.0.0.66, sends requests as
//! fast as it can. The address uses eight connections, which read as fast as they are answered. The server may
//! allocate 512 MiB. Nothing is asserted, because both sides share the machine's cores; the tests in
//! `tests/faults/hostile` assert what must be true.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::support::{Chatd, Client, data, folder, grouped, quantile};

const FLOODERS: usize = 8;
/// The duration of each flood.
const LASTS: Duration = Duration::from_secs(5);

/// The result of a flood, with the times that the other client waited for its replies, in milliseconds.
pub struct Found {
    name: &'static str,
    waits: Vec<f64>,
    /// The number of bytes per second that the server sent to the flooding connections.
    answered: f64,
    /// The server's memory at the end, in bytes.
    memory: u64,
}

/// Returns the floods: the name of each, and the lines that a connection sends in one turn. `<n>` stands for the
/// number of the connection, and `<i>` for that of the turn. The turns are sent again and again.
fn floods() -> Vec<(&'static str, String)> {
    let rooms =
        |verb: &str| -> String { (0..32).map(|room| format!("{verb} #f{room}\n")).collect() };
    vec![
        ("nothing", String::new()),
        ("PING", "PING\n".into()),
        ("WHO", "WHO\n".into()),
        ("HELP", "HELP\n".into()),
        (
            "NICK, alternating between two",
            "NICK a<n>\nNICK b<n>\n".into(),
        ),
        (
            "NICK with a password, a new nick each time",
            "NICK g<n>x<i> p\n".into(),
        ),
        ("JOIN and PART of 32 rooms", rooms("JOIN") + &rooms("PART")),
        (
            "JOIN AS, a new reader each time",
            "JOIN #lobby AS r<n>x<i>\n".into(),
        ),
        ("HISTORY of 1,000", "HISTORY #lobby 1000\n".into()),
        ("SEARCH", "SEARCH #lobby pear\n".into()),
        (
            "SEARCH of 16 words, without a match",
            format!("SEARCH #lobby from:nobody {}\n", ["a"; 16].join(".")),
        ),
        ("TELL, a new room each time", "TELL #t<n>x<i> x\n".into()),
        ("MSG", "MSG hello\n".into()),
    ]
}

/// Measures each flood, or only the one that is called `only`, with a server of its own.
pub fn run(program: &str, only: Option<&str>, is_smoke: bool) -> io::Result<Vec<Found>> {
    let lasts = if is_smoke {
        Duration::from_millis(200)
    } else {
        LASTS
    };
    let mut found = Vec::new();
    let mut floods = floods();
    floods.retain(|(name, _)| only.is_none_or(|only| *name == only));
    for (name, lines) in floods {
        let folder = folder()?;
        let limit = format!("--data={}", 512 << 20);
        let mut flags = data(folder.path());
        flags.extend(["--max-memory", "64MiB"].map(str::to_owned));
        let chatd = Chatd::spawn_under(&["prlimit", &limit], program, &flags);
        let chatd = chatd.map_err(io::Error::other)?;
        fill(&chatd)?;
        found.push(beside(&chatd, name, &lines, lasts)?);
    }
    Ok(found)
}

/// Sends messages for the floods to search and to read.
fn fill(chatd: &Chatd) -> io::Result<()> {
    let mut filler = Client::connect(chatd.address)?;
    filler.ask("NICK filler")?;
    for n in 0..1000 {
        let text = if n % 20 == 0 {
            "a ".repeat(1900)
        } else {
            format!("pear {n}")
        };
        filler.ask(&format!("MSG {text}"))?;
    }
    Ok(())
}

fn flooder(address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 66), 0));
    bind(&socket, &from)?;
    connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

fn beside(chatd: &Chatd, name: &'static str, lines: &str, lasts: Duration) -> io::Result<Found> {
    let (answered, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut speaker = Client::connect(chatd.address)?;
    speaker.ask("NICK speaker")?;
    speaker.ask("JOIN #talk")?;
    let mut streams = Vec::new();
    for n in 0..FLOODERS {
        let mut stream = flooder(chatd.address)?;
        stream.write_all(format!("NICK m{n}\n").as_bytes())?;
        streams.push(stream);
    }
    thread::scope(|scope| {
        for (n, stream) in streams.iter().enumerate().filter(|_| !lines.is_empty()) {
            let (answered, is_over) = (&answered, &is_over);
            scope.spawn(move || {
                let mut i = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut some = String::new();
                    while some.len() < 16 << 10 {
                        some += &lines
                            .replace("<n>", &n.to_string())
                            .replace("<i>", &i.to_string());
                        i += 1;
                    }
                    if (&*stream).write_all(some.as_bytes()).is_err() {
                        return;
                    }
                }
            });
            scope.spawn(move || {
                let mut buffer = vec![0; 256 << 10];
                while let Ok(read @ 1..) = (&*stream).read(&mut buffer) {
                    answered.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        let mut waits = Vec::new();
        let mut result = Ok(());
        while begun.elapsed() < lasts && result.is_ok() {
            result = speaker.ask("MSG hello").map(|(_, _, took)| {
                waits.push(took.as_secs_f64() * 1e3);
                thread::sleep(Duration::from_millis(5));
            });
        }
        let answered = answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        let memory = crate::memory(chatd.id());
        is_over.store(true, Ordering::Relaxed);
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // A wait that is longer than the benchmark's deadline is shown in the table too.
        if result.is_err() {
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Found {
            name,
            waits,
            answered,
            memory,
        })
    })
}

pub fn print(found: &[Found]) {
    println!();
    println!(
        "| what eight connections send | messages | p50 | p99 | maximum | answered per second | server's memory |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for found in found {
        let mut waits = found.waits.clone();
        let [p50, p99, most] =
            [0.5, 0.99, 1.0].map(|share| quantile(&mut waits, share).unwrap_or_default());
        println!(
            "| {} | {} | {p50:.2} ms | {p99:.2} ms | {most:.1} ms | {:.1} MiB | {:.0} MiB |",
            found.name,
            grouped(found.waits.len() as u64),
            found.answered / f64::from(1 << 20),
            found.memory as f64 / f64::from(1 << 20)
        );
    }
}
