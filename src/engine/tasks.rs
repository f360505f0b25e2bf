//! The daemon's tasks, each with a name. The unexpected end of a long-lived one is an error in the log: a vital one stops the
//! daemon, any other is started again. A stop says which tasks it still waits for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{Id, JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After how long a stop says what it waits for.
const LATE_AFTER: Duration = Duration::from_secs(2);
/// At most this many late tasks are named.
const NAMED: usize = 8;
/// The pause before a long-lived task is started again: the first, and the longest after it ended again and again.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const RESTART_AFTER_MOST: Duration = Duration::from_secs(300);

type Name = Cow<'static, str>;

pub(crate) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<HashMap<Id, Name>>>,
    /// The vital task whose unexpected end stopped everything.
    failed: Arc<OnceLock<&'static str>>,
}

impl Tasks {
    /// Tasks that end when `stop` is cancelled.
    pub(crate) fn new(stop: CancellationToken) -> Tasks {
        Tasks {
            stop,
            tracker: TaskTracker::new(),
            running: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// Spawns a task that ends by itself, and that a stop waits for.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: impl Into<Name>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let (running, name) = (self.running.clone(), name.into());
        self.tracker.spawn(async move {
            let id = tokio::task::id();
            running.lock().insert(id, name);
            let _entry = Entry { running, id };
            work.await
        })
    }

    /// Spawns a task without which nothing can work. If it ends before the stop, everything stops.
    pub(crate) fn spawn_vital(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.spawn(name, async move {
            let ended = tokio::spawn(work).await;
            if !stop.is_cancelled() {
                tracing::error!("{name} {}: taxiway stops", describe_end(&ended));
                failed.get_or_init(|| name);
                stop.cancel();
            }
        });
    }

    /// Spawns a long-lived task. If it ends before the stop, it is started again.
    pub(crate) fn spawn_restarting<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        start: impl Fn() -> F + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            let mut pause = RESTART_AFTER;
            loop {
                let begun = Instant::now();
                let ended = tokio::spawn(start()).await;
                if stop.is_cancelled() {
                    return;
                }
                if begun.elapsed() > RESTART_AFTER_MOST {
                    pause = RESTART_AFTER;
                }
                tracing::error!("{name} {}: it is started again", describe_end(&ended));
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
                pause = pause.saturating_mul(2).min(RESTART_AFTER_MOST);
            }
        });
    }

    /// The vital task whose unexpected end stopped everything.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }

    /// Waits for all tasks, and logs the names of those that are late. Answers with the names of those that still run at
    /// `deadline`.
    pub(crate) async fn finish(&self, deadline: Instant) -> Vec<String> {
        self.tracker.close();
        let late = Instant::now() + LATE_AFTER;
        for until in [late.min(deadline), deadline] {
            if timeout_at(until, self.tracker.wait()).await.is_ok() {
                return Vec::new();
            }
            if until < deadline {
                tracing::info!("still waiting for {}", self.name_running().join(", "));
            }
        }
        self.name_running()
    }

    /// The names of the running tasks; where there are many, how many more.
    fn name_running(&self) -> Vec<String> {
        let mut names: Vec<String> = self.running.lock().values().map(Name::to_string).collect();
        names.sort();
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names
    }
}

fn describe_end(ended: &Result<(), JoinError>) -> String {
    match ended {
        Ok(()) => "ended unexpectedly".to_owned(),
        Err(error) => format!("ended unexpectedly ({error})"),
    }
}

/// A task's name among those of the running tasks.
struct Entry {
    running: Arc<Mutex<HashMap<Id, Name>>>,
    id: Id,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let name = self.running.lock().remove(&self.id);
        if std::thread::panicking() {
            let name = name.unwrap_or_default();
            tracing::error!("{name} ended by a panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(CancellationToken::new())
    }

    #[tokio::test]
    async fn the_unexpected_end_of_a_vital_task_stops_everything_and_is_known_by_name() {
        let tasks = tasks();
        tasks.spawn_vital("the poller", async { panic!("on purpose") });
        tasks.stop.cancelled().await;
        assert_eq!(tasks.failed(), Some("the poller"));
    }

    #[tokio::test]
    async fn a_vital_task_that_ends_with_the_stop_has_not_failed() {
        let tasks = tasks();
        tasks.spawn_vital("the poller", tasks.stop.clone().cancelled_owned());
        tasks.stop.cancel();
        assert!(tasks.finish(Instant::now() + LATE_AFTER).await.is_empty());
        assert_eq!(tasks.failed(), None);
    }

    #[tokio::test]
    async fn another_long_lived_task_is_started_again() {
        let tasks = tasks();
        let (starts, mut started) = tokio::sync::mpsc::unbounded_channel();
        tasks.spawn_restarting("the pages", move || {
            let sent = starts.send(());
            async move { assert!(sent.is_err(), "on purpose") }
        });
        assert_eq!(started.recv().await, Some(()));
        assert_eq!(started.recv().await, Some(()));
        assert!(!tasks.stop.is_cancelled());
        tasks.stop.cancel();
        assert!(tasks.finish(Instant::now() + LATE_AFTER).await.is_empty());
    }

    #[tokio::test]
    async fn a_stop_names_who_is_late() {
        let tasks = tasks();
        let hanging = tasks.spawn("job 1", std::future::pending::<()>());
        tasks.spawn("job 2", async {});
        let late = tasks
            .finish(Instant::now() + Duration::from_millis(20))
            .await;
        assert_eq!(late, ["job 1"]);
        hanging.abort();
    }
}
