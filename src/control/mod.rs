//! What the control socket, the status page and the command line ask of a running daemon.

mod actions;
mod cached;
mod queries;
mod socket;

pub use actions::{Request, Way};
pub(crate) use actions::{answer, inbox_line, line};
pub(crate) use cached::Cached;
pub use queries::first_day;
pub(crate) use queries::{Spending, Standing, StateWords, card, standing};
pub(crate) use socket::serve;
pub use socket::{ControlError, ask, socket_path};
