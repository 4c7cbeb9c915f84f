//! The answer to `scp` and `sftp`, which speak SFTP. sshd discards the standard error of a subsystem, so the reason is
//! sent in SFTP itself (version 3): every request fails with it.

use std::io::{self, Read, Write};

/// The maximum length of a request in bytes. OpenSSH's requests before the first file have the length of a path.
const REQUEST_BYTES_MAX: u32 = 64 * 1024;

/// The maximum number of answers. Clients give up after the first few.
const REQUESTS_MAX: usize = 16;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const STATUS: u8 = 101;
const PERMISSION_DENIED: u32 = 3;

/// Refuses every request with the text `why`, until the client ends.
///
/// # Errors
/// When the input or output fails.
pub fn refuse(mut input: impl Read, mut output: impl Write, why: &str) -> io::Result<()> {
    for _ in 0..REQUESTS_MAX {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        let mut request = Vec::new();
        (&mut input)
            .take(length.min(REQUEST_BYTES_MAX).into())
            .read_to_end(&mut request)?;
        let answer = match request.split_first() {
            Some((&INIT, _)) => [&[VERSION][..], &3_u32.to_be_bytes()].concat(),
            Some((_, rest)) if length <= REQUEST_BYTES_MAX => {
                let id = rest.get(..4).unwrap_or_default();
                let code = PERMISSION_DENIED.to_be_bytes();
                [&[STATUS][..], id, &code, &text(why), &text("en")].concat()
            }
            _ => break,
        };
        output.write_all(&text(answer))?;
        output.flush()?;
    }
    Ok(())
}

/// Returns bytes with their length before them.
fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_fails_with_the_reason() {
        let path = [&[16, 0, 0, 0, 7][..], &text(".")].concat();
        let input = [text([INIT, 0, 0, 0, 3]), text(path)].concat();
        let mut output = Vec::new();
        // The end of the input.
        refuse(&input[..], &mut output, "because").unwrap_err();
        let status = b"\x65\0\0\0\x07\0\0\0\x03\0\0\0\x07because\0\0\0\x02en";
        let expected = [text([VERSION, 0, 0, 0, 3]), text(status)].concat();
        assert_eq!(output, expected);
    }

    #[test]
    fn input_that_is_not_sftp_takes_no_memory() {
        let mut output = Vec::new();
        let endless = io::repeat(0xff);
        refuse(endless, &mut output, "because").expect("it ends");
        assert_eq!(output, b"");
        refuse(io::repeat(0), &mut output, "because").expect("it ends");
        assert_eq!(output, b"");
    }
}
