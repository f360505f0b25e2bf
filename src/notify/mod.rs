//! Notices: a command and a webhook receive what happens to jobs, folders and the balance.
//!
//! A notice about a job is journaled in the same transaction as the job's event, so that neither a crash nor a restart loses it.
//! It is removed when it was received. So each notice is sent at least once and always under the same id, by which a receiver
//! recognizes a second copy. Sending has a task of its own and never delays work. What cannot be sent now is sent later.
//!
//! - `status::notice`: which events give which notices. Pure.
//! - `sign`: the signature of a webhook, by the Standard Webhooks specification (1.0.0). Pure.
//! - `send`: sending. `health`: folders and the balance.

mod health;
mod send;
mod sign;

pub(crate) use health::watch as watch_health;
pub use send::SecretError;
pub(crate) use send::{Receivers, run};
pub use sign::{Secret, sign};

use std::time::Duration;

/// The pauses after the first, second, … failed attempt, as the Standard Webhooks specification proposes them: about three days
/// in all.
const PAUSES: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Computes how long to wait after this many failed attempts; `None` to give up. `jitter` from 0 to 1 makes a pause up to a
/// tenth longer.
fn compute_pause(attempts: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let seconds = PAUSES.get(index)?;
    Some(Duration::from_secs(*seconds).mul_f64(1.0 + 0.1 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_is_not_received_is_sent_again_more_and_more_slowly_for_three_days() {
        let pauses: Vec<Duration> = (1..).map_while(|times| compute_pause(times, 0.0)).collect();
        assert_eq!(pauses.len(), 9);
        assert!(pauses.windows(2).all(|two| two[0] < two[1]));
        let all: Duration = pauses.iter().sum();
        assert!((3 * 24 * 3600..4 * 24 * 3600).contains(&all.as_secs()));
        assert_eq!(compute_pause(1, 1.0), Some(Duration::from_millis(5500)));
    }
}
