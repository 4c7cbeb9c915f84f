//! What a server costs: its time on a processor and its memory, as `/proc` tells them.

use std::fs::read_to_string;
use std::io;

/// The unit of times in `/proc/PID/stat`: a hundredth of a second on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

fn missing() -> io::Error {
    io::Error::other("/proc does not tell what a process costs")
}

/// Seconds of processor time in those fields of `/proc/PID/stat`, counted from after the name.
fn ticks(pid: u32, fields: [usize; 2]) -> io::Result<f64> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything, so count from its end.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(missing)?;
    let numbers: Vec<&str> = rest.split(' ').collect();
    let mut sum = 0.0;
    for field in fields {
        let number: Option<f64> = numbers.get(field).and_then(|n| n.parse().ok());
        sum += number.ok_or_else(missing)?;
    }
    Ok(sum / TICKS)
}

/// Seconds that all threads of a process have used, in itself and in the kernel.
pub fn seconds(pid: u32) -> io::Result<f64> {
    ticks(pid, [11, 12])
}

/// Seconds that the children of this process have used that were waited for.
pub fn of_children() -> io::Result<f64> {
    ticks(std::process::id(), [13, 14])
}

/// Bytes of memory that a process has now; socket buffers are the kernel's and not among them.
pub fn memory(pid: u32) -> io::Result<f64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or_else(missing)? * 1024.0)
}
