//! How many bytes of files there are: in all, and of one nick; those that are kept and those that are coming in.
//!
//! What comes in counts from its beginning, so that many uploads at once fit no more than one after the other.
//! Nicks that nobody has registered share one quota: who is refused under one could take another.

use std::collections::{BTreeMap, HashMap};

use super::{Chat, NickId};
use crate::model::PeerId;
use crate::protocol::Nick;

/// Bytes of files.
#[derive(Debug, Default)]
pub(super) struct FileBytes {
    kept: u64,
    /// Of those, by the forms of the nicks that sent them.
    by_nick: HashMap<Box<str>, u64>,
    /// Of those, of nicks that nobody has registered.
    of_nobody: u64,
    /// What is coming in over which connection, and the nick's form where somebody has registered it.
    coming: BTreeMap<PeerId, (Option<Box<str>>, u64)>,
}

impl FileBytes {
    /// How many bytes the files have that can be fetched.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Files more, or with `is_less` less, of the nick of that form.
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
    /// Learns how many bytes of files there are of each nick, as it is spelt in the log.
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

    /// Who is registered has changed.
    pub(super) fn recount_nobodys(&mut self) {
        let bytes = &mut self.file_bytes;
        let forms = self.directory.accounts.values();
        let owned = forms.filter_map(|form| bytes.by_nick.get(form));
        bytes.of_nobody = bytes.kept.saturating_sub(owned.sum());
    }

    /// A file of `nick`, as it is spelt in its event, is kept, or with `is_less` taken back.
    pub(super) fn count_file_bytes(&mut self, nick: &str, bytes: u64, is_less: bool) {
        let form = form(nick);
        let is_registered = Nick::parse(nick).is_ok_and(|nick| self.is_registered(&nick));
        self.file_bytes.count(&form, bytes, is_less, is_registered);
    }

    /// So many bytes of one file come in over a connection, in all; counted until [`Self::file_came`].
    ///
    /// # Errors
    /// When that is more than all files, or those of one nick, may have.
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

    /// What came in over a connection is kept, or is not to be.
    pub fn file_came(&mut self, peer: PeerId) {
        self.file_bytes.coming.remove(&peer);
    }
}

/// How nicks are compared; of what is none, as it stands.
fn form(nick: &str) -> Box<str> {
    match Nick::parse(nick) {
        Ok(nick) => nick.form().into(),
        Err(_) => nick.into(),
    }
}
