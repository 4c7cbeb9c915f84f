//! protocol.md 11.5, chatd.md 8: three `chatd` on three nats-servers, as their users see them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use futures_lite::future;
use plainchat::cluster::nats::Headers;
use plainchat::cluster::nats::codec::Message;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::servers::{Servers, run, settled};
use super::support::inbox::fits;
use super::support::server::Chatd;
use super::support::spawn::Peer;

/// The number of messages in a log that has been shortened.
const SHORT: u32 = 100;

/// Servers that share a chat.
pub struct Chat {
    pub nats: Servers,
    folder: TempDir,
}

impl Chat {
    /// Begins a chat on three new nats-servers.
    pub fn begin() -> Self {
        Self::begin_with(|_| ())
    }

    /// Begins a chat on three new nats-servers with a folder that `fill` may fill first.
    fn begin_with(fill: impl FnOnce(&Path)) -> Self {
        let chat = Self {
            nats: Servers::three(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let data = chat.data("one");
        fill(&data);
        let told = chatd(&[
            "cluster",
            "init",
            "--data",
            text(&data),
            "--cluster",
            &chat.addresses(),
        ]);
        assert!(
            told.contains(": the first folder of the chat chat\n"),
            "{told}"
        );
        chat
    }

    fn data(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn addresses(&self) -> String {
        let addresses = self.nats.addresses();
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// Starts a server with the folder of the same name, which may be empty.
    pub fn start(&self, node: &str) -> Chatd {
        self.start_with(node, &[])
    }

    /// Starts a server with further flags.
    pub fn start_with(&self, node: &str, flags: &[&str]) -> Chatd {
        let data = self.data(node);
        let addresses = self.addresses();
        let all = [
            "--cluster",
            &addresses,
            "--node",
            node,
            "--data",
            text(&data),
            "--announce-after",
            "1h",
        ];
        Chatd::with(&[&all, flags].concat())
    }

    /// Deletes all but the newest messages of the log, as NATS deletes old messages in the course of a week.
    fn shorten_log(&self) {
        let mut settings = self.ask_nats("INFO", "")["config"].take();
        settings["max_msgs"] = SHORT.into();
        settings["discard"] = "old".into();
        self.ask_nats("UPDATE", &settings.to_string());
    }

    /// Sends a request about the log to NATS, and returns the answer.
    fn ask_nats(&self, what: &str, body: &str) -> Value {
        let mut answer = Value::Null;
        run(async {
            let (handle, connection) = self.nats.all[0].connect().await;
            let subject = format!("$JS.API.STREAM.{what}.PC_chat");
            let within = Duration::from_secs(5);
            let asks = settled(async || {
                handle
                    .request(&subject, &Headers::new(), body.as_bytes(), within)
                    .await
            });
            let lost = async { panic!("{}", connection.run().await) };
            let told = future::or(asks, lost).await.expect("an answer").payload;
            answer = serde_json::from_slice(&told).expect("JSON");
        });
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    /// Answers servers that copy a file, as a server that has it, until all of it was sent. The second request for a piece
    /// gets no answer. Returns the offsets of all requests.
    fn send_file(&self, bytes: &[u8], sha256: &str) -> Vec<usize> {
        let mut offsets = Vec::new();
        run(async {
            let (handle, connection) = self.nats.all[0].connect().await;
            let (looks, copies) = ("pc.chat.files", "pc.chat.files.gone");
            let everybody = handle.subscribe(looks).expect("a connection");
            let pieces = handle.subscribe(copies).expect("a connection");
            let answer = |to: &Message, answer: &[u8]| {
                let to = to.reply.as_deref().expect("it waits for an answer");
                handle
                    .publish(to, None, &Headers::new(), answer)
                    .expect("a connection");
            };
            let has = async {
                while let Some(asked) = everybody.next().await {
                    assert_eq!(asked.payload, sha256.as_bytes());
                    answer(&asked, copies.as_bytes());
                }
            };
            let sends = async {
                while let Some(asked) = pieces.next().await {
                    let words = String::from_utf8(asked.payload.clone()).expect("text");
                    let offset = words.strip_prefix(sha256).expect("its digest").trim();
                    offsets.push(offset.parse().expect("an offset"));
                    if offsets.len() == 2 {
                        continue;
                    }
                    let (_, rest) = bytes.split_at(offsets[offsets.len() - 1]);
                    let (piece, left) = rest.split_at(rest.len().min(200_000));
                    let left_bytes = left.len() as u64;
                    answer(&asked, &[&left_bytes.to_be_bytes(), piece].concat());
                    if left.is_empty() {
                        // The answer to a further request shows that the piece was sent.
                        let (none, within) = (Headers::new(), Duration::from_secs(5));
                        let sent = handle.request("$JS.API.INFO", &none, b"", within);
                        sent.await.expect("an answer");
                        break;
                    }
                }
            };
            let lost = async { panic!("{}", connection.run().await) };
            future::or(sends, future::or(has, lost)).await;
        });
        offsets
    }

    /// Returns what a server has stored of all rooms.
    fn stored(&self, node: &str) -> String {
        chatd(&["export", "--data", text(&self.data(node))])
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

fn command(words: &[&str]) -> Output {
    let mut chatd = Command::new(env!("CARGO_BIN_EXE_chatd"));
    chatd.args(words).output().expect("it is built")
}

/// Runs `chatd` with a command, and returns what it prints.
fn chatd(words: &[&str]) -> String {
    let done = command(words);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{words:?}: {errors}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Asks again until the reply fits `pattern`. Nothing tells a client that another server has ended.
fn ask_until(peer: &mut Peer, line: &str, verb: &str, pattern: &str) {
    loop {
        peer.send(format!("{line}\n"));
        let replies = format!("<word> {verb}…");
        let reply = peer.inbox.find(|line| fits(&replies, line)); // a notice may come first
        if fits(pattern, &reply) {
            return;
        }
    }
}

/// Waits until a server is not cut off, and has stored everything that was acknowledged before on any server.
fn catch_up(server: &Chatd) {
    ask_until(&mut server.peer(), "NICK probe", "NICK", "OK NICK…");
}

#[test]
fn what_is_said_on_one_server_is_the_same_on_all() {
    let chat = Chat::begin();
    let (one, two, three) = (chat.start("one"), chat.start("two"), chat.start("three"));
    let (mut ann, mut bob) = (one.member("ann"), two.member("bob"));
    let mut cat = three.peer();
    // Nicks and rooms.
    cat.ask("NICK ann", "ERR NICK nick-taken…");
    cat.ask("NICK cat secret", "OK NICK cat #lobby 0");
    ann.ask("JOIN #tea", "OK JOIN #tea 0");
    bob.ask("JOIN #Tea", "OK JOIN #tea 0");
    // The right password never counts as wrong, however many come back at once.
    let connect = |_| {
        let mut phone = two.peer();
        phone.ask("NICK cat secret", "OK NICK cat #lobby 0");
        phone
    };
    let phones: Vec<Peer> = (0..12).map(connect).collect();
    drop(phones);
    cat.send("WHO #tea\n");
    cat.expect("USER #tea ann");
    cat.expect("USER #tea bob");
    cat.expect("OK WHO 2");
    // Messages have the same ids, whoever reads them where.
    let told = ann.ask("MSG hello", "OK MSG <id> <time>");
    let id = told.split(' ').nth(2).expect("an id").to_owned();
    bob.expect("MSG #tea ann hello");
    bob.ask(&format!("EDIT {id} good morning"), "ERR EDIT not-allowed…");
    ann.ask(&format!("EDIT {id} good morning"), "OK EDIT <id> <time>");
    bob.expect(&format!("EDIT #tea ann {id} good morning"));
    cat.send("HISTORY #tea 2\n");
    cat.expect(&format!("PAST {id} <time> MSG #tea ann good morning"));
    cat.expect(&format!("PAST <id> <time> EDIT #tea ann {id} good morning"));
    cat.expect("OK HISTORY 2");
    // Accounts.
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    let mut phone = three.peer();
    phone.ask("TAGS on", "OK TAGS on");
    phone.ask("NICK ann my secret", "OK NICK ann #lobby 0");
    bob.ask("REGISTER my secret", "OK REGISTER bob");
    ann.ask("JOIN #den", "OK JOIN #den 0");
    ann.ask("MODE #den invite", "OK MODE #den invite");
    cat.ask("JOIN #den", "ERR JOIN not-allowed…");
    ann.ask("INVITE bob", "OK INVITE #den bob");
    bob.expect("INVITE #den ann");
    bob.ask("JOIN #den", "OK JOIN #den 0");
    // Direct messages: saved between registered nicks, and otherwise in no log at all.
    ann.ask("TELL bob saved", "OK TELL <id> <time>");
    bob.expect("MSG bob ann saved");
    phone.expect("MSG bob ann saved");
    ann.ask("TELL cat just for you", "OK TELL - <time>");
    cat.expect("MSG cat ann just for you");
    // Files, complete and live.
    ann.send("UPLOAD notes.txt 5\nhello");
    let told = ann.inbox.reply("OK UPLOAD <id> 5 <sha256>");
    let file = told.split(' ').nth(2).expect("an id").to_owned();
    bob.expect(&format!("FILE #den ann {file} 5 notes.txt"));
    bob.send(format!("DOWNLOAD {file}\n"));
    bob.expect(&format!("DATA {file} 5 <sha256> notes.txt"));
    assert_eq!(bob.inbox.bytes(5), b"hello");
    bob.expect(&format!("OK DOWNLOAD {file}"));
    cat.ask(&format!("DOWNLOAD {file}"), "ERR DOWNLOAD no-such-file…");
    // A server that starts with an empty folder has everything.
    let four = chat.start("four");
    let mut dan = four.member("dan");
    dan.send("HISTORY #tea 2\n");
    dan.expect(&format!("PAST {id} <time> MSG #tea ann good morning"));
    [&one, &two, &three, &four].into_iter().for_each(catch_up);
    drop((ann, bob, cat, dan, phone));
    let told = chatd(&["cluster", "status", "--cluster", &chat.addresses()]);
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines[0].starts_with("the chat chat: messages 1 to "),
        "{told}"
    );
    for (line, name) in lines[1..].iter().zip(["four", "one", "three", "two"]) {
        let begins = format!("{name}: serves clients, has read up to message ");
        assert!(line.starts_with(&begins), "{told}");
    }
    assert_eq!(lines.len(), 5, "{told}");
    let metrics = super::support::web::say(&one, &["GET /metrics HTTP/1.1"], "");
    for line in [
        "chatd_cluster_ready 1",
        "chatd_cluster_servers 4",
        "chatd_cluster_cut_off_total 0",
        "chatd_cluster_joined_total 1",
        "chatd_cluster_left_total 0",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{metrics}");
    }
    let stored = chat.stored("one");
    assert!(stored.contains("good morning") && !stored.contains("just for you"));
    drop((one, two, three, four));
    let all = ["one", "two", "three", "four"].map(|node| chat.stored(node));
    assert!(all.iter().all(|other| *other == all[0]), "{all:?}");
    // Nothing changes one of the folders alone, and a folder can be that of a single server again.
    let data = chat.data("two");
    let repair = ["check", "--repair", "--data", text(&data)];
    assert!(!command(&repair).status.success());
    let data = chat.data("two");
    chatd(&["cluster", "leave", "--data", text(&data)]);
    let alone = Chatd::with(&["--data", text(&data)]);
    let mut ann = alone.peer();
    ann.ask("NICK ann my secret", "OK NICK ann #lobby 0");
    ann.ask("JOIN #tea", "OK JOIN #tea <id>");
    let told = ann.ask("MSG back", "OK MSG <id> <time>");
    let next: u64 = told
        .split(' ')
        .nth(2)
        .expect("an id")
        .parse()
        .expect("a number");
    assert!(next > id.parse().expect("a number"));
}

#[test]
fn a_server_receives_a_copy_of_another_one_if_the_log_lacks_what_it_needs() {
    let mut file = String::new();
    let chat = Chat::begin_with(|data| {
        let alone = Chatd::with(&["--data", text(data)]);
        let mut ann = alone.member("ann");
        ann.ask("REGISTER my secret", "OK REGISTER ann");
        ann.ask("MSG from before", "OK MSG <id> <time>");
        ann.send("UPLOAD notes.txt 5\nhello");
        let told = ann.inbox.reply("OK UPLOAD <id> 5 <sha256>");
        file = told.split(' ').nth(2).expect("an id").to_owned();
    });
    let mut one = chat.start("one");
    let mut bob = one.member("bob");
    bob.ask("MSG already shared", "OK MSG <id> <time>");
    // A new server, with an empty folder.
    let two = chat.start("two");
    let mut cat = two.peer();
    cat.ask("NICK ann", "ERR NICK need-password…");
    cat.ask("NICK bob", "ERR NICK nick-taken…");
    cat.ask("NICK cat", "OK NICK cat #lobby <id>");
    cat.send("SEARCH from before\n");
    cat.expect("PAST <id> <time> MSG #lobby ann from before");
    cat.expect("OK SEARCH 1");
    cat.send(format!("DOWNLOAD {file}\n"));
    cat.expect(&format!("DATA {file} 5 <sha256> notes.txt"));
    assert_eq!(cat.inbox.bytes(5), b"hello");
    cat.expect(&format!("OK DOWNLOAD {file}"));
    bob.ask("MSG to both", "OK MSG <id> <time>");
    cat.expect("MSG #lobby bob to both");
    // A server that was away until the log had lost what it needs.
    drop((cat, two));
    for _ in 0..2 * SHORT {
        bob.ask("MSG not in the log any more", "OK MSG <id> <time>");
    }
    drop(bob);
    one.signal(Signal::TERM); // then it begins with the newest messages
    assert!(one.wait(Duration::from_secs(60)).is_some());
    let one = chat.start("one");
    let mut bob = one.member("bob");
    chat.shorten_log();
    let two = chat.start("two");
    let mut dan = two.member("dan");
    dan.send("HISTORY 1\n");
    dan.expect("PAST <id> <time> MSG #lobby bob not in the log any more");
    dan.expect("OK HISTORY 1");
    bob.ask("MSG and on", "OK MSG <id> <time>");
    dan.expect("MSG #lobby bob and on");
    [&one, &two].into_iter().for_each(catch_up);
    drop((one, two));
    let all = ["one", "two"].map(|node| chat.stored(node));
    assert!(all[0].contains("from before"), "{}", all[0]);
    assert_eq!(all[0], all[1]);
}

#[test]
fn a_server_that_dies_or_stops_is_replaced_and_loses_nothing() {
    let chat = Chat::begin();
    let (one, two) = (chat.start("one"), chat.start("two"));
    let (mut ann, mut bob) = (one.member("ann"), two.member("bob"));
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    bob.ask("MSG before", "OK MSG <id> <time>");
    // A registered nick need not wait until the other servers have noticed.
    drop(one);
    let mut again = two.peer();
    again.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
    bob.ask("MSG meanwhile", "OK MSG <id> <time>");
    let one = chat.start("one");
    let mut cat = one.peer();
    cat.ask("NICK ann", "ERR NICK need-password…");
    cat.ask("NICK cat", "OK NICK cat #lobby <id>");
    cat.send("HISTORY 2\n");
    cat.expect("PAST <id> <time> MSG #lobby bob before");
    cat.expect("PAST <id> <time> MSG #lobby bob meanwhile");
    cat.expect("OK HISTORY 2");
    // A suspended server cannot act under a nick that is somebody else's by now.
    one.signal(Signal::STOP);
    let mut dan = two.peer();
    ask_until(&mut dan, "NICK cat", "NICK", "OK NICK cat…");
    cat.send("MSG too late\n");
    one.signal(Signal::CONT);
    // provokes: cut-off
    let said = cat
        .inbox
        .find(|line| line.starts_with("OK MSG") || line.starts_with("CLOSED"));
    assert!(said.starts_with("CLOSED cut-off "), "{said}");
    dan.ask("MSG mine now", "OK MSG <id> <time>");
    let mut eve = one.peer();
    ask_until(&mut eve, "NICK eve", "NICK", "OK NICK eve…");
    eve.send("HISTORY 2\n");
    eve.expect("PAST <id> <time> MSG #lobby bob meanwhile");
    eve.expect("PAST <id> <time> MSG #lobby cat mine now");
    // Without NATS, nothing is acknowledged. A connection without a nick stays, and so does its room.
    let is_notice = |line: &str, text: &str| line.starts_with("NOTE * ") && line.contains(text);
    let mut quiet = two.peer();
    quiet.ask("JOIN #quiet", "OK JOIN #quiet 0");
    chat.nats
        .all
        .iter()
        .for_each(|nats| nats.signal(Signal::STOP));
    dan.send("MSG perhaps\n");
    dan.expect("CLOSED cut-off…");
    quiet.inbox.find(|line| is_notice(line, "cannot reach"));
    // A load balancer sends nobody here.
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1");
        super::support::web::say(&two, &[&request], "")
    };
    let health = get("/health");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    chat.nats
        .all
        .iter()
        .for_each(|nats| nats.signal(Signal::CONT));
    quiet.inbox.find(|line| is_notice(line, "can reach"));
    let mut fay = two.peer();
    ask_until(&mut fay, "NICK fay", "NICK", "OK NICK fay…");
    fay.ask("MSG found", "OK MSG <id> <time>");
    quiet.ask("PING", "OK PING");
    let health = get("/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let metrics = get("/metrics");
    let joined = "chatd_cluster_joined_total 2";
    assert!(metrics.lines().any(|line| line == joined), "{metrics}");
    let left = "chatd_cluster_left_total 0";
    assert!(metrics.lines().all(|line| line != left), "{metrics}");
    catch_up(&one);
    one.peer().ask("WHO #quiet", "OK WHO 0");
    [&one, &two].into_iter().for_each(catch_up);
    drop((one, two));
    let all = ["one", "two"].map(|node| chat.stored(node));
    assert!(all[0].contains("MSG #lobby fay found"), "{}", all[0]);
    assert_eq!(all[0], all[1]);
}

#[test]
fn a_chat_whose_log_is_lost_continues_with_the_folder_of_a_server() {
    let chat = Chat::begin();
    let repair = |node: &str| {
        let (data, addresses) = (chat.data(node), chat.addresses());
        command(&[
            "cluster",
            "repair",
            "--data",
            text(&data),
            "--cluster",
            &addresses,
        ])
    };
    let (mut one, two) = (chat.start("one"), chat.start("two"));
    let (mut ann, mut bob) = (one.member("ann"), two.member("bob"));
    ann.ask("REGISTER my secret", "OK REGISTER ann");
    bob.ask("MSG before", "OK MSG <id> <time>");
    ann.expect("MSG #lobby bob before");
    drop(two);
    let refused = repair("two").stderr;
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.contains("the server one is running"), "{refused}");
    for _ in 0..2 * SHORT {
        ann.ask("MSG not on the other server", "OK MSG <id> <time>");
    }
    ann.ask("MSG only one server has it", "OK MSG <id> <time>");
    drop(ann);
    one.signal(Signal::TERM);
    assert!(one.wait(Duration::from_secs(60)).is_some());
    chat.shorten_log();
    let refused = repair("two").stderr;
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.contains("take a folder with more"), "{refused}");
    let told = String::from_utf8(repair("one").stdout).expect("UTF-8");
    assert!(told.ends_with(": nothing to repair\n"), "{told}");
    chat.ask_nats("DELETE", "");
    let told = String::from_utf8(repair("one").stdout).expect("UTF-8");
    let wanted = ": the chat chat continues with this folder, from message ";
    assert!(told.contains(wanted), "{told}");
    let (one, two) = (chat.start("one"), chat.start("two"));
    let (mut ann, mut bob) = (one.peer(), two.member("bob"));
    ann.ask("NICK ann my secret", "OK NICK ann #lobby <id>");
    bob.send("HISTORY 1\n");
    bob.expect("PAST <id> <time> MSG #lobby ann only one server has it");
    bob.expect("OK HISTORY 1");
    ann.ask("MSG after", "OK MSG <id> <time>");
    bob.expect("MSG #lobby ann after");
    [&one, &two].into_iter().for_each(catch_up);
    drop((one, two));
    let all = ["one", "two"].map(|node| chat.stored(node));
    assert!(all[0].contains("MSG #lobby bob before"), "{}", all[0]);
    assert!(all[0].contains("MSG #lobby ann after"), "{}", all[0]);
    assert_eq!(all[0], all[1]);
}

#[test]
fn the_live_files_of_a_server_that_has_died_are_removed() {
    let chat = Chat::begin();
    let (one, two) = (chat.start("one"), chat.start("two"));
    let (mut ann, mut bob, mut cat) = (one.member("ann"), two.member("bob"), two.member("cat"));
    ann.send("UPLOAD lost.log *\nhello");
    let lost = bob.inbox.find(|line| line.starts_with("FILE #lobby ann "));
    let lost = lost.split(' ').nth(3).expect("an id").to_owned();
    bob.send("UPLOAD own.log *\n");
    let own = cat.inbox.find(|line| line.starts_with("FILE #lobby bob "));
    let own = own.split(' ').nth(3).expect("an id").to_owned();
    let mut dan = two.peer();
    dan.send(format!("DOWNLOAD {lost}\n"));
    dan.expect(&format!("DATA {lost} 5 - lost.log"));
    assert_eq!(dan.inbox.bytes(5), b"hello");
    drop(one);
    let removed = cat.inbox.find(|line| line.starts_with("REMOVE "));
    assert_eq!(removed, format!("REMOVE #lobby ann {lost}"));
    cat.ask(&format!("DOWNLOAD {lost}"), "ERR DOWNLOAD no-such-file…");
    dan.expect("ERR DOWNLOAD no-such-file…");
    // The other upload goes on.
    bob.send("still here");
    bob.end_input();
    bob.inbox
        .find(|line| line.starts_with(&format!("OK UPLOAD {own} ")));
}

#[test]
fn a_copy_of_a_file_goes_on_where_it_was_cut_off() {
    let chat = Chat::begin();
    let one = chat.start("one");
    let mut ann = one.member("ann");
    let bytes: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
    ann.send(format!("UPLOAD big.bin {}\n", bytes.len()));
    ann.send(bytes.clone());
    let told = ann.inbox.reply("OK UPLOAD <id> 500000 <sha256>");
    let words: Vec<&str> = told.split(' ').collect();
    drop((ann, one));
    let two = chat.start("two");
    let offsets = chat.send_file(&bytes, words[4]);
    assert_eq!(offsets, [0, 200_000, 200_000, 400_000]);
    let mut bob = two.peer();
    bob.send(format!("DOWNLOAD {}\n", words[2]));
    bob.inbox.find(|line| line.starts_with("DATA "));
    assert_eq!(bob.inbox.bytes(bytes.len()), bytes);
}

#[test]
fn a_file_is_on_two_servers_before_its_upload_is_acknowledged() {
    let chat = Chat::begin();
    let (one, two) = (chat.start("one"), chat.start("two"));
    let (mut ann, mut bob) = (one.member("ann"), two.member("bob"));
    let length = 24 << 20;
    ann.send(format!("UPLOAD big.bin {length}\n"));
    ann.send(vec![b'x'; length]);
    let told = ann
        .inbox
        .reply(&format!("OK UPLOAD <id> {length} <sha256>"));
    let sha256 = told.rsplit(' ').next().expect("a digest");
    let copy = chat.data("two").join("files").join(sha256);
    let copied = fs::metadata(copy).expect("a copy").len();
    assert_eq!(copied, length as u64);
    // A server that is alone does not wait for another one.
    drop(one);
    bob.send("UPLOAD notes.txt 5\nhello");
    bob.inbox
        .find(|line| line.starts_with("OK UPLOAD ") && line.contains(" 5 "));
}

#[test]
fn a_wrong_password_for_nats_is_refused_at_once() {
    let nats = Servers::one("authorization { user: ann, password: secret }");
    let port = nats.all[0].address.to_string();
    let port = port.rsplit(':').next().expect("it has a port");
    let address = format!("nats://ann:guess@127.0.0.1:{port}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = ["--data", text(folder.path()), "--cluster", &address];
    let starts = ["--listen", "127.0.0.1:0", "--node", "one"];
    for words in [&["cluster", "init"][..], &starts] {
        let done = command(&[words, &data].concat());
        let errors = String::from_utf8_lossy(&done.stderr);
        let wanted = format!("NATS at nats://127.0.0.1:{port} refuses this server: ");
        assert!(
            !done.status.success() && errors.contains(&wanted),
            "{errors}"
        );
        assert!(!errors.contains("guess"), "{errors}");
    }
}

#[test]
fn nats_is_used_over_tls_if_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    fs::write(file("cert.pem"), made.cert.pem()).expect("a new file");
    fs::write(file("key.pem"), made.signing_key.serialize_pem()).expect("a new file");
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let secure =
        Servers::one_with_jetstream(&format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}"));
    let plain = Servers::one_with_jetstream("");
    let ask = |nats: &Servers, scheme: &str, more: &[&str]| {
        let address = nats.all[0].address.to_string().replace("nats://", scheme);
        let data = file("one");
        let init = [
            "cluster",
            "init",
            "--data",
            text(&data),
            "--cluster",
            &address,
        ];
        let done = command(&[&init, more].concat());
        String::from_utf8([done.stdout, done.stderr].concat()).expect("UTF-8")
    };
    let trusting = ["--cluster-ca", text(&cert)];
    let told = ask(&secure, "tls://", &[]);
    assert!(
        told.contains(" cannot be used: its certificate is not trusted: "),
        "{told}"
    );
    let told = ask(&secure, "nats://", &[]);
    assert!(
        told.contains("the server demands TLS: write tls:// before its address"),
        "{told}"
    );
    let told = ask(&secure, "nats://", &trusting);
    assert!(told.contains("every address begins with tls://"), "{told}");
    let told = ask(&plain, "tls://", &trusting);
    assert!(told.contains("the server does not use TLS"), "{told}");
    let told = ask(&secure, "tls://", &["--cluster-ca", text(&key)]);
    assert!(told.contains("the file contains no certificates"), "{told}");
    let told = ask(&secure, "tls://", &trusting);
    assert!(
        told.contains(": the first folder of the chat chat\n"),
        "{told}"
    );
    let address = secure.all[0]
        .address
        .to_string()
        .replace("nats://", "tls://");
    let start = |node: &str| {
        let data = file(node);
        let all = ["--cluster", &address, "--node", node, "--data", text(&data)];
        Chatd::with(&[&all, &trusting[..]].concat())
    };
    let (one, two) = (start("one"), start("two"));
    let (mut ann, mut bob) = (one.member("ann"), two.member("bob"));
    for text in ["short", &"long".repeat(800)] {
        ann.ask(&format!("MSG {text}"), "OK MSG <id> <time>");
        bob.expect(&format!("MSG #lobby ann {text}"));
    }
}
