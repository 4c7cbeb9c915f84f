//! protocol.md 9: the errors of a server when something on its own side fails.

use crate::support::run::{Cut, play};
use crate::support::server::Chatd;
use crate::support::tcp::Tcp;
use crate::support::transcript::Transcript;

// provokes: internal
#[test]
fn without_its_folder_the_server_refuses_files_and_still_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = ["--data".to_owned(), data.display().to_string()];
    let chatd = Chatd::spawn(env!("CARGO_BIN_EXE_chatd"), &flags).unwrap();
    let kept = "alice> NICK alice
alice< OK NICK alice #lobby <id>
alice> UPLOAD kept.txt 5
alice> bytes \"hello\"
alice< OK UPLOAD <id> 5 <sha256>";
    let lost = "bob> NICK bob
bob< OK NICK bob #lobby <id>
bob> FILES
bob< PAST <id:f> <time> FILE #lobby alice <id:f> 5 kept.txt
bob< OK FILES 1
bob> DOWNLOAD <id:f>
bob< ERR DOWNLOAD internal <text>
bob> UPLOAD lost.txt 13
bob> bytes \"MSG evil\\nBYE\\n\"
bob< ERR UPLOAD internal <text>
bob> MSG still here
bob< OK MSG <id> <time>";
    let run = |text| {
        let transcript = Transcript::parse("9", file!(), 1, text).unwrap();
        play(&transcript, Cut::Lines, &mut Tcp::new(chatd.address))
            .unwrap_or_else(|why| panic!("{why}"));
    };
    run(kept);
    // It is moved and not removed, since the server may create files in it at any time.
    std::fs::rename(&data, folder.path().join("lost")).unwrap();
    run(lost);
}
