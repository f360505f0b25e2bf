//! The stand-in for Runway's API: the same paths, checks, tasks and outputs, with no key and no money.
//!
//! The demo and the tests start it in-process, `taxiway simulate` as a program. A request comes in through
//! `connection`, is told apart in `routes`, and is answered there, in `uploads` or in `files`; `submit` checks
//! what would start a task, `tasks` knows how tasks go on as time passes and what they cost, and `media` makes the
//! outputs. `faults` lets requests go wrong on purpose, `log` remembers all of them, and `store` keeps what must
//! outlive a restart. `control` is the side door, under `/_simulator/`, by which faults are set and the log is read.
//!
//! Facts about the API are those of its public documentation and of the types in its official SDKs.

mod answers;
mod connection;
mod control;
mod faults;
mod files;
mod log;
mod media;
mod routes;
mod state;
mod store;
mod submit;
mod tasks;
mod uploads;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::control::{SeenTask, Snapshot};
pub use self::faults::{Action, Match, Rule};
pub use self::log::Seen;
pub use self::media::Product;
pub use self::state::Change;
pub use self::tasks::{Limits, ModelLimits};

use self::connection::{Gate, Peer};
use self::state::{App, Inner};
use crate::catalogue::Catalogue;

/// How long requests in flight may take to end when the simulator stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the organization has and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Credits at the start.
    pub credit_balance: i64,
    /// `tier.maxMonthlyCreditSpend`; shown, not enforced, as it limits purchases.
    pub max_monthly_credit_spend: i64,
    /// Tasks at once and a day, by model.
    pub limits: Limits,
}

/// How a simulator is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a task takes once it has a place, in seconds; 0 is done at the first look.
    pub task_seconds: f64,
    /// Where tasks, uploads and the log are kept so that they outlive a restart; `None`: in memory only.
    pub dir: Option<PathBuf>,
    /// The one key that is right; `None`: any that is not empty.
    pub key: Option<String>,
    /// The organization's credits and limits. Where `dir` holds an earlier run, its balance goes on.
    pub tier: Tier,
    /// Faults in force from the start.
    pub faults: Vec<Rule>,
    /// How long output URLs are good for, in seconds.
    pub url_seconds: f64,
    /// How long uploads are good for, in seconds.
    pub upload_seconds: f64,
}

impl Default for Options {
    /// A free port of 127.0.0.1, tasks of two seconds, 10,000 credits and a middling tier, URLs and uploads good for
    /// a day, nothing kept and nothing going wrong.
    fn default() -> Self {
        const DAY: f64 = 24.0 * 60.0 * 60.0;
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            task_seconds: 2.0,
            dir: None,
            key: None,
            tier: Tier {
                credit_balance: 10_000,
                max_monthly_credit_spend: 50_000,
                limits: Limits {
                    default: ModelLimits {
                        max_concurrent: Some(5),
                        max_daily: Some(1_000),
                    },
                    models: std::collections::BTreeMap::new(),
                },
            },
            faults: Vec::new(),
            url_seconds: DAY,
            upload_seconds: DAY,
        }
    }
}

/// A running simulator. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    app: Arc<App>,
    address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// Starts one; it answers when this returns.
    ///
    /// # Errors
    /// When the address cannot be listened on, `options.dir` cannot be used or holds what is not a simulator's, or
    /// the built-in catalogue cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        let catalogue = Catalogue::built_in().map_err(io::Error::other)?;
        let inner = Inner::open(&options, now())?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the simulator can be reached from other machines, and so can its controls");
        }
        let app = Arc::new(App::new(catalogue, inner, address.to_string()));
        let router = Router::new()
            .fallback(routes::handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&app));
        let closing = app.closing.clone();
        let server = axum::serve(
            Gate(listener),
            router.into_make_service_with_connect_info::<Peer>(),
        )
        .with_graceful_shutdown(async move { closing.cancelled().await });
        let server = tokio::spawn(server.into_future());
        Ok(Self {
            app,
            address,
            server,
        })
    }

    /// Its URL, without a path and without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen and done so far.
    pub fn snapshot(&self) -> Snapshot {
        control::snapshot(&self.app)
    }

    /// Replaces the rules of what goes wrong; an empty list ends all trouble.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.app.lock().faults.replace(rules);
    }

    /// Changes settings.
    pub fn change(&self, change: Change) {
        self.app.lock().change(change, now());
    }

    /// Serves until the server ends by itself, which it does only when something is badly wrong.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn serve(mut self) -> io::Result<()> {
        (&mut self.server).await.map_err(io::Error::other)?
    }

    /// Stops: takes no more connections and lets requests in flight end for up to two seconds.
    pub async fn stop(mut self) {
        self.app.closing.cancel();
        match tokio::time::timeout(FAREWELL, &mut self.server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the simulator ended with an error"),
            Ok(Err(error)) => tracing::warn!(%error, "the simulator was torn down"),
            Err(_elapsed) => {
                tracing::debug!("connections to the simulator were still open when it stopped");
                self.server.abort();
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.app.closing.cancel();
    }
}

/// The time, in milliseconds since 1970.
fn now() -> tasks::Millis {
    jiff::Timestamp::now().as_millisecond()
}

/// A moment as a timestamp.
fn timestamp(at: tasks::Millis) -> jiff::Timestamp {
    // Only moments that the clock showed, or that such a clock wrote to the file, come here; the fallback is for a
    // file that was tampered with.
    jiff::Timestamp::from_millisecond(at).unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        // A nibble is always below 16.
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .collect()
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> String {
    let random = fastrand::u128(..);
    let bits = (random & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    // The format above gives 32 ASCII digits.
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

#[cfg(test)]
mod tests;
