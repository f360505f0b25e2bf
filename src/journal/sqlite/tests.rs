use super::*;
use crate::files::RelPath;
use crate::job::{Charge, StateName, samples, transition};

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

#[tokio::test]
async fn a_first_start_that_was_broken_off_leaves_a_journal_with_nothing_in_it() {
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
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let mut raw = journal.connection(None).await.unwrap();
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
async fn what_was_spent_is_told_by_day_and_an_unknown_price_is_not_zero() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).await.unwrap();
    let owner = job();
    journal.commit(&[entry(None, &owner)]).await.unwrap();
    let mut raw = journal.connection(None).await.unwrap();
    for (task, day, estimated, charged) in [
        ("a", 0, Some(5.0), Some(7.0)),
        ("b", 0, Some(5.0), None),
        ("c", 0, None, None),
        ("d", 1, None, Some(2.0)),
    ] {
        let charge = Charge {
            task: task.to_owned(),
            at: Timestamp::from_second(86_400 * (100 + day) + 10).unwrap(),
            estimated,
            charged,
        };
        journal
            .write_charge(&mut raw, &owner, &charge)
            .await
            .unwrap();
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
    let mut raw = SqliteConnection::connect_with(
        &SqliteConnectOptions::new().filename(SqliteJournal::file(dir.path())),
    )
    .await
    .unwrap();
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
async fn a_file_that_is_no_journal_is_left_alone() {
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
async fn those_who_read_need_open_nothing_while_the_folder_has_trouble() {
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
