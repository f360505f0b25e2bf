//! The configuration's `runway`: how Runway is reached.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::reader::{Section, boolean, choice, duration, or_auto, text};
use super::surroundings::{Env, variable};
use crate::diagnostic::Diagnostic;
use crate::runway::is_loopback;
use crate::yaml::Node;

/// The API's base URL unless something else is set, without the `/v1`.
const BASE_URL: &str = "https://api.dev.runwayml.com";

/// The version of the API that this program speaks unless something else is set (header `X-Runway-Version`).
const API_VERSION: &str = "2024-11-06";

/// The shortest time between two polls of a task that the API's documentation allows; also the default.
pub(super) const POLL_FLOOR: Duration = Duration::from_secs(5);

/// The shortest time between two polls of a simulator.
const LOOPBACK_POLL_FLOOR: Duration = Duration::from_millis(10);

/// How Runway is reached and how it is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runway {
    /// The base URL without the trailing `/v1`. `https`, or `http` to a loopback address.
    pub base_url: Url,
    /// The header `X-Runway-Version`, a date.
    pub api_version: String,
    /// The file with the API key, absolute.
    pub api_key_file: Option<PathBuf>,
    /// The least time between two polls of one task.
    pub poll_interval: Duration,
    /// Tasks at once per model.
    pub max_in_flight: MaxInFlight,
    /// What happens to a submission whose outcome is unknown.
    pub on_doubt: OnDoubt,
    /// A catalogue that is used instead of the built-in one, absolute.
    pub catalogue: Option<PathBuf>,
    /// Whether models that the catalogue does not know are submitted.
    pub allow_unknown_models: bool,
}

impl Default for Runway {
    fn default() -> Runway {
        Runway {
            #[allow(clippy::expect_used)]
            // A constant that is a URL; a test reads it.
            base_url: Url::parse(BASE_URL).expect("the constant is a URL"),
            api_version: API_VERSION.to_owned(),
            api_key_file: None,
            poll_interval: POLL_FLOOR,
            max_in_flight: MaxInFlight::Auto,
            on_doubt: OnDoubt::Hold,
            catalogue: None,
            allow_unknown_models: false,
        }
    }
}

/// How many tasks of one model may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxInFlight {
    /// What the organization's tier allows.
    Auto,
    /// This many.
    Fixed(NonZeroU32),
}

/// What happens to a submission whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDoubt {
    /// It waits for a person.
    Hold,
    /// It is submitted again, and may be paid twice.
    Resubmit,
}

pub(super) fn read(section: &mut Section<'_, '_>, env: Env<'_>) -> Runway {
    let default = Runway::default();
    let base_url = section.take("base_url", |node| parse_base_url(text(node)?));
    let base_url = match variable(env, "RUNWAYML_BASE_URL") {
        Some(value) if !section.has("base_url") => {
            let parsed = parse_base_url(&value.to_string_lossy());
            parsed
                .map_err(|problem| {
                    let subject = "the environment variable RUNWAYML_BASE_URL";
                    section.report_outside(problem.with_subject(subject));
                })
                .ok()
        }
        None if !section.has("base_url") => Some(default.base_url.clone()),
        Some(_) | None => base_url,
    };
    // With a base URL that could not be read the lower floor applies, so that one mistake is not reported as two.
    let is_runway = base_url.as_ref().is_some_and(|url| !is_loopback(url));
    Runway {
        base_url: base_url.unwrap_or(default.base_url),
        api_version: section
            .take("api_version", parse_api_version)
            .unwrap_or(default.api_version),
        api_key_file: section.take_path("api_key_file"),
        poll_interval: section
            .take("poll_interval", |node| parse_poll_interval(node, is_runway))
            .unwrap_or(default.poll_interval),
        max_in_flight: section
            .take("max_in_flight", or_auto(parse_at_least_one))
            .flatten()
            .map_or(default.max_in_flight, MaxInFlight::Fixed),
        on_doubt: section
            .take(
                "on_doubt",
                choice(&[("hold", OnDoubt::Hold), ("resubmit", OnDoubt::Resubmit)]),
            )
            .unwrap_or(default.on_doubt),
        catalogue: section.take_path("catalogue"),
        allow_unknown_models: section
            .take("allow_unknown_models", boolean)
            .unwrap_or(default.allow_unknown_models),
    }
}

fn parse_poll_interval(node: &Node, is_runway: bool) -> Result<Duration, Diagnostic> {
    if !is_runway {
        return duration(LOOPBACK_POLL_FLOOR)(node);
    }
    let interval = duration(Duration::ZERO)(node)?;
    if interval < POLL_FLOOR {
        return duration(POLL_FLOOR)(node).map_err(|problem| Diagnostic {
            hint: format!(
                "{}, since Runway asks for no more than one request per task every 5 s",
                problem.hint
            ),
            ..problem
        });
    }
    Ok(interval)
}

/// A base URL without its `/v1`. Its text is not repeated in problems, since it may hold a password.
fn parse_base_url(text: &str) -> Result<Url, Diagnostic> {
    const HINT: &str = "write it like `https://api.dev.runwayml.com`";
    let mut url = Url::parse(text.trim())
        .map_err(|error| Diagnostic::new(format!("is not a URL: {error}"), HINT))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(Diagnostic::new(
                "is a plain `http` URL, over which the API key could be read on its way",
                "write `https://`; `http://` is accepted for this machine only (127.0.0.1, ::1, localhost)",
            ));
        }
        other => {
            return Err(Diagnostic::new(
                format!("begins with `{other}:` and not with `https://`"),
                HINT,
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Diagnostic::new(
            "contains a user name or a password",
            "leave them out; the key comes from `api_key_file` or the environment",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Diagnostic::new("has something after `?` or `#`", HINT));
    }
    let path = url.path().trim_end_matches('/');
    let path = path
        .strip_suffix("/v1")
        .unwrap_or(path)
        .trim_end_matches('/')
        .to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A date as the header `X-Runway-Version` takes it.
fn parse_api_version(node: &Node) -> Result<String, Diagnostic> {
    let text = text(node)?;
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape == "0000-00-00" {
        Ok(text.to_owned())
    } else {
        Err(Diagnostic::new(
            format!("is not a version of the API: `{text}`"),
            format!("write a date such as `\"{API_VERSION}\"`"),
        ))
    }
}

fn parse_at_least_one(node: &Node) -> Result<NonZeroU32, Diagnostic> {
    let number = match node {
        Node::Int(number) => u32::try_from(*number).ok().and_then(NonZeroU32::new),
        Node::Null
        | Node::Bool(_)
        | Node::UInt(_)
        | Node::Float(_)
        | Node::Str(_)
        | Node::Seq(_)
        | Node::Map(_) => None,
    };
    number.ok_or_else(|| {
        Diagnostic::new(
            "must be a whole number of at least 1",
            "write a number such as `3`",
        )
    })
}
