//! Media that Runway holds.

use jiff::Timestamp;
use sqlx::{Row as _, query};

use super::store::SqliteJournal;
use crate::journal::{Answer, Upload, Uploads};

impl Uploads for SqliteJournal {
    fn upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        until: Timestamp,
    ) -> Answer<'a, Option<Upload>> {
        let upload = query(
            "SELECT uri, expires_at FROM uploads WHERE account = ?1 AND sha256 = ?2 AND expires_at > ?3",
        )
        .bind(account)
        .bind(sha256)
        .bind(until.as_microsecond());
        Box::pin(self.read_first(upload, |row| {
            Ok(Upload {
                uri: row.get(0),
                expires_at: self.read_time(row.get(1))?,
            })
        }))
    }

    fn remember_upload<'a>(
        &'a self,
        account: &'a str,
        sha256: &'a str,
        upload: &'a Upload,
        now: Timestamp,
    ) -> Answer<'a, ()> {
        let expired = query("DELETE FROM uploads WHERE expires_at <= ?1");
        let expired = expired.bind(now.as_microsecond());
        let remember = query(
            "INSERT INTO uploads (account, sha256, uri, expires_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (account, sha256) DO UPDATE SET uri = excluded.uri, expires_at = excluded.expires_at",
        )
        .bind(account)
        .bind(sha256)
        .bind(&upload.uri)
        .bind(upload.expires_at.as_microsecond());
        Box::pin(self.write(&["upload"], vec![expired.into(), remember.into()]))
    }

    fn forget_upload<'a>(&'a self, uri: &'a str) -> Answer<'a, ()> {
        let forget = query("DELETE FROM uploads WHERE uri = ?1").bind(uri);
        Box::pin(self.write(&["upload"], vec![forget.into()]))
    }
}
