//! One folder's files to jobs that can be taken and reasons to wait.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::layers::{Finding, Layer, Merged};
use super::pair::{Class, Group, classify, pair};
use super::request::{Draft, Outcome, Rules, Subject, is_shared, plan};
use super::settle::{Content, Judgement, judge};
use super::tree::{Parsed, Tree};
use crate::catalogue::estimate;
use crate::job::{Failure, FailureKind, FileRef, MediaUse, Plan, RelPath, Role};
use crate::media::{self, Kind, Probe};
use crate::runway::route;

/// A job that can be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What it is named after.
    pub input: RelPath,
    /// Its files, where they were dropped.
    pub files: Vec<(Role, RelPath)>,
    /// The request, or why there is none.
    pub plan: Result<Plan, Failure>,
}

/// Something that stays in the inbox for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What waits.
    pub input: RelPath,
    /// For what.
    pub reason: String,
}

/// What is found in one folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Jobs that can be taken.
    pub ready: Vec<Candidate>,
    /// What stays.
    pub waiting: Vec<Waiting>,
    /// When to look again although nothing happened.
    pub look_again: Option<Instant>,
}

impl Found {
    fn wait(&mut self, input: &RelPath, reason: impl Into<String>) {
        self.waiting.push(Waiting {
            input: input.clone(),
            reason: reason.into(),
        });
    }

    fn again(&mut self, at: Instant) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }
}

/// How often something outside the watched folders is looked at again, such as a shared picture that is missing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The rules of one inbox.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// What requests are checked against.
    pub rules: Rules<'a>,
    /// How long a file must be quiet.
    pub settle: Duration,
    /// How long a half waits for the other.
    pub pair_wait: Duration,
    /// Largest input, in bytes.
    pub max_input: u64,
    /// The inbox's `defaults` in the configuration.
    pub defaults: &'a Layer,
}

/// Why a file is not used now.
enum NotNow {
    Wait(String, Instant),
    Gone,
}

impl Evaluator<'_> {
    /// Evaluates one folder. `named` are the files in it that sidecars refer to.
    pub fn folder(
        &self,
        tree: &mut Tree,
        folder: &RelPath,
        named: &HashMap<RelPath, BTreeSet<Vec<u8>>>,
        now: Instant,
    ) -> Found {
        let mut found = Found::default();
        let names = tree.names(folder);
        for (name, why) in tree.odd(folder) {
            found.wait(&folder.join(&name), why);
        }
        if names.is_empty() {
            return found;
        }
        let defaults = tree.defaults(folder).map(|layers| {
            let mut all = vec![self.defaults.clone()];
            all.extend(layers);
            all
        });
        let nothing = BTreeSet::new();
        let named_here = named.get(folder).unwrap_or(&nothing);
        // Whether the defaults alone make a request depends on the kind only, and thousands of media may lie here.
        let mut lone: HashMap<Kind, Result<(), String>> = HashMap::new();
        for group in pair(names.iter().map(OsString::as_os_str), named_here) {
            match group {
                Group::Other { name } => {
                    let file = folder.join(&name);
                    found.wait(&file, "it is no image, video, sound or sidecar by its name, and no sidecar names it");
                }
                Group::Spare { sidecar, used } => {
                    let reason = format!(
                        "not used: {} stands for the same medium",
                        used.to_string_lossy()
                    );
                    found.wait(&folder.join(&sidecar), reason);
                }
                Group::Clash { sidecar, media } => {
                    self.clash(tree, folder, &sidecar, &media, now, &mut found)
                }
                Group::Alone { main } => {
                    let main = folder.join(&main);
                    match &defaults {
                        Err(problems) => wait_for_defaults(&main, problems, &mut found),
                        Ok(layers) => self.alone(tree, &main, layers, &mut lone, now, &mut found),
                    }
                }
                Group::Sidecar {
                    sidecar,
                    main,
                    exact,
                } => {
                    let sidecar = folder.join(&sidecar);
                    let main = main.map(|main| folder.join(&main));
                    match &defaults {
                        Err(problems) => {
                            wait_for_defaults(
                                main.as_ref().unwrap_or(&sidecar),
                                problems,
                                &mut found,
                            );
                        }
                        Ok(layers) => self.sidecar(
                            tree,
                            &sidecar,
                            main.as_ref(),
                            exact,
                            layers,
                            now,
                            &mut found,
                        ),
                    }
                }
            }
        }
        found
    }

    /// Whether a file is finished. `certain` asks for the whole quiet time even where its writer closed it, since a person
    /// may be in the middle of mending it.
    fn finished(
        &self,
        tree: &mut Tree,
        file: &RelPath,
        certain: bool,
        now: Instant,
    ) -> Result<(), NotNow> {
        let Some(mut sighting) = tree.sighting(file) else {
            return Err(NotNow::Gone);
        };
        let quiet = now.saturating_duration_since(sighting.since);
        if !sighting.closed && quiet < self.settle {
            let at = sighting.since.checked_add(self.settle).unwrap_or(now);
            return Err(NotNow::Wait("still being written".to_owned(), at));
        }
        let content = match tree.content(file) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(NotNow::Gone),
            Err(error) => {
                let again = now.checked_add(LOOK_AGAIN).unwrap_or(now);
                return Err(NotNow::Wait(
                    format!(
                        "it cannot be read ({error}): make it readable for the user that taxiway runs as"
                    ),
                    again,
                ));
            }
        };
        let content = match content {
            Content::Whole if certain => Content::Unknowable,
            other => other,
        };
        sighting.closed &= !certain;
        match judge(&sighting, &content, self.settle, now) {
            Judgement::Finished => Ok(()),
            Judgement::NotYet { why, look_again } => Err(NotNow::Wait(why, look_again)),
        }
    }

    /// Like [`Evaluator::finished`], with the reason noted for `input`.
    fn ready(
        &self,
        tree: &mut Tree,
        file: &RelPath,
        input: &RelPath,
        certain: bool,
        now: Instant,
        found: &mut Found,
    ) -> bool {
        match self.finished(tree, file, certain, now) {
            Ok(()) => true,
            Err(NotNow::Gone) => false,
            Err(NotNow::Wait(why, at)) => {
                let reason = if file == input {
                    why
                } else {
                    format!("{}: {why}", file.name().to_string_lossy())
                };
                found.wait(input, reason);
                found.again(at);
                false
            }
        }
    }

    fn clash(
        &self,
        tree: &mut Tree,
        folder: &RelPath,
        sidecar: &OsStr,
        media: &[OsString],
        now: Instant,
        found: &mut Found,
    ) {
        let sidecar = folder.join(sidecar);
        let mut files = vec![(Role::Sidecar, sidecar.clone())];
        files.extend(media.iter().map(|name| (Role::Main, folder.join(name))));
        for (_, file) in &files {
            if !self.ready(tree, file, &sidecar, true, now, found) {
                return;
            }
        }
        let list: Vec<_> = media.iter().map(|name| name.to_string_lossy()).collect();
        let name = sidecar.name().to_string_lossy().into_owned();
        let finding = Finding::about(
            sidecar.to_string(),
            format!("it could be for any of {}", list.join(", ")),
            format!(
                "name it after one of them, such as {}.yaml, and write one for each",
                list.first().map_or("cat.jpg", |first| first)
            ),
        );
        found.ready.push(Candidate {
            input: sidecar,
            files,
            plan: Err(wrong_input(
                &format!("several media for one sidecar, {name}"),
                &[finding],
            )),
        });
    }

    fn alone(
        &self,
        tree: &mut Tree,
        main: &RelPath,
        defaults: &[Layer],
        lone: &mut HashMap<Kind, Result<(), String>>,
        now: Instant,
        found: &mut Found,
    ) {
        let Class::Medium(by_name) = classify(main.name()) else {
            return;
        };
        let merged = || Merged::new(defaults.to_vec(), None);
        let outlook = lone.entry(by_name).or_insert_with(|| {
            let subject = Subject {
                main: Some((main, by_name)),
                exact: false,
                waited: true,
            };
            match plan(self.rules, &merged(), subject) {
                Outcome::Ready(_) => Ok(()),
                Outcome::NeedsMedia(why) => Err(why),
                Outcome::Wrong(findings) => Err(findings
                    .first()
                    .map(|finding| finding.message.clone())
                    .unwrap_or_default()),
            }
        });
        if let Err(why) = outlook {
            let name = main.name().to_string_lossy();
            let reason = format!(
                "for a sidecar, such as {name}.yaml (the defaults alone make no request: {why})"
            );
            found.wait(main, reason);
            return;
        }
        if !self.ready(tree, main, main, false, now, found) {
            return;
        }
        let since = tree.sighting(main).map_or(now, |sighting| sighting.since);
        let until = since.checked_add(self.pair_wait).unwrap_or(now);
        if now < until {
            found.wait(
                main,
                format!(
                    "for a sidecar, until {} s have passed",
                    self.pair_wait.as_secs()
                ),
            );
            found.again(until);
            return;
        }
        self.request(tree, Some(main), None, &merged(), false, true, now, found);
    }

    #[allow(clippy::too_many_arguments)]
    fn sidecar(
        &self,
        tree: &mut Tree,
        sidecar: &RelPath,
        main: Option<&RelPath>,
        exact: bool,
        defaults: &[Layer],
        now: Instant,
        found: &mut Found,
    ) {
        let input = main.unwrap_or(sidecar);
        if !self.ready(tree, sidecar, input, false, now, found) {
            return;
        }
        if let Some(main) = main
            && !self.ready(tree, main, input, false, now, found)
        {
            return;
        }
        let parsed = match tree.sidecar(sidecar) {
            Ok(parsed) => parsed,
            Err(error) => {
                found.wait(
                    input,
                    format!(
                        "{} cannot be read: {error}",
                        sidecar.name().to_string_lossy()
                    ),
                );
                found.again(now.checked_add(LOOK_AGAIN).unwrap_or(now));
                return;
            }
        };
        let since = tree
            .sighting(sidecar)
            .map_or(now, |sighting| sighting.since);
        let until = since.checked_add(self.pair_wait).unwrap_or(now);
        let waited = now >= until;
        let layer = match parsed.as_ref() {
            Parsed::Mapping { document, values } => Layer {
                label: sidecar.to_string(),
                folder: sidecar.parent(),
                values: values.clone(),
                document: Some((document.clone(), Vec::new())),
            },
            // Beside its medium an empty sidecar says: with the defaults. Alone it says nothing.
            Parsed::Empty if main.is_some() => Layer {
                label: sidecar.to_string(),
                folder: sidecar.parent(),
                values: Map::new(),
                document: None,
            },
            Parsed::Empty => {
                let finding = Finding::about(
                    sidecar.to_string(),
                    "it is empty",
                    "write at least `endpoint`, `model` and `prompt`, or drop it beside its medium",
                );
                return self.wrong(tree, sidecar, main, exact, vec![finding], until, now, found);
            }
            Parsed::Wrong(findings) => {
                return self.wrong(
                    tree,
                    sidecar,
                    main,
                    exact,
                    findings.clone(),
                    until,
                    now,
                    found,
                );
            }
        };
        let merged = Merged::new(defaults.to_vec(), Some(layer));
        self.request(
            tree,
            main,
            Some(sidecar),
            &merged,
            exact,
            waited,
            now,
            found,
        );
    }

    /// A sidecar that is wrong: it fails together with its medium, once nobody has touched either for a while.
    #[allow(clippy::too_many_arguments)]
    fn wrong(
        &self,
        tree: &mut Tree,
        sidecar: &RelPath,
        main: Option<&RelPath>,
        exact: bool,
        findings: Vec<Finding>,
        until: Instant,
        now: Instant,
        found: &mut Found,
    ) {
        let input = main.unwrap_or(sidecar);
        let first = findings
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        if main.is_none() && (exact || now < until) {
            found.wait(
                input,
                format!("for media; and it has to be mended: {first}"),
            );
            if !exact {
                found.again(until);
            }
            return;
        }
        if !self.ready(tree, sidecar, input, true, now, found) {
            return;
        }
        let name = sidecar.name().to_string_lossy();
        let mut files = Vec::new();
        files.extend(main.map(|main| (Role::Main, main.clone())));
        files.push((Role::Sidecar, sidecar.clone()));
        found.ready.push(Candidate {
            input: input.clone(),
            files,
            plan: Err(wrong_input(&describe(&name, findings.len()), &findings)),
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn request(
        &self,
        tree: &mut Tree,
        main: Option<&RelPath>,
        sidecar: Option<&RelPath>,
        merged: &Merged,
        exact: bool,
        waited: bool,
        now: Instant,
        found: &mut Found,
    ) {
        let Some(input) = main.or(sidecar) else {
            return;
        };
        let again = now.checked_add(LOOK_AGAIN).unwrap_or(now);
        let main_probe = match main.map(|main| tree.probe(main)).transpose() {
            Ok(probe) => probe,
            Err(error) => {
                found.wait(input, format!("it cannot be read: {error}"));
                found.again(again);
                return;
            }
        };
        let subject = Subject {
            main: main.map(|main| (main, kind_of(main, main_probe.as_deref()))),
            exact,
            waited,
        };
        let draft = match plan(self.rules, merged, subject) {
            Outcome::Ready(draft) => draft,
            Outcome::NeedsMedia(why) => {
                found.wait(input, why);
                if !waited {
                    found.again(
                        now.checked_add(self.pair_wait.min(Duration::from_secs(1)))
                            .unwrap_or(now),
                    );
                }
                return;
            }
            Outcome::Wrong(findings) => {
                return self.fail(tree, input, main, sidecar, findings, merged, now, found);
            }
        };
        match self.settle_media(tree, &draft, main, sidecar, merged, now) {
            Ok((files, plan)) => found.ready.push(Candidate {
                input: if draft.uses_main {
                    input.clone()
                } else {
                    sidecar.unwrap_or(input).clone()
                },
                files,
                plan: Ok(plan),
            }),
            Err(Unready::Wait(why, at)) => {
                found.wait(input, why);
                found.again(at);
            }
            Err(Unready::Wrong(findings)) => {
                self.fail(tree, input, main, sidecar, findings, merged, now, found);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn fail(
        &self,
        tree: &mut Tree,
        input: &RelPath,
        main: Option<&RelPath>,
        sidecar: Option<&RelPath>,
        findings: Vec<Finding>,
        merged: &Merged,
        now: Instant,
        found: &mut Found,
    ) {
        // What is wrong with the defaults alone is no fault of the files here: they wait until it is mended.
        let own = |finding: &Finding| {
            [main, sidecar]
                .into_iter()
                .flatten()
                .any(|file| finding.label == file.to_string())
        };
        let from_defaults = |finding: &Finding| {
            !own(finding)
                && merged
                    .layers()
                    .iter()
                    .any(|layer| layer.label == finding.label)
        };
        if !findings.is_empty() && findings.iter().all(from_defaults) {
            let first = findings
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            found.wait(input, format!("for the defaults to be mended: {first}"));
            found.again(now.checked_add(LOOK_AGAIN).unwrap_or(now));
            return;
        }
        if let Some(sidecar) = sidecar
            && !self.ready(tree, sidecar, input, true, now, found)
        {
            return;
        }
        let mut files = Vec::new();
        files.extend(main.map(|main| (Role::Main, main.clone())));
        files.extend(sidecar.map(|sidecar| (Role::Sidecar, sidecar.clone())));
        let name = sidecar.unwrap_or(input).name().to_string_lossy();
        found.ready.push(Candidate {
            input: input.clone(),
            files,
            plan: Err(wrong_input(&describe(&name, findings.len()), &findings)),
        });
    }

    /// Looks at the files that the request names, and prices it.
    fn settle_media(
        &self,
        tree: &mut Tree,
        draft: &Draft,
        main: Option<&RelPath>,
        sidecar: Option<&RelPath>,
        merged: &Merged,
        now: Instant,
    ) -> Result<(Vec<(Role, RelPath)>, Plan), Unready> {
        let again = now.checked_add(LOOK_AGAIN).unwrap_or(now);
        let mut files: Vec<(Role, RelPath)> = Vec::new();
        if draft.uses_main {
            files.extend(main.map(|main| (Role::Main, main.clone())));
        }
        files.extend(sidecar.map(|sidecar| (Role::Sidecar, sidecar.clone())));
        let mut findings = Vec::new();
        let mut media_uses = Vec::new();
        let mut seconds = None;
        for wanted in &draft.wanted {
            let probe = if wanted.shared {
                shared_probe(tree, &wanted.file).map_err(|why| Unready::Wait(why, again))?
            } else {
                match self.finished(tree, &wanted.file, false, now) {
                    Ok(()) => tree.probe(&wanted.file).map_err(|error| {
                        Unready::Wait(format!("for media {}: {error}", wanted.file), again)
                    })?,
                    Err(NotNow::Gone) => {
                        return Err(Unready::Wait(format!("for media {}", wanted.file), again));
                    }
                    Err(NotNow::Wait(why, at)) => {
                        return Err(Unready::Wait(
                            format!("for media {}: {why}", wanted.file),
                            at,
                        ));
                    }
                }
            };
            let (kind, mime) = match self.acceptable(&probe, wanted, merged) {
                Ok(found) => found,
                Err(finding) => {
                    findings.push(*finding);
                    continue;
                }
            };
            seconds = seconds.or(probe.seconds);
            let file = if wanted.shared {
                FileRef::Shared(wanted.file.clone())
            } else {
                let index = files.iter().position(|(_, file)| *file == wanted.file);
                FileRef::Own(index.unwrap_or_else(|| {
                    files.push((Role::Reference, wanted.file.clone()));
                    files.len().saturating_sub(1)
                }))
            };
            media_uses.push(MediaUse {
                slot: wanted.slot.clone(),
                file,
                kind,
                mime,
            });
        }
        let estimated = self.price(draft, seconds);
        if let Some(limit) = draft.max_credits {
            let path = [crate::catalogue::Step::Key("max_credits".to_owned())];
            let message = match estimated {
                Some(credits) if credits > limit => Some(format!(
                    "the request would cost about {credits} credits, and `max_credits` is {limit}"
                )),
                Some(_) => None,
                None => Some(format!(
                    "the price of this request is not known, so `max_credits: {limit}` cannot be kept"
                )),
            };
            findings.extend(message.map(|message| {
                let hint = "raise it or take it out, or ask for something cheaper";
                merged.finding(
                    &path,
                    crate::catalogue::On::Value,
                    message,
                    Some(hint.to_owned()),
                )
            }));
        }
        if !findings.is_empty() {
            return Err(Unready::Wrong(findings));
        }
        Ok((
            files,
            Plan {
                endpoint: draft.endpoint.clone(),
                model: (!draft.model.is_empty()).then(|| draft.model.clone()),
                path: draft.path.clone(),
                poll: draft.poll.clone(),
                body: draft.body.clone(),
                media: media_uses,
                estimated,
                priority: draft.priority,
                output: draft.output.clone(),
                warnings: draft.warnings.clone(),
            },
        ))
    }

    fn price(&self, draft: &Draft, seconds: Option<f64>) -> Option<f64> {
        let endpoint = self.rules.catalogue.endpoint(&draft.endpoint)?.endpoint;
        estimate(endpoint.model(&draft.model)?, &draft.body, seconds)
    }

    /// Whether the API would take a medium where it is wanted.
    fn acceptable(
        &self,
        probe: &Probe,
        wanted: &super::request::Wanted,
        merged: &Merged,
    ) -> Result<(Kind, String), Box<Finding>> {
        let name = wanted.file.name().to_string_lossy();
        let label = wanted.file.to_string();
        let refuse = |message: String, hint: String| {
            Err(Box::new(Finding::about(label.clone(), message, hint)))
        };
        if let media::Wholeness::Partial { missing } = &probe.wholeness
            && probe.bytes > 0
            && probe.format.is_some_and(media::Format::accepted_by_api)
        {
            return refuse(
                format!("it is cut short: {missing}"),
                "copy or save it again".to_owned(),
            );
        }
        if let Some(why) = media::refusal(probe, &name) {
            let (what, advice) = why
                .split_once(". ")
                .unwrap_or((why.as_str(), "Drop another file"));
            return refuse(what.to_owned(), lower_first(advice));
        }
        let (Some(format), Some(kind)) = (probe.format, probe.kind()) else {
            return refuse(
                "its content is of no known kind".to_owned(),
                "drop another file".to_owned(),
            );
        };
        if !wanted.kinds.is_empty() && !wanted.kinds.contains(&kind) {
            let takes: Vec<&str> = wanted.kinds.iter().map(|kind| kind.as_str()).collect();
            let message = format!(
                "{name} is {} {kind}, and this field takes {}",
                article(kind),
                takes.join(" or ")
            );
            return Err(Box::new(merged.finding(
                &wanted.slot,
                crate::catalogue::On::Value,
                message,
                Some("name another file or another endpoint".to_owned()),
            )));
        }
        if probe.bytes > self.max_input {
            return refuse(
                format!(
                    "it has {} bytes, and the largest input allowed is {} bytes",
                    probe.bytes, self.max_input
                ),
                "make it smaller, or raise `limits.max_input_size` (Runway takes 200 MB at most)"
                    .to_owned(),
            );
        }
        if let Err(too_big) = route(kind, probe.bytes, false) {
            return refuse(too_big.to_string(), "make it smaller".to_owned());
        }
        Ok((kind, format.mime().to_owned()))
    }
}

enum Unready {
    Wait(String, Instant),
    Wrong(Vec<Finding>),
}

/// A picture that many jobs refer to. It lies outside what is scanned, so it is looked at here, and no link on the way to
/// it is followed.
fn shared_probe(tree: &Tree, file: &RelPath) -> Result<Arc<Probe>, String> {
    debug_assert!(is_shared(file));
    let mut path = tree.root().to_path_buf();
    for part in file.as_path().components() {
        path.push(part);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => {
                return Err(format!(
                    "for media {file}: {} is a link, and links are not followed",
                    path.display()
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("for media {file}"));
            }
            Err(error) => return Err(format!("for media {file}: {error}")),
        }
    }
    let probe = File::open(&path).and_then(|mut file| media::probe(&mut file));
    match probe {
        Ok(probe) => match &probe.wholeness {
            media::Wholeness::Partial { missing } if probe.bytes > 0 => {
                Err(format!("for media {file}: it is not whole yet: {missing}"))
            }
            _ => Ok(Arc::new(probe)),
        },
        Err(error) => Err(format!("for media {file}: {error}")),
    }
}

/// The content counts; where it says nothing, the name does.
fn kind_of(file: &RelPath, probe: Option<&Probe>) -> Kind {
    match (probe.and_then(Probe::kind), classify(file.name())) {
        (Some(kind), _) | (None, Class::Medium(kind)) => kind,
        (None, Class::Sidecar | Class::Other) => Kind::Image,
    }
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Image | Kind::Audio => "an",
        Kind::Video => "a",
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn wait_for_defaults(input: &RelPath, problems: &[Finding], found: &mut Found) {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    found.wait(input, format!("for the defaults to be mended: {first}"));
}

fn describe(name: &str, problems: usize) -> String {
    match problems {
        1 => format!("a problem with {name}"),
        several => format!("{several} problems with {name}"),
    }
}

/// The failure of an input that is wrong before anything was sent.
fn wrong_input(what: &str, findings: &[Finding]) -> Failure {
    Failure {
        kind: FailureKind::Input,
        what: match findings {
            [only] => format!("{what}: {}", only.message),
            _ => what.to_owned(),
        },
        details: findings.iter().map(ToString::to_string).collect(),
        advice: "Mend it and move the files back to the inbox. Nothing was sent, and no credits were charged.".to_owned(),
        task: None,
    }
}
