//! Runs strace on a running server, to record its system calls or make some of them fail. Needs `strace`
//! and the permission to trace, which root has.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub struct Strace {
    child: Child,
    trace: PathBuf,
    /// Keeps this end of the pipe open.
    _errors: BufReader<std::process::ChildStderr>,
    _folder: tempfile::TempDir,
}

impl Strace {
    /// Attaches to every thread of a process. Every call after this returns is traced.
    pub fn attach(process: u32, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("trace");
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-p", &process.to_string(), "-o"])
            .arg(&trace)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(" attached") {
            line.clear();
            let read = errors.read_line(&mut line).expect("a line");
            assert!(
                read > 0,
                "strace cannot attach (this test needs to be root)"
            );
        }
        Self {
            child,
            trace,
            _errors: errors,
            _folder: folder,
        }
    }

    /// Detaches from the process, and returns the trace.
    pub fn detach(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        self.child.wait().expect("a child");
        std::fs::read_to_string(&self.trace).expect("a trace")
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
