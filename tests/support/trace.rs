//! Parses a trace of strace, and checks that some calls began only after others had ended.

/// A system call that succeeded.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub arguments: String,
    /// The lines of the trace in which the call began and ended.
    began: usize,
    ended: usize,
}

/// A step that must have happened.
pub struct Step {
    pub what: &'static str,
    /// The names of the system calls that make up this step.
    pub calls: &'static [&'static str],
    /// What their arguments must contain.
    pub holds: Vec<String>,
}

pub const SYNC: &[&str] = &["fsync", "fdatasync"];

/// Parses the output of `strace -f -o`: `<thread> <call>(<arguments>) = <result>`, on two lines when
/// another thread came between.
pub fn read(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: Vec<(&str, Call)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let mut call = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some(of) = open.iter().position(|(known, _)| *known == thread) else {
                    continue; // it began before the trace
                };
                let (_, mut call) = open.swap_remove(of);
                let tail = resumed.split_once('>').map_or("", |(_, tail)| tail);
                call.arguments += tail;
                call
            }
            None => {
                let Some((name, arguments)) = rest.split_once('(') else {
                    continue;
                };
                Call {
                    name: name.to_owned(),
                    arguments: arguments.to_owned(),
                    began: at,
                    ended: at,
                }
            }
        };
        if let Some(begun) = call.arguments.strip_suffix("<unfinished ...>") {
            call.arguments = begun.to_owned();
            open.push((thread, call));
            continue;
        }
        call.ended = at;
        let result = call
            .arguments
            .rsplit_once(" = ")
            .map_or("", |(_, result)| result);
        if !result.is_empty() && !result.starts_with(['-', '?']) {
            calls.push(call);
        }
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// Checks that all steps happened, and that each began after the previous one had ended.
///
/// # Errors
/// Says which step is missing, or too late.
pub fn check(calls: &[Call], steps: &[Step]) -> Result<(), String> {
    let is = |step: &Step, call: &&Call| {
        step.calls.contains(&call.name.as_str())
            && step.holds.iter().all(|part| call.arguments.contains(part))
    };
    let Some((last, before)) = steps.split_last() else {
        return Ok(());
    };
    let answer = calls.iter().find(|call| is(last, call));
    let answer = answer.ok_or_else(|| format!("{} is missing", last.what))?;
    let mut time = None;
    for step in before {
        let mut later = calls
            .iter()
            .filter(|call| time.is_none_or(|time| call.began > time));
        let found = later.find(|call| is(step, call));
        match found.filter(|call| call.ended < answer.began) {
            Some(call) => time = Some(call.ended),
            None => return Err(format!("no {} before {}", step.what, last.what)),
        }
    }
    Ok(())
}
