//! Whether a file that was seen is finished, from its writer, its marker and its content.

use std::io;
use std::time::{Duration, Instant};

use crate::files::RelPath;
use crate::inbox::look::settle::{Content, Judgement, Writer, judge};
use crate::inbox::look::tree::Tree;
use crate::inbox::pace::{LOOK_AGAIN, TEXT_SETTLE};
use crate::sidecar::names::{Class, classify, marker_of};

/// Why a file is not used now.
pub(crate) enum NotNow {
    /// It is not finished: why, and when to check again.
    Wait(String, Instant),
    /// It is not there.
    Gone,
}

/// The marker by which a file's writer says that the file is finished.
pub(crate) fn marker_path(file: &RelPath) -> RelPath {
    file.with_name(&marker_of(file.name()))
}

/// Checks whether a file is finished. `certain` asks for the whole quiet time even where its writer closed it, since a person
/// may be in the middle of fixing it.
pub(crate) fn check_finished(
    tree: &mut Tree,
    file: &RelPath,
    certain: bool,
    settle: Duration,
    now: Instant,
) -> Result<(), NotNow> {
    let Some(mut sighting) = tree.sighting(file) else {
        return Err(NotNow::Gone);
    };
    if tree.sighting(&marker_path(file)).is_some() {
        return Ok(());
    }
    let quiet = now.saturating_duration_since(sighting.since);
    if sighting.writer != Writer::Done && quiet < settle {
        let at = sighting.since.checked_add(settle).unwrap_or(now);
        return Err(NotNow::Wait("still being written".to_owned(), at));
    }
    let content = match tree.read_content(file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NotNow::Gone),
        Err(error) => {
            return Err(NotNow::Wait(
                format!(
                    "it cannot be read ({error}): make it readable for the user that taxiway runs as"
                ),
                now.checked_add(LOOK_AGAIN).unwrap_or(now),
            ));
        }
    };
    let is_text = classify(file.name()) == Class::Sidecar;
    let content = match content {
        Content::Whole if certain || is_text => Content::Unknowable,
        Content::Whole | Content::Partial(_) | Content::Unknowable => content,
    };
    let settle = match sighting.writer {
        Writer::Done if is_text && !certain => settle.min(TEXT_SETTLE),
        Writer::Done | Writer::Busy | Writer::Unknown => settle,
    };
    if certain && sighting.writer == Writer::Done {
        sighting.writer = Writer::Unknown;
    }
    match judge(&sighting, &content, settle, now) {
        Judgement::Finished => Ok(()),
        Judgement::NotYet { why, look_again } => Err(NotNow::Wait(why, look_again)),
    }
}
