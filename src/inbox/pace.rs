//! How long files must be quiet, and how long scans rest. Pure.

use std::time::Duration;

/// How long a file must be quiet, where nobody set it.
pub(crate) const SETTLE_LOCAL: Duration = Duration::from_secs(5);
/// The same on a network, whose files are told late and in parts.
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

/// Time between scans where events tell of every change: the scan only catches what was lost. Longer where there are many
/// folders, up to a bound, since what was lost waits for so long.
const SCAN_WITH_EVENTS: Duration = Duration::from_secs(60);
const SCAN_WITH_EVENTS_MAX: Duration = Duration::from_secs(600);
const SCAN_PER_FOLDER: Duration = Duration::from_millis(300);
/// Bounds of the time between scans where nothing else tells of changes. Between them a scan may take one part in twenty
/// of the time.
const SCAN_ALONE_MIN: Duration = Duration::from_secs(2);
const SCAN_ALONE_MAX: Duration = Duration::from_secs(300);
const SCAN_SHARE: u32 = 20;

/// A look that events ask for and that found nothing to take is followed by a rest of so many times its own length, so that
/// somebody who writes without a pause beside thousands of files costs one part in six of a core; but of no more than this.
const REST_SHARE: u32 = 5;
const REST_MAX: Duration = Duration::from_secs(1);

/// How long events wait after a look that took `cost` and found nothing to take.
pub(crate) fn rest(cost: Duration) -> Duration {
    cost.saturating_mul(REST_SHARE).min(REST_MAX)
}

/// The time until the next scan of everything, after one that took `cost`.
pub(crate) fn pause(trusted: bool, folders: usize, cost: Duration) -> Duration {
    let fair = cost.saturating_mul(SCAN_SHARE);
    if trusted {
        // A few calls of the system a second at most, for as many folders as people have.
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
    fn looks_that_events_ask_for_take_a_part_of_the_time_and_wait_a_second_at_most() {
        assert_eq!(rest(Duration::from_millis(1)), Duration::from_millis(5));
        assert_eq!(rest(Duration::from_millis(60)), Duration::from_millis(300));
        assert_eq!(rest(Duration::MAX), Duration::from_secs(1));
    }

    #[test]
    fn row_11_scans_cost_a_few_calls_a_second_and_what_events_lost_waits_ten_minutes_at_most() {
        let quick = Duration::from_millis(20);
        assert_eq!(pause(true, 10, quick), Duration::from_secs(60));
        // A look at each of a thousand folders, over this time.
        assert_eq!(pause(true, 1_000, quick), Duration::from_secs(300));
        for (folders, cost) in [(1_000_000, quick), (usize::MAX, Duration::MAX)] {
            assert_eq!(pause(true, folders, cost), Duration::from_secs(600));
        }
        // Where events cannot be trusted, one part in twenty of the time.
        assert_eq!(pause(false, 10, quick), Duration::from_secs(2));
        assert_eq!(
            pause(false, 10, Duration::from_secs(1)),
            Duration::from_secs(20)
        );
        assert_eq!(pause(false, 10, Duration::MAX), Duration::from_secs(300));
    }
}
