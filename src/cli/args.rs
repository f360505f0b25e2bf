//! What all commands take from the command line.

use std::path::PathBuf;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::error::CommandError;
use super::output;
use crate::catalogue::Catalogue;
use crate::config::{Config, ConfigError, environment, load_catalogue};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Global {
    /// The configuration. Default: $TAXIWAY_CONFIG, else ./taxiway.yaml, else /etc/taxiway/taxiway.yaml
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Say more about what is going on
    #[arg(long, short, global = true)]
    verbose: bool,
    /// One JSON object a line instead of text for people
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Global {
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        crate::config::load(self.config.as_deref(), &environment)
    }

    /// The configuration's catalogue; the built-in one where there is no configuration, or none that can be used and nobody
    /// named it.
    pub(super) fn load_catalogue(&self) -> Result<Catalogue, CommandError> {
        match self.load() {
            Ok(config) => Ok(load_catalogue(&config)?),
            Err(error) if self.config.is_some() => Err(error.into()),
            Err(_) => {
                Catalogue::built_in().map_err(|error| CommandError::Failed(error.to_string()))
            }
        }
    }

    /// Sends logs to stderr. `$TAXIWAY_LOG` sets levels, also per module: `warn,taxiway::engine=trace`.
    pub(super) fn log(&self, level: LevelFilter) {
        let level = match self.verbose {
            true => LevelFilter::DEBUG,
            false => level,
        };
        let targets = std::env::var("TAXIWAY_LOG")
            .ok()
            .and_then(|levels| {
                // An empty part would mean "errors only".
                let parts: Vec<&str> = levels.split(',').filter(|part| !part.is_empty()).collect();
                parts.join(",").parse::<Targets>().ok()
            })
            .unwrap_or_else(|| {
                Targets::new()
                    .with_default(LevelFilter::WARN)
                    .with_target("taxiway", level)
            });
        let builder = tracing_subscriber::fmt()
            // `targets` decides.
            .with_max_level(LevelFilter::TRACE)
            .with_writer(std::io::stderr)
            .with_target(false)
            // A log that cannot be written (a full disk, a reader that has gone) would be reported on stderr, which cannot be
            // written either, and printing there in vain panics.
            .log_internal_errors(false)
            .with_ansi(output::colours(&std::io::stderr()));
        // systemd's journal adds the time itself.
        let set = if std::env::var_os("JOURNAL_STREAM").is_some() {
            builder.without_time().finish().with(targets).try_init()
        } else {
            builder.finish().with(targets).try_init()
        };
        if let Err(error) = set {
            eprintln!("taxiway: no log: {error}");
        }
    }
}
