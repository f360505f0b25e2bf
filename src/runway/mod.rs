//! The client of Runway's API.
//!
//! Every generation costs money, so the exact outcome of a request matters. A request that starts a task has one of four
//! outcomes, and the outcome is a type ([`Submission`]): it was not sent, Runway refused it, Runway accepted it, or the outcome
//! is unknown. Only after the first two may it be sent again.
//!
//! The parts of this module:
//!
//! - [`client`](Client) sends requests. Those that start a task have a connection of their own, are never repeated, and never
//!   follow a redirect. Everything else (polling, cancelling, asking for credits) costs nothing and shares pooled connections.
//! - `outcome` turns an answer into a [`Submission`] or a [`CallError`]. It is pure.
//! - `wire` reads the API's JSON, and ignores what it does not know.
//! - `upload` and `download` move media to and from storage hosts, which get neither the key nor the API's headers.
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

pub use client::{Client, ClientError};
pub use continuation::ObjectInfo;
pub use download::{DownloadError, Downloaded};
pub use ids::{OutputUrl, TaskId};
pub use outcome::{
    CallError, Cancelled, FailureClass, Refusal, RefusalClass, Submission, classify_failure,
};
pub use route::{Route, choose_route};
pub use transport::{is_loopback, provide_crypto};
pub use upload::UploadError;
pub use wire::{ModelLimits, Organization, Task, TaskStatus};
