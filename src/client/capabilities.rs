//! The version, name and capabilities of a server; see section 4.19 of `protocol.md`.

/// The answer of a server to `HELLO`.
///
/// ```
/// use plainchat::client::ServerInfo;
///
/// let server = ServerInfo::parse("1 team.example edit nonce react reply tags");
/// assert_eq!((server.version, &server.name[..]), (1, "team.example"));
/// assert!(server.has("react") && !server.has("multiline"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version of the protocol; 0 if the server has not sent it.
    pub version: u32,
    /// The name of the server.
    pub name: String,
    /// The optional parts of the protocol that the server supports, each one word.
    pub capabilities: Vec<String>,
}

impl ServerInfo {
    /// Parses the text after `OK HELLO`.
    pub fn parse(rest: &str) -> Self {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let version = words.next().and_then(|word| word.parse().ok());
        Self {
            version: version.unwrap_or_default(),
            name: words.next().unwrap_or_default().to_owned(),
            capabilities: words.map(str::to_owned).collect(),
        }
    }

    /// Returns whether the server supports an optional part of the protocol, such as `edit`, `nonce`, `react`,
    /// `reply` or `tags`.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }
}
