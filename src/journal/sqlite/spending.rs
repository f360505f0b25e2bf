//! What tasks cost, from the charges of all jobs.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{Row as _, query};

use super::store::{SqliteJournal, unsigned};
use super::transaction::Statement;
use crate::job::{Charge, Job, JobId};
use crate::journal::{Answer, Spending, Spent};

/// Writes a charge of a job, in place of what was known of it.
pub(super) fn upsert<'a>(job: &'a Job, charge: &'a Charge) -> Statement<'a> {
    query(
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
    .into()
}

impl Spending for SqliteJournal {
    fn spent_since(&self, since: Timestamp) -> Answer<'_, Vec<Spent>> {
        let spent = query(
            "SELECT strftime('%Y-%m-%d', accepted_at / 1000000, 'unixepoch') AS day, inbox, model, count(*), \
             total(charged), total(CASE WHEN charged IS NULL THEN estimated END), \
             sum(charged IS NULL AND estimated IS NULL) \
             FROM tasks WHERE accepted_at >= ?1 GROUP BY day, inbox, model ORDER BY day, inbox, model",
        )
        .bind(since.as_microsecond());
        Box::pin(self.read_all(spent, |row| {
            Ok(Spent {
                day: row.get(0),
                inbox: row.get(1),
                model: row.get(2),
                tasks: unsigned(row.get(3)),
                charged: row.get(4),
                estimated: row.get(5),
                unknown: unsigned(row.get(6)),
            })
        }))
    }

    fn credits_by_inbox(&self, since: Timestamp) -> Answer<'_, HashMap<String, f64>> {
        Box::pin(async move {
            let credits = query(
                "SELECT inbox, sum(coalesce(charged, estimated, 0.0)) FROM tasks WHERE accepted_at >= ?1 GROUP BY inbox",
            )
            .bind(since.as_microsecond());
            let credits = self.read_all(credits, |row| Ok((row.get(0), row.get(1))));
            Ok(credits.await?.into_iter().collect())
        })
    }

    fn owner_of_task<'a>(&'a self, task: &'a str) -> Answer<'a, Option<JobId>> {
        let owner = query("SELECT job FROM tasks WHERE id = ?1 LIMIT 1").bind(task);
        Box::pin(self.read_first(owner, |row| self.read_id(row)))
    }

    fn tasks_started<'a>(&'a self, model: &'a str, since: Timestamp) -> Answer<'a, u32> {
        Box::pin(async move {
            let started = query(
                "SELECT count(*) FROM tasks WHERE accepted_at >= ?1 AND model = ?2 AND id IS NOT NULL",
            )
            .bind(since.as_microsecond())
            .bind(model);
            let started = self.read_first(started, |row| Ok(row.get(0)));
            Ok(started.await?.unwrap_or_default())
        })
    }
}
