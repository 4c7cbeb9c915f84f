//! Measures how many messages per second `chatd` stores, beside a bare loop that inserts the same messages into SQLite.
//!
//!     cargo bench --bench kept
//!
//! `OK` means that a message is stored, so no reply can be faster than the disk. This benchmark shows what the server
//! adds to that: sockets, lines, threads and the room. The bare loop has the same tables, settings and messages, and
//! as many messages in each transaction as the server had in the run before it. The two run in turns, so that
//! whatever else the machine does affects both.

mod support;

use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Instant;

use argh::FromArgs;
use plainchat::log::sqlite::SqliteLog;
use rusqlite::{Connection, TransactionBehavior, params};
use support::{CHATD, Chatd, Client, Dice, PATIENCE, data, folder, grouped, quantile, sentence};

/// Messages stored per second, beside a bare SQLite insert loop.
#[derive(FromArgs)]
struct Flags {
    /// a run of a second that only checks that nothing is lost
    #[argh(switch)]
    smoke: bool,

    /// how many times each is measured; the median counts (default: 11)
    #[argh(option, default = "11")]
    rounds: usize,

    /// passed by cargo to every benchmark
    #[argh(switch, hidden_help)]
    #[allow(dead_code)]
    bench: bool,
}

/// The number of speakers, and how they send.
struct Load {
    name: &'static str,
    speakers: usize,
    /// The maximum number of messages that each speaker sends without having received their `OK`.
    window: usize,
    messages: usize,
}

const LOADS: [Load; 3] = [
    Load {
        name: "1 sender that waits for each `OK`",
        speakers: 1,
        window: 1,
        messages: 4000,
    },
    Load {
        name: "1 sender, 500 outstanding",
        speakers: 1,
        window: 500,
        messages: 200_000,
    },
    Load {
        name: "50 senders, 10 outstanding each",
        speakers: 50,
        window: 10,
        messages: 200_000,
    },
];

/// The result of a run.
struct Rate {
    per_second: f64,
    /// Messages per transaction.
    batch: f64,
}

fn main() -> ExitCode {
    support::exit("kept", measure(&argh::from_env()))
}

fn measure(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    let (rounds, part) = if flags.smoke {
        (1, 50)
    } else {
        (flags.rounds.max(1), 1)
    };
    println!("| messages saved per second | per transaction | chatd | bare loop | ratio |");
    println!("|---|--:|--:|--:|--:|");
    for load in &LOADS {
        let mut dice = Dice::new(5002);
        let texts: Vec<String> = (0..load.messages / part)
            .map(|n| format!("{n} {}", sentence(&mut dice)))
            .collect();
        let (mut batches, mut ours, mut bares, mut ratios) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let chatd = through_chatd(load, &texts)?;
            let bare = bare_loop(&texts, (chatd.batch.round() as usize).max(1))?;
            batches.push(chatd.batch);
            ours.push(chatd.per_second);
            bares.push(bare);
            ratios.push(chatd.per_second / bare);
        }
        let median = |values: &mut [f64]| quantile(values, 0.5).unwrap_or_default();
        println!(
            "| {} | {:.1} | {} | {} | {:.2} |",
            load.name,
            median(&mut batches),
            grouped(median(&mut ours) as u64),
            grouped(median(&mut bares) as u64),
            median(&mut ratios)
        );
    }
    Ok(())
}

/// Measures how fast a new `chatd` stores all `texts` in one room without readers. Another benchmark measures the cost
/// of delivery.
fn through_chatd(load: &Load, texts: &[String]) -> Result<Rate, Box<dyn std::error::Error>> {
    let folder = folder()?;
    let mut chatd = Chatd::spawn(CHATD, &data(folder.path()))?;
    let start = Barrier::new(load.speakers + 1);
    let share = texts.len().div_ceil(load.speakers);
    let shares: Vec<Vec<Vec<u8>>> = texts
        .chunks(share)
        .map(|texts| {
            texts
                .iter()
                .map(|text| format!("TELL #kept {text}\n").into())
                .collect()
        })
        .collect();
    let (seconds, batch) = std::thread::scope(|scope| -> io::Result<(f64, f64)> {
        let speakers: Vec<_> = shares
            .iter()
            .enumerate()
            .map(|(n, lines)| {
                let (start, address, window) = (&start, chatd.address, load.window);
                scope.spawn(move || speak(n, lines, window, address, start))
            })
            .collect();
        start.wait();
        let before = transactions(folder.path())?;
        start.wait();
        let begun = Instant::now();
        for speaker in speakers {
            speaker
                .join()
                .map_err(|_| io::Error::other("a speaker panicked"))??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let transactions = transactions(folder.path())?.wrapping_sub(before);
        Ok((seconds, texts.len() as f64 / f64::from(transactions)))
    })?;
    chatd.signal(rustix::process::Signal::TERM);
    match chatd.wait(PATIENCE) {
        Some(status) if status.success() => {}
        status => return Err(format!("chatd did not end well: {status:?}").into()),
    }
    check_kept(folder.path(), texts)?;
    Ok(Rate {
        per_second: texts.len() as f64 / seconds,
        batch,
    })
}

/// Connects, and sends all `lines`. At any time, `window` of them wait for their `OK`. After connecting, waits at the
/// barrier `start` twice before it sends the first line.
fn speak(
    n: usize,
    lines: &[Vec<u8>],
    window: usize,
    address: SocketAddr,
    start: &Barrier,
) -> io::Result<()> {
    let connected = Client::connect(address).and_then(|mut client| {
        // The client joins a room of its own, so that it receives nothing except its replies.
        client.ask(&format!("JOIN #own{n}"))?;
        client.ask(&format!("NICK speaker{n}"))?;
        Ok(client)
    });
    start.wait();
    start.wait();
    let mut client = connected?;
    let (mut said, mut kept) = (0, 0);
    let mut last_id = 0;
    let mut sending = Vec::new();
    while kept < lines.len() {
        let up_to = (kept + window).min(lines.len());
        sending.clear();
        for line in lines.get(said..up_to).unwrap_or_default() {
            sending.extend_from_slice(line);
        }
        said = up_to;
        client.send(&sending)?;
        client.read(|line| {
            let id = line
                .strip_prefix("OK TELL ")
                .and_then(|rest| rest.split(' ').next());
            let id: u64 = id
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| io::Error::other(format!("instead of OK: {line}")))?;
            if id <= last_id {
                return Err(io::Error::other(format!("id {id} came after {last_id}")));
            }
            last_id = id;
            kept += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// Returns the number of transactions that were written to the log of a running server. SQLite counts them in the
/// header of the index of its write-ahead log (<https://www.sqlite.org/walformat.html>, `iChange`).
fn transactions(folder: &Path) -> io::Result<u32> {
    let mut index = std::fs::File::open(folder.join("chat.db-shm"))?;
    let mut count = [0; 4];
    index.seek(SeekFrom::Start(8))?;
    index.read_exact(&mut count)?;
    Ok(u32::from_ne_bytes(count))
}

/// Checks that every text is in the log once, and those of one speaker in order.
fn check_kept(folder: &Path, texts: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let db = Connection::open(folder.join("chat.db"))?;
    let mut events = db.prepare("SELECT nick, text FROM events ORDER BY id")?;
    let rows = events.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut last = std::collections::HashMap::new();
    let mut found = 0;
    for row in rows {
        let (nick, text): (String, String) = row?;
        let n = text.split(' ').next().and_then(|n| n.parse::<usize>().ok());
        let n = n.filter(|n| texts.get(*n) == Some(&text));
        let n = n.ok_or_else(|| format!("nobody said: {text}"))?;
        if let Some(before) = last.insert(nick, n)
            && before >= n
        {
            return Err(format!("{n} was kept after {before}").into());
        }
        found += 1;
    }
    if found == texts.len() {
        Ok(())
    } else {
        Err(format!("{found} of {} were kept", texts.len()).into())
    }
}

/// Inserts `texts`, `batch` of them in each transaction, in a program that does nothing else. Returns the number of
/// texts per second.
fn bare_loop(texts: &[String], batch: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let folder = folder()?;
    drop(SqliteLog::open(folder.path(), Box::new(|_| {}))?); // creates the tables
    let mut db = Connection::open(folder.path().join("chat.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute(
        "INSERT INTO rooms (form, name) VALUES ('kept', '#kept')",
        [],
    )?;
    let room = db.last_insert_rowid();
    let begun = Instant::now();
    for texts in texts.chunks(batch) {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut event = step.prepare_cached(
                "INSERT INTO events (room, time, verb, nick, text) VALUES (?1, ?2, 'MSG', 'speaker0', ?3)",
            )?;
            for text in texts {
                event.execute(params![room, 1_700_000_000_000_i64, text])?;
            }
        }
        step.commit()?;
    }
    Ok(texts.len() as f64 / begun.elapsed().as_secs_f64())
}
