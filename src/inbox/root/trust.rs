//! Whether the kernel's events are trusted to report every change.

use crate::config::Watch;
use crate::files::mounts::Mount;

/// Whether the kernel's events are trusted to report every change on a mount. `events` says whether there are any.
pub(crate) fn trusts_events(watch: Watch, mount: Option<&Mount>, events: bool) -> bool {
    match watch {
        Watch::Scan => false,
        Watch::Events => events,
        Watch::Auto => events && mount.is_some_and(Mount::is_local),
    }
}

/// How changes on a mount are noticed, for people. `events` says whether there are any.
pub fn describe_watch(watch: Watch, mount: Option<&Mount>, events: bool) -> String {
    let kind = mount.map_or("a filesystem of unknown kind", |mount| mount.kind.as_str());
    match (watch, events, trusts_events(watch, mount, events)) {
        (Watch::Scan, _, _) => format!("scans only, as configured, on {kind}"),
        (Watch::Events, true, _) => format!("events on {kind}, as configured, and scans"),
        (Watch::Auto, true, true) => format!("events on {kind}, and scans"),
        (Watch::Auto, true, false) => {
            format!("scans on {kind}, where events do not report every change")
        }
        (Watch::Auto | Watch::Events, false, _) => {
            format!("scans on {kind}, since the kernel gives no events (too few watches)")
        }
    }
}
