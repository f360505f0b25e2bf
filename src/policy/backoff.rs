//! How long to wait before the next attempt. Pure: the caller supplies the random number and reads the clock.

use std::time::Duration;

/// Computes the pause before the next attempt, where `attempt` counts the failed ones and 0 counts as 1.
///
/// The pause doubles with each failure from `base` up to `cap`. Then it is shortened by up to half, as `jitter` says (0 to 1,
/// best drawn at random), so that many jobs that failed together do not come back together. A `jitter` outside its range is
/// clamped, and NaN counts as 0.
pub(crate) fn compute_delay(attempt: u32, base: Duration, cap: Duration, jitter: f64) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(2);
    const CAP: Duration = Duration::from_secs(60);

    #[test]
    fn the_pause_doubles_up_to_the_cap() {
        let pauses: Vec<u64> = (0..8)
            .map(|n| compute_delay(n, BASE, CAP, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [2, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(compute_delay(u32::MAX, BASE, CAP, 0.0), CAP);
        assert_eq!(compute_delay(33, Duration::MAX, CAP, 0.0), CAP);
    }

    #[test]
    fn jitter_shortens_the_pause_by_at_most_half() {
        assert_eq!(compute_delay(1, BASE, CAP, 1.0), Duration::from_secs(1));
        assert_eq!(
            compute_delay(1, BASE, CAP, 0.5),
            Duration::from_millis(1500)
        );
        assert_eq!(compute_delay(1, BASE, CAP, 9.0), Duration::from_secs(1));
        assert_eq!(compute_delay(1, BASE, CAP, -9.0), BASE);
        assert_eq!(compute_delay(1, BASE, CAP, f64::NAN), BASE);
    }
}
