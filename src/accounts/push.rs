//! Stores which browsers are notified while the page is closed, and the key with which push services recognize this
//! server.
//!
//! A browser belongs to one nick. It is forgotten when the password of the nick is changed, since a stranger who knew
//! the old password may have added it.

use serde::{Deserialize, Serialize};

use super::buckets::{Bucket, Values};
use super::{Accounts, json, read};
use crate::config::fixed::PUSH_MAX;
use crate::model::{IgnoredNick, StorageError, Subscription};
use crate::protocol::{Digest, Nick, Time};

/// A browser as it is stored, under the key `<casefolded nick> <digest of its address>`.
#[derive(Debug, Serialize, Deserialize)]
struct StoredBrowser {
    nick: String,
    endpoint: String,
    key: Vec<u8>,
    secret: [u8; 16],
    ignored: Vec<IgnoredNick>,
    made: u64,
}

/// The name under which [`Bucket::Server`] stores the server's push key.
const OWN_KEY: &str = "push-key";

impl Accounts {
    /// Reads all browsers.
    pub(super) fn stored_subscriptions(&self) -> Result<Vec<Subscription>, StorageError> {
        let rows = self.all::<StoredBrowser>(Bucket::Push, "")?.into_iter();
        Ok(rows
            .filter_map(|(key, stored)| {
                Some(Subscription {
                    nick: Nick::parse(&stored.nick).ok()?,
                    endpoint: stored.endpoint.into(),
                    id: Digest::parse(key.rsplit(' ').next()?)?,
                    key: stored.key.into(),
                    secret: stored.secret,
                    ignored: stored.ignored.into(),
                    made: Time(stored.made),
                })
            })
            .collect())
    }

    /// Stores a browser. `former` is the nick that it belonged to before. If the new nick has too many browsers, the
    /// oldest are removed. Returns `None` if the nick is not registered, and otherwise the removed browsers.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn subscribe(
        &self,
        new: &Subscription,
        former: Option<&Nick>,
    ) -> Result<Option<Vec<Digest>>, StorageError> {
        let stored = StoredBrowser {
            nick: new.nick.as_str().into(),
            endpoint: new.endpoint.as_ref().into(),
            key: new.key.to_vec(),
            secret: new.secret,
            ignored: new.ignored.to_vec(),
            made: new.made.0,
        };
        let (form, place) = (new.nick.casefolded().to_owned(), place(&new.nick, &new.id));
        let former = former.map(|nick| self::place(nick, &new.id));
        self.edit(move |values| {
            if values.get(Bucket::Accounts, &form)?.is_none() {
                return Ok(None);
            }
            if let Some(former) = &former {
                values.put(Bucket::Push, former, None)?;
            }
            values.put(Bucket::Push, &place, Some(&json(&stored)))?;
            let mut others: Vec<_> = values
                .all(Bucket::Push, &format!("{form} "))?
                .into_iter()
                .filter(|(key, _)| *key != place)
                .map(|(key, text)| {
                    let made = read::<StoredBrowser>(Bucket::Push, &key, &text);
                    (made.map_or(0, |stored| stored.made), key)
                })
                .collect();
            others.sort();
            let surplus = (others.len() + 1).saturating_sub(PUSH_MAX);
            let mut removed = Vec::new();
            for (_, key) in others.into_iter().take(surplus) {
                values.put(Bucket::Push, &key, None)?;
                removed.extend(key.rsplit(' ').next().and_then(Digest::parse));
            }
            Ok(Some(removed))
        })
    }

    /// Removes a browser.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub fn unsubscribe(&self, nick: &Nick, id: &Digest) -> Result<(), StorageError> {
        self.put::<StoredBrowser>(Bucket::Push, &place(nick, id), None)
    }

    /// Returns the key with which the server signs what it sends to push services. If there is none, stores `new`.
    ///
    /// # Errors
    /// When it can neither be read nor stored.
    pub fn push_key(&self, new: Vec<u8>) -> Result<Vec<u8>, StorageError> {
        self.edit(move |values| {
            let known = values.get(Bucket::Server, OWN_KEY)?;
            if let Some(known) =
                known.and_then(|text| read::<Vec<u8>>(Bucket::Server, OWN_KEY, &text))
            {
                return Ok(known);
            }
            values.put(Bucket::Server, OWN_KEY, Some(&json(&new)))?;
            Ok(new.clone())
        })
    }
}

/// Removes all browsers of a casefolded nick.
pub(super) fn forget(values: &mut dyn Values, form: &str) -> Result<(), StorageError> {
    for (key, _) in values.all(Bucket::Push, &format!("{form} "))? {
        values.put(Bucket::Push, &key, None)?;
    }
    Ok(())
}

fn place(nick: &Nick, id: &Digest) -> String {
    format!("{} {id}", nick.casefolded())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::buckets::MemoryBuckets;
    use super::super::{AccountQuery, AccountResult};
    use super::*;
    use crate::model::Secret;

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn register(accounts: &Accounts, who: &str) {
        let (nick, password) = (nick(who), Secret::new("my secret"));
        let done = accounts.run(&AccountQuery::Register { nick, password }, Time(1));
        assert!(matches!(done, Ok(AccountResult::Done)));
    }

    fn browser(who: &str, n: u8) -> Subscription {
        Subscription {
            nick: nick(who),
            endpoint: format!("https://push.example/{n}").into(),
            id: Digest([n; 32]),
            key: vec![4; 65].into(),
            secret: [n; 16],
            ignored: vec![u64::MAX].into(),
            made: Time(u64::from(n)),
        }
    }

    fn stored(accounts: &Accounts) -> Vec<(String, u8)> {
        let all = accounts.directory().expect("in memory").subscriptions;
        let row = |one: &Subscription| (one.nick.as_str().to_owned(), one.secret[0]);
        all.iter().map(row).collect()
    }

    fn row(who: &str, n: u8) -> (String, u8) {
        (who.to_owned(), n)
    }

    #[test]
    fn a_browser_belongs_to_one_nick_until_the_password_changes_or_the_nick_is_given_up() {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        let add = |one: &Subscription, former: Option<&str>| {
            let former = former.map(nick);
            let added = accounts.subscribe(one, former.as_ref());
            added.expect("in memory")
        };
        assert_eq!(add(&browser("ann", 1), None), None, "ann is not registered");
        for who in ["ann", "anna", "bob"] {
            register(&accounts, who);
            assert_eq!(add(&browser(who, 1), None), Some(vec![]));
        }
        let all = accounts.directory().expect("in memory").subscriptions;
        assert_eq!(all[0], browser("ann", 1));
        add(&browser("bob", 2), Some("anna"));
        add(&browser("bob", 1), Some("anna"));
        assert_eq!(
            stored(&accounts),
            [row("ann", 1), row("bob", 1), row("bob", 2)]
        );
        accounts
            .unsubscribe(&nick("Bob"), &Digest([2; 32]))
            .expect("in memory");
        assert_eq!(stored(&accounts), [row("ann", 1), row("bob", 1)]);
        register(&accounts, "Ann");
        assert_eq!(stored(&accounts), [row("bob", 1)]);
        let nick = nick("bob");
        accounts
            .run(&AccountQuery::Unregister { nick }, Time(1))
            .expect("in memory");
        assert_eq!(stored(&accounts), []);
    }

    #[test]
    fn the_browsers_of_a_nick_are_limited_and_the_oldest_is_forgotten() {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        register(&accounts, "ann");
        let most = u8::try_from(PUSH_MAX).expect("a small number");
        for n in 1..=most {
            assert_eq!(
                accounts
                    .subscribe(&browser("ann", n), None)
                    .expect("in memory"),
                Some(vec![])
            );
        }
        let again = accounts
            .subscribe(&browser("ann", most), None)
            .expect("in memory");
        assert_eq!(again, Some(vec![]), "it is one of them");
        let one_more = accounts
            .subscribe(&browser("ann", most + 1), None)
            .expect("in memory");
        assert_eq!(one_more, Some(vec![Digest([1; 32])]));
        assert_eq!(stored(&accounts).len(), PUSH_MAX);
    }

    #[test]
    fn the_servers_key_is_made_once() {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        assert_eq!(accounts.push_key(vec![1]).expect("in memory"), [1]);
        assert_eq!(accounts.push_key(vec![2]).expect("in memory"), [1]);
    }
}
