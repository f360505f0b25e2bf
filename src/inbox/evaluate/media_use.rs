//! The files that a request names: whether they are there, whether the API would accept them, and what the request costs.

use std::sync::Arc;
use std::time::Instant;

use crate::catalogue::On;
use crate::diagnostic::Diagnostic;
use crate::files::open_beneath;
use crate::files::{RelPath, shown};
use crate::inbox::evaluate::rules::Evaluator;
use crate::inbox::look::finished::{NotNow, check_finished};
use crate::inbox::look::tree::Tree;
use crate::inbox::pace::LOOK_AGAIN;
use crate::job::{FileRef, MediaUse, Plan, Role};
use crate::json::Step;
use crate::media::{self, Kind, Probe, Wholeness};
use crate::runway::choose_route;
use crate::sidecar::layers::Merged;
use crate::sidecar::local_path::{is_shared, list_names, respell};
use crate::sidecar::request::{Draft, Wanted};

/// Why a draft is no request yet.
pub(crate) enum Unready {
    /// Something is missing or unfinished: what, and when to look again.
    Wait(String, Instant),
    /// Something is wrong.
    Wrong(Vec<Diagnostic>),
}

/// The check of the media that requests name.
pub(crate) struct MediaCheck<'a, 'r> {
    pub(crate) evaluator: &'a Evaluator<'r>,
    pub(crate) tree: &'a mut Tree,
    pub(crate) now: Instant,
}

impl MediaCheck<'_, '_> {
    /// Checks the files that a request names, and estimates its price.
    pub(crate) fn check(
        &mut self,
        draft: &Draft,
        main: Option<&RelPath>,
        sidecar: Option<&RelPath>,
        merged: &Merged,
    ) -> Result<(Vec<(Role, RelPath)>, Plan), Unready> {
        let mut files: Vec<(Role, RelPath)> = Vec::new();
        if draft.uses_main {
            files.extend(main.map(|main| (Role::Main, main.clone())));
        }
        files.extend(sidecar.map(|sidecar| (Role::Sidecar, sidecar.clone())));
        let mut findings = Vec::new();
        let mut uses = Vec::new();
        let mut seconds = None;
        for wanted in &draft.wanted {
            let wanted = &self.respell(wanted);
            let probe = self.probe_wanted(wanted)?;
            let (kind, mime) = match self.check_accepted(&probe, wanted, merged) {
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
                let known = files.iter().position(|(_, file)| *file == wanted.file);
                FileRef::Own(known.unwrap_or_else(|| {
                    files.push((Role::Reference, wanted.file.clone()));
                    files.len().saturating_sub(1)
                }))
            };
            uses.push(MediaUse {
                slot: wanted.slot.clone(),
                file,
                kind,
                mime,
            });
        }
        let estimated = self.estimate_price(draft, seconds);
        findings.extend(check_max_credits(draft, estimated, merged));
        if !findings.is_empty() {
            return Err(Unready::Wrong(findings));
        }
        let plan = Plan {
            endpoint: draft.endpoint.clone(),
            model: (!draft.model.is_empty()).then(|| draft.model.clone()),
            path: draft.path.clone(),
            poll: draft.poll.clone(),
            body: draft.body.clone(),
            media: uses,
            estimated,
            priority: draft.priority,
            output: draft.output.clone(),
            warnings: draft.warnings.clone(),
        };
        Ok((files, plan))
    }

    /// The wanted file under the path that it has on the disk: sidecars and disks may write accents in different forms of Unicode.
    fn respell(&self, wanted: &Wanted) -> Wanted {
        let tree = &self.tree;
        let there = if !wanted.shared {
            tree.find_seen(&wanted.file)
        } else if std::fs::symlink_metadata(tree.absolute(&wanted.file)).is_ok() {
            None
        } else {
            respell(&wanted.file, |folder| list_names(&tree.absolute(folder)))
        };
        Wanted {
            file: there.unwrap_or_else(|| wanted.file.clone()),
            ..wanted.clone()
        }
    }

    /// Probes a wanted file once it is there and finished.
    fn probe_wanted(&mut self, wanted: &Wanted) -> Result<Arc<Probe>, Unready> {
        let again = self.now.checked_add(LOOK_AGAIN).unwrap_or(self.now);
        let file = &wanted.file;
        if wanted.shared {
            return probe_shared(self.tree, file).map_err(|why| Unready::Wait(why, again));
        }
        let settle = self.evaluator.settle;
        match check_finished(self.tree, file, false, settle, self.now) {
            Ok(()) => self
                .tree
                .probe(file)
                .map_err(|error| Unready::Wait(format!("for media {file}: {error}"), again)),
            Err(NotNow::Gone) => Err(Unready::Wait(format!("for media {file}"), again)),
            Err(NotNow::Wait(why, at)) => {
                Err(Unready::Wait(format!("for media {file}: {why}"), at))
            }
        }
    }

    fn estimate_price(&self, draft: &Draft, seconds: Option<f64>) -> Option<f64> {
        let catalogue = self.evaluator.rules.catalogue;
        let endpoint = catalogue.endpoint(&draft.endpoint)?.endpoint;
        endpoint.model(&draft.model)?.estimate(&draft.body, seconds)
    }

    /// Checks whether the API would accept a medium where it is wanted.
    fn check_accepted(
        &self,
        probe: &Probe,
        wanted: &Wanted,
        merged: &Merged,
    ) -> Result<(Kind, String), Box<Diagnostic>> {
        let name = shown(wanted.file.name());
        let refuse = |message: String, hint: String| {
            Err(Box::new(Diagnostic::of_file(
                wanted.file.to_string(),
                message,
                hint,
            )))
        };
        if let Wholeness::Partial { missing } = &probe.wholeness
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
                .unwrap_or((why.as_str(), "drop another file"));
            return refuse(what.to_owned(), lower_first(advice));
        }
        let (Some(format), Some(kind)) = (probe.format, probe.kind()) else {
            return refuse(
                "its content is of an unknown kind".to_owned(),
                "drop another file".to_owned(),
            );
        };
        if !wanted.kinds.is_empty() && !wanted.kinds.contains(&kind) {
            let takes: Vec<&str> = wanted.kinds.iter().map(|kind| kind.as_str()).collect();
            let message = format!(
                "{name} is {}, and this field takes {}",
                with_article(kind),
                takes.join(" or ")
            );
            let hint = "name another file or another endpoint".to_owned();
            return Err(Box::new(merged.problem(
                &wanted.slot,
                On::Value,
                message,
                hint,
            )));
        }
        if probe.bytes > self.evaluator.max_input {
            return refuse(
                format!(
                    "it has {} bytes, and the largest input allowed is {} bytes",
                    probe.bytes, self.evaluator.max_input
                ),
                "make it smaller, or raise `limits.max_input_size` (Runway takes 200 MB at most)"
                    .to_owned(),
            );
        }
        if let Err(too_big) = choose_route(kind, probe.bytes, false) {
            return refuse(too_big.to_string(), "make it smaller".to_owned());
        }
        Ok((kind, format.mime().to_owned()))
    }
}

/// The problem with a request that would cost more than `max_credits`, or whose price is unknown.
fn check_max_credits(draft: &Draft, estimated: Option<f64>, merged: &Merged) -> Option<Diagnostic> {
    let limit = draft.max_credits?;
    let message = match estimated {
        Some(credits) if credits > limit => {
            format!("the request would cost about {credits} credits, and `max_credits` is {limit}")
        }
        Some(_) => return None,
        None => format!(
            "the price of this request is unknown, so `max_credits: {limit}` cannot be kept"
        ),
    };
    let hint = "raise it or remove it, or choose a cheaper request".to_owned();
    let path = [Step::Key("max_credits".to_owned())];
    Some(merged.problem(&path, On::Value, message, hint))
}

/// Probes a file that many jobs refer to. It is not scanned, so it is opened here; no link on the way to it is followed.
fn probe_shared(tree: &Tree, file: &RelPath) -> Result<Arc<Probe>, String> {
    debug_assert!(is_shared(file));
    match open_beneath(tree.root(), file.as_path()).and_then(|mut file| media::probe(&mut file)) {
        Ok(probe) => match &probe.wholeness {
            Wholeness::Partial { missing } if probe.bytes > 0 => {
                Err(format!("for media {file}: it is not whole yet: {missing}"))
            }
            Wholeness::Partial { .. } | Wholeness::Whole | Wholeness::Unknowable => {
                Ok(Arc::new(probe))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("for media {file}"))
        }
        Err(error) => Err(format!("for media {file}: {error}")),
    }
}

fn with_article(kind: Kind) -> &'static str {
    match kind {
        Kind::Image => "an image",
        Kind::Video => "a video",
        Kind::Audio => "sound",
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
