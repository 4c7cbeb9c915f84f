//! Standard input, and writing to things that a thread writes on.

use std::io::{self, Read};

use futures_lite::{AsyncWrite, AsyncWriteExt};
use smol::Unblock;

/// Standard input that stays at its end.
///
/// [`Unblock`] reads on after an end that follows some bytes, and a terminal can be read again after its end, so Ctrl-D
/// would have to be typed twice.
pub(super) struct Input {
    stdin: io::Stdin,
    is_ended: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_ended || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.stdin.read(buffer)?;
        self.is_ended = length == 0;
        Ok(length)
    }
}

/// Returns standard input, read ahead by `capacity` bytes on a thread of its own, since it may be a file or a terminal.
pub(super) fn input(capacity: usize) -> Unblock<Input> {
    let stdin = io::stdin();
    let input = Input {
        stdin,
        is_ended: false,
    };
    Unblock::with_capacity(capacity, input)
}

/// Writes all of `bytes` to an [`Unblock`]. When its thread fails it accepts no more bytes, and only flushing returns the
/// error.
pub(super) async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    match to.write_all(bytes).await {
        Err(error) if error.kind() == io::ErrorKind::WriteZero => {
            to.flush().await?;
            Err(error)
        }
        result => result,
    }
}
