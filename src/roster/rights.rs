//! Who may come into a room.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Whose a room is, and who may come in once it is closed. All of them are forms of registered nicks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Who made it; `None` for nobody who is registered.
    pub maker: Option<String>,
    /// Only those named here may enter it or know of it.
    pub is_closed: bool,
    /// Those who may change this, besides the maker.
    pub keepers: BTreeSet<String>,
    /// Those who may come in, besides.
    pub guests: BTreeSet<String>,
}

/// A change of it. What two servers change at once fits together in either order, unless it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is closed, or open again. If nobody made it, it is that one's from now on.
    Close(bool, String),
    /// That one may come in, and change this, or not.
    Invite(String, bool),
    /// That one may not come in.
    Uninvite(String),
}

impl Rights {
    /// The most that are named in one room.
    pub const NAMES_MAX: usize = 1000;

    /// Those of a room that somebody has just made.
    pub fn made_by(maker: &str) -> Self {
        Self {
            maker: Some(maker.to_owned()),
            ..Self::default()
        }
    }

    /// Whether that one may come in once it is closed.
    pub fn lets_in(&self, form: &str) -> bool {
        self.is_keeper(form) || self.guests.contains(form)
    }

    /// Whether that one may change this.
    pub fn is_keeper(&self, form: &str) -> bool {
        self.maker.as_deref() == Some(form) || self.keepers.contains(form)
    }

    /// How many are named.
    pub fn names(&self) -> usize {
        self.keepers.len() + self.guests.len()
    }

    /// Whether that one can be invited: it is named already, or there is space for one more.
    pub fn has_space_for(&self, form: &str) -> bool {
        self.lets_in(form) || self.names() < Self::NAMES_MAX
    }

    /// Those who are named, and what each is.
    pub fn named(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let maker = self.maker.iter().map(|form| (form.as_str(), "maker"));
        let keepers = self.keepers.iter().map(|form| (form.as_str(), "keeper"));
        let guests = self.guests.iter().map(|form| (form.as_str(), "guest"));
        maker.chain(keepers).chain(guests)
    }

    /// Changes it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Close(is_closed, who) => {
                self.is_closed = *is_closed;
                self.maker.get_or_insert_with(|| who.clone());
            }
            Change::Invite(who, is_keeper) => {
                self.keepers.remove(who);
                self.guests.remove(who);
                match is_keeper {
                    true => self.keepers.insert(who.clone()),
                    false => self.guests.insert(who.clone()),
                };
            }
            Change::Uninvite(who) => {
                self.keepers.remove(who);
                self.guests.remove(who);
            }
        }
    }

    /// That nick is nobody's own any more; whether it was named.
    pub fn forget(&mut self, form: &str) -> bool {
        let was_maker = self.maker.take_if(|maker| maker == form).is_some();
        self.keepers.remove(form) | self.guests.remove(form) | was_maker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_named_comes_in_and_keepers_change_who() {
        let mut rights = Rights::made_by("ann");
        for change in [
            Change::Invite("bob".into(), false),
            Change::Invite("cat".into(), true),
            Change::Invite("dan".into(), true),
            Change::Invite("dan".into(), false),
            Change::Invite("eve".into(), false),
            Change::Uninvite("eve".into()),
            Change::Close(true, "cat".into()),
        ] {
            rights.apply(&change);
        }
        let named: Vec<_> = rights.named().collect();
        let expected = [
            ("ann", "maker"),
            ("cat", "keeper"),
            ("bob", "guest"),
            ("dan", "guest"),
        ];
        assert_eq!(named, expected);
        assert!(!rights.lets_in("eve") && !rights.is_keeper("dan"));
        assert!(rights.forget("ann") && !rights.forget("ann"));
        assert!(!rights.is_keeper("ann"));
    }
}
