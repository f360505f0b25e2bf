//! Transactions: what becomes durable together.

use sqlx::{Sqlite, Transaction};

use crate::failpoint::{self, Point};
use crate::job::JobId;

/// Begins a transaction that may write. Unlike a plain `begin` this is refused where one is open already, so that a
/// connection whose state is not what it seems can never answer that it has committed.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// A query or a statement with its parameters.
pub(super) type Query<'a> = sqlx::query::Query<'a, Sqlite, <Sqlite as sqlx::Database>::Arguments>;

/// A statement that writes.
pub(super) struct Statement<'a> {
    pub(super) query: Query<'a>,
    /// The job that it has to change; if it does not, another process has.
    pub(super) job: Option<&'a JobId>,
}

impl<'a> From<Query<'a>> for Statement<'a> {
    fn from(query: Query<'a>) -> Statement<'a> {
        Statement { query, job: None }
    }
}

/// Makes a transaction durable. `points` say what it holds, for tests that break it off.
pub(super) async fn commit(
    transaction: Transaction<'_, Sqlite>,
    points: &[&'static str],
) -> Result<(), sqlx::Error> {
    for &point in points {
        failpoint::hit(Point::BeforeCommit(point))?;
    }
    transaction.commit().await?;
    for &point in points {
        failpoint::pass(Point::AfterCommit(point));
    }
    Ok(())
}
