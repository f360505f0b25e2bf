//! What can be wrong with a configuration, and how people are told.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::yaml::{Place, YamlProblem};

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is in the file; nothing where it comes from the environment.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What the person can do now.
    pub hint: String,
}

impl From<YamlProblem> for Problem {
    fn from(problem: YamlProblem) -> Problem {
        Problem {
            place: Some(problem.place),
            what: problem.what,
            hint: problem.hint,
        }
    }
}

/// Why there is no configuration. Shown to people as it is.
#[derive(Debug)]
pub enum ConfigError {
    /// None was named, and none lies where they are looked for.
    NotFound {
        /// The places, in the order in which they were looked at.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can be read, and must be mended.
    Invalid {
        /// The file.
        file: PathBuf,
        /// All problems, in the order of the text.
        problems: Vec<Problem>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NotFound { looked } => {
                f.write_str("there is no configuration; looked for")?;
                for (index, path) in looked.iter().enumerate() {
                    let joint = if index == 0 { "" } else { " and" };
                    write!(f, "{joint} {}", path.display())?;
                }
                f.write_str(
                    "\n  `taxiway init DIR` makes one; `--config FILE` or TAXIWAY_CONFIG names one that lies elsewhere",
                )
            }
            ConfigError::Unreadable { file, source } => {
                let hint = match source.kind() {
                    io::ErrorKind::NotFound => {
                        "check the name after `--config` or in TAXIWAY_CONFIG; `taxiway init DIR` makes a configuration"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "give the user that taxiway runs as the right to read it"
                    }
                    _ => "check that it is a file, and that its disk is there",
                };
                write!(
                    f,
                    "{}: the configuration cannot be read: {source}\n  {hint}",
                    file.display()
                )
            }
            ConfigError::Invalid { file, problems } => {
                for (index, problem) in problems.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{}:", file.display())?;
                    if let Some(place) = problem.place {
                        write!(f, "{place}:")?;
                    }
                    write!(f, " {}\n  {}", problem.what, problem.hint)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::Unreadable { source, .. } => Some(source),
            ConfigError::NotFound { .. } | ConfigError::Invalid { .. } => None,
        }
    }
}
