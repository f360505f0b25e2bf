//! What the drivers share: which build of the program is tested, the seed, what is dropped, and how a truthful person
//! settles doubts.

#![allow(dead_code)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::api::{Api, jpeg_key, upload_key};
use crate::book::Book;
use crate::doubts::Doubts;
use crate::support::{Job, Studio, jpeg, large_jpeg, text, walk};

/// The program as people run it: `TAXIWAY_TEST_RELEASE`, else the release build beside the tests' own if it is newer than
/// all sources, else the tests' own, which is slower and hits fewer moments.
pub fn binary() -> &'static Path {
    static CHOSEN: OnceLock<PathBuf> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        if let Some(path) = std::env::var_os("TAXIWAY_TEST_RELEASE") {
            return PathBuf::from(path);
        }
        let own = PathBuf::from(env!("CARGO_BIN_EXE_taxiway"));
        let release = own
            .parent()
            .and_then(Path::parent)
            .map(|target| target.join("release/taxiway"));
        if let Some(release) = release.filter(|path| is_fresh(path)) {
            return release;
        }
        eprintln!(
            "there is no release build newer than the sources; this runs {}",
            own.display()
        );
        own
    })
}

fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let Some(built) = changed(program) else {
        return false;
    };
    let mut newest = SystemTime::UNIX_EPOCH;
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut |path| newest = newest.max(changed(path).unwrap_or(newest)),
    );
    newest <= built
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .trim()
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}")),
    )
}

/// The seed of this run: `TAXIWAY_SEED`, else a fresh one.
pub fn seed() -> u64 {
    number("TAXIWAY_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000))
}

/// One file to drop: its path below the inbox, its bytes, and what tells its requests.
#[derive(Debug, Clone)]
pub struct Piece {
    pub path: String,
    pub bytes: Vec<u8>,
    pub key: Option<String>,
}

/// A sidecar by which a picture becomes a film.
pub fn film(path: String, prompt: &str) -> Piece {
    let words =
        format!("prompt: \"{prompt}\"\nmodel: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n");
    Piece {
        path,
        bytes: words.into_bytes(),
        key: Some(prompt.to_owned()),
    }
}

/// A sidecar that stands for itself.
pub fn words(path: String, prompt: &str) -> Piece {
    let words = format!(
        "endpoint: text_to_video\nmodel: veo3.1\nratio: \"1280:720\"\nduration: 4\nprompt: \"{prompt}\"\n"
    );
    Piece {
        path,
        bytes: words.into_bytes(),
        key: Some(prompt.to_owned()),
    }
}

/// A picture that goes into the request as it is.
pub fn picture(path: String, mark: &str) -> Piece {
    let bytes = jpeg(mark);
    Piece {
        path,
        key: Some(jpeg_key(&bytes)),
        bytes,
    }
}

/// A picture that is uploaded first.
pub fn large_picture(path: String, mark: &str) -> Piece {
    let bytes = large_jpeg(mark, 300_000);
    Piece {
        path,
        key: Some(upload_key(&bytes)),
        bytes,
    }
}

/// Drops pieces together, in this order, and notes them.
pub fn drop_pieces(studio: &Studio, book: &mut Book, pieces: &[Piece]) -> usize {
    let noted: Vec<(String, &Piece)> = pieces
        .iter()
        .map(|piece| (format!("inbox/{}", piece.path), piece))
        .collect();
    let noted: Vec<(&str, &[u8], Option<&str>)> = noted
        .iter()
        .map(|(path, piece)| (path.as_str(), piece.bytes.as_slice(), piece.key.as_deref()))
        .collect();
    let drop = book.drop(&noted);
    for piece in pieces {
        studio.drop_file(&piece.path, &piece.bytes);
    }
    drop
}

/// Waits until nothing moves any more, and settles each doubt as a person does who looks truthfully: where the API has a
/// task of that file's that nobody owns, it is adopted; where such a task failed for good, the job is given up; where there
/// is none, the request is sent again. Files that wait in the inbox for something that never comes may do so if `rests`
/// says that about their line.
///
/// # Errors
/// Something still moves after `patience`; the words say what.
pub fn settle(
    studio: &Studio,
    book: &mut Book,
    api: &mut dyn FnMut() -> Api,
    doubts: &mut Doubts,
    patience: Duration,
    rests: &dyn Fn(&Job) -> bool,
) -> Result<(), String> {
    let limit = Instant::now() + patience;
    loop {
        // First: what is taken in between stands in the journal then.
        let lying = lying(studio);
        let jobs = studio.jobs();
        let unseen: Vec<String> = lying
            .into_iter()
            .filter(|path| !jobs.iter().any(|job| job.input() == path && rests(job)))
            .collect();
        doubts.note(&jobs);
        let (doubtful, moving): (Vec<&Job>, Vec<&Job>) = jobs
            .iter()
            .filter(|job| !job.has_ended() && !rests(job))
            .partition(|job| job.state() == "in_doubt");
        if moving.is_empty() && unseen.is_empty() {
            if doubtful.is_empty() {
                return Ok(());
            }
            resolve_all(studio, book, &api(), &jobs, &doubtful);
        }
        if Instant::now() > limit {
            let all: Vec<String> = moving
                .iter()
                .chain(&doubtful)
                .map(|job| {
                    format!(
                        "{} {} {}: {}",
                        job.id(),
                        job.input(),
                        job.state(),
                        job.reason()
                    )
                })
                .chain(unseen)
                .collect();
            return Err(format!("still moving after {patience:?}: {all:#?}"));
        }
        std::thread::sleep(Duration::from_millis(80));
    }
}

/// What lies in the inbox, below it.
fn lying(studio: &Studio) -> Vec<String> {
    let mut found = Vec::new();
    let inbox = studio.inbox("");
    walk(&inbox, &mut |path| {
        let below = path.strip_prefix(&inbox).unwrap();
        found.push(below.to_string_lossy().into_owned());
    });
    found
}

fn resolve_all(studio: &Studio, book: &mut Book, api: &Api, jobs: &[Job], doubtful: &[&Job]) {
    let mut owned: HashSet<String> = jobs
        .iter()
        .map(|job| job.task().to_owned())
        .filter(|task| !task.is_empty())
        .collect();
    let by_key: HashMap<String, Vec<_>> = api.tasks_by_key();
    for job in doubtful {
        let keys = book.keys_at(&format!("inbox/{}", job.input()));
        let tasks: Vec<_> = keys
            .iter()
            .filter_map(|key| by_key.get(key))
            .flatten()
            .filter(|task| !owned.contains(&task.id))
            .collect();
        let failed = |code: &Option<String>| {
            code.as_deref()
                .is_some_and(|code| !code.starts_with("INTERNAL"))
        };
        let mut arguments = vec!["resolve".to_owned(), job.id().to_owned()];
        if let Some(task) = tasks.iter().find(|task| task.failure.is_none()) {
            owned.insert(task.id.clone());
            arguments.extend(["--adopt".to_owned(), task.id.clone()]);
        } else if tasks.iter().any(|task| failed(&task.failure)) {
            arguments.push("--abandon".to_owned());
        } else {
            arguments.push("--resubmit".to_owned());
        }
        let output = studio.cli(&arguments);
        // A task may end badly between the look and the word: the next look tells.
        if !output.status.success() {
            eprintln!("{arguments:?}: {}", text(&output.stderr).trim());
        }
    }
}
