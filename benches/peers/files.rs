//! Uploads and downloads of one large file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Kind, Server, program};
use crate::support::PATIENCE;
use crate::{Result, cpu};

/// Number of bytes in one write or read.
const PIECE_BYTES: usize = 1 << 20;

/// The cost of a transfer: seconds of the server's processor time, and seconds of real time.
pub type Cost = [f64; 2];

/// The contents of the file. No two pieces are the same, and they hardly compress.
pub struct Piece {
    bytes: Vec<u8>,
}

impl Piece {
    pub fn new() -> Self {
        let mut dice = crate::support::Dice::new(5002);
        let bytes = (0..PIECE_BYTES / 8).flat_map(|_| dice.below(u64::MAX).to_le_bytes());
        Self {
            bytes: bytes.collect(),
        }
    }

    /// Writes a file of `length` bytes.
    pub fn write(&mut self, to: &mut impl Write, length: u64) -> io::Result<()> {
        let (mut left, mut number) = (length, 0_u64);
        while left > 0 {
            for (byte, digit) in self.bytes.iter_mut().zip(number.to_le_bytes()) {
                *byte = digit;
            }
            let now = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.bytes.len());
            to.write_all(self.bytes.get(..now).unwrap_or_default())?;
            left -= now as u64;
            number += 1;
        }
        Ok(())
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A file on the server, and its digest.
pub struct Uploaded {
    id: String,
    pub sha256: String,
}

/// Uploads a file to `chatd`, and waits until `chatd` confirms that the file is stored.
pub fn upload(server: &Server, piece: &mut Piece, length: u64) -> Result<(Uploaded, Cost)> {
    let mut stream = connect(server.address)?;
    let (before, begun) = (server.cpu()?, Instant::now());
    stream.write_all(format!("NICK up\nUPLOAD large.bin {length}\n").as_bytes())?;
    piece.write(&mut stream, length)?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("OK UPLOAD ") {
            let cost = [server.cpu()? - before, begun.elapsed().as_secs_f64()];
            let mut words = rest.split(' ');
            let id = words.next().ok_or("no id")?.to_owned();
            let sha256 = words.nth(1).ok_or("no digest")?.to_owned();
            return Ok((Uploaded { id, sha256 }, cost));
        }
        if line.starts_with("ERR") {
            return Err(line.into());
        }
    }
    Err("it was not kept".into())
}

/// Downloads an uploaded file.
pub fn download(server: &Server, file: &Uploaded, length: u64) -> Result<Cost> {
    let request = format!("DOWNLOAD {}\n", file.id);
    fetch(
        server,
        &request,
        &format!("DATA {} {length} ", file.id),
        "\n",
        length,
    )
}

/// Downloads the same file by HTTP from a server that serves it under its digest.
pub fn get(server: &Server, file: &Uploaded, length: u64) -> Result<Cost> {
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        file.sha256
    );
    fetch(server, &request, "HTTP/1.1 200 ", "\r\n\r\n", length)
}

fn fetch(server: &Server, request: &str, begins: &str, ends: &str, length: u64) -> Result<Cost> {
    let mut stream = connect(server.address)?;
    let (before, begun) = (server.cpu()?, Instant::now());
    stream.write_all(request.as_bytes())?;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut head = Vec::new();
    let mut got = loop {
        let read = stream.read(&mut buffer)?;
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if let Some(at) = memchr::memmem::find(&head, ends.as_bytes()) {
            break (head.len() - at - ends.len()) as u64;
        }
        if read == 0 {
            return Err("no head came".into());
        }
    };
    if !head.starts_with(begins.as_bytes()) {
        return Err(String::from_utf8_lossy(head.get(..80).unwrap_or(&head)).into());
    }
    while got < length {
        match stream.read(&mut buffer)? {
            0 => return Err(format!("{got} of {length} bytes came").into()),
            read => got += read as u64,
        }
    }
    Ok([server.cpu()? - before, begun.elapsed().as_secs_f64()])
}

/// Measures `nc`, which writes a file that it receives, and then `sha256sum`, which reads that file. Also returns the
/// digest.
pub fn nc_and_sha256sum(
    folder: &Path,
    piece: &mut Piece,
    length: u64,
) -> Result<Option<(String, Cost)>> {
    let Some(nc) = Kind::Nc.program().and_then(program) else {
        return Ok(None);
    };
    let path = folder.join("received");
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (before, begun) = (cpu::of_children()?, Instant::now());
    let mut child = Command::new(nc)
        .args(["-l", "127.0.0.1", &address.port().to_string()])
        .stdin(Stdio::null())
        .stdout(File::create(&path)?)
        .spawn()?;
    let mut stream = loop {
        match connect(address) {
            Ok(stream) => break stream,
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => {
                child.kill()?;
                return Err(e.into());
            }
        }
    };
    piece.write(&mut stream, length)?;
    stream.shutdown(Shutdown::Both)?;
    drop(stream);
    child.wait()?;
    if std::fs::metadata(&path)?.len() != length {
        return Err("nc has not got all of it".into());
    }
    let sum = Command::new("sha256sum").arg(&path).output()?;
    let cost = [cpu::of_children()? - before, begun.elapsed().as_secs_f64()];
    std::fs::remove_file(&path)?;
    let sum = String::from_utf8(sum.stdout)?;
    Ok(Some((
        sum.split(' ').next().unwrap_or_default().to_owned(),
        cost,
    )))
}
