//! `chatc send`: one message, or one for each line.

use std::io;

use futures_lite::{AsyncBufReadExt, AsyncReadExt, StreamExt};
use rustix::fs::{FileType, fstat};

use super::failure::{Exit, Failure};
use super::login::enter;
use super::server::Server;
use super::shorthand::room_name;
use super::stdio::text_input;
use crate::client::{Client, Message};
use crate::protocol::Code;
use crate::protocol::line::LINE_BYTES_MAX;
use crate::protocol::multiline::{TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX, TEXT_LINES_MAX};
use crate::protocol::text::clean;

/// The number of bytes that are left for the id of the message to which this one replies.
const REPLY_BYTES: usize = "@reply=9007199254740991 ".len();

/// Sends `text` to a room or a nick. With `reply`, it replies to that message.
///
/// Without text, sends standard input. If that is a file, or `text` is `-`, all of it is one message, provided that
/// the server accepts messages of several lines. If standard input is a pipe, each line is a message. If nobody has
/// the nick `to`, a room of that name is meant, because users of a shell leave out the `#`.
///
/// # Errors
/// Those of [`Client::send_to`]. Also if the input for `-` is too long for a message.
pub async fn send(
    server: &Server,
    to: &str,
    text: Option<&str>,
    reply: Option<u64>,
) -> Result<Exit, Failure> {
    let room = to.starts_with('#').then_some(to);
    let (client, _) = enter(server, room).await?;
    let to = to.to_owned();
    let mut to = To { client, to, reply };
    match text {
        Some("-") => to.input(true).await?,
        Some(text) => to.lines(text).await?,
        None => to.input(false).await?,
    }
    to.client.bye().await?;
    Ok(Exit::Success)
}

/// The room or nick to which messages are sent.
struct To {
    client: Client,
    to: String,
    /// The id of the message to which the first message replies. It is taken when the first message is sent.
    reply: Option<u64>,
}

impl To {
    /// Sends standard input.
    async fn input(&mut self, is_one: bool) -> Result<(), Failure> {
        let mut input = text_input(64 * 1024);
        let mut begin = Vec::new();
        if (is_one || is_file()) && self.client.hello().await?.has("multiline") {
            let most = TEXT_BYTES_MAX + 1;
            let mut part = (&mut input).take(most);
            part.read_to_end(&mut begin).await.map_err(Failure::Input)?;
            let is_whole = (begin.len() as u64) < most;
            let text = String::from_utf8_lossy(&begin);
            if let Some(text) = one_message(&text).filter(|_| is_whole) {
                return if text.is_empty() {
                    Ok(())
                } else {
                    self.message(&text).await
                };
            }
            if is_one {
                return Err(Failure::Impossible(
                    "that is too long for a message, which has at most 1000 lines and 64 KiB; send it as a file: chatc upload -",
                ));
            }
        }
        let all = futures_lite::io::BufReader::new((&begin[..]).chain(input));
        let mut lines = all.split(b'\n');
        while let Some(line) = lines.next().await {
            let line = line.map_err(Failure::Input)?;
            self.lines(&String::from_utf8_lossy(&line)).await?;
        }
        Ok(())
    }

    /// Sends each line of `text` as a message. A long line is sent in pieces.
    async fn lines(&mut self, text: &str) -> Result<(), Failure> {
        let most = LINE_BYTES_MAX.saturating_sub("TELL # \n".len() + REPLY_BYTES + self.to.len());
        for line in text.lines() {
            let line = clean(line);
            let mut rest = line.trim_end_matches('\r');
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
                self.message(piece).await?;
                rest = after;
            }
        }
        Ok(())
    }

    /// Sends one message.
    async fn message(&mut self, text: &str) -> Result<(), Failure> {
        let message = match self.reply.take() {
            Some(id) => Message::new(text).reply_to(id),
            None => Message::new(text),
        };
        match self.client.send_to(&self.to, message.clone()).await {
            Err(error) if error.refusal() == Some(Code::NoSuchNick) => {
                let room = room_name(&self.to);
                if self.client.topic(&room).await.is_err() {
                    return Err(error.into());
                }
                self.to = room;
                self.client.send_to(&self.to, message).await?;
            }
            sent => drop(sent?),
        }
        Ok(())
    }
}

/// Returns whether standard input is a file, so that all of it can be read at once.
fn is_file() -> bool {
    fstat(io::stdin())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Returns a text as one message; `None` if it is too long. Removes control characters, a byte order mark, and line
/// endings at the end. Breaks lines that are too long.
fn one_message(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    for line in text.trim_end_matches(['\n', '\r']).lines() {
        let line = clean(line);
        let mut rest = &line[..];
        while rest.len() > TEXT_LINE_BYTES_MAX {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(TEXT_LINE_BYTES_MAX));
            lines.push(piece.to_owned());
            rest = after;
        }
        lines.push(rest.to_owned());
    }
    let text = lines.join("\n");
    let text = if text.trim().is_empty() {
        String::new()
    } else {
        text
    };
    (lines.len() <= TEXT_LINES_MAX && text.len() as u64 <= TEXT_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_message_up_to_its_limits() {
        let one = |text: &str| one_message(text).unwrap();
        assert_eq!(one("\u{feff}a\r\n\n  b\x1b[31m\n\n"), "a\n\n  b");
        assert_eq!(one("\n \n"), "");
        let long = "é".repeat(4100);
        let cut: Vec<usize> = one(&long).lines().map(str::len).collect();
        assert_eq!(cut, [4000, 4000, 200]);
        assert_eq!(one(&"x\n".repeat(1000)).lines().count(), 1000);
        assert_eq!(one_message(&"x\n".repeat(1001)), None);
        assert_eq!(one_message(&"x".repeat(70_000)), None);
    }
}
