//! Decodes and encodes WebSocket frames (RFC 6455, 5), in whatever pieces the bytes arrive.
//!
//! This is the server's side, without I/O: received frames are masked, and sent frames are not. Payload bytes are
//! passed on as they arrive, so a frame may have any length. Only the payload of a control frame, which has at most
//! 125 bytes, is buffered.

/// The type of a frame (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further part of the current message.
    Continuation = 0,
    /// The first frame of a text message.
    Text = 1,
    /// The first frame of a binary message.
    Binary = 2,
    /// The sender is about to close.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What the payload of a frame is. The head of the frame shows this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// The payload is a part of a message of this type.
    Data(Kind),
    /// The frame is a close, a ping or a pong.
    Control,
}

/// An item decoded from the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An unmasked part of a message. It may be empty.
    Data {
        /// The bytes of this part.
        bytes: &'a [u8],
        /// Whether the message ends here.
        is_last: bool,
    },
    /// The client requests a pong with this payload.
    Ping(Vec<u8>),
    /// The client is alive.
    Pong,
    /// The client closes the connection, with this code if it has sent one.
    Close(Option<u16>),
}

/// The maximum payload of a control frame in bytes (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Codes with which a connection is closed (RFC 6455, 7.4.1).
pub mod close {
    /// A normal end.
    pub const NORMAL: u16 = 1000;
    /// The peer violated the framing rules.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A text message was not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
}

/// A decoder that splits bytes into frames and joins fragmented messages.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The part of a frame's head that has been read.
    head: [u8; 14],
    head_bytes: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The type of the current message; `None` between messages.
    message: Option<Kind>,
    /// The part of a control frame's payload that has been read. Usually it takes no memory.
    control: Vec<u8>,
    utf8: Utf8,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    /// The number of payload bytes that have been read, and the number that remain.
    taken: u64,
    left: u64,
}

impl Decoder {
    /// Reads the head of a frame from `input` and returns what the payload is; `None` if more input is needed.
    ///
    /// # Errors
    /// When the frame is invalid. The error is the code with which to close the connection. After it, neither this
    /// function nor [`Self::take`] may be called again.
    pub fn coming(&mut self, input: &mut &mut [u8]) -> Result<Option<Coming>, u16> {
        while self.frame.is_none() {
            let Some((first, rest)) = std::mem::take(input).split_first_mut() else {
                return Ok(None);
            };
            *input = rest;
            self.push_head(*first)?;
        }
        let opcode = self.frame.as_ref().map(|frame| frame.opcode);
        Ok(
            match (opcode.is_some_and(Opcode::is_control), self.message) {
                (true, _) => Some(Coming::Control),
                (false, Some(kind)) => Some(Coming::Data(kind)),
                (false, None) => None,
            },
        )
    }

    /// Takes from `input` an item of the frame that [`Self::coming`] has reported, and unmasks it in place. Takes at
    /// most `most` bytes of a message. Returns `None` if more input is needed.
    #[allow(clippy::missing_errors_doc)]
    pub fn take<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        most: usize,
    ) -> Result<Option<Item<'a>>, u16> {
        let Some(frame) = &mut self.frame else {
            return Ok(None);
        };
        if input.is_empty() && frame.left > 0 {
            return Ok(None);
        }
        let opcode = frame.opcode;
        let most = if opcode.is_control() {
            CONTROL_BYTES_MAX
        } else {
            most
        };
        let count = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let count = count.min(input.len()).min(most);
        let (payload, rest) = std::mem::take(input).split_at_mut(count);
        *input = rest;
        unmask(payload, frame.mask, frame.taken);
        frame.taken += count as u64;
        frame.left -= count as u64;
        let is_whole = frame.left == 0;
        let is_last = is_whole && frame.is_final;
        if is_whole {
            self.frame = None;
        }
        if opcode.is_control() {
            self.control.extend_from_slice(payload);
            return if is_whole {
                control_item(opcode, std::mem::take(&mut self.control)).map(Some)
            } else {
                Ok(None)
            };
        }
        let is_text = self.message == Some(Kind::Text);
        if is_last {
            self.message = None;
        }
        if is_text && !(self.utf8.push(payload) && (!is_last || self.utf8.is_whole())) {
            return Err(close::NOT_UTF8);
        }
        Ok(Some(Item::Data {
            bytes: payload,
            is_last,
        }))
    }

    /// Adds the next byte of a head; after the last one, `self.frame` is set.
    fn push_head(&mut self, byte: u8) -> Result<(), u16> {
        if let Some(to) = self.head.get_mut(usize::from(self.head_bytes)) {
            *to = byte;
        }
        self.head_bytes += 1;
        let [first, second, rest @ ..] = self.head;
        if self.head_bytes < 2 {
            return Ok(());
        }
        // An error in the first two bytes is reported at once, because the other bytes may never arrive.
        let opcode = Opcode::of(first & 0x0f).ok_or(close::PROTOCOL_ERROR)?;
        let is_final = first & 0x80 != 0;
        let short = second & 0x7f;
        let is_good = first & 0x70 == 0
            && second & 0x80 != 0
            && !(opcode.is_control() && (short > 125 || !is_final))
            && (opcode.is_control() || (opcode == Opcode::Continuation) == self.message.is_some());
        if !is_good {
            return Err(close::PROTOCOL_ERROR);
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.head_bytes < 6 + length_bytes {
            return Ok(());
        }
        let (length, mask) = rest.split_at(usize::from(length_bytes));
        let long = length.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
        // RFC 6455, 5.2: the length must be in its shortest form, and its highest bit must be 0.
        let left = match length_bytes {
            2 if long > 125 => long,
            8 if long > 0xffff && long >> 63 == 0 => long,
            0 => u64::from(short),
            _ => return Err(close::PROTOCOL_ERROR),
        };
        let mask = mask.first_chunk().copied().unwrap_or_default();
        self.head_bytes = 0;
        match opcode {
            Opcode::Text => self.message = Some(Kind::Text),
            Opcode::Binary => self.message = Some(Kind::Binary),
            _ => {}
        }
        self.frame = Some(Frame {
            opcode,
            is_final,
            mask,
            taken: 0,
            left,
        });
        Ok(())
    }
}

fn control_item(opcode: Opcode, payload: Vec<u8>) -> Result<Item<'static>, u16> {
    match (opcode, payload.as_slice()) {
        (Opcode::Ping, _) => Ok(Item::Ping(payload)),
        (Opcode::Close, []) => Ok(Item::Close(None)),
        (Opcode::Close, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            // RFC 6455, 7.4: only these codes may be sent in a frame.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(close::PROTOCOL_ERROR);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Item::Close(Some(code))),
                Err(_) => Err(close::NOT_UTF8),
            }
        }
        (Opcode::Close, _) => Err(close::PROTOCOL_ERROR),
        _ => Ok(Item::Pong),
    }
}

/// Unmasks a part of a payload (RFC 6455, 5.3). `taken` is the number of payload bytes before this part.
fn unmask(payload: &mut [u8], mask: [u8; 4], taken: u64) {
    let mut mask = mask;
    mask.rotate_left((taken % 4) as usize);
    let (words, rest) = payload.as_chunks_mut::<4>();
    let whole = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Appends the head of an unfragmented frame with a payload of `length` bytes.
pub fn encode_head(opcode: Opcode, length: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match u16::try_from(length) {
        Ok(length @ 0..=125) => out.push(length as u8),
        Ok(length) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends an unfragmented frame.
pub fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    encode_head(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// A check for UTF-8 in bytes that arrive in pieces.
#[derive(Debug, Default)]
struct Utf8 {
    /// The first bytes of a character that is not complete yet.
    begun: [u8; 4],
    bytes: u8,
}

impl Utf8 {
    fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.bytes > 0 {
            let Some((first, rest)) = piece.split_first() else {
                return true;
            };
            piece = rest;
            if let Some(to) = self.begun.get_mut(usize::from(self.bytes)) {
                *to = *first;
            }
            self.bytes += 1;
            let begun = self
                .begun
                .get(..usize::from(self.bytes))
                .unwrap_or_default();
            match std::str::from_utf8(begun) {
                Ok(_) => self.bytes = 0,
                Err(e) if e.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => true,
            Err(e) if e.error_len().is_some() => false,
            Err(e) => {
                let rest = piece.get(e.valid_up_to()..).unwrap_or_default();
                for (to, from) in self.begun.iter_mut().zip(rest) {
                    *to = *from;
                }
                self.bytes = rest.len() as u8; // three at most
                true
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.bytes == 0
    }
}
