//! Finds the command in the words of the command line.

use crate::flags;

fn commands() -> impl Iterator<Item = &'static str> {
    flags::all()
        .commands
        .into_iter()
        .map(|command| command.name)
}

/// The flags with a value that may come before the command.
const FLAGS: [&str; 4] = ["--nick", "--room", "--host", "--password-file"];

/// Moves the command before the flags: `chatc --nick ann send …` becomes `chatc send --nick ann …`. Without a command, the
/// host has no flag: `chatc --host HOST` becomes `chatc -- HOST`.
pub fn command_first<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut at = 0;
    while let Some(flag) = args.get(at)
        && FLAGS.contains(flag)
    {
        at += 2;
    }
    let is_command = |word: &&str| commands().any(|command| command == *word);
    let mut words = args.to_vec();
    if at > 0 && args.get(at).is_some_and(is_command) {
        let command = words.remove(at);
        words.insert(0, command);
    }
    let mut flags = words.iter().take_while(|word| **word != "--");
    if !words.first().is_some_and(is_command)
        && let Some(flag) = flags.position(|word| *word == "--host")
        && flag + 1 < words.len()
    {
        words.remove(flag);
        let host = words.remove(flag);
        words.extend(["--", host]); // it may have the name of a command
    }
    words
}

/// Returns the command that `word` is probably a misspelling of; `None` for a host with a dot or a port.
pub fn near(word: &str) -> Option<&'static str> {
    let may_slip = word.len() > 2 && word.bytes().all(|b| b.is_ascii_alphabetic());
    let near = commands().map(|command| (slips(word, command), command));
    // Many words are similar to a short command, so fewer differences from it are allowed.
    let most = |command: &str| match command.len() {
        0..=3 => 0,
        4 => 1,
        _ => 2,
    };
    near.filter(|(slips, command)| may_slip && *slips <= most(command))
        .min()
        .map(|(_, command)| command)
}

/// Returns how many letters must be added, removed, changed or swapped to convert one word to the other.
fn slips(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let get = |i: usize, j: usize| rows.get(i).and_then(|row| row.get(j)).copied();
            let one = [
                get(i, j).map(|n| n + usize::from(a != b)),
                get(i, j + 1).map(|n| n + 1),
                row.get(j).map(|n| n + 1),
            ];
            let is_swapped =
                i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            let swapped = if is_swapped {
                get(i - 1, j - 1).map(|n| n + 1)
            } else {
                None
            };
            row.push(
                one.into_iter()
                    .chain([swapped])
                    .flatten()
                    .min()
                    .unwrap_or(0),
            );
        }
        rows.push(row);
    }
    let last = rows.last().and_then(|row| row.last());
    last.copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_command_is_recognized_and_a_host_is_not_taken_for_one() {
        for (word, meant) in [
            ("snd", Some("send")),
            ("sned", Some("send")),
            ("histroy", Some("history")),
            ("upload", Some("upload")),
            ("dowload", Some("download")),
            ("tial", Some("tail")),
            ("localhost", None),
            ("snd.example", None),
            ("snd:5002", None),
            ("box", None),
            ("pi", None),
            ("work", None),
        ] {
            assert_eq!(near(word), meant, "{word}");
        }
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        let check = |args: &str, expected: &str| {
            let args: Vec<&str> = args.split(' ').collect();
            assert_eq!(command_first(&args).join(" "), expected);
        };
        check("--nick ann send ops hi", "send --nick ann ops hi");
        check("--nick ann localhost", "--nick ann localhost");
        check("send --nick ann", "send --nick ann");
        check("--nick send", "--nick send");
        check("--host files --nick ann", "--nick ann -- files");
        check("--host files send ops hi", "send --host files ops hi");
        check("send ops --host files", "send ops --host files");
        check("--host", "--host");
    }
}
