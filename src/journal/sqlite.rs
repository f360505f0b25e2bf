//! The journal in SQLite: write-ahead log, `synchronous=FULL`, so that a commit that has answered survives a power cut.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Row, Sqlite, Transaction};
use tokio::sync::Mutex;

use super::{Answer, Count, Entry, Filter, Journal, JournalError, Spent, Upload};
use crate::failpoint;
use crate::job::{Charge, Event, Job, JobId};
use crate::notify::{Notice, Target};

/// "taxi" in ASCII: tells our files from other people's SQLite databases.
const APPLICATION_ID: i64 = 0x7461_7869;

/// Connections for those who only read.
const READERS: u32 = 2;

/// Begins a transaction that may write. Unlike a plain `begin` this is refused where one is open already, so that a
/// connection whose state is not what it seems can never answer that it has committed.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Each script brings the journal from the format of its index to the next one. Scripts are only ever added.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_retry_asked.sql"),
    include_str!("migrations/0003_notices.sql"),
];

/// A question, or a statement.
type Query<'a> = sqlx::query::Query<'a, Sqlite, <Sqlite as sqlx::Database>::Arguments>;

/// A journal in one SQLite file.
pub struct SqliteJournal {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// SQLite has one writer at a time anyway. A connection that had an error is thrown away: whether a transaction is still
    /// open on it, and with it whether a later commit would be one, cannot be told.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
}

impl SqliteJournal {
    /// The journal's file in a state directory.
    pub fn file(state_dir: &Path) -> PathBuf {
        state_dir.join("journal.sqlite")
    }

    /// Opens the journal of a state directory, makes it if it is missing, and brings an older one to today's format.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] and [`JournalError::Newer`] leave the file as it was.
    pub async fn open(state_dir: &Path) -> Result<SqliteJournal, JournalError> {
        let path = SqliteJournal::file(state_dir);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(20));
        let mut writer = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| unreadable(&path, &error))?;
        migrate(&mut writer, &path).await?;
        let writing = options.create_if_missing(false);
        // Opened now and kept: while the disk is full or lost its permissions, no further one could be opened, and people
        // ask for the status then.
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(writing.clone().read_only(true));
        let mut open = Vec::new();
        for _ in 0..READERS {
            let reader = readers.acquire().await;
            open.push(reader.map_err(|error| unreadable(&path, &error))?);
        }
        drop(open);
        Ok(SqliteJournal {
            path,
            options: writing,
            writer: Mutex::new(Some(writer)),
            readers,
        })
    }

    /// Opens the journal of a state directory to look at it while no daemon runs. Nothing is written, and no file is made that
    /// the daemon's own user could not use afterwards. `None`: its first start was broken off before anything was in it.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`]; a journal of an older format is [`JournalError::Unreadable`] until a daemon has opened it.
    pub async fn open_to_read(state_dir: &Path) -> Result<Option<SqliteJournal>, JournalError> {
        let path = SqliteJournal::file(state_dir);
        // After a clean end everything is in the one file, which SQLite may then read as it is.
        let clean = !path.with_extension("sqlite-wal").exists();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .immutable(clean)
            .busy_timeout(Duration::from_secs(5));
        let mut writer = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| unreadable(&path, &error))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let format: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut writer)
            .await
            .map_err(|error| unreadable(&path, &error))?;
        if format > known {
            return Err(JournalError::Newer {
                path,
                found: format,
                known,
            });
        }
        // The format and the tables are made in one transaction.
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut writer)
            .await
            .map_err(|error| unreadable(&path, &error))?;
        if format == 0 && tables == 0 {
            return Ok(None);
        }
        Ok(Some(SqliteJournal {
            path,
            options: options.clone(),
            writer: Mutex::new(Some(writer)),
            readers: SqlitePoolOptions::new()
                .max_connections(1)
                .connect_lazy_with(options),
        }))
    }

    fn store(&self) -> impl Fn(sqlx::Error) -> JournalError + '_ {
        |source| {
            if is_damage(&source) {
                unreadable(&self.path, &source)
            } else {
                JournalError::Store {
                    path: self.path.clone(),
                    source,
                }
            }
        }
    }

    /// The jobs whose bodies a query answers with.
    async fn read_jobs(&self, query: Query<'_>) -> Result<Vec<Job>, JournalError> {
        query
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?
            .iter()
            .map(|row| self.read_job(row.get(0)))
            .collect()
    }

    fn read_id(&self, text: &str) -> Result<JobId, JournalError> {
        text.parse::<JobId>()
            .map_err(|error| JournalError::Unreadable {
                path: self.path.clone(),
                why: format!("a job's name in it cannot be read: {error}"),
            })
    }

    fn read_job(&self, body: &str) -> Result<Job, JournalError> {
        serde_json::from_str(body).map_err(|error| JournalError::Unreadable {
            path: self.path.clone(),
            why: format!("a job in it cannot be read: {error}"),
        })
    }

    async fn write(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut slot = self.writer.lock().await;
        // Taken out, so that it comes back only after all went well.
        let mut writer = self.connection(slot.take()).await?;
        self.write_to(&mut writer, entries).await?;
        *slot = Some(writer);
        Ok(())
    }

    /// One statement in a transaction of its own.
    async fn write_alone(&self, statement: Query<'_>, what: &str) -> Result<(), JournalError> {
        let mut slot = self.writer.lock().await;
        let mut writer = self.connection(slot.take()).await?;
        let mut transaction = writer.begin_with(BEGIN).await.map_err(self.store())?;
        statement
            .execute(&mut *transaction)
            .await
            .map_err(self.store())?;
        commit(transaction, &[what]).await.map_err(self.store())?;
        *slot = Some(writer);
        Ok(())
    }

    async fn connection(
        &self,
        kept: Option<SqliteConnection>,
    ) -> Result<SqliteConnection, JournalError> {
        match kept {
            Some(writer) => Ok(writer),
            None => SqliteConnection::connect_with(&self.options)
                .await
                .map_err(self.store()),
        }
    }

    async fn write_to(
        &self,
        writer: &mut SqliteConnection,
        entries: &[Entry],
    ) -> Result<(), JournalError> {
        let mut transaction = writer.begin_with(BEGIN).await.map_err(self.store())?;
        for entry in entries {
            let job = &entry.job;
            let body = json(job, &self.path)?;
            let changed = if entry.event.is_none() {
                sqlx::query(
                    "INSERT INTO jobs (id, seq, inbox, input, state, open, created_at, updated_at, body, retry_asked) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )
            } else {
                sqlx::query(
                    "UPDATE jobs SET seq = ?2, inbox = ?3, input = ?4, state = ?5, open = ?6, created_at = ?7, \
                     updated_at = ?8, body = ?9, retry_asked = ?10 WHERE id = ?1 AND seq = ?2 - 1",
                )
            }
            .bind(job.id.as_str())
            .bind(sequence(job.seq))
            .bind(&job.inbox)
            .bind(job.input.text())
            .bind(job.state_word())
            .bind(job.is_open())
            .bind(job.created_at.as_microsecond())
            .bind(job.updated_at.as_microsecond())
            .bind(&body)
            .bind(job.retry_asked)
            .execute(&mut *transaction)
            .await
            .map_err(self.store())?
            .rows_affected();
            if changed != 1 {
                return Err(JournalError::Conflict(job.id.clone()));
            }
            if let Some(event) = &entry.event {
                sqlx::query("INSERT INTO events (job, seq, at, event) VALUES (?1, ?2, ?3, ?4)")
                    .bind(job.id.as_str())
                    .bind(sequence(job.seq))
                    .bind(job.updated_at.as_microsecond())
                    .bind(json(event, &self.path)?)
                    .execute(&mut *transaction)
                    .await
                    .map_err(self.store())?;
                if let (true, Some(charge)) = (changes_charge(event), job.charges.last()) {
                    self.write_charge(&mut transaction, job, charge).await?;
                }
            }
            for notice in &entry.notices {
                self.write_notice(&mut transaction, notice).await?;
            }
        }
        let words: Vec<&str> = entries.iter().map(Entry::word).collect();
        commit(transaction, &words).await.map_err(self.store())
    }

    async fn write_notice(
        &self,
        transaction: &mut SqliteConnection,
        notice: &Notice,
    ) -> Result<(), JournalError> {
        sqlx::query("INSERT INTO notices (id, target, at, body, due) VALUES (?1, ?2, ?3, ?4, ?3)")
            .bind(&notice.id)
            .bind(notice.target.word())
            .bind(notice.at.as_microsecond())
            .bind(&notice.body)
            .execute(transaction)
            .await
            .map_err(self.store())?;
        Ok(())
    }

    async fn write_charge(
        &self,
        transaction: &mut SqliteConnection,
        job: &Job,
        charge: &Charge,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO tasks (id, job, inbox, model, accepted_at, estimated, charged) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (id, job) DO UPDATE SET estimated = excluded.estimated, charged = excluded.charged",
        )
        .bind(&charge.task)
        .bind(job.id.as_str())
        .bind(&job.inbox)
        .bind(job.model())
        .bind(charge.at.as_microsecond())
        .bind(charge.estimated)
        .bind(charge.charged)
        .execute(transaction)
        .await
        .map_err(self.store())?;
        Ok(())
    }
}

/// Makes a transaction durable; `what` it holds names the points before and after.
async fn commit(transaction: Transaction<'_, Sqlite>, what: &[&str]) -> Result<(), sqlx::Error> {
    for word in what {
        failpoint::hit(format_args!("commit.before/{word}"))?;
    }
    transaction.commit().await?;
    for word in what {
        failpoint::pass(format_args!("commit.after/{word}"));
    }
    Ok(())
}

/// Whether the event says what a task costs or may cost.
fn changes_charge(event: &Event) -> bool {
    match event {
        Event::Accepted { .. }
        | Event::Adopted { .. }
        | Event::Abandoned { .. }
        | Event::Resubmitted { .. }
        | Event::Succeeded { .. }
        | Event::TaskRetry { .. }
        | Event::Fails { .. }
        | Event::Cancelled { .. } => true,
        Event::Moved { .. }
        | Event::NotTaken { .. }
        | Event::Held { .. }
        | Event::Started
        | Event::Requeued { .. }
        | Event::Intent { .. }
        | Event::Doubtful { .. }
        | Event::Counted { .. }
        | Event::Fetched { .. }
        | Event::Named { .. }
        | Event::Delivered
        | Event::CancelAsked
        | Event::MovesChosen { .. }
        | Event::Closed { .. }
        | Event::Refetch
        | Event::RetryAsked
        | Event::RetryDropped
        | Event::Retried { .. } => false,
    }
}

/// The pattern of `LIKE` for a text anywhere in the JSON of a job.
fn like(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    // Without the quotes around it.
    let inner = json
        .get(1..json.len().saturating_sub(1))
        .unwrap_or_default();
    let mut pattern = String::from("%");
    for c in inner.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// What was counted is never below zero.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// SQLite's integers are signed; a job never sees 2^63 events.
fn sequence(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn json<T: serde::Serialize>(value: &T, path: &Path) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Unreadable {
        path: path.to_owned(),
        why: format!("a job cannot be written: {error}"),
    })
}

/// Why the journal cannot be opened: it is damaged, or its disk has trouble and it is all right.
fn unreadable(path: &Path, error: &sqlx::Error) -> JournalError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error {
        sqlx::Error::Database(database) if !is_trouble(database.code().as_deref()) => {
            JournalError::Unreadable { path, why }
        }
        sqlx::Error::Database(_) | sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => {
            JournalError::Unusable { path, why }
        }
        _ => JournalError::Unreadable { path, why },
    }
}

/// Whether SQLite found the file itself wrong, which neither time nor space on the disk mends.
fn is_damage(error: &sqlx::Error) -> bool {
    /// `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
    const DAMAGE: [u32; 2] = [11, 26];
    error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok())
        // The upper bits of a code say more about the same thing.
        .is_some_and(|code| DAMAGE.contains(&(code & 0xff)))
}

/// Whether one of SQLite's codes is about permissions, locks, the disk or its room, and not about the file's content:
/// PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS, AUTH. The extended codes hold them in their
/// lowest byte.
fn is_trouble(code: Option<&str>) -> bool {
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 3 | 5..=8 | 10 | 13..=15 | 22 | 23))
}

/// Brings the journal to today's format, each step in one transaction together with the format's number.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), JournalError> {
    let fail = |error: sqlx::Error| unreadable(path, &error);
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let format: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(JournalError::Unreadable {
            path: path.to_owned(),
            why: "it is a database of another program".to_owned(),
        });
    }
    if format > known {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found: format,
            known,
        });
    }
    for (index, script) in MIGRATIONS.iter().enumerate() {
        let number = i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1);
        if number <= format {
            continue;
        }
        let mut transaction = connection.begin().await.map_err(fail)?;
        sqlx::raw_sql(*script)
            .execute(&mut *transaction)
            .await
            .map_err(fail)?;
        // Pragmas take no parameters; both figures are our own constants.
        for pragma in [
            format!("PRAGMA application_id = {APPLICATION_ID}"),
            format!("PRAGMA user_version = {number}"),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(pragma))
                .execute(&mut *transaction)
                .await
                .map_err(fail)?;
        }
        commit(transaction, &["migration"]).await.map_err(fail)?;
    }
    Ok(())
}

impl Journal for SqliteJournal {
    fn commit<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, ()> {
        Box::pin(self.write(entries))
    }

    fn open_jobs(&self) -> Answer<'_, Vec<Job>> {
        Box::pin(async move {
            self.read_jobs(sqlx::query(
                "SELECT body FROM jobs WHERE open = 1 ORDER BY created_at, id",
            ))
            .await
        })
    }

    fn job<'a>(&'a self, id: &'a JobId) -> Answer<'a, Option<Job>> {
        Box::pin(async move {
            sqlx::query("SELECT body FROM jobs WHERE id = ?1")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(self.store())?
                .map(|row| self.read_job(row.get(0)))
                .transpose()
        })
    }

    fn history<'a>(&'a self, id: &'a JobId) -> Answer<'a, Vec<(Timestamp, Event)>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT at, event FROM events WHERE job = ?1 ORDER BY seq")
                .bind(id.as_str())
                .fetch_all(&self.readers)
                .await
                .map_err(self.store())?;
            rows.iter()
                .map(|row| {
                    let unreadable = |why: String| JournalError::Unreadable {
                        path: self.path.clone(),
                        why,
                    };
                    let at = Timestamp::from_microsecond(row.get(0))
                        .map_err(|error| unreadable(error.to_string()))?;
                    let event = serde_json::from_str(row.get(1))
                        .map_err(|error| unreadable(error.to_string()))?;
                    Ok((at, event))
                })
                .collect()
        })
    }

    fn ended_jobs<'a>(
        &'a self,
        filter: &'a Filter,
        before: Option<&'a (Timestamp, JobId)>,
        limit: u32,
    ) -> Answer<'a, Vec<Job>> {
        Box::pin(async move {
            let (time, id) = match before {
                Some((time, id)) => (time.as_microsecond(), id.as_str()),
                None => (i64::MAX, ""),
            };
            // States are words of our own, without commas. The unary plus keeps SQLite on the index that has the order.
            let states = match filter.states.as_slice() {
                [] => String::new(),
                states => format!(",{},", states.join(",")),
            };
            let query = sqlx::query(
                "SELECT body FROM jobs WHERE open = 0 AND (updated_at < ?1 OR (updated_at = ?1 AND id > ?2)) \
                 AND (?3 = '' OR instr(?3, ',' || +state || ',') > 0) AND (?4 IS NULL OR +inbox = ?4) \
                 AND (?5 IS NULL OR body LIKE ?5 ESCAPE '\\') \
                 ORDER BY updated_at DESC, id LIMIT ?6",
            )
            .bind(time)
            .bind(id)
            .bind(states)
            .bind(filter.inbox.as_deref())
            .bind(filter.text.as_deref().map(like))
            .bind(limit);
            self.read_jobs(query).await
        })
    }

    fn ended_counts(&self) -> Answer<'_, Vec<Count>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT state, inbox, count(*) FROM jobs WHERE open = 0 GROUP BY state, inbox",
            )
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?;
            let count = |row: &sqlx::sqlite::SqliteRow| Count {
                state: row.get(0),
                inbox: row.get(1),
                jobs: unsigned(row.get(2)),
            };
            Ok(rows.iter().map(count).collect())
        })
    }

    fn spent_since(&self, since: Timestamp) -> Answer<'_, Vec<Spent>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT strftime('%Y-%m-%d', accepted_at / 1000000, 'unixepoch') AS day, inbox, model, count(*), \
                 total(charged), total(CASE WHEN charged IS NULL THEN estimated END), \
                 sum(charged IS NULL AND estimated IS NULL) \
                 FROM tasks WHERE accepted_at >= ?1 GROUP BY day, inbox, model ORDER BY day, inbox, model",
            )
            .bind(since.as_microsecond())
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?;
            let spent = |row: &sqlx::sqlite::SqliteRow| Spent {
                day: row.get(0),
                inbox: row.get(1),
                model: row.get(2),
                tasks: unsigned(row.get(3)),
                charged: row.get(4),
                estimated: row.get(5),
                unknown: unsigned(row.get(6)),
            };
            Ok(rows.iter().map(spent).collect())
        })
    }

    fn jobs_to_retry<'a>(&'a self, inbox: &'a str) -> Answer<'a, Vec<Job>> {
        Box::pin(async move {
            let query = sqlx::query(
                "SELECT body FROM jobs WHERE retry_asked = 1 AND inbox = ?1 ORDER BY id",
            );
            self.read_jobs(query.bind(inbox)).await
        })
    }

    fn failed_jobs<'a>(
        &'a self,
        inbox: &'a str,
        start: &'a str,
        limit: u32,
    ) -> Answer<'a, Vec<Job>> {
        Box::pin(async move {
            // No text that begins so comes after this one: it ends with the highest character there is.
            let end = format!("{start}\u{10ffff}");
            let query = sqlx::query(
                "SELECT body FROM jobs WHERE state = 'failed' AND inbox = ?1 AND input >= ?2 AND input < ?3 \
                 ORDER BY updated_at DESC LIMIT ?4",
            )
            .bind(inbox)
            .bind(start)
            .bind(end)
            .bind(limit);
            self.read_jobs(query).await
        })
    }

    fn root<'a>(&'a self, path: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT what FROM roots WHERE path = ?1")
                .bind(path)
                .fetch_optional(&self.readers)
                .await
                .map_err(self.store())
        })
    }

    fn remember_root<'a>(&'a self, path: &'a str, what: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let remember = sqlx::query(
                "INSERT INTO roots (path, what) VALUES (?1, ?2) \
                 ON CONFLICT (path) DO UPDATE SET what = excluded.what",
            );
            self.write_alone(remember.bind(path).bind(what), "root")
                .await
        })
    }

    fn forget_roots(&self) -> Answer<'_, ()> {
        Box::pin(self.write_alone(sqlx::query("DELETE FROM roots"), "root"))
    }

    fn add_notices<'a>(&'a self, notices: &'a [Notice]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut slot = self.writer.lock().await;
            let mut writer = self.connection(slot.take()).await?;
            let mut transaction = writer.begin_with(BEGIN).await.map_err(self.store())?;
            for notice in notices {
                self.write_notice(&mut transaction, notice).await?;
            }
            commit(transaction, &["notice"])
                .await
                .map_err(self.store())?;
            *slot = Some(writer);
            Ok(())
        })
    }

    fn due_notices(&self, target: Target, now: Timestamp, limit: u32) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT id, at, body, attempts FROM notices WHERE target = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3",
            )
            .bind(target.word())
            .bind(now.as_microsecond())
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?;
            rows.iter()
                .map(|row| {
                    let at = Timestamp::from_microsecond(row.get(1));
                    Ok(Notice {
                        id: row.get(0),
                        target,
                        at: at.map_err(|error| JournalError::Unreadable {
                            path: self.path.clone(),
                            why: error.to_string(),
                        })?,
                        body: row.get(2),
                        attempts: row.get(3),
                    })
                })
                .collect()
        })
    }

    fn next_notice(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move {
            let due: Option<i64> = sqlx::query_scalar("SELECT min(due) FROM notices")
                .fetch_one(&self.readers)
                .await
                .map_err(self.store())?;
            // What lies beyond the end of time is not due.
            Ok(due.map(|due| Timestamp::from_microsecond(due).unwrap_or(Timestamp::MAX)))
        })
    }

    fn forget_notice<'a>(&'a self, id: &'a str, target: Target) -> Answer<'a, ()> {
        Box::pin(async move {
            let forget = sqlx::query("DELETE FROM notices WHERE id = ?1 AND target = ?2");
            self.write_alone(forget.bind(id).bind(target.word()), "told")
                .await
        })
    }

    fn put_notice_off<'a>(
        &'a self,
        id: &'a str,
        target: Target,
        attempts: u32,
        due: Timestamp,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let put_off = sqlx::query(
                "UPDATE notices SET attempts = ?3, due = ?4 WHERE id = ?1 AND target = ?2",
            );
            let put_off = put_off.bind(id).bind(target.word()).bind(attempts);
            self.write_alone(put_off.bind(due.as_microsecond()), "put off")
                .await
        })
    }

    fn ids_like<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<JobId>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10",
            )
            .bind(prefix)
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?;
            rows.iter().map(|row| self.read_id(row.get(0))).collect()
        })
    }

    fn credits_by_inbox(&self, since: Timestamp) -> Answer<'_, HashMap<String, f64>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT inbox, sum(coalesce(charged, estimated, 0.0)) FROM tasks WHERE accepted_at >= ?1 GROUP BY inbox",
            )
            .bind(since.as_microsecond())
            .fetch_all(&self.readers)
            .await
            .map_err(self.store())?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
    }

    fn owner_of_task<'a>(&'a self, task: &'a str) -> Answer<'a, Option<JobId>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT job FROM tasks WHERE id = ?1 LIMIT 1")
                .bind(task)
                .fetch_optional(&self.readers)
                .await
                .map_err(self.store())?;
            row.map(|row| self.read_id(row.get(0))).transpose()
        })
    }

    fn tasks_started<'a>(&'a self, model: &'a str, since: Timestamp) -> Answer<'a, u32> {
        Box::pin(async move {
            sqlx::query_scalar(
                "SELECT count(*) FROM tasks WHERE accepted_at >= ?1 AND model = ?2 AND id NOT LIKE 'in doubt%'",
            )
            .bind(since.as_microsecond())
            .bind(model)
            .fetch_one(&self.readers)
            .await
            .map_err(self.store())
        })
    }

    fn forget_upload<'a>(&'a self, uri: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut slot = self.writer.lock().await;
            let mut writer = self.connection(slot.take()).await?;
            sqlx::query("DELETE FROM uploads WHERE uri = ?1")
                .bind(uri)
                .execute(&mut writer)
                .await
                .map_err(self.store())?;
            *slot = Some(writer);
            Ok(())
        })
    }

    fn upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        until: Timestamp,
    ) -> Answer<'a, Option<Upload>> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT uri, expires_at FROM uploads WHERE account = ?1 AND sha256 = ?2 AND expires_at > ?3",
            )
            .bind(account)
            .bind(sha256)
            .bind(until.as_microsecond())
            .fetch_optional(&self.readers)
            .await
            .map_err(self.store())?;
            Ok(row.and_then(|row| {
                Some(Upload {
                    uri: row.get(0),
                    expires_at: Timestamp::from_microsecond(row.get(1)).ok()?,
                })
            }))
        })
    }

    fn remember_upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        upload: &'a Upload,
        now: Timestamp,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut slot = self.writer.lock().await;
            let mut writer = self.connection(slot.take()).await?;
            let mut transaction = writer.begin().await.map_err(self.store())?;
            sqlx::query("DELETE FROM uploads WHERE expires_at <= ?1")
                .bind(now.as_microsecond())
                .execute(&mut *transaction)
                .await
                .map_err(self.store())?;
            sqlx::query(
                "INSERT INTO uploads (account, sha256, uri, expires_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (account, sha256) DO UPDATE SET uri = excluded.uri, expires_at = excluded.expires_at",
            )
            .bind(account)
            .bind(sha256)
            .bind(&upload.uri)
            .bind(upload.expires_at.as_microsecond())
            .execute(&mut *transaction)
            .await
            .map_err(self.store())?;
            commit(transaction, &["upload"])
                .await
                .map_err(self.store())?;
            *slot = Some(writer);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{RelPath, samples, transition};

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
        let found = async |states: &[&str], inbox: Option<&str>, text: Option<&str>| {
            let filter = Filter {
                states: states.iter().map(|state| (*state).to_owned()).collect(),
                inbox: inbox.map(str::to_owned),
                text: text.map(str::to_owned),
            };
            let jobs = journal.ended_jobs(&filter, None, 10).await.unwrap();
            jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
        };
        assert_eq!(found(&[], None, None).await.len(), 2);
        assert_eq!(found(&["failed", "done"], None, None).await.len(), 2);
        assert!(found(&["done"], None, None).await.is_empty());
        assert_eq!(found(&[], Some("other"), None).await, [second.id.clone()]);
        // What means something to `LIKE` means itself.
        assert_eq!(found(&[], None, Some("100%_SURE")).await, [first.id]);
        assert!(found(&[], None, Some("1%sure")).await.is_empty());
        let mut counts = journal.ended_counts().await.unwrap();
        counts.sort_by(|a, b| a.inbox.cmp(&b.inbox));
        let counts: Vec<_> = counts
            .iter()
            .map(|count| (count.state.as_str(), count.inbox.as_str(), count.jobs))
            .collect();
        assert_eq!(counts, [("failed", "other", 1), ("failed", "studio", 1)]);
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
}
