//! Runway's identifiers: ids of tasks, URIs of uploads, and signed URLs of media.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// The longest task id that is accepted, in bytes. Runway's are UUIDs of 36.
const TASK_ID_MAX_BYTES: usize = 128;

/// The id of a task: letters, digits, `-` and `_`, so that it is safe in the path of a URL and in a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// Text that is not a task id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a task id: write the id as Runway shows it, letters, digits and dashes only")]
pub struct BadTaskId;

impl TaskId {
    /// The id as Runway writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TaskId {
    type Error = BadTaskId;

    fn try_from(text: String) -> Result<TaskId, BadTaskId> {
        let good = !text.is_empty()
            && text.len() <= TASK_ID_MAX_BYTES
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if good {
            Ok(TaskId(text))
        } else {
            Err(BadTaskId)
        }
    }
}

impl FromStr for TaskId {
    type Err = BadTaskId;

    fn from_str(text: &str) -> Result<TaskId, BadTaskId> {
        TaskId::try_from(text.to_owned())
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> String {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `runway://` URI: an uploaded file, for use in requests during 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunwayUri(String);

impl RunwayUri {
    /// Reads a URI; `None` where the text does not begin with `runway://` or has white space in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<RunwayUri> {
        let rest = text.strip_prefix("runway://")?;
        let good =
            !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
        good.then(|| RunwayUri(text.to_owned()))
    }

    /// The URI as it goes into a request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunwayUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URL whose query is a secret: it gives access to the media. `Debug` shows only the host, there is no `Display`, and it cannot
/// be serialized, so that it never gets into a log, a record or the journal.
#[derive(Clone, PartialEq, Eq)]
pub struct OutputUrl(Url);

impl OutputUrl {
    /// Reads an `http` or `https` URL with a host; `None` for anything else. Whether plain `http` may be used is decided
    /// by the client when it connects.
    #[must_use]
    pub fn parse(text: &str) -> Option<OutputUrl> {
        let Ok(url) = Url::parse(text) else {
            return None;
        };
        let good = matches!(url.scheme(), "http" | "https") && url.has_host();
        good.then_some(OutputUrl(url))
    }

    /// The host and, if it is not the default, the port: the part of the URL that may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        host_of(&self.0)
    }

    /// The URL itself, for the client to connect to.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for OutputUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputUrl({})", self.host())
    }
}

/// The host and unusual port of a URL, for people.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("an unknown host");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_cannot_leave_its_place_in_a_path() {
        assert!(
            "497f6eca-6276-4993-bfeb-53cbbbba6f08"
                .parse::<TaskId>()
                .is_ok()
        );
        for bad in ["", ".", "..", "a/b", "a b", "a?b", "ä", &"a".repeat(129)] {
            assert_eq!(bad.parse::<TaskId>(), Err(BadTaskId), "{bad}");
        }
        assert!(serde_json::from_str::<TaskId>("\"../x\"").is_err());
        let id: TaskId = serde_json::from_str("\"t-1\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"t-1\"");
    }

    #[test]
    fn an_output_url_shows_only_its_host() {
        let url = OutputUrl::parse("https://u:p@cdn.example:8443/secret/a.mp4?sig=xyz").unwrap();
        assert_eq!(format!("{url:?}"), "OutputUrl(cdn.example:8443)");
        assert_eq!(OutputUrl::parse("file:///etc/passwd"), None);
        assert_eq!(OutputUrl::parse("/a.mp4"), None);
    }

    #[test]
    fn a_runway_uri_begins_with_its_scheme() {
        assert!(RunwayUri::parse("runway://eyJ").is_some());
        for bad in ["https://x/y", "runway://", "runway://a b", ""] {
            assert_eq!(RunwayUri::parse(bad), None);
        }
    }
}
