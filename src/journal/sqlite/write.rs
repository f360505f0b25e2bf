//! Commits: what becomes durable together.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Sqlite, Transaction};

use super::{Query, SqliteJournal};
use crate::failpoint::{self, Point};
use crate::job::{Charge, Event, Job};
use crate::journal::{Entry, JournalError};
use crate::status::notice::Notice;

/// Begins a transaction that may write. Unlike a plain `begin` this is refused where one is open already, so that a
/// connection whose state is not what it seems can never answer that it has committed.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

impl SqliteJournal {
    pub(super) async fn write(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut slot = self.writer.lock().await;
        // Taken out, so that it comes back only after all went well.
        let mut writer = self.connection(slot.take()).await?;
        self.write_to(&mut writer, entries).await?;
        *slot = Some(writer);
        Ok(())
    }

    /// One statement in a transaction of its own.
    pub(super) async fn write_alone(
        &self,
        statement: Query<'_>,
        what: &'static str,
    ) -> Result<(), JournalError> {
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

    pub(super) async fn connection(
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

    pub(super) async fn write_to(
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
            .bind(job.state_name().as_str())
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
                // Mostly one; adopting a task settles the doubt before it, too.
                for charge in job.charges.iter().filter(|_| changes_charge(event)) {
                    self.write_charge(&mut transaction, job, charge).await?;
                }
            }
            for notice in &entry.notices {
                self.write_notice(&mut transaction, notice).await?;
            }
        }
        let points: Vec<&str> = entries.iter().map(Entry::point).collect();
        commit(transaction, &points).await.map_err(self.store())
    }

    pub(super) async fn write_notice(
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

    pub(super) async fn write_charge(
        &self,
        transaction: &mut SqliteConnection,
        job: &Job,
        charge: &Charge,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO tasks (id, job, inbox, model, accepted_at, estimated, charged) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET estimated = excluded.estimated, charged = excluded.charged",
        )
        .bind(charge.what.task())
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
pub(super) async fn commit(
    transaction: Transaction<'_, Sqlite>,
    what: &[&'static str],
) -> Result<(), sqlx::Error> {
    for word in what {
        failpoint::hit(Point::BeforeCommit(word))?;
    }
    transaction.commit().await?;
    for word in what {
        failpoint::pass(Point::AfterCommit(word));
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
