//! Runway's API, as seen from this side of the wire.
//!
//! Every generation costs money, so what matters here is to say exactly what became of a request. A request that
//! starts a task ends as one of four things, and which one is a type ([`Submission`]): it was never sent, Runway
//! refused it, Runway accepted it, or nobody can tell. Only the first two may lead to a second request.
//!
//! The way through this module:
//!
//! - [`client`](Client) sends. Requests that start a task go over a connection of their own, are never repeated, and
//!   never follow a redirect. Everything else (polling, cancelling, asking for credits) costs nothing and shares
//!   pooled connections.
//! - `outcome` judges. It is pure: an answer goes in, a [`Submission`] or a [`CallError`] comes out.
//! - `wire` reads the API's JSON, and forgives what it does not know.
//! - `upload` and `download` move media. They talk to storage hosts, which get neither the key nor the API's headers.
//! - `route` chooses between a data URI and an upload.
//!
//! Two things never leave this module in an error, a log line or a `Debug` text: the API key, and the query of a signed
//! URL.

mod client;
mod continuation;
mod download;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod ids;
mod outcome;
mod route;
mod text;
mod transport;
mod upload;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Timeouts};
pub use continuation::ObjectInfo;
pub use download::{DownloadError, Downloaded};
pub use ids::{BadTaskId, OutputUrl, RunwayUri, TaskId};
pub use outcome::{
    CallError, Cancelled, Doubt, FailureClass, NotSent, Refusal, RefusalClass, Submission,
    classify_failure,
};
pub use route::{Route, TooBig, UPLOAD_MAX_BYTES, route};
pub use transport::{is_loopback, provide_crypto};
pub use upload::UploadError;
pub use wire::{ModelLimits, Organization, Task, TaskStatus};
