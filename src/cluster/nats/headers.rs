//! The headers of a message.

use super::error::{Error, Malformed};

/// The first line of a block of headers, without a status.
const VERSION: &str = "NATS/1.0";

/// The headers of a message, in order. A name may occur more than once. Upper and lower case differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// The status of a message that a server sends in the place of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The number. 100 is a sign of life, 404 means that there are no messages, 408 that the request has expired, 409
    /// that the consumer cannot go on, and 503 that nobody answers requests with this subject.
    pub code: u16,
    /// The reason for a person. It may be empty.
    pub text: String,
}

impl Headers {
    /// Returns no headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a header.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is empty or has characters other than visible ASCII characters, or has a colon; or
    /// if the value has a line break, or spaces at its ends, which a reader would remove.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(Error::Invalid("the name of a header"));
        }
        if value.contains(['\r', '\n']) || value.trim() != value {
            return Err(Error::Invalid("the value of a header"));
        }
        self.0.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Returns the value of the first header with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.iter();
        all.find(|header| header.0 == name).map(|header| header.1)
    }

    /// Returns the names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the headers whose names are in `names`.
    pub(super) fn remove(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Returns the size of the block of headers in bytes; no headers have none.
    pub(super) fn encoded_len(&self) -> usize {
        let lines = self
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4);
        if self.is_empty() {
            return 0;
        }
        VERSION.len() + 4 + lines.sum::<usize>()
    }

    /// Appends the block of headers to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(VERSION.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Parses a block of headers.
    pub(super) fn parse(block: &[u8]) -> Result<(Option<Status>, Self), Malformed> {
        let wrong = Malformed::Wrong("headers");
        let block = std::str::from_utf8(block).map_err(|_| wrong)?;
        let block = block.strip_suffix("\r\n\r\n").ok_or(wrong)?;
        let mut lines = block.split("\r\n");
        let first = lines.next().and_then(|line| line.strip_prefix(VERSION));
        let first = first.ok_or(wrong)?;
        let status = match first.trim() {
            "" => None,
            _ if !first.starts_with(' ') => return Err(wrong),
            status => {
                let (code, text) = status.split_once(' ').unwrap_or((status, ""));
                let text = text.trim().to_owned();
                let code = code.parse().map_err(|_| wrong)?;
                Some(Status { code, text })
            }
        };
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').ok_or(wrong)?;
            Ok((name.to_owned(), value.trim().to_owned()))
        });
        Ok((status, Self(headers.collect::<Result<_, _>>()?)))
    }
}
