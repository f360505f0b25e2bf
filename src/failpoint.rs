//! Places where a test ends the process or makes a step fail. A build without debug assertions has none of it: every call is
//! empty, and no name is left.
//!
//! | variable | does |
//! |---|---|
//! | `TAXIWAY_FAILPOINT=NAME#N=HOW;…` | at the N-th pass of NAME: `kill` (as a power cut), `error` (EIO) or `full` (ENOSPC) |
//! | `TAXIWAY_FAILPOINT_TRACE=FILE` | each pass adds a line to the file: `error NAME` where the step can fail, else `kill NAME` |
//!
//! A point stands directly before the step that it is named for, in the same thread, so that a trace of system calls shows
//! which step has none.

use std::fmt;
use std::io;

/// The points without a subject, each with the name that `TAXIWAY_FAILPOINT` has for it.
macro_rules! points {
    ($($point:ident: $name:literal,)*) => {
        /// A point that the program passes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $name] $point,)*
            /// Before a transaction is made durable; what it holds, such as the word of an event.
            BeforeCommit(&'static str),
            /// After it is durable.
            AfterCommit(&'static str),
            /// Before a request is sent.
            BeforeRequest(Request),
            /// After its answer came.
            AfterRequest(Request),
        }

        impl Point {
            /// The points without a subject.
            pub const PLAIN: &[Point] = &[$(Point::$point),*];
        }

        impl fmt::Display for Point {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Point::$point => f.write_str($name),)*
                    Point::BeforeCommit(what) => write!(f, "commit.before/{what}"),
                    Point::AfterCommit(what) => write!(f, "commit.after/{what}"),
                    Point::BeforeRequest(request) => write!(f, "http.before/{request:?}"),
                    Point::AfterRequest(request) => write!(f, "http.after/{request:?}"),
                }
            }
        }
    };
}

points! {
    MakeFolder: "files.make_folder",
    SyncFolder: "files.sync_folder",
    SyncFile: "files.sync",
    Remove: "files.remove",
    RemoveFolder: "files.remove_folder",
    OpenPart: "files.open_part",
    NewPart: "files.new_part",
    BeforeRename: "files.rename.before",
    AfterRename: "files.rename.after",
    Link: "files.link",
    BeforeReplace: "files.replace.before",
    AfterReplace: "files.replace.after",
    ProbeCreate: "probe.create",
    ProbeRename: "probe.rename",
    ProbeRemove: "probe.remove",
}

/// A request to Runway or its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    Submit,
    UploadSlot,
    Upload,
    Poll,
    Download,
    Cancel,
    Organization,
}

impl Request {
    /// All of them.
    pub const ALL: [Request; 7] = [
        Request::Submit,
        Request::UploadSlot,
        Request::Upload,
        Request::Poll,
        Request::Download,
        Request::Cancel,
        Request::Organization,
    ];
}

/// Before a step that can fail, or after one whose answer can be lost.
///
/// # Errors
/// The step is to fail.
#[cfg(debug_assertions)]
pub fn hit(point: Point) -> io::Result<()> {
    match armed::pass(point, true) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// After a step that cannot fail any more.
#[cfg(debug_assertions)]
pub fn pass(point: Point) {
    armed::pass(point, false);
}

/// Before a step that can fail: nothing in this build.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hit(_point: Point) -> io::Result<()> {
    Ok(())
}

/// After a step that cannot fail any more: nothing in this build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_point: Point) {}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum How {
        Kill,
        Error(Errno),
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Target {
        point: String,
        nth: u64,
        how: How,
    }

    struct Points {
        targets: Vec<Target>,
        trace: Option<File>,
        passes: Mutex<HashMap<String, u64>>,
    }

    /// Notes that a point is passed; answers with the error that is due there.
    pub(super) fn pass(point: Point, can_fail: bool) -> Option<Errno> {
        static POINTS: OnceLock<Option<Points>> = OnceLock::new();
        let points = POINTS.get_or_init(read).as_ref()?;
        let point = point.to_string();
        // Held until the line is written, so that lines and counts have one order.
        let mut passes = points.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passes.entry(point.clone()).or_default();
        *count = count.saturating_add(1);
        if let Some(mut trace) = points.trace.as_ref() {
            let what = if can_fail { "error" } else { "kill" };
            if let Err(error) = trace.write_all(format!("{what} {point}\n").as_bytes()) {
                refuse(&format!("the trace cannot be written: {error}"));
            }
        }
        let mut targets = points.targets.iter();
        let due = targets.find(|target| target.point == point && target.nth == *count)?;
        match due.how {
            How::Kill => die(),
            How::Error(error) => can_fail.then_some(error),
        }
    }

    fn read() -> Option<Points> {
        let asked = std::env::var("TAXIWAY_FAILPOINT").unwrap_or_default();
        let targets: Vec<Target> = asked
            .split_terminator(';')
            .map(|text| {
                parse(text).unwrap_or_else(|| refuse(&format!("{text:?} is not NAME#N=HOW")))
            })
            .collect();
        let trace = std::env::var_os("TAXIWAY_FAILPOINT_TRACE").map(|path| {
            let file = File::options().create(true).append(true).open(&path);
            file.unwrap_or_else(|error| refuse(&format!("{}: {error}", path.display())))
        });
        (!targets.is_empty() || trace.is_some()).then(|| Points {
            targets,
            trace,
            passes: Mutex::default(),
        })
    }

    fn parse(text: &str) -> Option<Target> {
        let (place, how) = text.rsplit_once('=')?;
        let (point, nth) = place.rsplit_once('#')?;
        Some(Target {
            point: point.to_owned(),
            nth: nth.parse().ok()?,
            how: match how {
                "kill" => How::Kill,
                "error" => How::Error(Errno::IO),
                "full" => How::Error(Errno::NOSPC),
                _ => return None,
            },
        })
    }

    /// Ends the process so that nothing is unwound, flushed or answered.
    fn die() -> ! {
        if let Err(error) = kill_process(getpid(), Signal::KILL) {
            refuse(&format!("the process cannot be killed: {error}"));
        }
        loop {
            std::thread::park();
        }
    }

    /// A test that asks for what cannot be done must not pass by mistake.
    fn refuse(why: &str) -> ! {
        eprintln!("failpoint: {why}");
        std::process::abort()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_s_name_may_have_any_sign_in_it() {
            let read = parse("commit.before/task failed, may be #1=2#12=kill").unwrap();
            assert_eq!(read.point, "commit.before/task failed, may be #1=2");
            assert_eq!((read.nth, read.how), (12, How::Kill));
            assert_eq!(parse("a#1=full").unwrap().how, How::Error(Errno::NOSPC));
            for wrong in ["", "a", "a#1", "a=kill", "a#x=kill", "a#1=crash"] {
                assert_eq!(parse(wrong), None, "{wrong}");
            }
        }
    }
}
