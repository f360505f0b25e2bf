//! Telling people, or their programs, what happened: a command to run, and a webhook.
//!
//! What is to be told of a job is written in the same transaction as what happened to it, so that neither a crash nor a restart
//! loses it; it is struck out once somebody has heard it. So each notice is told at least once, always under the same id, by
//! which whoever hears it twice can tell. Telling never holds work up: it has a task of its own, and what cannot be told now
//! is told later.
//!
//! - this file: what there is to tell, and of which events. Pure.
//! - `sign`: the signature of a webhook, after the Standard Webhooks specification (1.0.0). Pure.
//! - `send`: telling. `health`: folders and the balance, which no event of a job tells of.

mod health;
mod send;
mod sign;

pub use health::watch as watch_health;
pub use send::{SecretError, Teller, run};
pub use sign::{Secret, sign};

use std::time::Duration;

/// The pauses after the first, second, … time that something was told in vain, as the Standard Webhooks specification
/// proposes them: some three days in all.
const PAUSES: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// How long to wait after something was told in vain so often; `None`: it is given up. `jitter` from 0 to 1 makes a pause up to
/// a tenth longer.
pub fn pause(attempts: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let seconds = PAUSES.get(index)?;
    Some(Duration::from_secs(*seconds).mul_f64(1.0 + 0.1 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_hears_is_told_again_ever_more_slowly_for_three_days() {
        let pauses: Vec<Duration> = (1..).map_while(|times| pause(times, 0.0)).collect();
        assert_eq!(pauses.len(), 9);
        assert!(pauses.windows(2).all(|two| two[0] < two[1]));
        let all: Duration = pauses.iter().sum();
        assert!((3 * 24 * 3600..4 * 24 * 3600).contains(&all.as_secs()));
        assert_eq!(pause(1, 1.0), Some(Duration::from_millis(5500)));
    }
}
