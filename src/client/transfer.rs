//! Uploads and downloads files in constant memory. Files are hashed during the transfer, and the digests are
//! compared.

use std::io::{self, SeekFrom};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, FutureExt};
use sha2::{Digest as _, Sha256};

use super::connection::{Line, one_line};
use super::error::{Error, closed, refused};
use super::reply::Reply;
use super::simple::{Client, reply};
use crate::protocol::{Digest, ServerLine, parse_number};

/// The number of bytes that are read from a file at once. At this size, the system calls take little of the time.
const PIECE_BYTES: usize = 128 * 1024;

/// The length and the SHA-256 digest of some bytes. To resume a [`Client::download`], pass the values for the part that
/// you already have.
///
/// ```
/// # futures_lite::future::block_on(async {
/// use plainchat::client::FileDigest;
///
/// let digest = FileDigest::of(&b"abc"[..]).await?;
/// assert_eq!(digest.length(), 3);
/// assert!(digest.digest().to_string().starts_with("ba7816bf"));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct FileDigest {
    length: u64,
    hash: Sha256,
}

impl FileDigest {
    /// Hashes everything that `reader` returns.
    ///
    /// # Errors
    /// Those of `reader`.
    pub async fn of(mut reader: impl AsyncRead + Unpin) -> io::Result<Self> {
        let mut hashed = Self::default();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece).await? {
                0 => return Ok(hashed),
                length => hashed.add(piece.get(..length).unwrap_or_default()),
            }
        }
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the SHA-256.
    pub fn digest(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

/// A file that the server has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file's id, for [`Client::download`].
    pub file: u64,
    /// The file's length in bytes.
    pub length: u64,
    /// The digest of the bytes that were sent, and so of the file.
    pub sha256: Digest,
}

impl Client {
    /// Uploads a file to the current room. Calls `progress` with the number of bytes sent so far.
    ///
    /// The file is read twice, the first time to compute its length and digest. It is announced in the room only when
    /// the server has all of it. If the server refuses the file before all bytes are sent, the connection becomes
    /// unusable, because the server still expects the rest of the file, only to drop it. After a refusal because of the
    /// size or digest, the server closes the connection.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// let file = futures_lite::io::Cursor::new(b"minutes of the meeting");
    /// let stored = client.upload("minutes.txt", file, |_| {}).await?;
    /// println!("file {} has {} bytes", stored.file, stored.length);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Read`], also if the file has become shorter; [`Error::Refused`]; [`Error::Corrupt`] if the server has
    /// stored something else; those of [`Client::request`].
    pub async fn upload(
        &mut self,
        name: &str,
        file: impl AsyncRead + AsyncSeek + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        self.upload_whole(name, "", file, progress).await
    }

    /// Uploads a file for a nick alone, as a direct message. Both nicks must be registered. Otherwise this is like
    /// [`Client::upload`].
    ///
    /// # Errors
    /// Those of [`Client::upload`].
    pub async fn upload_to(
        &mut self,
        nick: &str,
        name: &str,
        file: impl AsyncRead + AsyncSeek + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        self.upload_whole(name, &format!(" @{nick}"), file, progress)
            .await
    }

    /// Uploads a file. `to` is the end of the line, which names the recipient.
    async fn upload_whole(
        &mut self,
        name: &str,
        to: &str,
        mut file: impl AsyncRead + AsyncSeek + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        let hashed = FileDigest::of(&mut file).await.map_err(Error::Read)?;
        file.seek(SeekFrom::Start(0)).await.map_err(Error::Read)?;
        let (length, digest) = (hashed.length(), hashed.digest());
        let line = one_line(format!("UPLOAD {name} {length} {digest}{to}"))?;
        self.send_file(line, file, Some(length), progress).await
    }

    /// Uploads everything that `reader` returns to the current room, as a file of unknown length. This ends the
    /// sending direction of the connection, so no request can follow.
    ///
    /// # Errors
    /// Those of [`Client::upload`].
    pub async fn upload_stream(
        &mut self,
        name: &str,
        reader: impl AsyncRead + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        let line = one_line(format!("UPLOAD {name} *"))?;
        self.send_file(line, reader, None, progress).await
    }

    async fn send_file(
        &mut self,
        line: String,
        mut reader: impl AsyncRead + Unpin,
        length: Option<u64>,
        mut progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        self.start()?;
        let mut hashed = FileDigest::default();
        let mut all_out = false;
        let sender = &mut self.sender;
        let write = async {
            // If writing fails, the server's last line has the reason, so the code below still reads.
            if sender.write(line.as_bytes()).await.is_err() {
                return std::future::pending().await;
            }
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let left = length.map_or(u64::MAX, |length| length - hashed.length);
                let space = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let space = piece.get_mut(..space).unwrap_or_default();
                let taken = if space.is_empty() {
                    0
                } else {
                    reader.read(space).await.map_err(Error::Read)?
                };
                let bytes = piece.get(..taken).unwrap_or_default();
                if bytes.is_empty() {
                    break;
                }
                if sender.write(bytes).await.is_err() {
                    return std::future::pending().await;
                }
                hashed.add(bytes);
                progress(hashed.length);
            }
            match length {
                Some(length) if hashed.length < length => {
                    let why = "the file became shorter while it was sent";
                    return Err(Error::Read(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        why,
                    )));
                }
                Some(_) => all_out = true,
                None => {
                    let _ = sender.end().await;
                }
            }
            std::future::pending::<Result<Reply, Error>>().await
        };
        let reply = write.or(reply(&mut self.receiver)).await;
        // After an early refusal, the server still expects bytes of the file; after a stream, nothing more can be
        // sent.
        let reply = self.finish(reply);
        self.is_usable &= all_out;
        let stored = stored(&reply?)?;
        if (stored.length, stored.sha256) == (hashed.length, hashed.digest()) {
            Ok(stored)
        } else {
            Err(Error::Corrupt)
        }
    }

    /// Starts to download a file. To resume a download, pass as `have` the digest of the part that you already have.
    /// Otherwise pass `FileDigest::default()`.
    ///
    /// ```no_run
    /// # async fn f(mut client: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// use plainchat::client::FileDigest;
    ///
    /// let mut download = client.download(1795346525120003, FileDigest::default()).await?;
    /// let mut file = Vec::new();
    /// let mut piece = [0; 4096];
    /// loop {
    ///     match download.read(&mut piece).await? {
    ///         0 => break,
    ///         n => file.extend_from_slice(&piece[..n]),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with `no-such-file`, or with `bad-syntax` if the file is shorter than `have`; those of
    /// [`Client::request`].
    pub async fn download(&mut self, file: u64, have: FileDigest) -> Result<Download<'_>, Error> {
        let line = one_line(format!("DOWNLOAD {file} {}", have.length))?;
        self.start()?;
        let sent = self.sender.write(line.as_bytes()).await;
        let begun = match next_piece(self).await {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => Err(Error::Protocol("OK DOWNLOAD without its bytes")),
            // If the request could not be sent and the server has sent no line, the reason is the error of sending.
            Err(Error::Lost(lost)) => Err(sent.err().unwrap_or(Error::Lost(lost))),
            Err(error) => Err(error),
        };
        if let Err(Error::Refused { .. }) = begun {
            self.is_usable = true;
        }
        let piece = begun?;
        Ok(Download {
            name: piece.name,
            length: piece.sha256.map(|_| have.length + piece.left),
            sha256: piece.sha256,
            left: piece.left,
            hashed: have,
            done: false,
            client: self,
        })
    }
}

/// A download in progress; see [`Client::download`]. If it is dropped before its end, the connection is unusable.
#[derive(Debug)]
pub struct Download<'c> {
    client: &'c mut Client,
    name: String,
    length: Option<u64>,
    sha256: Option<Digest>,
    /// The number of bytes before the next line.
    left: u64,
    hashed: FileDigest,
    done: bool,
}

impl Download<'_> {
    /// Returns the name that the sender gave the file. It is a text from a stranger, and not a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the length of the whole file in bytes; `None` while the file is still being uploaded.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the digest of the whole file; `None` while the file is still being uploaded.
    pub fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// Returns the number of bytes of the file that have been received, including the part that the caller already
    /// had.
    pub fn position(&self) -> u64 {
        self.hashed.length
    }

    /// Reads some bytes into `buffer`, and returns their number. Returns 0 at the end of the file, if the digest is
    /// right.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the end, if the digest is wrong; [`Error::Lost`], after which a new connection can
    /// resume; those of [`Client::request`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        while self.left == 0 && !self.done {
            match next_piece(self.client).await? {
                Some(piece) => self.left = piece.left,
                None => {
                    self.done = true;
                    self.client.is_usable = true;
                }
            }
        }
        if self.done {
            return match self.sha256 {
                Some(announced) if announced != self.hashed.digest() => Err(Error::Corrupt),
                _ => Ok(0),
            };
        }
        let space = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let space = buffer.get_mut(..space).unwrap_or_default();
        let length = self.client.receiver.bytes(space).await?;
        if length == 0 && !space.is_empty() {
            return Err(Error::cut("it ended in the middle of the file"));
        }
        self.hashed.add(space.get(..length).unwrap_or_default());
        self.left -= length as u64;
        Ok(length)
    }
}

/// The fields of a `DATA` line.
struct Piece {
    left: u64,
    sha256: Option<Digest>,
    name: String,
}

/// Waits for the next `DATA` line of a download; returns `None` at the final `OK`. Events before the line are kept.
async fn next_piece(client: &mut Client) -> Result<Option<Piece>, Error> {
    while let Some(line) = client.receiver.fresh_line().await? {
        if let Some(end) = piece(&line)? {
            return Ok(end);
        }
        client.receiver.keep(line);
    }
    Err(Error::cut(
        "the server closed the connection before the file was complete",
    ))
}

/// Parses a line of a download. Returns `Some(Some(piece))` for `DATA`, `Some(None)` for the final `OK`, and `None`
/// for a line that does not belong to the download.
fn piece(line: &Line) -> Result<Option<Option<Piece>>, Error> {
    Ok(match line.read() {
        ServerLine::Data {
            length,
            sha256,
            name,
            ..
        } => Some(Some(Piece {
            left: length,
            sha256: match sha256 {
                None => None,
                Some(hex) => Some(Digest::parse(hex).ok_or(Error::Protocol("an invalid digest"))?),
            },
            name: name.to_owned(),
        })),
        ServerLine::Ok { .. } => Some(None),
        ServerLine::Err { verb, code, text } => return Err(refused(verb, code, text)),
        ServerLine::Closed { code, text } => return Err(closed(code, text)),
        _ => None,
    })
}

fn stored(reply: &Reply) -> Result<Stored, Error> {
    let bad = || Error::Protocol("OK UPLOAD without its file");
    let mut words = reply.rest.split(' ');
    let mut number = || words.next().and_then(parse_number).ok_or_else(bad);
    Ok(Stored {
        file: number()?,
        length: number()?,
        sha256: words.next().and_then(Digest::parse).ok_or_else(bad)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed() {
        let hashed = futures_lite::future::block_on(FileDigest::of(&b"abc"[..])).unwrap();
        assert_eq!(hashed.length(), 3);
        assert_eq!(
            hashed.digest().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
