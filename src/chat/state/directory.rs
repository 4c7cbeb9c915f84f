//! The accounts, rooms, bans and hooks in the state that servers agree on.

use super::State;
use crate::chat::Refused;
use crate::model::{Ban, Claim, Directory};
use crate::protocol::ban_target::BanTarget;
use crate::protocol::{Code, Nick, Time};

impl State {
    /// Returns the accounts, rooms, bans and hooks.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Sets the stored accounts, rooms, bans and hooks when the server starts.
    pub fn restore_directory(&mut self, directory: Directory) {
        self.directory = directory;
    }

    /// Returns a number that changes whenever `nick` is registered or its password is changed; 0 if neither has
    /// happened since the start.
    pub fn account_version(&self, nick: &Nick) -> u64 {
        let version = self.account_versions.get(nick.casefolded());
        version.copied().unwrap_or_default()
    }

    /// Checks that a claim fits the accounts, which may have changed since the claim was proposed.
    ///
    /// # Errors
    /// When the nick is registered and the claim is not that of its owner, or when the claim is that of an owner and
    /// the nick is not registered.
    pub(super) fn check_account(&self, nick: &Nick, claim: &Claim) -> Result<(), Refused> {
        let account = self.directory.accounts.get(nick);
        let is_registered = account.is_some_and(|own| own.casefolded() == nick.casefolded());
        match claim {
            Claim::Account if !is_registered => {
                let text = format!("{nick} is not registered any more");
                Err((Code::BadPassword, text))
            }
            Claim::Free | Claim::Shared | Claim::Password(_) if is_registered => {
                let text =
                    format!("{nick} is registered; give its password: NICK {nick} <password>");
                Err((Code::NeedPassword, text))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add_account(&mut self, nick: &Nick) {
        self.directory.add_account(nick);
        self.account_changes += 1;
        let version = self.account_changes;
        self.account_versions
            .insert(nick.casefolded().into(), version);
    }

    pub(super) fn remove_account(&mut self, nick: &Nick) {
        self.directory.remove_account(nick);
        self.account_versions.remove(nick.casefolded());
    }

    /// Adds a ban, which replaces an earlier ban of the same target. Removes bans that have ended.
    pub(super) fn add_ban(&mut self, ban: &Ban, now: Time) {
        let key = ban.target.key();
        let is_over = |known: &Ban| known.until.is_some_and(|until| until <= now);
        let bans = &mut self.directory.bans;
        bans.retain(|known| known.target.key() != key && !is_over(known));
        bans.push(ban.clone());
    }

    pub(super) fn remove_ban(&mut self, target: &BanTarget) {
        let key = target.key();
        let bans = &mut self.directory.bans;
        bans.retain(|known| known.target.key() != key);
    }
}
