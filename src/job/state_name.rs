//! The states as people and programs see them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A state of the contract. Several of the machine's [states](super::State) may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The contract says what each one means.
pub enum StateName {
    Waiting,
    Queued,
    Uploading,
    Submitting,
    Running,
    Downloading,
    Delivering,
    Done,
    Failed,
    Cancelled,
    InDoubt,
}

/// A text that is not the name of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no state '{0}': they are {names}", names = StateName::ALL.map(StateName::as_str).join(", "))]
pub struct UnknownState(String);

impl StateName {
    /// All names, in the contract's order.
    pub const ALL: [StateName; 11] = [
        StateName::Waiting,
        StateName::Queued,
        StateName::Uploading,
        StateName::Submitting,
        StateName::Running,
        StateName::Downloading,
        StateName::Delivering,
        StateName::Done,
        StateName::Failed,
        StateName::Cancelled,
        StateName::InDoubt,
    ];

    /// The names of the states in which a job has ended.
    pub const ENDED: [StateName; 3] = [StateName::Done, StateName::Failed, StateName::Cancelled];

    /// The name in the contract's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Waiting => "waiting",
            StateName::Queued => "queued",
            StateName::Uploading => "uploading",
            StateName::Submitting => "submitting",
            StateName::Running => "running",
            StateName::Downloading => "downloading",
            StateName::Delivering => "delivering",
            StateName::Done => "done",
            StateName::Failed => "failed",
            StateName::Cancelled => "cancelled",
            StateName::InDoubt => "in_doubt",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StateName {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<StateName, UnknownState> {
        StateName::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_the_same_in_text_and_json_and_reads_back() {
        for name in StateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            let json = serde_json::to_value(name).unwrap();
            assert_eq!(json, name.as_str());
            assert_eq!(serde_json::from_value::<StateName>(json).unwrap(), name);
        }
        let error = "gone".parse::<StateName>().unwrap_err().to_string();
        assert!(
            error.starts_with("there is no state 'gone': they are waiting, queued, "),
            "{error}"
        );
    }
}
