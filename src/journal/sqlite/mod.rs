//! The journal in SQLite: write-ahead log, `synchronous=FULL`, so that a commit that has answered survives a power cut.

mod folders;
mod jobs;
mod notices;
mod schema;
mod spending;
mod store;
mod transaction;
mod trouble;
mod uploads;

pub use store::SqliteJournal;

#[cfg(test)]
mod tests;
