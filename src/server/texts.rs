//! Receives texts of several lines. Unlike a file, a text is in memory until it is complete, so the number of
//! texts that arrive at once is limited.

use futures_lite::future;

use super::connection::Connection;
use super::metrics::LimitKind;
use crate::config::fixed::TEXT_WITHIN;
use crate::protocol::Code;
use crate::session::{Effect, IncomingText, UploadError};

/// The reason why the bytes of a text were not received.
enum Failed {
    /// The server stops, or an operator closes the connection.
    Stopping,
    /// The input has ended in the middle of the text.
    Ended,
    /// The text took too long to arrive.
    Late,
}

impl Connection {
    /// Receives a text and sends it, or reads and drops its bytes.
    pub(super) async fn receive_text(&mut self, text: IncomingText) {
        let reservation = {
            let chat = &self.server.state().chat;
            let address = chat.address(self.session.peer());
            address.and_then(|address| chat.texts.take(address, 1))
        };
        let bytes = if reservation.is_some() {
            self.text_bytes(text.length).await
        } else {
            let why = "too many texts are arriving, in all or from your address; try again later";
            let uptime = self.server.clock.now().uptime;
            self.server.metrics.limit_hit(LimitKind::Texts, uptime, why);
            self.discard(Some(text.length as u64)).await;
            let (text, closes) = (why.into(), false);
            let code = Code::Busy;
            Err(UploadError { code, text, closes })
        };
        drop(reservation);
        let now = self.server.clock.now();
        let effect = {
            let chat = &mut self.server.changes().chat;
            self.session.received_text(text, bytes, chat, now)
        };
        if let Some(Effect::Append(entry, ticket)) = effect {
            self.append(entry, ticket);
        }
    }

    /// Reads the bytes of a text.
    async fn text_bytes(&mut self, length: usize) -> Result<Vec<u8>, UploadError> {
        let clock = self.server.clock.clone();
        let mut bytes = vec![0; length];
        let reading = async {
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.next_bytes(rest, None).await {
                    Ok(0) => return Err(Failed::Ended),
                    Ok(taken) => filled += taken,
                    Err(_) => return Err(Failed::Stopping),
                }
            }
            Ok(())
        };
        let late = async {
            clock.wait(TEXT_WITHIN).await;
            Err(Failed::Late)
        };
        let (code, text) = match future::or(reading, late).await {
            Ok(()) => return Ok(bytes),
            Err(Failed::Ended) => (Code::Incomplete, "the input ended before the text did"),
            Err(Failed::Late) => (Code::Incomplete, "the text did not arrive within a minute"),
            Err(Failed::Stopping) => return Err(self.cut_off()),
        };
        let (text, closes) = (text.into(), true);
        Err(UploadError { code, text, closes })
    }
}
