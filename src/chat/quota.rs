//! Bounds the bytes of files, in all and for each nick; both stored files and uploads in progress count.
//!
//! An upload counts from its beginning, so that parallel uploads fit no more than sequential ones. Unregistered nicks
//! share one quota, since a user who reached it could change to another nick.

use std::collections::{BTreeMap, HashMap};

use super::{Chat, NickId};
use crate::model::PeerId;
use crate::protocol::Nick;

/// The bytes of files.
#[derive(Debug, Default)]
pub(super) struct FileBytes {
    kept: u64,
    /// The stored bytes of each sender, by the casefolded nick.
    by_nick: HashMap<Box<str>, u64>,
    /// The stored bytes of all unregistered nicks.
    of_nobody: u64,
    /// The upload in progress on each connection, with the casefolded nick if it is registered.
    coming: BTreeMap<PeerId, (Option<Box<str>>, u64)>,
}

impl FileBytes {
    /// Returns how many bytes the downloadable files have.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Adds bytes to a nick's files, or with `is_less` subtracts them.
    fn count(&mut self, form: &str, bytes: u64, is_less: bool, is_registered: bool) {
        let change = |sum: &mut u64| {
            *sum = match is_less {
                true => sum.saturating_sub(bytes),
                false => sum.saturating_add(bytes),
            };
        };
        change(&mut self.kept);
        if !is_registered {
            change(&mut self.of_nobody);
        }
        let sum = self.by_nick.entry(form.into()).or_default();
        change(sum);
        if *sum == 0 {
            self.by_nick.remove(form);
        }
    }
}

impl Chat {
    /// Sets the stored bytes of each nick, as the log spells it.
    pub(super) fn restore_file_bytes(&mut self, by_nick: Vec<(String, u64)>) {
        let bytes = &mut self.file_bytes;
        bytes.kept = 0;
        bytes.by_nick.clear();
        for (nick, sum) in by_nick {
            bytes.kept = bytes.kept.saturating_add(sum);
            *bytes.by_nick.entry(form(&nick)).or_default() += sum;
        }
        self.recount_nobodys();
    }

    /// Counts the bytes of unregistered nicks again after the accounts have changed.
    pub(super) fn recount_nobodys(&mut self) {
        let bytes = &mut self.file_bytes;
        let accounts = self.directory.accounts.values();
        let owned = accounts.filter_map(|nick| bytes.by_nick.get(nick.form()));
        bytes.of_nobody = bytes.kept.saturating_sub(owned.sum());
    }

    /// Counts a stored file of `nick` (as its event spells it), or with `is_less` a removed one.
    pub(super) fn count_file_bytes(&mut self, nick: &str, bytes: u64, is_less: bool) {
        let form = form(nick);
        let is_registered = Nick::parse(nick).is_ok_and(|nick| self.is_registered(&nick));
        self.file_bytes.count(&form, bytes, is_less, is_registered);
    }

    /// Counts the bytes of the upload in progress over a connection, until [`Self::file_came`] ends it.
    ///
    /// # Errors
    /// When the quota of all files, or of the nick, would be exceeded.
    pub fn file_comes(
        &mut self,
        peer: PeerId,
        nick: Option<NickId>,
        bytes: u64,
    ) -> Result<(), &'static str> {
        let owner: Option<Box<str>> = self.own_form(nick).map(Into::into);
        let (quota, per_nick) = (
            self.limits().quota_bytes,
            self.limits().quota_per_nick_bytes,
        );
        let files = &mut self.file_bytes;
        if quota.is_some() || per_nick.is_some() {
            let others = files.coming.iter().filter(|(other, _)| **other != peer);
            let (mut all, mut own) = (files.kept, 0);
            for (_, (theirs, coming)) in others {
                all = coming.saturating_add(all);
                if *theirs == owner {
                    own = coming.saturating_add(own);
                }
            }
            let kept = match &owner {
                Some(form) => files.by_nick.get(form).copied().unwrap_or_default(),
                None => files.of_nobody,
            };
            let own = kept.saturating_add(own);
            if quota.is_some_and(|quota| all.saturating_add(bytes) > quota) {
                return Err("that is more than all files together may have; REMOVE some");
            }
            if per_nick.is_some_and(|quota| own.saturating_add(bytes) > quota) {
                return Err(match owner {
                    Some(_) => "that is more than your files together may have; REMOVE some",
                    None => {
                        "that is more than the files of those without an account may have; REGISTER, or REMOVE some"
                    }
                });
            }
        }
        files.coming.insert(peer, (owner, bytes));
        Ok(())
    }

    /// Ends the upload in progress over a connection, stored or not.
    pub fn file_came(&mut self, peer: PeerId) {
        self.file_bytes.coming.remove(&peer);
    }
}

/// Returns the form by which nicks are compared; a text that is no valid nick stays as it is.
fn form(nick: &str) -> Box<str> {
    match Nick::parse(nick) {
        Ok(nick) => nick.form().into(),
        Err(_) => nick.into(),
    }
}
