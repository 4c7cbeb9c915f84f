//! A bot that downloads every file that is uploaded to a room, into a folder.
//!
//! ```text
//! cargo run --release &                                   # a server, on port 5002
//! cargo run --example archive -- localhost ops archive    # HOST ROOM FOLDER
//! chatc upload --room ops notes.txt
//! ```
//!
//! After this, the file `archive/17-notes.txt` exists, and its digest has been checked. `archive/last` contains the
//! id of the last file, so that the bot, after a restart, downloads what it has missed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use futures_lite::StreamExt;
use plainchat::client::{
    Addresses, Client, Error, FileDigest, Options, ReconnectingClient, Update,
};
use plainchat::protocol::Event;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, room, folder] = &args[..] else {
        eprintln!("usage: archive HOST ROOM FOLDER");
        std::process::exit(2)
    };
    fs::create_dir_all(folder)?;
    smol::block_on(run(host.parse()?, room, Path::new(folder)))
}

async fn run(
    addresses: Addresses,
    room: &str,
    folder: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let last = fs::read_to_string(folder.join("last")).unwrap_or_default();
    let last = last.trim().parse().unwrap_or(0);
    // Without a nick, the bot only reads, and nobody sees it.
    let options = Options::default().room_after(room, last);
    let mut client = ReconnectingClient::new(addresses.clone(), options);
    while let Some(update) = client.next().await {
        let Update::Event {
            id: Some(id),
            event,
            ..
        } = update
        else {
            if let Update::Ended(error) = update {
                return Err(error.into());
            }
            continue;
        };
        let fetched = match event {
            Event::File { file, name, .. } => {
                Some((file, fetch(&addresses, file, &name, folder).await, name))
            }
            _ => None,
        };
        fs::write(folder.join("last"), id.to_string())?;
        match fetched {
            Some((file, Ok(length), name)) => println!("{file} {length} {name}"),
            Some((file, Err(error), name)) => eprintln!("{file} {name}: {error}"),
            None => {}
        }
    }
    Ok(())
}

/// Downloads a file on a connection of its own, so that a large file delays nothing else.
async fn fetch(addresses: &Addresses, file: u64, name: &str, folder: &Path) -> Result<u64, Error> {
    let mut client = Client::connect_to(addresses.clone()).await?;
    let mut download = client.download(file, FileDigest::default()).await?;
    // A stranger has chosen the name, so no part of it may be used as a path.
    let name: String = name
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_. ".contains(*c))
        .collect();
    let mut to = File::create(folder.join(format!("{file}-{name}"))).map_err(Error::Read)?;
    let mut piece = [0; 64 * 1024];
    loop {
        match download.read(&mut piece).await? {
            // The client library has compared the digests. If they differed, it would have returned an error.
            0 => return Ok(download.position()),
            length => to.write_all(&piece[..length]).map_err(Error::Read)?,
        }
    }
}
