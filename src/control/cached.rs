//! What takes the journal a while to compute, as it was a moment ago: however many ask, computing it takes a small part of the
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::JournalError;

/// Nothing is computed twice within this time, nor within a multiple of the time that it took.
const REST: Duration = Duration::from_secs(2);
/// See [`REST`].
const TIMES: u32 = 20;
/// Computed again after this time although no job has changed: a rolling day has moved on.
const AGE: Duration = Duration::from_secs(60);

/// A value that was computed.
struct Computed<T> {
    value: Arc<T>,
    /// The ledger's version then.
    version: u64,
    since: Instant,
    rest: Duration,
}

/// The last value, if there is one.
pub(crate) struct Cached<T>(tokio::sync::Mutex<Option<Computed<T>>>);

impl<T> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached(tokio::sync::Mutex::default())
    }
}

impl<T> Cached<T> {
    /// Gives the last value, or computes a new one if the ledger is at another version and the last one is old enough.
    ///
    /// # Errors
    /// Those of `compute`: the journal cannot be read.
    pub async fn get(
        &self,
        version: u64,
        compute: impl AsyncFnOnce() -> Result<T, JournalError>,
    ) -> Result<Arc<T>, JournalError> {
        let mut last = self.0.lock().await;
        let begin = Instant::now();
        if let Some(known) = last.as_ref() {
            let age = begin.saturating_duration_since(known.since);
            if age < known.rest || (known.version == version && age < AGE) {
                return Ok(known.value.clone());
            }
        }
        let value = Arc::new(compute().await?);
        let since = Instant::now();
        *last = Some(Computed {
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
    async fn a_value_is_kept_until_it_is_old_enough() {
        let value = Cached::default();
        assert_eq!(*value.get(1, async || Ok(10)).await.unwrap(), 10);
        assert_eq!(*value.get(1, async || Ok(11)).await.unwrap(), 10);
        assert_eq!(*value.get(2, async || Ok(12)).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn what_could_not_be_computed_is_tried_again_at_once() {
        let value = Cached::default();
        let broken = async || {
            Err(JournalError::Unreadable {
                path: "/x".into(),
                why: "torn".to_owned(),
            })
        };
        assert!(value.get(1, broken).await.is_err());
        assert_eq!(*value.get(1, async || Ok(10)).await.unwrap(), 10);
    }
}
