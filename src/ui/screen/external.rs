//! Other programs: the editor of the user's choice, in which a message can be written, and the browser, which opens links.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};

use smol::process::{Command, Stdio};

use super::super::failure::Failure;

/// The maximum number of bytes that are read back. A longer text is no message.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Opens the editor on `text`, and returns the text when the editor has ended. The editor is `$VISUAL`, `$EDITOR` or
/// `vi`; the variables may contain arguments, as for git.
///
/// # Errors
/// [`Failure::Editor`] if the editor fails, and [`Failure::Input`] if the temporary file does.
pub async fn write(text: &str) -> Result<String, Failure> {
    let file = tempfile::Builder::new()
        .prefix("chatc-")
        .suffix(".txt")
        .tempfile()
        .map_err(Failure::Input)?;
    file.as_file()
        .write_all(text.as_bytes())
        .map_err(Failure::Input)?;
    let editor = chosen();
    let mut line = editor.clone();
    line.push(" \"$@\"");
    let status = Command::new("sh")
        .arg("-c")
        .arg(line)
        .arg("sh")
        .arg(file.path())
        .status()
        .await
        .map_err(Failure::Input)?;
    if !status.success() {
        let editor = editor.to_string_lossy().into_owned();
        return Err(Failure::Editor { editor, status });
    }
    // The file is opened again, because an editor may have replaced it.
    let mut written = Vec::new();
    File::open(file.path())
        .and_then(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut written))
        .map_err(Failure::Input)?;
    Ok(String::from_utf8_lossy(&written).into_owned())
}

fn chosen() -> OsString {
    named("VISUAL")
        .or_else(|| named("EDITOR"))
        .unwrap_or_else(|| "vi".into())
}

/// Returns the value of an environment variable, unless it is empty.
fn named(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns whether `chatc` runs on a desktop, whose browser can open links. Otherwise a browser would need the terminal,
/// or would run on a machine whose screen the user does not see.
pub fn has_desktop() -> bool {
    named("DISPLAY").is_some() || named("WAYLAND_DISPLAY").is_some()
}

/// Opens a link, which begins with `http://` or `https://`, in the browser of the desktop (`xdg-open`).
///
/// # Errors
/// When the program cannot be started.
pub fn open(link: &str) -> io::Result<()> {
    let mut browser = Command::new("xdg-open");
    browser
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    browser.spawn().map(drop)
}
