//! Sending: notices that are due go to the command and to the webhook, each until it was received.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use url::Url;

use super::{Secret, compute_pause, sign};
use crate::config::{KeyError, load_secret};
use crate::engine::Engine;
use crate::journal::JournalError;
use crate::policy::retry::Trouble;
use crate::runway::provide_crypto;
use crate::status::notice::{Notice, Target};

/// How many notices are sent at once to each target.
const AT_ONCE: usize = 8;
/// How long the webhook may take: the specification recommends 15 to 30 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the command may take before it is killed.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);
/// The longest time between two checks for due notices, and the same while some are being sent.
const CHECK_EVERY: Duration = Duration::from_secs(60);
const CHECK_WHILE_SENDING: Duration = Duration::from_secs(1);

/// Who receives notices, by the configuration.
#[derive(Default)]
pub(crate) struct Receivers {
    /// The program and its arguments.
    command: Vec<String>,
    /// The address and the secret that signs.
    webhook: Option<(Url, Secret)>,
}

/// Why a webhook's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be used.
    #[error("the webhook's secret: {0}")]
    File(#[from] KeyError),
    /// What the file contains is not a secret.
    #[error(
        "what {path} contains is not a webhook secret\n  write `whsec_` and base64 of 24 to 64 random bytes: `echo whsec_$(head -c 32 /dev/urandom | base64)`", path = .path.display()
    )]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
}

impl Receivers {
    /// # Errors
    /// The webhook's secret cannot be read, can be read by others, or is not a secret.
    pub(crate) fn new(
        command: &[String],
        webhook: Option<(&Url, &Path)>,
    ) -> Result<Receivers, SecretError> {
        let webhook = match webhook {
            None => None,
            Some((url, file)) => {
                let text = load_secret(file)?;
                let secret = Secret::parse(&text).ok_or_else(|| SecretError::NotASecret {
                    path: file.to_owned(),
                })?;
                Some((url.clone(), secret))
            }
        };
        Ok(Receivers {
            command: command.to_vec(),
            webhook,
        })
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        let command = (!self.command.is_empty()).then_some(Target::Command);
        let webhook = self.webhook.is_some().then_some(Target::Webhook);
        command.into_iter().chain(webhook).collect()
    }
}

/// What came of sending a notice.
enum Outcome {
    Received,
    /// Not now, and why.
    Later(String),
    /// The receiver wants no more notices, or none is configured.
    Never(String),
}

/// Sends until the engine stops. `receivers` answers with the present ones.
pub(crate) async fn run(engine: Arc<Engine>, receivers: impl Fn() -> Arc<Receivers>) {
    // Without an API key nothing else has done this.
    provide_crypto();
    let client = match reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("taxiway/", env!("CARGO_PKG_VERSION")))
        .build()
    {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "notices cannot be sent");
            return engine.stop.cancelled().await;
        }
    };
    let mut news = engine.ledger.notices();
    let mut sender = Sender {
        engine: engine.clone(),
        client,
        tasks: JoinSet::new(),
        in_progress: HashSet::new(),
    };
    loop {
        news.borrow_and_update();
        let pause = match sender.begin(&receivers()).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(%error, "the journal cannot say which notices are due");
                PATIENCE
            }
        };
        tokio::select! {
            // What is being sent then is sent again after the next start.
            () = engine.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = sender.wait_for_one() => {}
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

/// A notice's id, and its target.
type Key = (String, Target);

/// What is being sent now. A slow receiver delays only a few other notices, and none of the other target.
struct Sender {
    engine: Arc<Engine>,
    client: reqwest::Client,
    tasks: JoinSet<Key>,
    in_progress: HashSet<Key>,
}

impl Sender {
    /// Begins with what is due, as far as there is room. Answers how long to wait until more may be due.
    async fn begin(&mut self, receivers: &Arc<Receivers>) -> Result<Duration, JournalError> {
        let journal = self.engine.ledger.journal();
        for target in [Target::Command, Target::Webhook] {
            let busy = self.in_progress.iter().filter(|(_, to)| *to == target);
            let mut room = AT_ONCE.saturating_sub(busy.count());
            if room == 0 {
                continue;
            }
            // Those in progress are still due.
            let limit = u32::try_from(AT_ONCE.saturating_mul(2)).unwrap_or(u32::MAX);
            for notice in journal.due_notices(target, Timestamp::now(), limit).await? {
                let key = (notice.id.clone(), target);
                if room == 0 || !self.in_progress.insert(key.clone()) {
                    continue;
                }
                room -= 1;
                let (engine, client, receivers) =
                    (self.engine.clone(), self.client.clone(), receivers.clone());
                self.tasks.spawn(async move {
                    let outcome = send(&client, &receivers, &notice).await;
                    record_outcome(&engine, &notice, outcome).await;
                    key
                });
            }
        }
        if !self.in_progress.is_empty() {
            return Ok(CHECK_WHILE_SENDING);
        }
        let next = journal.next_notice().await?;
        Ok(next.map_or(CHECK_EVERY, |due| {
            let left = due.duration_since(Timestamp::now());
            let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
            left.min(CHECK_EVERY)
        }))
    }

    /// Waits until one has been sent; forever where none is in progress.
    async fn wait_for_one(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(key)) => {
                self.in_progress.remove(&key);
            }
            // Which one it was is unknown, so all may be sent again.
            Some(Err(error)) => {
                tracing::error!(%error, "sending a notice ended unexpectedly");
                self.in_progress.clear();
            }
            None => std::future::pending().await,
        }
    }
}

/// Records what came of sending a notice. While the journal cannot be written this is tried again, and the notice is not sent
/// again meanwhile: the receiver would get it over and over.
async fn record_outcome(engine: &Engine, notice: &Notice, outcome: Outcome) {
    let attempts = notice.attempts.saturating_add(1);
    let (id, target) = (&notice.id, notice.target);
    let again_in = match outcome {
        Outcome::Received => None,
        Outcome::Never(why) => {
            tracing::error!(notice = id, target = target.word(), "given up: {why}");
            None
        }
        Outcome::Later(why) => match compute_pause(attempts, fastrand::f64()) {
            None => {
                tracing::error!(
                    notice = id,
                    target = target.word(),
                    "given up after {attempts} attempts: {why}"
                );
                None
            }
            Some(pause) => {
                tracing::warn!(
                    notice = id,
                    target = target.word(),
                    "the notice was not received, and is sent again in {} s: {why}",
                    pause.as_secs()
                );
                Some(SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO))
            }
        },
    };
    let journal = engine.ledger.journal();
    let mut times = 0_u32;
    loop {
        let recorded = match again_in {
            None => journal.forget_notice(id, target).await,
            Some(pause) => {
                let due = Timestamp::now() + pause;
                journal.postpone_notice(id, target, attempts, due).await
            }
        };
        let Err(error) = recorded else {
            return;
        };
        times = times.saturating_add(1);
        tracing::debug!(notice = id, %error, "the journal cannot hold yet what came of the notice");
        let pause = engine.settings.choose_pause(Trouble::Journal, times, None);
        if !engine.pause(pause).await {
            return;
        }
    }
}

async fn send(client: &reqwest::Client, receivers: &Receivers, notice: &Notice) -> Outcome {
    match notice.target {
        Target::Webhook => match &receivers.webhook {
            None => Outcome::Never("no webhook is configured any more".to_owned()),
            Some((url, secret)) => post(client, url, secret, notice).await,
        },
        Target::Command => match receivers.command.split_first() {
            None => Outcome::Never("no command is configured any more".to_owned()),
            Some((program, arguments)) => {
                match run_command(program, arguments, &notice.body).await {
                    Ok(()) => Outcome::Received,
                    Err(why) => Outcome::Later(why),
                }
            }
        },
    }
}

async fn post(client: &reqwest::Client, url: &Url, secret: &Secret, notice: &Notice) -> Outcome {
    let now = Timestamp::now().as_second();
    let sent = client
        .post(url.clone())
        .header("content-type", "application/json")
        .header("webhook-id", &notice.id)
        .header("webhook-timestamp", now.to_string())
        .header(
            "webhook-signature",
            sign(secret, &notice.id, now, &notice.body),
        )
        .body(notice.body.clone())
        .send()
        .await;
    match sent {
        Ok(answer) if answer.status().is_success() => Outcome::Received,
        // In the specification this means "do not send any more".
        Ok(answer) if answer.status() == reqwest::StatusCode::GONE => {
            Outcome::Never("the webhook answers 410 Gone".to_owned())
        }
        Ok(answer) => Outcome::Later(format!("the webhook answers {}", answer.status())),
        // The address may contain a secret of its own.
        Err(error) => Outcome::Later(format!(
            "no answer from the webhook: {}",
            error.without_url()
        )),
    }
}

/// Runs the command with the notice on its standard input, and waits for its end. Starting it may block, too: its file may be
/// on a share that does not respond.
async fn run_command(program: &str, arguments: &[String], body: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the command {program} cannot be run: {error}");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (body, started) = (body.to_owned(), Arc::new(OnceLock::new()));
    let begun = started.clone();
    let mut running = spawn_blocking(move || {
        let mut child = command.spawn()?;
        begun.get_or_init(|| Pid::from_child(&child));
        // A notice is smaller than a pipe's buffer, and the command need not read it.
        if let Some(mut input) = child.stdin.take()
            && let Err(error) = input.write_all(body.as_bytes())
        {
            tracing::debug!(%error, "the command does not read the notice");
        }
        child.wait()
    });
    let (ended, is_late) = match timeout(COMMAND_PATIENCE, &mut running).await {
        Ok(ended) => (ended, false),
        Err(_) => {
            // Its wait has not ended, or ends at this moment: then no other process has its id yet.
            let killed = started.get().map(|id| kill_process(*id, Signal::KILL));
            match killed {
                None | Some(Ok(()) | Err(Errno::SRCH)) => {}
                Some(Err(error)) => return Err(failed(error.into())),
            }
            (running.await, true)
        }
    };
    let status = ended
        .map_err(|error| failed(error.into()))?
        .map_err(failed)?;
    match status.success() {
        true => Ok(()),
        false if is_late => Err(format!(
            "the command {program} took longer than {} s and was killed",
            COMMAND_PATIENCE.as_secs()
        )),
        false => Err(format!("the command {program} ended with {status}")),
    }
}
