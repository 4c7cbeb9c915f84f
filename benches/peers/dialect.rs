//! The protocols of the servers. Every message contains one [`MARK`], and nothing else that is sent contains it. So
//! deliveries can be counted without parsing lines.

/// A byte that occurs once in each message.
pub const MARK: u8 = b'|';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Chatd,
    /// The protocol of chatd, with ids, times and tags in each event.
    Tagged,
    Nats,
    Redis,
    Irc,
    /// A server that sends any line to all other clients.
    Lines,
    /// A server that sends any line to all clients, including its author.
    Echo,
}

/// The meaning of a line for a client that is joining.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    Answer(String),
    In,
    Refused,
}

impl Dialect {
    /// Returns the bytes that open a connection and join the room, up to the point where the client must wait for a
    /// reply.
    pub fn hello(self, name: &str) -> String {
        match self {
            Self::Chatd => format!("NICK {name}\n"),
            Self::Tagged => format!("TAGS on\nSTAMPS on\nNICK {name}\n"),
            // Members receive no copies of their own messages, as in most chats.
            Self::Nats => "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nSUB lobby 1\r\nPING\r\n".into(),
            // Version 3 of its protocol lets a subscriber publish.
            Self::Redis => "HELLO 3\r\nSUBSCRIBE lobby\r\n".into(),
            Self::Irc => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            Self::Lines | Self::Echo => String::new(),
        }
    }

    /// Returns the meaning of a line for a client that has not joined yet.
    pub fn step(self, line: &str) -> Step {
        let second = line.split(' ').nth(1);
        match self {
            Self::Chatd | Self::Tagged if line.starts_with("OK NICK ") => Step::In,
            Self::Chatd | Self::Tagged
                if line.starts_with("ERR ") || line.starts_with("CLOSED ") =>
            {
                Step::Refused
            }
            Self::Nats if line == "PONG" => Step::In,
            Self::Redis if line == "subscribe" => Step::In,
            Self::Nats | Self::Redis if line.starts_with('-') => Step::Refused,
            Self::Irc if line.starts_with("PING ") => {
                Step::Answer(format!("PONG {}\r\n", line.split_at(5).1))
            }
            Self::Irc if line.starts_with("ERROR") => Step::Refused,
            Self::Irc if second == Some("001") => Step::Answer("JOIN #lobby\r\n".into()),
            Self::Irc if second == Some("366") => Step::In, // the end of the list of members
            Self::Irc if matches!(second, Some("405" | "433" | "471")) => Step::Refused,
            // This is the server's greeting, so it has accepted the connection.
            Self::Lines | Self::Echo => Step::In,
            _ => Step::Wait,
        }
    }

    /// Returns the line that sends a message to the room.
    pub fn say(self, text: &str) -> String {
        let length = text.len();
        match self {
            Self::Chatd | Self::Tagged => format!("MSG {text}\n"),
            Self::Nats => format!("PUB lobby {length}\r\n{text}\r\n"),
            Self::Redis => {
                format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nlobby\r\n${length}\r\n{text}\r\n")
            }
            Self::Irc => format!("PRIVMSG #lobby :{text}\r\n"),
            Self::Lines | Self::Echo => format!("{text}\n"),
        }
    }

    /// Returns whether the author receives a copy.
    pub fn echoes(self) -> bool {
        matches!(self, Self::Redis | Self::Echo)
    }

    /// Returns a request whose reply shows that earlier messages have been processed. It is for servers that do not
    /// confirm messages.
    pub fn ask(self) -> &'static str {
        match self {
            Self::Nats | Self::Redis => "PING\r\n",
            Self::Irc => "PING asked\r\n",
            Self::Chatd | Self::Tagged | Self::Lines | Self::Echo => "",
        }
    }

    /// Returns whether the line is the reply to the request of [`Self::ask`].
    pub fn is_answer(self, line: &str) -> bool {
        match self {
            Self::Chatd | Self::Tagged => line.starts_with("OK MSG "),
            Self::Nats => line == "PONG",
            Self::Redis => line == "+PONG",
            Self::Irc => line.contains(" PONG "),
            Self::Lines | Self::Echo => line.contains(char::from(MARK)),
        }
    }
}
