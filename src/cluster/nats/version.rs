//! Whether a server can be used.

use std::{error, fmt};

use super::codec::Info;

/// Why a server cannot be used for a log that several servers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The version is older than [`VERSION_MIN`], or cannot be read.
    Old(String),
    /// JetStream is disabled.
    NoJetStream,
}

/// The oldest version whose JetStream keeps what it has acknowledged when its process is killed.
pub const VERSION_MIN: [u32; 3] = [2, 10, 23];

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = VERSION_MIN;
        match self {
            Self::Old(version) => write!(
                f,
                "this is nats-server {version}, which can lose messages; at least {major}.{minor}.{patch} is needed"
            ),
            Self::NoJetStream => write!(
                f,
                "JetStream is disabled; it is enabled with a section jetstream in the settings of nats-server"
            ),
        }
    }
}

impl error::Error for Unfit {}

impl Info {
    /// Checks that the server can be used for a log that several servers share.
    ///
    /// # Errors
    /// When it is too old, or has no JetStream.
    pub fn check(&self) -> Result<(), Unfit> {
        // What follows a hyphen names a build: `2.12.0-RC.1`.
        let plain = self.version.split('-').next().unwrap_or_default();
        let numbers: Result<Vec<u32>, _> = plain.split('.').map(str::parse).collect();
        if !numbers.is_ok_and(|numbers| numbers.len() >= 3 && numbers[..] >= VERSION_MIN[..]) {
            return Err(Unfit::Old(self.version.clone()));
        }
        self.jetstream.then_some(()).ok_or(Unfit::NoJetStream)
    }
}
