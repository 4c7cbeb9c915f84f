//! Stores hooks. A hook is a token with which a tool can send messages to one room under one nick, and do nothing
//! else.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::buckets::Bucket;
use super::{AccountResult, Accounts, has_space, json, password, token_key};
use crate::config::fixed::HOOKS_MAX;
use crate::model::{Hook, Secret, StorageError};
use crate::protocol::{Digest, Nick, RoomName, Time};

/// A hook as it is stored, under the key `<casefolded nick> <casefolded label>`.
#[derive(Debug, Serialize, Deserialize)]
struct StoredHook {
    nick: String,
    label: String,
    room: String,
    /// The digest of the token, which has 134 random bits.
    sha256: String,
    made: u64,
}

impl StoredHook {
    fn hook(&self) -> Option<Hook> {
        Some(Hook {
            nick: Nick::parse(&self.nick).ok()?,
            label: Nick::parse(&self.label).ok()?,
            room: RoomName::parse(&self.room).ok()?,
            sha256: Digest::parse(&self.sha256)?,
            made: Time(self.made),
        })
    }
}

impl Accounts {
    /// Reads the hooks whose keys begin with `prefix`.
    pub(super) fn stored_hooks(&self, prefix: &str) -> Result<Vec<Hook>, StorageError> {
        let hooks = self.all::<StoredHook>(Bucket::Hooks, prefix)?.into_iter();
        Ok(hooks.filter_map(|(_, stored)| stored.hook()).collect())
    }

    /// Creates a hook, unless the nick has been unregistered since the request was made.
    pub(super) fn new_hook(
        &self,
        nick: &Nick,
        label: &Nick,
        room: &RoomName,
        now: Time,
    ) -> Result<AccountResult, StorageError> {
        let secret = Secret::new(&password::random_path()?);
        let hook = Hook {
            nick: nick.clone(),
            label: label.clone(),
            room: room.clone(),
            sha256: Digest(Sha256::digest(secret.expose()).into()),
            made: now,
        };
        let stored = StoredHook {
            nick: nick.as_str().into(),
            label: label.as_str().into(),
            room: room.as_str().into(),
            sha256: hook.sha256.to_string(),
            made: now.0,
        };
        let (form, key) = (nick.casefolded().to_owned(), token_key(nick, label));
        self.edit(move |values| {
            if values.get(Bucket::Accounts, &form)?.is_none() {
                return Ok(AccountResult::Wrong);
            }
            if !has_space(values, (Bucket::Hooks, HOOKS_MAX), &form, &key)? {
                return Ok(AccountResult::No);
            }
            values.put(Bucket::Hooks, &key, Some(&json(&stored)))?;
            Ok(AccountResult::NewHook(hook.clone(), secret.clone()))
        })
    }

    /// Returns whether the store still contains this hook unchanged. It may have been revoked since it was found in
    /// memory.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_hook(&self, hook: &Hook) -> Result<bool, StorageError> {
        let key = token_key(&hook.nick, &hook.label);
        let stored = self.get::<StoredHook>(Bucket::Hooks, &key)?;
        Ok(stored.is_some_and(|stored| stored.sha256 == hook.sha256.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::AccountQuery;
    use super::super::buckets::MemoryBuckets;
    use super::*;

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn accounts(registered: &[&str]) -> Accounts {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        for who in registered {
            let (nick, password) = (nick(who), Secret::new("my secret"));
            ask(&accounts, AccountQuery::Register { nick, password });
        }
        accounts
    }

    fn ask(accounts: &Accounts, ask: AccountQuery) -> AccountResult {
        accounts.run(&ask, Time(1)).expect("it is in memory")
    }

    fn make(accounts: &Accounts, who: &str, label: &str) -> Option<(Hook, Secret)> {
        let answer = ask(
            accounts,
            AccountQuery::NewHook {
                nick: nick(who),
                label: nick(label),
                room: RoomName::parse("#ops").expect("it is a room"),
            },
        );
        match answer {
            AccountResult::NewHook(hook, token) => Some((hook, token)),
            _ => None,
        }
    }

    fn labels(accounts: &Accounts, who: &str) -> Vec<String> {
        let AccountResult::Hooks(hooks) = ask(accounts, AccountQuery::Hooks { nick: nick(who) })
        else {
            panic!("they are listed");
        };
        hooks.iter().map(|hook| hook.label.to_string()).collect()
    }

    #[test]
    fn a_hook_is_kept_as_a_digest_until_it_is_revoked() {
        let accounts = accounts(&["alice", "al"]);
        let (hook, token) = make(&accounts, "Alice", "CI").expect("there is space");
        let token = token.expose();
        assert_eq!(token.len(), 26);
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
        let kept = accounts.buckets.all(Bucket::Hooks, "").expect("in memory");
        assert!(!kept[0].1.contains(token), "it is kept as a digest");
        let stored = accounts.directory().expect("in memory").hooks;
        assert_eq!(stored, std::slice::from_ref(&hook));
        assert!(accounts.has_hook(&hook).expect("in memory"));
        make(&accounts, "al", "ci").expect("another nick has its own labels");
        assert_eq!(labels(&accounts, "alice"), ["CI"]);
        let revoke = || AccountQuery::Revoke {
            nick: nick("alice"),
            label: nick("ci"),
        };
        assert!(matches!(ask(&accounts, revoke()), AccountResult::Done));
        assert!(matches!(ask(&accounts, revoke()), AccountResult::No));
        assert!(!accounts.has_hook(&hook).expect("in memory"));
        let (again, _) = make(&accounts, "alice", "ci").expect("the label is free");
        assert!(accounts.has_hook(&again).expect("in memory"));
        assert!(
            !accounts
                .has_hook(&hook)
                .expect("the old token stays revoked")
        );
    }

    #[test]
    fn a_label_names_one_token_or_hook_and_their_number_is_limited() {
        let accounts = accounts(&["alice"]);
        let token = |label| AccountQuery::NewToken {
            nick: nick("alice"),
            label: nick(label),
        };
        assert!(matches!(
            ask(&accounts, token("ci")),
            AccountResult::NewToken(_)
        ));
        assert!(make(&accounts, "alice", "ci").is_none());
        for n in 0..=HOOKS_MAX {
            let made = make(&accounts, "alice", &format!("hook{n}"));
            assert_eq!(made.is_some(), n < HOOKS_MAX);
        }
        assert!(matches!(ask(&accounts, token("hook1")), AccountResult::No));
        assert!(
            make(&accounts, "bob", "ci").is_none(),
            "bob is not registered"
        );
    }

    #[test]
    fn an_unregistered_nick_loses_its_hooks_and_no_other_does() {
        let accounts = accounts(&["al", "alice"]);
        let (gone, _) = make(&accounts, "al", "ci").expect("there is space");
        let (stays, _) = make(&accounts, "alice", "ci").expect("there is space");
        ask(&accounts, AccountQuery::Unregister { nick: nick("al") });
        assert!(!accounts.has_hook(&gone).expect("in memory"));
        assert!(accounts.has_hook(&stays).expect("in memory"));
    }
}
