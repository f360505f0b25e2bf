//! `taxiway check`: what would be submitted and what it would cost; submits nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::credits::organization;
use super::{CommandError, Global, load, output};
use crate::catalogue::Catalogue;
use crate::config::{Config, ConfigError, Inbox, MAX_INPUT_SIZE, load_catalogue};
use crate::daemon;
use crate::files::RelPath;
use crate::folders::mounted::here;
use crate::inbox::{Candidate, Evaluator, Ignore, Tree, Waiting, Writer, describe_watch, probe};
use crate::sidecar::Layer;
use crate::sidecar::Rules;

/// One folder tree to check, with the rules of its inbox.
struct Root {
    /// Whether the configuration has it; else it is just a folder.
    configured: bool,
    inbox: Inbox,
    defaults: Layer,
    /// Only what lies at or below these is told; empty tells all.
    only: Vec<PathBuf>,
}

impl Root {
    /// The name that the configuration gives it.
    fn name(&self) -> Option<&str> {
        self.configured.then_some(self.inbox.name.as_str())
    }
}

/// Checks, and tells.
pub async fn run(global: &Global, paths: &[PathBuf], online: bool) -> Result<(), CommandError> {
    // Paths can be checked without any configuration; everything else needs one.
    let config = match load(global) {
        Ok(config) => Some(config),
        Err(ConfigError::NotFound { .. }) if !paths.is_empty() && global.config.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    let catalogue = match &config {
        Some(config) => load_catalogue(config)?,
        None => Catalogue::built_in().map_err(|error| CommandError::Failed(error.to_string()))?,
    };
    let roots = roots(config.as_ref(), paths)?;
    let mut report = Report::default();
    for root in &roots {
        check_root(root, config.as_ref(), &catalogue, &mut report)?;
    }
    output::text(&if global.json {
        report.json()
    } else {
        report.text(config.as_ref())
    })?;
    if let Some(config) = config.as_ref().filter(|_| paths.is_empty() && !global.json) {
        output::text(&folders(config))?;
    }
    if online {
        let config = config.as_ref().ok_or_else(|| {
            CommandError::Failed(
                "`--online` needs a configuration: name one with --config".to_owned(),
            )
        })?;
        let organization = organization(config).await?;
        if !global.json {
            output::line(&format!(
                "The API key works. Balance: {} credits.",
                organization.credit_balance
            ))?;
        }
    }
    match report.wrong {
        0 => Ok(()),
        1 => Err(CommandError::Invalid(
            "1 input is wrong and would go to `failed`; nothing was submitted".to_owned(),
        )),
        wrong => Err(CommandError::Invalid(format!(
            "{wrong} inputs are wrong and would go to `failed`; nothing was submitted"
        ))),
    }
}

/// How each inbox would be watched, and what cannot be done in its folders.
fn folders(config: &Config) -> String {
    let mut text = String::from("\nFolders:\n");
    for inbox in &config.inboxes {
        let mount = here(&inbox.path);
        let watched = describe_watch(inbox.watch, mount.as_ref(), true);
        let about = format!("{} ({}): {watched}", inbox.name, inbox.path.display());
        text.push_str(&output::wrap(&output::plain(&about), 2));
        for what in probe(&inbox.name, &daemon::places(inbox)) {
            text.push_str(&output::wrap(&output::plain(&what), 4));
        }
    }
    text
}

fn roots(config: Option<&Config>, paths: &[PathBuf]) -> Result<Vec<Root>, CommandError> {
    let of_inbox = |config: &Config, inbox: &Inbox| Root {
        configured: true,
        // Nothing more is expected to come.
        inbox: Inbox {
            pair_wait: Duration::ZERO,
            ..inbox.clone()
        },
        defaults: daemon::defaults_layer(config, inbox),
        only: Vec::new(),
    };
    if paths.is_empty() {
        return Ok(config
            .map(|config| {
                config
                    .inboxes
                    .iter()
                    .map(|inbox| of_inbox(config, inbox))
                    .collect()
            })
            .unwrap_or_default());
    }
    let mut roots: Vec<Root> = Vec::new();
    for path in paths {
        let real = std::fs::canonicalize(path).map_err(|error| {
            CommandError::Failed(format!("{} cannot be looked at: {error}", path.display()))
        })?;
        let inbox = config.and_then(|config| {
            config
                .inboxes
                .iter()
                .find(|inbox| {
                    std::fs::canonicalize(&inbox.path).is_ok_and(|inbox| real.starts_with(inbox))
                })
                .map(|inbox| of_inbox(config, inbox))
        });
        let mut root = inbox.unwrap_or_else(|| Root {
            configured: false,
            inbox: Inbox {
                path: if real.is_dir() {
                    real.clone()
                } else {
                    real.parent().unwrap_or(Path::new("/")).to_owned()
                },
                pair_wait: Duration::ZERO,
                ..Inbox::default()
            },
            defaults: Layer {
                label: "no configuration".to_owned(),
                folder: RelPath::default(),
                values: Map::new(),
                document: None,
            },
            only: Vec::new(),
        });
        if let Ok(real) = std::fs::canonicalize(&root.inbox.path) {
            root.inbox.path = real;
        }
        match roots
            .iter_mut()
            .find(|known| known.inbox.path == root.inbox.path)
        {
            Some(known) => known.only.push(real),
            None => {
                root.only.push(real);
                roots.push(root);
            }
        }
    }
    Ok(roots)
}

fn check_root(
    root: &Root,
    config: Option<&Config>,
    catalogue: &Catalogue,
    report: &mut Report,
) -> Result<(), CommandError> {
    let ignore = Ignore::new(&root.inbox.ignore).map_err(|error| {
        CommandError::Invalid(format!("`ignore` has a pattern that is none: {error}"))
    })?;
    let mut tree = Tree::new(root.inbox.path.clone(), ignore);
    let now = Instant::now();
    let mut stack = vec![RelPath::default()];
    let mut folders = Vec::new();
    while let Some(folder) = stack.pop() {
        let new = tree
            .scan(&folder, &|_| Writer::Done, now)
            .map_err(|error| {
                CommandError::Failed(format!(
                    "{} cannot be read: {error}",
                    tree.absolute(&folder).display()
                ))
            })?;
        tree.read_sidecars(&folder);
        folders.push(folder);
        stack.extend(new);
    }
    folders.sort();
    let referenced = tree.collect_references();
    // What lies there now is taken for finished.
    let evaluator = Evaluator {
        rules: Rules {
            catalogue,
            allow_unknown_models: config.is_some_and(|config| config.runway.allow_unknown_models),
        },
        inbox: &root.inbox,
        settle: Duration::ZERO,
        max_input: config.map_or(MAX_INPUT_SIZE, |config| config.limits.max_input_size),
        defaults: &root.defaults,
    };
    for folder in folders {
        let found = evaluator.evaluate(&mut tree, &folder, &referenced, now);
        let told = |files: &[&RelPath]| {
            root.only.is_empty()
                || files.iter().any(|file| {
                    root.only
                        .iter()
                        .any(|only| tree.absolute(file).starts_with(only))
                })
        };
        for candidate in found.ready {
            let files: Vec<&RelPath> = candidate.files.iter().map(|(_, file)| file).collect();
            if told(&files) {
                report.candidate(root, &candidate);
            }
        }
        for waiting in found.waiting {
            if told(&[&waiting.input]) {
                report.waiting(root, &waiting);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Report {
    rows: Vec<Value>,
    wrong: usize,
}

impl Report {
    fn candidate(&mut self, root: &Root, candidate: &Candidate) {
        let input = candidate.input.text();
        self.rows.push(match &candidate.plan {
            Ok(plan) => json!({
                "inbox": root.name(),
                "input": input,
                "valid": true,
                "endpoint": plan.endpoint,
                "model": plan.model,
                "request": plan.body,
                "credits": {"estimated": plan.estimated},
                "warnings": plan.warnings,
                "problems": [],
                "waiting": null,
            }),
            Err(failure) => {
                self.wrong = self.wrong.saturating_add(1);
                json!({
                    "inbox": root.name(),
                    "input": input,
                    "valid": false,
                    "endpoint": null,
                    "model": null,
                    "request": null,
                    "credits": {"estimated": null},
                    "warnings": [],
                    "problems": failure.details,
                    "waiting": null,
                })
            }
        });
    }

    fn waiting(&mut self, root: &Root, waiting: &Waiting) {
        self.rows.push(json!({
            "inbox": root.name(),
            "input": waiting.input.text(),
            "valid": null,
            "endpoint": null,
            "model": null,
            "request": null,
            "credits": {"estimated": null},
            "warnings": [],
            "problems": [],
            "waiting": waiting.reason.as_ref(),
        }));
    }

    fn json(&self) -> String {
        self.rows.iter().map(|row| format!("{row}\n")).collect()
    }

    fn text(&self, config: Option<&Config>) -> String {
        let mut text = String::new();
        if let Some(file) = config.and_then(|config| config.file.as_ref()) {
            text.push_str(&format!("{} is valid.\n", file.display()));
        }
        let text_of = |value: &Value| output::plain(value.as_str().unwrap_or_default());
        let mut rows = vec![
            ["INPUT", "ENDPOINT", "MODEL", "CREDITS"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let (mut total, mut unknown, mut submitted) = (0.0, 0_usize, 0_usize);
        for row in self
            .rows
            .iter()
            .filter(|row| row["valid"] == Value::Bool(true))
        {
            submitted = submitted.saturating_add(1);
            let estimated = row["credits"]["estimated"].as_f64();
            match estimated {
                Some(credits) => total += credits,
                None => unknown = unknown.saturating_add(1),
            }
            rows.push(vec![
                text_of(&row["input"]),
                text_of(&row["endpoint"]),
                text_of(&row["model"]),
                output::credits(estimated),
            ]);
        }
        if submitted > 0 {
            text.push_str("\nWould be submitted:\n");
            text.push_str(&output::table(&rows));
            text.push_str(&match unknown {
                0 => format!("Estimated: {total} credits (1 credit is $0.01).\n"),
                unknown => format!("Estimated: {total} credits (1 credit is $0.01), and {unknown} of unknown price.\n"),
            });
        }
        for row in &self.rows {
            for warning in row["warnings"].as_array().into_iter().flatten() {
                text.push_str(&format!(
                    "Warning for {}: {}\n",
                    text_of(&row["input"]),
                    text_of(warning)
                ));
            }
        }
        let waiting: Vec<&Value> = self
            .rows
            .iter()
            .filter(|row| row["waiting"].is_string())
            .collect();
        if !waiting.is_empty() {
            text.push_str("\nWould wait:\n");
            for row in waiting {
                text.push_str(&format!(
                    "  {}: {}\n",
                    text_of(&row["input"]),
                    text_of(&row["waiting"])
                ));
            }
        }
        let wrong: Vec<&Value> = self
            .rows
            .iter()
            .filter(|row| row["valid"] == Value::Bool(false))
            .collect();
        if !wrong.is_empty() {
            text.push_str("\nWrong:\n");
            for row in wrong {
                for problem in row["problems"].as_array().into_iter().flatten() {
                    text.push_str(&format!("  {}\n", text_of(problem)));
                }
            }
        }
        if self.rows.is_empty() {
            text.push_str("Nothing lies there to be submitted.\n");
        }
        text
    }
}
