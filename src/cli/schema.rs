//! `taxiway schema`: the JSON Schema of sidecars.

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::catalogue::{Catalogue, sidecar_schema};
use crate::config::load_catalogue;

/// Print the JSON Schema of sidecars, for editors
#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        let catalogue = match global.load() {
            Ok(config) => load_catalogue(&config)?,
            Err(_) => {
                Catalogue::built_in().map_err(|error| CommandError::Failed(error.to_string()))?
            }
        };
        output::line(&format!("{:#}", sidecar_schema(&catalogue)))
    }
}
