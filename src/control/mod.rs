//! What the control socket, the status page and the command line ask: one set of requests and answers for all of them.
//!
//! [`Hub`] is what answers need of a running daemon; without one, some are had from the journal alone (`source`). `request` has
//! the requests, the answers and the refusals; `queries` and `summary` tell, `actions` change. `socket` and `client` are the two
//! ends of the control socket.

mod actions;
mod cached;
mod client;
mod find;
mod hub;
mod lines;
mod queries;
mod refusal;
mod request;
mod socket;
mod source;
mod summary;

pub use actions::Resolution;
use cached::Cached;
pub(crate) use client::Client;
pub use client::{ControlError, ask};
pub(crate) use hub::Hub;
pub(crate) use lines::{StateNames, card, inbox_line, line};
pub use queries::Cursor;
pub(crate) use queries::{inboxes, jobs, spent, status};
pub(crate) use refusal::Refusal;
pub use request::Request;
pub(crate) use request::{Reply, answer};
pub(crate) use socket::serve;
pub use socket::socket_path;
pub(crate) use source::Source;
pub(crate) use summary::{Counts, Summary, count_jobs, kind_of_stop, summarize};
