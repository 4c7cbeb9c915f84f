//! protocol.md 3.6, 3.9, 4.6, 4.11: what is still there after a restart.

use std::path::Path;

use crate::support::run::{Cut, play};
use crate::support::server::Chatd;
use crate::support::tcp::Tcp;
use crate::support::transcript::Transcript;

/// Starts a server on `folder`, plays `text` against it, and kills it.
fn with_server(folder: &Path, text: &str) {
    let flags = ["--data", folder.to_str().unwrap(), "--announce-after", "1h"];
    let flags = flags.map(str::to_owned);
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).unwrap();
    let transcript = Transcript::parse("3.9", file!(), 1, text).unwrap();
    play(&transcript, Cut::Lines, &mut Tcp::new(chatd.address))
        .unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn after_a_restart_ids_continue_and_rooms_topics_files_and_readers_remain() {
    let folder = tempfile::tempdir().unwrap();
    with_server(
        folder.path(),
        "alice> JOIN #Ops
alice< OK JOIN #Ops 0
alice> NICK alice secret
alice< OK NICK alice #Ops 0
alice> JOIN #ops AS hourly
alice< OK JOIN #Ops 0
alice> MSG one
alice< OK MSG 1 <time>
alice> TOPIC news
alice< OK TOPIC #Ops news
alice> UPLOAD a.txt 5
alice> bytes \"hello\"
alice< OK UPLOAD 3 5 <sha256>
alice> SEEN #ops 2
alice< OK SEEN #Ops 2",
    );
    with_server(
        folder.path(),
        "bob> ROOMS
bob< ROOM #lobby 0
bob< ROOM #Ops 0 news
bob< OK ROOMS 2
# Nobody is called alice now: a nick ends with the server.
bob> NICK alice
bob< OK NICK alice #lobby 0
bob> JOIN #ops AS hourly
bob< PAST 3 <time> FILE #Ops alice 3 5 a.txt
bob< OK JOIN #Ops 3
bob> DOWNLOAD 3
bob< DATA 3 5 <sha256> a.txt
bob< bytes \"hello\"
bob< OK DOWNLOAD 3
bob> MSG two
bob< OK MSG 4 <time>
bob> SEARCH one
bob< PAST 1 <time> MSG #Ops alice one
bob< OK SEARCH 1",
    );
}

#[test]
fn an_upload_interrupted_by_the_end_of_the_server_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let chatd = Chatd::with(&["--data", data]);
    let mut watch = chatd.peer();
    watch.ask("JOIN #lobby", "OK JOIN #lobby 0");
    let mut ci = chatd.peer();
    ci.ask("NICK ci", "OK NICK ci #lobby 0");
    ci.send("UPLOAD build.log *\ncompiling");
    watch.expect("FILE #lobby ci 1 * build.log");
    drop(chatd); // killed before the upload had ended

    with_server(
        folder.path(),
        "bob> HISTORY
bob< PAST 1 <time> FILE #lobby ci 1 * -
bob< PAST 2 <time> REMOVE #lobby ci 1
bob< OK HISTORY 2
bob> FILES
bob< OK FILES 0
bob> DOWNLOAD 1
bob< ERR DOWNLOAD no-such-file <text>",
    );
}
