//! `taxiway completions`: completion scripts for shells.

use clap::CommandFactory as _;

use super::args::Global;
use super::error::CommandError;
use super::{Cli, output};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) async fn run(self, _: &Global) -> Result<(), CommandError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "taxiway", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
