//! The manual page in roff, made from the descriptions of the flags.

use argh::{CommandInfoWithArgs, FlagInfoKind, Optionality};
use plainchat::ui::screen;

/// Returns the page of `command` and its subcommands.
pub fn page(command: &CommandInfoWithArgs) -> String {
    let mut out = String::from(".TH CHATC 1 \"\" \"plainchat\" \"User Commands\"\n");
    out += ".SH NAME\nchatc \\- talk on a plainchat server\n.SH SYNOPSIS\n";
    synopsis(&mut out, "chatc", command);
    for sub in &command.commands {
        out += ".br\n";
        synopsis(&mut out, &format!("chatc {}", sub.name), &sub.command);
    }
    out += ".SH DESCRIPTION\n";
    out += &text(command.description);
    out += ".SH OPTIONS\n";
    flags(&mut out, command);
    out += ".SH COMMANDS\n";
    for sub in &command.commands {
        out += &format!(".SS chatc {}\n", plain(sub.name));
        out += &text(sub.command.description);
        flags(&mut out, &sub.command);
        notes(&mut out, &sub.command);
        examples(&mut out, &format!("chatc {}", sub.name), &sub.command);
    }
    out += ".SH ON THE SCREEN\nCommands begin with a slash; Tab completes them.\n";
    for (name, takes, _, does) in screen::COMMANDS {
        let what = format!("/{name} {takes}");
        out += &format!(".TP\n\\fB{}\\fR\n{}\n", plain(what.trim_end()), plain(does));
    }
    for (keys, does) in screen::KEYS {
        out += &format!(".TP\n\\fB{}\\fR\n{}\n", plain(keys), plain(does));
    }
    out += ".SH NOTES\n";
    notes(&mut out, command);
    out += ".SH EXIT STATUS\n";
    for code in command.error_codes {
        out += &format!(".TP\n{}\n{}\n", code.code, plain(code.description));
    }
    out += ".SH EXAMPLES\n";
    examples(&mut out, "chatc", command);
    out += ".SH SEE ALSO\nThe protocol is described in protocol.md, which comes with plainchat.\n";
    out
}

fn synopsis(out: &mut String, name: &str, command: &CommandInfoWithArgs) {
    *out += &format!(".B {}\n", plain(name));
    for flag in command
        .flags
        .iter()
        .filter(|flag| !flag.hidden && flag.long != "--help")
    {
        let value = match &flag.kind {
            FlagInfoKind::Switch => String::new(),
            FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", plain(arg_name)),
        };
        *out += &format!("[\\fB{}\\fR{value}]\n", plain(flag.long));
    }
    for positional in command.positionals {
        let name = format!("\\fI{}\\fR", plain(positional.name));
        *out += &match positional.optionality {
            Optionality::Required => format!("{name}\n"),
            Optionality::Optional => format!("[{name}]\n"),
            _ => format!("[{name} ...]\n"),
        };
    }
}

fn flags(out: &mut String, command: &CommandInfoWithArgs) {
    for positional in command.positionals {
        *out += &format!(
            ".TP\n\\fI{}\\fR\n{}\n",
            plain(positional.name),
            plain(positional.description)
        );
    }
    for flag in command.flags.iter().filter(|flag| !flag.hidden) {
        let value = match &flag.kind {
            FlagInfoKind::Switch => String::new(),
            FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", plain(arg_name)),
        };
        *out += &format!(
            ".TP\n\\fB{}\\fR{value}\n{}\n",
            plain(flag.long),
            plain(flag.description)
        );
    }
}

fn notes(out: &mut String, command: &CommandInfoWithArgs) {
    for note in command.notes {
        *out += &format!(".PP\n.nf\n{}\n.fi\n", plain(note));
    }
}

fn examples(out: &mut String, name: &str, command: &CommandInfoWithArgs) {
    for example in command.examples {
        let example = example.replace("{command_name}", name);
        *out += &format!(".PP\n.nf\n{}\n.fi\n", plain(&example));
    }
}

fn text(text: &str) -> String {
    format!("{}\n", plain(text))
}

/// Escapes text for roff.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
