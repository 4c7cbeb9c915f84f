//! Files out and in, at constant memory: what passes is hashed on the way, and the digests are compared.

use std::io::{self, SeekFrom};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, FutureExt};
use sha2::{Digest as _, Sha256};

use super::{Client, Error, Line, Reply, closed, connection, refused, reply};
use crate::protocol::{Digest, ServerLine, parse_number};

/// What is read from a file at once: enough that a system call costs little beside it.
const PIECE_BYTES: usize = 128 * 1024;

/// Bytes that passed by: how many, and their SHA-256 so far. What one has of a file already, when it is
/// the beginning of a [`Client::download`].
#[derive(Clone, Debug, Default)]
pub struct Hashed {
    length: u64,
    hash: Sha256,
}

impl Hashed {
    /// Reads everything to the end.
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

    /// How many bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of all of them.
    pub fn digest(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

/// A file as the server keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number, for [`Client::download`].
    pub file: u64,
    /// In bytes.
    pub length: u64,
    /// Compared with what was sent.
    pub sha256: Digest,
}

impl Client {
    /// Puts a file into the current room. It is read twice: first hashed, so that nothing but the whole file is
    /// announced. `progress` is told how many bytes have gone out. A refusal before all of them are out
    /// ends the connection, as the rest would have to be sent for nothing; after one because of the file's size
    /// or digest, the server ends it.
    ///
    /// # Errors
    /// [`Error::Read`], also when the file became shorter meanwhile; [`Error::Refused`]; [`Error::Corrupt`] when
    /// the server has something else; any that a request may give.
    pub async fn upload(
        &mut self,
        name: &str,
        mut file: impl AsyncRead + AsyncSeek + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        let hashed = Hashed::of(&mut file).await.map_err(Error::Read)?;
        file.seek(SeekFrom::Start(0)).await.map_err(Error::Read)?;
        let (length, digest) = (hashed.length(), hashed.digest());
        let line = connection::one_line(format!("UPLOAD {name} {length} {digest}"))?;
        self.send_file(line, file, Some(length), progress).await
    }

    /// Puts everything that `reader` gives into the current room, as a file whose length is not known before.
    /// It ends this side of the connection: nothing can be asked after it.
    ///
    /// # Errors
    /// As [`Client::upload`].
    pub async fn upload_stream(
        &mut self,
        name: &str,
        reader: impl AsyncRead + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        let line = connection::one_line(format!("UPLOAD {name} *"))?;
        self.send_file(line, reader, None, progress).await
    }

    async fn send_file(
        &mut self,
        line: String,
        mut reader: impl AsyncRead + Unpin,
        length: Option<u64>,
        mut progress: impl FnMut(u64),
    ) -> Result<Stored, Error> {
        self.begin()?;
        let mut hashed = Hashed::default();
        let mut all_out = false;
        let sender = &mut self.sender;
        let write = async {
            // Where writing fails, the server's last line says why: so the reading below goes on.
            if sender.write(line.as_bytes()).await.is_err() {
                return std::future::pending().await;
            }
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let left = length.map_or(u64::MAX, |length| length - hashed.length);
                let space = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let space = piece.get_mut(..space).unwrap_or_default();
                let taken = match space.is_empty() {
                    true => 0,
                    false => reader.read(space).await.map_err(Error::Read)?,
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
        // A refusal before everything was out leaves bytes owed; after a stream, nothing can follow anyway.
        let reply = self.ended(reply);
        self.in_step &= all_out;
        let stored = stored(&reply?)?;
        match (stored.length, stored.sha256) == (hashed.length, hashed.digest()) {
            true => Ok(stored),
            false => Err(Error::Corrupt),
        }
    }

    /// Begins to fetch a file. What one has of it already need not come again: `have` is the beginning of the
    /// file, hashed, or `Hashed::default()`.
    ///
    /// ```no_run
    /// # async fn f(mut chat: plainchat::client::Client) -> Result<(), plainchat::client::Error> {
    /// use plainchat::client::Hashed;
    /// let mut download = chat.download(1795346525120003, Hashed::default()).await?;
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
    /// [`Error::Refused`] with `no-such-file`, or with `bad-syntax` when the file is shorter than what one has;
    /// any that a request may give.
    pub async fn download(&mut self, file: u64, have: Hashed) -> Result<Download<'_>, Error> {
        let line = connection::one_line(format!("DOWNLOAD {file} {}", have.length))?;
        self.begin()?;
        let sent = self.sender.write(line.as_bytes()).await;
        let begun = match next_piece(self).await {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => Err(Error::Protocol("OK DOWNLOAD without its bytes")),
            // Where the line did not even go out and nothing came in, that is the reason.
            Err(Error::Lost(lost)) => Err(sent.err().unwrap_or(Error::Lost(lost))),
            Err(error) => Err(error),
        };
        if let Err(Error::Refused { .. }) = begun {
            self.in_step = true;
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

/// A file on its way in. Dropped before its end, it leaves the connection without use.
#[derive(Debug)]
pub struct Download<'c> {
    client: &'c mut Client,
    name: String,
    length: Option<u64>,
    sha256: Option<Digest>,
    /// Bytes to come before the next line.
    left: u64,
    hashed: Hashed,
    done: bool,
}

impl Download<'_> {
    /// What its sender called it: text from a stranger, not a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length of the whole file in bytes; `None` while the file itself is still coming in.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The digest of the whole file; `None` while the file itself is still coming in.
    pub fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// How many bytes of the file are there, with those that one had before.
    pub fn position(&self) -> u64 {
        self.hashed.length
    }

    /// Takes some bytes, at most as many as `buffer` holds; 0 at the end of the file, when its digest is as told.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the end; [`Error::Lost`], after which a new connection can go on where this one
    /// ended; any that a request may give.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        while self.left == 0 && !self.done {
            match next_piece(self.client).await? {
                Some(piece) => self.left = piece.left,
                None => {
                    self.done = true;
                    self.client.in_step = true;
                }
            }
        }
        if self.done {
            return match self.sha256 {
                Some(told) if told != self.hashed.digest() => Err(Error::Corrupt),
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

/// What a `DATA` line says.
struct Piece {
    left: u64,
    sha256: Option<Digest>,
    name: String,
}

/// The next `DATA` line of a download; `None` at its `OK`. Events before it are kept.
async fn next_piece(client: &mut Client) -> Result<Option<Piece>, Error> {
    while let Some(line) = client.receiver.fresh_line().await? {
        if let Some(end) = piece(&line)? {
            return Ok(end);
        }
        client.receiver.keep(line);
    }
    Err(Error::cut("the server closed it before the file was whole"))
}

/// What `line` is for a download: `Some(None)` its end, `None` none of its lines.
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
                Some(hex) => {
                    Some(Digest::parse(hex).ok_or(Error::Protocol("a digest that is none"))?)
                }
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
    let bad = || Error::Protocol("an OK UPLOAD that does not tell its file");
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
    fn what_passes_is_hashed() {
        let hashed = smol::block_on(Hashed::of(&b"abc"[..])).unwrap();
        assert_eq!(hashed.length(), 3);
        assert_eq!(
            hashed.digest().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
