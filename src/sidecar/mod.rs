//! From a sidecar and its defaults to a validated request. Pure.

pub(crate) mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod layers;
pub(crate) mod local_path;
pub(crate) mod names;
pub(crate) mod own_keys;
pub(crate) mod request;
pub(crate) mod text;

pub use endpoint::Rules;
pub use layers::Layer;
pub use request::settles_endpoint;
