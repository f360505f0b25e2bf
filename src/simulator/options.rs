//! How a simulator is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::faults::Rule;
use super::tasks::{Limits, ModelLimits};

/// What the organization has and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Credits at the start.
    pub credit_balance: i64,
    /// `tier.maxMonthlyCreditSpend`; shown, not enforced, as it limits purchases.
    pub max_monthly_credit_spend: i64,
    /// Tasks at once and a day, by model.
    pub limits: Limits,
}

/// How a simulator is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a task takes once it has a place, in seconds; 0 is done at the first look.
    pub task_seconds: f64,
    /// Where tasks, uploads and the log are kept so that they outlive a restart; `None`: in memory only.
    pub dir: Option<PathBuf>,
    /// The one key that is right; `None`: any that is not empty.
    pub key: Option<String>,
    /// The organization's credits and limits. Where `dir` holds an earlier run, its balance goes on.
    pub tier: Tier,
    /// Faults in force from the start.
    pub faults: Vec<Rule>,
    /// How long output URLs are good for, in seconds.
    pub url_seconds: f64,
    /// How long uploads are good for, in seconds.
    pub upload_seconds: f64,
}

impl Default for Options {
    /// A free port of 127.0.0.1, tasks of two seconds, 10,000 credits and a middling tier, URLs and uploads good for
    /// a day, nothing kept and nothing going wrong.
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
