//! The registration of an IRC client: capabilities, nick, password, and the welcome.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::request::Done;
use super::super::{AfterReply, Session};
use super::Irc;
use super::reply::Asked;
use crate::chat::Chat;
use crate::config::fixed::{AWAY_BYTES_MAX, IRC_HISTORY_MAX, IRC_SASL_BYTES_MAX};
use crate::dialect::Output;
use crate::dialect::irc::{Cap, Caps, Client, IrcLine, Message, numeric, pieces};
use crate::model::{Now, Secret};
use crate::protocol::text::is_clean;
use crate::protocol::{Code, Nick, Request};

/// The length in bytes of each line of a client's SASL answer. A shorter line is the last line of the answer.
const SASL_PIECE_BYTES: usize = 400;

/// What a client has sent before the server welcomes it.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    nick: Option<Nick>,
    has_user: bool,
    /// Whether the client is negotiating capabilities, so that the server waits for `CAP END`.
    is_negotiating: bool,
    pass: Option<Secret>,
}

impl Session {
    /// Handles a line of a client that has not been welcomed yet.
    pub(super) fn irc_arrive(&mut self, line: &IrcLine<'_>, chat: &mut Chat, now: Now) -> Done {
        match &*line.command {
            "CAP" => {
                self.irc_cap(line, chat)?;
            }
            "NICK" => {
                let Some(typed) = line.param(0) else {
                    self.irc_numeric(numeric::NO_NICK, &[], "no nick was given");
                    return Ok(None);
                };
                let nick = match Nick::parse(typed) {
                    Ok(nick) => nick,
                    Err(why) => {
                        self.irc_numeric(numeric::BAD_NICK, &[typed], &why.to_string());
                        return Ok(None);
                    }
                };
                let Some(arriving) = self.arriving() else {
                    return Ok(None);
                };
                arriving.nick = Some(nick);
                // A password may follow the nick, as in plainchat's own `NICK`.
                if let Some(secret) = line.param(1) {
                    arriving.pass = Some(Secret::new(secret));
                }
            }
            "USER" if line.param(3).is_none() => {
                let text = "USER needs four parameters";
                self.irc_numeric(numeric::NEED_MORE_PARAMS, &["USER"], text);
                return Ok(None);
            }
            "USER" => {
                if let Some(arriving) = self.arriving() {
                    arriving.has_user = true;
                }
            }
            "PASS" => {
                let Some(secret) = line.param(0) else {
                    self.irc_numeric(
                        numeric::NEED_MORE_PARAMS,
                        &["PASS"],
                        "no password was given",
                    );
                    return Ok(None);
                };
                if let Some(arriving) = self.arriving() {
                    arriving.pass = Some(Secret::new(secret));
                }
                return Ok(None);
            }
            "AUTHENTICATE" => return self.irc_authenticate(line, chat, now),
            "PING" => return self.irc_ping(line, chat, now),
            "QUIT" => return self.irc_quit(line, chat, now),
            "PONG" | "WEBIRC" | "PROTOCTL" => return Ok(None),
            "REGISTER" => {
                let params = ["REGISTER", "COMPLETE_CONNECTION_REQUIRED", "*"];
                let text = Some("register once you are connected");
                self.irc_send(|client, out| client.by_server("FAIL", &params, text, out));
                return Ok(None);
            }
            _ => {
                let text = "send NICK and USER first";
                self.irc_numeric(numeric::NOT_REGISTERED, &[], text);
                return Ok(None);
            }
        }
        self.irc_try_welcome(chat, now)
    }

    fn arriving(&mut self) -> Option<&mut Arriving> {
        self.irc.as_deref_mut()?.arriving.as_deref_mut()
    }

    /// If the client has sent everything that is necessary, takes the nick and welcomes the client.
    pub(super) fn irc_try_welcome(&mut self, chat: &mut Chat, now: Now) -> Done {
        let (is_open, has_nick) = (self.is_open, self.nick.is_some());
        let Some(arriving) = self.arriving() else {
            return Ok(None);
        };
        if !arriving.has_user || arriving.is_negotiating {
            return Ok(None);
        }
        if has_nick && is_open {
            self.irc_welcome(chat);
            return Ok(None);
        }
        let Some(nick) = arriving.nick.clone() else {
            return Ok(None);
        };
        let pass = arriving.pass.take();
        let typed = nick.as_str().to_owned();
        let done = match pass {
            Some(pass) if chat.is_registered(&nick) || chat.is_reserved(&nick) => {
                self.irc_asks(Asked::Secret(typed));
                let password = Some(pass.expose().into());
                self.irc_request(Request::Nick { nick, password }, chat, now)
            }
            Some(pass) if !is_open => {
                self.irc_asks(Asked::Secret(typed));
                let password = pass.expose().into();
                self.irc_request(Request::Pass { password }, chat, now)
            }
            _ if !is_open => {
                self.irc_asks(Asked::Secret(typed));
                self.require_open(crate::protocol::Verb::Nick)
                    .map(|()| None)
            }
            _ => {
                arriving.nick = None;
                self.irc_asks(Asked::Arrival(typed));
                self.irc_request(
                    Request::Nick {
                        nick,
                        password: None,
                    },
                    chat,
                    now,
                )
            }
        };
        if matches!(done, Ok(None)) && self.nick.is_some() {
            self.irc_welcome(chat);
        }
        done
    }

    /// Handles `CAP`.
    pub(super) fn irc_cap(&mut self, line: &IrcLine<'_>, chat: &mut Chat) -> Done {
        let word = line.param(0).unwrap_or_default().to_ascii_uppercase();
        let list = line.params.get(1).copied().unwrap_or_default();
        let has_sasl = self.require_tls(crate::protocol::Verb::Nick, chat).is_ok();
        let Some(irc) = self.irc.as_deref_mut() else {
            return Ok(None);
        };
        let mut out = Output::default();
        let bytes = &mut out.bytes;
        let Irc {
            client, arriving, ..
        } = irc;
        let answer = |client: &Client, word: &str, list: &str, out: &mut Vec<u8>| {
            client.by_server("CAP", &[&client.nick, word], Some(list), out);
        };
        let is_ended = match &*word {
            "LS" | "REQ" => {
                if let Some(arriving) = arriving {
                    arriving.is_negotiating = true;
                }
                if word == "LS" {
                    let has_values = list.parse::<u32>().is_ok_and(|version| version >= 302);
                    let names = Cap::NAMES
                        .iter()
                        .filter(|(_, cap)| has_sasl || *cap != Cap::Sasl);
                    let names = names.map(|(name, cap)| match cap.value() {
                        Some(value) if has_values => format!("{name}={value}"),
                        _ => (*name).to_owned(),
                    });
                    let names = names.collect::<Vec<_>>().join(" ");
                    let begin = Message {
                        source: &client.server,
                        command: "CAP",
                        params: &[&client.nick, "LS", "*"],
                        ..Message::default()
                    };
                    let lines = pieces(&names, begin.space());
                    for (n, text) in lines.iter().enumerate() {
                        // A star means that another line follows.
                        let params: &[&str] = if n + 1 < lines.len() {
                            &[&client.nick, "LS", "*"]
                        } else {
                            &[&client.nick, "LS"]
                        };
                        client.by_server("CAP", params, Some(text.trim_end()), bytes);
                    }
                } else if let Some(caps) = client
                    .caps
                    .requested(list)
                    .filter(|caps: &Caps| has_sasl || !caps.has(Cap::Sasl))
                {
                    client.caps = caps;
                    answer(client, "ACK", list, bytes);
                } else {
                    answer(client, "NAK", list, bytes);
                }
                false
            }
            "LIST" => {
                answer(client, "LIST", &client.caps.names(), bytes);
                false
            }
            "END" => {
                if let Some(arriving) = arriving {
                    arriving.is_negotiating = false;
                }
                true
            }
            _ => {
                let text = "unknown subcommand; use LS, LIST, REQ or END";
                let word = if word.is_empty() { "*" } else { &word };
                client.numeric(numeric::INVALID_CAP, &[word], text, bytes);
                false
            }
        };
        if !is_ended {
            self.push(out, AfterReply::Nothing);
        }
        Ok(None)
    }

    /// Handles `AUTHENTICATE` with SASL PLAIN (RFC 4616). The client may send its answer in several lines.
    pub(super) fn irc_authenticate(
        &mut self,
        line: &IrcLine<'_>,
        chat: &mut Chat,
        now: Now,
    ) -> Done {
        self.irc_asks(Asked::Sasl);
        let Some(word) = line.param(0) else {
            let text = "AUTHENTICATE needs a parameter";
            self.irc_numeric(numeric::NEED_MORE_PARAMS, &["AUTHENTICATE"], text);
            return Ok(None);
        };
        let Some(irc) = self.irc.as_deref_mut() else {
            return Ok(None);
        };
        if word == "*" {
            irc.sasl = None;
            self.irc_numeric(numeric::SASL_ABORTED, &[], "the login was aborted");
            return Ok(None);
        }
        let Some(mut answer) = irc.sasl.take() else {
            if word.eq_ignore_ascii_case("PLAIN") {
                irc.sasl = Some(String::new());
                self.irc_send(|_, out| out.extend_from_slice(b"AUTHENTICATE +\r\n"));
            } else {
                self.irc_send(|client, out| {
                    let text = "are the available SASL mechanisms";
                    client.numeric(numeric::SASL_MECHS, &["PLAIN"], text, out);
                    client.numeric(numeric::SASL_FAIL, &[], "the only mechanism is PLAIN", out);
                });
            }
            return Ok(None);
        };
        if word.len() > SASL_PIECE_BYTES {
            self.irc_numeric(numeric::SASL_TOO_LONG, &[], "that line is too long");
            return Ok(None);
        }
        if word != "+" {
            answer.push_str(word);
        }
        if answer.len() > IRC_SASL_BYTES_MAX {
            self.irc_numeric(numeric::SASL_FAIL, &[], "that is too long");
            return Ok(None);
        }
        if word.len() == SASL_PIECE_BYTES {
            irc.sasl = Some(answer);
            return Ok(None);
        }
        let refused = |code, text| crate::protocol::request::Refusal::of_line(code, text);
        let (nick, secret) = read_plain(&answer)
            .ok_or_else(|| refused(Code::BadSyntax, "invalid answer to PLAIN"))?;
        // Only a registered nick has a password to check. A login with any other nick would reserve that nick.
        if self.is_open && !chat.is_registered(&nick) {
            return Err(refused(Code::BadPassword, "that nick is not registered"));
        }
        let password = Some(secret.expose().into());
        self.irc_request(Request::Nick { nick, password }, chat, now)
    }

    /// Welcomes the client: sends the numerics that clients expect, and the rooms that the connection has joined.
    fn irc_welcome(&mut self, chat: &mut Chat) {
        let nick = self.nick.and_then(|nick| chat.user(nick));
        let nick = nick.map_or("*", |user| user.nick.as_str()).to_owned();
        let Some(irc) = self.irc.as_deref_mut() else {
            return;
        };
        irc.arriving = None;
        irc.asked = Asked::Nothing;
        irc.client.nick = nick.as_str().into();
        let mut out = Output::default();
        let bytes = &mut out.bytes;
        let client = &irc.client;
        let server = &*client.server;
        let name = &chat.config.name;
        client.numeric(
            numeric::WELCOME,
            &[],
            &format!("welcome to {name}, {nick}"),
            bytes,
        );
        client.numeric(
            numeric::YOUR_HOST,
            &[],
            &format!(
                "your host is {server}, plainchat {}",
                env!("CARGO_PKG_VERSION")
            ),
            bytes,
        );
        client.numeric(
            numeric::CREATED,
            &[],
            "this server also speaks plainchat's own protocol",
            bytes,
        );
        client.words(numeric::MY_INFO, &[server, "plainchat", "i", "io"], bytes);
        self.push(out, AfterReply::Nothing);
        self.irc_support(chat);
        self.irc_lusers(chat);
        self.irc_motd(chat);
        self.irc_send(|client, out| client.words(numeric::UMODE_IS, &["+"], out));
        for room in self.room_ids() {
            self.irc_entered(room, chat);
        }
    }

    /// Sends what the server supports (ISUPPORT), with its current limits.
    pub(super) fn irc_support(&mut self, chat: &Chat) {
        let network: String = chat
            .config
            .name
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let rooms = chat.limits().rooms_per_connection_max;
        let tokens = [
            "CASEMAPPING=ascii".to_owned(),
            "UTF8MAPPING=rfc8265".to_owned(),
            "UTF8ONLY".to_owned(),
            "CHANTYPES=#".to_owned(),
            "CHANMODES=,,,i".to_owned(),
            "PREFIX=(ov)@+".to_owned(),
            "NICKLEN=32".to_owned(),
            "CHANNELLEN=33".to_owned(),
            "USERLEN=32".to_owned(),
            "HOSTLEN=63".to_owned(),
            "TOPICLEN=390".to_owned(),
            "KICKLEN=300".to_owned(),
            format!("CHANLIMIT=#:{rooms}"),
            "MODES=1".to_owned(),
            format!("NETWORK={network}"),
            format!("AWAYLEN={AWAY_BYTES_MAX}"),
            "SAFELIST".to_owned(),
            "ELIST=MU".to_owned(),
            "WHOX".to_owned(),
            format!("CHATHISTORY={IRC_HISTORY_MAX}"),
            "MSGREFTYPES=msgid,timestamp".to_owned(),
            "CLIENTTAGDENY=*,-draft/reply,-draft/react,-draft/unreact".to_owned(),
            "TARGMAX=JOIN:,PART:,NAMES:1,LIST:,KICK:1,WHOIS:1,PRIVMSG:1,NOTICE:1,TAGMSG:1"
                .to_owned(),
        ];
        self.irc_send(|client, out| {
            for tokens in tokens.chunks(12) {
                let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
                client.numeric(
                    numeric::SUPPORT,
                    &tokens,
                    "are supported by this server",
                    out,
                );
            }
        });
    }

    pub(super) fn irc_lusers(&mut self, chat: &Chat) {
        let (users, rooms) = (chat.nicks_in_use().to_string(), chat.rooms().to_string());
        let most = chat.nicks_most().to_string();
        self.irc_send(|client, out| {
            let text = format!("There are {users} users and 0 invisible on 1 servers");
            client.numeric(numeric::LUSER_CLIENT, &[], &text, out);
            client.numeric(numeric::LUSER_CHANNELS, &[&rooms], "rooms", out);
            client.numeric(
                numeric::LUSER_ME,
                &[],
                &format!("I have {users} clients and 0 servers"),
                out,
            );
            for number in [numeric::LOCAL_USERS, numeric::GLOBAL_USERS] {
                let text = format!("current users {users}, max {most}");
                client.numeric(number, &[&users, &most], &text, out);
            }
        });
    }

    pub(super) fn irc_motd(&mut self, chat: &Chat) {
        let lobby = chat
            .room(chat.lobby())
            .map_or("#lobby", |room| room.name.as_str());
        let begin =
            format!("JOIN {lobby} to begin; LIST shows the other rooms, HELP the other commands.");
        let keeping = chat.config.keeping();
        self.irc_send(|client, out| {
            let text = format!("- {} message of the day -", client.server);
            client.numeric(numeric::MOTD_START, &[], &text, out);
            for line in [begin, keeping] {
                client.numeric(numeric::MOTD, &[], &format!("- {line}"), out);
            }
            client.numeric(numeric::END_OF_MOTD, &[], "End of /MOTD", out);
        });
    }
}

/// Parses the answer of SASL PLAIN: the identity to act as (which may be empty), the nick, and the password.
fn read_plain(answer: &str) -> Option<(Nick, Secret)> {
    let bytes = STANDARD.decode(answer).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut parts = text.split('\0');
    let (as_whom, nick, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some()
        || secret.is_empty()
        || !is_clean(secret)
        || !(as_whom.is_empty() || as_whom == nick)
    {
        return None;
    }
    Some((Nick::parse(nick).ok()?, Secret::new(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_plain_names_one_nick() {
        let read = |answer: &str| {
            read_plain(answer).map(|(nick, secret)| (nick.to_string(), secret.expose().to_owned()))
        };
        let ann = Some(("ann".to_owned(), "secret".to_owned()));
        assert_eq!(read("AGFubgBzZWNyZXQ="), ann); // \0ann\0secret
        assert_eq!(read("YW5uAGFubgBzZWNyZXQ="), ann); // ann\0ann\0secret
        assert_eq!(read("Ym9iAGFubgBzZWNyZXQ="), None); // bob\0ann\0secret
        assert_eq!(read("AGFubg=="), None); // \0ann
    }
}
