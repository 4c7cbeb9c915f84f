//! The owner, moderators and invited nicks of a room.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::protocol::RoomName;

/// The access list of a room. All nicks in the list are registered, and are stored in comparison form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomAcl {
    /// The registered nick that created the room; `None` if the nick was not registered.
    #[serde(rename = "maker")]
    pub owner: Option<String>,
    /// Whether the room is invite-only: only the nicks in this list may join the room or know of it.
    pub is_closed: bool,
    /// The moderators: nicks that may change this list besides the owner.
    #[serde(rename = "keepers")]
    pub moderators: BTreeSet<String>,
    /// The other nicks that may join.
    #[serde(rename = "guests")]
    pub invited: BTreeSet<String>,
}

/// A change to an access list. If two servers make changes at once, the order does not matter, unless both changes
/// concern the same nick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclChange {
    /// Makes the room invite-only (`true`) or open (`false`). If the room has no owner, the nick becomes its owner.
    Close(bool, String),
    /// Invites a nick: as a moderator (`true`), or as a guest (`false`).
    Invite(String, bool),
    /// Removes a nick from the moderators and guests.
    Uninvite(String),
}

/// An access list as it was stored, with its version. The version counts the changes to all access lists. Lists may
/// arrive in any order: of two lists of the same room, the one with the higher version is newer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of the fields say what they are
pub struct VersionedAcl {
    pub room: RoomName,
    pub acl: RoomAcl,
    pub version: u64,
}

impl RoomAcl {
    /// The maximum number of nicks in one list besides the owner.
    pub const NAMES_MAX: usize = 1000;

    /// Returns the list of a room that `owner` has just created.
    pub fn owned_by(owner: &str) -> Self {
        Self {
            owner: Some(owner.to_owned()),
            ..Self::default()
        }
    }

    /// Returns whether a nick may join the room when it is invite-only.
    pub fn admits(&self, form: &str) -> bool {
        self.is_moderator(form) || self.invited.contains(form)
    }

    /// Returns whether a nick is the owner or a moderator. Only the owner and the moderators may change the list.
    pub fn is_moderator(&self, form: &str) -> bool {
        self.owner.as_deref() == Some(form) || self.moderators.contains(form)
    }

    /// Returns the number of nicks in the list besides the owner.
    pub fn names(&self) -> usize {
        self.moderators.len() + self.invited.len()
    }

    /// Returns whether a nick can be invited: either the list already contains it, or there is space for one more.
    pub fn has_space_for(&self, form: &str) -> bool {
        self.admits(form) || self.names() < Self::NAMES_MAX
    }

    /// Returns the nicks in the list, each with the protocol's word for its role.
    pub fn named(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let owner = self.owner.iter().map(|form| (form.as_str(), "maker"));
        let moderators = self.moderators.iter().map(|form| (form.as_str(), "keeper"));
        let invited = self.invited.iter().map(|form| (form.as_str(), "guest"));
        owner.chain(moderators).chain(invited)
    }

    /// Changes the list.
    pub fn apply(&mut self, change: &AclChange) {
        match change {
            AclChange::Close(is_closed, by) => {
                self.is_closed = *is_closed;
                self.owner.get_or_insert_with(|| by.clone());
            }
            AclChange::Invite(nick, is_moderator) => {
                self.moderators.remove(nick);
                self.invited.remove(nick);
                let list = if *is_moderator {
                    &mut self.moderators
                } else {
                    &mut self.invited
                };
                list.insert(nick.clone());
            }
            AclChange::Uninvite(nick) => {
                self.moderators.remove(nick);
                self.invited.remove(nick);
            }
        }
    }

    /// Removes a nick that was unregistered. Returns whether the nick was in the list.
    pub fn forget(&mut self, form: &str) -> bool {
        let was_owner = self.owner.take_if(|owner| owner == form).is_some();
        self.moderators.remove(form) | self.invited.remove(form) | was_owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_in_the_list_may_join_and_moderators_change_it() {
        let mut acl = RoomAcl::owned_by("ann");
        for change in [
            AclChange::Invite("bob".into(), false),
            AclChange::Invite("cat".into(), true),
            AclChange::Invite("dan".into(), true),
            AclChange::Invite("dan".into(), false),
            AclChange::Invite("eve".into(), false),
            AclChange::Uninvite("eve".into()),
            AclChange::Close(true, "cat".into()),
        ] {
            acl.apply(&change);
        }
        let named: Vec<_> = acl.named().collect();
        let expected = [
            ("ann", "maker"),
            ("cat", "keeper"),
            ("bob", "guest"),
            ("dan", "guest"),
        ];
        assert_eq!(named, expected);
        assert!(!acl.admits("eve") && !acl.is_moderator("dan"));
        assert!(acl.forget("ann") && !acl.forget("ann"));
        assert!(!acl.is_moderator("ann"));
    }
}
