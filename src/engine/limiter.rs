//! Limits on how much work runs at once, in total and for each inbox. A share that does not respond delays its own jobs and
//! no others.
//!
//! A system call that hangs cannot be aborted, and a second attempt next to it would do the same work twice. So the job waits
//! for it, however long it takes. What it holds meanwhile is limited: a permit of its own inbox, and one of the common permits
//! for at most [`HANGS_AFTER`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// File work that takes longer than this gives its common permit back.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(5);
/// The same for an upload or a download, which takes as long as the network does.
pub(crate) const SENDING_HANGS_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Limiter {
    total: Option<Arc<Semaphore>>,
    per_inbox: usize,
    inboxes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Limiter {
    /// Allows `total` permits at once, at most `per_inbox` of them for one inbox.
    pub(crate) fn new(total: usize, per_inbox: usize) -> Limiter {
        Limiter {
            total: Some(Arc::new(Semaphore::new(total))),
            ..Limiter::per_inbox(per_inbox)
        }
    }

    /// Allows `per_inbox` permits for every inbox, however many inboxes there are.
    pub(crate) fn per_inbox(per_inbox: usize) -> Limiter {
        Limiter {
            total: None,
            per_inbox,
            inboxes: Mutex::default(),
        }
    }

    /// Waits for a permit: first for one of the inbox's own, so that a waiting inbox never blocks another.
    pub(crate) async fn acquire(&self, inbox: &str) -> Permit {
        let own = self
            .inboxes
            .lock()
            .entry(inbox.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.per_inbox)))
            .clone();
        let own = own.acquire_owned().await;
        let common = match &self.total {
            Some(total) => Some(total.clone().acquire_owned().await),
            None => None,
        };
        Permit { _own: own, common }
    }
}

/// Permission to work, given back when it is dropped.
pub(crate) struct Permit {
    // Nothing closes the semaphores, so these are never errors.
    _own: Result<OwnedSemaphorePermit, AcquireError>,
    common: Option<Result<OwnedSemaphorePermit, AcquireError>>,
}

impl Permit {
    /// Waits for `work`. After `patience` the common permit is given back, and the work continues without it.
    pub(crate) async fn run<T>(&mut self, patience: Duration, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        match tokio::time::timeout(patience, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                self.common = None;
                work.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_inbox_that_hangs_delays_no_other() {
        let limiter = Arc::new(Limiter::new(3, 2));
        let hang = |inbox: &'static str| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let mut permit = limiter.acquire(inbox).await;
                permit
                    .run(Duration::from_millis(20), std::future::pending::<()>())
                    .await;
            })
        };
        // More work than there are permits, and no work ends.
        let hanging: Vec<_> = (0..5)
            .map(|_| hang("hung"))
            .chain([hang("hung, too")])
            .collect();
        // All three common permits, at the same time.
        let acquire = async {
            let (one, two) = (
                limiter.acquire("other").await,
                limiter.acquire("other").await,
            );
            (one, two, limiter.acquire("third").await)
        };
        let acquired = tokio::time::timeout(Duration::from_secs(20), acquire).await;
        assert!(acquired.is_ok());
        assert!(hanging.iter().all(|hanging| !hanging.is_finished()));
    }
}
