//! The journal in SQLite: write-ahead log, `synchronous=FULL`, so that a commit that has answered survives a power cut.

mod schema;
mod trouble;
mod write;

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, Row, Sqlite};
use tokio::sync::Mutex;

use self::schema::{MIGRATIONS, migrate};
use self::trouble::{is_damage, unreadable};
use self::write::{BEGIN, commit};
use super::{Answer, Count, Entry, Filter, Journal, JournalError, Spent, Upload};
use crate::job::{Event, InvalidJobId, Job, JobId, UnknownState};
use crate::status::notice::{Notice, Target};

/// Connections for those who only read.
const READERS: u32 = 2;

/// Ended jobs of all or some states. The unary plus keeps SQLite on the index that has the order.
const ENDED: &str = "SELECT body FROM jobs WHERE open = 0 AND updated_at <= ?1 AND (updated_at < ?1 OR id > ?2) \
     AND (?3 = '' OR instr(?3, ',' || +state || ',') > 0) AND (?4 IS NULL OR +inbox = ?4) \
     AND (?5 IS NULL OR body LIKE ?5 ESCAPE '\\') ORDER BY updated_at DESC, id LIMIT ?6";

/// Ended jobs of one state, which has an index of its own: among a million that went well, the few that failed are found at
/// once.
const ENDED_OF_ONE_STATE: &str = "SELECT body FROM jobs WHERE open = 0 AND state = ?3 \
     AND updated_at <= ?1 AND (updated_at < ?1 OR id > ?2) AND (?4 IS NULL OR +inbox = ?4) \
     AND (?5 IS NULL OR body LIKE ?5 ESCAPE '\\') ORDER BY updated_at DESC, id LIMIT ?6";

/// How many jobs have ended how.
const COUNTS: &str = "SELECT state, inbox, count(*) FROM jobs WHERE open = 0 GROUP BY state, inbox";

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

    fn unreadable(&self, why: impl Display) -> JournalError {
        JournalError::Unreadable {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    fn read_id(&self, text: &str) -> Result<JobId, JournalError> {
        text.parse().map_err(|error: InvalidJobId| {
            self.unreadable(format_args!("a job's name in it cannot be read: {error}"))
        })
    }

    fn read_job(&self, body: &str) -> Result<Job, JournalError> {
        serde_json::from_str(body)
            .map_err(|error| self.unreadable(format_args!("a job in it cannot be read: {error}")))
    }
}

/// The pattern of `LIKE` for a text anywhere in the JSON of a job. `LIKE` knows the case of ASCII letters only, so that others stand
/// for anything: whoever asks looks at what is found once more.
fn like(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    // Without the quotes around it.
    let inner = json
        .get(1..json.len().saturating_sub(1))
        .unwrap_or_default();
    let mut pattern = String::from("%");
    for c in inner.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c if c.is_ascii() => pattern.push(c),
            _ => pattern.push('%'),
        }
    }
    pattern.push('%');
    pattern
}

/// What was counted is never below zero.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
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
                    let at = Timestamp::from_microsecond(row.get(0))
                        .map_err(|error| self.unreadable(error))?;
                    let event =
                        serde_json::from_str(row.get(1)).map_err(|error| self.unreadable(error))?;
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
            let (query, states) = match filter.states.as_slice() {
                [] => (ENDED, String::new()),
                [one] => (ENDED_OF_ONE_STATE, one.to_string()),
                several => {
                    let names: String = several.iter().map(|state| format!("{state},")).collect();
                    (ENDED, format!(",{names}"))
                }
            };
            let query = sqlx::query(query)
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
            let rows = sqlx::query(COUNTS)
                .fetch_all(&self.readers)
                .await
                .map_err(self.store())?;
            let count = |row: &SqliteRow| {
                let state = row.get::<&str, _>(0).parse();
                Ok(Count {
                    state: state.map_err(|error: UnknownState| self.unreadable(error))?,
                    inbox: row.get(1),
                    jobs: unsigned(row.get(2)),
                })
            };
            rows.iter().map(count).collect()
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
            let spent = |row: &SqliteRow| Spent {
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
        stem: &'a str,
        limit: u32,
    ) -> Answer<'a, Vec<Job>> {
        Box::pin(async move {
            // Of what lies between the two, which a slash ends, only those with an extension.
            let query = sqlx::query(
                "SELECT body FROM jobs WHERE state = 'failed' AND inbox = ?1 AND input >= ?2 AND input < ?2 || '/' \
                 AND (input = ?2 OR input >= ?2 || '.') ORDER BY updated_at DESC LIMIT ?3",
            )
            .bind(inbox)
            .bind(stem)
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
                        at: at.map_err(|error| self.unreadable(error))?,
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

    fn postpone_notice<'a>(
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
                "SELECT count(*) FROM tasks WHERE accepted_at >= ?1 AND model = ?2 AND id IS NOT NULL",
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
mod tests;
