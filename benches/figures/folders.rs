//! What it costs to watch a folder in which much lies and nothing happens: on a local disk, where the kernel tells of changes,
//! and on a mount where it does not, so that everything is looked at again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::studio::Studio;
use crate::table::{Row, seconds};
use crate::usage::{processor_seconds, system_calls};
use crate::{Result, media};

const FOLDERS: u64 = 1_000;
/// As in `idle`: afterwards nothing is due.
const CALM: Duration = Duration::from_secs(20);

/// Fills an inbox with pictures that wait for a sidecar, and watches the daemon watch it.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let (each, window) = if quick { (10, 10) } else { (100, 60) };
    let window = Duration::from_secs(window);
    let mut rows = vec![Row::new(
        "folders",
        "files that wait",
        format!("{} in {FOLDERS} folders", FOLDERS * each),
    )];
    let local = Studio::new(1e6)?;
    local.configure("5s", &[("archive", json!({}))])?;
    fill(&local.path("archive/inbox"), each)?;
    rows.extend(watch(&local, "local disk", window)?);

    let remote = Studio::new(1e6)?;
    remote.configure("5s", &[("archive", json!({}))])?;
    let inbox = remote.path("archive/inbox");
    let source = remote.path("source");
    fill(&source, each)?;
    fs::create_dir_all(&inbox)?;
    match Passed::through(&source, &inbox) {
        Some(_mount) => rows.extend(watch(&remote, "FUSE mount", window)?),
        None => rows.push(Row::new(
            "folders",
            "FUSE mount",
            "left out: no bindfs, or not root",
        )),
    }
    Ok(rows)
}

fn fill(inbox: &Path, each: u64) -> Result<()> {
    for folder in 0..FOLDERS {
        let path = inbox.join(format!("{folder:04}"));
        fs::create_dir_all(&path)?;
        for file in 0..each {
            let picture = media::png(folder * each + file, 16, 9);
            fs::write(path.join(format!("{file:03}.png")), picture)?;
        }
    }
    Ok(())
}

fn watch(studio: &Studio, what: &str, window: Duration) -> Result<Vec<Row>> {
    let daemon = studio.daemon()?;
    std::thread::sleep(CALM);
    let used = processor_seconds(daemon.process())?;
    let start = Instant::now();
    std::thread::sleep(window);
    let used = processor_seconds(daemon.process())? - used;
    let took = start.elapsed().as_secs_f64();
    let row = |name: &str, value: String| Row::new("folders", format!("{what}: {name}"), value);
    let local = what == "local disk";
    let processor = row("processor", format!("{:.2} %", used / took * 100.0));
    let mut rows = vec![
        row("until ready", seconds(daemon.ready_after)),
        processor.aim(if local {
            "under 1 % of a core"
        } else {
            "a scan takes one part in twenty of the time"
        }),
    ];
    let traced = window.min(Duration::from_secs(20));
    rows.push(match system_calls(daemon.process(), traced)? {
        None => row("system calls", "left out: no strace".to_owned()),
        Some(calls) => {
            let all: u64 = calls.values().sum();
            let calls = row(
                "system calls",
                format!("{:.1}/s", all as f64 / traced.as_secs_f64()),
            );
            if local { calls.aim("a few") } else { calls }
        }
    });
    Ok(rows)
}

/// A folder that is seen through FUSE, as shares are that a program mounts.
struct Passed {
    at: PathBuf,
}

impl Passed {
    fn through(source: &Path, at: &Path) -> Option<Passed> {
        let mounted = Command::new("bindfs")
            .args([source, at])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Passed { at: at.to_owned() })
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.at.display());
        }
    }
}
