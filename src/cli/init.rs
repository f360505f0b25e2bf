//! `taxiway init DIR`: folders, a commented configuration and a sample sidecar.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::config::EXAMPLE;
use crate::files::{create_folders, write_new};

/// A sidecar to copy. Names that begin with `_` are never inputs, so this one costs nothing.
const SAMPLE: &str = include_str!("../../config/sample.yaml");

/// Make an inbox, an outbox, a commented configuration and a sample sidecar
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The folder to make them in
    dir: PathBuf,
}

impl Init {
    /// What is there already stays as it is.
    pub(super) async fn run(self, _: &Global) -> Result<(), CommandError> {
        make(&self.dir)
    }
}

fn make(dir: &Path) -> Result<(), CommandError> {
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
