//! Measures the cost of a server: its processor time and memory, as `/proc` reports them.

use std::fs::read_to_string;
use std::io;

/// The unit of times in `/proc/PID/stat`: a hundredth of a second on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

fn missing() -> io::Error {
    io::Error::other("/proc does not tell what a process costs")
}

/// Returns the seconds of processor time in two fields of `/proc/PID/stat`. `fields` are their numbers; the first field
/// after the name has the number 0.
fn ticks(pid: u32, fields: [usize; 2]) -> io::Result<f64> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain anything, so count from its end.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(missing)?;
    let numbers: Vec<&str> = rest.split(' ').collect();
    let mut sum = 0.0;
    for field in fields {
        let number: Option<f64> = numbers.get(field).and_then(|n| n.parse().ok());
        sum += number.ok_or_else(missing)?;
    }
    Ok(sum / TICKS)
}

/// Returns the seconds that all threads of a process have used, in user space and in the kernel.
pub fn seconds(pid: u32) -> io::Result<f64> {
    ticks(pid, [11, 12])
}

/// Returns the seconds used by those children of this process that have been waited for.
pub fn of_children() -> io::Result<f64> {
    ticks(std::process::id(), [13, 14])
}

/// Returns the memory of a process in bytes; socket buffers belong to the kernel and are not included.
pub fn memory(pid: u32) -> io::Result<f64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or_else(missing)? * 1024.0)
}
