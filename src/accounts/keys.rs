//! Stores the keys with which ssh logs in. A key is a token that nobody types: it has a label, counts as a token, and is
//! revoked like one.
//!
//! A second bucket maps each key to its nicks, since sshd asks about a key before it knows the nick. Anyone can
//! add any public key, without proof that it is theirs. So several nicks may have the same key: a stranger who adds
//! somebody's key lets that person into the stranger's own nick, and locks them out of no other nick.

use super::buckets::{Bucket, Values};
use super::{AccountResult, Accounts, Token, digest, has_space, json, read, token_key};
use crate::config::fixed::TOKENS_MAX;
use crate::model::{Secret, StorageError};
use crate::protocol::ssh::{PublicKey, login_token};
use crate::protocol::{Nick, Time};

impl Token {
    fn public_key(&self) -> Option<PublicKey> {
        self.key.as_deref().and_then(PublicKey::parse)
    }

    /// Returns the fingerprint, if this is a key.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.public_key().map(|key| key.fingerprint())
    }
}

impl Accounts {
    /// Returns whether `sha256` is the digest of this token of `nick`.
    pub(super) fn is_token(&self, nick: &Nick, token: &Token, sha256: &str) -> bool {
        let Some(fingerprint) = token.fingerprint() else {
            return token.sha256 == sha256;
        };
        let secret = self.ssh_secret.as_ref();
        secret.is_some_and(|secret| {
            let login = login_token(secret.expose(), nick, &fingerprint);
            digest(&Secret::new(&login)) == sha256
        })
    }

    /// Adds a key, unless the nick has been unregistered since the request was made.
    pub(super) fn new_key(
        &self,
        nick: &Nick,
        label: &Nick,
        key: &PublicKey,
        now: Time,
    ) -> Result<AccountResult, StorageError> {
        let token = Token {
            label: label.as_str().into(),
            sha256: String::new(),
            made: now.0,
            key: Some(key.to_string()),
        };
        let (form, place) = (nick.casefolded().to_owned(), token_key(nick, label));
        let fingerprint = key.fingerprint();
        self.edit(move |values| {
            if values.get(Bucket::Accounts, &form)?.is_none() {
                return Ok(AccountResult::Wrong);
            }
            let entry = entry(&fingerprint, &form);
            if values.get(Bucket::Keys, &entry)?.is_some() {
                return Ok(AccountResult::Taken);
            }
            if !has_space(values, (Bucket::Tokens, TOKENS_MAX), &form, &place)? {
                return Ok(AccountResult::No);
            }
            values.put(Bucket::Tokens, &place, Some(&json(&token)))?;
            values.put(Bucket::Keys, &entry, Some(&json(&place)))?;
            Ok(AccountResult::Key(fingerprint.clone()))
        })
    }

    /// Returns the nicks that have added this key, as they were spelled when they were registered.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn nicks_of_key(&self, key: &PublicKey) -> Result<Vec<Nick>, StorageError> {
        let mut nicks = Vec::new();
        let places = self
            .buckets
            .all(Bucket::Keys, &entry(&key.fingerprint(), ""))?;
        for (entry, place) in places {
            let Some(place) = read::<String>(Bucket::Keys, &entry, &place) else {
                continue;
            };
            let token = self.get::<Token>(Bucket::Tokens, &place)?;
            let is_same = token.and_then(|token| token.public_key()).as_ref() == Some(key);
            let (form, _) = place.split_once(' ').unwrap_or_default();
            let account = self.get::<super::Account>(Bucket::Accounts, form)?;
            let nick = account.and_then(|account| Nick::parse(&account.nick).ok());
            nicks.extend(nick.filter(|_| is_same));
        }
        Ok(nicks)
    }
}

/// Returns the name under which [`Bucket::Keys`] stores an ssh key of a nick. `form` is the casefolded nick.
fn entry(fingerprint: &str, form: &str) -> String {
    format!("{fingerprint} {form}")
}

/// Removes a token, or a key and the entry by which sshd finds it. Returns whether there was one.
pub(super) fn remove_token(values: &mut dyn Values, place: &str) -> Result<bool, StorageError> {
    let Some(text) = values.get(Bucket::Tokens, place)? else {
        return Ok(false);
    };
    let token = read::<Token>(Bucket::Tokens, place, &text);
    if let Some(fingerprint) = token.and_then(|token| token.fingerprint()) {
        let (form, _) = place.split_once(' ').unwrap_or_default();
        values.put(Bucket::Keys, &entry(&fingerprint, form), None)?;
    }
    values.put(Bucket::Tokens, place, None)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::AccountQuery;
    use super::super::buckets::MemoryBuckets;
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const SECRET: &str = "what chatc knows";

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn key() -> PublicKey {
        PublicKey::parse(KEY).expect("it is a key")
    }

    fn accounts(secret: Option<&str>) -> Accounts {
        let accounts = Accounts::new(Arc::new(MemoryBuckets::default()), None);
        let accounts = accounts.with_ssh(secret.map(Secret::new));
        for who in ["Ann", "bob"] {
            let (nick, password) = (nick(who), Secret::new("my secret"));
            ask(&accounts, AccountQuery::Register { nick, password });
        }
        accounts
    }

    fn ask(accounts: &Accounts, ask: AccountQuery) -> AccountResult {
        accounts.run(&ask, Time(1)).expect("it is in memory")
    }

    fn add(accounts: &Accounts, who: &str, label: &str) -> AccountResult {
        let (nick, label, key) = (nick(who), nick(label), key());
        ask(accounts, AccountQuery::NewKey { nick, label, key })
    }

    fn enter(accounts: &Accounts, who: &str, secret: &str) -> AccountResult {
        let token = login_token(secret, &nick(who), &key().fingerprint());
        let (nick, secret) = (nick(who), Secret::new(&token));
        ask(accounts, AccountQuery::Login { nick, secret })
    }

    fn owners(accounts: &Accounts) -> Vec<String> {
        let nicks = accounts.nicks_of_key(&key()).expect("it is in memory");
        nicks.iter().map(|nick| nick.as_str().to_owned()).collect()
    }

    #[test]
    fn a_key_logs_in_to_its_nick_until_it_is_revoked() {
        let accounts = accounts(Some(SECRET));
        assert!(matches!(
            enter(&accounts, "ann", SECRET),
            AccountResult::Wrong
        ));
        assert_eq!(owners(&accounts), [""; 0]);
        assert!(matches!(
            add(&accounts, "ann", "laptop"),
            AccountResult::Key(_)
        ));
        assert_eq!(owners(&accounts), ["Ann"]);
        assert!(matches!(
            enter(&accounts, "Ann", SECRET),
            AccountResult::Token
        ));
        for (who, secret) in [("bob", SECRET), ("ann", "a guess"), ("ann", "")] {
            assert!(matches!(
                enter(&accounts, who, secret),
                AccountResult::Wrong
            ));
        }
        let revoke = AccountQuery::Revoke {
            nick: nick("ann"),
            label: nick("Laptop"),
        };
        assert!(matches!(ask(&accounts, revoke), AccountResult::Done));
        assert_eq!(owners(&accounts), [""; 0]);
        assert!(matches!(
            enter(&accounts, "ann", SECRET),
            AccountResult::Wrong
        ));
        assert!(matches!(
            add(&accounts, "bob", "laptop"),
            AccountResult::Key(_)
        ));
        assert_eq!(owners(&accounts), ["bob"]);
    }

    #[test]
    fn without_the_shared_secret_a_key_logs_in_to_no_nick() {
        let accounts = accounts(None);
        add(&accounts, "ann", "laptop");
        for secret in ["", SECRET] {
            assert!(matches!(
                enter(&accounts, "ann", secret),
                AccountResult::Wrong
            ));
        }
        let (nick, secret) = (nick("ann"), Secret::new(crate::protocol::ssh::TOKEN_PREFIX));
        let empty = ask(&accounts, AccountQuery::Login { nick, secret });
        assert!(matches!(empty, AccountResult::Wrong));
    }

    #[test]
    fn a_key_still_logs_in_after_another_nick_has_added_it() {
        let accounts = accounts(Some(SECRET));
        add(&accounts, "bob", "stolen");
        assert!(matches!(
            enter(&accounts, "ann", SECRET),
            AccountResult::Wrong
        ));
        assert!(matches!(
            add(&accounts, "ann", "laptop"),
            AccountResult::Key(_)
        ));
        assert_eq!(owners(&accounts), ["Ann", "bob"]);
        for who in ["ann", "bob"] {
            assert!(matches!(
                enter(&accounts, who, SECRET),
                AccountResult::Token
            ));
        }
        // The same nick cannot add the key twice.
        assert!(matches!(
            add(&accounts, "ann", "other"),
            AccountResult::Taken
        ));
        let nick = nick("ann");
        ask(&accounts, AccountQuery::Unregister { nick });
        assert_eq!(owners(&accounts), ["bob"]);
    }
}
