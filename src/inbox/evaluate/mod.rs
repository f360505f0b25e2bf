//! One folder's files become jobs that can be taken and reasons to wait.

pub(crate) mod media_use;
pub(crate) mod pair;
pub(crate) mod rules;
mod wrong;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use crate::diagnostic::Diagnostic;
use crate::files::names::stem;
use crate::files::{RelPath, shown};
use crate::inbox::evaluate::media_use::{MediaCheck, Unready};
use crate::inbox::evaluate::pair::{Group, pair};
use crate::inbox::evaluate::rules::{Candidate, Evaluator, Found};
use crate::inbox::evaluate::wrong::{build_failure, describe_defaults_to_fix};
use crate::inbox::look::defaults::Unusable;
use crate::inbox::look::finished::{NotNow, check_finished, marker_path};
use crate::inbox::look::references::ReferencedNames;
use crate::inbox::look::tree::Tree;
use crate::inbox::pace::LOOK_AGAIN;
use crate::job::Role;
use crate::media::{Kind, Probe};
use crate::sidecar::endpoint::Subject;
use crate::sidecar::layers::{Layer, Merged};
use crate::sidecar::names::{Class, classify, marked_by, nfc_key};
use crate::sidecar::request::{Outcome, plan};
use crate::sidecar::text::Parsed;

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
    /// Evaluates one folder. `referenced` are the files that sidecars refer to.
    pub fn evaluate(
        &self,
        tree: &mut Tree,
        folder: &RelPath,
        referenced: &ReferencedNames,
        now: Instant,
    ) -> Found {
        let mut pass = Pass {
            evaluator: self,
            tree,
            now,
            found: Found::default(),
        };
        pass.evaluate_folder(folder, referenced);
        pass.add_markers();
        pass.found
    }
}

/// The evaluation of one folder at one time.
struct Pass<'a, 'r> {
    evaluator: &'a Evaluator<'r>,
    tree: &'a mut Tree,
    now: Instant,
    found: Found,
}

/// For each kind of medium whether the defaults alone make a request, or what media of this kind wait for. It depends on the kind
/// only, and there may be thousands of media.
type DefaultsAlone = HashMap<Kind, Result<(), Arc<str>>>;

impl Pass<'_, '_> {
    fn evaluate_folder(&mut self, folder: &RelPath, referenced: &ReferencedNames) {
        for (name, why) in self.tree.skipped(folder) {
            self.found.wait(&folder.join(name), why);
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
        let defaults = self.load_defaults(folder);
        let mut alone = DefaultsAlone::new();
        // A sidecar that is skipped is a sidecar all the same: its medium must not go out without it.
        let skipped: BTreeMap<Vec<u8>, (OsString, &str)> = self
            .tree
            .skipped(folder)
            .filter(|(name, _)| classify(name) == Class::Sidecar)
            .map(|(name, why)| (nfc_key(stem(name)), (name.to_owned(), why)))
            .collect();
        let names = names.iter().map(OsString::as_os_str);
        for group in pair(names, referenced.in_folder(folder)) {
            match group {
                Group::Other { name } => self.found.wait(
                    &folder.join(&name),
                    match marked_by(&name) {
                        Some(marked) => {
                            format!("it says that {} is finished, which is not here", shown(marked))
                        }
                        None => "its name is not that of an image, video, sound or sidecar, and no sidecar names it".to_owned(),
                    },
                ),
                Group::Spare { sidecar, used } => {
                    let reason = format!("not used: {} is for the same medium", shown(&used));
                    self.found.wait(&folder.join(&sidecar), reason);
                }
                Group::Clash { sidecar, media } => self.refuse_clash(folder, &sidecar, &media),
                Group::Alone { main } => {
                    let own = skipped
                        .get(&nfc_key(&main))
                        .or_else(|| skipped.get(&nfc_key(stem(&main))));
                    let main = folder.join(&main);
                    match (own, &defaults) {
                        (Some((name, why)), _) => {
                            let name = shown(name);
                            let reason =
                                format!("for its sidecar {name}, which cannot be used: {why}");
                            self.found.wait(&main, reason);
                        }
                        (None, Err(why)) => self.wait_until(&main, why),
                        (None, Ok(layers)) => self.evaluate_medium(&main, layers, &mut alone),
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
                        Ok(layers) => self.evaluate_sidecar(&sidecar, main.as_ref(), exact, layers),
                    }
                }
            }
        }
    }

    /// Markers travel with the files that they are for.
    fn add_markers(&mut self) {
        for candidate in &mut self.found.ready {
            let markers: Vec<RelPath> = candidate
                .files
                .iter()
                .map(|(_, file)| marker_path(file))
                .filter(|marker| self.tree.sighting(marker).is_some())
                .collect();
            candidate
                .files
                .extend(markers.into_iter().map(|marker| (Role::Marker, marker)));
        }
    }

    /// All layers below the sidecar's. If they cannot be used yet: what to wait for, and when to check again.
    fn load_defaults(&mut self, folder: &RelPath) -> Result<Vec<Layer>, (Arc<str>, Instant)> {
        let settle = self.evaluator.settle;
        match self.tree.defaults().load_layers(folder, settle, self.now) {
            Ok(layers) => {
                let mut all = vec![self.evaluator.defaults.clone()];
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
                let why = describe_defaults_to_fix(&problems);
                Err((why.into(), self.after(LOOK_AGAIN)))
            }
        }
    }

    fn wait_until(&mut self, input: &RelPath, (why, at): &(Arc<str>, Instant)) {
        self.found.wait(input, why.clone());
        self.found.look_again_at(*at);
    }

    fn after(&self, pause: Duration) -> Instant {
        self.now.checked_add(pause).unwrap_or(self.now)
    }

    fn wait_again(&mut self, input: &RelPath, reason: impl Into<Arc<str>>) {
        self.found.wait(input, reason);
        self.found.look_again_at(self.after(LOOK_AGAIN));
    }

    /// Checks whether a file is finished, and adds the reason to wait for `input` if it is not.
    fn check_ready(&mut self, file: &RelPath, input: &RelPath, certain: bool) -> bool {
        if self.evaluator.inbox.marker_required && file == input {
            let marker = marker_path(file);
            if self.tree.sighting(file).is_some() && self.tree.sighting(&marker).is_none() {
                let reason = format!("for its marker {}", shown(marker.name()));
                self.found.wait(input, reason);
                return false;
            }
        }
        let settle = self.evaluator.settle;
        match check_finished(self.tree, file, certain, settle, self.now) {
            Ok(()) => true,
            Err(NotNow::Gone) => false,
            Err(NotNow::Wait(why, at)) => {
                let reason = if file == input {
                    why
                } else {
                    format!("{}: {why}", shown(file.name()))
                };
                self.found.wait(input, reason);
                self.found.look_again_at(at);
                false
            }
        }
    }

    /// Until when a file waits for its sidecar or medium; counted again from when a sidecar went away.
    fn find_pair_deadline(&self, file: &RelPath) -> Instant {
        let since = self
            .tree
            .sighting(file)
            .map_or(self.now, |sighting| sighting.since);
        let since = self
            .tree
            .sidecar_gone_at(file)
            .map_or(since, |at| at.max(since));
        since
            .checked_add(self.evaluator.inbox.pair_wait)
            .unwrap_or(self.now)
    }

    /// A sidecar that could be for several media fails together with them.
    fn refuse_clash(&mut self, folder: &RelPath, sidecar: &OsStr, media: &[OsString]) {
        let sidecar = folder.join(sidecar);
        let mut files = vec![(Role::Sidecar, sidecar.clone())];
        files.extend(media.iter().map(|name| (Role::Main, folder.join(name))));
        for (_, file) in &files {
            if !self.check_ready(file, &sidecar, true) {
                return;
            }
        }
        let list: Vec<_> = media.iter().map(|name| shown(name)).collect();
        let name = shown(sidecar.name());
        let finding = Diagnostic::of_file(
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
            plan: Err(build_failure(
                &format!("several media for one sidecar, {name}"),
                vec![finding],
            )),
            may_be_correction: false,
        });
    }

    fn evaluate_medium(&mut self, main: &RelPath, defaults: &[Layer], alone: &mut DefaultsAlone) {
        let Class::Medium(by_name) = classify(main.name()) else {
            return;
        };
        let possible = alone
            .entry(by_name)
            .or_insert_with(|| self.check_defaults_alone(main, by_name, defaults));
        if let Err(why) = possible {
            let why = why.clone();
            self.found.wait(main, why);
            return;
        }
        if !self.check_ready(main, main, false) {
            return;
        }
        let until = self.find_pair_deadline(main);
        if self.now < until {
            let reason = format!(
                "for a sidecar, until {} s have passed",
                self.evaluator.inbox.pair_wait.as_secs_f64()
            );
            self.found.wait(main, reason);
            self.found.look_again_at(until);
            return;
        }
        let subjects = Subjects {
            main: Some(main),
            sidecar: None,
            exact: false,
            waited: true,
        };
        self.plan_request(&subjects, &Merged::new(defaults.to_vec(), None));
    }

    /// Checks whether the defaults alone make a request for a medium of this kind. If not: what it waits for.
    fn check_defaults_alone(
        &self,
        main: &RelPath,
        kind: Kind,
        defaults: &[Layer],
    ) -> Result<(), Arc<str>> {
        let subject = Subject {
            main: Some((main, kind)),
            exact: false,
            waited: true,
        };
        let why = match plan(
            self.evaluator.rules,
            &Merged::new(defaults.to_vec(), None),
            subject,
        ) {
            Outcome::Ready(_) => return Ok(()),
            Outcome::NeedsMedia(why) => why,
            Outcome::Wrong(findings) => {
                // What has a place in a text is reported with it; what is only missing may come with the sidecar.
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
        // Without the file's name, since all media of this kind in the folder share the text.
        Err(format!(
            "for a sidecar: the same name with .yaml added, or with .yaml instead of the extension (the defaults alone do not make a \
             request: {why})"
        )
        .into())
    }

    fn evaluate_sidecar(
        &mut self,
        sidecar: &RelPath,
        main: Option<&RelPath>,
        exact: bool,
        defaults: &[Layer],
    ) {
        let input = main.unwrap_or(sidecar);
        // A sidecar that can only be for a medium waits for it, and the marker of the medium counts.
        let useless_alone = self.evaluator.inbox.marker_required && main.is_none() && exact;
        if !useless_alone && !self.check_ready(sidecar, input, false) {
            return;
        }
        if let Some(main) = main
            && !self.check_ready(main, input, false)
        {
            return;
        }
        let parsed = match self.tree.read_sidecar(sidecar) {
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
            waited: self.now >= self.find_pair_deadline(sidecar),
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
            // Next to its medium an empty sidecar means: use the defaults. Alone it means nothing.
            Parsed::Empty if main.is_some() => layer(Map::new(), None),
            Parsed::Empty => {
                let finding = Diagnostic::of_file(
                    sidecar.to_string(),
                    "it is empty",
                    "write at least `endpoint`, `model` and `prompt`, or drop it next to its medium",
                );
                return self.hold_or_refuse(&subjects, vec![finding]);
            }
            Parsed::Wrong(findings) => return self.hold_or_refuse(&subjects, findings.clone()),
        };
        self.plan_request(&subjects, &Merged::new(defaults.to_vec(), Some(layer)));
    }

    /// A wrong sidecar fails together with its medium once nobody has touched it for a while.
    ///
    /// Without its medium it waits: if it went to `failed/` alone, the medium would come later and be sent with only the
    /// defaults, which is not what its owner meant.
    fn hold_or_refuse(&mut self, subjects: &Subjects<'_>, findings: Vec<Diagnostic>) {
        let (Some(sidecar), Some(input)) = (subjects.sidecar, subjects.input()) else {
            return;
        };
        if subjects.main.is_none() && (subjects.exact || !subjects.waited) {
            let first = findings
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            self.found
                .wait(input, format!("for media; and it has to be fixed: {first}"));
            if !subjects.exact {
                self.found.look_again_at(self.find_pair_deadline(sidecar));
            }
            return;
        }
        if self.check_ready(sidecar, input, true) {
            self.refuse(subjects, findings);
        }
    }

    fn refuse(&mut self, subjects: &Subjects<'_>, findings: Vec<Diagnostic>) {
        let Some(input) = subjects.input() else {
            return;
        };
        let name = shown(subjects.sidecar.unwrap_or(input).name());
        let what = match findings.len() {
            1 => format!("a problem with {name}"),
            several => format!("{several} problems with {name}"),
        };
        let mut failure = build_failure(&what, findings);
        if subjects.main.is_some() && subjects.sidecar.is_some() {
            failure.advice = format!(
                "Fix {name} and drop it into the inbox; the job then continues automatically. Nothing was sent, and no credits were charged."
            );
        }
        let mut files = subjects.files();
        // The files that only this sidecar refers to go with it: left behind, they would become jobs of their own.
        let references = subjects
            .sidecar
            .map(|sidecar| self.tree.own_references(sidecar));
        for reference in references.into_iter().flatten() {
            if files.iter().any(|(_, file)| *file == reference) {
                continue;
            }
            if !self.check_ready(&reference, input, false) {
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

    fn plan_request(&mut self, subjects: &Subjects<'_>, merged: &Merged) {
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
                .map(|main| (main, find_kind(main, probe.as_deref()))),
            exact: subjects.exact,
            waited: subjects.waited,
        };
        let draft = match plan(self.evaluator.rules, merged, subject) {
            Outcome::Ready(draft) => draft,
            Outcome::NeedsMedia(why) => {
                self.found.wait(input, why);
                if !subjects.waited {
                    self.found.look_again_at(self.find_pair_deadline(input));
                }
                return;
            }
            Outcome::Wrong(findings) => return self.blame(subjects, findings, merged),
        };
        let mut media = MediaCheck {
            evaluator: self.evaluator,
            tree: self.tree,
            now: self.now,
        };
        match media.check(&draft, subjects.main, subjects.sidecar, merged) {
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
                self.found.look_again_at(at);
            }
            Err(Unready::Wrong(findings)) => self.blame(subjects, findings, merged),
        }
    }

    /// Refuses what is wrong, unless only the defaults are wrong.
    fn blame(&mut self, subjects: &Subjects<'_>, findings: Vec<Diagnostic>, merged: &Merged) {
        let Some(input) = subjects.input() else {
            return;
        };
        // Problems of the defaults alone are not the fault of these files, which wait until the defaults are fixed.
        let from_defaults = |finding: &Diagnostic| {
            !subjects.has(&finding.source)
                && merged
                    .layers()
                    .iter()
                    .any(|layer| layer.label == finding.source)
        };
        if !findings.is_empty() && findings.iter().all(from_defaults) {
            return self.wait_again(input, describe_defaults_to_fix(&findings));
        }
        let settled = match subjects.sidecar {
            Some(sidecar) => self.check_ready(sidecar, input, true),
            None => true,
        };
        if settled {
            self.refuse(subjects, findings);
        }
    }
}

/// The kind of a medium by its content or, if that says nothing, by its name.
fn find_kind(file: &RelPath, probe: Option<&Probe>) -> Kind {
    match (probe.and_then(Probe::kind), classify(file.name())) {
        (Some(kind), _) | (None, Class::Medium(kind)) => kind,
        (None, Class::Sidecar | Class::Other) => Kind::Image,
    }
}
