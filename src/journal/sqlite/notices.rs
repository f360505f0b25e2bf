//! Notices that are still to be sent.

use jiff::Timestamp;
use sqlx::{Row as _, query};

use super::store::SqliteJournal;
use super::transaction::Statement;
use crate::journal::{Answer, Notices};
use crate::status::notice::{Notice, Target};

/// Inserts a notice.
pub(super) fn insert(notice: &Notice) -> Statement<'_> {
    query("INSERT INTO notices (id, target, at, body, due) VALUES (?1, ?2, ?3, ?4, ?3)")
        .bind(&notice.id)
        .bind(notice.target.word())
        .bind(notice.at.as_microsecond())
        .bind(&notice.body)
        .into()
}

impl Notices for SqliteJournal {
    fn add_notices<'a>(&'a self, notices: &'a [Notice]) -> Answer<'a, ()> {
        Box::pin(self.write(&["notice_added"], notices.iter().map(insert).collect()))
    }

    fn due_notices(&self, target: Target, now: Timestamp, limit: u32) -> Answer<'_, Vec<Notice>> {
        let due = query(
            "SELECT id, at, body, attempts FROM notices WHERE target = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3",
        )
        .bind(target.word())
        .bind(now.as_microsecond())
        .bind(limit);
        Box::pin(self.read_all(due, move |row| {
            Ok(Notice {
                id: row.get(0),
                target,
                at: self.read_time(row.get(1))?,
                body: row.get(2),
                attempts: row.get(3),
            })
        }))
    }

    fn next_notice(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move {
            let next = query("SELECT min(due) FROM notices");
            let due: Option<Option<i64>> = self.read_first(next, |row| Ok(row.get(0))).await?;
            // A time beyond the last that can be named is as good as never.
            Ok(due
                .flatten()
                .map(|due| Timestamp::from_microsecond(due).unwrap_or(Timestamp::MAX)))
        })
    }

    fn forget_notice<'a>(&'a self, id: &'a str, target: Target) -> Answer<'a, ()> {
        let forget = query("DELETE FROM notices WHERE id = ?1 AND target = ?2");
        let forget = forget.bind(id).bind(target.word());
        Box::pin(self.write(&["notice_sent"], vec![forget.into()]))
    }

    fn postpone_notice<'a>(
        &'a self,
        id: &'a str,
        target: Target,
        attempts: u32,
        due: Timestamp,
    ) -> Answer<'a, ()> {
        let postpone =
            query("UPDATE notices SET attempts = ?3, due = ?4 WHERE id = ?1 AND target = ?2")
                .bind(id)
                .bind(target.word())
                .bind(attempts)
                .bind(due.as_microsecond());
        Box::pin(self.write(&["notice_postponed"], vec![postpone.into()]))
    }
}
