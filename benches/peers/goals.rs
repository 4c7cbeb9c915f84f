//! The goals that were set before the server existed, and how far each has been reached.

use crate::server::Kind::{self, *};
use crate::table::{self, Results};

struct Goal {
    work: &'static str,
    column: &'static str,
    ours: Kind,
    /// The marks. All of them must be reached.
    marks: &'static [Mark],
}

/// What a figure must reach.
enum Mark {
    /// At least this many times the figure of the other server.
    Times(f64, Kind),
    /// At least this many times the best figure of these servers.
    TimesBest(f64, &'static [Kind]),
    /// At most this many times the figure of the other server, because the figure is a cost.
    Costs(f64, Kind),
    /// At most this much.
    UpTo(f64),
}

use Mark::{Costs, Times, TimesBest, UpTo};

/// The factor by which a figure that must be "no worse" may be worse. Two runs of the same server differ by that
/// much.
const NO_WORSE: f64 = 0.85;

const GOALS: &[Goal] = &[
    goal(
        "1 to 1000, log on disk",
        table::ONE_TO_1000[0].name,
        Disk,
        &[Times(7.0, Nats), Times(6.0, Redis)],
    ),
    goal(
        "1 to 1000",
        table::ONE_TO_1000[0].name,
        Memory,
        &[Times(0.5, Floor)],
    ),
    goal(
        "1 to 1000, clients of IRC",
        table::ONE_TO_1000[0].name,
        ByIrc,
        &[Times(0.25, Memory)],
    ),
    goal(
        "1 to 100, log on disk",
        table::ONE_TO_100[0].name,
        Disk,
        &[Times(2.0, Nats), Times(1.0, Redis)],
    ),
    goal(
        "1 to 100",
        table::ONE_TO_100[0].name,
        Memory,
        &[Times(0.5, Floor)],
    ),
    goal(
        "100 senders and readers",
        table::ALL_TALK[0].name,
        Memory,
        &[Times(0.5, Floor), Times(1.0, Ncat)],
    ),
    goal(
        "10 to 10",
        table::TEN_TO_TEN[0].name,
        Memory,
        &[Times(3.0, Redis), Times(4.0, Nats)],
    ),
    goal(
        "one message at a time to 100",
        table::ONE_AT_A_TIME[0].name,
        Memory,
        &[TimesBest(NO_WORSE, &[Redis, Nats, Inspircd, Ngircd, Ncat])],
    ),
    goal(
        "1000 messages a second to 100: p50",
        table::LATENCY[0].name,
        Memory,
        &[Costs(1.0 / NO_WORSE, Redis)],
    ),
    goal(
        "the same: p99",
        table::LATENCY[1].name,
        Memory,
        &[Costs(1.0 / NO_WORSE, Redis)],
    ),
    goal(
        "memory of an idle member, of 10,000",
        table::MEMBERS[0].name,
        Memory,
        &[UpTo(1024.0)],
    ),
    goal(
        "10,000 connect",
        table::MEMBERS[1].name,
        Memory,
        &[Costs(1.5, Redis)],
    ),
    goal(
        "visits",
        table::VISITS[0].name,
        Memory,
        &[Times(NO_WORSE, Redis)],
    ),
    goal(
        "download: CPU",
        table::DOWNLOAD[0].name,
        Disk,
        &[Costs(1.1, Nginx)],
    ),
    goal(
        "upload, hashed and synced: CPU",
        table::UPLOAD[0].name,
        Disk,
        &[Costs(1.25, Nc)],
    ),
    goal(
        "saved per second, 500 outstanding",
        table::KEPT[0].name,
        Disk,
        &[Times(1.0, JetStream)],
    ),
];

const fn goal(
    work: &'static str,
    column: &'static str,
    ours: Kind,
    marks: &'static [Mark],
) -> Goal {
    Goal {
        work,
        column,
        ours,
        marks,
    }
}

/// Prints the goals for which something was measured.
pub fn print(results: &Results) {
    println!("\n| goal | of | at least | reached | |");
    println!("|---|---|--:|--:|---|");
    for goal in GOALS {
        let Some(ours) = results.median(goal.column, goal.ours) else {
            continue;
        };
        for mark in goal.marks {
            let of = |kind: Kind| {
                results
                    .median(goal.column, kind)
                    .map(|theirs| (kind.name(), theirs))
            };
            let (factor, theirs, is_cost) = match mark {
                Times(factor, kind) => (*factor, of(*kind), false),
                TimesBest(factor, kinds) => {
                    let all = kinds.iter().filter_map(|kind| of(*kind));
                    (*factor, all.max_by(|a, b| a.1.total_cmp(&b.1)), false)
                }
                Costs(factor, kind) => (*factor, of(*kind), true),
                UpTo(bytes) => (1.0, Some(("1024 bytes", *bytes)), true),
            };
            let Some((name, theirs)) = theirs else {
                continue;
            };
            let ratio = ours / theirs;
            let (sign, is_reached) = if is_cost {
                ("≤ ", ratio <= factor)
            } else {
                ("", ratio >= factor)
            };
            let verdict = if is_reached { "yes" } else { "**no**" };
            println!(
                "| {} | {name} | {sign}{factor:.2} × | {ratio:.2} × | {verdict} |",
                goal.work
            );
        }
    }
}
