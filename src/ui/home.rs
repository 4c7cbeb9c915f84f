//! What `chatc` remembers between two runs, and how a person wants it: files in the platform's own places.
//!
//! `settings.toml` is written by people and only read here. `state.toml` and `secret` are this program's own: which
//! rooms one was in and how far one has read, what was typed and not said, and what guards one's nick.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Failure;
use crate::client::Address;

/// The most that is read of a file here: one that is larger is not ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How a person wants it: `settings.toml`. Flags of the command line win over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The server to go to when none is named: a name of `servers`, or an address.
    pub server: Option<String>,
    /// What to be called.
    pub nick: Option<String>,
    /// Whether the bell rings when one is named; it does unless told.
    pub bell: Option<bool>,
    /// Whether it is shown who comes and goes; it is unless told.
    pub presence: Option<bool>,
    /// Whether the mouse is used; it is unless told. (With Shift pressed, terminals mark text all the same.)
    pub mouse: Option<bool>,
    /// Whether the screen is used on a terminal, or the line client; the screen unless told.
    pub plain: Option<bool>,
    /// `dark`, `light`, `few` or `none`; found out unless told.
    pub colors: Option<String>,
    /// Servers by short names.
    #[serde(default)]
    pub servers: BTreeMap<String, Server>,
}

/// A server with a short name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Server {
    /// `HOST` or `HOST:PORT`.
    pub address: String,
    /// What to be called there.
    pub nick: Option<String>,
    /// A file whose first line is the password of that nick.
    pub password_file: Option<PathBuf>,
    /// A file whose first line is the password of the server itself.
    pub server_password_file: Option<PathBuf>,
    /// The rooms to enter.
    #[serde(default)]
    pub rooms: Vec<String>,
}

/// What is remembered: `state.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By address.
    #[serde(default)]
    pub servers: BTreeMap<String, Visited>,
}

/// What is remembered of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visited {
    /// The room that was shown last.
    pub room: Option<String>,
    /// The rooms that one was in.
    #[serde(default)]
    pub rooms: Vec<Place>,
    /// Whom one does not want to hear.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored: BTreeSet<String>,
}

/// A room that one was in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// With its `#`; a nick for a conversation.
    pub name: String,
    /// The last event that one has seen.
    pub seen: u64,
    /// What was typed and not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub draft: String,
    /// What was said and had no answer when one left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsaid: Vec<String>,
}

/// The folders.
#[derive(Clone, Debug, Default)]
pub struct Home {
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Home {
    /// Those of the platform; none where there is no home, as for some services.
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

    /// Where settings are looked for.
    pub fn settings_path(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.join("settings.toml"))
    }

    /// The settings; without a file, none.
    ///
    /// # Errors
    /// [`Failure::Settings`] when the file says what this program does not understand.
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

    /// What is remembered; nothing when the file is missing or broken.
    pub fn state(&self) -> State {
        let path = self.state.as_ref().map(|state| state.join("state.toml"));
        let text = path.and_then(|path| read(&path).ok());
        text.and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Remembers what became of one server. What cannot be written is forgotten.
    pub fn remember(&self, address: &Address, visited: Visited) {
        let Some(folder) = &self.state else { return };
        // Read anew: another chatc may have been at another server meanwhile.
        let mut state = self.state();
        state.servers.insert(address.to_string(), visited);
        if let Ok(text) = toml::to_string(&state) {
            let _ = write(folder, "state.toml", &text);
        }
    }

    /// What guards one's nick at `address`: the same in every run, another for each server, and nobody guesses it.
    /// So one's screen, one's scripts and one's return after a crash share the nick. `None` without a home to keep
    /// it in.
    pub fn secret(&self, address: &Address) -> Option<String> {
        let folder = self.state.as_ref()?;
        let path = folder.join("secret");
        let root = match read(&path) {
            Ok(root) if root.trim().len() >= 32 => root,
            _ => {
                write(folder, "secret", &format!("{}\n", any_secret())).ok()?;
                read(&path).ok()?
            }
        };
        let digest = Sha256::digest(format!("{} {address}", root.trim()));
        Some(
            digest
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

/// 128 bits that nobody guesses: the keys of the standard library's hashes are random.
pub fn any_secret() -> String {
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

/// Writes a file that nobody else may read, whole or not at all.
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

    fn home(folder: &Path) -> Home {
        let (config, state) = (Some(folder.join("config")), Some(folder.join("state")));
        Home { config, state }
    }

    #[test]
    fn a_secret_is_the_same_in_every_run_and_another_for_each_server() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        let secret = home(folder.path()).secret(&one).unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(home(folder.path()).secret(&one).unwrap(), secret);
        assert_ne!(home(folder.path()).secret(&two).unwrap(), secret);
        assert_eq!(Home::default().secret(&one), None);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join("state/secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_remembered_is_there_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        let place = Place {
            name: "#ops".into(),
            seen: 17,
            draft: "half a \"line\"".into(),
            unsaid: vec!["one".into()],
        };
        let visited = Visited {
            room: Some("#ops".into()),
            rooms: vec![place],
            ignored: ["bob".to_owned()].into(),
        };
        home.remember(&"one".parse().unwrap(), visited.clone());
        assert_eq!(home.state().servers.get("one:5002"), Some(&visited));
        fs::write(folder.path().join("state/state.toml"), "broken [").unwrap();
        assert_eq!(home.state(), State::default());
    }

    #[test]
    fn settings_are_read_and_what_is_wrong_in_them_is_told_with_its_line() {
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
