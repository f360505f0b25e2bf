//! How the thread of an inbox is started, also in place of an earlier one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::inbox::board::{Board, InboxView};
use crate::inbox::events::hints::Events;
use crate::inbox::handle::InboxHandle;
use crate::inbox::setup::Setup;
use crate::inbox::take::retries::Retries;
use crate::inbox::worker::Worker;

/// Starts the thread of an inbox, which another thread may have watched until now. The new one begins when the `old` one has ended,
/// however long that takes: two threads must never take from one folder. The new one takes over the retries that the old one
/// expected.
///
/// # Errors
/// The system refuses another thread.
pub fn spawn_after(setup: Setup, old: Option<InboxHandle>) -> io::Result<InboxHandle> {
    let now = Instant::now();
    let same = old.as_ref().filter(|old| old.places == setup.places);
    let view = match same {
        Some(old) => InboxView {
            frozen: old.frozen(),
            ..old.peek().continued(now)
        },
        None => InboxView::new(now),
    };
    let (hints, receiver) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut retries, mut previous) = (Retries::default(), None);
    if let Some(old) = old {
        old.stop();
        retries = old.retries;
        previous = Some(old.thread);
    }
    let setup = Arc::new(setup);
    let board = Board::new(setup.name.clone(), view);
    let view = board.subscribe();
    let events = Events::new(setup.clone(), hints.clone(), receiver);
    let worker = Worker::new(setup.clone(), board, events, retries.clone(), stop.clone());
    let thread = std::thread::Builder::new()
        .name(format!("inbox {}", setup.name))
        .spawn(move || worker.run(previous))?;
    Ok(InboxHandle {
        name: setup.name.clone(),
        formerly: setup.formerly.clone(),
        places: setup.places.clone(),
        view,
        stop,
        hints,
        retries,
        thread,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::catalogue::Catalogue;
    use crate::config::{Inbox, Watch};
    use crate::files::RelPath;
    use crate::folders::Places;
    use crate::inbox::Ignore;
    use crate::job::State;
    use crate::journal::SqliteJournal;
    use crate::ledger::Ledger;
    use crate::sidecar::layers::Layer;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    /// An inbox that takes whatever is in it at once.
    fn setup(dir: &Path, ledger: Ledger, runtime: &tokio::runtime::Runtime) -> Setup {
        let place = |name: &str| dir.join(name);
        Setup {
            name: "studio".to_owned(),
            formerly: Vec::new(),
            places: Places {
                inbox: place("inbox"),
                working: place("working"),
                outbox: place("outbox"),
                originals: place("originals"),
                failed: place("failed"),
            },
            inbox: Arc::new(Inbox {
                watch: Watch::Scan,
                scan_interval: Some(Duration::from_millis(10)),
                settle: Some(Duration::ZERO),
                pair_wait: Duration::ZERO,
                ..Inbox::default()
            }),
            max_input: 1_000_000,
            ignore: Ignore::new(&[]).unwrap(),
            defaults: Layer {
                label: "the configuration".to_owned(),
                folder: RelPath::default(),
                values: serde_json::Map::new(),
                document: None,
            },
            catalogue: Arc::new(Catalogue::built_in().unwrap()),
            allow_unknown_models: false,
            ledger,
            runtime: runtime.handle().clone(),
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    async fn ledger(dir: &Path) -> Ledger {
        let journal = SqliteJournal::open(dir).await.unwrap();
        Ledger::open(Arc::new(journal)).await.unwrap()
    }

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_new_watch_begins_when_the_old_one_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let ledger = runtime.block_on(ledger(dir.path()));
        let mut old = spawn_after(setup(dir.path(), ledger.clone(), &runtime), None).unwrap();
        // A thread that hangs in its folder.
        let (release, hang) = channel::<()>();
        let first = std::mem::replace(
            &mut old.thread,
            std::thread::spawn(move || hang.recv().unwrap()),
        );
        old.stop();
        first.join().unwrap();
        let new = spawn_after(setup(dir.path(), ledger, &runtime), Some(old)).unwrap();
        eventually("it says what it waits for", || {
            new.view()
                .frozen
                .is_some_and(|why| why.contains("previous watch"))
        });
        assert!(!new.view().is_ready());
        release.send(()).unwrap();
        eventually("it begins", || {
            new.view().is_ready() && new.view().frozen.is_none()
        });
        new.stop();
        new.thread.join().unwrap();
    }

    #[test]
    fn a_file_in_working_that_is_in_the_way_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("inbox/sub")).unwrap();
        fs::create_dir_all(dir.path().join("working")).unwrap();
        fs::write(dir.path().join("working/sub"), "").unwrap();
        for name in ["sub/one.yaml", "sub/two.yaml", "three.yaml"] {
            fs::write(
                dir.path().join("inbox").join(name),
                "endpoint: sound_effect\nmodle: x\n",
            )
            .unwrap();
        }
        let runtime = runtime();
        let ledger = runtime.block_on(ledger(dir.path()));
        let handle = spawn_after(setup(dir.path(), ledger.clone(), &runtime), None).unwrap();
        eventually("all are taken and noted as moved", || {
            let jobs = ledger.jobs();
            jobs.len() == 3
                && jobs
                    .iter()
                    .all(|job| !matches!(job.state, State::Taking { .. }))
        });
        handle.stop();
        handle.thread.join().unwrap();
        assert!(!dir.path().join("inbox/sub/one.yaml").exists());
    }
}
