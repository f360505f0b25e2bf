//! What outlives the simulator: a file of events, one JSON object a line, read back at the next start.
//!
//! Lines are appended and never changed. A line that was cut off by a crash can only be the last one, so it is left
//! out and overwritten; any other line that cannot be read stops the start, since going on would lose tasks silently.
//! Nothing is fsynced: this guards rehearsals against restarts of the simulator, not of the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clock::Millis;
use super::log::Seen;
use super::tasks::{Kind, Limits, Order};
use crate::media::Kind as MediaKind;

/// The name of the file in the directory that was given.
const FILE: &str = "simulator.jsonl";

/// Everything that changes what the simulator knows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The first line: what signs output URLs, and the balance at the start.
    Opened { secret: String, balance: i64 },
    /// A task was started.
    Started { order: Order },
    /// A task was cancelled or deleted.
    Withdrawn { kind: Kind, id: String, at: Millis },
    /// An upload was announced, or its bytes arrived.
    Upload { upload: Upload },
    /// Other limits hold.
    Limits { limits: Limits, at: Millis },
    /// The balance was set by hand.
    Balance { balance: i64, at: Millis },
    /// A request was answered.
    Seen { seen: Box<Seen> },
}

/// An upload, from its announcement on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// What follows `runway://`.
    pub(super) id: String,
    /// The name that was announced.
    pub(super) filename: String,
    /// When it was announced.
    pub(super) created: Millis,
    /// What came.
    pub(super) content: Option<Content>,
}

/// The bytes of an upload, as far as they matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// What it is; `None`: nothing that the API takes.
    pub(super) kind: Option<MediaKind>,
}

/// The file of events.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Opens the file in `dir`, making both as needed, and hands each event in it to `replay`.
    ///
    /// # Errors
    /// When the directory or file cannot be made or read, or a line in it is not an event.
    pub(super) fn open(dir: &Path, mut replay: impl FnMut(Event)) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (lines, _cut_off) = text.split_at(whole);
        for (number, line) in lines.lines().enumerate() {
            let event = serde_json::from_str(line).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{}, line {}: not an event of the simulator ({error}); move the file away to start afresh",
                        path.display(),
                        number + 1
                    ),
                )
            })?;
            replay(event);
        }
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, path })
    }

    /// Appends one event. A failure is logged: the simulator goes on, and only a restart of it would miss the event.
    pub(super) fn append(&mut self, event: &Event) {
        let written = serde_json::to_vec(event)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.file.write_all(&line)
            });
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the simulator cannot keep its state; a restart of it would forget this");
        }
    }
}
