//! The file of the journal: how it is opened, and the one way to read it and to write it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use tokio::sync::Mutex;

use super::schema::{migrate, read_format};
use super::transaction::{BEGIN, Query, Statement, commit};
use super::trouble::{is_damage, unreadable};
use crate::journal::JournalError;

/// Connections for those who only read.
const READERS: u32 = 2;

/// A journal in one SQLite file.
pub struct SqliteJournal {
    pub(super) path: PathBuf,
    options: SqliteConnectOptions,
    /// SQLite has one writer at a time anyway. A connection that had an error is dropped: it may still have an open
    /// transaction, and a later commit would become part of it.
    pub(super) writer: Mutex<Option<SqliteConnection>>,
    pub(super) readers: SqlitePool,
}

impl SqliteJournal {
    /// The journal's file in a state directory.
    pub fn file(state_dir: &Path) -> PathBuf {
        state_dir.join("journal.sqlite")
    }

    /// Opens the journal of a state directory, creates it if it is missing, and brings an older one to today's format.
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
        // Opened now and kept: none could be opened while the disk is full or its permissions are wrong, which is when people
        // ask for the status.
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

    /// Opens the journal of a state directory only to read it, while no daemon runs. Nothing is written, and no file is created
    /// that the daemon's own user could not use afterwards. `None`: the first start was interrupted before anything was in it.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
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
        if read_format(&mut writer, &path).await? == 0 {
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

    /// Makes all statements durable in one transaction, or none of them.
    pub(super) async fn write(
        &self,
        points: &[&'static str],
        statements: Vec<Statement<'_>>,
    ) -> Result<(), JournalError> {
        let mut slot = self.writer.lock().await;
        // Taken out, so that it comes back only after all went well.
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => SqliteConnection::connect_with(&self.options)
                .await
                .map_err(|error| self.failed(error))?,
        };
        let transaction = writer.begin_with(BEGIN).await;
        let mut transaction = transaction.map_err(|error| self.failed(error))?;
        for Statement { query, job } in statements {
            let done = query.execute(&mut *transaction).await;
            let changed = done.map_err(|error| self.failed(error))?.rows_affected();
            if let Some(job) = job
                && changed != 1
            {
                return Err(JournalError::Conflict(job.clone()));
            }
        }
        commit(transaction, points)
            .await
            .map_err(|error| self.failed(error))?;
        *slot = Some(writer);
        Ok(())
    }

    /// What `read` makes of each row of a query's answer.
    pub(super) async fn read_all<T>(
        &self,
        query: Query<'_>,
        read: impl Fn(&SqliteRow) -> Result<T, JournalError>,
    ) -> Result<Vec<T>, JournalError> {
        let rows = query.fetch_all(&self.readers).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        rows.iter().map(read).collect()
    }

    /// What `read` makes of the first row of a query's answer, if there is one.
    pub(super) async fn read_first<T>(
        &self,
        query: Query<'_>,
        read: impl Fn(&SqliteRow) -> Result<T, JournalError>,
    ) -> Result<Option<T>, JournalError> {
        let row = query.fetch_optional(&self.readers).await;
        let row = row.map_err(|error| self.failed(error))?;
        row.as_ref().map(read).transpose()
    }

    fn failed(&self, error: sqlx::Error) -> JournalError {
        if is_damage(&error) {
            return unreadable(&self.path, &error);
        }
        JournalError::Store {
            path: self.path.clone(),
            source: error.into(),
        }
    }

    pub(super) fn unreadable(&self, why: impl Display) -> JournalError {
        JournalError::Unreadable {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    pub(super) fn read_time(&self, microseconds: i64) -> Result<Timestamp, JournalError> {
        Timestamp::from_microsecond(microseconds).map_err(|error| self.unreadable(error))
    }
}

/// A count, which is never below zero, as SQLite has it.
pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
