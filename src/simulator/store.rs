//! The state that survives a restart: a file of events, one JSON object per line, which the next start reads.
//!
//! Lines are only appended. A line that a crash cut off can only be the last one, so it is ignored and overwritten; any other
//! line that cannot be read is an error, since tasks would be lost silently. There is no fsync: the file survives a restart of
//! the simulator, not a power cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clock::Millis;
use super::log::Seen;
use super::tasks::{Kind, Limits, Order};
use crate::media::Kind as MediaKind;

const FILE: &str = "simulator.jsonl";

/// A change of the state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The first line: the secret that signs output URLs, and the balance at the start.
    Opened { secret: String, balance: i64 },
    /// A task was started.
    Started { order: Order },
    /// A task was cancelled or deleted.
    Withdrawn { kind: Kind, id: String, at: Millis },
    /// An upload was announced, or its bytes arrived.
    Upload { upload: Upload },
    /// The limits were changed.
    Limits { limits: Limits, at: Millis },
    /// The balance was changed.
    Balance { balance: i64, at: Millis },
    /// A request was answered.
    Seen { seen: Box<Seen> },
}

/// An upload, from its announcement on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// What follows `runway://`.
    pub(super) id: String,
    pub(super) filename: String,
    /// When it was announced.
    pub(super) created: Millis,
    /// The bytes that arrived.
    pub(super) content: Option<Content>,
}

/// The bytes of an upload, as far as they matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// `None`: nothing that the API accepts.
    pub(super) kind: Option<MediaKind>,
}

/// The file of events.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Opens the file in `dir`, or creates it, and passes each event in it to `replay`.
    ///
    /// # Errors
    /// The directory or file cannot be created or read, or a line in it is not an event.
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
                        "{}, line {}: not an event of the simulator ({error}); move the file away to start with an empty state",
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

    /// Appends one event. A failure is only logged, since the running simulator does not need the file.
    pub(super) fn append(&mut self, event: &Event) {
        let written = serde_json::to_vec(event)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.file.write_all(&line)
            });
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the simulator cannot write its state, and forgets this event with the next restart");
        }
    }
}
