//! Completes what users leave out: the `#` of a room, and the home folder of a path.

use std::path::PathBuf;

/// Returns a room's name with its `#`. Users of a shell leave it out.
pub fn room_name(room: &str) -> String {
    if room.starts_with('#') {
        room.to_owned()
    } else {
        format!("#{room}")
    }
}

/// Returns a path as a shell would read it: `~/` is the home folder.
pub fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}
