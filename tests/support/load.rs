//! Keeps a server busy until it is killed: clients that send messages and files, remove them, and watch.
//! Each client reports every acknowledgement at once.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use super::peer::{Peer, sha256};
use super::random::Random;

pub const ROOMS: [&str; 3] = ["#r0", "#r1", "#r2"];

/// What a client has received from the server, or is about to request.
pub enum Heard {
    /// `OK MSG`.
    Said { id: u64, event: String },
    /// `OK UPLOAD`.
    Stored(File),
    /// `REMOVE` is about to be sent. From now on, the file may no longer exist.
    Removing(u64),
    /// `OK REMOVE`.
    Removed(u64),
    /// A live event with its id.
    Seen { id: u64, event: String },
    /// Something that must not happen.
    Wrong(String),
}

pub struct File {
    pub id: u64,
    pub room: &'static str,
    pub length: usize,
    pub sha256: String,
}

/// One of the clients that keep the server busy.
#[derive(Clone, Copy)]
pub enum Part {
    Speaks,
    SendsFiles,
    /// Uploads files of unknown length, each to its end.
    SendsPipes,
    /// Uploads one file of unknown length that does not end.
    NeverEnds,
    Watches,
}

pub const PARTS: [Part; 10] = [
    Part::Speaks,
    Part::Speaks,
    Part::Speaks,
    Part::Speaks,
    Part::SendsFiles,
    Part::SendsFiles,
    Part::SendsPipes,
    Part::NeverEnds,
    Part::Watches,
    Part::Watches,
];

/// The number of messages of one client that wait for their replies at the same time.
const WINDOW: usize = 64;

impl Part {
    /// Plays the part until the connection is lost.
    pub fn play(self, number: usize, round: usize, server: SocketAddr, tell: &Sender<Heard>) {
        let mut random = Random::new((round * 100 + number) as u64);
        let room = ROOMS[number % ROOMS.len()];
        let played = match self {
            Self::Speaks => speak(number, round, room, server, tell),
            Self::SendsFiles => send_files(number, room, server, tell, &mut random),
            Self::SendsPipes => send_pipes(number, room, server, tell, &mut random),
            Self::NeverEnds => never_end(number, room, server, &mut random),
            Self::Watches => watch(room, server, tell),
        };
        let Err(e) = played;
        let is_gone = matches!(
            e.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::BrokenPipe
        );
        if !is_gone {
            let _ = tell.send(Heard::Wrong(format!("part {number}: {e}")));
        }
    }
}

/// The result of a part. It is always an error, because a part ends only when the server dies.
type Played = Result<std::convert::Infallible, io::Error>;

/// Returns the id in `OK VERB <id> …`.
fn id(reply: &str) -> io::Result<u64> {
    let id = reply.split(' ').nth(2).and_then(|id| id.parse().ok());
    match id {
        Some(id) if reply.starts_with("OK ") => Ok(id),
        _ => Err(io::Error::other(reply)),
    }
}

fn enter(number: usize, room: &str, server: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::named(server, &format!("p{number}"))?;
    peer.expect(&format!("JOIN {room}"), "OK JOIN")?;
    Ok(peer)
}

fn speak(
    number: usize,
    round: usize,
    room: &str,
    server: SocketAddr,
    tell: &Sender<Heard>,
) -> Played {
    let mut peer = enter(number, room, server)?;
    let (mut asked, mut answered) = (0, 0);
    loop {
        let mut lines = String::new();
        while asked < answered + WINDOW {
            lines += &format!("MSG {}\n", text(round, asked));
            asked += 1;
        }
        peer.send(&lines)?;
        while answered + WINDOW / 2 < asked {
            let reply = peer.reply()?;
            let event = format!("MSG {room} p{number} {}", text(round, answered));
            let id = id(&reply)?;
            answered += 1;
            let _ = tell.send(Heard::Said { id, event });
        }
    }
}

/// Returns a different text for each round and number. The lengths vary too.
fn text(round: usize, n: usize) -> String {
    format!("{round} {n} {}", "x".repeat(n * 37 % 200))
}

fn send_files(
    number: usize,
    room: &'static str,
    server: SocketAddr,
    tell: &Sender<Heard>,
    random: &mut Random,
) -> Played {
    let mut peer = enter(number, room, server)?;
    let mut own = Vec::new();
    for n in 0.. {
        let bytes = match n % 4 {
            0 => b"the same bytes, again and again".to_vec(),
            _ => {
                let length = random.below(100_000) as usize;
                random.bytes(length)
            }
        };
        let sha256 = sha256(&bytes);
        let reply = peer.upload("some file.bin", &bytes, &sha256)?;
        let id = id(&reply)?;
        if reply != format!("OK UPLOAD {id} {} {sha256}", bytes.len()) {
            return Err(io::Error::other(reply));
        }
        own.push(id);
        let length = bytes.len();
        let _ = tell.send(Heard::Stored(File {
            id,
            room,
            length,
            sha256,
        }));
        if n % 5 == 4 {
            let id = own.swap_remove(random.below(own.len() as u64) as usize);
            let _ = tell.send(Heard::Removing(id));
            peer.expect(&format!("REMOVE {id}"), "OK REMOVE")?;
            let _ = tell.send(Heard::Removed(id));
        }
    }
    unreachable!("it never stops")
}

fn send_pipes(
    number: usize,
    room: &'static str,
    server: SocketAddr,
    tell: &Sender<Heard>,
    random: &mut Random,
) -> Played {
    loop {
        let mut peer = enter(number, room, server)?;
        let length = random.below(50_000) as usize;
        let bytes = random.bytes(length);
        peer.send("UPLOAD pipe.bin *\n")?;
        for piece in bytes.chunks(10_000) {
            peer.send(piece)?;
        }
        peer.end()?;
        let reply = peer.reply()?;
        let id = id(&reply)?;
        let sha256 = sha256(&bytes);
        if reply != format!("OK UPLOAD {id} {length} {sha256}") {
            return Err(io::Error::other(reply));
        }
        let _ = tell.send(Heard::Stored(File {
            id,
            room,
            length,
            sha256,
        }));
        // The nick is free once the server has closed the connection.
        while peer.line().is_ok() {}
    }
}

fn never_end(number: usize, room: &str, server: SocketAddr, random: &mut Random) -> Played {
    let mut peer = enter(number, room, server)?;
    peer.send("UPLOAD endless.log *\n")?;
    peer.send(random.bytes(100_000))?;
    loop {
        peer.line()?; // the room's events, until the end
    }
}

fn watch(room: &str, server: SocketAddr, tell: &Sender<Heard>) -> Played {
    let mut peer = Peer::connect(server)?;
    peer.expect("STAMPS on", "OK STAMPS")?;
    peer.expect(&format!("JOIN {room}"), "OK JOIN")?;
    loop {
        let line = peer.line()?;
        let Some((id, rest)) = line
            .strip_prefix("LIVE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        if let (Ok(id), Some((_, event))) = (id.parse(), rest.split_once(' ')) {
            let event = event.to_owned();
            let _ = tell.send(Heard::Seen { id, event });
        }
    }
}
