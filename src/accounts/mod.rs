//! Accounts with their tokens, bans, and the access lists of rooms. They are stored like the server's log, on disk or
//! in memory.
//!
//! [`Buckets`] is the interface to the storage: string values under keys, which is all that a database, a map in
//! memory and the key-value store of a cluster have in common. [`Accounts`] is what is stored there. [`Directory`] is
//! the part that every server holds in memory, without secrets. This module knows neither sockets nor sessions. It
//! hashes passwords, so everything except [`Directory`] may block for tens of milliseconds.

pub mod buckets;
pub mod guesses;
mod hooks;
mod keys;
mod password;
mod push;
pub mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::error;

use crate::config::fixed::TOKENS_MAX;
use crate::model::{
    AclChange, Action, Ban, Directory, Hook, RoomAcl, Secret, StorageError, VersionedAcl,
};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::ssh::{PublicKey, TOKEN_PREFIX};
use crate::protocol::{Digest, Nick, RoomName, Time};
use buckets::{Bucket, Buckets, Values};

/// The minimum number of characters in the password of a registered nick (NIST SP 800-63B, 5.1.1).
pub const PASSWORD_CHARS_MIN: usize = 8;

/// A query or change that a session sends to the accounts.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the names of the fields say what they are
pub enum AccountQuery {
    /// Checks a secret against the password and the tokens of a nick.
    Login { nick: Nick, secret: Secret },
    /// Counts an attempt at the password of a nick that is reserved but not registered. If the attempt is allowed,
    /// the chat compares the password.
    ShareNick { nick: Nick, secret: Secret },
    /// Registers a nick, or changes its password.
    Register { nick: Nick, password: Secret },
    /// Unregisters a nick, and revokes all its tokens and hooks.
    Unregister { nick: Nick },
    /// Unregisters a nick at the request of an operator.
    RemoveAccount { nick: Nick },
    /// Creates a token.
    NewToken { nick: Nick, label: Nick },
    /// Adds an ssh key, which serves as a token.
    NewKey {
        nick: Nick,
        label: Nick,
        key: PublicKey,
    },
    /// Lists the tokens and keys of a nick.
    Tokens { nick: Nick },
    /// Creates a hook. Its token lets a tool send to one room.
    NewHook {
        nick: Nick,
        label: Nick,
        room: RoomName,
    },
    /// Lists the hooks of a nick.
    Hooks { nick: Nick },
    /// Revokes a token or a hook.
    Revoke { nick: Nick, label: Nick },
    /// Checks a secret against the server's own password.
    ServerPassword(Secret),
    /// Adds a ban.
    Ban(Ban),
    /// Lifts a ban.
    Unban(BanTarget),
    /// Changes the access list of a room at the request of the nick `by`, and stores the room's owner.
    Room {
        room: RoomName,
        owner: Option<String>,
        change: Option<(AclChange, String)>,
    },
}

/// The result of an [`AccountQuery`].
#[derive(Debug)]
pub enum AccountResult {
    /// The secret is the password.
    Password,
    /// The secret is a token.
    Token,
    /// The secret is neither.
    Wrong,
    /// The secret was not checked, because there were too many wrong ones.
    TooMany,
    /// The change has been made and stored.
    Done,
    /// The change has been made and stored. These are the new access lists of the changed rooms.
    Rooms(Vec<VersionedAcl>),
    /// A new token. It is not shown again.
    NewToken(Secret),
    /// A new key. This is its fingerprint.
    Key(String),
    /// The nick has added the key before.
    Taken,
    /// The tokens and keys of a nick, in the order of their labels.
    Tokens(Vec<TokenRow>),
    /// A new hook and its token. The token is not shown again.
    NewHook(Hook, Secret),
    /// The hooks of a nick, in the order of their labels.
    Hooks(Vec<Hook>),
    /// There is no such token, hook or ban, or there is no space for another.
    No,
}

/// A token, as a list of tokens shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// The name that the owner gave the token.
    pub label: String,
    /// The time of creation.
    pub made: Time,
    /// The fingerprint, if the token is an ssh key.
    pub fingerprint: Option<String>,
}

/// A registered nick as it is stored. Its key is the nick in its comparison form (protocol.md 3.5).
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    /// The nick as it was spelled when it was registered.
    nick: String,
    /// The argon2id hash of the password, with its parameters and salt (PHC string format).
    password: String,
    /// The time of registration, in milliseconds since 1970.
    made: u64,
}

/// A token as it is stored, under the key `<casefolded nick> <casefolded label>`.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    label: String,
    /// The digest of the whole token. A token has 256 random bits and cannot be guessed, so a slow hash would only
    /// slow the login of every bot. Empty for a key.
    sha256: String,
    made: u64,
    /// The public key, if ssh logs in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// The access list of a room as it is stored, under the comparison form of the room's name.
#[derive(Debug, Serialize, Deserialize)]
struct StoredRoom {
    room: String,
    #[serde(flatten)]
    acl: RoomAcl,
}

/// A ban as it is stored, under its key.
#[derive(Debug, Serialize, Deserialize)]
struct StoredBan {
    #[serde(rename = "whom")]
    target: String,
    by: String,
    text: String,
    until: Option<u64>,
}

/// The stored accounts, bans and access lists.
pub struct Accounts {
    buckets: Arc<dyn Buckets>,
    /// The server's own password, if it has one.
    pass: Option<Secret>,
    /// The secret that the server shares with `chatc --ssh`, if it accepts logins over ssh.
    ssh_secret: Option<Secret>,
    /// The number of changes to access lists so far.
    changes: Arc<AtomicU64>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roster")
    }
}

impl Accounts {
    /// Returns the accounts stored in `buckets`. `pass` is the server's own password, if it has one.
    pub fn new(buckets: Arc<dyn Buckets>, pass: Option<Secret>) -> Self {
        Self {
            buckets,
            pass,
            ssh_secret: None,
            changes: Arc::default(),
        }
    }

    /// Returns the accounts with logins over ssh allowed, if there is a `secret`. The server shares the secret with
    /// `chatc --ssh`.
    #[must_use]
    pub fn with_ssh(self, secret: Option<Secret>) -> Self {
        Self {
            ssh_secret: secret,
            ..self
        }
    }

    /// Reads the part that every server holds in memory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn directory(&self) -> Result<Directory, StorageError> {
        let mut known = Directory::default();
        for (_, account) in self.all::<Account>(Bucket::Accounts, "")? {
            if let Ok(nick) = Nick::parse(&account.nick) {
                known.add_account(&nick);
            }
        }
        for (key, kept) in self.all::<StoredRoom>(Bucket::Rooms, "")? {
            match RoomName::parse(&kept.room) {
                Ok(room) => known.rooms.push((room, kept.acl)),
                Err(e) => error!("ignoring room {key}: its name is not valid: {e}"),
            }
        }
        for (key, ban) in self.all::<StoredBan>(Bucket::Bans, "")? {
            let Ok(target) = BanTarget::parse(&ban.target) else {
                error!("ignoring a ban: {key} is not a nick, address or network");
                continue;
            };
            known.bans.push(Ban {
                target,
                by: ban.by,
                text: ban.text,
                until: ban.until.map(Time),
            });
        }
        known.hooks = self.stored_hooks("")?;
        known.subscriptions = self.stored_subscriptions()?;
        Ok(known)
    }

    /// Runs a query or change. Blocks while the disk is used or a password is hashed.
    ///
    /// # Errors
    /// When the stored values cannot be read or written.
    pub fn run(&self, query: &AccountQuery, now: Time) -> Result<AccountResult, StorageError> {
        match query {
            AccountQuery::Login { nick, secret } => self.check_login(nick, secret),
            AccountQuery::ShareNick { .. } => Ok(AccountResult::Done),
            AccountQuery::Register { nick, password } => {
                let account = Account {
                    nick: nick.as_str().into(),
                    password: password::hash(password),
                    made: now.0,
                };
                let form = nick.casefolded().to_owned();
                self.edit(move |values| {
                    values.put(Bucket::Accounts, &form, Some(&json(&account)))?;
                    push::forget(values, &form)?;
                    Ok(AccountResult::Done)
                })
            }
            AccountQuery::Unregister { nick } | AccountQuery::RemoveAccount { nick } => {
                self.unregister(nick)
            }
            AccountQuery::ServerPassword(secret) => {
                // The digests are compared, so the time that this takes reveals nothing about the password.
                let known = self.pass.as_ref().map(digest);
                Ok(if known.is_none_or(|known| known == digest(secret)) {
                    AccountResult::Password
                } else {
                    AccountResult::Wrong
                })
            }
            AccountQuery::Ban(ban) => {
                let kept = StoredBan {
                    target: ban.target.to_string(),
                    by: ban.by.clone(),
                    text: ban.text.clone(),
                    until: ban.until.map(|until| until.0),
                };
                let key = ban.target.key();
                self.edit(move |values| {
                    // Nothing else removes expired bans, so they are removed here.
                    for (key, text) in values.all(Bucket::Bans, "")? {
                        let other = read::<StoredBan>(Bucket::Bans, &key, &text);
                        let until = other.and_then(|other| other.until);
                        if until.is_some_and(|until| until <= now.0) {
                            values.put(Bucket::Bans, &key, None)?;
                        }
                    }
                    values.put(Bucket::Bans, &key, Some(&json(&kept)))?;
                    Ok(AccountResult::Done)
                })
            }
            AccountQuery::Room {
                room,
                owner,
                change,
            } => self.change_room(room, owner.as_deref(), change.as_ref()),
            AccountQuery::Unban(target) => {
                self.put::<StoredBan>(Bucket::Bans, &target.key(), None)?;
                Ok(AccountResult::Done)
            }
            AccountQuery::NewToken { nick, label } => self.new_token(nick, label, now),
            AccountQuery::NewKey { nick, label, key } => self.new_key(nick, label, key, now),
            AccountQuery::Tokens { nick } => {
                let tokens = self.tokens(nick)?.into_iter();
                let rows = tokens.map(|(_, token)| TokenRow {
                    fingerprint: token.fingerprint(),
                    label: token.label,
                    made: Time(token.made),
                });
                Ok(AccountResult::Tokens(rows.collect()))
            }
            AccountQuery::NewHook { nick, label, room } => self.new_hook(nick, label, room, now),
            AccountQuery::Hooks { nick } => {
                let hooks = self.stored_hooks(&format!("{} ", nick.casefolded()))?;
                Ok(AccountResult::Hooks(hooks))
            }
            AccountQuery::Revoke { nick, label } => {
                let key = token_key(nick, label);
                self.edit(move |values| {
                    // The label may be that of a token or of a hook.
                    if keys::remove_token(values, &key)? {
                        return Ok(AccountResult::Done);
                    }
                    if values.get(Bucket::Hooks, &key)?.is_some() {
                        values.put(Bucket::Hooks, &key, None)?;
                        return Ok(AccountResult::Done);
                    }
                    Ok(AccountResult::No)
                })
            }
        }
    }

    fn check_login(&self, nick: &Nick, secret: &Secret) -> Result<AccountResult, StorageError> {
        let account = self.get::<Account>(Bucket::Accounts, nick.casefolded())?;
        // A secret that looks like a token, but is not one of the nick's, may still be the password.
        if account.is_some() && secret.expose().starts_with(TOKEN_PREFIX) {
            let sha256 = digest(secret);
            // The digests are compared, so the time that this takes reveals nothing about the token.
            let mut tokens = self.tokens(nick)?.into_iter();
            if tokens.any(|(_, token)| self.is_token(nick, &token, &sha256)) {
                return Ok(AccountResult::Token);
            }
        }
        let known = account
            .as_ref()
            .map_or(password::NOBODY, |account| &account.password);
        let is_right = password::is_right(known, secret);
        Ok(if account.is_some() && is_right {
            AccountResult::Password
        } else {
            AccountResult::Wrong
        })
    }

    fn unregister(&self, nick: &Nick) -> Result<AccountResult, StorageError> {
        let (form, changes) = (nick.casefolded().to_owned(), self.changes.clone());
        self.edit(move |values| forget(values, &form, &changes))
    }

    /// Creates a token, unless the nick has been unregistered since the request was made.
    fn new_token(
        &self,
        nick: &Nick,
        label: &Nick,
        now: Time,
    ) -> Result<AccountResult, StorageError> {
        let secret = Secret::new(&format!("{TOKEN_PREFIX}{}", password::random_word()?));
        let token = Token {
            label: label.as_str().into(),
            sha256: digest(&secret),
            made: now.0,
            key: None,
        };
        let (form, key) = (nick.casefolded().to_owned(), token_key(nick, label));
        self.edit(move |values| {
            if values.get(Bucket::Accounts, &form)?.is_none() {
                return Ok(AccountResult::Wrong);
            }
            if !has_space(values, (Bucket::Tokens, TOKENS_MAX), &form, &key)? {
                return Ok(AccountResult::No);
            }
            values.put(Bucket::Tokens, &key, Some(&json(&token)))?;
            Ok(AccountResult::NewToken(secret.clone()))
        })
    }

    /// Changes the access list of a room, if the user who requested the change is still allowed to. Returns the new
    /// list.
    fn change_room(
        &self,
        room: &RoomName,
        owner: Option<&str>,
        change: Option<&(AclChange, String)>,
    ) -> Result<AccountResult, StorageError> {
        let (room, owner, change) = (room.clone(), owner.map(str::to_owned), change.cloned());
        let changes = self.changes.clone();
        self.edit(move |values| {
            change_room(values, &room, owner.as_deref(), change.as_ref(), &changes)
        })
    }

    /// Stores the owner of a room without waiting. It is stored before any later change of that room, and before the
    /// server ends.
    pub fn store_owner(&self, room: RoomName, owner: String) {
        let changes = self.changes.clone();
        self.buckets.change_later(Box::new(move |values| {
            change_room(values, &room, Some(&owner), None, &changes).map(drop)
        }));
    }

    /// Removes the access list of a deleted room. Does not wait until the removal is stored.
    pub fn forget_room(&self, room: &RoomName) {
        let form = room.casefolded().to_owned();
        self.buckets.change_later(Box::new(move |values| {
            values.put(Bucket::Rooms, &form, None)
        }));
    }

    /// Reads and changes stored values in one transaction, so that two simultaneous changes do not undo each other.
    fn edit<T: Send + 'static>(
        &self,
        mut edit: impl FnMut(&mut dyn Values) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tell_result, results) = channel();
        self.buckets.change(Box::new(move |values| {
            // If the change runs more than once, the result of the last run counts.
            let _ = tell_result.send(edit(values)?);
            Ok(())
        }))?;
        results.try_iter().last().ok_or(StorageError::Ended)
    }

    fn tokens(&self, nick: &Nick) -> Result<Vec<(String, Token)>, StorageError> {
        self.all(Bucket::Tokens, &format!("{} ", nick.casefolded()))
    }

    fn get<T: DeserializeOwned>(
        &self,
        bucket: Bucket,
        key: &str,
    ) -> Result<Option<T>, StorageError> {
        let text = self.buckets.get(bucket, key)?;
        Ok(text.and_then(|text| read(bucket, key, &text)))
    }

    fn all<T: DeserializeOwned>(
        &self,
        bucket: Bucket,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StorageError> {
        let rows = self.buckets.all(bucket, prefix)?.into_iter();
        Ok(rows
            .filter_map(|(key, text)| read(bucket, &key, &text).map(|value| (key, value)))
            .collect())
    }

    fn put<T: Serialize>(
        &self,
        bucket: Bucket,
        key: &str,
        value: Option<&T>,
    ) -> Result<(), StorageError> {
        let (key, text) = (key.to_owned(), value.map(json));
        self.edit(move |values| values.put(bucket, &key, text.as_deref()))
    }
}

/// Returns what a stored value, or the removal of one, changes in what every server knows of accounts and bans.
pub(crate) fn stored_action(bucket: Bucket, key: &str, value: Option<&str>) -> Option<Action> {
    match (bucket, value) {
        (Bucket::Accounts, Some(value)) => {
            let account: Account = serde_json::from_str(value).ok()?;
            let nick = Nick::parse(&account.nick).ok()?;
            Some(Action::AddAccount { nick })
        }
        (Bucket::Accounts, None) => {
            let nick = Nick::parse(key).ok()?;
            Some(Action::RemoveAccount { nick })
        }
        (Bucket::Bans, Some(value)) => {
            let ban: StoredBan = serde_json::from_str(value).ok()?;
            let target = BanTarget::parse(&ban.target).ok()?;
            Some(Action::AddBan(Box::new(Ban {
                target,
                by: ban.by,
                text: ban.text,
                until: ban.until.map(Time),
            })))
        }
        (Bucket::Bans, None) => Some(Action::RemoveBan(BanTarget::parse(key).ok()?)),
        _ => None,
    }
}

/// Returns the access list in a stored value of the bucket [`Bucket::Rooms`]; `None` if it cannot be read.
pub(crate) fn stored_acl(value: &str) -> Option<(RoomName, RoomAcl)> {
    let stored: StoredRoom = serde_json::from_str(value).ok()?;
    Some((RoomName::parse(&stored.room).ok()?, stored.acl))
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs are JSON")
}

fn change_room(
    values: &mut dyn Values,
    room: &RoomName,
    owner: Option<&str>,
    change: Option<&(AclChange, String)>,
    changes: &AtomicU64,
) -> Result<AccountResult, StorageError> {
    let kept = values.get(Bucket::Rooms, room.casefolded())?;
    let kept = kept.and_then(|text| read::<StoredRoom>(Bucket::Rooms, room.casefolded(), &text));
    let mut acl = kept.map(|kept| kept.acl).unwrap_or_default();
    if acl.owner.is_none()
        && let Some(owner) = owner
        && values.get(Bucket::Accounts, owner)?.is_some()
    {
        acl.owner = Some(owner.to_owned());
    }
    if let Some((change, by)) = change {
        if acl.owner.is_some() && !acl.is_moderator(by) {
            return Ok(AccountResult::Wrong);
        }
        if let AclChange::Invite(who, _) = change {
            if values.get(Bucket::Accounts, who)?.is_none() {
                return Ok(AccountResult::Wrong);
            }
            if !acl.has_space_for(who) {
                return Ok(AccountResult::No);
            }
        }
        acl.apply(change);
    }
    let kept = StoredRoom {
        room: room.as_str().into(),
        acl,
    };
    values.put(Bucket::Rooms, room.casefolded(), Some(&json(&kept)))?;
    Ok(AccountResult::Rooms(vec![VersionedAcl {
        room: room.clone(),
        acl: kept.acl,
        version: changes.fetch_add(1, Ordering::Relaxed) + 1,
    }]))
}

/// Removes the account of a casefolded nick with its tokens and hooks, and removes the nick from access lists.
fn forget(
    values: &mut dyn Values,
    form: &str,
    changes: &AtomicU64,
) -> Result<AccountResult, StorageError> {
    let prefix = format!("{form} ");
    for (key, _) in values.all(Bucket::Tokens, &prefix)? {
        keys::remove_token(values, &key)?;
    }
    for (key, _) in values.all(Bucket::Hooks, &prefix)? {
        values.put(Bucket::Hooks, &key, None)?;
    }
    push::forget(values, form)?;
    values.put(Bucket::Accounts, form, None)?;
    let version = changes.fetch_add(1, Ordering::Relaxed) + 1;
    let mut rooms = Vec::new();
    for (key, text) in values.all(Bucket::Rooms, "")? {
        let Some(mut kept) = read::<StoredRoom>(Bucket::Rooms, &key, &text) else {
            continue;
        };
        if kept.acl.forget(form) {
            values.put(Bucket::Rooms, &key, Some(&json(&kept)))?;
            rooms.extend(RoomName::parse(&kept.room).map(|room| VersionedAcl {
                room,
                acl: kept.acl,
                version,
            }));
        }
    }
    Ok(AccountResult::Rooms(rooms))
}

/// Parses a stored value. A value that cannot be parsed counts as missing, and a message about it is logged for the
/// operator.
fn read<T: DeserializeOwned>(bucket: Bucket, key: &str, text: &str) -> Option<T> {
    serde_json::from_str(text)
        .map_err(|e| error!("{} {key} cannot be read: {e}", bucket.word()))
        .ok()
}

fn token_key(nick: &Nick, label: &Nick) -> String {
    format!("{} {}", nick.casefolded(), label.casefolded())
}

/// Returns whether the casefolded nick `form` may have another token or hook under `key`. It may if it has fewer than
/// `most` in `bucket`, and no token or hook with the same label.
fn has_space(
    values: &dyn Values,
    (bucket, most): (Bucket, usize),
    form: &str,
    key: &str,
) -> Result<bool, StorageError> {
    let is_taken =
        values.get(Bucket::Tokens, key)?.is_some() || values.get(Bucket::Hooks, key)?.is_some();
    Ok(!is_taken && values.all(bucket, &format!("{form} "))?.len() < most)
}

fn digest(secret: &Secret) -> String {
    Digest(Sha256::digest(secret.expose()).into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::buckets::MemoryBuckets;
    use super::*;

    fn nick(text: &str) -> Nick {
        Nick::parse(text).expect("it is a nick")
    }

    fn accounts() -> Accounts {
        Accounts::new(Arc::new(MemoryBuckets::default()), None)
    }

    fn ask(accounts: &Accounts, ask: AccountQuery) -> AccountResult {
        accounts.run(&ask, Time(1)).expect("it is in memory")
    }

    fn enter(accounts: &Accounts, who: &str, secret: &str) -> AccountResult {
        let (nick, secret) = (nick(who), Secret::new(secret));
        ask(accounts, AccountQuery::Login { nick, secret })
    }

    fn register(accounts: &Accounts, who: &str, password: &str) {
        let (nick, password) = (nick(who), Secret::new(password));
        assert!(matches!(
            ask(accounts, AccountQuery::Register { nick, password }),
            AccountResult::Done
        ));
    }

    #[test]
    fn a_password_logs_in_to_its_nick_in_any_spelling_and_to_no_other() {
        let accounts = accounts();
        register(&accounts, "Alice", "my secret");
        assert!(matches!(
            enter(&accounts, "alice", "my secret"),
            AccountResult::Password
        ));
        assert!(matches!(
            enter(&accounts, "alice", "my secret "),
            AccountResult::Wrong
        ));
        assert!(matches!(
            enter(&accounts, "alice", ""),
            AccountResult::Wrong
        ));
        assert!(matches!(
            enter(&accounts, "bob", "my secret"),
            AccountResult::Wrong
        ));
        register(&accounts, "alice", "another one");
        assert!(matches!(
            enter(&accounts, "Alice", "my secret"),
            AccountResult::Wrong
        ));
        assert!(matches!(
            enter(&accounts, "Alice", "another one"),
            AccountResult::Password
        ));
        let known = accounts.directory().expect("it is in memory");
        assert_eq!(known.accounts.len(), 1);
        let known = known.accounts.get(&nick("alice"));
        assert_eq!(known, Some(&nick("alice")), "as it was spelt last");
    }

    /// If this failed, the time that a wrong password takes would reveal which nicks are registered.
    #[test]
    fn a_guess_costs_the_same_whether_or_not_the_nick_is_registered() {
        let accounts = accounts();
        register(&accounts, "alice", "my secret");
        assert!(matches!(
            enter(&accounts, "bob", "a guess"),
            AccountResult::Wrong
        ));
        let nobody = password::NOBODY;
        let account = accounts.get::<Account>(Bucket::Accounts, "alice");
        let account = account.expect("it is in memory").expect("it is there");
        // In a PHC string, the cost parameters come first, and the salt and the hash last.
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(nobody), cost(&account.password));
        assert_eq!(nobody.len(), account.password.len());
        assert!(nobody.starts_with("$argon2id$"), "{nobody}");
        password::check_is_valid(nobody);
    }

    #[test]
    fn tokens_are_shown_once_and_can_be_revoked() {
        let accounts = accounts();
        register(&accounts, "alice", "my secret");
        let make = |label| AccountQuery::NewToken {
            nick: nick("alice"),
            label: nick(label),
        };
        let AccountResult::NewToken(token) = ask(&accounts, make("ci")) else {
            panic!("there is space for a token");
        };
        assert!(matches!(ask(&accounts, make("CI")), AccountResult::No));
        assert!(matches!(
            enter(&accounts, "alice", token.expose()),
            AccountResult::Token
        ));
        assert!(matches!(
            enter(&accounts, "bob", token.expose()),
            AccountResult::Wrong
        ));
        let AccountResult::Tokens(rows) = ask(
            &accounts,
            AccountQuery::Tokens {
                nick: nick("alice"),
            },
        ) else {
            panic!("they are listed");
        };
        assert_eq!(
            rows,
            [TokenRow {
                label: "ci".into(),
                made: Time(1),
                fingerprint: None,
            }]
        );
        let kept = accounts
            .buckets
            .all(Bucket::Tokens, "")
            .expect("it is in memory");
        assert!(
            !kept[0].1.contains(&token.expose()[4..]),
            "it is kept as a digest"
        );
        let revoke = || AccountQuery::Revoke {
            nick: nick("alice"),
            label: nick("ci"),
        };
        assert!(matches!(ask(&accounts, revoke()), AccountResult::Done));
        assert!(matches!(ask(&accounts, revoke()), AccountResult::No));
        assert!(matches!(
            enter(&accounts, "alice", token.expose()),
            AccountResult::Wrong
        ));
    }

    /// If this failed, the bots of the previous owner could log in to the new account.
    #[test]
    fn an_unregistered_nick_loses_its_tokens() {
        let accounts = accounts();
        register(&accounts, "al", "my secret");
        register(&accounts, "alice", "my secret");
        let token = |who| match ask(
            &accounts,
            AccountQuery::NewToken {
                nick: nick(who),
                label: nick("ci"),
            },
        ) {
            AccountResult::NewToken(token) => token,
            answer => panic!("{answer:?}"),
        };
        let (al, alice) = (token("al"), token("alice"));
        ask(&accounts, AccountQuery::Unregister { nick: nick("al") });
        register(&accounts, "al", "my secret");
        assert!(matches!(
            enter(&accounts, "al", al.expose()),
            AccountResult::Wrong
        ));
        assert!(matches!(
            enter(&accounts, "alice", alice.expose()),
            AccountResult::Token
        ));
    }

    #[test]
    fn the_tokens_of_a_nick_are_limited() {
        let accounts = accounts();
        register(&accounts, "alice", "my secret");
        for n in 0..=TOKENS_MAX {
            let label = nick(&format!("bot{n}"));
            let answer = ask(
                &accounts,
                AccountQuery::NewToken {
                    nick: nick("alice"),
                    label,
                },
            );
            let is_made = matches!(answer, AccountResult::NewToken(_));
            assert_eq!(is_made, n < TOKENS_MAX);
        }
    }

    #[test]
    fn expired_bans_are_removed() {
        let accounts = accounts();
        for n in 0..20 {
            let target = BanTarget::parse(&format!("bob{n}")).expect("it is a nick");
            let ban = Ban {
                target,
                by: "ann".into(),
                text: String::new(),
                until: Some(Time(100 + n)),
            };
            let answer = accounts.run(&AccountQuery::Ban(ban), Time(90 + n));
            assert!(matches!(answer, Ok(AccountResult::Done)));
        }
        let kept = accounts.buckets.all(Bucket::Bans, "").expect("in memory");
        assert_eq!(kept.len(), 10);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Secret::new("my secret");
        let ask = AccountQuery::Login {
            nick: nick("alice"),
            secret: secret.clone(),
        };
        assert!(!format!("{ask:?} {:?}", AccountResult::NewToken(secret)).contains("my secret"));
    }
}
