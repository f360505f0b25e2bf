//! A stand-in for Runway's API: the same paths, checks, tasks and outputs, without a key and without money.
//!
//! The demo and the tests start it in their process, `taxiway simulate` as a program. A request comes in through
//! `connection`, and `routes`, `uploads` or `files` answers it; `exchange` is what all of them do before and after. `submit`
//! checks what would start a task, `board` knows how `tasks` proceed as time passes and what they cost, and `media` makes
//! the outputs. `faults` makes requests fail on purpose, `log` remembers all requests, and `store` keeps what must survive a
//! restart. `control` is the control API under `/_simulator/`, which sets faults and shows the log.
//!
//! Facts about the API are those of its public documentation and of the types in its official SDKs.

mod answers;
mod board;
mod clock;
mod connection;
mod control;
mod exchange;
mod faults;
mod files;
mod log;
mod media;
mod options;
mod routes;
mod state;
mod store;
mod submit;
mod tasks;
mod uploads;
mod uuid;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::control::{SeenTask, Snapshot};
pub use self::faults::{Action, Match, Rule};
pub use self::log::Seen;
pub use self::media::Product;
pub use self::options::{Options, Tier};
pub use self::state::Change;
pub use self::tasks::{Limits, ModelLimits};

use self::clock::now;
use self::connection::{Peer, ResettableListener};
use self::state::{App, Inner};
use crate::catalogue::Catalogue;

/// How long requests in progress may take when the simulator stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running simulator. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    app: Arc<App>,
    address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// Starts a simulator. It accepts requests once this returns.
    ///
    /// # Errors
    /// The address is not available, `options.dir` cannot be used or does not belong to a simulator, or the built-in catalogue
    /// cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        let catalogue = Catalogue::built_in().map_err(io::Error::other)?;
        let inner = Inner::open(&options, now())?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the simulator and its control API can be reached from other machines");
        }
        let app = Arc::new(App::new(catalogue, inner, address.to_string()));
        let router = Router::new()
            .fallback(routes::handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&app));
        let closing = app.closing.clone();
        let server = axum::serve(
            ResettableListener(listener),
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

    /// The URL without a path and without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests and tasks so far.
    pub fn snapshot(&self) -> Snapshot {
        control::take_snapshot(&self.app)
    }

    /// Replaces the fault rules. An empty list ends all faults.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.app.lock().faults.replace(rules);
    }

    /// Changes settings.
    pub fn change(&self, change: Change) {
        self.app.lock().change(change, now());
    }

    /// Serves until the server fails.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn serve(mut self) -> io::Result<()> {
        (&mut self.server).await.map_err(io::Error::other)?
    }

    /// Stops: accepts no more connections, and waits up to two seconds for requests in progress.
    pub async fn stop(mut self) {
        self.app.closing.cancel();
        match tokio::time::timeout(STOP_TIMEOUT, &mut self.server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the simulator ended with an error"),
            Ok(Err(error)) => tracing::warn!(%error, "the simulator was aborted"),
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

#[cfg(test)]
mod tests;
