//! `chatd`: parses its flags and runs the server.

mod command;
mod flags;
mod help;
mod values;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use argh::FromArgs;
use plainchat::config::{self, Protocols, file};
use plainchat::server::log_lines::LogLines;
use plainchat::server::{self, Plain, listen, service};
use rustix::process::{Resource, getrlimit};

use flags::Flags;
use help::{flags_of_a_file, flags_of_an_example};
use values::LogFormat;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let flags = match read_flags(&words) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    if flags.version {
        show(concat!("chatd ", env!("CARGO_PKG_VERSION"), "\n"));
        return ExitCode::SUCCESS;
    }
    if flags.command.is_none() {
        share_arena();
    }
    let lines = match LogLines::start(std::io::stderr()) {
        Ok(lines) => lines,
        Err(e) => return fail(&format!("cannot start the thread for the log: {e}")),
    };
    let code = begin(flags, &lines);
    lines.finish();
    code
}

/// If the address space is limited, restarts chatd in the same process with one malloc arena for all threads.
/// Otherwise glibc reserves 64 MiB of addresses for the arena of each thread, and soon no other allocation succeeds.
fn share_arena() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if getrlimit(Resource::As).current.is_none() || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), words.next()) else {
        return;
    };
    // If this fails, nothing changes.
    let _error = Command::new(program)
        .arg0(name)
        .args(words)
        .env(ARENAS, "1")
        .exec();
}

/// Executes the flags. The log goes to `lines`.
fn begin(flags: Flags, lines: &LogLines) -> ExitCode {
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(flags.log_level)
        .with_writer(move || writer.clone())
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match flags.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(command) = flags.command {
        return command.run(&flags_of_an_example()).unwrap_or_else(|e| {
            complain(&e.to_string());
            ExitCode::FAILURE
        });
    }
    if flags.greet_after.is_some() {
        tracing::warn!("--greet-after has no effect: people press Enter to get the greeting");
    }
    let wrong = if flags.cert.is_some() != flags.key.is_some() {
        Some("--cert needs --key, and --key needs --cert")
    } else if !flags.plain.0 && !flags.tls.0 {
        Some("use either --plain off or --tls off: with both, nobody could connect")
    } else if flags.cluster.is_some() && (flags.memory || flags.push.is_some()) {
        Some("--cluster cannot be used with --memory or --push")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        complain(&format!("{wrong} (chatd --help lists the flags)"));
        return ExitCode::from(2);
    }
    let sockets = match service::sockets() {
        Ok(sockets) => sockets,
        Err(e) => {
            return fail(&format!(
                "cannot use the sockets of the service manager: {}",
                Plain(&e)
            ));
        }
    };
    let has_host = !flags.host.is_empty();
    let config = match flags.into_config(!sockets.is_empty()) {
        Ok(config) => config,
        Err(why) => return fail(&why),
    };
    let listening = |places: &[config::Listen], fingerprint: Option<&str>| {
        tell_listening(places, fingerprint, has_host);
    };
    match server::run(config, sockets, listening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    complain(why);
    ExitCode::FAILURE
}

/// Prints a line on standard error. Ignores errors, because standard error may be closed.
fn complain(why: &str) {
    let _ = writeln!(std::io::stderr(), "chatd: {why}");
}

/// Prints to standard output. Ignores errors, because the reader may have gone.
fn show(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Reads the flags of the command line, which override those of the settings file.
fn read_flags(words: &[&str]) -> Result<Flags, ExitCode> {
    let flags = Flags::from_args(&["chatd"], words).map_err(|exit| answer(&exit))?;
    let Some(path) = &flags.config else {
        return Ok(flags);
    };
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|e| fail(&format!("{name}: {}", Plain(&e))))?;
    let wrong = |what: &str| {
        complain(&format!("{name}: {what} (run `chatd config` for the list)"));
        ExitCode::from(2)
    };
    let table = flags_of_a_file();
    let all = file::words(&text, &table, &[]).map_err(|e| wrong(&e.to_string()))?;
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    // The file is parsed alone first, so that its errors are reported as errors of the file.
    Flags::from_args(&["chatd"], &all)
        .map_err(|exit| wrong(exit.output.lines().next().unwrap_or_default()))?;
    let below = file::words(&text, &table, words).map_err(|e| wrong(&e.to_string()))?;
    let both = below
        .iter()
        .map(String::as_str)
        .chain(words.iter().copied());
    Flags::from_args(&["chatd"], &both.collect::<Vec<_>>()).map_err(|exit| answer(&exit))
}

/// Prints the help, or the error of the flags.
fn answer(exit: &argh::EarlyExit) -> ExitCode {
    match exit.status {
        Ok(()) => {
            show(&help::text(&exit.output));
            ExitCode::SUCCESS
        }
        Err(()) => {
            let mut lines = exit.output.lines().map(str::trim);
            let mut line = lines.next().unwrap_or("bad flags").to_owned();
            if line.ends_with(':') {
                // A list follows, such as the flags that are missing.
                let listed = lines.take_while(|listed| !listed.is_empty());
                listed.for_each(|listed| line += &format!(" {listed}"));
            }
            complain(&format!("{line} (chatd --help lists the flags)"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line for each address, so that a script can wait for it. Then prints how people can connect.
fn tell_listening(places: &[config::Listen], fingerprint: Option<&str>, has_host: bool) {
    let mut text = String::new();
    for place in places {
        text += &format!("chatd: listening on {}\n", place.addr);
    }
    if let Some(fingerprint) = fingerprint {
        text += &format!("chatd: the certificate's SHA-256 is {fingerprint}\n");
    }
    text += "To join from a machine that can reach this one, type or open:\n";
    for place in places {
        for ip in listen::reachable(place.addr) {
            let there = SocketAddr::new(ip, place.addr.port());
            let ways = ways_in(there, place.protocols);
            if !ways.is_empty() {
                text += &format!("  {}\n", ways.join("   "));
            }
        }
    }
    if !has_host && places.iter().any(|place| place.protocols.web) {
        text += "To open it in a browser by a host name, start chatd with --host NAME.\n";
    }
    show(&text);
}

/// Returns what to type or open to connect to `there`.
fn ways_in(there: SocketAddr, protocols: Protocols) -> Vec<String> {
    let (nc, http) = if protocols.plain {
        ("nc", "http")
    } else {
        ("ncat --ssl", "https")
    };
    let lines = format!("{nc} {} {}", there.ip(), there.port());
    let page = format!("{http}://{there}/");
    let ways = [(protocols.lines, lines), (protocols.web, page)];
    let ways = ways.into_iter().filter(|(is_spoken, _)| *is_spoken);
    ways.map(|(_, way)| way).collect()
}
