//! The configuration's `notify`: who is notified of what.

use std::path::PathBuf;

use url::Url;

use super::reader::{Section, choice, credits, text};
use crate::diagnostic::Diagnostic;
use crate::runway::is_loopback;
use crate::status::notice::Kind;
use crate::yaml::Node;

/// Who is notified of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// The kinds of notices that are sent.
    pub on: Vec<Kind>,
    /// A program and its arguments; empty for none.
    pub command: Vec<String>,
    /// Where a webhook is sent to, and the file with the secret that signs it.
    pub webhook: Option<(Url, PathBuf)>,
    /// The balance, in credits, below which a notice is sent.
    pub low_balance: Option<f64>,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            on: vec![Kind::Failed, Kind::InDoubt, Kind::LowBalance, Kind::Frozen],
            command: Vec::new(),
            webhook: None,
            low_balance: None,
        }
    }
}

pub(super) fn read(section: &mut Section<'_, '_>) -> Notify {
    let on = section.take_list("on", "`on`", choice(&Kind::ALL));
    let command = section.take_list("command", "a word of `command`", |node| {
        let word = text(node).map_err(|problem| Diagnostic {
            hint:
                "write the program and its arguments one by one: `[/usr/local/bin/tell, --urgent]`"
                    .to_owned(),
            ..problem
        })?;
        Ok(word.to_owned())
    });
    let url = section.take("webhook", parse_webhook);
    let secret = section.take_path("webhook_secret_file");
    if url.is_some() && !section.has("webhook_secret_file") {
        section.report(
            "webhook",
            "`webhook` has no secret to sign with",
            "add `webhook_secret_file: /the/file`, with `whsec_` and base64 of 24 to 64 random bytes in it",
        );
    }
    Notify {
        on: if section.has("on") {
            on
        } else {
            Notify::default().on
        },
        command,
        webhook: url.zip(secret),
        low_balance: section.take("low_balance", credits),
    }
}

/// An address that notices are sent to: https, or this machine.
fn parse_webhook(node: &Node) -> Result<Url, Diagnostic> {
    const HINT: &str = "write an address such as `https://example.com/hook`";
    let url = Url::parse(text(node)?)
        .map_err(|error| Diagnostic::new(format!("is not an address: {error}"), HINT))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Diagnostic::new(
            "is plain http, which anybody on the way can read",
            "use https; plain http is for this machine only",
        )),
        _ => Err(Diagnostic::new("is neither https nor http", HINT)),
    }
}
