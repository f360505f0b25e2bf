//! Whether the kernel's events are trusted to report every change.

use crate::config::Watch;
use crate::files::mounts::Mount;

/// Whether the kernel's events are trusted to report every change below a folder, and how changes are noticed, for people. `events`
/// says whether there are any.
pub fn trust(watch: Watch, mount: Option<&Mount>, events: bool) -> (bool, String) {
    let kind = mount.map_or("a filesystem of unknown kind", |mount| mount.kind.as_str());
    let local = mount.is_some_and(Mount::is_local);
    match (watch, events, local) {
        (Watch::Scan, _, _) => (false, format!("scans only, as configured, on {kind}")),
        (Watch::Events, true, _) => (true, format!("events on {kind}, as configured, and scans")),
        (Watch::Auto, true, true) => (true, format!("events on {kind}, and scans")),
        (Watch::Auto, true, false) => (
            false,
            format!("scans on {kind}, where events do not report every change"),
        ),
        (Watch::Auto | Watch::Events, false, _) => (
            false,
            format!("scans on {kind}, since the kernel gives no events (too few watches)"),
        ),
    }
}
