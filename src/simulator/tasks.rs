//! A task, the limits for tasks, and what the API shows of a task at a moment.
//!
//! A task in a place is PENDING for the first tenth of its time and RUNNING for the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Millis;

/// The part of a task's time for which it shows as PENDING.
const PENDING_PART: f64 = 0.1;

/// How many tasks of one model the tier allows. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLimits {
    /// At once.
    pub max_concurrent: Option<u32>,
    /// In any 24 hours.
    pub max_daily: Option<u32>,
}

/// The limits of all models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// For all other models.
    pub default: ModelLimits,
    /// For single models.
    #[serde(default)]
    pub models: BTreeMap<String, ModelLimits>,
}

impl Limits {
    /// The limits of a model.
    pub fn of(&self, model: &str) -> ModelLimits {
        self.models.get(model).copied().unwrap_or(self.default)
    }
}

/// The path under which a task is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// `/v1/tasks/{id}`
    Task,
    /// `/v1/workflow_invocations/{id}`
    Workflow,
}

/// How a task will end, decided when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Succeeds,
    Fails {
        code: String,
        message: String,
        /// Whether the credits stay spent.
        charged: bool,
    },
    /// It runs until it is cancelled.
    Never,
}

/// What was ordered: everything that decides what a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) endpoint: String,
    /// The model, or the name of an endpoint without models: limits and usage are counted by it.
    pub(super) model: String,
    pub(super) created: Millis,
    /// How long it holds its place.
    pub(super) seconds: f64,
    pub(super) ending: Ending,
    /// `estimatedCost.credits`
    pub(super) estimated: f64,
    pub(super) outputs: Vec<super::media::Product>,
    /// SHA-256 of the request's body, in hexadecimal.
    pub(super) body_sha256: String,
}

impl Order {
    /// What it costs. The API charges whole credits.
    pub(super) fn credits(&self) -> i64 {
        // Far below 2^53, where the cast would lose digits.
        self.estimated.ceil().clamp(0.0, 1e12) as i64
    }

    pub(super) fn length(&self) -> Millis {
        (self.seconds.clamp(0.0, 1e9) * 1000.0) as Millis
    }
}

/// The phase of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a place.
    Waiting,
    /// In a place since `at`.
    Started {
        at: Millis,
    },
    Succeeded {
        cost: i64,
    },
    Failed {
        code: String,
        message: String,
        cost: i64,
    },
    Cancelled {
        cost: i64,
    },
}

/// The status that the API shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Status {
    Pending,
    Throttled,
    Running {
        /// 0 to 1.
        progress: f64,
    },
    Succeeded {
        cost: i64,
    },
    Failed {
        code: String,
        message: String,
        cost: i64,
    },
    Cancelled {
        cost: i64,
    },
}

impl Status {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Throttled => "THROTTLED",
            Self::Running { .. } => "RUNNING",
            Self::Succeeded { .. } => "SUCCEEDED",
            Self::Failed { .. } => "FAILED",
            Self::Cancelled { .. } => "CANCELLED",
        }
    }

    /// The credits charged in the end.
    pub(super) fn cost(&self) -> Option<i64> {
        match self {
            Self::Pending | Self::Throttled | Self::Running { .. } => None,
            Self::Succeeded { cost } | Self::Failed { cost, .. } | Self::Cancelled { cost } => {
                Some(*cost)
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) order: Order,
    pub(super) phase: Phase,
}

impl Task {
    /// The status at a moment.
    pub(super) fn status(&self, now: Millis) -> Status {
        match &self.phase {
            Phase::Waiting => Status::Throttled,
            Phase::Started { at } => {
                let gone = (now - at).max(0) as f64;
                let whole = self.order.length().max(1) as f64;
                let part = gone / whole;
                if part < PENDING_PART {
                    Status::Pending
                } else {
                    let progress = (part - PENDING_PART) / (1.0 - PENDING_PART);
                    // In hundredths, and never 1 before the task is done.
                    Status::Running {
                        progress: (progress * 100.0).round().clamp(0.0, 99.0) / 100.0,
                    }
                }
            }
            Phase::Succeeded { cost } => Status::Succeeded { cost: *cost },
            Phase::Failed {
                code,
                message,
                cost,
            } => Status::Failed {
                code: code.clone(),
                message: message.clone(),
                cost: *cost,
            },
            Phase::Cancelled { cost } => Status::Cancelled { cost: *cost },
        }
    }
}
