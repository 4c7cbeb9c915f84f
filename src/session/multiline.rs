//! Handles `TEXT`: several lines that are sent as one message.

use super::request::Done;
use super::{Draft, Effect, Expects, Session, UploadError};
use crate::chat::Chat;
use crate::dialect::ReplyBody;
use crate::model::{EventKind, Now};
use crate::protocol::line::LineEnd;
use crate::protocol::multiline::{Multiline, TEXT_BYTES_MAX};
use crate::protocol::request::{Refusal, Target, TextRequest};
use crate::protocol::tags::SentTags;
use crate::protocol::{Code, Verb};

/// A text that a client is about to send.
#[derive(Debug)]
pub struct IncomingText {
    /// The number of bytes in the text.
    pub length: usize,
    to: Option<Target>,
    tags: SentTags,
}

impl Session {
    /// Handles a `TEXT` line, which is followed by the bytes of the text. If the request is refused, the bytes are read
    /// and dropped. If the line ends in CR LF, or the length is above that of any upload, the connection is closed
    /// instead.
    pub(super) fn text(
        &mut self,
        text: TextRequest,
        end: LineEnd,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        let verb = Verb::Text;
        let TextRequest { to, length, tags } = text;
        if length > chat.limits().upload_bytes_max {
            self.end(Multiline::too_large(), chat, now);
            return Ok(None);
        }
        if end == LineEnd::CrLf {
            let text = "the line ended in CR LF, so the text may have been altered on the way (nc -C does); end it in LF";
            self.end(Refusal::new(verb, Code::BadSyntax, text), chat, now);
            return Ok(None);
        }
        let allowed = || {
            self.require_open(verb)?;
            self.require_nick(verb)?;
            let to = to?;
            if to.is_none() {
                self.require_current_room(verb)?;
            }
            if length > TEXT_BYTES_MAX {
                return Err(Multiline::too_large());
            }
            let length = usize::try_from(length).map_err(|_| Multiline::too_large())?;
            Ok(IncomingText { length, to, tags })
        };
        let effect = match allowed() {
            Ok(text) => Effect::ReceiveText(text.into()),
            Err(refusal) => {
                self.refuse(&refusal);
                Effect::Discard(Some(length))
            }
        };
        self.expects = Expects::Nothing;
        Ok(Some(effect))
    }

    /// Sends a text that has arrived, or reports why the text could not be received.
    pub fn received_text(
        &mut self,
        text: IncomingText,
        bytes: Result<Vec<u8>, UploadError>,
        chat: &mut Chat,
        now: Now,
    ) -> Option<Effect> {
        self.expects = Expects::LineAfterBytes;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                self.refuse_bytes(Verb::Text, error, chat, now);
                return None;
            }
        };
        let sent = Multiline::parse(&bytes).and_then(|lines| self.send_text(text, &lines, chat));
        sent.unwrap_or_else(|refusal| {
            self.refuse(&refusal);
            None
        })
    }

    fn send_text(&mut self, text: IncomingText, lines: &Multiline, chat: &mut Chat) -> Done {
        let IncomingText { to, tags, .. } = text;
        let (kind, count) = match lines.lines() {
            1 => (EventKind::Msg, 1),
            count => (EventKind::Text, count),
        };
        let body = ReplyBody::Lines(count);
        let message = Draft {
            body,
            ..Draft::message(Verb::Text, kind, lines.as_str(), tags)
        };
        self.send_message(to, message, chat)
    }
}
