//! Writes the answers to `WHO`, either in the old form or with the fields that the client requests by WHOX
//! (ircv3.net, "WHOX").

use super::{Client, numeric, user};

/// The form of the answer that a client has requested.
#[derive(Clone, Copy, Debug, Default)]
pub struct WhoForm {
    /// The letters of the requested fields, as bits; 0 for the old form.
    fields: u16,
    /// The number from the request, which the answer repeats.
    token: Option<u16>,
}

/// The letters in the order in which their fields are sent.
const FIELDS: &str = "tcuihsnfdlaor";

/// A member, as `WHO` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The room that was asked about; `*` if none was.
    pub room: &'a str,
    /// The nick.
    pub nick: &'a str,
    /// Whether the nick is registered.
    pub is_registered: bool,
    /// Whether the nick is an operator of the server.
    pub is_operator: bool,
    /// Whether the nick moderates the room.
    pub is_moderator: bool,
    /// Whether the user is away.
    pub is_away: bool,
}

impl WhoForm {
    /// Parses `%fields,token`.
    pub fn parse(text: &str) -> Self {
        let Some(text) = text.split('%').nth(1) else {
            return Self::default();
        };
        let (letters, token) = text.split_once(',').unwrap_or((text, ""));
        let bits = letters.chars().filter_map(|letter| FIELDS.find(letter));
        let is_token = token.len() <= 3;
        Self {
            fields: bits.fold(0, |bits, at| bits | 1 << at),
            token: token.parse().ok().filter(|_| is_token),
        }
    }

    /// Appends the line of a member.
    pub fn write(self, client: &Client, shown: Shown<'_>, out: &mut Vec<u8>) {
        let Shown { room, nick, .. } = shown;
        let (user, server) = (user(nick), &*client.server);
        let mut flags = if shown.is_away { "G" } else { "H" }.to_owned();
        if shown.is_operator {
            flags.push('*');
        }
        if shown.is_moderator {
            flags.push('@');
        }
        if self.fields == 0 {
            let params = [room, &user, server, server, nick, &flags];
            return client.numeric(numeric::WHO_REPLY, &params, &format!("0 {nick}"), out);
        }
        let token = self
            .token
            .map_or_else(|| "0".to_owned(), |token| token.to_string());
        let mut params: Vec<&str> = Vec::new();
        let mut real_name = None;
        for (at, letter) in FIELDS.chars().enumerate() {
            if self.fields & 1 << at == 0 {
                continue;
            }
            params.push(match letter {
                't' => &token,
                'c' => room,
                'u' => &user,
                'i' => "255.255.255.255",
                'h' | 's' => server,
                'n' => nick,
                'f' => &flags,
                'd' | 'l' => "0",
                'a' if shown.is_registered => nick,
                'a' => "0",
                'o' if shown.is_moderator => "0",
                'o' => "n/a",
                _ => {
                    real_name = Some(nick);
                    continue;
                }
            });
        }
        match real_name {
            Some(name) => client.numeric(numeric::WHOX_REPLY, &params, name, out),
            None => client.words(numeric::WHOX_REPLY, &params, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: &str) -> String {
        let mut client = Client::new("chatd", "");
        client.nick = "ann".into();
        let shown = Shown {
            room: "#ops",
            nick: "bob",
            is_registered: true,
            is_operator: false,
            is_moderator: true,
            is_away: false,
        };
        let mut out = Vec::new();
        WhoForm::parse(form).write(&client, shown, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_fields_are_sent_in_a_fixed_order() {
        assert_eq!(
            shown("o"),
            ":chatd.chat 352 ann #ops bob chatd.chat chatd.chat bob H@ :0 bob\r\n"
        );
        assert_eq!(shown("%ncat,42"), ":chatd.chat 354 ann 42 #ops bob bob\r\n");
        assert_eq!(shown("%r"), ":chatd.chat 354 ann :bob\r\n");
        assert_eq!(shown("%t,1234"), ":chatd.chat 354 ann 0\r\n");
    }
}
