//! Messages of several lines (`draft/multiline`). A client sends the lines in a batch. When the batch ends, the lines
//! become one `TEXT`.

use std::time::Duration;

use super::super::Session;
use super::super::amend::IrcMessage;
use super::super::request::Done;
use super::label::Labeled;
use super::reply::Asked;
use super::talk::sent_tags;
use crate::chat::{Chat, Reservation};
use crate::config::fixed::TEXT_WITHIN;
use crate::dialect::ReplyBody;
use crate::dialect::irc::{Cap, IrcLine, numeric, plain};
use crate::model::{EventKind, Now, millis};
use crate::protocol::multiline::{Multiline, TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX, TEXT_LINES_MAX};
use crate::protocol::tags::SentTags;

/// A message whose lines are arriving.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The name that the client has given to the batch.
    name: Box<str>,
    /// The room or nick to which the message goes.
    to: Box<str>,
    tags: SentTags,
    /// Whether the lines are notices; `None` before the first line.
    is_notice: Option<bool>,
    text: String,
    lines: usize,
    /// The length of the last line in bytes.
    last_line: usize,
    /// The label of the command that began the batch.
    labeled: Option<Box<Labeled>>,
    begun_ms: u64,
    _reservation: Reservation, // released with the text
}

impl Incoming {
    /// Adds a line, or appends to the last line if `continues` is set. Splits a line that is too long for `TEXT` into
    /// several lines.
    fn add(&mut self, text: &str, continues: bool) {
        if self.lines == 0 {
            self.lines = 1;
        } else if !continues || self.last_line + text.len() > TEXT_LINE_BYTES_MAX {
            self.text.push('\n');
            self.lines += 1;
            self.last_line = 0;
        }
        self.text.push_str(text);
        self.last_line += text.len();
    }
}

impl Session {
    /// Handles `BATCH`, which begins or ends a message of several lines.
    pub(super) fn irc_batch_command(
        &mut self,
        line: &IrcLine<'_>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        self.irc_asks(Asked::Silent);
        let name = line.param(0).unwrap_or_default();
        let Some(irc) = self.irc.as_deref_mut() else {
            return Ok(None);
        };
        if let Some(name) = name.strip_prefix('-') {
            return match irc.incoming.take() {
                Some(incoming) if *incoming.name == *name => self.irc_say_lines(*incoming, chat),
                // This may also be the end of a refused batch.
                other => {
                    irc.incoming = other;
                    Ok(None)
                }
            };
        }
        if irc.incoming.is_some() {
            let text = "a batch was still open; both batches are dropped";
            return self.irc_drop_lines("MULTILINE_INVALID", &[], text);
        }
        let (kind, to) = (line.param(1), line.param(2).unwrap_or_default());
        let (Some(name), Some("draft/multiline"), false) =
            (name.strip_prefix('+'), kind, to.is_empty())
        else {
            let text = "usage: BATCH +<name> draft/multiline <room or nick>";
            return self.irc_drop_lines("MULTILINE_INVALID", &[], text);
        };
        let address = chat.address(self.peer);
        let Some(reservation) = address.and_then(|address| chat.texts.take(address, 1)) else {
            let text = "too many texts are arriving, in all or from your address; try again later";
            return self.irc_drop_lines("TEMPORARILY_UNAVAILABLE", &[], text);
        };
        let Some(irc) = self.irc.as_deref_mut() else {
            return Ok(None);
        };
        irc.incoming = Some(Box::new(Incoming {
            name: name.into(),
            to: to.into(),
            tags: sent_tags(line, false),
            is_notice: None,
            text: String::new(),
            lines: 0,
            last_line: 0,
            labeled: irc.labeled.take(),
            begun_ms: millis(now.uptime),
            _reservation: reservation,
        }));
        Ok(None)
    }

    /// Adds a line to the message that is arriving. Drops a line of a batch that was refused.
    pub(super) fn irc_add_line(
        &mut self,
        line: &IrcLine<'_>,
        batch: &str,
        is_notice: bool,
    ) -> Done {
        self.irc_asks(Asked::Silent);
        let incoming = self
            .irc
            .as_deref_mut()
            .and_then(|irc| irc.incoming.as_deref_mut());
        let Some(incoming) = incoming.filter(|incoming| *incoming.name == *batch) else {
            return Ok(None);
        };
        let to = line.param(0).unwrap_or_default();
        if to != &*incoming.to {
            let params = [&*incoming.to.clone(), if to.is_empty() { "*" } else { to }];
            let text = "all lines of a batch must go to the room or nick that BATCH named";
            return self.irc_drop_lines("MULTILINE_INVALID_TARGET", &params, text);
        }
        if *incoming.is_notice.get_or_insert(is_notice) != is_notice {
            let text = "the lines of a batch must be all PRIVMSG or all NOTICE";
            return self.irc_drop_lines("MULTILINE_INVALID", &[], text);
        }
        let text = plain(line.params.get(1).copied().unwrap_or_default());
        if incoming.text.len() + 1 + text.len() > TEXT_BYTES_MAX as usize {
            let most = TEXT_BYTES_MAX.to_string();
            let text = "the batch is too long; UPLOAD it as a file";
            return self.irc_drop_lines("MULTILINE_MAX_BYTES", &[&most], text);
        }
        let is_concat = line.tag("draft/multiline-concat").is_some();
        if is_concat && text.is_empty() {
            let text = "a line with draft/multiline-concat must not be empty";
            return self.irc_drop_lines("MULTILINE_INVALID", &[], text);
        }
        incoming.add(&text, is_concat);
        if incoming.lines > TEXT_LINES_MAX {
            let most = TEXT_LINES_MAX.to_string();
            let text = "the batch has too many lines; UPLOAD it as a file";
            return self.irc_drop_lines("MULTILINE_MAX_LINES", &[&most], text);
        }
        Ok(None)
    }

    /// Sends the message that has arrived.
    fn irc_say_lines(&mut self, incoming: Incoming, chat: &mut Chat) -> Done {
        let Incoming {
            to, tags, labeled, ..
        } = incoming;
        if let Some(irc) = self.irc.as_deref_mut() {
            irc.labeled = labeled;
        }
        let is_notice = incoming.is_notice == Some(true);
        let Ok(lines) = Multiline::parse(incoming.text.as_bytes()) else {
            let text = "there is no text to send";
            return self.irc_drop_lines("MULTILINE_INVALID", &[], text);
        };
        self.irc_asks(Asked::Say(to.to_string()));
        if to.to_ascii_lowercase().ends_with("serv") {
            // Clients send passwords to services automatically, so nobody may receive the text.
            self.irc_numeric(
                numeric::NO_SUCH_NICK,
                &[&to],
                "NickServ reads one line at a time",
            );
            return Ok(None);
        }
        let (kind, count) = match lines.lines() {
            1 => (EventKind::Msg, 1),
            count => (EventKind::Text, count),
        };
        if is_notice {
            self.irc_asks(Asked::Silent);
        }
        let tags = if is_notice { SentTags::notice() } else { tags };
        let message = IrcMessage {
            to,
            kind,
            text: lines.as_str().into(),
            body: ReplyBody::Lines(count),
            tags,
        };
        self.irc_send_message(message, chat)
    }

    /// Reports why a batch cannot be sent, and drops the batch.
    fn irc_drop_lines(&mut self, why: &str, about: &[&str], text: &str) -> Done {
        if let Some(irc) = self.irc.as_deref_mut()
            && let Some(incoming) = irc.incoming.take()
        {
            irc.labeled = incoming.labeled;
        }
        let params: Vec<&str> = ["BATCH", why].iter().chain(about).copied().collect();
        self.irc_send(|client, out| client.by_server("FAIL", &params, Some(text), out));
        Ok(None)
    }

    /// Returns the time by which the message that is arriving must be complete.
    pub(super) fn irc_batch_due(&self) -> Option<Duration> {
        let incoming = self.irc.as_deref()?.incoming.as_deref()?;
        Some(Duration::from_millis(incoming.begun_ms) + TEXT_WITHIN)
    }

    /// Drops the message that has not arrived in time.
    pub(super) fn irc_drop_late_batch(&mut self, now: Now) {
        if self.irc_batch_due().is_some_and(|due| due <= now.uptime) {
            let step = self.next_reply();
            let text = "the batch did not end within a minute";
            let _ = self.irc_drop_lines("TIMEOUT", &[], text);
            self.irc_label(step, None);
        }
    }

    /// Returns whether the client may send messages of several lines.
    pub(super) fn irc_has_multiline(&self) -> bool {
        let caps = self.irc.as_deref().map(|irc| irc.client.caps);
        caps.is_some_and(|caps| caps.has(Cap::Multiline) && caps.has(Cap::Batch))
    }
}
