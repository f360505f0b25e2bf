//! `taxiway simulate`: Runway's stand-in alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::simulator::{Options, Simulator};

/// The end of `--help`.
const HELP: &str = "\
Any key works. A prompt can ask for trouble:
  [[fail CODE]]       the task fails, for instance [[fail INTERNAL.BAD_OUTPUT.CODE01]]
  [[slow SECONDS]]    the task takes that long
  [[stuck]]           the task never ends

Over HTTP, below the base URL:
  POST /_simulator/faults     a JSON list of rules, for instance
                              [{\"match\": {\"path\": \"/v1/image_to_video\"}, \"times\": 1, \"action\": \"reset_after\"}]
                              actions: {\"status\": {\"code\": 503}}, \"reset_before\", \"reset_after\",
                              {\"slow\": {\"ms\": 500}}, \"garbage\", \"no_id\", {\"truncate\": {\"bytes\": 1000}}, \"expire\"
  POST /_simulator/settings   task_seconds, url_seconds, upload_seconds, key, credit_balance, limits
  GET  /_simulator/log        every request that was seen
  GET  /_simulator/tasks      every task

Point taxiway at it with RUNWAYML_BASE_URL, or with runway.base_url in the configuration.";

/// Run a stand-in for Runway's API; its base URL is the first line printed
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Simulate {
    /// The address to listen at
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How long a task takes, in seconds
    #[arg(long, default_value_t = 2.0)]
    task_seconds: f64,
    /// Where tasks are kept, so that they survive a restart of the simulator
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Simulate {
    /// Serves until it is stopped.
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::INFO);
        let listen = self.listen;
        let options = Options {
            listen,
            task_seconds: self.task_seconds,
            dir: self.dir,
            ..Options::default()
        };
        let failed = |error: std::io::Error| {
            CommandError::Failed(format!("the simulator cannot run at {listen}: {error}"))
        };
        let simulator = Simulator::start(options).await.map_err(failed)?;
        output::line(&simulator.base_url())?;
        simulator.serve().await.map_err(failed)
    }
}
