//! What can happen to a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Delivery, Failure, Hold, InputFile, Move, Plan};
use crate::files::RelPath;

/// Something that happened to a job. Each one is made durable before anything relies on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// All files of the job are in `working/`.
    Moved {
        /// The files with their new places.
        files: Vec<InputFile>,
    },
    /// Its files were removed or replaced before they were taken: what is there now belongs to another job.
    NotTaken {
        /// Those that could not be put back, with their places in `working/`; the others have no place.
        files: Vec<InputFile>,
    },
    /// The job is held back in the queue, or no longer is.
    Held {
        /// The reason; `None` lifts it.
        hold: Option<Hold>,
    },
    /// It is the job's turn: its media are being prepared.
    Started,
    /// The attempt ended without a task, for certain, and may be repeated.
    Requeued {
        /// Why, and until when.
        hold: Option<Hold>,
    },
    /// A request that starts a task is about to leave.
    Intent {
        /// The organization's count of generations for the model, where it is known.
        used_before: Option<u32>,
        /// The files with their digests.
        files: Vec<InputFile>,
    },
    /// Runway answered with a task.
    Accepted {
        /// Runway's id.
        task: String,
        /// Runway's estimate in credits.
        estimated: Option<f64>,
        /// The API account that it belongs to.
        account: Option<String>,
    },
    /// A person named the task of a job in doubt, or of one that failed although a task may exist.
    Adopted {
        /// Runway's id.
        task: String,
        /// Which doubt was meant: another may have taken its place in the meantime. `None` for a job that failed.
        intent_at: Option<Timestamp>,
        /// The API account that it belongs to.
        account: Option<String>,
    },
    /// The request's outcome is not known.
    Doubtful {
        /// What came back, or that nothing did.
        why: String,
        /// The organization's count of generations for the model afterwards.
        used_after: Option<u32>,
    },
    /// Runway's counters were read after a request whose outcome is not known.
    Counted {
        /// Which doubt was meant.
        intent_at: Timestamp,
        /// The organization's count of generations for the model, less what other jobs started since.
        used_after: u32,
    },
    /// The task succeeded.
    Succeeded {
        /// What it cost, in credits.
        charged: Option<f64>,
    },
    /// The task failed in a way that may be repeated.
    TaskRetry {
        /// What it cost, in credits.
        charged: Option<f64>,
        /// Why, and until when.
        hold: Hold,
    },
    /// The outputs are complete and durable in part files.
    Fetched {
        /// The outputs.
        outputs: Vec<Delivery>,
    },
    /// A part file was gone before its output had its name: it is fetched again.
    Refetch,
    /// The outputs' names are chosen.
    Named {
        /// A name for each output, in their order.
        names: Vec<RelPath>,
    },
    /// The outputs and their records have their names.
    Delivered,
    /// The job failed.
    Fails {
        /// Why.
        failure: Failure,
        /// What its last task cost, in credits, where Runway said so.
        charged: Option<f64>,
    },
    /// A person asked to cancel it.
    CancelAsked,
    /// It is cancelled.
    Cancelled {
        /// How.
        why: String,
        /// What its last task cost, in credits, where Runway said so.
        charged: Option<f64>,
    },
    /// Where the inputs go is chosen.
    MovesChosen {
        /// Each file's move.
        moves: Vec<Move>,
    },
    /// The inputs are in their last places.
    Closed {
        /// The files with their new places.
        files: Vec<InputFile>,
    },
    /// A person gave up a job in doubt.
    Abandoned {
        /// What the note says.
        failure: Failure,
        /// Which doubt was meant.
        intent_at: Timestamp,
    },
    /// A person, or `on_doubt: resubmit`, decided that a job in doubt is sent again.
    Resubmitted {
        /// Which doubt was meant.
        intent_at: Timestamp,
        /// Until when it is held back, where `on_doubt: resubmit` decided.
        hold: Option<Hold>,
    },
    /// A person asked to run a failed or cancelled job again: its files go back to the inbox.
    RetryAsked,
    /// Its files could not go back to the inbox, or were taken away there.
    RetryDropped,
    /// The files of a failed or cancelled job were found in the inbox again.
    Retried {
        /// What to ask of Runway now; the sidecar may have been corrected.
        plan: Option<Box<Plan>>,
        /// Why there is nothing to ask, where the input is still invalid.
        wrong: Option<Failure>,
        /// The files, back in the inbox, with newly chosen places in `working/`.
        files: Vec<InputFile>,
    },
}

impl Event {
    /// Whether the event says what a request costs or may cost.
    pub(crate) fn changes_charges(&self) -> bool {
        match self {
            Event::Accepted { .. }
            | Event::Adopted { .. }
            | Event::Abandoned { .. }
            | Event::Resubmitted { .. }
            | Event::Succeeded { .. }
            | Event::TaskRetry { .. }
            | Event::Fails { .. }
            | Event::Cancelled { .. } => true,
            Event::Moved { .. }
            | Event::NotTaken { .. }
            | Event::Held { .. }
            | Event::Started
            | Event::Requeued { .. }
            | Event::Intent { .. }
            | Event::Doubtful { .. }
            | Event::Counted { .. }
            | Event::Fetched { .. }
            | Event::Named { .. }
            | Event::Delivered
            | Event::CancelAsked
            | Event::MovesChosen { .. }
            | Event::Closed { .. }
            | Event::Refetch
            | Event::RetryAsked
            | Event::RetryDropped
            | Event::Retried { .. } => false,
        }
    }
}

/// Each event's name in the history of a job, which programs read, and the name of its commit for tests that break it off.
macro_rules! names {
    ($($event:pat => $name:literal, $point:literal;)*) => {
        impl Event {
            /// The names of the commits of all events.
            pub const POINTS: &[&str] = &[$($point),*];

            /// The event in the history of a job: part of the API.
            pub fn as_str(&self) -> &'static str {
                match self {
                    $($event => $name,)*
                }
            }

            /// The name of the event's commit in `TAXIWAY_FAILPOINT`.
            pub(crate) fn point(&self) -> &'static str {
                match self {
                    $($event => $point,)*
                }
            }
        }
    };
}

names! {
    Event::Moved { .. } => "moved to working", "moved";
    Event::NotTaken { .. } => "not taken", "not_taken";
    Event::Held { hold: Some(_) } => "held", "held";
    Event::Held { hold: None } => "released", "released";
    Event::Started => "started", "started";
    Event::Requeued { .. } => "queued again", "requeued";
    Event::Intent { .. } => "submitting", "intent";
    Event::Accepted { .. } => "accepted", "accepted";
    Event::Adopted { .. } => "adopted", "adopted";
    Event::Refetch => "fetched again", "refetch";
    Event::Abandoned { .. } => "given up", "abandoned";
    Event::Doubtful { .. } => "in doubt", "doubtful";
    Event::Counted { .. } => "Runway's counters looked at", "counted";
    Event::Succeeded { .. } => "succeeded", "succeeded";
    Event::TaskRetry { .. } => "task failed, may be repeated", "task_retry";
    Event::Fetched { .. } => "fetched", "fetched";
    Event::Named { .. } => "named", "named";
    Event::Delivered => "delivered", "delivered";
    Event::Fails { .. } => "failed", "fails";
    Event::CancelAsked => "cancel asked", "cancel_asked";
    Event::Cancelled { .. } => "cancelled", "cancelled";
    Event::MovesChosen { .. } => "resting places chosen", "moves_chosen";
    Event::Closed { .. } => "closed", "closed";
    Event::Resubmitted { .. } => "resubmitted", "resubmitted";
    Event::RetryAsked => "retry asked", "retry_asked";
    Event::RetryDropped => "retry dropped", "retry_dropped";
    Event::Retried { .. } => "retried", "retried";
}
