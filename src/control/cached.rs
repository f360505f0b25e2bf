//! What the journal takes a while to add up, told as it was a moment ago: however many ask, adding up is a small part of the
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::JournalError;

/// Not added up twice within this time, nor within a multiple of the time that it took.
const REST: Duration = Duration::from_secs(2);
/// See [`REST`].
const TIMES: u32 = 20;
/// Added up again after this time although no job has changed: a rolling day has moved on.
const AGE: Duration = Duration::from_secs(60);

/// Something that was added up.
struct Sum<T> {
    value: Arc<T>,
    /// The ledger's version then.
    version: u64,
    since: Instant,
    rest: Duration,
}

/// The last sum, if there is one.
pub(crate) struct Cached<T>(tokio::sync::Mutex<Option<Sum<T>>>);

impl<T> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached(tokio::sync::Mutex::default())
    }
}

impl<T> Cached<T> {
    /// The last sum, or a new one if the ledger is at another version and the last one has rested.
    ///
    /// # Errors
    /// What `add_up` says: the journal cannot be read.
    pub async fn get(
        &self,
        version: u64,
        add_up: impl AsyncFnOnce() -> Result<T, JournalError>,
    ) -> Result<Arc<T>, JournalError> {
        let mut last = self.0.lock().await;
        let begin = Instant::now();
        if let Some(sum) = last.as_ref() {
            let age = begin.saturating_duration_since(sum.since);
            if age < sum.rest || (sum.version == version && age < AGE) {
                return Ok(sum.value.clone());
            }
        }
        let value = Arc::new(add_up().await?);
        let since = Instant::now();
        *last = Some(Sum {
            value: value.clone(),
            version,
            since,
            rest: since
                .saturating_duration_since(begin)
                .saturating_mul(TIMES)
                .max(REST),
        });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sum_is_told_again_until_it_has_rested() {
        let sum = Cached::default();
        assert_eq!(*sum.get(1, async || Ok(10)).await.unwrap(), 10);
        assert_eq!(*sum.get(1, async || Ok(11)).await.unwrap(), 10);
        assert_eq!(*sum.get(2, async || Ok(12)).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn what_could_not_be_added_up_is_tried_again_at_once() {
        let sum = Cached::default();
        let broken = async || {
            Err(JournalError::Unreadable {
                path: "/x".into(),
                why: "torn".to_owned(),
            })
        };
        assert!(sum.get(1, broken).await.is_err());
        assert_eq!(*sum.get(1, async || Ok(10)).await.unwrap(), 10);
    }
}
