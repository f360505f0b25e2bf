//! The outbox: the names of outputs, and the record next to each.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::files::RelPath;
use crate::files::names::{first_free, fit_into, stem};
use crate::files::{exists, find_usable_folder, hash_file, open_plain};
use crate::job::{Delivery, FileRef, Job, JobId, Plan, Role, Task};
use crate::media::Probe;
use crate::yaml::{WriteError, to_yaml};

/// What a record adds to the name of its output.
const RECORD: &str = ".yaml";

/// Names the hidden file that an output is written to before it gets its name.
pub fn name_part(outbox: &Path, input: &RelPath, job: &JobId, index: usize) -> io::Result<RelPath> {
    let name = format!(".taxiway-{job}-{index}.part");
    Ok(find_folder(outbox, input)?.join(OsStr::new(&name)))
}

/// Finds the folder for the outputs of an input: the same as the input's, unless a file in the outbox has its name or the path
/// would be too long. A name never holds up a paid output.
fn find_folder(outbox: &Path, input: &RelPath) -> io::Result<RelPath> {
    let usable = find_usable_folder(outbox, input.parent().as_path())?;
    // It consists of plain parts, like the path that it was made from.
    RelPath::new(&usable).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Chooses the extension for an output by its content, or by what the server says where the content is unknown, or `bin`.
pub fn choose_extension(probe: &Probe, content_type: Option<&str>) -> String {
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

/// Chooses the names of a job's outputs: after the input or the sidecar's `output`, numbered where there are several, with ` (2)`,
/// ` (3)` where a name is taken. A name is free only if the name of its record is free as well, or if this output is already
/// there with its record. Outputs that already have a name keep it.
pub fn choose_names(
    outbox: &Path,
    job: &Job,
    outputs: &[Delivery],
    refused: &HashSet<RelPath>,
) -> io::Result<Vec<RelPath>> {
    let base: OsString = match job.plan.as_ref().and_then(|plan| plan.output.as_ref()) {
        Some(name) => OsString::from(name),
        // A sidecar that is a job by itself: `storm.yaml` gives `storm`.
        None => stem(job.input.name()).to_owned(),
    };
    let folder = find_folder(outbox, &job.input)?;
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
        let is_free = |candidate: &RelPath| -> io::Result<bool> {
            if chosen.contains(candidate) || refused.contains(candidate) {
                return Ok(false);
            }
            let (path, record) = (
                outbox.join(candidate.as_path()),
                outbox.join(record_path(candidate).as_path()),
            );
            Ok(match (exists(&path)?, exists(&record)?) {
                (false, false) => true,
                (true, true) => is_record_of(&record, &job.id)? && is_delivered(&path, output)?,
                (true, false) | (false, true) => false,
            })
        };
        let numbered = |number, length| number_name(&name, &output.extension, number, length);
        chosen.push(first_free(numbered, |name| {
            let candidate = folder.join(name);
            Ok(is_free(&candidate)?.then_some(candidate))
        })?);
    }
    Ok(chosen)
}

/// Makes the n-th name of an output, counted from 1, short enough for the record to add its ending.
fn number_name(name: &OsStr, extension: &str, number: u32, length: usize) -> OsString {
    let suffix = match number {
        1 => format!(".{extension}"),
        number => format!(" ({number}).{extension}"),
    };
    fit_into(name, suffix.as_bytes(), length.saturating_sub(RECORD.len()))
}

/// Whether a path holds this output: a plain file with the same bytes.
pub fn is_delivered(path: &Path, output: &Delivery) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() == output.bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(hash_file(&open_plain(path)?)? == output.sha256)
}

/// Whether a file is a record of this job: its first line names it.
pub fn is_record_of(path: &Path, job: &JobId) -> io::Result<bool> {
    // The first line of a record is short; other files may be of any size.
    let mut start = Vec::new();
    let file = match open_plain(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // A folder, a link or a pipe is not a record.
        Err(_) if !std::fs::symlink_metadata(path)?.is_file() => return Ok(false),
        opened => opened?,
    };
    file.take(256).read_to_end(&mut start)?;
    let first = start.split(|byte| *byte == b'\n').next();
    Ok(first.and_then(|line| line.strip_prefix(b"job: ")) == Some(job.as_str().as_bytes()))
}

/// `red.mp4` → `red.mp4.yaml`.
pub fn record_path(output: &RelPath) -> RelPath {
    let mut name = output.name().to_owned();
    name.push(RECORD);
    output.with_name(&name)
}

/// Composes an output's record. `with_endpoint` says whether its `request` has to name the endpoint, which the body alone does not
/// settle.
pub fn compose_record(
    job: &Job,
    task: &Task,
    output: &Delivery,
    name: &RelPath,
    finished_at: Timestamp,
    with_endpoint: bool,
) -> Result<String, WriteError> {
    let plan = job.plan.as_ref();
    let inputs: Vec<Value> = job
        .files
        .iter()
        .filter(|file| file.role != Role::Marker)
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
        "request": plan.map(|plan| restore_request(job, plan, with_endpoint)),
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

/// The body as it was sent, with media as file names. Saved as a sidecar next to the files, it makes the same request again.
fn restore_request(job: &Job, plan: &Plan, with_endpoint: bool) -> Value {
    let mut body = plan.body.clone();
    for media in &plan.media {
        let name = match &media.file {
            FileRef::Own(index) => job.files.get(*index).map(|file| file.dropped.name()),
            // Shared pictures are in folders of their own and are found by their path.
            FileRef::Shared(_) => None,
        };
        // Where two files have the same name, only the path as it was written distinguishes them.
        let Some(name) = name.filter(|name| !is_ambiguous(job, name)) else {
            continue;
        };
        let name = name.to_string_lossy();
        if !crate::json::set_slot(&mut body, &media.slot, &name) {
            tracing::debug!(job = %job.id, %name, "the request in the record keeps the name as it was written");
        }
    }
    if !with_endpoint {
        return Value::Object(body);
    }
    let mut named = Map::from_iter([("endpoint".to_owned(), Value::from(plan.endpoint.as_str()))]);
    named.extend(body);
    Value::Object(named)
}

fn is_ambiguous(job: &Job, name: &OsStr) -> bool {
    job.files
        .iter()
        .filter(|file| file.dropped.name() == name)
        .count()
        > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Failure, FailureKind, Folder, InputFile, MediaUse, Spot};
    use crate::json::Step;
    use crate::media::Kind;

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
    fn row_15_outputs_are_named_after_the_input_and_never_over_another() {
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

    #[test]
    fn a_file_with_the_name_of_a_folder_does_not_hold_up_an_output() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shoes"), "x").unwrap();
        let named = names(dir.path(), "shoes/red.jpg", &[delivery("mp4")]);
        assert_eq!(named, ["shoes (2)/red.mp4"]);
        let job = job("shoes/red.jpg");
        let part = name_part(dir.path(), &job.input, &job.id, 0).unwrap();
        assert_eq!(part.parent().as_path(), Path::new("shoes (2)"));
    }

    #[test]
    fn an_output_that_is_already_there_keeps_its_name_when_it_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("red.mp4"), dir.path().join("red.mp4.yaml"));
        std::fs::write(&path, "film").unwrap();
        let mut output = delivery("mp4");
        output.bytes = 4;
        output.sha256 = crate::files::hash_path(&path).unwrap();
        let job = job("red.jpg");
        let name = |job: &Job| {
            choose_names(dir.path(), job, &[output.clone()], &HashSet::new())
                .unwrap()
                .remove(0)
                .to_string()
        };
        std::fs::write(&beside, "job: another\n").unwrap();
        assert_eq!(name(&job), "red (2).mp4");
        std::fs::write(&beside, format!("job: {}\ntask: t\n", job.id)).unwrap();
        assert_eq!(name(&job), "red.mp4");
        std::fs::write(&path, "flim").unwrap();
        assert_eq!(name(&job), "red (2).mp4");
    }

    #[test]
    fn a_records_first_line_names_its_job() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("red.mp4.yaml");
        let job = job("red.jpg");
        let task = Task {
            id: "t".into(),
            accepted_at: Timestamp::UNIX_EPOCH,
            account: None,
        };
        let name = RelPath::new(Path::new("red.mp4")).unwrap();
        let text = compose_record(
            &job,
            &task,
            &delivery("mp4"),
            &name,
            Timestamp::UNIX_EPOCH,
            false,
        );
        std::fs::write(&path, text.unwrap()).unwrap();
        assert!(is_record_of(&path, &job.id).unwrap());
        assert!(!is_record_of(&path, &JobId::random()).unwrap());
    }

    #[test]
    fn the_request_names_the_endpoint_where_it_has_to_and_keeps_two_files_of_one_name_apart() {
        let mut job = job("red.jpg");
        let file = |path: &str| {
            let path = RelPath::new(Path::new(path)).unwrap();
            InputFile {
                role: Role::Reference,
                dropped: path.clone(),
                at: Some(Spot {
                    folder: Folder::Working,
                    path: path.clone(),
                }),
                working: path,
                mount: None,
                bytes: 1,
                version: None,
                sha256: None,
            }
        };
        job.files = vec![file("a/x.png"), file("b/x.png"), file("c/y.png")];
        let paths = ["a/x.png", "b/x.png", "c/y.png"];
        let plan = Plan {
            endpoint: "text_to_image".into(),
            model: None,
            path: String::new(),
            poll: String::new(),
            body: Map::from_iter([("images".to_owned(), json!(paths))]),
            media: (0..3)
                .map(|index| MediaUse {
                    slot: vec![Step::Key("images".into()), Step::Index(index)],
                    file: FileRef::Own(index),
                    kind: Kind::Image,
                    mime: "image/png".into(),
                })
                .collect(),
            estimated: None,
            priority: 0,
            output: None,
            warnings: vec![],
        };
        let images = json!(["a/x.png", "b/x.png", "y.png"]);
        assert_eq!(
            restore_request(&job, &plan, false),
            json!({ "images": images })
        );
        let named = restore_request(&job, &plan, true);
        assert_eq!(
            named,
            json!({ "endpoint": "text_to_image", "images": images })
        );
        assert_eq!(
            named.as_object().unwrap().keys().next().unwrap(),
            "endpoint"
        );
    }
}
