//! A studio with one inbox on this machine and one on a share.

use std::path::Path;

use crate::support::{Builder, Studio};

/// Defaults by which a picture alone is a job. The two inboxes have different models, since those have queues of their own.
const LOCAL: &str = r#"{ model: gen3a_turbo, ratio: "1280:768", duration: 5, prompt: pan }"#;
const SHARED: &str = r#"{ model: gen4_turbo, ratio: "1280:720", duration: 5 }"#;

/// `inbox` on this machine; `nas` at this path of the share, which the caller may give further lines.
pub fn with_share(inbox: &Path) -> Builder {
    Studio::builder()
        .defaults(LOCAL)
        .another_inbox(&inbox.to_string_lossy())
        .inbox("name: nas")
        .defaults(SHARED)
}
