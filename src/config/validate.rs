//! From a YAML document to a [`Config`]: every key, and how the folders fit together.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::error::Problem;
use super::fit::{Read, names, overlaps};
use super::reader::{
    Reader, Section, Wrong, boolean, choice, credits, duration, normal, or_auto, path, size, text,
};
use super::surroundings::Surroundings;
use super::{
    Config, Configured, Defaults, Env, Inbox, JournalKind, Limits, MAX_INPUT_SIZE, MaxInFlight,
    Notify, OnDoubt, OnSuccess, PAIR_WAIT, POLL_FLOOR, Runway, Watch, Web, is_loopback,
    place_folders, status_file, variable,
};
use crate::policy::budget::SpendLimits;
use crate::status::notice::Kind;
use crate::yaml::{Document, Node, to_json};

const TOP: [&str; 7] = [
    "state_dir",
    "journal",
    "runway",
    "inboxes",
    "limits",
    "notify",
    "web",
];
const NOTIFY: [&str; 5] = [
    "on",
    "command",
    "webhook",
    "webhook_secret_file",
    "low_balance",
];
const RUNWAY: [&str; 8] = [
    "base_url",
    "api_version",
    "api_key_file",
    "poll_interval",
    "max_in_flight",
    "on_doubt",
    "catalogue",
    "allow_unknown_models",
];
const INBOX: [&str; 16] = [
    "name",
    "path",
    "working",
    "outbox",
    "originals",
    "failed",
    "watch",
    "scan_interval",
    "settle",
    "pair_wait",
    "on_success",
    "status_file",
    "done_marker",
    "limits",
    "ignore",
    "defaults",
];
const LIMITS: [&str; 3] = ["credits_per_day", "credits_per_month", "max_input_size"];
const INBOX_LIMITS: [&str; 2] = ["credits_per_day", "credits_per_month"];
const WEB: [&str; 3] = ["listen", "token_file", "hosts"];

/// Every key of every mapping, for the test that the example shows them all.
#[cfg(test)]
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    TOP.into_iter()
        .chain(RUNWAY)
        .chain(INBOX)
        .chain(LIMITS)
        .chain(WEB)
}

/// The shortest wait that makes sense: below it the daemon would do nothing but look.
const SHORTEST: Duration = Duration::from_millis(100);

/// The shortest time between two polls of a simulator.
const LOOPBACK_POLL_FLOOR: Duration = Duration::from_millis(10);

/// Reads all of a configuration.
///
/// # Errors
/// All problems, in the order of the text.
pub(super) fn validate(
    document: Arc<Document>,
    file: &Path,
    env: Env<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Config, Vec<Problem>> {
    let shared = Arc::clone(&document);
    let mut reader = Reader::new(&document);
    let base = file.parent().unwrap_or(Path::new("/"));
    let root = reader.root(&TOP);

    let state_dir = reader.take(&root, "state_dir", path(base));
    let state_dir = state_dir.unwrap_or_else(|| default_state_dir(env, base));
    let journal = reader
        .take(&root, "journal", journal)
        .unwrap_or(JournalKind::Sqlite);
    let section = reader.section(&root, "runway", &RUNWAY);
    let runway = runway(&mut reader, &section, base, env);
    let inboxes = inboxes(&mut reader, &root, base, surroundings, &shared);
    let section = reader.section(&root, "limits", &LIMITS);
    let limits = Limits {
        spending: spending(&mut reader, &section),
        max_input_size: reader
            .take(&section, "max_input_size", size)
            .unwrap_or(MAX_INPUT_SIZE),
    };
    let section = reader.section(&root, "notify", &NOTIFY);
    let notify = notify(&mut reader, &section, base);
    let section = reader.section(&root, "web", &WEB);
    let web = web(&mut reader, &section, base);

    names(&mut reader, &inboxes);
    overlaps(&mut reader, &root, &state_dir, file, &inboxes, surroundings);

    let problems = reader.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Config {
        file: Some(file.to_owned()),
        state_dir,
        journal,
        runway,
        inboxes: inboxes.into_iter().map(|read| read.inbox).collect(),
        limits,
        notify,
        web,
    })
}

/// `$STATE_DIRECTORY`, which systemd sets and which may list several, else `.taxiway` beside the configuration.
fn default_state_dir(env: Env<'_>, base: &Path) -> PathBuf {
    variable(env, "STATE_DIRECTORY")
        .and_then(|folders| std::env::split_paths(&folders).next())
        .map_or_else(
            || base.join(".taxiway"),
            |folder| normal(&base.join(folder)),
        )
}

fn journal(node: &Node) -> Result<JournalKind, Wrong> {
    const HINT: &str = "write `sqlite`, or delete the line";
    let text = text(node)?;
    if text == "sqlite" {
        Ok(JournalKind::Sqlite)
    } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Err(Wrong::new(
            "names a PostgreSQL database, which this version cannot use yet",
            HINT,
        ))
    } else if text.contains("://") {
        // A URL may hold a password, so that it is not repeated, however it begins.
        Err(Wrong::new("names a database, which cannot be used", HINT))
    } else {
        Err(Wrong::new(format!("cannot be `{text}`"), HINT))
    }
}

fn runway(reader: &mut Reader<'_>, section: &Section<'_>, base: &Path, env: Env<'_>) -> Runway {
    let default = Runway::default();
    let base_url = match section.get("base_url") {
        Some(_) => reader.take(section, "base_url", |node| base_url(text(node)?)),
        None => match variable(env, "RUNWAYML_BASE_URL") {
            Some(value) => match base_url(&value.to_string_lossy()) {
                Ok(url) => Some(url),
                Err(wrong) => {
                    reader.outside(
                        format!("the environment variable RUNWAYML_BASE_URL {}", wrong.what),
                        wrong.hint,
                    );
                    None
                }
            },
            None => Some(default.base_url.clone()),
        },
    };
    // With a base URL that could not be read the lower floor holds, so that one mistake is not told as two.
    let floor = match &base_url {
        Some(url) if !is_loopback(url) => POLL_FLOOR,
        Some(_) | None => LOOPBACK_POLL_FLOOR,
    };
    let poll_interval = reader.take(section, "poll_interval", |node| {
        duration(floor)(node).map_err(|wrong| {
            if floor == POLL_FLOOR && wrong.what.starts_with("is too short") {
                Wrong::new(
                    wrong.what,
                    format!(
                        "{}, since Runway asks for no more than one request per task every 5 s",
                        wrong.hint
                    ),
                )
            } else {
                wrong
            }
        })
    });
    Runway {
        base_url: base_url.unwrap_or(default.base_url),
        api_version: reader
            .take(section, "api_version", api_version)
            .unwrap_or(default.api_version),
        api_key_file: reader.take(section, "api_key_file", path(base)),
        poll_interval: poll_interval.unwrap_or(default.poll_interval),
        max_in_flight: reader
            .take(section, "max_in_flight", or_auto(at_least_one))
            .flatten()
            .map_or(MaxInFlight::Auto, MaxInFlight::Fixed),
        on_doubt: reader
            .take(
                section,
                "on_doubt",
                choice(&[("hold", OnDoubt::Hold), ("resubmit", OnDoubt::Resubmit)]),
            )
            .unwrap_or(default.on_doubt),
        catalogue: reader.take(section, "catalogue", path(base)),
        allow_unknown_models: reader
            .take(section, "allow_unknown_models", boolean)
            .unwrap_or(false),
    }
}

/// A base URL without its `/v1`. Its text is not repeated in problems, since it may hold a password.
fn base_url(text: &str) -> Result<Url, Wrong> {
    const HINT: &str = "write it like `https://api.dev.runwayml.com`";
    let mut url =
        Url::parse(text.trim()).map_err(|error| Wrong::new(format!("is no URL: {error}"), HINT))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(Wrong::new(
                "is a plain `http` URL, over which the API key could be read on its way",
                "write `https://`; `http://` is accepted for this machine only (127.0.0.1, ::1, localhost)",
            ));
        }
        other => {
            return Err(Wrong::new(
                format!("begins with `{other}:` and not with `https://`"),
                HINT,
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new(
            "holds a user name or a password",
            "leave them out; the key comes from `api_key_file` or the environment",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("has something after `?` or `#`", HINT));
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
fn api_version(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape == "0000-00-00" {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            format!("is no version of the API: `{text}`"),
            format!("write a date such as `\"{}\"`", super::API_VERSION),
        ))
    }
}

fn at_least_one(node: &Node) -> Result<NonZeroU32, Wrong> {
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
        Wrong::new(
            "must be a whole number of at least 1",
            "write a number such as `3`",
        )
    })
}

fn web<'d>(reader: &mut Reader<'d>, section: &Section<'d>, base: &Path) -> Web {
    let listen = reader.take(section, "listen", listen).flatten();
    let token_file = reader.take(section, "token_file", path(base));
    let mut hosts = Vec::new();
    for (way, node) in reader.items(section, "hosts") {
        match host(node) {
            Ok(name) => hosts.push(name),
            Err(wrong) => reader.problem(
                &way,
                format!("a name of `hosts` {}", wrong.what),
                wrong.hint,
            ),
        }
    }
    if let Some(address) = listen
        && !address.ip().is_loopback()
        && section.get("token_file").is_none()
    {
        reader.problem(
            &section.way("listen"),
            format!(
                "`listen: {address}` can be reached from other machines, and nothing keeps strangers out"
            ),
            "name a file with a token that only this user can read (`token_file: /etc/taxiway/web-token`, made with \
             `openssl rand -hex 32`), or listen on 127.0.0.1",
        );
    }
    if listen.is_some_and(|address| address.ip().is_loopback())
        && !hosts.is_empty()
        && section.get("token_file").is_none()
    {
        reader.problem(
            &section.way("hosts"),
            "`hosts` names what other machines ask for by way of a proxy, and nothing keeps strangers out".to_owned(),
            "name a file with a token that only this user can read (`token_file: /etc/taxiway/web-token`, made with \
             `openssl rand -hex 32`); a proxy that asks for passwords itself can send it as `Authorization: Bearer TOKEN`",
        );
    }
    Web {
        listen,
        token_file,
        hosts,
    }
}

/// A machine's name as it stands in an address, without a port.
fn host(node: &Node) -> Result<String, Wrong> {
    const HINT: &str = "write a name alone, such as `studio.example`";
    let text = text(node)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || !text.chars().all(plain) {
        return Err(Wrong::new(format!("is no machine's name: `{text}`"), HINT));
    }
    Ok(text.to_ascii_lowercase())
}

/// `off`, or an address and port.
fn listen(node: &Node) -> Result<Option<SocketAddr>, Wrong> {
    const HINT: &str = "write an address and a port such as `127.0.0.1:7878`, or `off`";
    match node {
        Node::Str(text) if text == "off" => Ok(None),
        Node::Str(text) => text
            .parse()
            .map(Some)
            .map_err(|_| Wrong::new(format!("is no address with a port: `{text}`"), HINT)),
        Node::Null
        | Node::Bool(_)
        | Node::Int(_)
        | Node::UInt(_)
        | Node::Float(_)
        | Node::Seq(_)
        | Node::Map(_) => Err(Wrong::new(
            format!("is {} and no address", node.describe()),
            HINT,
        )),
    }
}

fn inboxes<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    base: &Path,
    surroundings: &Surroundings<'_>,
    document: &Arc<Document>,
) -> Vec<Read> {
    let items = reader.items(root, "inboxes");
    let none = match root.get("inboxes") {
        // A document that is no mapping has been noted as such.
        None => matches!(document.root(), Node::Map(_)),
        Some(node) => matches!(node, Node::Null | Node::Seq(_)) && items.is_empty(),
    };
    if none {
        let path = root
            .get("inboxes")
            .map_or_else(Vec::new, |_| root.way("inboxes"));
        reader.problem(
            &path,
            "no inbox is configured, so that there is nothing to watch",
            "add `inboxes:` and below it `  - path: /the/folder`",
        );
    }
    items
        .into_iter()
        .filter_map(|(path, node)| {
            let section = reader.mapping("an inbox", path, node, &INBOX);
            inbox(reader, &section, node, base, surroundings, document)
        })
        .collect()
}

/// Who is told of what.
fn notify<'d>(reader: &mut Reader<'d>, section: &Section<'d>, base: &Path) -> Notify {
    let plain = Notify::default();
    let on = match section.get("on") {
        None => plain.on,
        Some(_) => {
            let mut kinds = Vec::new();
            for (path, node) in reader.items(section, "on") {
                match choice(&Kind::ALL)(node) {
                    Ok(kind) => kinds.push(kind),
                    Err(wrong) => reader.problem(&path, format!("`on` {}", wrong.what), wrong.hint),
                }
            }
            kinds
        }
    };
    let mut command = Vec::new();
    for (path, node) in reader.items(section, "command") {
        match text(node) {
            Ok(word) => command.push(word.to_owned()),
            Err(wrong) => reader.problem(
                &path,
                format!("a word of `command` {}", wrong.what),
                "write the program and its arguments one by one: `[/usr/local/bin/tell, --urgent]`",
            ),
        }
    }
    let url = reader.take(section, "webhook", webhook);
    let secret = reader.take(section, "webhook_secret_file", path(base));
    let webhook = match (url, secret) {
        (Some(url), Some(secret)) => Some((url, secret)),
        (Some(_), None) if section.get("webhook_secret_file").is_none() => {
            reader.problem(
                &section.way("webhook"),
                "`webhook` has no secret to sign with",
                "add `webhook_secret_file: /the/file`, with `whsec_` and base64 of 24 to 64 random bytes in it",
            );
            None
        }
        _ => None,
    };
    Notify {
        on,
        command,
        webhook,
        low_balance: reader.take(section, "low_balance", credits),
    }
}

/// An address that notices are sent to: https, or this machine.
fn webhook(node: &Node) -> Result<Url, Wrong> {
    const HINT: &str = "write an address such as `https://example.com/hook`";
    let text = text(node)?;
    let url =
        Url::parse(text).map_err(|error| Wrong::new(format!("is no address: {error}"), HINT))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Wrong::new(
            "is plain http, which anybody on the way can read",
            "use https; plain http is for this machine only",
        )),
        _ => Err(Wrong::new("is neither https nor http", HINT)),
    }
}

/// The limits on spending that a section names.
fn spending(reader: &mut Reader<'_>, section: &Section<'_>) -> SpendLimits {
    SpendLimits {
        per_day: reader.take(section, "credits_per_day", credits),
        per_month: reader.take(section, "credits_per_month", credits),
    }
}

/// One inbox; nothing if it is unknown where it lies, which is noted.
fn inbox<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    node: &Node,
    base: &Path,
    surroundings: &Surroundings<'_>,
    document: &Arc<Document>,
) -> Option<Read> {
    let folder = reader.take(section, "path", path(base));
    let name = reader.take(section, "name", name);
    let configured = Configured {
        working: reader.take(section, "working", path(base)),
        outbox: reader.take(section, "outbox", path(base)),
        originals: reader.take(section, "originals", path(base)),
        failed: reader.take(section, "failed", path(base)),
    };
    let watch = reader.take(
        section,
        "watch",
        choice(&[
            ("auto", Watch::Auto),
            ("events", Watch::Events),
            ("scan", Watch::Scan),
        ]),
    );
    let scan_interval = reader.take(section, "scan_interval", or_auto(duration(SHORTEST)));
    let settle = reader.take(section, "settle", or_auto(duration(SHORTEST)));
    let pair_wait = reader.take(section, "pair_wait", duration(Duration::ZERO));
    let marker_required = reader
        .take(
            section,
            "done_marker",
            choice(&[("optional", false), ("required", true)]),
        )
        .unwrap_or(false);
    let on_success = reader.take(
        section,
        "on_success",
        choice(&[("keep", OnSuccess::Keep), ("delete", OnSuccess::Delete)]),
    );
    let has_status_file = reader
        .take(
            section,
            "status_file",
            choice(&[("auto", true), ("off", false)]),
        )
        .unwrap_or(true);
    let own_limits = reader.section(section, "limits", &INBOX_LIMITS);
    let limits = spending(reader, &own_limits);
    let ignore = ignore(reader, section);
    let defaults = defaults(reader, section, document);

    if section.get("path").is_none() && matches!(node, Node::Map(_)) {
        reader.problem(
            &section.path,
            "this inbox has no `path`",
            "add `path: /the/folder`",
        );
    }
    let folder = folder?;
    let named = name.is_some();
    let name = name.unwrap_or_else(|| {
        folder
            .file_name()
            .unwrap_or(folder.as_os_str())
            .to_string_lossy()
            .into_owned()
    });
    let resolved = surroundings.resolve(&folder);
    let mount_point = surroundings.is_mount_point(&resolved);
    let parent_writable = surroundings.parent_writable(&resolved);
    let place = |mount_point| {
        let folders = place_folders(&folder, configured.clone(), mount_point, parent_writable);
        let status_file = status_file(&folder, mount_point, parent_writable);
        (folders, has_status_file.then_some(status_file))
    };
    let (folders, status_file) = place(mount_point);
    let on_mount = place(true);
    Some(Read {
        inbox: Inbox {
            name,
            path: folder,
            folders,
            watch: watch.unwrap_or(Watch::Auto),
            scan_interval: scan_interval.flatten(),
            settle: settle.flatten(),
            marker_required,
            pair_wait: pair_wait.unwrap_or(PAIR_WAIT),
            on_success: on_success.unwrap_or(OnSuccess::Keep),
            limits,
            status_file,
            on_mount,
            ignore,
            defaults,
        },
        path: section.path.clone(),
        named,
        configured,
    })
}

fn name(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    if text.chars().count() > 64 {
        return Err(Wrong::new(
            "has more than 64 characters",
            "write a shorter one",
        ));
    }
    Ok(text.to_owned())
}

fn ignore<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Vec<String> {
    let mut patterns = Vec::new();
    for (path, node) in reader.items(section, "ignore") {
        match pattern(node) {
            Ok(pattern) => patterns.push(pattern),
            Err(wrong) => reader.problem(
                &path,
                format!("a pattern of `ignore` {}", wrong.what),
                wrong.hint,
            ),
        }
    }
    patterns
}

fn pattern(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(
            format!("cannot be understood: {}", error.kind()),
            "write a name with `*` and `?` in it, between quotes: `\"*.bak\"`",
        )),
    }
}

fn defaults(reader: &mut Reader<'_>, section: &Section<'_>, document: &Arc<Document>) -> Defaults {
    match section.get("defaults").map(|node| (node, to_json(node))) {
        None | Some((Node::Null, _)) => Defaults::default(),
        Some((_, Value::Object(values))) => Defaults {
            values,
            source: Some((Arc::clone(document), section.way("defaults"))),
        },
        Some((node, _)) => {
            reader.problem(
                &section.way("defaults"),
                format!("`defaults` is {}, and must be a mapping", node.describe()),
                "write the keys of a sidecar below it: `defaults: { model: gen4_turbo, duration: 5 }`",
            );
            Defaults::default()
        }
    }
}
