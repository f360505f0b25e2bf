//! What holds for any configuration. See [`crate::fuzzing`].

use std::path::{Path, PathBuf};

use super::load::read;
use super::runway::POLL_FLOOR;
use super::surroundings::Surroundings;
use super::units::{parse_duration, show_duration};
use super::{Config, ConfigError, merge};
use crate::files::mounts::Mount;
use crate::fuzzing::has_place;
use crate::runway::is_loopback;
use crate::yaml::{self, Node};

const FILE: &str = "/srv/studio/taxiway.yaml";

/// Keys that the configuration does not have, and that people may give a secret as a value.
const SECRET_KEYS: [&str; 5] = ["api_key", "key", "password", "secret", "token"];

/// Shorter ones may be part of the message's own text by chance.
const SHORTEST_SECRET: usize = 10;

/// All problems have a place in the file, the same text means the same, secrets are not repeated, and in a configuration
/// that is accepted everything fits together.
///
/// # Panics
/// Where that does not hold.
pub fn configuration(bytes: &[u8]) {
    let first = read(bytes, Path::new(FILE), &|_| None, &surroundings());
    let again = read(bytes, Path::new(FILE), &|_| None, &surroundings());
    match (first, again) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again, "the same text has two meanings");
            assert!(merge(&config, again).1.is_empty());
            fits(&config);
        }
        (Err(error), Err(again)) => {
            let words = error.to_string();
            assert_eq!(words, again.to_string(), "the same text has two meanings");
            keeps_secrets(bytes, &words);
            let ConfigError::Invalid(problems) = error else {
                panic!("{words}");
            };
            assert!(!problems.is_empty(), "wrong without a problem");
            let mut more = false;
            for problem in &problems {
                assert!(!problem.message.is_empty() && !problem.hint.is_empty());
                match problem.place {
                    Some(place) => assert!(has_place(bytes, place), "no such place: {words}"),
                    // Nothing comes from the environment here; only the number of problems left out has no place.
                    None => {
                        assert!(!more && problems.len() > 50, "without a place: {words}");
                        more = true;
                    }
                }
            }
        }
        (one, other) => panic!("the same text is {one:?} and {other:?}"),
    }
}

/// A share, a planned mount, and one folder that is a link.
fn surroundings() -> Surroundings<'static> {
    let mount = |point: &str, kind: &str| Mount {
        point: point.into(),
        kind: kind.to_owned(),
        source: String::new(),
    };
    Surroundings {
        mounts: vec![mount("/", "ext4"), mount("/mnt/share", "cifs")],
        read_link: &|path| {
            (path == Path::new("/srv/studio/link")).then(|| PathBuf::from("../elsewhere"))
        },
        writable: &|path| !path.starts_with("/etc"),
    }
}

fn fits(config: &Config) {
    assert!(config.state_dir.is_absolute());
    assert!(!config.inboxes.is_empty());
    assert!(config.runway.poll_interval >= POLL_FLOOR || is_loopback(&config.runway.base_url));
    assert!(config.runway.base_url.scheme() == "https" || is_loopback(&config.runway.base_url));
    assert!(config.runway.base_url.password().is_none());
    for duration in [Some(config.runway.poll_interval)]
        .into_iter()
        .chain(
            config
                .inboxes
                .iter()
                .flat_map(|inbox| [inbox.scan_interval, inbox.settle, Some(inbox.pair_wait)]),
        )
        .flatten()
    {
        assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
    }
    for (index, inbox) in config.inboxes.iter().enumerate() {
        let folders = [
            &inbox.path,
            &inbox.folders.working,
            &inbox.folders.outbox,
            &inbox.folders.originals,
            &inbox.folders.failed,
        ];
        for (number, folder) in folders.iter().enumerate() {
            assert!(folder.is_absolute(), "{folder:?}");
            assert!(
                !folders.iter().skip(number + 1).any(|other| other == folder),
                "one folder for two purposes: {folder:?}"
            );
        }
        for other in config.inboxes.iter().skip(index + 1) {
            assert!(other.name != inbox.name && other.path != inbox.path);
        }
    }
}

/// No secret gets into a message, since messages end up in logs and in questions to others.
fn keeps_secrets(bytes: &[u8], words: &str) {
    let text = String::from_utf8_lossy(bytes);
    let secrets: Vec<String> = match yaml::parse_bytes(bytes) {
        Ok(document) => secrets(document.root()),
        Err(_) => text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("key_") && word.len() >= 20)
            .map(str::to_owned)
            .collect(),
    };
    for secret in secrets {
        // One that is elsewhere, too, may be shown from there.
        if secret.len() >= SHORTEST_SECRET && text.matches(&secret).count() == 1 {
            assert!(
                !words.contains(&secret),
                "the secret {secret} is shown: {words}"
            );
        }
    }
}

fn secrets(root: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let text = |node: Option<&Node>| match node {
        Some(Node::Str(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    for section in [Some(root), root.get("runway")].into_iter().flatten() {
        for key in SECRET_KEYS {
            found.extend(text(section.get(key)));
        }
    }
    for address in [
        text(root.get("journal")),
        root.get("runway")
            .and_then(|runway| text(runway.get("base_url"))),
    ]
    .into_iter()
    .flatten()
    {
        // As it is written: `user:password@host`.
        let password = address
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'))
            .and_then(|(user, _)| user.split_once(':'))
            .map(|(_, password)| password.to_owned());
        found.extend(password);
    }
    found
}
