//! Writes the state that servers agree on, and reads it back, so that a server can continue where it was.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Here, Member, NickId, OpenRoom, ServerSet, State, User};
use crate::model::{Ban, Directory, ServerName};
use crate::protocol::name::ByLook;
use crate::protocol::{Nick, RoomName};

/// The state, without what a server alone knows. Hooks and access lists are not part of it, because no decision depends
/// on them.
#[derive(Serialize, Deserialize)]
struct Written {
    /// The users, in the order in which the nicks were taken.
    users: Vec<WrittenUser>,
    /// For each room that has members, its casefolded name, and the places of the members in `users`, each with the
    /// servers through which it is in the room.
    members: Vec<(Box<str>, Vec<WrittenMember>)>,
    /// The rooms that servers have opened.
    open: Vec<(Arc<RoomName>, u64)>,
    servers: Vec<ServerName>,
    accounts: Vec<Nick>,
    bans: Vec<Ban>,
    applied_at_ms: u64,
}

/// The place of a member in `Written::users`, and the servers through which it is in the room.
type WrittenMember = (usize, u64);

#[derive(Serialize, Deserialize)]
struct WrittenUser {
    nick: Nick,
    reservation: Option<[u8; 32]>,
    servers: u64,
    away: Option<Box<str>>,
    /// The time at which the nick is released, in milliseconds, and the address that last used it.
    reserved: Option<(u64, IpAddr)>,
}

impl State {
    /// Returns the state as text, without what this server alone knows. Users and members are in an order that does not
    /// depend on the server.
    pub fn written(&self) -> String {
        let mut users = BTreeMap::new();
        let mut slot = 0;
        while let Some((id, user)) = self.users.from_slot(slot) {
            slot = id.slot() + 1;
            users.insert(id, user);
        }
        let places: BTreeMap<NickId, usize> = users.keys().copied().zip(0..).collect();
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(room, _)| *room);
        let members = members.into_iter().map(|(room, members)| {
            let members = members.iter();
            let members =
                members.filter_map(|(id, member)| Some((*places.get(id)?, member.servers.0)));
            (room.clone(), members.collect())
        });
        let mut accounts: Vec<_> = self.directory.accounts.values().cloned().collect();
        accounts.sort_by(|a, b| a.casefolded().cmp(b.casefolded()));
        let open = self.open.values();
        let written = Written {
            members: members.collect(),
            open: open
                .map(|open| (open.name.clone(), open.servers.0))
                .collect(),
            servers: self.servers.clone(),
            accounts,
            bans: self.directory.bans.clone(),
            applied_at_ms: self.applied_at_ms,
            users: users
                .into_iter()
                .map(|(id, user)| WrittenUser {
                    nick: user.nick.clone(),
                    reservation: user.reservation.as_deref().copied(),
                    servers: user.servers.0,
                    away: user.away.clone(),
                    reserved: self.reserved.nicks.get(&id).copied(),
                })
                .collect(),
        };
        serde_json::to_string(&written).expect("plain structs are JSON")
    }

    /// Reads a state that [`Self::written`] has returned. Keeps the hooks and access lists that are known.
    ///
    /// # Errors
    /// When the text is not a state.
    pub fn read(&mut self, written: &str) -> Result<(), serde_json::Error> {
        let written: Written = serde_json::from_str(written)?;
        let mut accounts = ByLook::default();
        for nick in &written.accounts {
            accounts.insert(nick, nick.clone());
        }
        let known = std::mem::take(self).directory;
        self.directory = Directory {
            accounts,
            bans: written.bans,
            ..known
        };
        self.servers = written.servers;
        for (name, servers) in written.open {
            let servers = ServerSet(servers);
            let form = name.casefolded().into();
            self.open.insert(form, OpenRoom { name, servers });
        }
        self.applied_at_ms = written.applied_at_ms;
        let mut ids = Vec::new();
        for user in written.users {
            let id = self.users.insert(User {
                nick: user.nick.clone(),
                reservation: user.reservation.map(Box::new),
                servers: ServerSet(user.servers),
                away: user.away,
                here: Here::default(),
            });
            self.nicks.insert(&user.nick, id);
            if let Some((at_ms, origin)) = user.reserved {
                self.reserved.insert(id, at_ms, origin);
            }
            ids.push(id);
        }
        for (room, members) in written.members {
            let members = members.into_iter().filter_map(|(place, servers)| {
                let servers = ServerSet(servers);
                Some((
                    *ids.get(place)?,
                    Member {
                        servers,
                        ..Member::NEW
                    },
                ))
            });
            self.members.insert(room, members.collect());
        }
        Ok(())
    }
}
