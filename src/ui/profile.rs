//! The settings of `chatc` and the state that it saves between runs. They are files in the standard folders of the
//! platform.
//!
//! People write `settings.toml`; this program only reads it. `state.toml` and `secret` belong to this program: they
//! contain joined rooms, read positions and unsent text, and the password of the nick.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use crate::client::Addresses;

/// The maximum number of bytes that are read from a file. A larger file was not written by this program.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The contents of `settings.toml`. Flags on the command line override them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The default server: a name in `servers`, or an address.
    pub server: Option<String>,
    /// The nick.
    pub nick: Option<String>,
    /// Whether the bell rings at a mention; the default is yes.
    pub bell: Option<bool>,
    /// Whether joins and leaves are shown; the default is yes.
    pub presence: Option<bool>,
    /// Whether the mouse is used; the default is yes. (With Shift, terminals still select text.)
    pub mouse: Option<bool>,
    /// Whether the line client, and not the screen, is used on a terminal; the default is no.
    pub plain: Option<bool>,
    /// The colors: `dark`, `light`, `few` or `none`. By default, chatc queries the terminal.
    pub colors: Option<String>,
    /// How pictures are shown: `kitty`, `sixel`, `blocks` or `none`. By default, chatc queries the terminal.
    pub pictures: Option<String>,
    /// Servers, by short names.
    #[serde(default)]
    pub servers: BTreeMap<String, ServerSettings>,
}

/// A server with a short name, in the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerSettings {
    /// The address: `HOST` or `HOST:PORT`; or several with commas, if several servers share the chat.
    pub address: String,
    /// The nick on that server.
    pub nick: Option<String>,
    /// A file whose first line is the password of that nick.
    pub password_file: Option<PathBuf>,
    /// A file whose first line is the password of the server.
    pub server_password_file: Option<PathBuf>,
    /// The rooms to join.
    #[serde(default)]
    pub rooms: Vec<String>,
}

/// The contents of `state.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The saved state of each chat, by its first address.
    #[serde(default)]
    pub servers: BTreeMap<String, SavedServer>,
}

/// The saved state of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServer {
    /// The room that was shown last.
    pub room: Option<String>,
    /// The joined rooms.
    #[serde(default)]
    pub rooms: Vec<SavedRoom>,
    /// The ignored nicks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored: BTreeSet<String>,
    /// The words that are treated like the user's nick.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub highlights: BTreeSet<String>,
}

/// The saved state of a room or private chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRoom {
    /// The name of the room with `#`, or the nick of the private chat.
    pub name: String,
    /// The id of the last event that was read.
    pub seen: u64,
    /// The unsent text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub draft: String,
    /// Whether the room is muted.
    #[serde(default, rename = "muted", skip_serializing_if = "std::ops::Not::not")]
    pub is_muted: bool,
    /// Messages that had not been answered when chatc ended.
    #[serde(default, alias = "unsaid", skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<String>,
}

/// The folders for settings and state.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Profile {
    /// Finds the folders of the platform. There are none for a user without a home folder, such as the user of some
    /// services.
    pub fn find() -> Self {
        let Ok(base) = etcetera::choose_base_strategy() else {
            return Self::default();
        };
        let state = base.state_dir().unwrap_or_else(|| base.data_dir());
        Self {
            config: Some(base.config_dir().join("chatc")),
            state: Some(state.join("chatc")),
        }
    }

    /// Returns the path of the settings.
    pub fn settings_path(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.join("settings.toml"))
    }

    /// Reads the settings. Without a file, returns the default settings.
    ///
    /// # Errors
    /// [`Failure::Settings`] if the file is invalid.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let Some(path) = self.settings_path() else {
            return Ok(Settings::default());
        };
        let text = match read(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Settings::default());
            }
            Err(source) => {
                let verb = "read";
                return Err(Failure::File { verb, path, source });
            }
        };
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text
                    .get(..span.start)
                    .map_or(0, |t| t.matches('\n').count())
            });
            let why = error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            Failure::Settings { path, line, why }
        })
    }

    /// Reads the saved state. It is empty if the file is missing or invalid.
    pub fn state(&self) -> State {
        let path = self.state.as_ref().map(|state| state.join("state.toml"));
        let text = path.and_then(|path| read(&path).ok());
        text.and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Returns the saved state of one chat.
    pub fn recall(&self, addresses: &Addresses) -> SavedServer {
        let first = addresses.first().to_string();
        self.state().servers.remove(&first).unwrap_or_default()
    }

    /// Saves the state of one chat. If the file cannot be written, the state is lost.
    pub fn remember(&self, addresses: &Addresses, saved: SavedServer) {
        let Some(folder) = &self.state else { return };
        // The state is read again, because another chatc may have saved the state of another server meanwhile.
        let mut state = self.state();
        state.servers.insert(addresses.first().to_string(), saved);
        if let Ok(text) = toml::to_string(&state) {
            let _ = write(folder, "state.toml", &text);
        }
    }

    /// Returns a random password for the nick at `addresses`. It is the same in every run, and a different one for each
    /// first address. With it, the screen, scripts, and a restart after a crash can share the nick. Returns `None` without a
    /// home folder, where it would be saved.
    pub fn secret(&self, addresses: &Addresses) -> Option<String> {
        let folder = self.state.as_ref()?;
        let path = folder.join("secret");
        let root = match read(&path) {
            Ok(root) if root.trim().len() >= 32 => root,
            _ => {
                write(folder, "secret", &format!("{}\n", random_password())).ok()?;
                read(&path).ok()?
            }
        };
        let digest = Sha256::digest(format!("{} {}", root.trim(), addresses.first()));
        Some(
            digest
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

/// Returns a password of 128 random bits, which come from the random keys of the standard library's hasher.
pub fn random_password() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file that only this user may read. Either all of it is written, or nothing.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let part = folder.join(format!("{name}.{}.part", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&part, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(folder: &Path) -> Profile {
        let (config, state) = (Some(folder.join("config")), Some(folder.join("state")));
        Profile { config, state }
    }

    #[test]
    fn a_secret_is_the_same_in_every_run_and_another_for_each_server() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        let secret = home(folder.path()).secret(&one).unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(home(folder.path()).secret(&one).unwrap(), secret);
        assert_ne!(home(folder.path()).secret(&two).unwrap(), secret);
        assert_eq!(Profile::default().secret(&one), None);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join("state/secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_saved_state_is_read_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        let place = SavedRoom {
            name: "#ops".into(),
            seen: 17,
            draft: "half a \"line\"".into(),
            is_muted: true,
            unconfirmed: vec!["one".into()],
        };
        let saved = SavedServer {
            room: Some("#ops".into()),
            rooms: vec![place],
            ignored: ["bob".to_owned()].into(),
            highlights: ["deploy".to_owned()].into(),
        };
        home.remember(&"one".parse().unwrap(), saved.clone());
        assert_eq!(home.state().servers.get("one:5002"), Some(&saved));
        fs::write(folder.path().join("state/state.toml"), "broken [").unwrap();
        assert_eq!(home.state(), State::default());
    }

    #[test]
    fn settings_are_read_and_an_error_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        assert_eq!(home.settings().unwrap(), Settings::default());
        let path = home.settings_path().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "server = 'work'\nbell = false\n[servers.work]\naddress = 'chat.example.org'\nrooms = ['#ops']\n").unwrap();
        let settings = home.settings().unwrap();
        assert_eq!(
            (settings.bell, &settings.servers["work"].rooms[..]),
            (Some(false), &["#ops".to_owned()][..])
        );
        fs::write(&path, "bell = true\nbel = false\n").unwrap();
        let why = home.settings().unwrap_err().to_string();
        assert!(
            why.contains("settings.toml:2: unknown field `bel`"),
            "{why}"
        );
    }
}
