//! Asks the terminal what its environment variables do not show: whether its background is light (OSC 11), and how it
//! shows pictures.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The query for the background color, a query of kitty's protocol, and a query that every terminal answers (DA1). So
/// a terminal that does not answer the first two causes no delay.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";

/// The time for the answer. The terminal may be far away, or may not answer at all.
const WITHIN: Duration = Duration::from_millis(500);

/// The maximum number of bytes in an answer.
const ANSWER_BYTES_MAX: usize = 1024;

/// What a terminal has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Whether the background is light; `None` if the terminal has not answered that.
    pub is_light: Option<bool>,
    /// Whether the terminal knows kitty's protocol for pictures.
    pub has_kitty: bool,
    /// Whether the terminal knows sixel.
    pub has_sixel: bool,
}

impl Answers {
    /// Queries the terminal. Must be called before anything else reads from the terminal.
    pub fn ask() -> Self {
        if enable_raw_mode().is_err() {
            return Self::default();
        }
        let answer = ask();
        let _ = disable_raw_mode();
        answer.map_or_else(|_| Self::default(), |answer| Self::parse(&answer))
    }

    fn parse(answer: &[u8]) -> Self {
        Self {
            is_light: parse_is_light(answer),
            has_kitty: memchr::memmem::find(answer, b"\x1b_Gi=31;OK").is_some(),
            has_sixel: has_sixel(answer),
        }
    }
}

fn ask() -> io::Result<Vec<u8>> {
    let mut out = io::stdout();
    out.write_all(QUESTION)?;
    out.flush()?;
    let (end, mut answer) = (Instant::now() + WITHIN, Vec::new());
    while !is_whole(&answer) && answer.len() < ANSWER_BYTES_MAX {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let stdin = io::stdin();
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait))? == 0 {
            break;
        }
        // One byte is read at a time, because bytes in a buffer would be lost for the next reader.
        let mut byte = [0];
        rustix::io::read(&stdin, &mut byte)?;
        answer.extend_from_slice(&byte);
    }
    Ok(answer)
}

/// Returns whether the answer to the last query, DA1, has arrived: `ESC [ ? … c`.
fn is_whole(answer: &[u8]) -> bool {
    let begin = memchr::memmem::rfind(answer, b"\x1b[?");
    begin.is_some_and(|at| answer.get(at..).is_some_and(|end| end.ends_with(b"c")))
}

/// Returns whether the answer to DA1 lists sixel: `ESC [ ? … ; 4 ; … c`. The first number is the kind of terminal.
fn has_sixel(answer: &[u8]) -> bool {
    let begin = memchr::memmem::rfind(answer, b"\x1b[?");
    let list = begin.and_then(|at| answer.get(at + 3..)?.strip_suffix(b"c"));
    let mut parts = list.into_iter().flat_map(|list| list.split(|b| *b == b';'));
    parts.next();
    parts.any(|part| part == b"4")
}

/// Returns whether the background is light. Parses the answer `ESC ] 11 ; rgb:RRRR/GGGG/BBBB`, in which each color has
/// one to four digits.
fn parse_is_light(answer: &[u8]) -> Option<bool> {
    let at = memchr::memmem::find(answer, b"]11;rgb")?;
    let text = String::from_utf8_lossy(answer.get(at..)?).into_owned();
    let (_, colors) = text.split_once(':')?;
    let mut parts = colors.split('/').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        let most = 16_f64.powi(i32::try_from(digits.len()).ok()?) - 1.0;
        let value = u16::from_str_radix(&digits, 16).ok()?;
        Some(f64::from(value) / most)
    });
    let mut next = || parts.next().flatten();
    let (red, green, blue) = (next()?, next()?, next()?);
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_terminals_are_parsed() {
        for (answer, light) in [
            ("\x1b]11;rgb:ffff/ffff/dddd\x1b\\\x1b[?62;c", Some(true)),
            ("\x1b]11;rgb:1e1e/1e1e/1e1e\x07\x1b[?1;2c", Some(false)),
            ("\x1b]11;rgb:ff/ff/ff\x07\x1b[?1;2c", Some(true)),
            ("\x1b]11;rgba:0000/2b2b/3636/ffff\x07\x1b[?6c", Some(false)),
            ("\x1b[?1;2c", None),
            ("\x1b]11;rgb:zz/ff/ff\x07\x1b[?1;2c", None),
            ("\x1b]11;rgb:fffff/0/0\x07\x1b[?1;2c", None),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(parse_is_light(answer.as_bytes()), light, "{answer:?}");
        }
        let kitty = b"\x1b]11;rgb:0/0/0\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[?62;c";
        let sixel = b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62;4;22c";
        for (answer, has_kitty, has_sixel) in [
            (&kitty[..], true, false),
            (sixel, false, true),
            (b"\x1b[?4;6c", false, false),
            (b"\x1b[?1;2;4c", false, true),
            (b"\x1b[?64;44c", false, false),
        ] {
            let answers = Answers::parse(answer);
            let has = (answers.has_kitty, answers.has_sixel);
            assert_eq!(has, (has_kitty, has_sixel), "{}", answer.escape_ascii());
        }
        assert!(is_whole(b"\x1b]11;rgb:0/0/0\x07\x1b[?1;2c"));
        assert!(!is_whole(b"\x1b]11;rgb:c/c/c"));
        assert!(!is_whole(b"\x1b[?1;2"));
    }
}
