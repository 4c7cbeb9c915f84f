//! Collects the figures and prints them as tables.

use std::collections::BTreeMap;

use crate::server::Kind;
use crate::support::{grouped, quantile};

/// A figure of each server.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Millions,
    Thousands,
    Whole,
    Micros,
    Seconds,
}

/// The two figures of one measurement.
pub type Pair = [Column; 2];

const fn pair(first: &'static str, a: Unit, second: &'static str, b: Unit) -> Pair {
    [
        Column {
            name: first,
            unit: a,
        },
        Column {
            name: second,
            unit: b,
        },
    ]
}

use Unit::{Micros, Millions, Seconds, Thousands, Whole};

pub const ONE_TO_100: Pair = pair("1 to 100", Millions, "1 to 100, per second", Millions);
pub const ONE_TO_1000: Pair = pair("1 to 1000", Millions, "1 to 1000, per second", Millions);
pub const TEN_TO_TEN: Pair = pair("10 to 10", Millions, "10 to 10, per second", Millions);
pub const ALL_TALK: Pair = pair(
    "100 senders and readers",
    Millions,
    "100 senders and readers, per second",
    Millions,
);
pub const ONE_AT_A_TIME: Pair = pair(
    "one at a time to 100",
    Thousands,
    "one at a time to 100, per second",
    Thousands,
);
pub const MESSAGES: Pair = pair("messages", Millions, "messages, per second", Millions);
pub const WITH_TAG: Pair = pair(
    "messages with a tag",
    Millions,
    "messages with a tag, per second",
    Millions,
);
pub const EDITS: Pair = pair("edits", Millions, "edits, per second", Millions);
pub const REACTIONS: Pair = pair("reactions", Millions, "reactions, per second", Millions);
pub const LATENCY: Pair = pair("p50, µs", Micros, "p99, µs", Micros);
pub const MEMBERS: Pair = pair(
    "bytes per member",
    Whole,
    "seconds until all are connected",
    Seconds,
);
pub const VISITS: Pair = pair("visits per CPU-second", Whole, "visits per second", Whole);
pub const KEPT: Pair = pair("saved per second", Whole, "saved per CPU-second", Whole);
pub const DOWNLOAD: Pair = pair(
    "download, CPU-seconds",
    Seconds,
    "download, seconds",
    Seconds,
);
pub const UPLOAD: Pair = pair("upload, CPU-seconds", Seconds, "upload, seconds", Seconds);

#[derive(Default)]
pub struct Results {
    figures: BTreeMap<(&'static str, Kind), Vec<f64>>,
    /// The columns of the current part.
    columns: Vec<Column>,
    kinds: Vec<Kind>,
    missing: Vec<Kind>,
}

impl Results {
    pub fn add(&mut self, column: &Column, kind: Kind, figure: f64) {
        self.figures
            .entry((column.name, kind))
            .or_default()
            .push(figure);
        if !self.columns.iter().any(|known| known.name == column.name) {
            self.columns.push(*column);
        }
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }

    /// Returns whether anything was measured of the server `kind`.
    pub fn has(&self, kind: Kind) -> bool {
        self.figures.keys().any(|(_, of)| *of == kind)
    }

    pub fn is_missing(&mut self, kind: Kind) {
        if !self.missing.contains(&kind) {
            self.missing.push(kind);
        }
    }

    /// Returns the median of the figures, if there are any.
    pub fn median(&self, column: &str, kind: Kind) -> Option<f64> {
        let figures = self
            .figures
            .iter()
            .find(|((name, of), _)| *name == column && *of == kind);
        quantile(&mut figures?.1.clone(), 0.5)
    }

    /// Prints the figures of the part that has ended: one row for each server.
    pub fn print_part(&mut self, title: &str) {
        let columns = std::mem::take(&mut self.columns);
        let kinds = std::mem::take(&mut self.kinds);
        println!("\n{title}:\n");
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        println!("| | {} |", names.join(" | "));
        println!("|---|{}", "--:|".repeat(columns.len()));
        for kind in kinds {
            let figures = columns
                .iter()
                .map(|column| match self.median(column.name, kind) {
                    Some(figure) => column.unit.tell(figure),
                    None => "–".to_owned(),
                });
            println!(
                "| {} | {} |",
                kind.name(),
                figures.collect::<Vec<_>>().join(" | ")
            );
        }
    }

    pub fn print_missing(&self) {
        for kind in &self.missing {
            println!(
                "\n{} is not installed, and left out.",
                kind.program().unwrap_or_default()
            );
        }
    }
}

impl Unit {
    fn tell(self, figure: f64) -> String {
        match self {
            Self::Millions => format!("{:.1} M", figure / 1e6),
            Self::Thousands => format!("{:.0} k", figure / 1e3),
            Self::Whole => grouped(figure as u64),
            Self::Micros => format!("{:.0}", figure * 1e6),
            Self::Seconds => format!("{figure:.2}"),
        }
    }
}
