//! How long files must be quiet, and how long scans rest. Pure.

use std::time::Duration;

/// How long a file must be quiet if that is not configured.
pub(crate) const SETTLE_LOCAL: Duration = Duration::from_secs(5);
/// The same on a network, where changes show late and in parts.
pub(crate) const SETTLE_NETWORK: Duration = Duration::from_secs(12);

/// How long a text must be quiet once its writer has closed it: a text has no end of its own, and a script may close it after
/// every line.
pub(crate) const TEXT_SETTLE: Duration = Duration::from_secs(1);

/// How often something outside the watched folders is checked again, such as a shared picture that is missing.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How often a folder that cannot be used is tried again.
pub(crate) const TRY_AGAIN: Duration = Duration::from_secs(2);

/// How often single files are tried again that cannot be taken where they are.
pub(crate) const REFUSED_AGAIN: Duration = Duration::from_secs(10);

/// Time between scans where events report every change, and the scan only finds what they lost. Longer where there are many folders,
/// up to a limit, since what was lost waits for so long.
const SCAN_WITH_EVENTS: Duration = Duration::from_secs(60);
const SCAN_WITH_EVENTS_MAX: Duration = Duration::from_secs(600);
const SCAN_PER_FOLDER: Duration = Duration::from_millis(300);
/// Limits of the time between scans where nothing else reports changes. Between them scans take one twentieth of the time.
const SCAN_ALONE_MIN: Duration = Duration::from_secs(2);
const SCAN_ALONE_MAX: Duration = Duration::from_secs(300);
const SCAN_SHARE: u32 = 20;

/// After a scan that events caused and that found nothing to take, events wait for so many times its length, so that a program that
/// writes without a pause next to thousands of files costs a sixth of a core; but no longer than the maximum.
const REST_SHARE: u32 = 5;
const REST_MAX: Duration = Duration::from_secs(1);

/// How long events wait after a scan that took `cost` and found nothing to take.
pub(crate) fn rest_after(cost: Duration) -> Duration {
    cost.saturating_mul(REST_SHARE).min(REST_MAX)
}

/// The time until the next scan of everything, after one that took `cost`.
pub(crate) fn pause_after(trusted: bool, folders: usize, cost: Duration) -> Duration {
    let fair = cost.saturating_mul(SCAN_SHARE);
    if trusted {
        // A few system calls a second at most, for as many folders as people have.
        let folders = u32::try_from(folders).unwrap_or(u32::MAX);
        let gentle = SCAN_PER_FOLDER.saturating_mul(folders);
        fair.saturating_mul(5)
            .max(gentle)
            .clamp(SCAN_WITH_EVENTS, SCAN_WITH_EVENTS_MAX)
    } else {
        fair.clamp(SCAN_ALONE_MIN, SCAN_ALONE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_that_events_cause_take_a_part_of_the_time_and_wait_a_second_at_most() {
        assert_eq!(
            rest_after(Duration::from_millis(1)),
            Duration::from_millis(5)
        );
        assert_eq!(
            rest_after(Duration::from_millis(60)),
            Duration::from_millis(300)
        );
        assert_eq!(rest_after(Duration::MAX), Duration::from_secs(1));
    }

    #[test]
    fn row_11_scans_cost_a_few_calls_a_second_and_what_events_lost_waits_ten_minutes_at_most() {
        let quick = Duration::from_millis(20);
        assert_eq!(pause_after(true, 10, quick), Duration::from_secs(60));
        // A thousand folders, each checked within this time.
        assert_eq!(pause_after(true, 1_000, quick), Duration::from_secs(300));
        for (folders, cost) in [(1_000_000, quick), (usize::MAX, Duration::MAX)] {
            assert_eq!(pause_after(true, folders, cost), Duration::from_secs(600));
        }
        // Where events are not trusted, one twentieth of the time.
        assert_eq!(pause_after(false, 10, quick), Duration::from_secs(2));
        assert_eq!(
            pause_after(false, 10, Duration::from_secs(1)),
            Duration::from_secs(20)
        );
        assert_eq!(
            pause_after(false, 10, Duration::MAX),
            Duration::from_secs(300)
        );
    }
}
