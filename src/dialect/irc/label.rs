//! `labeled-response` and its batches (IRCv3): the answer to a command has the label that the client has given the
//! command.

use super::{Client, escape};

/// The name of the batch for an answer of several lines. An answer ends before the next one begins, so one name is
/// enough.
const BATCH: &str = "labeled";

/// The maximum number of bytes in a label. A longer label is ignored.
const LABEL_BYTES_MAX: usize = 64;

/// How the lines of a reply are marked as the answer to a labeled command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The lines are the whole answer to the command with this label.
    Whole(Box<str>),
    /// The lines belong to the open batch of an answer.
    Inside,
}

impl Label {
    /// Returns the label of a command as the answer repeats it.
    pub fn parse(label: &str) -> Option<Box<str>> {
        let is_label = (1..=LABEL_BYTES_MAX).contains(&label.len());
        is_label.then(|| escape(label).into())
    }

    /// Marks the lines in `out` after the offset `from`. If they are the whole answer, they get the label: a single
    /// line gets it as a tag, and several lines become a batch with it. If there is no line, appends `ACK`, which says
    /// that the command has been executed.
    pub fn mark(&self, client: &Client, from: usize, out: &mut Vec<u8>) {
        let lines = out.split_off(from.min(out.len()));
        let Self::Whole(label) = self else {
            return append_inside(&lines, out);
        };
        let tag = format!("label={label}");
        match lines.iter().filter(|b| **b == b'\n').count() {
            0 => {
                let mut ack = Vec::new();
                client.by_server("ACK", &[], None, &mut ack);
                append_tagged(&tag, &ack, out);
            }
            1 => append_tagged(&tag, &lines, out),
            _ if is_batch(&lines) => {
                let first = lines
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(0, |at| at + 1);
                let (first, rest) = lines.split_at(first);
                append_tagged(&tag, first, out);
                out.extend_from_slice(rest);
            }
            _ => {
                begin_batch(client, label, out);
                append_inside(&lines, out);
                end_batch(client, out);
            }
        }
    }
}

/// Appends the line that opens the batch of an answer.
pub fn begin_batch(client: &Client, label: &str, out: &mut Vec<u8>) {
    let mut line = Vec::new();
    let batch = format!("+{BATCH}");
    client.by_server("BATCH", &[&batch, "labeled-response"], None, &mut line);
    append_tagged(&format!("label={label}"), &line, out);
}

/// Appends the line that closes the batch of an answer.
pub fn end_batch(client: &Client, out: &mut Vec<u8>) {
    client.by_server("BATCH", &[&format!("-{BATCH}")], None, out);
}

/// Returns whether the lines begin with a batch of their own.
pub fn is_batch(lines: &[u8]) -> bool {
    let first = lines.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = first.split(|b| *b == b' ');
    let command = words.find(|word| !matches!(word.first(), Some(b'@' | b':')));
    command == Some(b"BATCH")
}

/// Appends lines to the batch of an answer. The lines of a batch inside it keep the tag of that inner batch.
fn append_inside(lines: &[u8], out: &mut Vec<u8>) {
    for line in lines.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b"@batch=") {
            out.extend_from_slice(line);
        } else {
            append_tagged(&format!("batch={BATCH}"), line, out);
        }
    }
}

/// Appends lines, and adds a tag to each of them.
fn append_tagged(tag: &str, lines: &[u8], out: &mut Vec<u8>) {
    for line in lines.split_inclusive(|b| *b == b'\n') {
        out.push(b'@');
        out.extend_from_slice(tag.as_bytes());
        match line.strip_prefix(b"@") {
            Some(line) => {
                out.push(b';');
                out.extend_from_slice(line);
            }
            None => {
                out.push(b' ');
                out.extend_from_slice(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(label: &Label, lines: &str, expected: &str) {
        let client = Client::new("a.b", "");
        let mut out = b"before\r\n".to_vec();
        out.extend_from_slice(lines.as_bytes());
        label.mark(&client, 8, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.strip_prefix("before\r\n").unwrap(), expected);
    }

    #[test]
    fn an_answer_has_its_label_once() {
        let whole = Label::Whole(Label::parse("a b").unwrap());
        check(&whole, "", "@label=a\\sb :a.b ACK\r\n");
        check(&whole, "X y\r\n", "@label=a\\sb X y\r\n");
        check(&whole, "@t=1 X\r\n", "@label=a\\sb;t=1 X\r\n");
        check(
            &whole,
            "X\r\n@t=1 Y\r\n",
            "@label=a\\sb :a.b BATCH +labeled labeled-response\r\n@batch=labeled X\r\n@batch=labeled;t=1 Y\r\n:a.b BATCH -labeled\r\n",
        );
        let batch = ":a.b BATCH +1 z\r\n@batch=1 X\r\n:a.b BATCH -1\r\n";
        check(&whole, batch, &format!("@label=a\\sb {batch}"));
        check(&Label::Inside, "X\r\n", "@batch=labeled X\r\n");
        check(&Label::Inside, "", "");
    }

    #[test]
    fn a_label_has_1_to_64_bytes() {
        assert_eq!(Label::parse(""), None);
        assert!(Label::parse(&"x".repeat(64)).is_some());
        assert_eq!(Label::parse(&"x".repeat(65)), None);
    }
}
