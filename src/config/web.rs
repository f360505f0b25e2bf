//! The configuration's `web`: the status page.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{Section, text};
use crate::diagnostic::Diagnostic;
use crate::yaml::Node;

/// Where the status page is, and who may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    /// Where it listens; `None` if it is off.
    pub listen: Option<SocketAddr>,
    /// The file with the token that a visitor needs, absolute. There is one unless only this machine can reach the
    /// address.
    pub token_file: Option<PathBuf>,
    /// Names of this machine, besides its loopback names and the address itself, that a browser may use for it; in lower
    /// case, without a port.
    pub hosts: Vec<String>,
}

pub(super) fn read(section: &mut Section<'_, '_>) -> Web {
    let web = Web {
        listen: section.take("listen", parse_listen).flatten(),
        token_file: section.take_path("token_file"),
        hosts: section.take_list("hosts", "a name of `hosts`", parse_host),
    };
    if section.has("token_file") {
        return web;
    }
    const MAKE_A_TOKEN: &str = "name a file with a token that only this user can read (`token_file: /etc/taxiway/web-token`, made with \
                                `openssl rand -hex 32`)";
    if let Some(address) = web.listen.filter(|address| !address.ip().is_loopback()) {
        section.report(
            "listen",
            format!(
                "`listen: {address}` can be reached from other machines, and nothing keeps strangers out"
            ),
            format!("{MAKE_A_TOKEN}, or listen on 127.0.0.1"),
        );
    } else if web.listen.is_some() && !web.hosts.is_empty() {
        section.report(
            "hosts",
            "`hosts` names what other machines ask for through a proxy, and nothing keeps strangers out",
            format!(
                "{MAKE_A_TOKEN}; a proxy that asks for passwords itself can send it as `Authorization: Bearer TOKEN`"
            ),
        );
    }
    web
}

/// A machine's name as it is written in an address, without a port.
fn parse_host(node: &Node) -> Result<String, Diagnostic> {
    let text = text(node)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || !text.chars().all(plain) {
        return Err(Diagnostic::new(
            format!("is not the name of a machine: `{text}`"),
            "write a name alone, such as `studio.example`",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// `off`, or an address and port.
fn parse_listen(node: &Node) -> Result<Option<SocketAddr>, Diagnostic> {
    const HINT: &str = "write an address and a port such as `127.0.0.1:7878`, or `off`";
    let Node::Str(text) = node else {
        let message = format!("is {} and not an address", node.describe());
        return Err(Diagnostic::new(message, HINT));
    };
    if text == "off" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Diagnostic::new(format!("is not an address with a port: `{text}`"), HINT))
}
