//! The hooks in memory. Finds a hook by the digest of its token, limits the rate of its posts, and remembers unresolved
//! alerts.
//!
//! A hook in memory may have been revoked already. Only the account store knows for certain.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::config::fixed::{ALERTS_IN_ALL, ALERTS_PER_HOOK, HOOK_PACE, HOOKS_IN_ALL};
use crate::model::Hook;
use crate::protocol::{Digest, EventId, Nick};

/// The hooks of all nicks.
#[derive(Debug, Default)]
pub struct Hooks {
    by_digest: HashMap<Digest, Known>,
    /// The digest of each hook, by the casefolded nick and label.
    by_label: BTreeMap<(Box<str>, Box<str>), Digest>,
    alerts: Alerts,
}

#[derive(Debug)]
struct Known {
    hook: Hook,
    /// The time from which the hook has its full allowance of posts again; see [`crate::config::Rate`].
    used_up: Duration,
}

impl Hooks {
    /// Creates the table from the stored hooks.
    pub fn new(stored: Vec<Hook>) -> Self {
        let mut hooks = Self::default();
        for hook in stored {
            hooks.made(hook);
        }
        hooks
    }

    /// Returns whether the server has reached its maximum number of hooks.
    pub fn is_full(&self) -> bool {
        self.by_digest.len() >= HOOKS_IN_ALL
    }

    /// Adds a hook that has been stored.
    pub fn made(&mut self, hook: Hook) {
        self.revoked(&hook.nick, &hook.label);
        let digest = hook.sha256;
        self.by_label.insert(key(&hook.nick, &hook.label), digest);
        let used_up = Duration::ZERO;
        self.by_digest.insert(digest, Known { hook, used_up });
    }

    /// Removes the hook with this nick and label, if there is one.
    pub fn revoked(&mut self, nick: &Nick, label: &Nick) {
        if let Some(digest) = self.by_label.remove(&key(nick, label)) {
            self.by_digest.remove(&digest);
            self.alerts.forget_hook(&digest);
        }
    }

    /// Removes the hooks of a nick that is no longer registered.
    pub fn unregistered(&mut self, nick: &Nick) {
        let from = (nick.casefolded().into(), Box::default());
        let own = self.by_label.range(from..);
        let own = own.take_while(|((form, _), _)| **form == *nick.casefolded());
        let labels: Vec<_> = own.map(|(key, _)| key.clone()).collect();
        for key in labels {
            if let Some(digest) = self.by_label.remove(&key) {
                self.by_digest.remove(&digest);
                self.alerts.forget_hook(&digest);
            }
        }
    }

    /// Returns the hook whose token has the digest `digest`.
    pub fn find(&self, digest: &Digest) -> Option<&Hook> {
        self.by_digest.get(digest).map(|known| &known.hook)
    }

    /// Counts one post to a hook.
    ///
    /// # Errors
    /// When there were too many posts. The error is the time to wait.
    pub fn post(&mut self, digest: &Digest, now: Duration) -> Result<(), Duration> {
        let Some(known) = self.by_digest.get_mut(digest) else {
            return Ok(());
        };
        let wait = HOOK_PACE.wait(known.used_up, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        known.used_up = HOOK_PACE.once_more(known.used_up, now);
        Ok(())
    }

    /// Remembers the message that announced an alert.
    pub fn fired(&mut self, digest: &Digest, fingerprint: &str, message: EventId) {
        if self.by_digest.contains_key(digest) {
            self.alerts.add(*digest, fingerprint, message);
        }
    }

    /// Returns the message that announced an alert.
    pub fn alert(&self, digest: &Digest, fingerprint: &str) -> Option<EventId> {
        self.alerts.find(digest, fingerprint)
    }

    /// Forgets an alert, because it is resolved or its message has been deleted.
    pub fn resolved(&mut self, digest: &Digest, fingerprint: &str) {
        self.alerts.remove(digest, fingerprint);
    }
}

fn key(nick: &Nick, label: &Nick) -> (Box<str>, Box<str>) {
    (nick.casefolded().into(), label.casefolded().into())
}

/// The messages that announced alerts, oldest first for each hook. The number of alerts is bounded for each hook and
/// for all hooks together.
#[derive(Debug, Default)]
struct Alerts {
    by_hook: HashMap<Digest, VecDeque<(Box<str>, EventId)>>,
    /// The number of alerts of all hooks.
    count: usize,
}

impl Alerts {
    fn find(&self, digest: &Digest, fingerprint: &str) -> Option<EventId> {
        let alerts = self.by_hook.get(digest)?;
        let found = alerts.iter().find(|(known, _)| **known == *fingerprint);
        found.map(|(_, message)| *message)
    }

    fn add(&mut self, digest: Digest, fingerprint: &str, message: EventId) {
        self.remove(&digest, fingerprint);
        let own = self.by_hook.get(&digest).map_or(0, VecDeque::len);
        if own >= ALERTS_PER_HOOK {
            self.remove_oldest(digest);
        } else if self.count >= ALERTS_IN_ALL {
            // Remove the oldest alert of all hooks.
            let oldest = self.by_hook.iter();
            let oldest = oldest.min_by_key(|(_, alerts)| alerts.front().map(|(_, id)| *id));
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                self.remove_oldest(oldest);
            }
        }
        let alerts = self.by_hook.entry(digest).or_default();
        alerts.push_back((fingerprint.into(), message));
        self.count += 1;
    }

    fn remove_oldest(&mut self, digest: Digest) {
        if let Some(alerts) = self.by_hook.get_mut(&digest) {
            self.count -= usize::from(alerts.pop_front().is_some());
            if alerts.is_empty() {
                self.by_hook.remove(&digest);
            }
        }
    }

    fn remove(&mut self, digest: &Digest, fingerprint: &str) {
        if let Some(alerts) = self.by_hook.get_mut(digest) {
            let before = alerts.len();
            alerts.retain(|(known, _)| **known != *fingerprint);
            self.count -= before - alerts.len();
            if alerts.is_empty() {
                self.by_hook.remove(digest);
            }
        }
    }

    fn forget_hook(&mut self, digest: &Digest) {
        let alerts = self.by_hook.remove(digest);
        self.count -= alerts.map_or(0, |alerts| alerts.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{RoomName, Time};

    fn hook(nick: &str, label: &str, n: u8) -> Hook {
        Hook {
            nick: Nick::parse(nick).expect("it is a nick"),
            label: Nick::parse(label).expect("it is a label"),
            room: RoomName::parse("#ops").expect("it is a room"),
            sha256: Digest([n; 32]),
            made: Time(1),
        }
    }

    fn id(n: u64) -> EventId {
        EventId::new(n).expect("it is an id")
    }

    #[test]
    fn a_hook_is_found_until_it_is_revoked_or_its_nick_is_given_up() {
        let mut hooks = Hooks::new(vec![
            hook("ann", "ci", 1),
            hook("Ann", "cron", 2),
            hook("anna", "ci", 3),
        ]);
        let is_there = |hooks: &Hooks, n| hooks.find(&Digest([n; 32])).is_some();
        hooks.fired(&Digest([2; 32]), "a", id(1));
        hooks.revoked(&hook("ann", "CI", 1).nick, &hook("ann", "CI", 1).label);
        assert!(!is_there(&hooks, 1) && is_there(&hooks, 2));
        hooks.unregistered(&hook("ANN", "ci", 1).nick);
        assert!(!is_there(&hooks, 2) && is_there(&hooks, 3));
        assert_eq!(hooks.alerts.count, 0);
        hooks.fired(&Digest([2; 32]), "a", id(1));
        assert_eq!(hooks.alerts.count, 0, "that hook is gone");
    }

    #[test]
    fn posts_to_one_hook_are_paced_and_others_are_not_slowed() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let mut hooks = Hooks::new(vec![hook("ann", "a", 1), hook("ann", "b", 2)]);
        let start = Duration::from_secs(1000);
        let taken = (0..100).filter(|_| hooks.post(&one, start).is_ok()).count();
        assert_eq!(taken, HOOK_PACE.burst as usize);
        assert_eq!(hooks.post(&one, start), Err(HOOK_PACE.every));
        assert_eq!(hooks.post(&other, start), Ok(()));
        assert_eq!(hooks.post(&one, start + HOOK_PACE.every), Ok(()));
        assert!(hooks.post(&one, start + HOOK_PACE.every).is_err());
    }

    #[test]
    fn the_alerts_in_memory_are_bounded_for_a_hook_and_in_all() {
        let one = Digest([0; 32]);
        let mut alerts = Alerts::default();
        for n in 1..=ALERTS_PER_HOOK as u64 + 1 {
            alerts.add(one, &n.to_string(), id(n));
        }
        assert_eq!(alerts.count, ALERTS_PER_HOOK);
        assert_eq!(alerts.find(&one, "1"), None);
        assert_eq!(alerts.find(&one, "2"), Some(id(2)));
        alerts.add(one, "2", id(9999));
        assert_eq!(alerts.find(&one, "2"), Some(id(9999)), "it has fired again");
        assert_eq!(alerts.count, ALERTS_PER_HOOK);
        for n in 0..ALERTS_IN_ALL as u64 {
            let hook = Digest([u8::try_from(n % 100).expect("small") + 1; 32]);
            alerts.add(hook, &n.to_string(), id(10_000 + n));
        }
        assert_eq!(alerts.count, ALERTS_IN_ALL);
        assert_eq!(alerts.find(&one, "2"), None, "the oldest are forgotten");
        alerts.forget_hook(&Digest([5; 32]));
        assert_eq!(alerts.count, ALERTS_IN_ALL - ALERTS_IN_ALL / 100);
    }
}
