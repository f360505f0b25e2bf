//! Room for work that can hang with a folder, so that a share whose server does not answer keeps its own jobs waiting and
//! nobody else's.
//!
//! A call of the system that hangs cannot be broken off, and a second one beside it would do the same work twice; so the job
//! waits for it however long it takes. What is bounded is what it holds meanwhile: a thread of its own inbox's share, and a
//! common place for no longer than [`HANGS_AFTER`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Work with files that takes longer than this holds no common place any more.
pub const HANGS_AFTER: Duration = Duration::from_secs(5);
/// The same for an upload or a download, which takes as long as the network does.
pub const SENDING_HANGS_AFTER: Duration = Duration::from_secs(60);

/// Places, so many in all and somewhat fewer for each inbox.
pub struct Room {
    all: Option<Arc<Semaphore>>,
    each: usize,
    inboxes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Room {
    /// `all` places, of which one inbox has at most `each`.
    pub fn new(all: usize, each: usize) -> Room {
        Room {
            all: Some(Arc::new(Semaphore::new(all))),
            each,
            inboxes: Mutex::default(),
        }
    }

    /// `each` places for every inbox, however many there are.
    pub fn for_each(each: usize) -> Room {
        Room {
            all: None,
            each,
            inboxes: Mutex::default(),
        }
    }

    /// Waits for a place: first among the inbox's own, so that who waits there stands in nobody's way.
    pub async fn enter(&self, inbox: &str) -> Place {
        let own = {
            let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            let own = inboxes.entry(inbox.to_owned());
            own.or_insert_with(|| Arc::new(Semaphore::new(self.each)))
                .clone()
        };
        let own = own.acquire_owned().await;
        let common = match &self.all {
            Some(all) => Some(all.clone().acquire_owned().await),
            None => None,
        };
        Place { _own: own, common }
    }
}

/// A place. It is given back when this is dropped.
pub struct Place {
    // Nobody closes the semaphores, so these are never errors.
    _own: Result<OwnedSemaphorePermit, AcquireError>,
    common: Option<Result<OwnedSemaphorePermit, AcquireError>>,
}

impl Place {
    /// Waits for some work. After `patience` others may have the common place, and the work goes on without.
    pub async fn during<T>(&mut self, patience: Duration, work: impl Future<Output = T>) -> T {
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
    async fn an_inbox_that_hangs_keeps_no_other_waiting() {
        let room = Arc::new(Room::new(3, 2));
        let hang = |inbox: &'static str| {
            let room = room.clone();
            tokio::spawn(async move {
                let mut place = room.enter(inbox).await;
                place
                    .during(Duration::from_millis(20), std::future::pending::<()>())
                    .await;
            })
        };
        // More work than there is room for, none of which ends.
        let hanging: Vec<_> = (0..5)
            .map(|_| hang("hung"))
            .chain([hang("hung, too")])
            .collect();
        // All three common places, at the same time.
        let enter = async {
            let (one, two) = (room.enter("other").await, room.enter("other").await);
            (one, two, room.enter("third").await)
        };
        let entered = tokio::time::timeout(Duration::from_secs(20), enter).await;
        assert!(entered.is_ok());
        assert!(hanging.iter().all(|hanging| !hanging.is_finished()));
    }
}
