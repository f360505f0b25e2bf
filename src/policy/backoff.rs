//! How long to wait before the next try. Pure: the caller brings the random number and looks at the clock.

use std::time::Duration;

/// The pause before try number `attempt` + 1, where `attempt` counts the tries that failed and 0 counts as 1.
///
/// The pause doubles with each failure from `base` up to `cap`, and is then shortened by up to half, as `jitter` (0 to
/// 1, best drawn at random) says, so that many jobs that failed together do not come back together. It is never longer
/// than `cap`. A `jitter` outside its range is pulled into it, and one that is no number counts as 0.
#[must_use]
pub fn delay(attempt: u32, base: Duration, cap: Duration, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1);
    let full = 2u32
        .checked_pow(doublings)
        .and_then(|factor| base.checked_mul(factor))
        .map_or(cap, |pause| pause.min(cap));
    let jitter = if jitter.is_nan() {
        0.0
    } else {
        jitter.clamp(0.0, 1.0)
    };
    full.mul_f64(1.0 - 0.5 * jitter)
}

/// The same pause, but no shorter than what the server asked for with `Retry-After`.
#[must_use]
pub fn no_sooner_than(pause: Duration, retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(pause, |floor| pause.max(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(2);
    const CAP: Duration = Duration::from_secs(60);

    #[test]
    fn the_pause_doubles_up_to_the_cap() {
        let pauses: Vec<u64> = (0..8).map(|n| delay(n, BASE, CAP, 0.0).as_secs()).collect();
        assert_eq!(pauses, [2, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(u32::MAX, BASE, CAP, 0.0), CAP);
        assert_eq!(delay(33, Duration::MAX, CAP, 0.0), CAP);
    }

    #[test]
    fn jitter_takes_off_at_most_half() {
        assert_eq!(delay(1, BASE, CAP, 1.0), Duration::from_secs(1));
        assert_eq!(delay(1, BASE, CAP, 0.5), Duration::from_millis(1500));
        assert_eq!(delay(1, BASE, CAP, 9.0), Duration::from_secs(1));
        assert_eq!(delay(1, BASE, CAP, -9.0), BASE);
        assert_eq!(delay(1, BASE, CAP, f64::NAN), BASE);
    }

    #[test]
    fn retry_after_is_a_floor_and_not_a_ceiling() {
        let hour = Duration::from_secs(3600);
        assert_eq!(no_sooner_than(BASE, Some(hour)), hour);
        assert_eq!(no_sooner_than(hour, Some(BASE)), hour);
        assert_eq!(no_sooner_than(BASE, None), BASE);
    }
}
