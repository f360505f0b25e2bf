use std::path::Path;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use super::SqliteJournal;
use super::jobs::{COUNTS, ENDED, ENDED_OF_ONE_STATE};
use super::schema::MIGRATIONS;
use super::spending::upsert;
use crate::files::RelPath;
use crate::job::{Charge, Charged, Event, Job, JobId, StateName, samples, transition};
use crate::journal::{
    Entry, Filter, Jobs as _, JournalError, Spending as _, Spent, Upload, Uploads as _,
};

fn job() -> Job {
    let at = Timestamp::from_second(1_790_000_000).unwrap();
    Job {
        created_at: at,
        updated_at: at,
        ..samples::wrong("a.yaml", vec![])
    }
}

fn entry(event: Option<Event>, job: &Job) -> Entry {
    Entry {
        event,
        job: job.clone(),
        notices: vec![],
    }
}

/// A connection of another program to the journal's file.
async fn connect(state_dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(SqliteJournal::file(state_dir));
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_leaves_an_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(SqliteJournal::file(dir.path()), "").unwrap();
    let found = SqliteJournal::open_to_read(dir.path()).await.unwrap();
    assert!(found.is_none());
    SqliteJournal::open(dir.path()).await.unwrap();
    let found = SqliteJournal::open_to_read(dir.path()).await.unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn a_job_reads_back_after_the_journal_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let first = job();
    journal.commit(&[entry(None, &first)]).await.unwrap();
    let events = [
        Event::Moved { files: vec![] },
        Event::Closed { files: vec![] },
    ];
    let mut last = first.clone();
    for event in &events {
        last = transition(&last, event.clone(), first.created_at).unwrap();
        journal
            .commit(&[entry(Some(event.clone()), &last)])
            .await
            .unwrap();
    }
    drop(journal);
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    assert_eq!(journal.job(&first.id).await.unwrap(), Some(last));
    assert!(journal.open_jobs().await.unwrap().is_empty());
    assert_eq!(
        journal.history(&first.id).await.unwrap(),
        events.map(|event| (first.created_at, event)).to_vec()
    );
}

#[tokio::test]
async fn ended_jobs_are_found_by_state_inbox_and_text_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let mut first = job();
    first.input = RelPath::new(Path::new("100%_sure.yaml")).unwrap();
    let mut second = job();
    second.inbox = "other".to_owned();
    for job in [&first, &second] {
        journal.commit(&[entry(None, job)]).await.unwrap();
        let mut last = job.clone();
        for event in [
            Event::Moved { files: vec![] },
            Event::Closed { files: vec![] },
        ] {
            last = transition(&last, event.clone(), job.created_at).unwrap();
            journal.commit(&[entry(Some(event), &last)]).await.unwrap();
        }
    }
    let found = async |states: &[StateName], inbox: Option<&str>, text: Option<&str>| {
        let filter = Filter {
            states: states.to_vec(),
            inbox: inbox.map(str::to_owned),
            text: text.map(str::to_owned),
        };
        let jobs = journal.ended_jobs(&filter, None, 10).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&[], None, None).await.len(), 2);
    assert_eq!(
        found(&[StateName::Failed, StateName::Done], None, None)
            .await
            .len(),
        2
    );
    assert!(found(&[StateName::Done], None, None).await.is_empty());
    assert_eq!(found(&[], Some("other"), None).await, [second.id.clone()]);
    // What means something to `LIKE` means itself.
    assert_eq!(found(&[], None, Some("100%_SURE")).await, [first.id]);
    assert!(found(&[], None, Some("1%sure")).await.is_empty());
    let mut counts = journal.ended_counts().await.unwrap();
    counts.sort_by(|a, b| a.inbox.cmp(&b.inbox));
    let counts: Vec<_> = counts
        .iter()
        .map(|count| (count.state, count.inbox.as_str(), count.jobs))
        .collect();
    assert_eq!(
        counts,
        [
            (StateName::Failed, "other", 1),
            (StateName::Failed, "studio", 1)
        ]
    );
}

#[tokio::test]
async fn the_failed_job_of_a_sidecar_is_found_among_names_that_begin_alike() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    for name in [
        "img1.jpg",
        "img10.jpg",
        "img1 (2).jpg",
        "img1-a.jpg",
        "img1/x.jpg",
        "img1",
    ] {
        let mut job = job();
        job.id = JobId::random();
        job.input = RelPath::new(Path::new(name)).unwrap();
        journal.commit(&[entry(None, &job)]).await.unwrap();
        for event in [
            Event::Moved { files: vec![] },
            Event::Closed { files: vec![] },
        ] {
            job = transition(&job, event.clone(), job.created_at).unwrap();
            journal.commit(&[entry(Some(event), &job)]).await.unwrap();
        }
    }
    let found = async |stem: &str| {
        let jobs = journal.failed_jobs("studio", stem, 20).await.unwrap();
        let mut names: Vec<String> = jobs.iter().map(|job| job.input.to_string()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(found("img1").await, ["img1", "img1.jpg"]);
    assert_eq!(found("img10.jpg").await, ["img10.jpg"]);
    assert!(found("img").await.is_empty());
}

#[tokio::test]
async fn pages_and_counts_of_ended_jobs_read_an_index_and_not_all_jobs() {
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteJournal::open(dir.path()).await.unwrap());
    let mut raw = connect(dir.path()).await;
    let mut plan = async |query: &'static str| {
        let rows = sqlx::query(query).fetch_all(&mut raw).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        steps.join("; ")
    };
    const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";
    let explained = |query: &str| -> &'static str { format!("{EXPLAIN}{query}").leak() };
    for (query, index) in [
        (ENDED, "USING INDEX jobs_ended (updated_at<?)"),
        (
            ENDED_OF_ONE_STATE,
            "USING INDEX jobs_ended_of_state (state=? AND updated_at<?)",
        ),
        (COUNTS, "USING COVERING INDEX jobs_ended_of_state"),
    ] {
        let plan = plan(explained(query)).await;
        assert!(plan.contains(index), "{query}: {plan}");
        let sorts = plan.contains("ORDER BY");
        assert!(!sorts, "{query}: {plan}");
    }
}

#[tokio::test]
async fn spending_is_reported_by_day_and_an_unknown_price_is_not_zero() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let owner = job();
    journal.commit(&[entry(None, &owner)]).await.unwrap();
    for (task, day, estimated, charged) in [
        ("a", 0, Some(5.0), Some(7.0)),
        ("b", 0, Some(5.0), None),
        ("c", 0, None, None),
        ("d", 1, None, Some(2.0)),
    ] {
        let charge = Charge {
            what: Charged::Task(task.to_owned()),
            at: Timestamp::from_second(86_400 * (100 + day) + 10).unwrap(),
            estimated,
            charged,
        };
        let charge = vec![upsert(&owner, &charge)];
        journal.write(&["charge"], charge).await.unwrap();
    }
    let spent = journal.spent_since(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(spent.len(), 2, "{spent:?}");
    let Spent {
        day,
        tasks,
        charged,
        estimated,
        unknown,
        ..
    } = &spent[0];
    assert_eq!(
        (day.as_str(), *tasks, *charged, *estimated, *unknown),
        ("1970-04-11", 3, 7.0, 5.0, 1)
    );
    assert_eq!(spent[1].charged, 2.0);
    let later = Timestamp::from_second(86_400 * 101).unwrap();
    assert_eq!(journal.spent_since(later).await.unwrap(), spent[1..]);
}

#[tokio::test]
async fn a_commit_is_all_or_nothing_and_two_writers_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let (a, b) = (job(), job());
    journal.commit(&[entry(None, &a)]).await.unwrap();
    let refused = journal.commit(&[entry(None, &b), entry(None, &a)]).await;
    assert!(refused.is_err());
    assert_eq!(journal.job(&b.id).await.unwrap(), None);
    let mut stale = a.clone();
    stale.seq = 7;
    let conflict = journal
        .commit(&[entry(Some(Event::CancelAsked), &stale)])
        .await;
    assert!(matches!(conflict, Err(JournalError::Conflict(id)) if id == a.id));
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteJournal::open(dir.path()).await.unwrap());
    let mut raw = connect(dir.path()).await;
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let error = SqliteJournal::open(dir.path()).await.err().unwrap();
    assert!(
        matches!(error, JournalError::Newer { found: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_a_journal_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteJournal::file(dir.path());
    std::fs::write(&file, vec![b'x'; 5000]).unwrap();
    let error = SqliteJournal::open(dir.path()).await.err().unwrap();
    assert!(matches!(error, JournalError::Unreadable { .. }), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), vec![b'x'; 5000]);
}

#[tokio::test]
async fn an_upload_is_found_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let upload = Upload {
        uri: "runway://x".into(),
        expires_at: at(100),
    };
    journal
        .remember_upload("a", "sha", &upload, at(1))
        .await
        .unwrap();
    assert_eq!(
        journal.upload("a", "sha", at(99)).await.unwrap(),
        Some(upload)
    );
    assert_eq!(journal.upload("a", "sha", at(100)).await.unwrap(), None);
    assert_eq!(journal.upload("b", "sha", at(1)).await.unwrap(), None);
}

#[tokio::test]
async fn no_write_becomes_a_part_of_a_transaction_that_was_left_open() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let upload = Upload {
        uri: "runway://x".into(),
        expires_at: at(100),
    };
    let leave_open = async || {
        let mut slot = journal.writer.lock().await;
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => connect(dir.path()).await,
        };
        std::mem::forget(writer.begin().await.unwrap());
        *slot = Some(writer);
    };
    let remember = async || journal.remember_upload("a", "sha", &upload, at(1)).await;
    leave_open().await;
    assert!(remember().await.is_err());
    remember().await.unwrap();
    leave_open().await;
    assert!(journal.forget_upload(&upload.uri).await.is_err());
    let found = async || journal.upload("a", "sha", at(1)).await.unwrap();
    assert_eq!(found().await, Some(upload.clone()));
    journal.forget_upload(&upload.uri).await.unwrap();
    assert_eq!(found().await, None);
}

#[test]
fn one_daemon_for_each_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = crate::journal::StateLock::take(dir.path()).unwrap();
    assert!(matches!(
        crate::journal::StateLock::take(dir.path()),
        Err(crate::journal::AlreadyRunning::Running(_))
    ));
    drop(held);
    assert!(crate::journal::StateLock::take(dir.path()).is_ok());
}

#[tokio::test]
async fn readers_need_no_new_connection_while_the_folder_has_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    std::fs::rename(journal.path.clone(), dir.path().join("away")).unwrap();
    let one = journal.readers.acquire().await.unwrap();
    let other = journal.readers.acquire().await.unwrap();
    drop((one, other));
    assert!(
        journal
            .ended_jobs(&Filter::default(), None, 1)
            .await
            .unwrap()
            .is_empty()
    );
}

/// What version 0.1.0 left behind, in one of the formats since then.
async fn old_journal(state_dir: &Path, format: usize) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/promises/fixtures/journal-0.1.0/state/journal.sqlite");
    std::fs::copy(fixture, SqliteJournal::file(state_dir)).unwrap();
    let mut raw = connect(state_dir).await;
    for (index, script) in MIGRATIONS.iter().enumerate().take(format).skip(1) {
        let script = format!("{script}; PRAGMA user_version = {}", index + 1);
        let script = sqlx::AssertSqlSafe(script);
        sqlx::raw_sql(script).execute(&mut raw).await.unwrap();
    }
    raw.close().await.unwrap();
}

async fn abandoned(journal: &SqliteJournal) -> Job {
    let filter = Filter {
        text: Some("abandoned.jpg".to_owned()),
        ..Filter::default()
    };
    let jobs = journal.ended_jobs(&filter, None, 2).await.unwrap();
    <[Job; 1]>::try_from(jobs).unwrap()[0].clone()
}

#[tokio::test]
async fn a_doubt_of_an_older_format_counts_as_spent_until_its_task_is_adopted() {
    for format in 1..MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        old_journal(dir.path(), format).await;
        let to_read = SqliteJournal::open_to_read(dir.path()).await.unwrap();
        let to_read = to_read.unwrap();
        let before = abandoned(&to_read).await;
        let spent_before = to_read.spent_since(Timestamp::UNIX_EPOCH).await.unwrap();
        drop(to_read);

        let journal = SqliteJournal::open(dir.path()).await.unwrap();
        let job = abandoned(&journal).await;
        assert_eq!(job, before, "format {format}");
        assert_eq!(job.charges[0].what, Charged::Doubt, "format {format}");
        assert_eq!(
            (job.charges.len(), job.cost(), job.task_id()),
            (1, 25.0, None)
        );
        let spent = async || journal.spent_since(Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(spent().await, spent_before);
        let started = async || {
            let since = Timestamp::UNIX_EPOCH;
            journal.tasks_started("gen4_turbo", since).await.unwrap()
        };
        assert_eq!(started().await, 4);
        let by_inbox = async || {
            let since = Timestamp::UNIX_EPOCH;
            journal.credits_by_inbox(since).await.unwrap()["inbox"]
        };
        let credits = by_inbox().await;
        assert_eq!(credits, 151.0);

        let adopted = Event::Adopted {
            task: "t1".to_owned(),
            intent_at: None,
            account: None,
        };
        let running = transition(&job, adopted.clone(), Timestamp::now()).unwrap();
        let entry = entry(Some(adopted), &running);
        journal.commit(&[entry]).await.unwrap();
        assert_eq!(by_inbox().await, credits, "it costs once");
        assert_eq!(started().await, 5);
        assert_eq!(
            journal.owner_of_task("t1").await.unwrap(),
            Some(job.id.clone())
        );
        let model = |spent: Vec<Spent>| -> u64 {
            let rows = spent.iter();
            let rows = rows.filter(|row| row.model.as_deref() == Some("gen4_turbo"));
            rows.map(|row| row.tasks).sum()
        };
        assert_eq!(model(spent().await), model(spent_before) + 1);
        let again = journal.job(&job.id).await.unwrap().unwrap();
        assert_eq!(again, running);
        assert_eq!(again.charges[0].charged, Some(0.0));
    }
}

#[tokio::test]
async fn each_charge_of_an_older_format_keeps_its_place_and_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    old_journal(dir.path(), 3).await;
    let mut raw = connect(dir.path()).await;
    let changed = sqlx::raw_sql(
        r#"UPDATE jobs SET body = json_set(body, '$.charges', json('[
            {"task": "in doubt since 2026-11-24T17:35:46.5Z", "at": "2026-11-24T17:35:46.5Z", "estimated": 25.0, "charged": 0.0},
            {"task": "ö-1", "at": "2026-11-24T17:35:46.978967016Z", "estimated": null, "charged": 12.25},
            {"task": "in doubt since 2026-11-24T17:35:47.508438983Z", "at": "2026-11-24T17:35:47.508438983Z", "estimated": null, "charged": null}
        ]')) WHERE input = 'abandoned.jpg'"#,
    );
    let changed = changed.execute(&mut raw).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    raw.close().await.unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let charge = |what, at: &str, estimated, charged| Charge {
        what,
        at: at.parse().unwrap(),
        estimated,
        charged,
    };
    assert_eq!(
        abandoned(&journal).await.charges,
        [
            charge(
                Charged::Doubt,
                "2026-11-24T17:35:46.5Z",
                Some(25.0),
                Some(0.0)
            ),
            charge(
                Charged::Task("ö-1".to_owned()),
                "2026-11-24T17:35:46.978967016Z",
                None,
                Some(12.25)
            ),
            charge(Charged::Doubt, "2026-11-24T17:35:47.508438983Z", None, None),
        ]
    );
}
