//! What a process has used, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// `/proc` counts processor time in hundredths of a second, on all architectures that Linux has today (`USER_HZ`).
const TICKS: f64 = 100.0;

/// How long strace may take to let go of the process, and to write what it counted.
const STRACE_ENDS: Duration = Duration::from_secs(30);

/// Processor time of a process so far, its ended threads included, in user and kernel mode together.
pub fn processor_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; after it come the state and then numbers, of which utime is the 14th field
    // and stime the 15th (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').ok_or("/proc has an odd stat")?.1;
    let ticks: f64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>)
        .sum::<std::result::Result<f64, _>>()?;
    Ok(ticks / TICKS)
}

/// Memory of a process that is in RAM, in bytes.
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At most so far.
    pub peak: u64,
}

/// Memory of a process.
pub fn memory(process: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        Ok(kilobytes.ok_or("/proc has an odd status")?.parse::<u64>()? * 1024)
    };
    Ok(Memory {
        now: of("VmRSS:")?,
        peak: of("VmHWM:")?,
    })
}

/// System calls of a process within a window of time, by name, as strace counts them; `None` where strace is not installed or
/// may not trace.
pub fn system_calls(process: u32, window: Duration) -> Result<Option<BTreeMap<String, u64>>> {
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("strace");
    let started = Command::new("strace")
        .args(["-q", "-c", "-f", "-U", "calls,name", "-o"])
        .arg(&table)
        .args(["-p", &process.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut strace) = started else {
        return Ok(None);
    };
    std::thread::sleep(window);
    if strace.try_wait()?.is_none() {
        kill_process(Pid::from_child(&strace), Signal::INT)?;
    }
    let late = Instant::now() + STRACE_ENDS;
    while strace.try_wait()?.is_none() {
        if Instant::now() > late {
            strace.kill()?;
            strace.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = fs::read_to_string(&table).unwrap_or_default();
    let calls: BTreeMap<String, u64> = text
        .lines()
        .filter_map(|line| {
            let (count, name) = line.trim().split_once(' ')?;
            Some((name.trim().to_owned(), count.parse().ok()?))
        })
        .filter(|(name, _)| name != "total")
        .collect();
    Ok(Some(calls).filter(|calls| !calls.is_empty()))
}
