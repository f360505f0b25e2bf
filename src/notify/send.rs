//! Telling: notices that are due go to the command and to the webhook, each until it was heard.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use url::Url;

use super::{Secret, pause, sign};
use crate::config::{KeyError, secret_text};
use crate::engine::Engine;
use crate::journal::JournalError;
use crate::policy::retry::Trouble;
use crate::runway::provide_crypto;
use crate::status::notice::{Notice, Target};

/// Notices that are told at once to each.
const AT_ONCE: usize = 8;
/// How long whoever is told may take: the specification asks for 15 to 30 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the command may take. Then it is ended.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two looks, whatever is due; and the same while something is being told.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_WHILE_BUSY: Duration = Duration::from_secs(1);

/// Whoever is told, by the configuration.
#[derive(Default)]
pub struct Teller {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The address and the secret that signs.
    pub webhook: Option<(Url, Secret)>,
}

/// Why a webhook's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file.
    #[error("the webhook's secret: {0}")]
    File(#[from] KeyError),
    /// What it holds.
    #[error(
        "what {path} holds is no webhook secret\n  write `whsec_` and base64 of 24 to 64 random bytes: `echo whsec_$(head -c 32 /dev/urandom | base64)`", path = .path.display()
    )]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
}

impl Teller {
    /// The one that a configuration asks for.
    ///
    /// # Errors
    /// The webhook's secret cannot be read, can be read by others, or is none.
    pub fn new(command: &[String], webhook: Option<(&Url, &Path)>) -> Result<Teller, SecretError> {
        let webhook = match webhook {
            None => None,
            Some((url, file)) => {
                let text = secret_text(file)?;
                let secret = Secret::of(&text).ok_or_else(|| SecretError::NotASecret {
                    path: file.to_owned(),
                })?;
                Some((url.clone(), secret))
            }
        };
        Ok(Teller {
            command: command.to_vec(),
            webhook,
        })
    }

    /// Whom it can tell.
    pub fn targets(&self) -> Vec<Target> {
        let command = (!self.command.is_empty()).then_some(Target::Command);
        let webhook = self.webhook.is_some().then_some(Target::Webhook);
        command.into_iter().chain(webhook).collect()
    }
}

/// What became of one telling.
enum Told {
    Yes,
    /// Not now: why.
    NotYet(String),
    /// Whoever is told does not want to be told any more, or nobody is configured.
    Never(String),
}

/// Tells until the engine stops. `teller` answers with the present one.
pub async fn run(engine: Arc<Engine>, teller: impl Fn() -> Arc<Teller>) {
    // Without an API key nobody else has.
    provide_crypto();
    let client = match reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("taxiway/", env!("CARGO_PKG_VERSION")))
        .build()
    {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "nobody can be told of anything");
            return;
        }
    };
    let mut something = engine.ledger.notices();
    let mut telling = Telling {
        engine: engine.clone(),
        client,
        tasks: JoinSet::new(),
        under_way: HashSet::new(),
    };
    loop {
        something.borrow_and_update();
        let pause = match telling.begin(&teller()).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(%error, "what is to be told is not known yet");
                PATIENCE
            }
        };
        tokio::select! {
            // What is under way then is told again after the next start.
            () = engine.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = telling.one_is_over() => {}
            changed = something.changed() => if changed.is_err() { return },
        }
    }
}

/// Which notice, and whom.
type Key = (String, Target);

/// What is being told now. Whoever takes long keeps only few others waiting, and nobody who is told something else.
struct Telling {
    engine: Arc<Engine>,
    client: reqwest::Client,
    tasks: JoinSet<Key>,
    under_way: HashSet<Key>,
}

impl Telling {
    /// Begins with what is due, as far as there is room. Answers how long to wait until more may be.
    async fn begin(&mut self, teller: &Arc<Teller>) -> Result<Duration, JournalError> {
        let journal = self.engine.ledger.journal();
        for target in [Target::Command, Target::Webhook] {
            let busy = self.under_way.iter().filter(|(_, whom)| *whom == target);
            let mut room = AT_ONCE.saturating_sub(busy.count());
            if room == 0 {
                continue;
            }
            // Those under way are still due.
            let limit = u32::try_from(AT_ONCE.saturating_mul(2)).unwrap_or(u32::MAX);
            for notice in journal.due_notices(target, Timestamp::now(), limit).await? {
                let key = (notice.id.clone(), target);
                if room == 0 || !self.under_way.insert(key.clone()) {
                    continue;
                }
                room -= 1;
                let (engine, client, teller) =
                    (self.engine.clone(), self.client.clone(), teller.clone());
                self.tasks.spawn(async move {
                    let told = tell(&client, &teller, &notice).await;
                    note(&engine, &notice, told).await;
                    key
                });
            }
        }
        if !self.under_way.is_empty() {
            return Ok(LOOK_WHILE_BUSY);
        }
        let next = journal.next_notice().await?;
        Ok(next.map_or(LOOK, |due| {
            let left = due.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO).min(LOOK)
        }))
    }

    /// Waits until one has ended; for ever where none is under way.
    async fn one_is_over(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(key)) => {
                self.under_way.remove(&key);
            }
            // A panic has been reported. Which one it was is not known any more, so all may be told again.
            Some(Err(_)) => self.under_way.clear(),
            None => std::future::pending().await,
        }
    }
}

/// Notes what came of a telling. While that cannot be written it is tried again, and nothing is told again meanwhile: whoever
/// has heard it would hear it over and over.
async fn note(engine: &Engine, notice: &Notice, told: Told) {
    let attempts = notice.attempts.saturating_add(1);
    let (id, target) = (&notice.id, notice.target);
    let again_in = match told {
        Told::Yes => None,
        Told::Never(why) => {
            tracing::error!(notice = id, target = target.word(), "given up: {why}");
            None
        }
        Told::NotYet(why) => match pause(attempts, fastrand::f64()) {
            None => {
                tracing::error!(
                    notice = id,
                    target = target.word(),
                    "given up after {attempts} tries: {why}"
                );
                None
            }
            Some(pause) => {
                tracing::warn!(
                    notice = id,
                    target = target.word(),
                    "nobody was told, and it is tried again in {} s: {why}",
                    pause.as_secs()
                );
                Some(SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO))
            }
        },
    };
    let journal = engine.ledger.journal();
    let mut times = 0_u32;
    loop {
        let noted = match again_in {
            None => journal.forget_notice(id, target).await,
            Some(pause) => {
                let due = Timestamp::now() + pause;
                journal.put_notice_off(id, target, attempts, due).await
            }
        };
        let Err(error) = noted else {
            return;
        };
        times = times.saturating_add(1);
        tracing::debug!(notice = id, %error, "what came of telling cannot be noted yet");
        if !engine
            .pause(engine.retry_in(Trouble::Journal, times, None))
            .await
        {
            return;
        }
    }
}

async fn tell(client: &reqwest::Client, teller: &Arc<Teller>, notice: &Notice) -> Told {
    match notice.target {
        Target::Webhook => match &teller.webhook {
            None => Told::Never("no webhook is configured any more".to_owned()),
            Some((url, secret)) => post(client, url, secret, notice).await,
        },
        Target::Command => {
            if teller.command.is_empty() {
                return Told::Never("no command is configured any more".to_owned());
            }
            let (teller, body) = (teller.clone(), notice.body.clone());
            let ran = tokio::task::spawn_blocking(move || run_command(&teller.command, &body));
            match ran.await {
                Ok(Ok(())) => Told::Yes,
                Ok(Err(why)) => Told::NotYet(why),
                Err(error) => Told::NotYet(error.to_string()),
            }
        }
    }
}

async fn post(client: &reqwest::Client, url: &Url, secret: &Secret, notice: &Notice) -> Told {
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
        Ok(answer) if answer.status().is_success() => Told::Yes,
        // The specification's word for "do not send any more".
        Ok(answer) if answer.status() == reqwest::StatusCode::GONE => {
            Told::Never("the webhook answers 410 Gone".to_owned())
        }
        Ok(answer) => Told::NotYet(format!("the webhook answers {}", answer.status())),
        // The address may hold a secret of its own.
        Err(error) => Told::NotYet(format!(
            "no answer from the webhook: {}",
            error.without_url()
        )),
    }
}

/// Runs the command with the notice on its standard input, and waits for its end.
fn run_command(words: &[String], body: &str) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let failed = |error: std::io::Error| format!("the command {program} cannot be run: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    // A notice is smaller than a pipe's buffer, and whoever does not read it need not.
    if let Some(mut input) = child.stdin.take()
        && let Err(error) = input.write_all(body.as_bytes())
    {
        tracing::debug!(%error, "the command does not read what it is told");
    }
    let limit = Instant::now() + COMMAND_PATIENCE;
    loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("the command {program} ended with {status}")),
            None if Instant::now() > limit => {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(format!(
                    "the command {program} took longer than {} s and was ended",
                    COMMAND_PATIENCE.as_secs()
                ));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
