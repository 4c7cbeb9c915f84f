//! Counts files and their bytes: in total, for each nick, and for each address that sends files.
//!
//! The bytes of an upload count from its beginning, so simultaneous uploads cannot exceed a limit together.
//! Unregistered nicks share one quota, because a client could otherwise evade the quota by changing its nick. The
//! server remembers the address that sent a file until the server stops.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::tally::Tally;
use super::{Chat, NickId};
use crate::model::{FileContents, FileSum, PeerId, address_prefix};
use crate::protocol::{EventId, Nick};

/// The counts of files by nick and by address.
#[derive(Debug, Default)]
pub(super) struct FileShares {
    kept: FileSum,
    /// The number and the size of the stored files of each nick (casefolded).
    by_nick: HashMap<Box<str>, FileSum>,
    /// The number and the size of the stored files of all unregistered nicks together.
    unowned: FileSum,
    /// The address that sent each file.
    origins: HashMap<EventId, IpAddr>,
    by_origin: Tally,
    /// For each connection: its address, and the number of its files that the log has received but not decided on yet.
    /// Some of the connections may be closed already.
    senders: BTreeMap<PeerId, (IpAddr, usize)>,
    /// The number of bytes that each connection is uploading, and the connection's casefolded nick if the nick is
    /// registered.
    coming: BTreeMap<PeerId, (Option<Box<str>>, u64)>,
}

impl FileShares {
    /// Returns the total size of all stored files in bytes.
    pub fn bytes(&self) -> u64 {
        self.kept.bytes
    }

    /// Changes the counts of the nick `form` (casefolded), and the totals that include these counts.
    fn change(&mut self, form: &str, is_registered: bool, change: impl Fn(&mut FileSum)) {
        change(&mut self.kept);
        if !is_registered {
            change(&mut self.unowned);
        }
        let sum = self.by_nick.entry(form.into()).or_default();
        change(sum);
        if *sum == FileSum::default() {
            self.by_nick.remove(form);
        }
    }

    /// Returns the file counts of a registered nick (casefolded), or of all unregistered nicks together.
    fn of(&self, owner: Option<&str>) -> FileSum {
        match owner {
            Some(form) => self.by_nick.get(form).copied().unwrap_or_default(),
            None => self.unowned,
        }
    }
}

impl Chat {
    /// Sets the file counts of each nick. `by_nick` spells the nicks as the log does.
    pub(super) fn restore_files(&mut self, by_nick: Vec<(String, FileSum)>) {
        let shares = &mut self.file_shares;
        shares.kept = FileSum::default();
        shares.by_nick.clear();
        for (nick, sum) in by_nick {
            add(&mut shares.kept, sum);
            add(
                shares.by_nick.entry(casefolded_nick(&nick)).or_default(),
                sum,
            );
        }
        self.recount_unowned();
    }

    /// Recalculates the counts of unregistered nicks after the accounts have changed.
    pub(super) fn recount_unowned(&mut self) {
        let shares = &mut self.file_shares;
        let accounts = self.state.directory().accounts.values();
        let mut unowned = shares.kept;
        for owned in accounts.filter_map(|nick| shares.by_nick.get(nick.casefolded())) {
            subtract(&mut unowned, *owned);
        }
        shares.unowned = unowned;
    }

    /// Adds `sum` to the file counts of `nick`, which is spelled as in the events of the files.
    pub(super) fn count_files(&mut self, nick: &str, sum: FileSum) {
        let is_registered = Nick::parse(nick).is_ok_and(|nick| self.is_registered(&nick));
        let change = |known: &mut FileSum| add(known, sum);
        self.file_shares
            .change(&casefolded_nick(nick), is_registered, change);
    }

    /// Subtracts a deleted file from the file counts of `nick`.
    pub(super) fn uncount_file(&mut self, id: EventId, nick: &str, contents: Option<FileContents>) {
        let bytes = contents.map_or(0, |contents| contents.length);
        let sum = FileSum { count: 1, bytes };
        let is_registered = Nick::parse(nick).is_ok_and(|nick| self.is_registered(&nick));
        let change = |known: &mut FileSum| subtract(known, sum);
        let shares = &mut self.file_shares;
        shares.change(&casefolded_nick(nick), is_registered, change);
        if let Some(origin) = shares.origins.remove(&id) {
            shares.by_origin.remove(origin);
        }
    }

    /// Records that a connection has passed a file to the log. As soon as the file has its id, it counts for the
    /// address of the connection.
    pub fn expect_file(&mut self, peer: PeerId) {
        if let Some(from) = self.address(peer).map(address_prefix) {
            self.file_shares.senders.entry(peer).or_insert((from, 0)).1 += 1;
        }
    }

    /// Records that the log has decided on a file from `peer`. Returns the address of `peer`.
    pub(super) fn file_sent(&mut self, peer: PeerId) -> Option<IpAddr> {
        let senders = &mut self.file_shares.senders;
        let (from, count) = senders.get_mut(&peer)?;
        let from = *from;
        *count -= 1;
        if *count == 0 {
            senders.remove(&peer);
        }
        Some(from)
    }

    /// Counts a stored file for the address that sent it.
    pub(super) fn file_is_from(&mut self, id: EventId, from: IpAddr) {
        self.file_shares.origins.insert(id, from);
        self.file_shares.by_origin.add(from);
    }

    /// Checks whether another file may be uploaded over a connection.
    ///
    /// # Errors
    /// When there are too many files: in total, of `nick`, or from the connection's address.
    pub fn has_space_for_file(&self, peer: PeerId, nick: Option<NickId>) -> Result<(), String> {
        let (limits, shares) = (self.limits(), &self.file_shares);
        if self.files() >= limits.files_max {
            return Err("there are too many files; REMOVE some".into());
        }
        let owner = self.account_of(nick);
        let count = shares.of(owner).count;
        match owner {
            Some(_) if count >= limits.files_per_nick_max() => {
                return Err(format!(
                    "you have {count} files on this server; REMOVE some"
                ));
            }
            None if count >= limits.unowned_files_max() => {
                return Err(
                    "there are too many files of unregistered nicks; REGISTER, or REMOVE some"
                        .into(),
                );
            }
            _ => {}
        }
        let from = self.address(peer).map(address_prefix);
        let count = from.map_or(0, |from| shares.by_origin.count(&from));
        if count >= limits.files_kept_per_address_max() {
            return Err(format!(
                "{count} files were sent from your address; REMOVE some"
            ));
        }
        Ok(())
    }

    /// Counts the bytes of the upload in progress over a connection, until [`Self::end_upload`] is called.
    ///
    /// # Errors
    /// When the upload would exceed the quota for all files or for the nick.
    pub fn begin_upload(
        &mut self,
        peer: PeerId,
        nick: Option<NickId>,
        bytes: u64,
    ) -> Result<(), &'static str> {
        let owner: Option<Box<str>> = self.account_of(nick).map(Into::into);
        let (quota, per_nick) = (
            self.limits().quota_bytes,
            self.limits().quota_per_nick_bytes,
        );
        let shares = &mut self.file_shares;
        if quota.is_some() || per_nick.is_some() {
            let others = shares.coming.iter().filter(|(other, _)| **other != peer);
            let (mut all, mut own) = (shares.kept.bytes, 0);
            for (_, (theirs, coming)) in others {
                all = coming.saturating_add(all);
                if *theirs == owner {
                    own = coming.saturating_add(own);
                }
            }
            let own = shares.of(owner.as_deref()).bytes.saturating_add(own);
            if quota.is_some_and(|quota| all.saturating_add(bytes) > quota) {
                return Err("the files of this server would take too much space; REMOVE some");
            }
            if per_nick.is_some_and(|quota| own.saturating_add(bytes) > quota) {
                return Err(match owner {
                    Some(_) => "your files would take too much space; REMOVE some",
                    None => {
                        "the files of unregistered nicks would take too much space; REGISTER, or REMOVE some"
                    }
                });
            }
        }
        shares.coming.insert(peer, (owner, bytes));
        Ok(())
    }

    /// Ends the upload in progress over a connection. The bytes no longer count as an upload in progress, whether or
    /// not the file was stored.
    pub fn end_upload(&mut self, peer: PeerId) {
        self.file_shares.coming.remove(&peer);
    }
}

fn add(known: &mut FileSum, sum: FileSum) {
    known.count += sum.count;
    known.bytes = known.bytes.saturating_add(sum.bytes);
}

fn subtract(known: &mut FileSum, sum: FileSum) {
    known.count = known.count.saturating_sub(sum.count);
    known.bytes = known.bytes.saturating_sub(sum.bytes);
}

/// Returns the casefolded nick. A text that is not a valid nick is returned unchanged.
fn casefolded_nick(nick: &str) -> Box<str> {
    match Nick::parse(nick) {
        Ok(nick) => nick.casefolded().into(),
        Err(_) => nick.into(),
    }
}
