//! The configuration file: TOML whose keys are the long names of the flags.
//!
//! The file is converted to the words of a command line, so that each flag is described, parsed and refused in one
//! place: where `chatd` declares it. This module knows no particular flag.

use std::fmt;

use argh::{FlagInfo, FlagInfoKind, Optionality};
use toml::{Table, Value};

/// The width of the comments that [`example`] writes, in characters.
const WIDTH: usize = 100;

/// The reason why a configuration file is invalid; `Display` is a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file is not valid TOML. The text is the parser's message.
    Toml(String),
    /// These keys are not flags.
    Unknown(Vec<String>),
    /// The value of this key has the wrong type.
    Kind(String, &'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(what) => f.write_str(what),
            Self::Unknown(keys) => {
                let plural = if keys.len() == 1 { "" } else { "s" };
                write!(f, "unknown key{plural} {}", keys.join(", "))
            }
            Self::Kind(key, wanted) => write!(f, "{key} must be {wanted}"),
        }
    }
}

impl std::error::Error for Error {}

/// Converts the file `text` to the words of a command line. `flags` are the flags that the file may contain. The
/// command line `given` overrides the file: if a flag is in both, the file's value is left out, even if the flag may
/// be repeated.
///
/// # Errors
/// When a key is unknown, or a value has the wrong type. Whether a flag accepts the value is not checked here.
pub fn words(text: &str, flags: &[&FlagInfo<'_>], given: &[&str]) -> Result<Vec<String>, Error> {
    let table: Table = text.parse().map_err(|e| Error::Toml(in_a_line(&e, text)))?;
    let unknown = table.keys().filter(|key| find(flags, key).is_none());
    let unknown: Vec<_> = unknown.map(|key| format!("{key:?}")).collect();
    if !unknown.is_empty() {
        return Err(Error::Unknown(unknown));
    }
    let mut words = Vec::new();
    for (key, value) in &table {
        let Some(flag) = find(flags, key).filter(|flag| !is_given(flag, flags, given)) else {
            continue;
        };
        match (&flag.kind, value) {
            (FlagInfoKind::Switch, Value::Boolean(true)) => words.push(flag.long.to_owned()),
            (FlagInfoKind::Switch, Value::Boolean(false)) => {}
            (FlagInfoKind::Switch, _) => {
                return Err(Error::Kind(key.clone(), "true or false"));
            }
            (FlagInfoKind::Option { .. }, Value::Array(values)) if may_repeat(flag) => {
                for value in values {
                    push(&mut words, flag, key, value)?;
                }
            }
            (FlagInfoKind::Option { .. }, value) => push(&mut words, flag, key, value)?,
        }
    }
    Ok(words)
}

fn push(
    words: &mut Vec<String>,
    flag: &FlagInfo<'_>,
    key: &str,
    value: &Value,
) -> Result<(), Error> {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        _ => {
            let wanted = if may_repeat(flag) {
                "a text, a number, or a list of them"
            } else {
                "a text or a number"
            };
            return Err(Error::Kind(key.to_owned(), wanted));
        }
    };
    words.extend([flag.long.to_owned(), value]);
    Ok(())
}

fn may_repeat(flag: &FlagInfo<'_>) -> bool {
    flag.optionality == Optionality::Repeating
}

fn find<'a>(flags: &[&'a FlagInfo<'a>], key: &str) -> Option<&'a FlagInfo<'a>> {
    let mut flags = flags.iter().copied();
    flags.find(|flag| flag.long.strip_prefix("--") == Some(key))
}

/// Returns whether a command line contains `flag`. Only the words before a sub-command count, and the values of other
/// flags are skipped.
fn is_given(flag: &FlagInfo<'_>, flags: &[&FlagInfo<'_>], given: &[&str]) -> bool {
    let mut words = given.iter();
    while let Some(word) = words.next().filter(|word| word.starts_with("--")) {
        if *word == flag.long {
            return true;
        }
        let known = flags.iter().find(|known| known.long == *word);
        // `flags` lacks the flag that names the file itself. That flag takes a value.
        if known.is_none_or(|known| known.kind != FlagInfoKind::Switch) {
            words.next();
        }
    }
    false
}

/// Returns the parser's message in one line, for example `line 3: expected a value`.
fn in_a_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let what = error.message().replace('\n', ", ");
    match before {
        Some(before) => format!("line {}: {what}", before.matches('\n').count() + 1),
        None => what,
    }
}

/// Returns a configuration file with all `flags` commented out, each under its description.
pub fn example(flags: &[&FlagInfo<'_>]) -> String {
    let mut text = String::new();
    for flag in flags {
        let mut line = String::from("\n#");
        for word in flag.description.split_whitespace() {
            if line.chars().count() + word.chars().count() > WIDTH {
                text += &line;
                line = String::from("\n#");
            }
            line += " ";
            line += word;
        }
        let value = match flag.kind {
            FlagInfoKind::Switch => "true".to_owned(),
            FlagInfoKind::Option { arg_name } if may_repeat(flag) => format!("[\"{arg_name}\"]"),
            FlagInfoKind::Option { arg_name } => format!("\"{arg_name}\""),
        };
        text += &line;
        text += &format!("\n#{} = {value}\n", flag.long.trim_start_matches('-'));
    }
    text.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[&FlagInfo<'_>] = &[
        &flag("--memory", FlagInfoKind::Switch, Optionality::Optional),
        &flag("--name", OPTION, Optionality::Optional),
        &flag("--listen", OPTION, Optionality::Repeating),
    ];

    const OPTION: FlagInfoKind<'_> = FlagInfoKind::Option { arg_name: "word" };

    const fn flag<'a>(
        long: &'a str,
        kind: FlagInfoKind<'a>,
        optionality: Optionality,
    ) -> FlagInfo<'a> {
        FlagInfo {
            kind,
            optionality,
            long,
            short: None,
            description: "what it does (default: nothing)",
            hidden: false,
        }
    }

    fn check(text: &str, given: &str, expected: Result<&str, &str>) {
        let given: Vec<_> = given.split_whitespace().collect();
        let found = words(text, FLAGS, &given).map(|words| words.join(" "));
        let found = found.map_err(|e| e.to_string());
        assert_eq!(
            found.as_deref().map_err(String::as_str),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn a_settings_file_is_equivalent_to_flags() {
        check("", "", Ok(""));
        check("# nothing\n", "", Ok(""));
        check("memory = true\nname = 'box'", "", Ok("--memory --name box"));
        check("memory = false", "", Ok(""));
        check("listen = 5002", "", Ok("--listen 5002"));
        check(
            "listen = [5002, '::1']",
            "",
            Ok("--listen 5002 --listen ::1"),
        );
        check("name = '--memory'", "", Ok("--name --memory"));
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        check("name = 'box'\nmemory = true", "--name x", Ok("--memory"));
        check("listen = [1, 2]", "--listen 3", Ok(""));
        check("memory = true", "--name --memory", Ok("--memory"));
        check("name = 'box'", "--config --name", Ok("--name box"));
        check("name = 'box'", "check --name x", Ok("--name box"));
    }

    #[test]
    fn an_error_is_one_line_that_names_the_key() {
        check("colour = 1", "", Err("unknown key \"colour\""));
        check("a = 1\n[b]", "", Err("unknown keys \"a\", \"b\""));
        check("--name = 1", "", Err("unknown key \"--name\""));
        check("memory = 'yes'", "", Err("memory must be true or false"));
        check("name = [1]", "", Err("name must be a text or a number"));
        let list = "listen must be a text, a number, or a list of them";
        check("listen = [true]", "", Err(list));
        let found = words("\nname = \n", FLAGS, &[]).expect_err("it is no TOML");
        assert!(found.to_string().starts_with("line 2: "), "{found}");
    }

    #[test]
    fn an_example_is_comments_that_can_be_uncommented() {
        let text = example(FLAGS);
        assert_eq!(words(&text, FLAGS, &[]), Ok(Vec::new()));
        let settings = text.replace("\n#", "\n").replace("# what", "what");
        let settings: Vec<_> = settings.lines().filter(|line| line.contains('=')).collect();
        let found = words(&settings.join("\n"), FLAGS, &[]).map(|words| words.join(" "));
        assert_eq!(found.as_deref(), Ok("--listen word --memory --name word"));
    }
}
