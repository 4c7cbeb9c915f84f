//! The table of commands, with one row for each verb. `HELP`, the error texts and section 4.41 of `protocol.md` are
//! made from it.

use std::fmt;

use super::Code;

/// The maximum number of bytes in a verb.
const WORD_BYTES_MAX: usize = 16;

macro_rules! commands {
    ($(
        $variant:ident $word:literal $usage:literal $summary:literal
        lists [$($list:literal)*] replies [$($reply:literal)*] refuses [$($code:ident)*],
    )*) => {
        /// The first word of a command; see "Commands" in `protocol.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // each is named after its word
        pub enum Verb { $($variant),* }

        const _: () = { $(assert!($word.len() <= WORD_BYTES_MAX);)* };

        impl Verb {
            /// Every verb, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the verb as it is sent.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }

            /// Returns the command with its fields.
            pub fn usage(self) -> &'static str {
                match self { $(Self::$variant => concat!($word, $usage)),* }
            }

            /// Returns a short description of the command, for `HELP`.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary),* }
            }

            /// Returns the first words of the lines that the server may send before the reply `OK`.
            pub fn lists(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($list),*]),* }
            }

            /// Returns every form of the reply `OK`; optional parts are in square brackets.
            pub fn replies(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($reply),*]),* }
            }

            /// Returns the codes with which the server may refuse this command. The codes that any command can get are
            /// left out (see section 4.1 of `protocol.md`). `bad-syntax` is included only if the server may send it for
            /// a reason other than wrong fields.
            pub fn refuses(self) -> &'static [Code] {
                match self { $(Self::$variant => &[$(Code::$code),*]),* }
            }
        }
    };
}

commands! {
    Msg "MSG" " <text>" "send a message to the current room"
        lists [] replies ["OK MSG <id> <time>"] refuses [NeedNick NotInRoom NoSuchId],
    Me "ME" " <text>" "send an action, shown as * alice waves"
        lists [] replies ["OK ME <id> <time>"] refuses [NeedNick NotInRoom NoSuchId],
    Tell "TELL" " <room or nick> <text>" "send a message to a room without joining it, or to one person"
        lists ["AWAY"] replies ["OK TELL <id or -> <time>"]
        refuses [NeedNick BadName NoSuchNick NoSuchId Busy NotAllowed Quota],
    Nick "NICK" " <nick> [<password>]" "choose your nick; joins the lobby if you are in no room"
        lists [] replies ["OK NICK <nick> [<room> <last id>]"]
        refuses [BadName NickTaken NeedPassword Banned BadPassword Busy NotAllowed],
    Join "JOIN" " <room> [<id> | AS <name>]" "join a room and make it the current one; with an id or a reader's name, show what was sent since"
        lists ["GAP" "PAST"] replies ["OK JOIN <room> <last id>"]
        refuses [BadName NeedNick NotAllowed Quota],
    Seen "SEEN" " <room> <id> [AS <name>]" "save this id as the position of your named reader"
        lists [] replies ["OK SEEN <room> <id>"] refuses [NeedNick BadName NoSuchRoom BadSyntax Quota],
    Readers "READERS" "" "list your named readers"
        lists ["READER"] replies ["OK READERS <count>"] refuses [NeedNick],
    Forget "FORGET" " <room> <reader>" "delete one of your named readers"
        lists [] replies ["OK FORGET <room> <reader>"] refuses [NeedNick BadName],
    History "HISTORY" " [<room or own nick>] [<count>] [before <id> | after <id>]" "show earlier messages; with your own nick, your direct messages"
        lists ["PAST"] replies ["OK HISTORY <count>"]
        refuses [BadName NoSuchRoom NeedNick NotAllowed],
    Search "SEARCH" " [<room, * or @>] [from:<nick>] [before:<id>] <words>" "find the messages that contain all these words"
        lists ["PAST"] replies ["OK SEARCH <count> [cut]"] refuses [BadName NoSuchRoom BadSyntax NeedNick],
    Part "PART" " [<room>]" "leave a room"
        lists [] replies ["OK PART <room>"] refuses [BadName NotInRoom],
    Rooms "ROOMS" " [all]" "list the rooms; for operators, ROOMS all includes closed rooms"
        lists ["ROOM"] replies ["OK ROOMS <count>"] refuses [NeedNick NotAllowed],
    Who "WHO" " [<room>]" "list the members of a room"
        lists ["USER"] replies ["OK WHO <count>"] refuses [BadName NoSuchRoom],
    Whois "WHOIS" " <nick>" "show whether a nick is registered and online, and which rooms you share"
        lists ["USER"] replies ["OK WHOIS <nick> <registered or guest> <online or offline> [<text>]"]
        refuses [BadName NoSuchNick],
    Away "AWAY" " [<text>]" "mark yourself as away, with a text that others see; without a text, as back"
        lists [] replies ["OK AWAY"] refuses [NeedNick TooLong],
    Mine "MINE" "" "list the rooms that you are in"
        lists ["ROOM"] replies ["OK MINE <count>"] refuses [],
    Topic "TOPIC" " [<room>] [<text>]" "show or set the topic of a room; - clears it"
        lists [] replies ["OK TOPIC <room> [<text>]"] refuses [NeedNick NotInRoom NoSuchRoom BadName],
    Upload "UPLOAD" " <name> <length or *> [<sha256>] [@<nick>]" "send a file to the current room or to one person; its bytes follow"
        lists [] replies ["OK UPLOAD <file> <length> <sha256>"]
        refuses [NeedNick NotInRoom NotAllowed BadName NoSuchNick Quota TooLarge Busy NeedDigest Corrupt Incomplete NoSuchFile NoSuchId],
    Text "TEXT" " <bytes> [<room or nick>]" "send several lines as one message; their bytes follow"
        lists [] replies ["OK TEXT <id or -> <time> <count>"]
        refuses [NeedNick NotInRoom NotAllowed BadName NoSuchNick NoSuchId TooLarge TooLong NotUtf8 Incomplete Quota Busy],
    Download "DOWNLOAD" " <file> [<offset>]" "fetch a file by its number"
        lists ["DATA"] replies ["OK DOWNLOAD <file>"] refuses [NoSuchFile BadSyntax Busy],
    Files "FILES" " [<room or @>]" "list the files of a room, or of your direct messages"
        lists ["PAST"] replies ["OK FILES <count>"] refuses [BadName NoSuchRoom NeedNick],
    Remove "REMOVE" " <id, nick or room>" "delete your own message or file; operators can delete anybody's, an account or a room"
        lists [] replies ["OK REMOVE <id, nick or room>"]
        refuses [NeedNick NoSuchFile NoSuchNick NoSuchRoom NotAllowed Busy],
    Edit "EDIT" " <id> <text>" "replace the text of your own message"
        lists [] replies ["OK EDIT <id> <time>"] refuses [NeedNick NoSuchId NotAllowed],
    React "REACT" " <id> <emoji>" "react to a message or file with an emoji"
        lists [] replies ["OK REACT <id or -> <time>"] refuses [NeedNick NoSuchId Quota],
    Unreact "UNREACT" " <id> <emoji>" "withdraw a reaction"
        lists [] replies ["OK UNREACT <id or -> <time>"] refuses [NeedNick NoSuchId],
    Reacts "REACTS" " <id>" "list the reactions to a message or file"
        lists ["REACT"] replies ["OK REACTS <count>"] refuses [NoSuchId],
    Stamps "STAMPS" " on | off" "show the id and time of each event"
        lists [] replies ["OK STAMPS <on or off>"] refuses [NotAllowed],
    Tags "TAGS" " on | off" "show the tags of each event"
        lists [] replies ["OK TAGS <on or off>"] refuses [NotAllowed],
    Stay "STAY" "" "keep receiving events after the end of your input"
        lists [] replies ["OK STAY"] refuses [],
    Chat "CHAT" "" "for people: each line that you type is then a message, and commands begin with /"
        lists [] replies ["OK CHAT"] refuses [],
    Raw "RAW" "" "end CHAT: each line is then a command again"
        lists [] replies ["OK RAW"] refuses [],
    Ignore "IGNORE" " [<nick>]" "hide someone's messages; or list the nicks that you hide"
        lists ["IGNORE"] replies ["OK IGNORE <nick>" "OK IGNORE <count>"] refuses [BadName NoSuchNick Quota],
    Unignore "UNIGNORE" " <nick>" "show someone's messages again"
        lists [] replies ["OK UNIGNORE <nick>"] refuses [BadName NoSuchNick],
    Mode "MODE" " [<room>] [open | invite]" "show whether a room is open or invite-only, or change it"
        lists [] replies ["OK MODE <room> <open or invite>"] refuses [NeedNick BadName NoSuchRoom NotAllowed],
    Invite "INVITE" " [<room>] <nick> [keeper]" "invite someone to a room; keeper makes them a moderator"
        lists [] replies ["OK INVITE <room> <nick>"]
        refuses [NeedNick BadName NoSuchRoom NoSuchNick NotAllowed Quota],
    Uninvite "UNINVITE" " [<room>] <nick>" "end an invitation"
        lists [] replies ["OK UNINVITE <room> <nick>"]
        refuses [NeedNick BadName NoSuchRoom NoSuchNick NotAllowed],
    Invites "INVITES" " [<room>]" "list who is invited to a room"
        lists ["INVITE"] replies ["OK INVITES <count>"] refuses [NeedNick BadName NoSuchRoom],
    Register "REGISTER" " <password or ->" "reserve your nick, or change its password; - gives it up"
        lists [] replies ["OK REGISTER <nick>"] refuses [NeedNick BadPassword Busy NotAllowed Quota],
    Token "TOKEN" " <label> [<ssh key>]" "create a token for a bot, to use instead of your password; or add an ssh key that logs in"
        lists [] replies ["OK TOKEN <label> <token or fingerprint>"] refuses [NeedNick NotAllowed BadName Quota],
    Tokens "TOKENS" "" "list your tokens"
        lists ["TOKEN"] replies ["OK TOKENS <count>"] refuses [NeedNick NotAllowed],
    Hook "HOOK" " <label> <room>" "create an address to which tools post messages for the room, under your nick"
        lists [] replies ["OK HOOK <label> <path>"] refuses [NeedNick NotAllowed BadName Quota],
    Hooks "HOOKS" "" "list your hooks"
        lists ["HOOK"] replies ["OK HOOKS <count>"] refuses [NeedNick NotAllowed],
    Revoke "REVOKE" " <label>" "delete a token or a hook"
        lists [] replies ["OK REVOKE <label>"] refuses [NeedNick NotAllowed BadName],
    Pass "PASS" " <password>" "give the password of the server"
        lists [] replies ["OK PASS"] refuses [BadPassword Busy NotAllowed],
    Kick "KICK" " <nick> [<text>]" "operators: close the connections of a nick"
        lists [] replies ["OK KICK <nick>"] refuses [NeedNick NotAllowed BadName NoSuchNick],
    Ban "BAN" " <nick, address or network> [<time or ->] [<text>]" "operators: keep someone out, for 30m, 12h, 7d, or until UNBAN"
        lists [] replies ["OK BAN <nick, address or network>"] refuses [NeedNick NotAllowed BadName Quota],
    Unban "UNBAN" " <nick, address or network>" "operators: end a ban"
        lists [] replies ["OK UNBAN <nick, address or network>"] refuses [NeedNick NotAllowed BadName NoSuchNick],
    Bans "BANS" "" "operators: list the bans"
        lists ["BAN"] replies ["OK BANS <count>"] refuses [NeedNick NotAllowed],
    Note "NOTE" " <text>" "operators: send a notice to everybody"
        lists [] replies ["OK NOTE"] refuses [NeedNick NotAllowed],
    Shutdown "SHUTDOWN" " [<text>]" "operators: stop the server"
        lists [] replies ["OK SHUTDOWN"] refuses [NeedNick NotAllowed],
    Ping "PING" " [<word>]" "get an answer, to see that the connection works"
        lists [] replies ["OK PING [<word>]"] refuses [],
    Hello "HELLO" " [<text>]" "show the version of the protocol, the server's name and its capabilities"
        lists [] replies ["OK HELLO 1 <server> [<capabilities>]"] refuses [],
    Help "HELP" " [<verb>]" "show how to begin, or the fields of one command"
        lists ["HELP"] replies ["OK HELP"] refuses [UnknownVerb],
    Bye "BYE" " [<text>]" "close the connection once all earlier requests are answered"
        lists [] replies ["OK BYE"] refuses [],
    Quit "QUIT" " [<text>]" "the same as BYE"
        lists [] replies ["OK QUIT"] refuses [],
}

impl Verb {
    /// Returns whether a command may begin with tags.
    pub fn takes_tags(self) -> bool {
        matches!(
            self,
            Self::Msg | Self::Me | Self::Tell | Self::Text | Self::Upload
        )
    }

    /// Returns whether raw bytes follow the line of the command.
    pub fn has_bytes(self) -> bool {
        matches!(self, Self::Text | Self::Upload)
    }

    /// Parses the first word of a line. The word must be all in upper case or all in lower case; after a slash, any
    /// mix is accepted. So prose such as `Me too` is not a command.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let bare = match word.split_first() {
            Some((b'/', bare)) => bare,
            _ if word.iter().all(u8::is_ascii_uppercase) => word,
            _ if word.iter().all(u8::is_ascii_lowercase) => word,
            _ => return None,
        };
        let mut upper = [0; WORD_BYTES_MAX];
        let upper = upper.get_mut(..bare.len())?;
        upper.copy_from_slice(bare);
        upper.make_ascii_uppercase();
        Self::of_word(std::str::from_utf8(upper).ok()?)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
