//! The outbox: how outputs are named, and the record that lies beside each.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::files::fit_name;
use crate::job::{Delivery, FileRef, Job, JobId, RelPath, Task};
use crate::media::Probe;
use crate::yaml::{WriteError, to_yaml};

/// Behind every output's name, its record's.
const RECORD: &str = ".yaml";

/// Where an output is written before it has its name: beside it, hidden.
pub fn part_path(input: &RelPath, job: &JobId, index: usize) -> RelPath {
    input.with_name(OsStr::new(&format!(".taxiway-{job}-{index}.part")))
}

/// The extension that an output's content calls for; where the content is not known, what the server says; else `bin`.
pub fn extension(probe: &Probe, content_type: Option<&str>) -> String {
    if let Some(format) = probe.format {
        return format.extension().to_owned();
    }
    match content_type
        .and_then(|kind| kind.split(';').next())
        .map(str::trim)
    {
        Some("video/mp4") => "mp4",
        Some("video/quicktime") => "mov",
        Some("application/zip") => "zip",
        Some("image/x-exr") => "exr",
        _ => "bin",
    }
    .to_owned()
}

/// The names of a job's outputs: after the input, or after the sidecar's `output`; numbered where there are several; with
/// ` (2)`, ` (3)` where a name is taken. A name counts as free only if its record's is free, too. Outputs that have a name
/// already keep it.
///
/// # Errors
/// The outbox cannot be looked at.
pub fn choose_names(
    outbox: &Path,
    job: &Job,
    outputs: &[Delivery],
    refused: &HashSet<RelPath>,
) -> io::Result<Vec<RelPath>> {
    let base: OsString = match job.plan.as_ref().and_then(|plan| plan.output.as_ref()) {
        Some(name) => OsString::from(name),
        None => stem(job.input.name()).to_owned(),
    };
    let mut chosen: Vec<RelPath> = Vec::with_capacity(outputs.len());
    for (index, output) in outputs.iter().enumerate() {
        if let Some(name) = output.name.as_ref().filter(|name| !refused.contains(name)) {
            chosen.push(name.clone());
            continue;
        }
        let mut name = base.clone();
        if outputs.len() > 1 {
            name.push(format!("-{}", index.saturating_add(1)));
        }
        let mut number = 1_u32;
        let free = loop {
            let suffix = match number {
                1 => format!(".{}", output.extension),
                number => format!(" ({number}).{}", output.extension),
            };
            // Room for the record's ending, so that the two names stay alike.
            let mut full = fit_name(&name, format!("{suffix}{RECORD}").as_bytes()).into_vec();
            full.truncate(full.len().saturating_sub(RECORD.len()));
            let candidate = job.input.with_name(OsStr::from_bytes(&full));
            if !chosen.contains(&candidate)
                && !refused.contains(&candidate)
                && !exists(&outbox.join(candidate.as_path()))?
                && !exists(&outbox.join(record_path(&candidate).as_path()))?
            {
                break candidate;
            }
            number = number.saturating_add(1);
        };
        chosen.push(free);
    }
    Ok(chosen)
}

fn exists(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The name without its extension; a sidecar that stands for itself gives the name before `.yaml`.
fn stem(name: &OsStr) -> &OsStr {
    Path::new(name).file_stem().unwrap_or(name)
}

/// `red.mp4` → `red.mp4.yaml`.
pub fn record_path(output: &RelPath) -> RelPath {
    let mut name = output.name().to_owned();
    name.push(RECORD);
    output.with_name(&name)
}

/// The text of an output's record: how it was made.
///
/// # Errors
/// None with what a job holds; the YAML writer's type has one.
pub fn record(
    job: &Job,
    task: &Task,
    output: &Delivery,
    name: &RelPath,
    finished_at: Timestamp,
) -> Result<String, WriteError> {
    let plan = job.plan.as_ref();
    let inputs: Vec<Value> = job
        .files
        .iter()
        .map(|file| {
            json!({
                "name": file.dropped.name().to_string_lossy(),
                "sha256": file.sha256,
                "bytes": file.bytes,
            })
        })
        .collect();
    let credits = json!({
        "estimated": job.charges.last().and_then(|charge| charge.estimated),
        "charged": job.charged(),
    });
    to_yaml(&json!({
        "job": job.id.as_str(),
        "task": task.id,
        "endpoint": plan.map(|plan| plan.endpoint.as_str()),
        "model": job.model(),
        "request": plan.map(|plan| request(job, &plan.body)),
        "inputs": inputs,
        "output": {
            "name": name.name().to_string_lossy(),
            "sha256": output.sha256,
            "bytes": output.bytes,
        },
        "credits": credits,
        "created_at": job.created_at.to_string(),
        "finished_at": finished_at.to_string(),
    }))
}

/// The body as it was sent, with media as file names.
fn request(job: &Job, body: &Map<String, Value>) -> Value {
    let mut body = body.clone();
    let Some(plan) = &job.plan else {
        return Value::Object(body);
    };
    for media in &plan.media {
        let name = match &media.file {
            FileRef::Own(index) => job
                .files
                .get(*index)
                .map(|file| file.dropped.name().to_string_lossy().into_owned()),
            // Shared pictures lie in folders of their own: their path is what finds them again.
            FileRef::Shared(_) => None,
        };
        if let Some(name) = name
            && !crate::catalogue::set_slot(&mut body, &media.slot, &name)
        {
            tracing::debug!(job = %job.id, name, "the record's request keeps the name as it was written");
        }
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Failure, FailureKind};

    fn job(input: &str) -> Job {
        let failure = Failure {
            kind: FailureKind::Input,
            what: String::new(),
            details: vec![],
            advice: String::new(),
            task: None,
        };
        let input = RelPath::new(Path::new(input)).unwrap();
        Job::taken(
            JobId::random(),
            "studio",
            input,
            vec![],
            Err(failure),
            Timestamp::UNIX_EPOCH,
        )
    }

    fn delivery(extension: &str) -> Delivery {
        Delivery {
            part: RelPath::default(),
            name: None,
            sha256: String::new(),
            bytes: 1,
            extension: extension.into(),
        }
    }

    fn names(outbox: &Path, input: &str, outputs: &[Delivery]) -> Vec<String> {
        choose_names(outbox, &job(input), outputs, &HashSet::new())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn outputs_are_named_after_the_input_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        assert_eq!(
            names(out, "shoes/red.jpg", &[delivery("mp4")]),
            ["shoes/red.mp4"]
        );
        std::fs::write(out.join("red.mp4"), "x").unwrap();
        assert_eq!(names(out, "red.jpg", &[delivery("mp4")]), ["red (2).mp4"]);
        // A record without its output keeps the name, too.
        std::fs::write(out.join("red (2).mp4.yaml"), "x").unwrap();
        assert_eq!(names(out, "red.jpg", &[delivery("mp4")]), ["red (3).mp4"]);
        assert_eq!(
            names(out, "red.jpg", &[delivery("png"), delivery("png")]),
            ["red-1.png", "red-2.png"]
        );
        assert_eq!(names(out, "storm.yaml", &[delivery("mp4")]), ["storm.mp4"]);
    }

    #[test]
    fn a_name_of_255_bytes_leaves_room_for_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}.jpg", "ä".repeat(125));
        let name = names(dir.path(), &long, &[delivery("mp4")]).remove(0);
        assert!(name.ends_with(".mp4"), "{name}");
        std::fs::write(dir.path().join(format!("{name}.yaml")), "x").unwrap();
    }
}
