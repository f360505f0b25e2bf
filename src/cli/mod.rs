//! The commands. Results go to stdout, logs and errors to stderr; exit codes are the contract's.

mod act;
mod check;
mod credits;
mod demo;
mod init;
mod output;
mod run;
mod simulate;
mod spend;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::catalogue::{Catalogue, sidecar_schema};
use crate::config::{Config, ConfigError};
use crate::control::{ControlError, Way};
use crate::daemon::StartError;
use crate::diagnostic::Diagnostic;
use crate::journal::AlreadyRunning;

/// Drop an image, a video or a prompt into a folder; the finished Runway generation comes back in another.
#[derive(Debug, Parser)]
#[command(
    name = "taxiway",
    version,
    about,
    max_term_width = 100,
    after_help = "\
To see it at work without a key or a network: taxiway demo
To begin: taxiway init DIR, then taxiway run --config DIR/taxiway.yaml

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the configuration or a sidecar is invalid;
4 the API refused the key; 5 the daemon is already running on that state."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Global {
    /// The configuration. Default: $TAXIWAY_CONFIG, else ./taxiway.yaml, else /etc/taxiway/taxiway.yaml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more about what is going on
    #[arg(long, short, global = true)]
    verbose: bool,
    /// One JSON object a line instead of text for people
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    ///
    /// SIGTERM and SIGINT stop it cleanly, SIGHUP reads the configuration again.
    Run {
        /// Take the inboxes' folders as they are now, also where another filesystem was mounted when they were last used
        #[arg(long)]
        accept_folders: bool,
    },
    /// Show everything at once, with no key and no network
    ///
    /// Starts the simulator and a daemon over a folder with sample inputs, and shows what becomes of them. Ends by itself.
    Demo {
        /// Where the sample folders are made; default: taxiway-demo, or the next free number behind it
        dir: Option<PathBuf>,
    },
    /// Make an inbox, an outbox, a commented configuration and a sample sidecar
    Init {
        /// The folder to make them in
        dir: PathBuf,
    },
    /// Check the configuration and sidecars, and show what each would submit; submits nothing
    Check {
        /// Sidecars, media or folders to look at; without any, all inboxes
        paths: Vec<PathBuf>,
        /// Also ask the API whether the key works
        #[arg(long)]
        online: bool,
    },
    /// Show jobs and their states, or one job in full
    Status {
        /// A job's name, or the beginning of it
        job: Option<String>,
        /// Show it again and again
        #[arg(long)]
        watch: bool,
    },
    /// Stop jobs, and their tasks at Runway
    Cancel {
        /// Names of jobs, or their beginnings
        #[arg(required = true)]
        job: Vec<String>,
    },
    /// Run failed or cancelled jobs again
    Retry {
        /// Names of jobs, or their beginnings
        #[arg(required = true)]
        job: Vec<String>,
    },
    /// Settle a job whose submission's outcome is unknown
    Resolve {
        /// The job's name, or the beginning of it
        job: String,
        #[command(flatten)]
        way: ResolveWay,
    },
    /// Show the balance, the tier's limits and today's use, from the API
    Credits,
    /// Show what was spent, by day, inbox and model
    Spend {
        /// In how many days, today being one of them
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
    },
    /// Print the JSON Schema of sidecars, for editors
    Schema,
    /// Run a stand-in for Runway's API; its base URL is the first line printed
    #[command(after_help = simulate::HELP)]
    Simulate {
        /// The address to listen at
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// How long a task takes, in seconds
        #[arg(long, default_value_t = 2.0)]
        task_seconds: f64,
        /// Where tasks are kept, so that they survive a restart of the simulator
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ResolveWay {
    /// Runway took the request: this is its task, whose output is fetched
    #[arg(long, value_name = "TASK_ID")]
    adopt: Option<String>,
    /// Runway did not take it: send it again
    #[arg(long)]
    resubmit: bool,
    /// Give it up
    #[arg(long)]
    abandon: bool,
}

impl ResolveWay {
    fn way(self) -> Way {
        match self {
            ResolveWay {
                adopt: Some(task), ..
            } => Way::Adopt(task),
            ResolveWay { resubmit: true, .. } => Way::Resubmit,
            ResolveWay { .. } => Way::Abandon,
        }
    }
}

/// Why a command did not succeed, by exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Exit code 3.
    #[error("{0}")]
    Invalid(String),
    /// Exit code 4.
    #[error("{0}")]
    KeyRefused(String),
    /// Exit code 5.
    #[error("{0}")]
    AlreadyRunning(String),
    /// Nobody reads what is printed any more; that is no failure.
    #[error("the reader is gone")]
    ReaderGone,
}

impl CommandError {
    fn code(&self) -> u8 {
        match self {
            CommandError::Failed(_) => 1,
            CommandError::Invalid(_) => 3,
            CommandError::KeyRefused(_) => 4,
            CommandError::AlreadyRunning(_) => 5,
            CommandError::ReaderGone => 0,
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> CommandError {
        CommandError::Invalid(error.to_string())
    }
}

impl From<Diagnostic> for CommandError {
    fn from(problem: Diagnostic) -> CommandError {
        CommandError::Invalid(format!("{problem:#}"))
    }
}

impl From<ControlError> for CommandError {
    fn from(error: ControlError) -> CommandError {
        CommandError::Failed(error.to_string())
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> CommandError {
        match &error {
            StartError::State(AlreadyRunning::Running(_)) => {
                CommandError::AlreadyRunning(error.to_string())
            }
            StartError::Catalogue(_)
            | StartError::Client(_)
            | StartError::Secret(_)
            | StartError::Ignore { .. } => CommandError::Invalid(error.to_string()),
            StartError::State(AlreadyRunning::Unusable { .. })
            | StartError::Web(_)
            | StartError::Journal(_)
            | StartError::FolderInUse { .. }
            | StartError::FoldersInUse { .. }
            | StartError::Io { .. } => CommandError::Failed(error.to_string()),
        }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            if let Err(error) = error.print() {
                tracing::debug!(%error, "nobody reads the usage");
            }
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Only as many as are needed are made. Each inbox has its share (`engine::Engine::with_files`), so that all of a
        // dozen shares may hang and others still find a free one.
        .max_blocking_threads(512)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("taxiway: the system gives no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(perform(cli));
    // What still runs belongs to folders that hang; the journal knows where it stood.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ CommandError::ReaderGone) => ExitCode::from(error.code()),
        Err(error) => {
            eprintln!("taxiway: {}", output::plain_lines(&error.to_string()));
            ExitCode::from(error.code())
        }
    }
}

async fn perform(cli: Cli) -> Result<(), CommandError> {
    let global = cli.global;
    match cli.command {
        Command::Run { accept_folders } => {
            log(&global, LevelFilter::INFO);
            run::run(&global, accept_folders).await
        }
        Command::Demo { dir } => {
            log(&global, LevelFilter::ERROR);
            demo::run(&global, dir.as_deref()).await
        }
        Command::Init { dir } => init::run(&dir),
        Command::Check { paths, online } => {
            log(&global, LevelFilter::WARN);
            check::run(&global, &paths, online).await
        }
        Command::Status { job, watch } => {
            log(&global, LevelFilter::WARN);
            status::run(&global, job.as_deref(), watch).await
        }
        Command::Cancel { job } => act::cancel(&global, &job).await,
        Command::Retry { job } => act::retry(&global, &job).await,
        Command::Resolve { job, way } => act::resolve(&global, &job, way.way()).await,
        Command::Credits => {
            log(&global, LevelFilter::WARN);
            credits::run(&global).await
        }
        Command::Spend { days } => {
            log(&global, LevelFilter::WARN);
            spend::run(&global, days).await
        }
        Command::Schema => {
            let catalogue = match load(&global) {
                Ok(config) => crate::config::load_catalogue(&config)?,
                Err(_) => Catalogue::built_in()
                    .map_err(|error| CommandError::Failed(error.to_string()))?,
            };
            output::line(&format!("{:#}", sidecar_schema(&catalogue)))
        }
        Command::Simulate {
            listen,
            task_seconds,
            dir,
        } => {
            log(&global, LevelFilter::INFO);
            simulate::run(listen, task_seconds, dir).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "taxiway", &mut script);
            output::text(&String::from_utf8_lossy(&script))
        }
    }
}

/// The configuration as the global options name it.
fn load(global: &Global) -> Result<Config, ConfigError> {
    crate::config::load(global.config.as_deref(), &crate::config::environment)
}

/// Sends logs to stderr. `$TAXIWAY_LOG` sets levels, also per module: `warn,taxiway::engine=trace`.
fn log(global: &Global, level: LevelFilter) {
    let level = if global.verbose {
        LevelFilter::DEBUG
    } else {
        level
    };
    let targets = std::env::var("TAXIWAY_LOG")
        .ok()
        .and_then(|levels| levels.parse::<Targets>().ok())
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
        // A log that cannot be written (its disk is full, its reader has gone) would be said on stderr, which cannot be
        // written either, and whoever prints there in vain panics.
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
