//! irc.md 1, 2, 4, 5: WeeChat, irssi, ii and sic, as Debian 12 packages them, the bots of three packages of PyPI, and a
//! bridge with a package of npm, in a room with a client of the line protocol.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::support::inbox::fits;
use crate::support::server::Chatd;
use crate::support::spawn::{Peer, Program};

/// A file that a client writes its window into, read line by line as it grows.
struct Window(Program);

impl Window {
    fn of(path: &Path, server: SocketAddr) -> Self {
        let command = format!(
            "exec tail -n +1 -s 0.05 -F '{}' 2>/dev/null",
            path.display()
        );
        Self(Program::start(&command, server))
    }

    /// Skips to a line that contains all of `words`.
    fn find(&mut self, words: &[&str]) {
        self.0
            .inbox
            .find(|line| words.iter().all(|word| line.contains(word)));
    }
}

/// Skips to the first line that fits a pattern.
fn find(peer: &mut Peer, pattern: &str) {
    peer.inbox.find(|line| fits(pattern, line));
}

/// Returns a member of `#ops`, beside the lobby.
fn bob(chatd: &Chatd) -> Peer {
    let mut bob = chatd.member("bob");
    bob.ask("JOIN #ops", "OK JOIN #ops <id>");
    bob
}

/// Starts a server that announces each member at once.
fn start(more: &[&str]) -> Chatd {
    Chatd::with(&[&["--announce-after", "0s"], more].concat())
}

/// Restarts a server at the same address.
fn restarted(chatd: Chatd) -> Chatd {
    let address = chatd.address.to_string();
    drop(chatd);
    start(&["--listen", &address])
}

/// Restarts a server. Waits until the window shows that its client is back in `#ops`; then bob, who is back too, welcomes
/// it.
fn restart(chatd: Chatd, room: &mut Window, is_back: &[&str]) -> Chatd {
    let chatd = restarted(chatd);
    room.find(is_back);
    bob(&chatd).ask("TELL #ops welcome back", "OK TELL <id> <time>");
    chatd
}

fn weechat(folder: &Path, server: SocketAddr) -> Program {
    let pipe = folder.join("pipe");
    let commands = [
        &format!("/set fifo.file.path {}", pipe.display()),
        "/fifo enable",
        "/set logger.file.flush_delay 0",
        "/set irc.server_default.autoreconnect_delay 1",
        &format!(
            "/server add chat {}/{} -notls -nicks=wee -autojoin=#ops",
            server.ip(),
            server.port()
        ),
        "/connect chat",
    ];
    let (folder, commands) = (folder.display(), commands.join(";"));
    let command = format!("exec weechat-headless -d '{folder}' -r '{commands}' 2>&1");
    Program::start(&command, server)
}

#[test]
fn weechat_talks_reads_the_past_and_comes_back_after_a_restart() {
    let chatd = start(&[]);
    let mut bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let _weechat = weechat(folder.path(), chatd.address);
    find(&mut bob, "JOIN #ops wee");
    let logs = folder.path().join("logs");
    let mut room = Window::of(&logs.join("irc.chat.#ops.weechatlog"), chatd.address);
    room.find(&["wee", "has joined #ops"]);
    let say = |text: &str| {
        fs::write(
            folder.path().join("pipe"),
            format!("irc.chat.#ops *{text}\n"),
        )
        .unwrap();
    };
    say("hello there");
    find(&mut bob, "MSG #ops wee hello there");
    bob.ask("TELL #ops hi", "OK TELL <id> <time>");
    room.find(&["bob\thi"]);
    bob.ask("TOPIC on time", "OK TOPIC #ops on time");
    room.find(&["bob", "has changed topic", "on time"]);
    say("/topic later");
    find(&mut bob, "TOPIC #ops wee later");
    say("/msg bob psst");
    find(&mut bob, "MSG bob wee psst");
    bob.ask("TELL wee yes?", "OK TELL - <time>");
    Window::of(&logs.join("irc.chat.bob.weechatlog"), chatd.address).find(&["bob\tyes?"]);
    say("/me waves");
    find(&mut bob, "ME #ops wee waves");
    say("/nick chat");
    find(&mut bob, "NICK #ops wee chat");
    say("/nick wee");
    find(&mut bob, "NICK #ops chat wee");
    say("/quote HISTORY #ops");
    Window::of(&logs.join("irc.server.chat.weechatlog"), chatd.address).find(&[" of #ops"]);
    drop(bob);
    let _chatd = restart(chatd, &mut room, &["wee", "has joined #ops"]);
    room.find(&["bob\twelcome back"]);
}

#[test]
fn irssi_talks_and_comes_back_after_a_restart() {
    let chatd = start(&[]);
    let mut bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    // By default it sends a command every two seconds.
    let config = format!(
        r##"settings = {{
  core = {{ real_name = "x"; user_name = "x"; nick = "irs"; server_reconnect_time = "1s"; }};
  "irc/core" = {{ cmd_queue_speed = "1msec"; }};
  "fe-common/core" = {{ autolog = "yes"; autolog_path = "{home}/logs/$0.log"; autolog_level = "all"; }};
}};
servers = ( {{ address = "{}"; port = "{}"; chatnet = "chat"; autoconnect = "yes"; }} );
chatnets = {{ chat = {{ type = "IRC"; nick = "irs"; }}; }};
channels = ( {{ name = "#ops"; chatnet = "chat"; autojoin = "yes"; }} );
"##,
        chatd.address.ip(),
        chatd.address.port()
    );
    fs::write(folder.path().join("config"), config).unwrap();
    let command = format!(
        "exec script -qfc 'stty rows 40 cols 150; TERM=xterm exec irssi --home={home}' /dev/null"
    );
    let mut irssi = Program::start(&command, chatd.address);
    find(&mut bob, "JOIN #ops irs");
    let logs = folder.path().join("logs");
    let mut room = Window::of(&logs.join("#ops.log"), chatd.address);
    room.find(&["irs", "has joined #ops"]);
    let mut say = |text: &str| irssi.send(format!("{text}\r"));
    say("/window goto #ops");
    say("hello there");
    find(&mut bob, "MSG #ops irs hello there");
    bob.ask("TELL #ops hi", "OK TELL <id> <time>");
    room.find(&["bob> hi"]);
    bob.ask("TOPIC on time", "OK TOPIC #ops on time");
    room.find(&["bob changed the topic", "on time"]);
    say("/msg bob psst");
    find(&mut bob, "MSG bob irs psst");
    bob.ask("TELL irs yes?", "OK TELL - <time>");
    Window::of(&logs.join("bob.log"), chatd.address).find(&["bob> yes?"]);
    say("/nick rssi");
    find(&mut bob, "NICK #ops irs rssi");
    drop(bob);
    let _chatd = restart(chatd, &mut room, &["has joined #ops"]);
    room.find(&["bob> welcome back"]);
}

#[test]
fn ii_sends_and_receives_messages() {
    let chatd = start(&[]);
    let mut bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let command = format!(
        "exec ii -s $HOST -p $PORT -n iii -i '{}'",
        folder.path().display()
    );
    let _ii = Program::start(&command, chatd.address);
    let server = folder.path().join(chatd.address.ip().to_string());
    Window::of(&server.join("out"), chatd.address).find(&["welcome to"]);
    let say =
        |to: &str, text: &str| fs::write(server.join(to).join("in"), format!("{text}\n")).unwrap();
    say("", "/j #ops");
    let mut room = Window::of(&server.join("#ops/out"), chatd.address);
    room.find(&["iii", "has joined #ops"]);
    say("#ops", "hello there");
    find(&mut bob, "MSG #ops iii hello there");
    bob.ask("TELL #ops hi", "OK TELL <id> <time>");
    room.find(&["<bob> hi"]);
    say("#ops", "/t later");
    find(&mut bob, "TOPIC #ops iii later");
    bob.ask("TELL iii yes?", "OK TELL - <time>");
    Window::of(&server.join("bob/out"), chatd.address).find(&["<bob> yes?"]);
    say("bob", "psst");
    find(&mut bob, "MSG bob iii psst");
    say("", "/n jjj");
    find(&mut bob, "NICK #ops iii jjj");
    say("#ops", "/l");
    find(&mut bob, "PART #ops jjj …");
}

#[test]
fn sic_sends_and_receives_messages() {
    let chatd = start(&[]);
    let mut bob = bob(&chatd);
    let mut sic = Program::start("exec sic -h $HOST -p $PORT -n sss", chatd.address);
    let heard = |sic: &mut Program, words: &[&str]| {
        sic.inbox
            .find(|line| words.iter().all(|word| line.contains(word)));
    };
    heard(&mut sic, &["welcome to"]);
    sic.send(":j #ops\n");
    heard(&mut sic, &["366"]);
    sic.send("hello there\n");
    find(&mut bob, "MSG #ops sss hello there");
    bob.ask("TELL #ops hi", "OK TELL <id> <time>");
    heard(&mut sic, &["<bob> hi"]);
    bob.ask("TOPIC on time", "OK TOPIC #ops on time");
    heard(&mut sic, &["TOPIC (#ops): on time"]);
    sic.send(":m bob psst\n");
    find(&mut bob, "MSG bob sss psst");
    bob.ask("TELL sss yes?", "OK TELL - <time>");
    heard(&mut sic, &["<bob> yes?"]);
    sic.send(":NICK ttt\n");
    find(&mut bob, "NICK #ops sss ttt");
    sic.send(":HISTORY #ops 1\n");
    heard(&mut sic, &["1 of #ops"]);
    sic.send(":QUIT gone\n");
    find(&mut bob, "PART #ops ttt …");
}

/// Where `tests/run` installs the clients of PyPI.
const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../irc-clients/bin");

/// Starts a bot in Python. It joins `#ops` and answers there: to `hi` with `heard bob: hi`, and to a change of the topic.
/// It answers a direct message with `yes, bob`.
fn python(folder: &Path, bot: &str, server: SocketAddr) -> Program {
    let path = folder.join("bot.py");
    fs::write(&path, bot).unwrap();
    let command = format!("exec '{PYTHON}/python' -u '{}' 2>&1", path.display());
    Program::start(&command, server)
}

/// Checks that a bot of [`python`] receives and sends everything, and comes back after a restart.
fn check_bot(chatd: Chatd, mut bob: Peer, nick: &str) {
    find(&mut bob, &format!("JOIN #ops {nick}"));
    let hears = |bob: &mut Peer, text: &str| {
        bob.ask(&format!("TELL #ops {text}"), "OK TELL <id> <time>");
        find(bob, &format!("MSG #ops {nick} heard bob: {text}"));
    };
    hears(&mut bob, "hi");
    hears(&mut bob, "café ☕ 👍");
    bob.ask("TOPIC on time", "OK TOPIC #ops on time");
    find(&mut bob, &format!("MSG #ops {nick} the topic is on time"));
    bob.ask(&format!("TELL {nick} there?"), "OK TELL - <time>");
    find(&mut bob, &format!("MSG bob {nick} yes, bob"));
    drop(bob);
    let chatd = restarted(chatd);
    let mut bob = self::bob(&chatd);
    find(&mut bob, &format!("JOIN #ops {nick}"));
    hears(&mut bob, "welcome back");
}

#[test]
fn a_bot_of_the_package_irc_talks_and_comes_back_after_a_restart() {
    let chatd = start(&[]);
    let bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let bot = r##"
import os
import irc.bot

class Bot(irc.bot.SingleServerIRCBot):
    def on_welcome(self, connection, event):
        connection.join("#ops")
    def on_pubmsg(self, connection, event):
        connection.privmsg(event.target, f"heard {event.source.nick}: {event.arguments[0]}")
    def on_topic(self, connection, event):
        connection.privmsg(event.target, f"the topic is {event.arguments[0]}")
    def on_privmsg(self, connection, event):
        connection.privmsg(event.source.nick, f"yes, {event.source.nick}")

server = (os.environ["HOST"], int(os.environ["PORT"]))
again = irc.bot.ExponentialBackoff(min_interval=1, max_interval=1)
Bot([server], "jar", "jar", recon=again).start()
"##;
    let _bot = python(folder.path(), bot, chatd.address);
    check_bot(chatd, bob, "jar");
}

#[test]
fn a_bot_of_irc3_talks_and_comes_back_after_a_restart() {
    let chatd = start(&[]);
    let bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let bot = r##"
import os
import irc3

@irc3.plugin
class Plugin:
    def __init__(self, bot):
        self.bot = bot
    @irc3.event(irc3.rfc.PRIVMSG)
    def said(self, mask=None, event=None, target=None, data=None, **more):
        if target == "#ops":
            self.bot.privmsg(target, f"heard {mask.nick}: {data}")
        else:
            self.bot.privmsg(mask.nick, f"yes, {mask.nick}")
    @irc3.event(irc3.rfc.TOPIC)
    def topic(self, mask=None, channel=None, data=None, **more):
        self.bot.privmsg(channel, f"the topic is {data}")

bot = irc3.IrcBot.from_config(dict(
    nick="three", autojoins=["#ops"], host=os.environ["HOST"], port=int(os.environ["PORT"]), ssl=False,
    timeout=30, flood_rate=1000, flood_burst=1000, includes=["irc3.plugins.core", "__main__"]))
bot.run()
"##;
    let _bot = python(folder.path(), bot, chatd.address);
    check_bot(chatd, bob, "three");
}

#[test]
fn limnoria_answers_and_comes_back_after_a_restart() {
    let chatd = start(&[]);
    let mut bob = bob(&chatd);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    let mut config = format!(
        "supybot.nick: lim
supybot.ident: lim
supybot.networks: chat
supybot.networks.chat.servers: {}:{}
supybot.networks.chat.ssl: False
supybot.networks.chat.channels: #ops
supybot.protocols.ssl.verifyCertificates: False
supybot.protocols.irc.throttleTime: 0
supybot.drivers.maxReconnectWait: 1
supybot.reply.whenAddressedBy.chars: @
supybot.plugins: Misc Utilities
supybot.plugins.Misc: True
supybot.plugins.Utilities: True
supybot.log.stdout: True
",
        chatd.address.ip(),
        chatd.address.port()
    );
    for name in ["backup", "conf", "data", "log", "plugins", "messages"] {
        config += &format!("supybot.directories.{name}: {home}/{name}\n");
    }
    let path = folder.path().join("lim.conf");
    fs::write(&path, config).unwrap();
    let command = format!(
        "cd '{home}' && exec '{PYTHON}/limnoria' --allow-root '{}' 2>&1",
        path.display()
    );
    let _limnoria = Program::start(&command, chatd.address);
    find(&mut bob, "JOIN #ops lim");
    bob.ask("TELL #ops @echo hello there", "OK TELL <id> <time>");
    find(&mut bob, "MSG #ops lim hello there");
    bob.ask("TELL lim echo psst", "OK TELL - <time>");
    find(&mut bob, "MSG bob lim psst");
    drop(bob);
    let chatd = restarted(chatd);
    let mut bob = self::bob(&chatd);
    find(&mut bob, "JOIN #ops lim");
    bob.ask("TELL #ops @echo welcome back", "OK TELL <id> <time>");
    find(&mut bob, "MSG #ops lim welcome back");
}

/// Runs the bridge in tests/irc/bridge between two rooms; `tests/run` installs it. `how` is the way in which it
/// requests what it has missed.
fn check_bridge(how: &str) {
    let ran = Command::new("node")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/irc/bridge/bridge.js"
        ))
        .args(["15", "200", how])
        .env("CHATD", env!("CARGO_BIN_EXE_chatd"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("2 restarts: none lost, doubled or changed"),
        "{said}{errors}"
    );
}

#[test]
fn a_bridge_that_reads_the_history_repeats_each_message_once_across_two_restarts() {
    check_bridge("history");
}

#[test]
fn a_bridge_that_joins_with_a_key_repeats_each_message_once_across_two_restarts() {
    check_bridge("key");
}
