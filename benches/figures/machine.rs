//! What the figures were taken on.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder to work in.
pub fn folder() -> PathBuf {
    std::env::var_os("TAXIWAY_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

/// Version, date and machine, in three lines.
pub fn description(quick: bool) -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = text("/proc/cpuinfo");
    let processor = after(&info, "model name").unwrap_or("unknown processor");
    let info = text("/proc/meminfo");
    let memory = after(&info, "MemTotal").unwrap_or("?").replace(" kB", "");
    let gigabytes = memory.parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e9;
    let kernel = text("/proc/sys/kernel/osrelease");
    let load = text("/proc/loadavg");
    format!(
        "taxiway {}, {:.0}{}\n{cores} cores ({processor}), {gigabytes:.0} GB, Linux {}, {}\nload before: {}\n",
        env!("CARGO_PKG_VERSION"),
        jiff::Timestamp::now(),
        if quick { ", quick" } else { "" },
        kernel.trim(),
        filesystem(&folder()).unwrap_or_else(|| "unknown filesystem".to_owned()),
        load.split(' ').next().unwrap_or("?"),
    )
}

/// What stands behind `name:` in a file of such lines.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The kind of filesystem that a folder lies on: the mount with the longest path above it counts.
fn filesystem(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(place, _)| folder.starts_with(place))
        // Of several at one place the last one is on top.
        .max_by_key(|(place, _)| place.len())
        .map(|(_, kind)| kind.to_owned())
}
