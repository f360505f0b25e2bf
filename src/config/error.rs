//! Why a configuration cannot be used.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::diagnostic::Diagnostic;

/// Why there is no configuration. Shown to people as it is.
#[derive(Debug)]
pub enum ConfigError {
    /// None was named, and there is none in the usual places.
    NotFound {
        /// The places, in the order in which they were checked.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can be read, and must be fixed: all problems, in the order of the text.
    Invalid(Vec<Diagnostic>),
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
                    "\n  `taxiway init DIR` makes one; `--config FILE` or TAXIWAY_CONFIG names one that is elsewhere",
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
            ConfigError::Invalid(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let joint = if index == 0 { "" } else { "\n" };
                    write!(f, "{joint}{problem:#}")?;
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
            ConfigError::NotFound { .. } | ConfigError::Invalid(_) => None,
        }
    }
}
