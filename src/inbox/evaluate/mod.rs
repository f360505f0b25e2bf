//! One folder's files to jobs that can be taken and reasons to wait.

pub(crate) mod media_use;
pub(crate) mod pair;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use crate::config::Inbox;
use crate::files::names::stem;
use crate::files::{RelPath, shown};
use crate::inbox::evaluate::media_use::Unready;
use crate::inbox::evaluate::pair::{Group, pair};
use crate::inbox::look::references::Named;
use crate::inbox::look::settle::{Content, Judgement, Writer, judge};
use crate::inbox::look::tree::{Tree, Unusable};
use crate::job::{Failure, FailureKind, Plan, Role};
use crate::media::{Kind, Probe};
use crate::sidecar::layers::{Finding, Layer, Merged};
use crate::sidecar::names::{Class, classify, comparable, marked_by, marker_of};
use crate::sidecar::request::{Outcome, Rules, Subject, plan};
use crate::sidecar::text::Parsed;

/// A job that can be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What it is named after.
    pub input: RelPath,
    /// Its files, where they were dropped.
    pub files: Vec<(Role, RelPath)>,
    /// The request, or why there is none.
    pub plan: Result<Plan, Failure>,
    /// Whether it is a sidecar that makes a request with a medium as well as without, so that it may be the correction of one
    /// over which a job failed together with its medium.
    pub may_be_correction: bool,
}

/// Something that stays in the inbox for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What waits.
    pub input: RelPath,
    /// For what. Shared, since thousands of files may wait for the same.
    pub reason: Arc<str>,
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
    fn wait(&mut self, input: &RelPath, reason: impl Into<Arc<str>>) {
        self.waiting.push(Waiting {
            input: input.clone(),
            reason: reason.into(),
        });
    }

    fn again(&mut self, at: Instant) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }
}

/// How long a text must be quiet once its writer has closed it: it proves no end, and a script may close it after every line.
pub(super) const TEXT_SETTLE: Duration = Duration::from_secs(1);

/// How often something outside the watched folders is looked at again, such as a shared picture that is missing.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The rules of one inbox.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// What requests are checked against.
    pub rules: Rules<'a>,
    /// The inbox's configuration.
    pub inbox: &'a Inbox,
    /// How long a file must be quiet.
    pub settle: Duration,
    /// Largest input, in bytes.
    pub max_input: u64,
    /// The inbox's `defaults` in the configuration.
    pub defaults: &'a Layer,
}

/// Why a file is not used now.
pub(super) enum NotNow {
    /// It is not finished: why, and when to look again.
    Wait(String, Instant),
    /// It is not there.
    Gone,
}

/// A sidecar or a lone medium on its way to a request.
struct Subjects<'a> {
    main: Option<&'a RelPath>,
    sidecar: Option<&'a RelPath>,
    /// Whether the sidecar's name holds a medium's whole name.
    exact: bool,
    /// Whether the other half had time enough to come.
    waited: bool,
}

impl Subjects<'_> {
    /// What people look for: the medium, or the sidecar where there is none.
    fn input(&self) -> Option<&RelPath> {
        self.main.or(self.sidecar)
    }

    fn files(&self) -> Vec<(Role, RelPath)> {
        let main = self.main.map(|main| (Role::Main, main.clone()));
        let sidecar = self.sidecar.map(|sidecar| (Role::Sidecar, sidecar.clone()));
        main.into_iter().chain(sidecar).collect()
    }

    fn has(&self, label: &str) -> bool {
        [self.main, self.sidecar]
            .into_iter()
            .flatten()
            .any(|file| file.to_string() == label)
    }
}

impl Evaluator<'_> {
    /// Evaluates one folder. `named` are the files that sidecars refer to.
    pub fn folder(&self, tree: &mut Tree, folder: &RelPath, named: &Named, now: Instant) -> Found {
        let mut pass = Pass {
            rules: self,
            tree,
            now,
            found: Found::default(),
        };
        pass.folder(folder, named);
        pass.take_markers();
        pass.found
    }
}

/// One look at one folder.
pub(super) struct Pass<'a, 'r> {
    pub(super) rules: &'a Evaluator<'r>,
    pub(super) tree: &'a mut Tree,
    pub(super) now: Instant,
    found: Found,
}

impl Pass<'_, '_> {
    fn folder(&mut self, folder: &RelPath, named: &Named) {
        for (name, why) in self.tree.odd(folder) {
            self.found.wait(&folder.join(&name), why);
        }
        let mut names = self.tree.names(folder);
        // A marker belongs to its file.
        names.retain(|name| {
            let marked = marked_by(name).map(|marked| folder.join(marked));
            marked.is_none_or(|marked| self.tree.sighting(&marked).is_none())
        });
        if names.is_empty() {
            return;
        }
        let defaults = self.defaults(folder);
        // Whether the defaults alone make a request depends on the kind only, and thousands of media may lie here.
        let mut lone: HashMap<Kind, Result<(), Arc<str>>> = HashMap::new();
        // A sidecar that cannot be used is a sidecar all the same: its medium must not go out without it.
        let unusable: BTreeMap<Vec<u8>, (OsString, &str)> = self
            .tree
            .odd(folder)
            .into_iter()
            .filter(|(name, _)| classify(name) == Class::Sidecar)
            .map(|(name, why)| (comparable(stem(&name)), (name, why)))
            .collect();
        for group in pair(
            names.iter().map(OsString::as_os_str),
            named.in_folder(folder),
        ) {
            match group {
                Group::Other { name } => self.found.wait(
                    &folder.join(&name),
                    match marked_by(&name) {
                        Some(marked) => {
                            format!("it says that {} is finished, which is not here", shown(marked))
                        }
                        None => "it is no image, video, sound or sidecar by its name, and no sidecar names it".to_owned(),
                    },
                ),
                Group::Spare { sidecar, used } => {
                    let reason = format!("not used: {} stands for the same medium", shown(&used));
                    self.found.wait(&folder.join(&sidecar), reason);
                }
                Group::Clash { sidecar, media } => self.clash(folder, &sidecar, &media),
                Group::Alone { main } => {
                    let own = unusable
                        .get(&comparable(&main))
                        .or_else(|| unusable.get(&comparable(stem(&main))));
                    let main = folder.join(&main);
                    if let Some((name, why)) = own {
                        let reason = format!(
                            "for its sidecar {}, which cannot be used: {why}",
                            shown(name)
                        );
                        self.found.wait(&main, reason);
                        continue;
                    }
                    match &defaults {
                        Err(why) => self.wait_until(&main, why),
                        Ok(layers) => self.alone(&main, layers, &mut lone),
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
                        Err(why) => self.wait_until(main.as_ref().unwrap_or(&sidecar), why),
                        Ok(layers) => self.sidecar(&sidecar, main.as_ref(), exact, layers),
                    }
                }
            }
        }
    }

    /// Markers travel with the files that they are for.
    fn take_markers(&mut self) {
        for candidate in &mut self.found.ready {
            let markers: Vec<RelPath> = candidate
                .files
                .iter()
                .map(|(_, file)| marker_of_file(file))
                .filter(|marker| self.tree.sighting(marker).is_some())
                .collect();
            candidate
                .files
                .extend(markers.into_iter().map(|marker| (Role::Marker, marker)));
        }
    }

    /// All layers below the sidecar's; where there is none yet, for what to wait and when to look again.
    fn defaults(&mut self, folder: &RelPath) -> Result<Vec<Layer>, (Arc<str>, Instant)> {
        match self.tree.defaults(folder, self.rules.settle, self.now) {
            Ok(layers) => {
                let mut all = vec![self.rules.defaults.clone()];
                all.extend(layers);
                Ok(all)
            }
            Err(Unusable::Unsettled {
                label,
                gone,
                look_again,
            }) => {
                let what = if gone {
                    "which was removed a moment ago"
                } else {
                    "which is still being written"
                };
                Err((format!("for {label}, {what}").into(), look_again))
            }
            Err(Unusable::Wrong(problems)) => {
                Err((mend_defaults(&problems).into(), self.later(LOOK_AGAIN)))
            }
        }
    }

    fn wait_until(&mut self, input: &RelPath, (why, at): &(Arc<str>, Instant)) {
        self.found.wait(input, why.clone());
        self.found.again(*at);
    }

    fn later(&self, pause: Duration) -> Instant {
        self.now.checked_add(pause).unwrap_or(self.now)
    }

    fn wait_again(&mut self, input: &RelPath, reason: impl Into<Arc<str>>) {
        self.found.wait(input, reason);
        self.found.again(self.later(LOOK_AGAIN));
    }

    /// Whether a file is finished. `certain` asks for the whole quiet time even where its writer closed it, since a person
    /// may be in the middle of mending it.
    pub(super) fn finished(&mut self, file: &RelPath, certain: bool) -> Result<(), NotNow> {
        let Some(mut sighting) = self.tree.sighting(file) else {
            return Err(NotNow::Gone);
        };
        // Its writer says so.
        if self.tree.sighting(&marker_of_file(file)).is_some() {
            return Ok(());
        }
        let quiet = self.now.saturating_duration_since(sighting.since);
        if sighting.writer != Writer::Done && quiet < self.rules.settle {
            let at = sighting
                .since
                .checked_add(self.rules.settle)
                .unwrap_or(self.now);
            return Err(NotNow::Wait("still being written".to_owned(), at));
        }
        let content = match self.tree.content(file) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(NotNow::Gone),
            Err(error) => {
                return Err(NotNow::Wait(
                    format!(
                        "it cannot be read ({error}): make it readable for the user that taxiway runs as"
                    ),
                    self.later(LOOK_AGAIN),
                ));
            }
        };
        let is_text = classify(file.name()) == Class::Sidecar;
        let content = match content {
            Content::Whole if certain || is_text => Content::Unknowable,
            other => other,
        };
        let settle = match sighting.writer {
            Writer::Done if is_text && !certain => self.rules.settle.min(TEXT_SETTLE),
            Writer::Done | Writer::Busy | Writer::Unknown => self.rules.settle,
        };
        if certain && sighting.writer == Writer::Done {
            sighting.writer = Writer::Unknown;
        }
        match judge(&sighting, &content, settle, self.now) {
            Judgement::Finished => Ok(()),
            Judgement::NotYet { why, look_again } => Err(NotNow::Wait(why, look_again)),
        }
    }

    /// Like [`Pass::finished`], with the reason noted for `input`.
    fn ready(&mut self, file: &RelPath, input: &RelPath, certain: bool) -> bool {
        if self.rules.inbox.marker_required && file == input {
            let marker = marker_of_file(file);
            if self.tree.sighting(file).is_some() && self.tree.sighting(&marker).is_none() {
                let reason = format!("for its marker {}", shown(marker.name()));
                self.found.wait(input, reason);
                return false;
            }
        }
        match self.finished(file, certain) {
            Ok(()) => true,
            Err(NotNow::Gone) => false,
            Err(NotNow::Wait(why, at)) => {
                let reason = if file == input {
                    why
                } else {
                    format!("{}: {why}", shown(file.name()))
                };
                self.found.wait(input, reason);
                self.found.again(at);
                false
            }
        }
    }

    /// When a file that stands alone need not wait for its other half any longer: counted anew from when that went away.
    fn pair_until(&self, file: &RelPath) -> Instant {
        let since = self
            .tree
            .sighting(file)
            .map_or(self.now, |sighting| sighting.since);
        let since = self.tree.parted(file).map_or(since, |at| at.max(since));
        since
            .checked_add(self.rules.inbox.pair_wait)
            .unwrap_or(self.now)
    }

    fn clash(&mut self, folder: &RelPath, sidecar: &OsStr, media: &[OsString]) {
        let sidecar = folder.join(sidecar);
        let mut files = vec![(Role::Sidecar, sidecar.clone())];
        files.extend(media.iter().map(|name| (Role::Main, folder.join(name))));
        for (_, file) in &files {
            if !self.ready(file, &sidecar, true) {
                return;
            }
        }
        let list: Vec<_> = media.iter().map(|name| shown(name)).collect();
        let name = shown(sidecar.name());
        let finding = Finding::about(
            sidecar.to_string(),
            format!("it could be for any of {}", list.join(", ")),
            format!(
                "name it after one of them, such as {}.yaml, and write one for each",
                list.first().map_or("cat.jpg", |first| first)
            ),
        );
        self.found.ready.push(Candidate {
            input: sidecar,
            files,
            plan: Err(wrong_input(
                &format!("several media for one sidecar, {name}"),
                vec![finding],
            )),
            may_be_correction: false,
        });
    }

    fn alone(
        &mut self,
        main: &RelPath,
        defaults: &[Layer],
        lone: &mut HashMap<Kind, Result<(), Arc<str>>>,
    ) {
        let Class::Medium(by_name) = classify(main.name()) else {
            return;
        };
        let outlook = lone
            .entry(by_name)
            .or_insert_with(|| self.outlook(main, by_name, defaults));
        if let Err(why) = outlook {
            let why = why.clone();
            self.found.wait(main, why);
            return;
        }
        if !self.ready(main, main, false) {
            return;
        }
        let until = self.pair_until(main);
        if self.now < until {
            let reason = format!(
                "for a sidecar, until {} s have passed",
                self.rules.inbox.pair_wait.as_secs_f64()
            );
            self.found.wait(main, reason);
            self.found.again(until);
            return;
        }
        let subjects = Subjects {
            main: Some(main),
            sidecar: None,
            exact: false,
            waited: true,
        };
        self.request(&subjects, &Merged::new(defaults.to_vec(), None));
    }

    /// Whether the defaults alone make a request for a medium of this kind; if not, what it waits for.
    fn outlook(&self, main: &RelPath, kind: Kind, defaults: &[Layer]) -> Result<(), Arc<str>> {
        let subject = Subject {
            main: Some((main, kind)),
            exact: false,
            waited: true,
        };
        let why = match plan(
            self.rules.rules,
            &Merged::new(defaults.to_vec(), None),
            subject,
        ) {
            Outcome::Ready(_) => return Ok(()),
            Outcome::NeedsMedia(why) => why,
            Outcome::Wrong(findings) => {
                // What stands somewhere is told with its place; what is merely missing may come with the sidecar.
                let placed: Vec<String> = findings
                    .iter()
                    .filter(|finding| finding.place.is_some())
                    .map(ToString::to_string)
                    .collect();
                match (placed.as_slice(), findings.first()) {
                    ([], Some(first)) => first.message.clone(),
                    ([], None) => String::new(),
                    _ => placed.join("; "),
                }
            }
        };
        Err(format!(
            "for a sidecar: its name with .yaml behind it, or instead of its extension (the defaults alone make no request: {why})"
        )
        .into())
    }

    fn sidecar(
        &mut self,
        sidecar: &RelPath,
        main: Option<&RelPath>,
        exact: bool,
        defaults: &[Layer],
    ) {
        let input = main.unwrap_or(sidecar);
        // One that is for a medium and nothing else waits for that, whose marker counts.
        let of_no_use_alone = self.rules.inbox.marker_required && main.is_none() && exact;
        if !of_no_use_alone && !self.ready(sidecar, input, false) {
            return;
        }
        if let Some(main) = main
            && !self.ready(main, input, false)
        {
            return;
        }
        let parsed = match self.tree.sidecar(sidecar) {
            Ok(parsed) => parsed,
            Err(error) => {
                let name = shown(sidecar.name());
                self.wait_again(input, format!("{name} cannot be read: {error}"));
                return;
            }
        };
        let subjects = Subjects {
            main,
            sidecar: Some(sidecar),
            exact,
            waited: self.now >= self.pair_until(sidecar),
        };
        let layer = |values, document| Layer {
            label: sidecar.to_string(),
            folder: sidecar.parent(),
            values,
            document,
        };
        let layer = match parsed.as_ref() {
            Parsed::Mapping { document, values } => {
                layer(values.clone(), Some((document.clone(), Vec::new())))
            }
            // Beside its medium an empty sidecar says: with the defaults. Alone it says nothing.
            Parsed::Empty if main.is_some() => layer(Map::new(), None),
            Parsed::Empty => {
                let finding = Finding::about(
                    sidecar.to_string(),
                    "it is empty",
                    "write at least `endpoint`, `model` and `prompt`, or drop it beside its medium",
                );
                return self.wrong(&subjects, vec![finding]);
            }
            Parsed::Wrong(findings) => return self.wrong(&subjects, findings.clone()),
        };
        self.request(&subjects, &Merged::new(defaults.to_vec(), Some(layer)));
    }

    /// A sidecar that is wrong: it fails together with its medium, once nobody has touched it for a while.
    ///
    /// Without its medium it waits: if it went to `failed/` alone, the medium would come later and be sent with the
    /// defaults only, which is not what its owner wrote.
    fn wrong(&mut self, subjects: &Subjects<'_>, findings: Vec<Finding>) {
        let (Some(sidecar), Some(input)) = (subjects.sidecar, subjects.input()) else {
            return;
        };
        if subjects.main.is_none() && (subjects.exact || !subjects.waited) {
            let first = findings
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            self.found.wait(
                input,
                format!("for media; and it has to be mended: {first}"),
            );
            if !subjects.exact {
                self.found.again(self.pair_until(sidecar));
            }
            return;
        }
        if self.ready(sidecar, input, true) {
            self.refuse(subjects, findings);
        }
    }

    fn refuse(&mut self, subjects: &Subjects<'_>, findings: Vec<Finding>) {
        let Some(input) = subjects.input() else {
            return;
        };
        let name = shown(subjects.sidecar.unwrap_or(input).name());
        let what = match findings.len() {
            1 => format!("a problem with {name}"),
            several => format!("{several} problems with {name}"),
        };
        let mut failure = wrong_input(&what, findings);
        if subjects.main.is_some() && subjects.sidecar.is_some() {
            failure.advice = format!(
                "Mend {name} and drop it into the inbox; the job then goes on by itself. Nothing was sent, and no credits were charged."
            );
        }
        let mut files = subjects.files();
        // What it alone refers to goes with it: left behind, it would be taken for a job of its own.
        let references = subjects
            .sidecar
            .map(|sidecar| self.tree.own_references(sidecar));
        for reference in references.into_iter().flatten() {
            if files.iter().any(|(_, file)| *file == reference) {
                continue;
            }
            if !self.ready(&reference, input, false) {
                return;
            }
            files.push((Role::Reference, reference));
        }
        self.found.ready.push(Candidate {
            input: input.clone(),
            files,
            plan: Err(failure),
            may_be_correction: false,
        });
    }

    fn request(&mut self, subjects: &Subjects<'_>, merged: &Merged) {
        let Some(input) = subjects.input() else {
            return;
        };
        let probe = match subjects.main.map(|main| self.tree.probe(main)).transpose() {
            Ok(probe) => probe,
            Err(error) => return self.wait_again(input, format!("it cannot be read: {error}")),
        };
        let subject = Subject {
            main: subjects
                .main
                .map(|main| (main, kind_of(main, probe.as_deref()))),
            exact: subjects.exact,
            waited: subjects.waited,
        };
        let draft = match plan(self.rules.rules, merged, subject) {
            Outcome::Ready(draft) => draft,
            Outcome::NeedsMedia(why) => {
                self.found.wait(input, why);
                if !subjects.waited {
                    self.found.again(self.pair_until(input));
                }
                return;
            }
            Outcome::Wrong(findings) => return self.fail(subjects, findings, merged),
        };
        match self.settle_media(&draft, subjects.main, subjects.sidecar, merged) {
            Ok((files, plan)) => self.found.ready.push(Candidate {
                input: match subjects.sidecar {
                    Some(sidecar) if !draft.uses_main => sidecar.clone(),
                    _ => input.clone(),
                },
                files,
                plan: Ok(plan),
                may_be_correction: subjects.main.is_none()
                    && subjects.sidecar.is_some()
                    && !subjects.exact
                    && merged.get("endpoint").is_none(),
            }),
            Err(Unready::Wait(why, at)) => {
                self.found.wait(input, why);
                self.found.again(at);
            }
            Err(Unready::Wrong(findings)) => self.fail(subjects, findings, merged),
        }
    }

    fn fail(&mut self, subjects: &Subjects<'_>, findings: Vec<Finding>, merged: &Merged) {
        let Some(input) = subjects.input() else {
            return;
        };
        // What is wrong with the defaults alone is no fault of the files here: they wait until it is mended.
        let from_defaults = |finding: &Finding| {
            !subjects.has(&finding.label)
                && merged
                    .layers()
                    .iter()
                    .any(|layer| layer.label == finding.label)
        };
        if !findings.is_empty() && findings.iter().all(from_defaults) {
            return self.wait_again(input, mend_defaults(&findings));
        }
        let settled = match subjects.sidecar {
            Some(sidecar) => self.ready(sidecar, input, true),
            None => true,
        };
        if settled {
            self.refuse(subjects, findings);
        }
    }
}

fn marker_of_file(file: &RelPath) -> RelPath {
    file.with_name(&marker_of(file.name()))
}

fn mend_defaults(problems: &[Finding]) -> String {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("for the defaults to be mended: {first}")
}

/// The content counts; where it says nothing, the name does.
fn kind_of(file: &RelPath, probe: Option<&Probe>) -> Kind {
    match (probe.and_then(Probe::kind), classify(file.name())) {
        (Some(kind), _) | (None, Class::Medium(kind)) => kind,
        (None, Class::Sidecar | Class::Other) => Kind::Image,
    }
}

/// The failure of an input that is wrong before anything was sent. Problems are told in the order of the text.
fn wrong_input(what: &str, mut findings: Vec<Finding>) -> Failure {
    findings.sort_by_key(|finding| {
        let place = finding.place.map(|place| (place.line, place.column));
        (finding.label.clone(), place)
    });
    Failure {
        kind: FailureKind::Input,
        what: match findings.as_slice() {
            [only] => format!("{what}: {}", only.message),
            _ => what.to_owned(),
        },
        details: findings.iter().map(ToString::to_string).collect(),
        advice: "Mend it and move the files back to the inbox. Nothing was sent, and no credits were charged.".to_owned(),
        task: None,
    }
}
