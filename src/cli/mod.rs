//! The commands. Results go to stdout, logs and errors to stderr; exit codes are the contract's.
//!
//! A command is a file with its arguments and its `run`, and two lines here.

mod act;
mod args;
mod check;
mod completions;
mod credits;
mod demo;
mod error;
mod init;
mod models;
mod output;
mod run;
mod schema;
mod simulate;
mod spend;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::args::Global;
use self::error::CommandError;

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

/// Makes the enum of the commands, and what runs them, from one line for each.
macro_rules! commands {
    ($($name:ident($arguments:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($name($arguments),)*
        }

        impl Command {
            async fn run(self, global: &Global) -> Result<(), CommandError> {
                match self {
                    $(Command::$name(arguments) => arguments.run(global).await,)*
                }
            }
        }
    };
}

// In the order of `--help`.
commands! {
    Run(run::Run),
    Demo(demo::Demo),
    Init(init::Init),
    Check(check::Check),
    Status(status::Status),
    Cancel(act::Cancel),
    Retry(act::Retry),
    Resolve(act::Resolve),
    Credits(credits::Credits),
    Spend(spend::Spend),
    Models(models::Models),
    Schema(schema::Schema),
    Simulate(simulate::Simulate),
    Completions(completions::Completions),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            if let Err(error) = error.print() {
                tracing::debug!(%error, "the usage cannot be printed");
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
    let done = runtime.block_on(cli.command.run(&cli.global));
    // What still runs belongs to folders that do not respond; the journal knows its state.
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
