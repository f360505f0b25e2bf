//! The notes next to the inputs of jobs that did not succeed.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{create_folders, names, write_over};
use crate::folders::Places;
use crate::job::{FailureKind, InputFile, Job, Role, State, Verdict};

/// What a note adds to the name of its input.
const NOTE: &[u8] = b".error.txt";

/// Lists the files that get the note: the dropped file, and each medium that a sidecar could have been for.
pub(crate) fn files_to_note(
    job: &Job,
    files: &[InputFile],
    places: &Places,
) -> io::Result<Vec<PathBuf>> {
    let mains = files.iter().filter(|file| file.role == Role::Main).count();
    let mut paths: Vec<PathBuf> = files
        .iter()
        .filter(|file| file.dropped == job.input || (mains > 1 && file.role == Role::Main))
        .filter_map(|file| file.at.as_ref())
        .map(|at| places.path(at))
        .collect();
    if paths.is_empty() {
        // The input itself is gone. The note goes where it would be, unless the input of another job is there with its own.
        let place = places.failed.join(job.input.as_path());
        if !place.try_exists()? {
            paths.push(place);
        }
    }
    Ok(paths)
}

/// Writes the note of an ended job again. It was removed for a retry that never got its files.
pub fn renew_note(job: &Job, places: &Places) -> io::Result<()> {
    let verdict = match &job.state {
        State::Failed { failure } => Verdict::Failed(failure.clone()),
        State::Cancelled { why, task } => Verdict::Cancelled {
            why: why.clone(),
            task: task.clone(),
        },
        State::Taking { .. }
        | State::Queued { .. }
        | State::Uploading
        | State::Submitting { .. }
        | State::Running { .. }
        | State::Downloading { .. }
        | State::Delivering { .. }
        | State::Closing { .. }
        | State::Done { .. }
        | State::InDoubt { .. } => return Ok(()),
    };
    let Some(note) = compose_note(job, &verdict) else {
        return Ok(());
    };
    for path in files_to_note(job, &job.files, places)? {
        if note_path(&path).try_exists()? {
            continue;
        }
        if let Some(parent) = path.parent() {
            create_folders(parent)?;
        }
        write_note(&path, &note)?;
    }
    Ok(())
}

/// `red.jpg` → `red.jpg.error.txt`.
pub fn note_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(names::fit(name, NOTE))
}

pub(crate) fn write_note(path: &Path, note: &str) -> io::Result<()> {
    match write_over(&note_path(path), note.as_bytes()) {
        // This filesystem accepts only shorter names.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
            let name = path.file_name().unwrap_or_default();
            let short = path.with_file_name(names::fit_into(name, NOTE, names::SHORT));
            write_over(&short, note.as_bytes())
        }
        other => other,
    }
}

/// Composes the note for a job that did not succeed.
pub(crate) fn compose_note(job: &Job, verdict: &Verdict) -> Option<String> {
    let credits = describe_credits(job, verdict);
    match verdict {
        Verdict::Done { .. } => None,
        // It never had its files, so there is nothing to put a note next to.
        Verdict::Cancelled { .. } if job.files.iter().all(|file| file.at.is_none()) => None,
        Verdict::Failed(failure) => {
            let mut text = format!("{}\n", failure.what);
            for detail in &failure.details {
                text.push_str("  ");
                text.push_str(detail);
                text.push('\n');
            }
            append(
                &mut text,
                &[
                    ("What to do", failure.advice.as_str()),
                    ("Credits", &credits),
                ],
            );
            append_job(&mut text, job);
            Some(text)
        }
        Verdict::Cancelled { why, .. } => {
            let mut text = format!("This job was {why}.\n");
            let advice = format!(
                "To run it anyway, move the files back to the inbox, or run `taxiway retry {}`.",
                job.id
            );
            append(&mut text, &[("What to do", &advice), ("Credits", &credits)]);
            append_job(&mut text, job);
            Some(text)
        }
    }
}

fn append(text: &mut String, parts: &[(&str, &str)]) {
    for (title, body) in parts {
        text.push_str(&format!("\n{title}: {body}\n"));
    }
}

pub(crate) fn append_job(text: &mut String, job: &Job) {
    let task = job
        .task()
        .map(|task| format!(", Runway's task {}", task.id))
        .unwrap_or_default();
    text.push_str(&format!("\nJob {}{task}, {:.0}\n", job.id, job.updated_at));
}

/// Says whether credits were charged. A job that was abandoned in doubt may have cost something, and one that was sent again
/// after a doubt has a charge for each request.
fn describe_credits(job: &Job, verdict: &Verdict) -> String {
    let doubtful =
        matches!(verdict, Verdict::Failed(failure) if failure.kind == FailureKind::Abandoned);
    match job.charged() {
        None if job.charges.is_empty() && !doubtful => "none were charged.".to_owned(),
        Some(0.0) if !doubtful => "none were charged.".to_owned(),
        Some(credits) if !doubtful => format!("{credits} were charged."),
        Some(_) | None => {
            let mut text = "what was charged is not known".to_owned();
            if let Some(estimated) = job.estimated() {
                // Writing to a String cannot fail.
                if write!(text, " (estimated: {estimated})").is_err() {
                    return text;
                }
            }
            text.push_str("; Runway's portal shows it.");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::job::samples::{self, failure, path};
    use crate::job::{Charge, Charged, JobId};

    #[test]
    fn a_note_that_is_gone_comes_back_and_one_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::sample(dir.path());
        let mut job = samples::wrong("shoes/b.yaml", vec![]);
        let failure = failure(FailureKind::Input);
        job.state = State::Failed { failure };
        let note = places.failed.join("shoes/b.yaml.error.txt");
        renew_note(&job, &places).unwrap();
        let words = std::fs::read_to_string(&note).unwrap();
        assert!(words.contains(&format!("Job {}", job.id)), "{words}");
        std::fs::write(&note, "mine").unwrap();
        renew_note(&job, &places).unwrap();
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "mine");
    }

    #[test]
    fn a_note_says_that_nothing_was_charged_only_where_that_is_known() {
        let now = Timestamp::UNIX_EPOCH;
        let wrong = Err(failure(FailureKind::Input));
        let mut job = Job::taken(JobId::random(), "studio", path("b.jpg"), vec![], wrong, now);
        let verdict = |kind| Verdict::Failed(failure(kind));
        let refused = verdict(FailureKind::Refused);
        assert_eq!(describe_credits(&job, &refused), "none were charged.");
        let given_up = describe_credits(&job, &verdict(FailureKind::Abandoned));
        assert!(given_up.contains("not known"), "{given_up}");
        job.charges.push(Charge {
            what: Charged::Doubt,
            at: now,
            estimated: Some(25.0),
            charged: None,
        });
        let cancelled = Verdict::Cancelled {
            why: "cancelled".into(),
            task: None,
        };
        let words = describe_credits(&job, &cancelled);
        assert!(words.contains("not known (estimated: 25)"), "{words}");
    }
}
