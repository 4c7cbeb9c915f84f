//! Tab completion of nicks, rooms, commands and paths. Pure except for [`paths`].

use std::path::Path;

use super::super::shorthand::expand_home;
use super::command::{ArgumentKind, COMMANDS};
use crate::protocol::text::EVERYBODY;

/// The maximum number of completions.
const FOUND_MAX: usize = 200;

/// The possible completions of the word before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The offset at which the word starts.
    pub start: usize,
    /// The completions.
    pub found: Vec<String>,
    /// The index of the completion that is in the line; `None` before the first Tab.
    pub at: Option<usize>,
}

impl Completion {
    /// Goes to the next completion, or to the previous one if `is_back`, and returns it.
    pub fn step(&mut self, is_back: bool) -> Option<&str> {
        let count = self.found.len().max(1);
        let at = match (self.at, is_back) {
            (None, false) => 0,
            (None, true) => count - 1,
            (Some(at), false) => (at + 1) % count,
            (Some(at), true) => (at + count - 1) % count,
        };
        self.at = Some(at);
        self.found.get(at).map(String::as_str)
    }
}

/// The known nicks and rooms.
pub struct KnownNames<'a> {
    /// The members of the room. Those who wrote last come first.
    pub nicks: Vec<&'a str>,
    /// The rooms.
    pub rooms: Vec<&'a str>,
    /// Whether files of this machine may be offered.
    pub files: bool,
}

/// Returns the completions of the word at the end of `before`; `None` if there are none. A completion ends in a space
/// if more words may follow it. A nick at the start of the line ends in `: `.
pub fn complete(before: &str, known: &KnownNames<'_>) -> Option<Completion> {
    if let Some(name) = before.strip_prefix('/')
        && !name.contains(' ')
    {
        let fits = COMMANDS
            .iter()
            .filter(|command| command.0.starts_with(&name.to_lowercase()));
        let found = fits.map(|command| match command.1 {
            "" => format!("/{}", command.0),
            _ => format!("/{} ", command.0),
        });
        return some(0, found.collect());
    }
    let takes = before.strip_prefix('/').and_then(|command| {
        let (name, rest) = command.split_once(' ')?;
        let takes = COMMANDS.iter().find(|c| c.0 == name.to_lowercase())?.2;
        Some((takes, before.len() - rest.len()))
    });
    let word_start = before.rfind(' ').map_or(0, |at| at + 1);
    let word = before.get(word_start..).unwrap_or_default();
    match takes {
        Some((ArgumentKind::Path, _)) if !known.files => None,
        Some((ArgumentKind::Path, start)) => {
            some(start, paths(before.get(start..).unwrap_or_default()))
        }
        Some((ArgumentKind::Room, start)) if word_start == start => {
            some(start, rooms(word, known, ""))
        }
        Some((ArgumentKind::Who, start)) if word_start == start => {
            let mut found = nicks(word, known, " ");
            found.extend(rooms(word, known, " "));
            some(start, found)
        }
        _ if word.starts_with('#') => some(word_start, rooms(word, known, " ")),
        _ if word.is_empty() => None,
        _ => {
            let is_first = word_start == 0;
            let mut found = nicks(word, known, if is_first { ": " } else { " " });
            if word.starts_with('@') && EVERYBODY.starts_with(&word.to_lowercase()) {
                found.push(format!("{EVERYBODY} "));
            }
            some(word_start, found)
        }
    }
}

fn some(start: usize, mut found: Vec<String>) -> Option<Completion> {
    found.truncate(FOUND_MAX);
    (!found.is_empty()).then_some(Completion {
        start,
        found,
        at: None,
    })
}

fn nicks(word: &str, known: &KnownNames<'_>, end: &str) -> Vec<String> {
    let word = word.strip_prefix('@').unwrap_or(word).to_lowercase();
    let fits = known
        .nicks
        .iter()
        .filter(|nick| nick.to_lowercase().starts_with(&word));
    fits.map(|nick| format!("{nick}{end}")).collect()
}

fn rooms(word: &str, known: &KnownNames<'_>, end: &str) -> Vec<String> {
    let word = word.trim_start_matches('#').to_lowercase();
    let fits = known.rooms.iter().filter(|room| {
        room.trim_start_matches('#')
            .to_lowercase()
            .starts_with(&word)
    });
    fits.map(|room| format!("{room}{end}")).collect()
}

/// Returns the files whose paths start with `typed`. Folders end in a slash. Hidden files are included only if the
/// name in `typed` starts with a dot.
fn paths(typed: &str) -> Vec<String> {
    let (folder, begin) = match typed.rfind('/') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    let real = match folder {
        "" => Path::new(".").to_owned(),
        folder => expand_home(folder),
    };
    let Ok(entries) = std::fs::read_dir(real) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_hidden = name.starts_with('.') && !begin.starts_with('.');
            if is_hidden || !name.starts_with(begin) {
                return None;
            }
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(format!("{folder}{name}{slash}"))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, expected: &[&str]) {
        let known = KnownNames {
            nicks: vec!["bob", "Bert", "ann"],
            rooms: vec!["#lobby", "#ops"],
            files: true,
        };
        let found = complete(before, &known)
            .map(|c| c.found)
            .unwrap_or_default();
        assert_eq!(found, expected, "of {before:?}");
    }

    #[test]
    fn a_word_is_completed_by_its_place_in_the_line() {
        check("b", &["bob: ", "Bert: "]);
        check("hi BE", &["Bert "]);
        check("hi @b", &["bob ", "Bert "]);
        check("see #o", &["#ops "]);
        check("/jo", &["/join "]);
        check("/who", &["/who"]);
        check("/join o", &["#ops"]);
        check("/join ", &["#lobby", "#ops"]);
        check("/msg b", &["bob ", "Bert "]);
        check("/msg #l", &["#lobby "]);
        check("/msg bob a", &["ann "]);
        check("", &[]);
        check("xyz", &[]);
        check("hi ", &[]);
    }

    #[test]
    fn paths_are_completed_also_inside_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        std::fs::create_dir(folder.path().join("notes")).unwrap();
        std::fs::write(folder.path().join("notes 1.txt"), "").unwrap();
        std::fs::write(folder.path().join(".hidden"), "").unwrap();
        let known = KnownNames {
            nicks: vec![],
            rooms: vec![],
            files: true,
        };
        let found = |typed: &str| complete(typed, &known).map(|c| c.found).unwrap_or_default();
        assert_eq!(
            found(&format!("/upload {at}/no")),
            [format!("{at}/notes 1.txt"), format!("{at}/notes/")]
        );
        assert_eq!(
            found(&format!("/upload {at}/.h")),
            [format!("{at}/.hidden")]
        );
        assert_eq!(found(&format!("/upload {at}/x")), [""; 0]);
        let known = KnownNames {
            files: false,
            ..known
        };
        assert_eq!(complete(&format!("/upload {at}/no"), &known), None);
    }

    #[test]
    fn tab_returns_to_the_first_completion() {
        let mut completion = Completion {
            start: 0,
            found: vec!["a".into(), "b".into()],
            at: None,
        };
        let steps: Vec<String> = (0..3)
            .filter_map(|_| completion.step(false).map(str::to_owned))
            .collect();
        assert_eq!(steps, ["a", "b", "a"]);
        assert_eq!(completion.step(true), Some("b"));
    }
}
