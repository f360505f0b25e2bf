//! Somebody who takes whatever is visible in the outbox at once, as programs do: at first sight of a name its record is
//! there, and both are whole.

#![allow(dead_code)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::audit::{Promise, Verdict, check_output, is_record, is_visible};
use crate::support::walk;

/// A thread that looks at an outbox until it is stopped.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Verdict>,
}

impl Watcher {
    /// Looks at this outbox, again and again.
    pub fn start(outbox: &Path) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let (outbox, stopped) = (outbox.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut known: HashSet<PathBuf> = HashSet::new();
            let mut verdict = Verdict::default();
            loop {
                // Read before the look, so that there is one look after the end.
                let last = stopped.load(Ordering::SeqCst);
                walk(&outbox, &mut |path| {
                    if !is_visible(path) || is_record(path) || !known.insert(path.to_owned()) {
                        return;
                    }
                    if let Err(words) = check_output(path) {
                        verdict.breach(Promise::HalfDelivered, format!("at first sight: {words}"));
                    }
                });
                if last {
                    return verdict;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Watcher { stop, thread }
    }

    /// Ends it; answers with what it saw.
    pub fn stop(self) -> Verdict {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
