//! The editor of the user's choice, in which a message can be written.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};

use smol::process::Command;

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
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    named("VISUAL")
        .or_else(|| named("EDITOR"))
        .unwrap_or_else(|| "vi".into())
}
