//! `chatc upload`, `chatc download` and `chatc files`.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, SeekFrom};
use std::path::{Path, PathBuf};

use futures_lite::{AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use smol::Unblock;

use super::failure::{Exit, Failure, complain};
use super::login::{enter, log_in_for, request_as_invited};
use super::server::Server;
use super::stdio::{input, write_all};
use crate::client::{Client, Download, Error, FileDigest, LoggedEvent, Stored};
use crate::protocol::Event;
use crate::protocol::human::size;
use crate::protocol::text::clean;

/// The size of the buffer for one read or write of a file's bytes.
const PIECE_BYTES: usize = 128 * 1024;

/// The maximum number of bytes in a local file name, before `.part` is appended. File systems allow 255.
const NAME_BYTES_MAX: usize = 250;

/// Uploads files to one room, one after the other, and prints `ID NAME` for each. `-` is standard input, whose name
/// in the room is `stdin_name`. If a file cannot be uploaded, that is reported and the next file is tried.
///
/// # Errors
/// If connecting or logging in fails.
pub async fn upload(
    server: &Server,
    room: Option<&str>,
    stdin_name: &str,
    paths: &[PathBuf],
) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    let mut open = None;
    for path in paths {
        let mut client = match open.take() {
            Some(client) => client,
            None => {
                let (client, _) = enter(server, room).await?;
                client
            }
        };
        let bar = bar();
        let sent = send(&mut client, path, Some(stdin_name), None, &bar).await;
        bar.finish_and_clear();
        let is_refused = matches!(sent, Err(Failure::Client(_)));
        match sent {
            Ok((stored, name)) => print(&format!("{} {name}\n", stored.file)).await?,
            Err(failure) => {
                exit = failure.exit();
                match failure {
                    // The text of this failure names the file.
                    Failure::File { .. } => complain(failure),
                    failure => complain(format_args!("{}: {failure}", path.display())),
                }
            }
        }
        // After a stream, and after some refusals, the connection is unusable, so the next file needs another one.
        if client.is_usable() && !is_refused {
            open = Some(client);
        } else {
            client.close().await;
        }
    }
    if let Some(client) = open {
        client.bye().await?;
    }
    Ok(exit)
}

/// Uploads a file or a pipe to the current room, or a file to the nick `to`. `-` is standard input, if a name for it is
/// given. Also returns the name under which others see the file.
pub(super) async fn send(
    client: &mut Client,
    path: &Path,
    stdin_name: Option<&str>,
    to: Option<&str>,
    bar: &ProgressBar,
) -> Result<(Stored, String), Failure> {
    if let (Some(name), true) = (stdin_name, path == Path::new("-")) {
        begin(bar, name, None);
        let progress = |sent| bar.set_position(sent);
        let stored = client
            .upload_stream(name, input(PIECE_BYTES), progress)
            .await?;
        return Ok((stored, name.to_owned()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = clean(&name).replace('\t', " ").trim().to_owned();
    let file = smol::fs::File::open(path)
        .await
        .map_err(Failure::file("read", path))?;
    let kind = file.metadata().await.map_err(Failure::file("read", path))?;
    if kind.is_dir() {
        return Err(Failure::file("read", path)(
            io::ErrorKind::IsADirectory.into(),
        ));
    }
    let mut is_sending = false;
    let progress = |sent| {
        if !std::mem::replace(&mut is_sending, true) {
            // The time for hashing does not help to estimate the speed of the network.
            bar.reset_eta();
        }
        bar.set_position(sent);
    };
    let stored = if kind.is_file() {
        begin(bar, &name, Some(kind.len()));
        match to {
            None => client.upload(&name, file, progress).await?,
            Some(nick) => client.upload_to(nick, &name, file, progress).await?,
        }
    } else if to.is_some() {
        return Err(Failure::Impossible(
            "only a file can be sent to one person, not a pipe",
        ));
    } else {
        // A pipe or a device cannot be hashed first and then read again.
        begin(bar, &name, None);
        client.upload_stream(&name, file, progress).await?
    };
    Ok((stored, name))
}

/// A file that was downloaded.
pub(super) struct Saved {
    pub path: PathBuf,
    pub length: u64,
}

/// The maximum number of downloads that run at once. More downloads would only share the same bandwidth.
const AT_ONCE: usize = 4;

/// Downloads files, several at a time, and prints the path of each. They are written to the file or folder `out`;
/// without it, to the current folder under their own names, which are made safe. With `-`, they are written to
/// standard output, one after the other. If a file fails, that is reported, and the others are still downloaded.
///
/// # Errors
/// [`Failure::Impossible`] if several files would get the same name. For `-`, those of [`Client::download`].
pub async fn download(server: &Server, ids: &[u64], out: Option<&Path>) -> Result<Exit, Failure> {
    if out == Some(Path::new("-")) {
        for id in ids {
            to_stdout(server, *id).await?;
        }
        return Ok(Exit::Success);
    }
    let out = out.unwrap_or(Path::new(""));
    if ids.len() > 1 && !out.as_os_str().is_empty() && !out.is_dir() {
        return Err(Failure::Impossible(
            "to download several files, give an existing folder",
        ));
    }
    let bars = MultiProgress::new();
    let fetch_one = async |id: u64| {
        let bar = bars.add(bar());
        let saved = fetch(server, id, out, &bar).await;
        bar.finish_and_clear();
        match saved {
            Ok(saved) => {
                print(&format!("{}\n", clean(&saved.path.to_string_lossy()))).await?;
                Ok(Exit::Success)
            }
            Err(failure) if ids.len() == 1 => Err(failure),
            Err(failure) => {
                complain(format_args!("{id}: {failure}"));
                Ok(failure.exit())
            }
        }
    };
    // Each worker takes the next file in the list.
    let next = Cell::new(0);
    let worker = async || -> Result<Exit, Failure> {
        let mut exit = Exit::Success;
        while let Some(id) = ids.get(next.replace(next.get() + 1)) {
            let one = fetch_one(*id).await?;
            if one != Exit::Success {
                exit = one;
            }
        }
        Ok(exit)
    };
    let executor = smol::LocalExecutor::new();
    executor
        .run(async {
            let workers: Vec<_> = (0..AT_ONCE.min(ids.len()))
                .map(|_| executor.spawn(worker()))
                .collect();
            let mut exit = Exit::Success;
            for worker in workers {
                let one = worker.await?;
                if one != Exit::Success {
                    exit = one;
                }
            }
            Ok(exit)
        })
        .await
}

async fn to_stdout(server: &Server, id: u64) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::Impossible(
            "a file is not written to a terminal, which could act on its bytes; redirect the output",
        ));
    }
    let bar = bar();
    let mut output = Unblock::with_capacity(PIECE_BYTES, io::stdout());
    copy_whole(server, id, None, &mut output, &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Downloads a file of at most `bytes_max` bytes. Returns its name and its bytes.
pub(super) async fn read(
    server: &Server,
    id: u64,
    bytes_max: u64,
    bar: &ProgressBar,
) -> Result<(String, Vec<u8>), Failure> {
    let mut file = Vec::new();
    let name = copy_whole(server, id, Some(bytes_max), &mut file, bar).await?;
    Ok((name, file))
}

/// Downloads a file to `output`. Returns its name. With `bytes_max`, refuses a file that is longer or is still being
/// uploaded.
async fn copy_whole(
    server: &Server,
    id: u64,
    bytes_max: Option<u64>,
    output: &mut (impl AsyncWrite + Unpin),
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let (mut client, mut is_named) = (server.connect_to_read().await?, false);
    let mut download = loop {
        match client.download(id, FileDigest::default()).await {
            Ok(download) => break download,
            Err(error) if !is_named => log_in_for(&mut client, server, error).await?,
            Err(error) => return Err(error.into()),
        }
        is_named = true;
    };
    let is_short = |most| download.length().is_some_and(|length| length <= most);
    if !bytes_max.is_none_or(is_short) {
        return Err(Failure::Impossible(
            "that file is too large to be shown, or still being uploaded",
        ));
    }
    let name = download.name().to_owned();
    begin(bar, &name, download.length());
    copy(&mut download, output, bar, Failure::Output).await?;
    Ok(name)
}

/// Downloads a file to `out`, or into `out` if that is a folder (`""` is the current one). Until the file is
/// complete, `.part` is appended to its name. If such a part exists already, the download resumes after it.
pub(super) async fn fetch(
    server: &Server,
    id: u64,
    out: &Path,
    bar: &ProgressBar,
) -> Result<Saved, Failure> {
    let (mut client, mut is_named) = (server.connect_to_read().await?, false);
    let mut download = loop {
        match client.download(id, FileDigest::default()).await {
            Ok(download) => break download,
            Err(error) if !is_named => log_in_for(&mut client, server, error).await?,
            Err(error) => return Err(error.into()),
        }
        is_named = true;
    };
    let path = if out.as_os_str().is_empty() || out.is_dir() {
        out.join(local_name(download.name(), id))
    } else {
        out.to_owned()
    };
    if path.symlink_metadata().is_ok() {
        return Err(Failure::Exists(path));
    }
    begin(bar, &path.to_string_lossy(), download.length());
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = open_part(&part)?;
    let have = FileDigest::of(&mut file)
        .await
        .map_err(Failure::file("read", &part))?;
    if have.length() > 0
        && download
            .length()
            .is_some_and(|length| have.length() <= length)
    {
        // The request contains the offset, but the name of the file, and so the offset, is known only from the
        // answer. A second connection therefore requests the rest.
        client = server.connect_to_read().await?;
        if is_named {
            server.log_in(&mut client).await?;
        }
        download = client.download(id, have).await?;
    } else {
        file.set_len(0)
            .await
            .map_err(Failure::file("write", &part))?;
        file.seek(SeekFrom::Start(0))
            .await
            .map_err(Failure::file("write", &part))?;
    }
    match copy(&mut download, &mut file, bar, Failure::file("write", &part)).await {
        Ok(()) => {}
        Err(Failure::Client(Error::Corrupt)) => {
            let _ = fs::remove_file(&part);
            return Err(Error::Corrupt.into());
        }
        Err(Failure::Client(error)) => return Err(Failure::Cut { part, error }),
        Err(failure) => return Err(failure),
    }
    let length = download.position();
    keep(&part, &path)?;
    Ok(Saved { path, length })
}

/// Opens the `.part` file, and locks it for this process.
fn open_part(part: &Path) -> Result<smol::fs::File, Failure> {
    let open = || {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                Err(io::Error::other("another download is writing it"))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    };
    open()
        .map(smol::fs::File::from)
        .map_err(Failure::file("write", part))
}

/// Renames the complete file. Never overwrites another file.
fn keep(part: &Path, path: &Path) -> Result<(), Failure> {
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part).map_err(Failure::file("remove", part)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::Exists(path.to_owned()))
        }
        // If the file system has no links, another file may appear between this check and the renaming.
        Err(_) if path.symlink_metadata().is_ok() => Err(Failure::Exists(path.to_owned())),
        Err(_) => fs::rename(part, path).map_err(Failure::file("write", path)),
    }
}

/// Copies the rest of a download to `to`. After a failure, `to` contains what had arrived before.
async fn copy(
    download: &mut Download<'_>,
    to: &mut (impl AsyncWrite + Unpin),
    bar: &ProgressBar,
    failed: impl FnOnce(io::Error) -> Failure,
) -> Result<(), Failure> {
    // The part that existed before does not help to estimate the speed of the network.
    bar.set_position(download.position());
    bar.reset_eta();
    let mut piece = vec![0; PIECE_BYTES];
    let mut end = Ok(());
    let written = async {
        loop {
            let length = match download.read(&mut piece).await {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            };
            write_all(to, piece.get(..length).unwrap_or_default()).await?;
            bar.set_position(download.position());
        }
        to.flush().await
    };
    written.await.map_err(failed)?;
    Ok(end?)
}

/// Prints a room's files: id, size, time, sender and name.
///
/// # Errors
/// Those of [`Client::request`].
pub async fn list(server: &Server, room: Option<&str>) -> Result<Exit, Failure> {
    let mut client = server.connect_to_read().await?;
    let request = format!("FILES {}", room.unwrap_or_default());
    let reply = request_as_invited(&mut client, server, request.trim_end()).await?;
    let mut out = String::new();
    for LoggedEvent { time, event, .. } in reply.events() {
        let Event::File {
            nick,
            file,
            length,
            name,
            ..
        } = event
        else {
            continue;
        };
        let size = length.map_or("uploading".to_owned(), size);
        let at = i64::try_from(time.0)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.unwrap_or_default().to_zoned(TimeZone::system());
        let at = at.strftime("%Y-%m-%d %H:%M");
        let (nick, name) = (clean(&nick), clean(&name));
        out.push_str(&format!("{file}  {size:>10}  {at}  {nick}  {name}\n"));
    }
    print(&out).await?;
    Ok(Exit::Success)
}

async fn print(text: &str) -> Result<(), Failure> {
    let mut output = Unblock::new(io::stdout());
    write_all(&mut output, text.as_bytes())
        .await
        .map_err(Failure::Output)?;
    output.flush().await.map_err(Failure::Output)
}

/// Creates a progress bar on standard error, which is shown on a terminal only.
fn bar() -> ProgressBar {
    ProgressBar::no_length()
}

fn begin(bar: &ProgressBar, name: &str, length: Option<u64>) {
    let form = match length {
        Some(length) => {
            bar.set_length(length);
            "{msg}  {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}  {wide_bar}"
        }
        None => "{msg}  {decimal_bytes}  {decimal_bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.set_message(clean(name).into_owned());
}

/// Makes a local file name from a name that a stranger has chosen: without folders and control characters, not
/// hidden, not like a flag, and not too long.
fn local_name(name: &str, id: u64) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = clean(name).replace('\t', " ");
    let name = name.trim();
    let name = match name.strip_prefix(['.', '-']) {
        Some(rest) => format!("_{rest}"),
        None => name.to_owned(),
    };
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    match name.get(..end).unwrap_or_default() {
        "" | "_" => format!("file-{id}"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_file_name_cannot_leave_the_folder_or_be_hidden() {
        for (name, local) in [
            ("notes.txt", "notes.txt"),
            ("a b.txt", "a b.txt"),
            ("../../etc/passwd", "passwd"),
            (r"C:\x\y.txt", "y.txt"),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("..", "_."),
            (".", "file-17"),
            ("a/", "file-17"),
            ("\u{1b}[31mred\u{202e}", "red"),
        ] {
            assert_eq!(local_name(name, 17), local, "of {name:?}");
        }
        assert_eq!(local_name(&"é".repeat(200), 17), "é".repeat(125));
    }
}
