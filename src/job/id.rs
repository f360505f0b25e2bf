//! The names of jobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Characters of a job's name: digits and lower-case letters without those that people confuse (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Ten characters hold 50 bits: with a million jobs in the journal, a new name clashes with odds of one in a thousand million,
/// and the journal refuses a second job of the same name.
const LENGTH: usize = 10;

/// The name of a job: short, random, made to be typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// A text that is not the name of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a job: a job's name has {LENGTH} letters and digits; `taxiway status` lists them"
)]
pub struct InvalidJobId(String);

impl JobId {
    /// A new random name.
    pub fn random() -> JobId {
        let text =
            std::iter::repeat_with(|| char::from(*fastrand::choice(ALPHABET).unwrap_or(&b'0')))
                .take(LENGTH)
                .collect();
        JobId(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<JobId, InvalidJobId> {
        let lower = text.to_ascii_lowercase();
        if lower.len() == LENGTH && lower.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(JobId(lower))
        } else {
            Err(InvalidJobId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<JobId, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_reads_back_as_itself_even_in_capitals() {
        for _ in 0..1000 {
            let id = JobId::random();
            assert_eq!(id.as_str().to_uppercase().parse::<JobId>(), Ok(id));
        }
    }

    #[test]
    fn a_text_that_is_not_a_name_is_refused() {
        for text in ["", "abc", "ilou000000", "../../etc/p", "0123456789a"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }
}
