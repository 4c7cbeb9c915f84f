//! Compares `chatd` with other servers on the same machine.
//!
//!     cargo bench --bench peers
//!
//! The installed servers are started, measured and stopped in turns, so that whatever else the machine does affects
//! all of them. Figures are per second of a server's processor time, because the clients share the processors with
//! the server. Servers that are not installed are named and left out.

mod cpu;
mod crowd;
mod dialect;
mod files;
mod floor;
mod goals;
mod keep;
mod room;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod talk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;
use files::Piece;
use rustix::process::{Resource, getrlimit, setrlimit};
use server::{Kind, Server};
use table::Results;
use talk::{Sends, Talk};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Costs of chatd, beside the servers that are installed.
#[derive(FromArgs)]
struct Flags {
    /// a run of seconds that only checks that nothing is lost
    #[argh(switch)]
    smoke: bool,

    /// how many times each is measured; the median counts (default: 5)
    #[argh(option, default = "5")]
    rounds: usize,

    /// how many seconds messages are sent in each measurement (default: 1)
    #[argh(option, default = "1.0")]
    seconds: f64,

    /// size of the transferred file in MiB (default: 4096)
    #[argh(option, default = "4096")]
    mib: u64,

    /// parts to run, separated by commas (default: talk,tags,latency,members,visits,kept,files); irc is one part of
    /// talk
    #[argh(option, default = "PARTS.join(\",\")")]
    only: String,

    /// another build of chatd, measured in turns with this one: what has a change cost?
    #[argh(option)]
    beside: Option<String>,

    /// run the floor server until killed
    #[argh(switch, hidden_help)]
    floor: bool,

    /// passed by cargo to every benchmark
    #[argh(switch, hidden_help)]
    #[allow(dead_code)]
    bench: bool,
}

const PARTS: [&str; 7] = [
    "talk", "tags", "latency", "members", "visits", "kept", "files",
];

/// How much is measured in each part.
struct Plan {
    rounds: usize,
    time: Duration,
    file_bytes: u64,
    /// Number of clients in the part `members`.
    crowd: usize,
    /// The factor by which rooms are made smaller.
    part: usize,
    is_smoke: bool,
}

fn main() -> ExitCode {
    let flags: Flags = argh::from_env();
    let result = if flags.floor {
        floor::serve().map_err(Into::into)
    } else {
        measure(&flags)
    };
    support::exit("peers", result)
}

fn measure(flags: &Flags) -> Result<()> {
    if let Some(other) = &flags.beside {
        server::OTHER_CHATD.get_or_init(|| other.clone());
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let plan = if flags.smoke {
        Plan {
            rounds: 1,
            time: Duration::from_millis(50),
            file_bytes: 8 << 20,
            crowd: 500,
            part: 10,
            is_smoke: true,
        }
    } else {
        Plan {
            rounds: flags.rounds.max(1),
            time: Duration::from_secs_f64(flags.seconds),
            file_bytes: flags.mib << 20,
            crowd: 10_000,
            part: 1,
            is_smoke: false,
        }
    };
    let mut results = Results::default();
    for part in flags.only.split(',') {
        let title = match part {
            "talk" => {
                talk(&plan, &mut results)?;
                "Deliveries per second of the server's processor time (CPU), and per second"
            }
            "irc" => {
                let talk = talk_of(1, 1000 / plan.part, 4000);
                let kinds = [Kind::Memory, Kind::ByIrc];
                in_turns(&plan, &mut results, table::ONE_TO_1000, &kinds, |server| {
                    talk::deliveries(server, talk, plan.time)
                })?;
                "Deliveries per second of the server's processor time (CPU), and per second, to clients of IRC"
            }
            "tags" => {
                tags(&plan, &mut results)?;
                "Deliveries of events from one client to 100 readers, per second of the server's processor time (CPU), and per second"
            }
            "latency" => {
                latency(&plan, &mut results)?;
                "Latency of 1000 messages a second to 100 readers"
            }
            "members" => {
                members(&plan, &mut results)?;
                "10,000 clients connect, and stay connected"
            }
            "visits" => {
                visits(&plan, &mut results)?;
                "Visits: connect, choose a name, send one message, disconnect"
            }
            "kept" => {
                kept(&plan, &mut results)?;
                "Messages saved, 500 outstanding"
            }
            "files" => {
                move_files(&plan, &mut results)?;
                "One large file"
            }
            _ => return Err(format!("there is no part {part}, only {}", PARTS.join(", ")).into()),
        };
        if !flags.smoke {
            results.print_part(title);
        }
    }
    if !flags.smoke {
        goals::print(&results);
    }
    results.print_missing();
    Ok(())
}

/// Measures each of the available servers in turns, `plan.rounds` times, and stores the results.
fn in_turns(
    plan: &Plan,
    results: &mut Results,
    columns: [table::Column; 2],
    kinds: &[Kind],
    mut run: impl FnMut(&Server) -> Result<[f64; 2]>,
) -> Result<()> {
    for _ in 0..plan.rounds {
        for kind in kinds
            .iter()
            .flat_map(|kind| [Some(*kind), kind.other_build()])
            .flatten()
        {
            if !kind.is_installed() {
                results.is_missing(kind);
                continue;
            }
            if plan.is_smoke && !kind.is_chatd() && results.has(kind) {
                continue; // once is enough to see that it can be measured
            }
            let figures = Server::start(kind, Path::new("/")).and_then(|server| run(&server));
            if kind == Kind::OtherByIrc && figures.is_err() {
                continue; // an older build does not know IRC
            }
            let figures =
                figures.map_err(|e| format!("{}, {}: {e}", columns[0].name, kind.name()))?;
            for (column, figure) in columns.iter().zip(figures) {
                results.add(column, kind, figure);
            }
        }
    }
    Ok(())
}

fn talk(plan: &Plan, results: &mut Results) -> Result<()> {
    use Kind::*;
    let all = [Memory, Disk, Floor, Redis, Nats, Inspircd, Ngircd, Ncat];
    // A thousand members are too many for select(2), and take long to join on the IRC servers.
    let large = [Memory, Disk, ByIrc, Floor, Redis, Nats];
    let part = plan.part;
    let talks: [(table::Pair, &[Kind], Talk); 5] = [
        (table::ONE_TO_100, &all, talk_of(1, 100 / part, 20_000)),
        (table::ONE_TO_1000, &large, talk_of(1, 1000 / part, 4000)),
        (table::TEN_TO_TEN, &all, talk_of(10, 10, 2000)),
        (table::ALL_TALK, &all, talk_of(100 / part, 0, 100)),
        (table::ONE_AT_A_TIME, &all, talk_of(1, 100 / part, 1)),
    ];
    for (columns, kinds, talk) in talks {
        in_turns(plan, results, columns, kinds, |server| {
            talk::deliveries(server, talk, plan.time)
        })?;
    }
    Ok(())
}

fn talk_of(speakers: usize, readers: usize, window: usize) -> Talk {
    Talk {
        speakers,
        readers,
        window,
        sends: Sends::Messages,
    }
}

fn tags(plan: &Plan, results: &mut Results) -> Result<()> {
    let kinds = [Kind::Memory, Kind::Tagged];
    for (columns, sends) in [
        (table::MESSAGES, Sends::Messages),
        (table::WITH_TAG, Sends::WithTag),
        (table::EDITS, Sends::Edits),
        (table::REACTIONS, Sends::Reactions),
    ] {
        let talk = Talk {
            sends,
            ..talk_of(1, 100 / plan.part, 2000)
        };
        in_turns(plan, results, columns, &kinds, |server| {
            talk::deliveries(server, talk, plan.time)
        })?;
    }
    Ok(())
}

fn latency(plan: &Plan, results: &mut Results) -> Result<()> {
    use Kind::*;
    let kinds = [Memory, Disk, Floor, Redis, Nats, Inspircd, Ngircd, Ncat];
    let (readers, time) = (100 / plan.part, plan.time);
    in_turns(plan, results, table::LATENCY, &kinds, |server| {
        talk::lateness(server, readers, 1000, time)
    })
}

fn members(plan: &Plan, results: &mut Results) -> Result<()> {
    use Kind::*;
    let kinds = [Memory, Disk, Floor, Redis, Nats];
    in_turns(plan, results, table::MEMBERS, &kinds, |server| {
        crowd::members(server, plan.crowd)
    })
}

fn visits(plan: &Plan, results: &mut Results) -> Result<()> {
    use Kind::*;
    let kinds = [Memory, Disk, Floor, Redis, Nats, Ngircd];
    in_turns(plan, results, table::VISITS, &kinds, |server| {
        crowd::visits(server, plan.time)
    })
}

fn kept(plan: &Plan, results: &mut Results) -> Result<()> {
    use Kind::*;
    let time = plan.time * 2;
    in_turns(plan, results, table::KEPT, &[Disk, JetStream], |server| {
        keep::kept(server, 500, time)
    })
}

fn move_files(plan: &Plan, results: &mut Results) -> Result<()> {
    let folder = support::folder()?;
    let mut piece = Piece::new();
    let length = plan.file_bytes;
    let mut add = |columns: table::Pair, kind: Kind, cost: [f64; 2]| {
        for (column, figure) in columns.iter().zip(cost) {
            results.add(column, kind, figure);
        }
    };
    // One file at a time is on the disk.
    for _ in 0..plan.rounds {
        let nc = files::nc_and_sha256sum(folder.path(), &mut piece, length)?;
        let server = Server::start(Kind::Disk, Path::new("/"))?;
        let (file, cost) = files::upload(&server, &mut piece, length)?;
        if let Some((sha256, _)) = nc.as_ref().filter(|(sha256, _)| *sha256 != file.sha256) {
            return Err(format!("chatd got {}, nc {sha256}", file.sha256).into());
        }
        add(table::UPLOAD, Kind::Disk, cost);
        add(
            table::DOWNLOAD,
            Kind::Disk,
            files::download(&server, &file, length)?,
        );
        if let Some((_, cost)) = nc {
            add(table::UPLOAD, Kind::Nc, cost);
        }
        if Kind::Nginx.is_installed() {
            let nginx = Server::start(Kind::Nginx, &server.folder().join("files"))?;
            add(
                table::DOWNLOAD,
                Kind::Nginx,
                files::get(&nginx, &file, length)?,
            );
        }
    }
    for kind in [Kind::Nginx, Kind::Nc] {
        if !kind.is_installed() {
            results.is_missing(kind);
        }
    }
    Ok(())
}
