//! `taxiway check`: what would be submitted and what it would cost; submits nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::credits::ask_organization;
use super::error::CommandError;
use super::output;
use crate::catalogue::Catalogue;
use crate::config::{Config, ConfigError, Inbox, MAX_INPUT_SIZE, load_catalogue};
use crate::files::RelPath;
use crate::folders::mounted::find_mount;
use crate::inbox::{
    Candidate, Evaluator, Ignore, Tree, Waiting, Writer, defaults_layer, describe_watch, places,
    probe,
};
use crate::sidecar::Layer;
use crate::sidecar::Rules;

/// One folder tree to check, with the rules of its inbox.
struct Root {
    /// Whether the configuration has it; else it is just a folder.
    configured: bool,
    inbox: Inbox,
    defaults: Layer,
    /// Only what is at or below these is shown; empty shows all.
    only: Vec<PathBuf>,
}

impl Root {
    /// The name that the configuration gives it.
    fn name(&self) -> Option<&str> {
        self.configured.then_some(self.inbox.name.as_str())
    }
}

/// Check the configuration and sidecars, and show what each would submit; submits nothing
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Sidecars, media or folders to look at; without any, all inboxes
    paths: Vec<PathBuf>,
    /// Also ask the API whether the key works
    #[arg(long)]
    online: bool,
}

impl Check {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::WARN);
        run(global, &self.paths, self.online).await
    }
}

async fn run(global: &Global, paths: &[PathBuf], online: bool) -> Result<(), CommandError> {
    // Paths can be checked without any configuration; everything else needs one.
    let config = match global.load() {
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
    match global.json {
        true => output::json_lines(&report.rows)?,
        false => output::text(&report.text(config.as_ref()))?,
    }
    if let Some(config) = config.as_ref().filter(|_| paths.is_empty() && !global.json) {
        output::text(&folders(config))?;
    }
    if online {
        let config = config.as_ref().ok_or_else(|| {
            CommandError::Failed(
                "`--online` needs a configuration: name one with --config".to_owned(),
            )
        })?;
        let organization = ask_organization(config).await?;
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
        let mount = find_mount(&inbox.path);
        let watched = describe_watch(inbox.watch, mount.as_ref(), true);
        let about = format!("{} ({}): {watched}", inbox.name, inbox.path.display());
        text.push_str(&output::wrap(&output::plain(&about), 2));
        for what in probe(&inbox.name, &places(inbox)) {
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
        defaults: defaults_layer(config, inbox),
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
            CommandError::Failed(format!("{} cannot be checked: {error}", path.display()))
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
        CommandError::Invalid(format!("`ignore` has an invalid pattern: {error}"))
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
    // What is there now counts as finished.
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
        let is_wanted = |files: &[&RelPath]| {
            root.only.is_empty()
                || files.iter().any(|file| {
                    root.only
                        .iter()
                        .any(|only| tree.absolute(file).starts_with(only))
                })
        };
        for candidate in found.ready {
            let files: Vec<&RelPath> = candidate.files.iter().map(|(_, file)| file).collect();
            if is_wanted(&files) {
                report.candidate(root, &candidate);
            }
        }
        for waiting in found.waiting {
            if is_wanted(&[&waiting.input]) {
                report.waiting(root, &waiting);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    wrong: usize,
}

/// One input: a line of `check --json`.
#[derive(Default, Serialize)]
struct Row {
    inbox: Option<String>,
    input: String,
    /// `None` while it would wait.
    valid: Option<bool>,
    endpoint: Option<String>,
    model: Option<String>,
    request: Option<Map<String, Value>>,
    credits: Estimate,
    warnings: Vec<String>,
    problems: Vec<String>,
    /// For what it would wait.
    waiting: Option<String>,
}

#[derive(Default, Serialize)]
struct Estimate {
    estimated: Option<f64>,
}

impl Report {
    fn candidate(&mut self, root: &Root, candidate: &Candidate) {
        let row = Row {
            inbox: root.name().map(str::to_owned),
            input: candidate.input.text(),
            ..Row::default()
        };
        self.rows.push(match &candidate.plan {
            Ok(plan) => Row {
                valid: Some(true),
                endpoint: Some(plan.endpoint.clone()),
                model: plan.model.clone(),
                request: Some(plan.body.clone()),
                credits: Estimate {
                    estimated: plan.estimated,
                },
                warnings: plan.warnings.clone(),
                ..row
            },
            Err(failure) => {
                self.wrong = self.wrong.saturating_add(1);
                Row {
                    valid: Some(false),
                    problems: failure.details.clone(),
                    ..row
                }
            }
        });
    }

    fn waiting(&mut self, root: &Root, waiting: &Waiting) {
        self.rows.push(Row {
            inbox: root.name().map(str::to_owned),
            input: waiting.input.text(),
            waiting: Some(waiting.reason.to_string()),
            ..Row::default()
        });
    }

    fn text(&self, config: Option<&Config>) -> String {
        let mut text = String::new();
        if let Some(file) = config.and_then(|config| config.file.as_ref()) {
            text.push_str(&format!("{} is valid.\n", file.display()));
        }
        text.push_str(&self.submitted());
        let mut say = |line: String| text.push_str(&(output::plain(&line) + "\n"));
        for row in &self.rows {
            for warning in &row.warnings {
                say(format!("Warning for {}: {warning}", row.input));
            }
        }
        let list = |title: &str, lines: Vec<String>| match lines.is_empty() {
            true => String::new(),
            false => format!("\n{title}:\n{}", lines.concat()),
        };
        let entry = |line: String| format!("  {}\n", output::plain(&line));
        let waiting = self.rows.iter().filter_map(|row| {
            let reason = row.waiting.as_ref()?;
            Some(entry(format!("{}: {reason}", row.input)))
        });
        text.push_str(&list("Would wait", waiting.collect()));
        let problems = self.rows.iter().flat_map(|row| &row.problems);
        let problems = problems.map(|problem| entry(problem.clone()));
        text.push_str(&list("Wrong", problems.collect()));
        if self.rows.is_empty() {
            text.push_str("There is nothing to submit.\n");
        }
        text
    }

    /// What would be submitted, and what it would cost.
    fn submitted(&self) -> String {
        let mut rows = vec![output::row(["INPUT", "ENDPOINT", "MODEL", "CREDITS"])];
        let (mut total, mut unknown) = (0.0, 0_usize);
        for row in self.rows.iter().filter(|row| row.valid == Some(true)) {
            let estimated = row.credits.estimated;
            match estimated {
                Some(credits) => total += credits,
                None => unknown = unknown.saturating_add(1),
            }
            rows.push(vec![
                row.input.clone(),
                row.endpoint.clone().unwrap_or_default(),
                row.model.clone().unwrap_or_default(),
                output::credits(estimated),
            ]);
        }
        if rows.len() == 1 {
            return String::new();
        }
        let unknown = match unknown {
            0 => String::new(),
            unknown => format!(", and {unknown} of unknown price"),
        };
        format!(
            "\nWould be submitted:\n{}Estimated: {total} credits (1 credit is $0.01){unknown}.\n",
            output::table(&rows)
        )
    }
}
