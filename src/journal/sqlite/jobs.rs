//! Jobs and their events.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, query};

use super::store::{SqliteJournal, unsigned};
use super::transaction::Statement;
use super::{notices, spending};
use crate::job::{Event, InvalidJobId, Job, JobId, UnknownState};
use crate::journal::{Answer, Count, Entry, Filter, Jobs, JournalError};

/// Ended jobs of all or some states. The unary plus keeps SQLite on the index that has the order.
pub(super) const ENDED: &str = "SELECT body FROM jobs WHERE open = 0 AND updated_at <= ?1 AND (updated_at < ?1 OR id > ?2) \
     AND (?3 = '' OR instr(?3, ',' || +state || ',') > 0) AND (?4 IS NULL OR +inbox = ?4) \
     AND (?5 IS NULL OR body LIKE ?5 ESCAPE '\\') ORDER BY updated_at DESC, id LIMIT ?6";

/// Ended jobs of one state, which has an index of its own: among a million that went well, the few that failed are found at
/// once.
pub(super) const ENDED_OF_ONE_STATE: &str = "SELECT body FROM jobs WHERE open = 0 AND state = ?3 \
     AND updated_at <= ?1 AND (updated_at < ?1 OR id > ?2) AND (?4 IS NULL OR +inbox = ?4) \
     AND (?5 IS NULL OR body LIKE ?5 ESCAPE '\\') ORDER BY updated_at DESC, id LIMIT ?6";

/// How many jobs have ended, by state and inbox.
pub(super) const COUNTS: &str =
    "SELECT state, inbox, count(*) FROM jobs WHERE open = 0 GROUP BY state, inbox";

impl Jobs for SqliteJournal {
    fn commit<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut statements = Vec::new();
            for entry in entries {
                self.add_statements(entry, &mut statements)?;
            }
            let points: Vec<&str> = entries.iter().map(Entry::point).collect();
            self.write(&points, statements).await
        })
    }

    fn open_jobs(&self) -> Answer<'_, Vec<Job>> {
        let open = query("SELECT body FROM jobs WHERE open = 1 ORDER BY created_at, id");
        Box::pin(self.read_all(open, |row| self.read_job(row)))
    }

    fn job<'a>(&'a self, id: &'a JobId) -> Answer<'a, Option<Job>> {
        let job = query("SELECT body FROM jobs WHERE id = ?1").bind(id.as_str());
        Box::pin(self.read_first(job, |row| self.read_job(row)))
    }

    fn history<'a>(&'a self, id: &'a JobId) -> Answer<'a, Vec<(Timestamp, Event)>> {
        let events = query("SELECT at, event FROM events WHERE job = ?1 ORDER BY seq");
        Box::pin(self.read_all(events.bind(id.as_str()), |row| {
            let event = serde_json::from_str(row.get(1)).map_err(|error| self.unreadable(error))?;
            Ok((self.read_time(row.get(0))?, event))
        }))
    }

    fn ended_jobs<'a>(
        &'a self,
        filter: &'a Filter,
        before: Option<&'a (Timestamp, JobId)>,
        limit: u32,
    ) -> Answer<'a, Vec<Job>> {
        let (time, id) = match before {
            Some((time, id)) => (time.as_microsecond(), id.as_str()),
            None => (i64::MAX, ""),
        };
        let (ended, states) = match filter.states.as_slice() {
            [] => (ENDED, String::new()),
            [one] => (ENDED_OF_ONE_STATE, one.to_string()),
            several => {
                let names: String = several.iter().map(|state| format!("{state},")).collect();
                (ENDED, format!(",{names}"))
            }
        };
        let ended = query(ended)
            .bind(time)
            .bind(id)
            .bind(states)
            .bind(filter.inbox.as_deref())
            .bind(filter.text.as_deref().map(like))
            .bind(limit);
        Box::pin(self.read_all(ended, |row| self.read_job(row)))
    }

    fn ended_counts(&self) -> Answer<'_, Vec<Count>> {
        Box::pin(self.read_all(query(COUNTS), |row| {
            let state = row.get::<&str, _>(0).parse();
            Ok(Count {
                state: state.map_err(|error: UnknownState| self.unreadable(error))?,
                inbox: row.get(1),
                jobs: unsigned(row.get(2)),
            })
        }))
    }

    fn jobs_to_retry<'a>(&'a self, inbox: &'a str) -> Answer<'a, Vec<Job>> {
        let asked = query("SELECT body FROM jobs WHERE retry_asked = 1 AND inbox = ?1 ORDER BY id");
        Box::pin(self.read_all(asked.bind(inbox), |row| self.read_job(row)))
    }

    fn failed_jobs<'a>(
        &'a self,
        inbox: &'a str,
        stem: &'a str,
        limit: u32,
    ) -> Answer<'a, Vec<Job>> {
        // A slash, which ends the range, comes after the dot: of all names in it, only those with an extension.
        let failed = query(
            "SELECT body FROM jobs WHERE state = 'failed' AND inbox = ?1 AND input >= ?2 AND input < ?2 || '/' \
             AND (input = ?2 OR input >= ?2 || '.') ORDER BY updated_at DESC LIMIT ?3",
        )
        .bind(inbox)
        .bind(stem)
        .bind(limit);
        Box::pin(self.read_all(failed, |row| self.read_job(row)))
    }

    fn find_ids<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<JobId>> {
        let ids =
            query("SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10");
        Box::pin(self.read_all(ids.bind(prefix), |row| self.read_id(row)))
    }
}

impl SqliteJournal {
    /// Adds all that makes an entry durable.
    fn add_statements<'a>(
        &self,
        entry: &'a Entry,
        statements: &mut Vec<Statement<'a>>,
    ) -> Result<(), JournalError> {
        let job = &entry.job;
        let write = query(match entry.event {
            None => {
                "INSERT INTO jobs (id, seq, inbox, input, state, open, created_at, updated_at, body, retry_asked) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            }
            Some(_) => {
                "UPDATE jobs SET seq = ?2, inbox = ?3, input = ?4, state = ?5, open = ?6, created_at = ?7, \
                 updated_at = ?8, body = ?9, retry_asked = ?10 WHERE id = ?1 AND seq = ?2 - 1"
            }
        })
        .bind(job.id.as_str())
        .bind(sequence(job.seq))
        .bind(&job.inbox)
        .bind(job.input.text())
        .bind(job.state_name().as_str())
        .bind(job.is_open())
        .bind(job.created_at.as_microsecond())
        .bind(job.updated_at.as_microsecond())
        .bind(self.to_json(job)?)
        .bind(job.retry_asked);
        statements.push(Statement {
            query: write,
            job: Some(&job.id),
        });
        if let Some(event) = &entry.event {
            let insert = query("INSERT INTO events (job, seq, at, event) VALUES (?1, ?2, ?3, ?4)")
                .bind(job.id.as_str())
                .bind(sequence(job.seq))
                .bind(job.updated_at.as_microsecond())
                .bind(self.to_json(event)?);
            statements.push(insert.into());
            // Mostly one; adopting a task changes the charge of the doubt before it, too.
            let charges = job.charges.iter().filter(|_| event.changes_charges());
            statements.extend(charges.map(|charge| spending::upsert(job, charge)));
        }
        statements.extend(entry.notices.iter().map(notices::insert));
        Ok(())
    }

    fn to_json<T: serde::Serialize>(&self, value: &T) -> Result<String, JournalError> {
        serde_json::to_string(value)
            .map_err(|error| self.unreadable(format_args!("a job cannot be written: {error}")))
    }

    /// The job whose body is a row's first column.
    fn read_job(&self, row: &SqliteRow) -> Result<Job, JournalError> {
        serde_json::from_str(row.get(0))
            .map_err(|error| self.unreadable(format_args!("a job in it cannot be read: {error}")))
    }

    /// The job's id in a row's first column.
    pub(super) fn read_id(&self, row: &SqliteRow) -> Result<JobId, JournalError> {
        row.get::<&str, _>(0)
            .parse()
            .map_err(|error: InvalidJobId| {
                self.unreadable(format_args!("a job's name in it cannot be read: {error}"))
            })
    }
}

/// The pattern of `LIKE` for a text anywhere in the JSON of a job. `LIKE` knows the case of ASCII letters only, so others match
/// anything: the caller checks what is found.
fn like(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    // Without the quotes around it.
    let inner = json
        .get(1..json.len().saturating_sub(1))
        .unwrap_or_default();
    let mut pattern = String::from("%");
    for c in inner.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c if c.is_ascii() => pattern.push(c),
            _ => pattern.push('%'),
        }
    }
    pattern.push('%');
    pattern
}

/// SQLite's integers are signed; a job never sees 2^63 events.
fn sequence(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
