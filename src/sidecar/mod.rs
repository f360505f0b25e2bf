//! From a sidecar and its defaults to a validated request. Pure.

pub(crate) mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod layers;
pub(crate) mod request;

pub use layers::{Finding, Layer};
pub use request::{Outcome, Rules, settles_endpoint};
