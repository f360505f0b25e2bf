//! The format of the file: whose it is, and how an older one becomes today's.

use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::trouble::unreadable;
use super::write::commit;
use crate::journal::JournalError;

/// "taxi" in ASCII: tells our files from other people's SQLite databases.
const APPLICATION_ID: i64 = 0x7461_7869;

/// Each script brings the journal from the format of its index to the next one. Scripts are only ever added.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_jobs.sql"),
    include_str!("../migrations/0002_retry_asked.sql"),
    include_str!("../migrations/0003_notices_and_pages.sql"),
    include_str!("../migrations/0004_doubts_are_not_tasks.sql"),
];

/// Brings the journal to today's format, each step in one transaction together with the format's number.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), JournalError> {
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
