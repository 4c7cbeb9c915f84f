//! The text of `chatd --help` and `chatd config`. The descriptions of limits come from [`Limits::rows`].

use std::sync::OnceLock;

use argh::{ArgsInfo, FlagInfo, FlagInfoKind, Optionality};
use plainchat::config::Limits;

use crate::flags::Flags;

/// The column at which descriptions start.
const INDENT: usize = 20;
const WIDTH: usize = 80;

/// Returns every flag except `--help` in the order of declaration. The descriptions of limits come from their rows.
pub fn flags() -> &'static [FlagInfo<'static>] {
    static FLAGS: OnceLock<Vec<FlagInfo<'static>>> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let flags = Flags::get_args_info().flags.iter();
        let flags = flags.filter(|flag| flag.long != "--help");
        flags.map(described).collect()
    })
}

/// Returns the flags that a settings file may contain: all except `--version` and the one that names the file.
pub fn flags_of_a_file() -> Vec<&'static FlagInfo<'static>> {
    let flags = flags().iter();
    let is_of_a_server = |flag: &&FlagInfo<'_>| !["--config", "--version"].contains(&flag.long);
    flags.filter(is_of_a_server).collect()
}

/// Returns the flags that an example file shows. Hidden flags, which have no effect, are left out.
pub fn flags_of_an_example() -> Vec<&'static FlagInfo<'static>> {
    let mut flags = flags_of_a_file();
    flags.retain(|flag| !flag.hidden);
    flags
}

fn described(flag: &FlagInfo<'static>) -> FlagInfo<'static> {
    let rows = Limits::default().rows();
    let row = rows.iter().find(|row| row.flag == Some(flag.long));
    let of_row = row.map(|row| format!("{} (default: {}; {})", row.what, row.value, row.reason));
    FlagInfo {
        kind: match flag.kind {
            FlagInfoKind::Switch => FlagInfoKind::Switch,
            FlagInfoKind::Option { arg_name } => FlagInfoKind::Option { arg_name },
        },
        optionality: match flag.optionality {
            Optionality::Repeating => Optionality::Repeating,
            _ => Optionality::Optional,
        },
        long: flag.long,
        short: flag.short,
        // The text is never freed, because argh requires that it lives as long as the program.
        description: of_row.map_or(flag.description, |text| Box::leak(text.into_boxed_str())),
        hidden: flag.hidden,
    }
}

/// Returns the help text of argh, with the limits from the table.
pub fn text(argh: &str) -> String {
    let Some((head, rest)) = argh.split_once("\nOptions:\n") else {
        return argh.to_owned();
    };
    let (options, commands) = rest.split_once("\nCommands:\n").unwrap_or_default();
    if !options.contains("--version") {
        return argh.to_owned(); // the help of a command, which has no limits
    }
    let rows = Limits::default().rows();
    let is_limit = |flag: &&FlagInfo<'_>| rows.iter().any(|row| row.flag == Some(flag.long));
    let list = |flags: Vec<&FlagInfo<'_>>| {
        let items = flags
            .iter()
            .map(|flag| item(&named(flag), flag.description));
        items.collect::<String>()
    };
    let shown = flags().iter().filter(|flag| !flag.hidden);
    let (limits, others) = shown.partition(is_limit);
    let fixed = rows.iter().filter(|row| row.flag.is_none());
    let fixed = fixed.map(|row| item(&row.value, &format!("{}: {}", row.what, row.reason)));
    format!(
        "{head}\nOptions:\n{}{}\nLimits, each a flag with its default and reason:\n{}\nLimits without a flag:\n{}\nCommands:\n{commands}",
        list(others),
        item("--help", "display usage information"),
        list(limits),
        fixed.collect::<String>(),
    )
}

/// Returns a flag with its value.
fn named(flag: &FlagInfo<'_>) -> String {
    match flag.kind {
        FlagInfoKind::Switch => flag.long.to_owned(),
        FlagInfoKind::Option { arg_name } => format!("{} <{arg_name}>", flag.long),
    }
}

/// Formats a name and its description.
fn item(name: &str, text: &str) -> String {
    let mut lines = format!("  {name}");
    let mut column = lines.len();
    if column >= INDENT {
        lines.push('\n');
        column = 0;
    }
    let mut is_first = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !is_first && column + 1 + length > WIDTH {
            lines.push('\n');
            (column, is_first) = (0, true);
        }
        let space = if is_first { INDENT - column } else { 1 };
        lines.push_str(&" ".repeat(space));
        lines.push_str(word);
        column += space + length;
        is_first = false;
    }
    lines + "\n"
}
