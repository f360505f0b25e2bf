//! Journals of other versions, and files that are none: what the first version left behind goes on to its end, and what
//! cannot be read is refused with words and left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::audit::check_output;
use crate::support::{Studio, contains, text};

/// How many bytes of `uploading.jpg` the fixture leaves out.
const UPLOADING_BYTES: usize = 6_002_028;

/// What each job of the fixture is once today's version has taken over, before anybody settles a doubt.
const AFTERWARDS: [(&str, &str); 14] = [
    ("abandoned.jpg", "failed"),
    ("cancelled.jpg", "cancelled"),
    ("closing.yaml", "done"),
    ("delivering.yaml", "done"),
    ("done.jpg", "done"),
    ("doubt.jpg", "in_doubt"),
    ("downloading.yaml", "done"),
    ("failed.jpg", "failed"),
    ("held.yaml", "done"),
    ("queued.jpg", "done"),
    ("running.jpg", "done"),
    ("submitting.jpg", "in_doubt"),
    ("uploading.jpg", "done"),
    ("wrong.yaml", "failed"),
];

/// The only ones for which nothing had been sent.
const SUBMITTED: [&str; 3] = ["held.yaml", "queued.jpg", "uploading.jpg"];

fn fixture(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/promises/fixtures/journal-0.1.0")
        .join(part)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// A studio as the first version left it, with a simulator that knows its tasks. No daemon runs yet.
fn left_behind() -> (Studio, TempDir) {
    let memory = tempfile::tempdir().unwrap();
    copy(&fixture("simulator"), memory.path());
    let dir = memory.path().to_owned();
    let studio = Studio::builder()
        .simulator(|options| options.dir = Some(dir))
        .open();
    for folder in ["state", "working", "outbox", "originals", "failed"] {
        copy(&fixture(folder), &studio.path(folder));
    }
    let uploading = studio.working("uploading.jpg");
    let mut bytes = fs::read(&uploading).unwrap();
    bytes.resize(UPLOADING_BYTES, b' ');
    fs::write(&uploading, bytes).unwrap();
    (studio, memory)
}

fn states(studio: &Studio) -> BTreeMap<String, String> {
    studio
        .jobs()
        .iter()
        .map(|job| (job.input().to_owned(), job.state().to_owned()))
        .collect()
}

fn expected(changed: &[(&str, &str)]) -> BTreeMap<String, String> {
    AFTERWARDS
        .iter()
        .chain(changed)
        .map(|(input, state)| ((*input).to_owned(), (*state).to_owned()))
        .collect()
}

fn change_journal(studio: &Studio, statement: &'static str) {
    use sqlx::Connection as _;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(studio.path("state/journal.sqlite"));
    studio.block_on(async move {
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        let changed = sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
        connection.close().await.unwrap();
    });
}

#[test]
fn what_the_first_version_left_behind_goes_on_to_its_end() {
    let (mut studio, _memory) = left_behind();
    let inputs: Vec<Vec<u8>> = AFTERWARDS
        .iter()
        .map(|(input, _)| {
            ["working", "originals", "failed"]
                .iter()
                .find_map(|folder| fs::read(studio.path(folder).join(input)).ok())
                .unwrap_or_else(|| panic!("{input} is not in the fixture"))
        })
        .collect();
    let before = studio.submissions();
    // Without a daemon the jobs are read from the journal as it lies there.
    let attempts_before: BTreeMap<String, u64> = studio
        .jobs()
        .iter()
        .map(|job| (job.input().to_owned(), job.attempts()))
        .collect();
    assert_eq!(attempts_before.len(), AFTERWARDS.len());
    let tasks_before = studio.seen().tasks.len();
    let old_outputs = [
        fs::read(studio.outbox("done.mp4")).unwrap(),
        fs::read(studio.outbox("done.mp4.yaml")).unwrap(),
    ];

    studio.start();
    studio.wait_until("all go on", |studio| states(studio) == expected(&[]));
    // Two requests whose outcome nobody knew are not sent again; three that had not been sent are sent once.
    let sent = studio.submissions().split_off(before.len());
    assert_eq!(sent.len(), SUBMITTED.len(), "{sent:#?}");
    assert_eq!(studio.seen().tasks.len(), tasks_before + SUBMITTED.len());
    for (input, attempts) in attempts_before {
        let now = studio.job(&input).unwrap().attempts();
        let more = u64::from(SUBMITTED.contains(&input.as_str()));
        assert_eq!(now, attempts + more, "{input}");
    }

    // Doubts can be settled: one by its task, one by sending it again. What had failed can be run again.
    let id = |input: &str| studio.job(input).unwrap().id().to_owned();
    let task = studio
        .seen()
        .tasks
        .into_iter()
        .find(|task| task.model == "gen3a_turbo")
        .unwrap()
        .id;
    studio.cli_ok(&["resolve", &id("submitting.jpg"), "--adopt", &task]);
    studio.cli_ok(&["resolve", &id("doubt.jpg"), "--resubmit"]);
    studio.cli_ok(&["retry", &id("abandoned.jpg")]);
    let ended = expected(&[
        ("submitting.jpg", "done"),
        ("doubt.jpg", "done"),
        ("abandoned.jpg", "done"),
    ]);
    studio.wait_until("all have ended", |studio| states(studio) == ended);
    assert_eq!(
        studio.submissions().len(),
        before.len() + SUBMITTED.len() + 2
    );
    assert_eq!(studio.job("submitting.jpg").unwrap().task(), task);

    // And so it is after one more start; the old version's words about its jobs can still be shown.
    studio.restart();
    assert_eq!(states(&studio), ended);
    for job in studio.jobs() {
        let words = studio.cli_ok(&["status", job.id()]);
        assert!(words.contains(job.input()), "{words}");
        assert!(words.lines().count() > 5, "no history: {words}");
        for output in job.outputs() {
            check_output(&output).unwrap();
        }
        assert_eq!(job.state() == "done", !job.outputs().is_empty(), "{job:?}");
    }
    assert_eq!(
        old_outputs,
        [
            fs::read(studio.outbox("done.mp4")).unwrap(),
            fs::read(studio.outbox("done.mp4.yaml")).unwrap(),
        ]
    );
    for ((input, _), bytes) in AFTERWARDS.iter().zip(inputs) {
        let copies = studio.copies_of(&bytes);
        assert_eq!(copies.len(), 1, "{input}: {copies:?}\n{}", studio.report());
        assert!(
            copies[0].starts_with("originals/") || copies[0].starts_with("failed/"),
            "{copies:?}"
        );
    }
}

#[test]
fn fields_that_a_later_version_added_are_passed_over() {
    let (mut studio, _memory) = left_behind();
    change_journal(
        &studio,
        "UPDATE jobs SET body = json_set(body, '$.invented', json('{\"a\": [1]}'), '$.state.invented', 7, \
         '$.plan.invented', null, '$.files[0].invented', 'x');
         UPDATE events SET event = json_set(event, '$.invented', json('[true]'))",
    );
    studio.start();
    studio.wait_until("all go on", |studio| states(studio) == expected(&[]));
    for job in studio.jobs() {
        studio.cli_ok(&["status", job.id()]);
    }
}

/// Starts on what lies there now: it must be refused, with the words, and nothing may be changed or sent.
fn is_refused(studio: &Studio, words: &[&str]) {
    let file = studio.path("state/journal.sqlite");
    let (journal, tree) = (fs::read(&file).unwrap(), studio.tree());
    let requests = studio.seen().requests.len();
    let output = studio.cli(&["run"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words.iter().chain(&["journal.sqlite"]) {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    assert!(
        fs::read(&file).unwrap() == journal,
        "the journal was changed"
    );
    assert_eq!(studio.tree(), tree);
    assert_eq!(studio.seen().requests.len(), requests);
}

// That a journal with a higher format number, and a file that is no database, are refused, is tested in `e2e::service`.

#[test]
fn a_job_in_a_state_that_is_not_known_stops_the_start() {
    let (studio, _memory) = left_behind();
    change_journal(
        &studio,
        "UPDATE jobs SET body = json_set(body, '$.state.is', 'teleporting') WHERE input = 'running.jpg'",
    );
    is_refused(&studio, &["teleporting", "Nothing was changed", "backup"]);
}

#[test]
fn a_damaged_journal_stops_the_start() {
    let (studio, _memory) = left_behind();
    let file = studio.path("state/journal.sqlite");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    is_refused(&studio, &["malformed", "Nothing was changed", "backup"]);

    // The first page is whole, and so are the names of the tables.
    let mut scratched = whole.clone();
    scratched[4096..].fill(0xa5);
    fs::write(&file, scratched).unwrap();
    is_refused(&studio, &["malformed", "Nothing was changed", "backup"]);

    // Nothing of that damaged the file for good.
    fs::write(&file, &whole).unwrap();
    assert!(contains(&whole, b"running.jpg"));
}

#[test]
fn a_database_of_another_program_stops_the_start() {
    let (studio, _memory) = left_behind();
    change_journal(
        &studio,
        "CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x'); PRAGMA application_id = 0",
    );
    is_refused(&studio, &["another program", "Nothing was changed"]);
}
