#![allow(clippy::unwrap_used, clippy::expect_used)]

mod folders;

use std::collections::HashMap;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::load::read;
use super::surroundings::Surroundings;
use super::*;
use crate::diagnostic::{Diagnostic, Place};
use crate::files::mounts::Mount;
use crate::json::Step;
use crate::policy::budget::SpendLimits;

/// A machine with a root, a share, a planned share and a bind mount, whose `/ro` cannot be written.
fn machine() -> Surroundings<'static> {
    let mount = |point: &str, kind: &str| Mount {
        point: point.into(),
        kind: kind.to_owned(),
        source: String::new(),
    };
    Surroundings {
        mounts: vec![
            mount("/", "ext4"),
            mount("/mnt/nas", "cifs"),
            mount("/mnt/planned", "nfs4"),
            mount("/data/inbox", "ext4"),
        ],
        read_link: &|path| (path == Path::new("/link")).then(|| "/srv".into()),
        writable: &|path| !path.starts_with("/ro"),
    }
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Diagnostic>> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let env = |name: &str| variables.get(name).map(OsString::from);
    read(
        text.as_bytes(),
        Path::new("/etc/taxiway/taxiway.yaml"),
        &env,
        &machine(),
    )
    .map_err(|error| match error {
        ConfigError::Invalid(problems) => problems,
        ConfigError::NotFound { .. } | ConfigError::Unreadable { .. } => panic!("{error}"),
    })
}

fn good(text: &str) -> Config {
    read_with(text, &[]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The problems of a text, each as its line and column and its words.
fn bad(text: &str) -> Vec<(Option<Place>, String)> {
    read_with(text, &[])
        .expect_err("there are problems")
        .into_iter()
        .map(|problem| {
            (
                problem.place,
                format!("{}; {}", problem.message, problem.hint),
            )
        })
        .collect()
}

/// Asserts that a text has one problem, at a place, that says these words.
fn one(text: &str, line: usize, column: usize, words: &[&str]) {
    let problems = bad(text);
    let [(place, what)] = problems.as_slice() else {
        panic!("one problem: {problems:#?}")
    };
    assert_eq!(*place, Some(Place { line, column }), "{what}");
    for word in words {
        assert!(what.contains(word), "{word:?} is in {what:?}");
    }
}

const INBOX: &str = "inboxes: [{ path: /srv/studio/inbox }]\n";

fn with(text: &str) -> String {
    format!("{INBOX}{text}")
}

#[test]
fn the_contracts_example_is_read_to_the_letter() {
    let config = good(
        r#"
state_dir: /var/lib/taxiway
journal: sqlite
runway:
  base_url: https://api.dev.runwayml.com
  api_version: "2024-11-06"
  api_key_file: /etc/taxiway/api-key
  poll_interval: 5s
  max_in_flight: auto
  on_doubt: hold
inboxes:
  - name: studio
    path: /srv/studio/inbox
    outbox: /srv/studio/outbox
    watch: auto
    scan_interval: auto
    settle: auto
    pair_wait: 10s
    on_success: keep
    defaults: { model: gen4_turbo, ratio: "1280:720", duration: 5 }
limits:
  credits_per_day: 500
  max_input_size: 200MB
web:
  listen: 127.0.0.1:7878
"#,
    );
    let values = json!({"model": "gen4_turbo", "ratio": "1280:720", "duration": 5});
    let expected = Config {
        file: Some("/etc/taxiway/taxiway.yaml".into()),
        state_dir: "/var/lib/taxiway".into(),
        journal: JournalKind::Sqlite,
        runway: Runway {
            api_key_file: Some("/etc/taxiway/api-key".into()),
            ..Runway::default()
        },
        notify: Notify::default(),
        inboxes: vec![Inbox {
            name: "studio".to_owned(),
            path: "/srv/studio/inbox".into(),
            folders: Folders {
                working: "/srv/studio/working".into(),
                outbox: "/srv/studio/outbox".into(),
                originals: "/srv/studio/originals".into(),
                failed: "/srv/studio/failed".into(),
            },
            watch: Watch::Auto,
            scan_interval: None,
            settle: None,
            marker_required: false,
            limits: SpendLimits::default(),
            pair_wait: Duration::from_secs(10),
            on_success: OnSuccess::Keep,
            status_file: Some("/srv/studio/STATUS.html".into()),
            on_mount: config.inboxes[0].on_mount.clone(),
            ignore: Vec::new(),
            defaults: Defaults {
                values: values.as_object().unwrap().clone(),
                source: None,
            },
        }],
        limits: Limits {
            spending: SpendLimits {
                per_day: Some(500.0),
                per_month: None,
            },
            max_input_size: 200_000_000,
        },
        web: Web {
            listen: Some("127.0.0.1:7878".parse().unwrap()),
            ..Web::default()
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn an_inbox_alone_is_a_configuration() {
    let config = good(INBOX);
    assert_eq!(config.runway, Runway::default());
    assert_eq!(
        config.runway.base_url.as_str(),
        "https://api.dev.runwayml.com/"
    );
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.web, Web::default());
    assert_eq!(config.state_dir, Path::new("/etc/taxiway/.taxiway"));
    assert_eq!(config.inboxes[0].name, "inbox");
}

#[test]
fn every_value_can_be_something_else() {
    let config = good(
        "runway: { max_in_flight: 3, on_doubt: resubmit, poll_interval: 1m, catalogue: my.json,\n\
         \x20 allow_unknown_models: true, api_version: 2025-01-02 }\n\
         inboxes:\n\
         \x20 - { path: ../in, watch: scan, scan_interval: 2s, settle: 500ms, pair_wait: 0s, on_success: delete,\n\
         \x20     ignore: ['*.bak'], working: /w, originals: ./orig, failed: /f }\n\
         limits: { credits_per_day: 0.5, max_input_size: 64MiB }\n\
         web: { listen: off }\n",
    );
    assert_eq!(
        config.runway.max_in_flight,
        MaxInFlight::Fixed(NonZeroU32::new(3).unwrap())
    );
    assert_eq!(config.runway.on_doubt, OnDoubt::Resubmit);
    assert_eq!(config.runway.poll_interval, Duration::from_secs(60));
    assert_eq!(
        config.runway.catalogue.as_deref(),
        Some(Path::new("/etc/taxiway/my.json"))
    );
    assert!(config.runway.allow_unknown_models);
    assert_eq!(config.runway.api_version, "2025-01-02");
    let inbox = &config.inboxes[0];
    assert_eq!(inbox.path, Path::new("/etc/in"));
    assert_eq!(
        (inbox.watch, inbox.on_success),
        (Watch::Scan, OnSuccess::Delete)
    );
    assert_eq!(inbox.scan_interval, Some(Duration::from_secs(2)));
    assert_eq!(inbox.settle, Some(Duration::from_millis(500)));
    assert_eq!(inbox.pair_wait, Duration::ZERO);
    assert_eq!(inbox.ignore, ["*.bak"]);
    assert_eq!(inbox.folders.originals, Path::new("/etc/taxiway/orig"));
    assert_eq!(inbox.folders.outbox, Path::new("/etc/outbox"));
    assert_eq!(
        config.limits,
        Limits {
            spending: SpendLimits {
                per_day: Some(0.5),
                per_month: None
            },
            max_input_size: 64 << 20
        }
    );
    assert_eq!(config.web, Web::default());
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_text() {
    let text = "runway:\n  poll_intervall: 5s\n  on_doubt: holt\ninboxes:\n  - path: 5\n  - nme: x\nlimits:\n  credits_per_day: -1\nwebb: 1\n";
    let problems = bad(text);
    let places: Vec<_> = problems
        .iter()
        .map(|(place, _)| place.map(|at| (at.line, at.column)))
        .collect();
    assert_eq!(
        places,
        [
            Some((2, 3)),
            Some((3, 13)),
            Some((5, 11)),
            Some((6, 5)),
            Some((6, 5)),
            Some((8, 20)),
            Some((9, 1))
        ],
        "{problems:#?}"
    );
    for (index, words) in [
        "did you mean `poll_interval`",
        "did you mean `hold`",
        "`path` is a whole number",
        "did you mean `name`",
        "no `path`",
        "less than 0",
        "did you mean `web`",
    ]
    .iter()
    .enumerate()
    {
        assert!(
            problems.iter().any(|(_, what)| what.contains(words)),
            "{index} {words} {problems:#?}"
        );
    }
}

#[test]
fn a_problem_is_shown_with_file_line_column_and_a_hint() {
    let error = read(
        b"inboxes: [{ path: /srv/in }]\nstate-dir: x\njournal: postgres://me:secret@db/x\n",
        Path::new("/etc/t.yaml"),
        &|_| None,
        &machine(),
    )
    .unwrap_err();
    let shown = error.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "/etc/t.yaml:2:1: unknown key `state-dir`");
    assert!(
        lines[1].starts_with("  did you mean `state_dir`?"),
        "{shown}"
    );
    assert!(
        lines[2].starts_with("/etc/t.yaml:3:10: `journal` names a PostgreSQL database"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn the_address_of_any_database_is_not_repeated() {
    let error = read(
        b"inboxes: [{ path: /srv/in }]\njournal: mysql://me:secret@db/x\n",
        Path::new("/etc/t.yaml"),
        &|_| None,
        &machine(),
    )
    .unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn what_is_no_yaml_or_no_mapping_or_empty_is_a_problem_with_a_place() {
    one("inboxes: [", 1, 11, &["not closed"]);
    one(
        "- path: /x\n",
        1,
        1,
        &["the configuration is a list", "`inboxes`"],
    );
    one("", 1, 1, &["nothing in the file"]);
}

#[test]
fn thousands_of_problems_are_summed_up() {
    let text: String = (0..3000).map(|index| format!("key{index}: 1\n")).collect();
    let problems = bad(&with(&text));
    assert_eq!(problems.len(), 101);
    assert!(problems[100].1.contains("2900 more"), "{:?}", problems[100]);
}

#[test]
fn a_configuration_without_inboxes_has_nothing_to_do() {
    one("limits: {}\n", 1, 1, &["no inbox"]);
    one("inboxes: []\n", 1, 10, &["no inbox"]);
    one("inboxes:\n", 1, 9, &["no inbox"]);
    one("inboxes: /srv/in\n", 1, 10, &["must be a list"]);
    one(
        "inboxes: [/srv/in]\n",
        1,
        11,
        &["an inbox is a text", "mapping"],
    );
}

#[test]
fn a_key_without_a_value_is_a_problem_and_an_empty_section_is_not() {
    one(
        &with("limits:\n  credits_per_day:\n"),
        3,
        19,
        &["has no value"],
    );
    good(&with("limits:\nrunway:\nweb:\n"));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (text, column, words) in [
        ("runway: { poll_interval: 5 }", 26, "without a unit"),
        ("runway: { poll_interval: soon }", 26, "not a duration"),
        ("runway: { poll_interval: 4s }", 26, "every 5 s"),
        ("runway: { max_in_flight: 0 }", 26, "at least 1"),
        ("runway: { max_in_flight: many }", 26, "or `auto`"),
        ("runway: { on_doubt: true }", 21, "must be a word"),
        ("runway: { api_version: '1' }", 24, "not a version"),
        ("runway: { api_key_file: '' }", 25, "is empty"),
        ("runway: { api_key_file: ~/key }", 25, "neither `~`"),
        (
            "runway: { allow_unknown_models: maybe }",
            33,
            "`true` or `false`",
        ),
        (
            "runway: { api_key: key_x }",
            11,
            "did you mean `api_key_file`",
        ),
        ("journal: mysql", 10, "sqlite"),
        ("limits: { max_input_size: big }", 27, "not a size"),
        ("limits: { max_input_size: 0 }", 27, "nothing through"),
        ("limits: { credits_per_day: none }", 28, "number of credits"),
        ("web: { listen: 7878 }", 16, "address"),
        ("web: { listen: '0.0.0.0:7878' }", 16, "token_file"),
        ("web: { listen: '[::]:7878' }", 16, "token_file"),
        ("web: { listen: '192.168.1.5:7878' }", 16, "token_file"),
        ("web: { hosts: ['a.example:80'] }", 16, "hosts"),
        ("web: { listen: 'localhost:7878' }", 16, "127.0.0.1:7878"),
        ("web: 127.0.0.1:7878", 6, "must be a mapping"),
    ] {
        one(&with(text), 2, column, &[words]);
    }
    for (text, words) in [
        ("watch: poll", "`scan`"),
        ("scan_interval: 1ms", "too short"),
        ("settle: 0s", "too short"),
        ("on_success: remove", "`delete`"),
        ("ignore: '*.bak'", "must be a list"),
        ("ignore: ['[']", "cannot be understood"),
        ("defaults: gen4_turbo", "must be a mapping"),
        ("name: \"a\\nb\"", "line end"),
    ] {
        let problems = bad(&format!("inboxes:\n- path: /srv/in\n  {text}\n"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].1.contains(words), "{text}: {problems:?}");
        assert_eq!(problems[0].0.unwrap().line, 3);
    }
}

#[test]
fn a_base_url_with_or_without_v1_means_the_same() {
    for url in [
        "https://api.dev.runwayml.com",
        "https://api.dev.runwayml.com/v1",
        "https://api.dev.runwayml.com/v1/",
    ] {
        let config = good(&with(&format!("runway: {{ base_url: '{url}' }}")));
        assert_eq!(config.runway.base_url, Runway::default().base_url, "{url}");
    }
    let config = good(&with(
        "runway: { base_url: 'https://proxy.example/runway/v1/' }",
    ));
    assert_eq!(
        config.runway.base_url.as_str(),
        "https://proxy.example/runway"
    );
}

#[test]
fn plain_http_is_for_loopback_addresses_only() {
    for host in [
        "127.0.0.1:9000",
        "127.8.9.1",
        "[::1]:80",
        "localhost:1",
        "LOCALHOST",
    ] {
        good(&with(&format!(
            "runway: {{ base_url: 'http://{host}', poll_interval: 50ms }}"
        )));
    }
    for host in [
        "10.0.0.1",
        "api.dev.runwayml.com",
        "localhost.example.com",
        "0.0.0.0",
        "[::2]",
        "127.0.0.1.nip.io",
    ] {
        one(
            &with(&format!("runway: {{ base_url: 'http://{host}' }}")),
            2,
            21,
            &["plain `http`"],
        );
    }
    for (url, words) in [
        ("https://me:pw@api.example", "password"),
        ("https://api.example/?x=1", "`?`"),
        ("ftp://api.example", "ftp:"),
        ("api.example", "not a URL"),
    ] {
        let problems = bad(&with(&format!("runway: {{ base_url: '{url}' }}")));
        assert!(
            problems[0].1.contains(words) && !problems[0].1.contains("pw@"),
            "{problems:?}"
        );
    }
}

#[test]
fn the_environments_base_url_stands_in_for_one_that_is_not_set() {
    let env = [("RUNWAYML_BASE_URL", "http://127.0.0.1:4010/v1")];
    let config = read_with(&with("runway: { poll_interval: 20ms }"), &env).unwrap();
    assert_eq!(config.runway.base_url.as_str(), "http://127.0.0.1:4010/");
    let config = read_with(&with("runway: { base_url: 'https://x.example' }"), &env).unwrap();
    assert_eq!(config.runway.base_url.as_str(), "https://x.example/");
    let problems = read_with(INBOX, &[("RUNWAYML_BASE_URL", "http://10.0.0.1")]).unwrap_err();
    assert_eq!(problems[0].place, None);
    assert!(
        problems[0].message.contains("RUNWAYML_BASE_URL is a plain"),
        "{problems:?}"
    );
    assert_eq!(
        read_with(INBOX, &[("RUNWAYML_BASE_URL", "")])
            .unwrap()
            .runway,
        Runway::default()
    );
}

#[test]
fn systemds_state_directory_is_the_default() {
    let env = [("STATE_DIRECTORY", "/var/lib/taxiway:/var/lib/other")];
    assert_eq!(
        read_with(INBOX, &env).unwrap().state_dir,
        Path::new("/var/lib/taxiway")
    );
    assert_eq!(
        read_with(&with("state_dir: s"), &env).unwrap().state_dir,
        Path::new("/etc/taxiway/s")
    );
}

#[test]
fn defaults_can_be_pointed_at() {
    let config = good("inboxes:\n- path: /srv/in\n  defaults:\n    duration: 5\n");
    let (document, way) = config.inboxes[0].defaults.source.clone().unwrap();
    let mut path = way;
    path.push(Step::Key("duration".to_owned()));
    assert_eq!(
        document.place_of_value(&path),
        Some(Place {
            line: 4,
            column: 15
        })
    );
}

#[test]
fn the_example_loads_as_it_is_beside_its_inbox() {
    let env = |_: &str| None;
    let config = read(
        EXAMPLE.as_bytes(),
        Path::new("/home/me/film/taxiway.yaml"),
        &env,
        &machine(),
    )
    .unwrap();
    assert_eq!(config.inboxes[0].path, Path::new("/home/me/film/inbox"));
    assert_eq!(
        config.inboxes[0].folders.outbox,
        Path::new("/home/me/film/outbox")
    );
    assert_eq!(config.limits.spending.per_day, Some(500.0));
}

#[test]
fn the_example_shows_every_key_and_its_true_default() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| {
            let text = line.trim_start();
            match text.strip_prefix('#') {
                Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    format!("{}{key}\n", &line[..line.len() - text.len()])
                }
                Some(_) | None => format!("{line}\n"),
            }
        })
        .collect();
    let mut full = good(&uncommented);
    let plain = good(EXAMPLE);
    for (_, problem) in bad(
        "x: 1\nrunway: { x: 1 }\ninboxes: [{ path: /in, x: 1, limits: { x: 1 } }]\n\
         limits: { x: 1 }\nnotify: { x: 1 }\nweb: { x: 1 }\n",
    ) {
        let (_, known) = problem.split_once("known keys here: ").expect("a list");
        for key in known.split(", ") {
            let key = key.trim_matches('`');
            assert!(uncommented.contains(&format!("{key}:")), "{key} is shown");
        }
    }
    // These are examples and have no default.
    full.web = Web::default();
    full.runway.api_key_file = None;
    full.runway.catalogue = None;
    full.inboxes[0].name = "inbox".to_owned();
    full.inboxes[0].ignore.clear();
    full.notify = Notify::default();
    full.inboxes[0].on_mount = plain.inboxes[0].on_mount.clone();
    full.inboxes[0].limits = SpendLimits::default();
    full.limits.spending.per_month = None;
    assert_eq!(full, plain);
}

#[test]
fn a_reload_tells_what_takes_effect_and_what_needs_a_restart() {
    let old = good("inboxes:\n- path: /a/in\n  name: a\n- path: /b/in\n  name: b\n");
    let new = good(
        "state_dir: /s\nrunway: { poll_interval: 9s, base_url: 'https://x.example' }\nlimits: { credits_per_day: 1 }\n\
         web: { listen: '127.0.0.1:1' }\n\
         inboxes:\n- { path: /b/in, name: b, pair_wait: 1s }\n- { path: /c/in, name: c }\n",
    );
    assert_eq!(
        merge(&old, new).1,
        Reload {
            needs_restart: vec!["state_dir", "runway.base_url", "web.listen"],
            applied: vec!["runway.poll_interval", "limits"],
            added: vec!["c".to_owned()],
            removed: vec!["a".to_owned()],
            changed: vec!["b".to_owned()],
        }
    );
    assert!(merge(&old, old.clone()).1.is_empty());
    let moved =
        good("# a comment\n\ninboxes:\n- path: /a/in\n  name: a\n- path: /b/in\n  name: b\n");
    assert!(merge(&old, moved).1.is_empty());
}

#[test]
fn a_file_is_found_by_name_or_by_the_environment_and_a_missing_one_is_no_reason_to_take_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.yaml");
    std::fs::write(&file, "inboxes: [{ path: inbox }]\n").unwrap();
    let set = |name: &str| (name == "TAXIWAY_CONFIG").then(|| OsString::from(&file));
    let none = |_: &str| None;
    for config in [load(Some(&file), &none).unwrap(), load(None, &set).unwrap()] {
        assert_eq!(config.inboxes[0].path, folder.path().join("inbox"));
        assert_eq!(config.file.as_ref(), Some(&file));
    }
    assert!(
        !folder.path().join("inbox").exists(),
        "reading makes nothing"
    );
    let error = load(Some(Path::new("/nowhere/t.yaml")), &set).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(
        error
            .to_string()
            .contains("/nowhere/t.yaml: the configuration cannot be read"),
        "{error}"
    );
}

#[test]
fn a_missing_configuration_says_where_it_was_looked_for_and_what_makes_one() {
    let error = ConfigError::NotFound {
        looked: vec![
            "/home/taxiway.yaml".into(),
            "/etc/taxiway/taxiway.yaml".into(),
        ],
    };
    let shown = error.to_string();
    assert!(
        shown.contains("/home/taxiway.yaml and /etc/taxiway/taxiway.yaml"),
        "{shown}"
    );
    assert!(shown.contains("taxiway init DIR"), "{shown}");
}
