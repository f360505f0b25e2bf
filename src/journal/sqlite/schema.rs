//! The format of the file, and how an older one becomes today's.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::transaction::{BEGIN, commit};
use super::trouble::unreadable;
use crate::journal::JournalError;

/// "taxi" in ASCII: distinguishes our files from other SQLite databases.
const APPLICATION_ID: i64 = 0x7461_7869;

/// Each script brings the journal from the format of its index to the next one. Scripts are only ever added.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_jobs.sql"),
    include_str!("../migrations/0002_retry_asked.sql"),
    include_str!("../migrations/0003_notices_and_pages.sql"),
    include_str!("../migrations/0004_doubts_are_not_tasks.sql"),
];

/// Reads the number of a journal's format; 0 where nothing is in it yet.
///
/// # Errors
/// It is not a journal, or one of a newer version.
pub(super) async fn read_format(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<i64, JournalError> {
    let mut figures = [0_i64; 3];
    for (figure, query) in figures.iter_mut().zip([
        "PRAGMA user_version",
        "PRAGMA application_id",
        "SELECT count(*) FROM sqlite_schema",
    ]) {
        *figure = sqlx::query_scalar(query)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| unreadable(path, &error))?;
    }
    let [found, application, tables] = figures;
    if application != APPLICATION_ID && tables > 0 {
        return Err(JournalError::Unreadable {
            path: path.to_owned(),
            why: "it is a database of another program".to_owned(),
        });
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

/// Brings the journal to today's format, each step in one transaction together with the format's number.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), JournalError> {
    let fail = |error: sqlx::Error| unreadable(path, &error);
    let format = read_format(connection, path).await?;
    for (number, script) in (1_i64..).zip(MIGRATIONS) {
        if number <= format {
            continue;
        }
        let mut transaction = connection.begin_with(BEGIN).await.map_err(fail)?;
        // Pragmas take no parameters; both figures are our own constants.
        let script = format!(
            "{script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(script))
            .execute(&mut *transaction)
            .await
            .map_err(fail)?;
        commit(transaction, &["migration"]).await.map_err(fail)?;
    }
    Ok(())
}
