//! The configuration: from a YAML file to a [`Config`] in which everything fits together.
//!
//! A configuration is read in two steps. The text becomes typed values, each with its place; then the folders are
//! placed and compared, with what is known of the machine's mounts. Both collect problems rather than stop at the
//! first, and a `Config` exists only when there are none. Reading changes nothing on disk: folders that are missing are
//! made by the daemon.
//!
//! Each section of the file has a file here with its type, its defaults and its keys.

mod catalogue;
mod error;
mod fit;
mod folders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inbox;
mod key;
mod load;
mod notify;
mod reader;
mod reload;
mod runway;
mod surroundings;
mod units;
mod web;

pub use catalogue::load_catalogue;
pub use error::ConfigError;
pub use folders::Folders;
pub use inbox::{Defaults, Inbox, OnSuccess, Watch};
pub use key::{ApiKey, KeyError, KeySource, TokenError, find_key, load_secret, load_web_token};
pub use load::{Config, JournalKind, Limits, MAX_INPUT_SIZE, load};
pub use notify::Notify;
pub use reload::{Reload, merge};
pub use runway::{MaxInFlight, OnDoubt, Runway};
pub use surroundings::{Env, environment};
pub use web::Web;

/// The commented example that `taxiway init` writes. Its paths are relative, so that it serves any folder as it is.
pub const EXAMPLE: &str = include_str!("../../config/taxiway.yaml");

#[cfg(test)]
mod tests;
