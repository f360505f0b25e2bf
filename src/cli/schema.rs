//! `taxiway schema`: the JSON Schema of sidecars.

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::catalogue::sidecar_schema;

/// Print the JSON Schema of sidecars, for editors
#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        output::line(&format!("{:#}", sidecar_schema(&global.load_catalogue()?)))
    }
}
