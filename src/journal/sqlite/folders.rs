//! What is remembered of folders.

use sqlx::{Row as _, query};

use super::store::SqliteJournal;
use crate::journal::{Answer, Folders};

impl Folders for SqliteJournal {
    fn folder<'a>(&'a self, key: &'a str) -> Answer<'a, Option<String>> {
        let folder = query("SELECT what FROM roots WHERE path = ?1").bind(key);
        Box::pin(self.read_first(folder, |row| Ok(row.get(0))))
    }

    fn remember_folder<'a>(&'a self, key: &'a str, text: &'a str) -> Answer<'a, ()> {
        let remember = query(
            "INSERT INTO roots (path, what) VALUES (?1, ?2) \
             ON CONFLICT (path) DO UPDATE SET what = excluded.what",
        );
        let remember = remember.bind(key).bind(text).into();
        Box::pin(self.write(&["root"], vec![remember]))
    }

    fn forget_folders(&self) -> Answer<'_, ()> {
        Box::pin(self.write(&["root"], vec![query("DELETE FROM roots").into()]))
    }
}
