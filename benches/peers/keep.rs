//! Messages that are stored on disk before they are confirmed. Many of them are pending at a time.

use std::io;
use std::time::{Duration, Instant};

use crate::Result;
use crate::server::{Kind, Server};
use crate::support::{Client, Dice, PATIENCE, sentence};

/// Number of different texts.
const TEXTS: usize = 10_000;

/// Measures stored messages per second, and per second of the server's processor time. At any time, `window` messages
/// wait for their confirmation. The time of `chatd` includes the update of its search index.
pub fn kept(server: &Server, window: usize, time: Duration) -> Result<[f64; 2]> {
    let mut client = Client::connect(server.address)?;
    let is_chatd = server.kind.is_chatd();
    if is_chatd {
        client.ask("JOIN #own")?;
        client.ask("NICK speaker")?;
    } else {
        make_stream(&mut client)?
    }
    let mut dice = Dice::new(5002);
    let messages: Vec<String> = (0..TEXTS)
        .map(|_| sentence(&mut dice))
        .map(|text| {
            if is_chatd {
                format!("TELL #kept {text}\n")
            } else {
                format!("PUB kept inbox.1 {}\r\n{text}\r\n", text.len())
            }
        })
        .collect();
    let before = server.cpu()?;
    let begun = Instant::now();
    let (mut said, mut answered, mut last) = (0, 0, 0);
    let mut lines = String::new();
    while begun.elapsed() < time || answered < said {
        lines.clear();
        while begun.elapsed() < time && said < answered + window {
            lines += messages.get(said % TEXTS).map_or("", |message| message);
            said += 1;
        }
        if answered == said {
            break; // the time was over before the next could be sent
        }
        client.send(lines.as_bytes())?;
        client.read(|line| {
            if let Some(id) = id(server.kind, line)? {
                if id <= last {
                    return Err(io::Error::other(format!("{id} came after {last}")));
                }
                last = id;
                answered += 1;
            }
            Ok(())
        })?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    if is_chatd {
        // Waits until everything is indexed.
        let (_, found, _) = client.ask("SEARCH #kept wo0")?;
        if found == 0 {
            return Err("a search finds nothing".into());
        }
    }
    let cpu = server.cpu()? - before;
    Ok([answered as f64 / seconds, answered as f64 / cpu])
}

/// Returns the number under which a message was stored, if the line confirms one.
fn id(kind: Kind, line: &str) -> io::Result<Option<u64>> {
    let number = if kind.is_chatd() {
        line.strip_prefix("OK TELL ")
            .and_then(|rest| rest.split(' ').next())
    } else {
        line.split_once("\"seq\":")
            .map(|(_, rest)| rest.trim_end().trim_end_matches('}'))
    };
    if line.contains("error") || line.starts_with("ERR") || line.starts_with("-ERR") {
        return Err(io::Error::other(line.to_owned()));
    }
    Ok(number.and_then(|number| number.parse().ok()))
}

/// Makes JetStream store the messages under `kept` in files.
fn make_stream(client: &mut Client) -> Result<()> {
    let stream = r#"{"name":"KEPT","subjects":["kept"],"storage":"file","retention":"limits","num_replicas":1}"#;
    let hello = r#"CONNECT {"verbose":false,"pedantic":false}"#;
    client.send(format!("{hello}\r\nSUB inbox.* 1\r\n").as_bytes())?;
    let request = format!(
        "PUB $JS.API.STREAM.CREATE.KEPT inbox.0 {}\r\n{stream}\r\n",
        stream.len()
    );
    // The server accepts connections before it can process requests to JetStream. It drops the requests that arrive too
    // early.
    client.wait_up_to(Duration::from_millis(200))?;
    let (begun, mut is_made) = (Instant::now(), false);
    while !is_made && begun.elapsed() < PATIENCE {
        client.send(request.as_bytes())?;
        let answer = loop {
            let read = client.read(|line| {
                is_made |=
                    line.contains("\"type\":\"io.nats.jetstream.api.v1.stream_create_response\"");
                if line.contains("\"error\"") {
                    Err(io::Error::other(line.to_owned()))
                } else {
                    Ok(())
                }
            });
            if is_made || read.is_err() {
                break read;
            }
        };
        match answer {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e.into()),
            _ => {}
        }
    }
    client.wait_up_to(PATIENCE)?;
    Ok(())
}
