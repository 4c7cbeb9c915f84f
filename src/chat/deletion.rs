//! Rooms that an operator deletes.
//!
//! All connections leave such a room when its deletion is passed to the log, and until the log has done it no room of that
//! name can be created. If the log fails, the room is there again.

use super::bans::ConnectionCommand;
use super::room::Room;
use super::{Chat, Committed, RoomId};
use crate::model::{DeletedFile, Outcome};
use crate::protocol::{Code, RoomName};

impl Chat {
    /// Takes a room out of the chat, to be deleted from the log: its connections leave it.
    pub fn delete_room(&mut self, id: RoomId) {
        let Some(mut room) = self.take_room(id) else {
            return;
        };
        for (peer, nick) in self.readers_with_nicks(&room) {
            let departure = self.departure(id, &room, nick, "this room was deleted");
            self.send_command(peer, ConnectionCommand::Leave(departure));
        }
        room.readers.clear();
        room.members.clear();
        self.removed_live.append(&mut room.live);
        self.new_owners
            .retain(|(name, _)| name.casefolded() != room.name.casefolded());
        self.has_acl_changes = true;
        self.deleting.insert(room.name.casefolded().into(), room);
    }

    /// Returns whether the log has not deleted a room of that name yet.
    pub(super) fn is_being_deleted(&self, name: &RoomName) -> bool {
        self.deleting.contains_key(name.casefolded())
    }

    /// Records that the log has deleted a room with these files, or has failed to.
    pub(super) fn room_deleted(
        &mut self,
        name: &RoomName,
        files: &[DeletedFile],
        outcome: Outcome,
    ) -> Result<Committed, Code> {
        // Another server on the same log may have deleted it.
        if let (Ok(_), Some(id)) = (&outcome, self.find_room(name)) {
            self.delete_room(id);
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

    /// Restores a room that is still in the log; it has no members now.
    fn put_back(&mut self, was: Room) {
        let id = self.insert_room(RoomName::clone(&was.name));
        self.set_acl(id, was.acl);
        if let Some(room) = self.rooms.get_mut(id) {
            room.last_id = was.last_id;
            room.topic = was.topic;
            room.acl_version = was.acl_version;
        }
    }

    /// Returns whether the log still holds events of deleted rooms; true only once.
    pub fn take_deleted(&mut self) -> bool {
        std::mem::take(&mut self.has_deleted)
    }
}
