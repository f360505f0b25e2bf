//! `taxiway init DIR`: folders, a commented configuration and a sample sidecar.

use std::path::Path;

use super::{CommandError, output};
use crate::config::EXAMPLE;
use crate::files::{create_folders, write_new};

/// A sidecar to copy. Names that begin with `_` are never inputs, so this one costs nothing.
const SAMPLE: &str = include_str!("../../config/sample.yaml");

/// Makes them. What is there already is left as it is.
pub fn run(dir: &Path) -> Result<(), CommandError> {
    let failed = |path: &Path, error: std::io::Error| {
        CommandError::Failed(format!(
            "{} cannot be made: {error}. Nothing that was there was changed",
            path.display()
        ))
    };
    for folder in ["inbox", "outbox"] {
        let path = dir.join(folder);
        create_folders(&path).map_err(|error| failed(&path, error))?;
    }
    for (name, content) in [("taxiway.yaml", EXAMPLE), ("inbox/_sample.yaml", SAMPLE)] {
        let path = dir.join(name);
        write_new(&path, content.as_bytes()).map_err(|error| failed(&path, error))?;
    }
    let shown = dir.display();
    output::text(&format!(
        "Made in {shown}:\n  \
         inbox/               drop images, videos and sidecars here\n  \
         inbox/_sample.yaml   a sidecar to copy\n  \
         outbox/              what is finished appears here\n  \
         taxiway.yaml         the configuration, with every key explained\n\n\
         Next:\n  \
         export RUNWAYML_API_SECRET=key_...        your API key, or see api_key_file in taxiway.yaml\n  \
         taxiway check --online --config {shown}/taxiway.yaml\n  \
         taxiway run --config {shown}/taxiway.yaml\n"
    ))
}
