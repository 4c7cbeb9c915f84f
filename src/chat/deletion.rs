//! The deletion of rooms by operators.
//!
//! When a deletion is passed to the log, all connections leave the room at once. Until the log has deleted the room, no
//! room can be created under its name. If the log fails to delete the room, the room is restored.

use super::bans::ConnectionCommand;
use super::room::Room;
use super::{Chat, Committed};
use crate::model::{DeletedFile, Outcome};
use crate::protocol::{Code, RoomName};

impl Chat {
    /// Makes all connections of this server leave a room that is being deleted, and removes the room. Must be called
    /// while the state still contains the members of the room.
    pub(super) fn leave_deleted(&mut self, name: &RoomName) {
        let Some(id) = self.find_room(name) else {
            return;
        };
        let room = self.room(id);
        let readers = room.map_or_else(Vec::new, |room| self.readers_with_nicks(id, room));
        let Some(mut room) = self.take_room(id) else {
            return;
        };
        for (peer, nick) in readers {
            let departure = self.departure(id, &room, nick, "this room was deleted");
            self.send_command(peer, ConnectionCommand::Leave(departure));
        }
        room.readers.clear();
        self.removed_live.append(&mut room.live);
        self.new_owners
            .retain(|(name, _)| name.casefolded() != room.name.casefolded());
        self.has_acl_changes = true;
        self.deleting.insert(room.name.casefolded().into(), room);
    }

    /// Returns whether a room named `name` is being deleted and the log has not reported the outcome yet.
    pub(super) fn is_being_deleted(&self, name: &RoomName) -> bool {
        self.deleting.contains_key(name.casefolded())
    }

    /// Records that the log has deleted a room and its files, or that the deletion has failed.
    pub(super) fn room_deleted(
        &mut self,
        name: &RoomName,
        files: &[DeletedFile],
        outcome: Outcome,
    ) -> Result<Committed, Code> {
        if outcome.is_ok() {
            self.leave_deleted(name); // if another server deletes the room
        }
        let room = self.deleting.remove(name.casefolded());
        match outcome {
            Ok((id, time)) => {
                self.files_went(files);
                let released = files.iter().filter_map(|file| file.contents);
                self.released
                    .extend(released.map(|contents| contents.sha256));
                self.has_deleted = true;
                Ok(Committed { id, time, seq: 0 })
            }
            Err(code) => {
                if let Some(room) = room {
                    self.put_back(room);
                }
                Err(code)
            }
        }
    }

    /// Restores a room that the log could not delete. The room has no members.
    fn put_back(&mut self, was: Room) {
        let id = self.insert_room(RoomName::clone(&was.name));
        self.set_acl(id, was.acl);
        if let Some(room) = self.rooms.get_mut(id) {
            room.last_id = was.last_id;
            room.topic = was.topic;
            room.acl_version = was.acl_version;
        }
    }

    /// Returns whether rooms were deleted since the last call. The log must still delete their events.
    pub fn take_deleted(&mut self) -> bool {
        std::mem::take(&mut self.has_deleted)
    }
}
