//! Compares what clients were told with what the servers have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::clients::{Habit, Memory, stall};

/// An event in the history of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub line: String,
}

impl Event {
    /// Returns the text of a message, or the name of a file.
    fn text(&self) -> Option<&str> {
        let mut words = self.line.splitn(7, ' ');
        match (words.nth(3), words.nth(2)) {
            (Some("MSG"), text) => text,
            (Some("FILE"), text) => text?.rsplit(' ').next(),
            _ => None,
        }
    }
}

/// What was found, in one round or in all.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub sent: usize,
    pub acknowledged: usize,
    pub refused: usize,
    pub files: usize,
    pub connections: usize,
    /// What must be zero.
    pub faults: BTreeMap<&'static str, usize>,
    /// What was wrong, in words.
    pub details: Vec<String>,
    /// For each kind of fault, the longest time for which no client got an answer, and for which one client got none.
    pub stalls: BTreeMap<String, (Duration, Duration)>,
}

/// Everything that must be zero.
pub const KINDS: [&str; 9] = [
    "acknowledged and lost",
    "acknowledged with another id",
    "kept twice",
    "out of order",
    "refused but kept",
    "two holders of a nick",
    "histories differ",
    "shown twice or not at all",
    "files lost",
];

impl Figures {
    pub fn found(&mut self, kind: usize, what: String) {
        *self.faults.entry(KINDS[kind]).or_default() += 1;
        let details = self.details.iter();
        if details
            .filter(|known| known.starts_with(KINDS[kind]))
            .count()
            < 5
        {
            self.details.push(format!("{}: {what}", KINDS[kind]));
        }
    }

    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.files += other.files;
        self.connections += other.connections;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.details.extend(other.details);
        for (fault, (all, one)) in other.stalls {
            let stall = self.stalls.entry(fault).or_default();
            *stall = (stall.0.max(all), stall.1.max(one));
        }
    }

    /// Compares the histories of a room with what its clients were told.
    pub fn judge(&mut self, fault: &str, histories: &[Vec<Event>], clients: &[&Memory]) {
        let history = &histories[0];
        for (n, other) in histories.iter().enumerate().skip(1) {
            if other != history {
                let at = history.iter().zip(other).position(|(one, two)| one != two);
                let (one, two) = (history.len(), other.len());
                let what = format!("{one} events and {two} on server {n}, different at {at:?}");
                self.found(6, what);
            }
        }
        let mut kept: HashMap<&str, Vec<u64>> = HashMap::new();
        for event in history {
            if let Some(text) = event.text() {
                kept.entry(text).or_default().push(event.id);
            }
        }
        for client in clients {
            self.judge_client(client, history, &kept);
        }
        let writers = clients.iter();
        let writers = writers.filter(|client| matches!(client.plan.habit, Habit::Writes(_)));
        let times = writers
            .clone()
            .flat_map(|client| client.acknowledged_at.iter().copied());
        let one = writers.clone().map(|client| client.stall()).max();
        let stalls = (stall(times), one.unwrap_or_default());
        let mut former = Self::default();
        former.stalls.insert(fault.to_owned(), stalls);
        self.add(former);
    }

    fn judge_client(&mut self, client: &Memory, history: &[Event], kept: &HashMap<&str, Vec<u64>>) {
        let empty = Vec::new();
        self.connections += client.connections.len();
        for message in &client.messages {
            let kept = kept.get(&*message.text).unwrap_or(&empty);
            self.sent += 1;
            self.acknowledged += usize::from(!message.ids.is_empty());
            self.refused += usize::from(message.refused > 0);
            match (&kept[..], &message.ids[..]) {
                ([], [_, ..]) => self.found(0, format!("{message:?}")),
                ([id], ids) if ids.iter().any(|other| other != id) => {
                    self.found(1, format!("{message:?} is {id}"));
                }
                ([_, _, ..], _) => self.found(2, format!("{message:?} is {kept:?}")),
                ([id], []) if message.refused == message.sent => {
                    self.found(4, format!("{message:?} is {id}"));
                }
                _ => {}
            }
        }
        for sent in &client.connections {
            let texts = sent.iter().map(|number| &*client.messages[*number].text);
            let ids: Vec<_> = texts.filter_map(|text| kept.get(text)?.first()).collect();
            if let Some(two) = ids.windows(2).find(|two| two[0] >= two[1]) {
                self.found(3, format!("{}: {two:?}", client.plan.name));
            }
        }
        for wrong in &client.wrong {
            self.found(7, wrong.clone());
        }
        if let Some(last) = client.seen.last()
            && client.plan.habit != Habit::Holds
        {
            let shown: HashSet<_> = client.seen.iter().collect();
            let all = history.iter().filter(|event| event.id <= *last);
            let missing: Vec<_> = all.clone().filter(|e| !shown.contains(&e.id)).collect();
            if missing.len() + shown.len() != all.count() || !missing.is_empty() {
                let (count, name) = (missing.len(), &client.plan.name);
                let first = missing.first();
                let message = first.and_then(|event| {
                    let mut all = client.messages.iter();
                    all.find(|message| Some(&*message.text) == event.text())
                });
                let what = format!("{name}: {count}, the first is {first:?}, {message:?}");
                self.found(7, what);
            }
        }
    }

    /// Checks that nobody has said anything under a nick after somebody else has.
    pub fn judge_holders(&mut self, history: &[Event]) {
        let mut over: Vec<&str> = Vec::new();
        for text in history.iter().filter_map(Event::text) {
            let holder = text.rsplit_once('.').map_or(text, |(holder, _)| holder);
            if over.last() == Some(&holder) {
                continue;
            }
            if over.contains(&holder) {
                self.found(5, format!("{text}, after others had the nick"));
            }
            over.push(holder);
        }
    }

    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            acknowledged,
            refused,
            files,
            connections,
            ..
        } = self;
        writeln!(
            f,
            "{sent} sent over {connections} connections, {acknowledged} acknowledged, {refused} refused, {files} files"
        )?;
        for kind in KINDS {
            let count = self.faults.get(kind).copied().unwrap_or_default();
            write!(f, "{kind}: {count}; ")?;
        }
        for (fault, (all, one)) in &self.stalls {
            write!(f, "\n{fault}: no answer for {all:.1?}, for one {one:.1?}")?;
        }
        for what in &self.details {
            write!(f, "\n{what}")?;
        }
        Ok(())
    }
}
