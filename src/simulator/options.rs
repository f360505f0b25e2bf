//! How a simulator is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::faults::Rule;
use super::tasks::{Limits, ModelLimits};

/// The credits and limits of the organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// The credits at the start.
    pub credit_balance: i64,
    /// `tier.maxMonthlyCreditSpend`; shown, not enforced, as it limits purchases.
    pub max_monthly_credit_spend: i64,
    /// The tasks at once and per day, by model.
    pub limits: Limits,
}

/// The settings of a simulator.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The address to listen on; port 0 chooses a free port.
    pub listen: SocketAddr,
    /// How long a task takes once it has a place, in seconds. With 0 it has ended at the first poll.
    pub task_seconds: f64,
    /// Where tasks, uploads and the log are kept over restarts; `None`: in memory only.
    pub dir: Option<PathBuf>,
    /// The only valid key; `None`: any key that is not empty.
    pub key: Option<String>,
    /// The organization's credits and limits. If `dir` has an earlier run, its balance continues.
    pub tier: Tier,
    /// The fault rules at the start.
    pub faults: Vec<Rule>,
    /// How long output URLs are valid, in seconds.
    pub url_seconds: f64,
    /// How long uploads are valid, in seconds.
    pub upload_seconds: f64,
}

impl Default for Options {
    /// A free port of 127.0.0.1, tasks of two seconds, 10,000 credits and a medium tier, URLs and uploads that are valid for a day,
    /// nothing kept, no faults.
    fn default() -> Self {
        const DAY: f64 = 24.0 * 60.0 * 60.0;
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            task_seconds: 2.0,
            dir: None,
            key: None,
            tier: Tier {
                credit_balance: 10_000,
                max_monthly_credit_spend: 50_000,
                limits: Limits {
                    default: ModelLimits {
                        max_concurrent: Some(5),
                        max_daily: Some(1_000),
                    },
                    models: std::collections::BTreeMap::new(),
                },
            },
            faults: Vec::new(),
            url_seconds: DAY,
            upload_seconds: DAY,
        }
    }
}
