//! Measures how long a client waits for old messages, in a lobby of a million messages.
//!
//!     cargo bench --bench history
//!
//! The log is written by the server's own writer, and then read over TCP, one request after the other. Each request
//! must take only milliseconds, and the server must not read the log when it starts.

mod support;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use argh::FromArgs;
use plainchat::log::Log;
use plainchat::log::sqlite::SqliteLog;
use plainchat::model::{Entry, EventKind, FileContents, NewFile, Report, Scope};
use plainchat::protocol::{Digest, FileName, RoomName, Time};
use support::{
    CHATD, COMMON_WORD, Chatd, Client, Dice, PATIENCE, data, folder, grouped, quantile, sentence,
};

/// How long a search for old messages takes.
#[derive(FromArgs)]
struct Flags {
    /// a run of a second that only checks that all answers are complete
    #[argh(switch)]
    smoke: bool,

    /// how many messages the lobby has (default: 1000000)
    #[argh(option, default = "1_000_000")]
    messages: u64,

    /// how many times each request is made (default: 1000)
    #[argh(option, default = "1000")]
    requests: usize,

    /// passed by cargo to every benchmark
    #[argh(switch, hidden_help)]
    #[allow(dead_code)]
    bench: bool,
}

/// The number of messages in the lobby that contain the rare word. They are evenly spread.
const RARE: u64 = 10;
const RARE_WORD: &str = "xylophone";

/// Each message contains one of these words. The most expensive search is the one for both words, which finds nothing.
const HALVES: [&str; 2] = ["even", "odd"];

/// Number of files in the lobby.
const FILES: u64 = 1000;

/// How many times the server is started.
const STARTS: usize = 20;

/// The maximum number of entries that wait for the writer while the log is filled.
const WAITING_MAX: u64 = 10_000;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    support::exit("history", measure(&argh::from_env()))
}

fn measure(flags: &Flags) -> Result<()> {
    let (messages, requests) = if flags.smoke {
        (20_000, 20)
    } else {
        (flags.messages, flags.requests)
    };
    let folder = folder()?;
    let begun = Instant::now();
    let last_id = fill(folder.path(), messages)?;
    let bytes = std::fs::metadata(folder.path().join("chat.db"))?.len();
    println!(
        "{} messages and {} files, {} MiB, written in {:.1} s",
        grouped(messages),
        grouped(FILES),
        bytes >> 20,
        begun.elapsed().as_secs_f64()
    );
    println!("| in ms | median | p99 |");
    println!("|---|--:|--:|");
    let mut starts = Vec::new();
    let mut read = 0;
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut chatd = Chatd::spawn(CHATD, &data(folder.path()))?;
        starts.push(begun.elapsed());
        read = bytes_read(chatd.id())?;
        chatd.signal(rustix::process::Signal::TERM);
        chatd.wait(PATIENCE);
    }
    tell(
        &format!("start to `listening` ({} KiB read)", read >> 10),
        &mut starts,
    );

    let chatd = Chatd::spawn(CHATD, &data(folder.path()))?;
    let mut client = Client::connect(chatd.address)?;
    let mut dice = Dice::new(5002);
    // An id around the middle that is different each time, so that more than one page of the database is read.
    let mut middle = || last_id / 4 + dice.below(last_id / 2);
    let rare = usize::try_from(RARE)?;
    time(&mut client, requests, 50, || "HISTORY 50".into())?;
    time(&mut client, requests, 50, || {
        format!("HISTORY 50 before {}", middle())
    })?;
    time(&mut client, requests, rare, || {
        format!("SEARCH {RARE_WORD}")
    })?;
    time(&mut client, requests, 100, || {
        format!("SEARCH {COMMON_WORD}")
    })?;
    time(&mut client, (requests / 10).max(1), 0, || {
        format!("SEARCH {}", HALVES.join(" "))
    })?;
    time(&mut client, requests, 100, || {
        format!("JOIN #lobby {}", last_id - 100)
    })?;
    time(&mut client, requests, usize::try_from(FILES)?, || {
        "FILES".into()
    })?;
    Ok(())
}

/// Makes the request `requests` times, and prints how long that took. Each reply must have the expected number of
/// `PAST` lines.
fn time(
    client: &mut Client,
    requests: usize,
    past: usize,
    mut request: impl FnMut() -> String,
) -> Result<()> {
    let mut times = Vec::with_capacity(requests);
    let mut name = String::new();
    for _ in 0..requests {
        name = request();
        let (reply, found, took) = client.ask(&name)?;
        if found != past {
            return Err(format!("{name}: {found} events instead of {past}, then {reply}").into());
        }
        times.push(took);
        if name.starts_with("JOIN") {
            client.ask("PART")?;
        }
    }
    tell(&format!("`{name}`, {past} lines"), &mut times);
    Ok(())
}

fn tell(name: &str, times: &mut [Duration]) {
    let ms = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1000.0;
    let (median, p99) = (quantile(times, 0.5), quantile(times, 0.99));
    println!("| {name} | {:.2} | {:.2} |", ms(median), ms(p99));
}

/// Stores `messages` messages, with files among them, through the log's own writer. Returns the last id.
fn fill(folder: &Path, messages: u64) -> Result<u64> {
    let (tell, told) = channel();
    let sink = move |batch: Vec<Report>| {
        for applied in batch.into_iter().filter_map(Report::applied) {
            let _ = tell.send(applied.outcome); // the receiver may be gone
        }
    };
    let log = SqliteLog::open(folder, Box::new(sink))?;
    let lobby = Arc::new(RoomName::parse("#lobby")?);
    let mut dice = Dice::new(5002);
    let mut last_id = 0;
    let entries = messages + FILES;
    for n in 0..entries + WAITING_MAX {
        if n < entries {
            let kind = match n % (entries / FILES) {
                0 => file(n)?,
                _ => EventKind::Msg,
            };
            let half = HALVES
                .get(usize::from(n % 2 == 1))
                .copied()
                .unwrap_or_default();
            let rare = match n % (entries / RARE) {
                1 => RARE_WORD,
                _ => "",
            };
            let author = format!("speaker{}", n % 50);
            let text = match kind {
                EventKind::Msg => format!("{} {half} {rare}", sentence(&mut dice)),
                _ => String::new(),
            };
            let entry = Entry::new(Scope::Room(lobby.clone()), kind, &author, &text);
            log.append(entry.into(), None, Time(1_700_000_000_000 + n));
        }
        if n >= WAITING_MAX {
            let outcome = told.recv_timeout(PATIENCE)?;
            let (id, _) = outcome.map_err(|code| format!("it was not kept: {code:?}"))?;
            last_id = id.ok_or("it has no id")?.get();
        }
    }
    Ok(last_id)
}

fn file(n: u64) -> Result<EventKind> {
    let name = FileName::parse(&format!("file{n}.txt"))?;
    let mut sha256 = [0; 32];
    for (byte, part) in sha256.iter_mut().zip(n.to_le_bytes()) {
        *byte = part;
    }
    let contents = Some(FileContents {
        length: n,
        sha256: Digest(sha256),
    });
    Ok(EventKind::File(Box::new(NewFile { name, contents })))
}

/// Returns how many bytes a process has read from files and sockets since it started.
fn bytes_read(pid: u32) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    Ok(read
        .ok_or("the system does not count what is read")?
        .parse()?)
}
