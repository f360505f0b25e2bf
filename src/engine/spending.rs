//! What may still be spent: the settings' limits, less what the journal and the jobs in motion have spent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::settings::Settings;
use crate::job::State;
use crate::journal::JournalError;
use crate::ledger::{Credits, Ledger};
use crate::policy::budget::{Budget, DAY, MONTH, SpendLimits, Spent};

#[derive(Default)]
pub(crate) struct Spending {
    /// What was spent in a month, as of a moment ago.
    month: Option<Month>,
}

/// What was spent in 30 days, which may be very many tasks. The journal adds them up now and then, and what the ledger has
/// counted since comes on top. What is older than 30 days by now, or turned out cheaper, still counts, so that no limit is
/// exceeded.
struct Month {
    at: Instant,
    spent: Credits,
    /// What the ledger had counted before the sum.
    counted: Credits,
}

impl Month {
    /// How long a sum is used.
    const GOOD_FOR: Duration = Duration::from_secs(10);
}

impl Spending {
    /// What may still be spent.
    ///
    /// # Errors
    /// The journal cannot be read; then nothing may be spent.
    pub(crate) async fn load_budget(
        &mut self,
        settings: &Settings,
        ledger: &Ledger,
    ) -> Result<Budget, JournalError> {
        let limits: HashMap<String, SpendLimits> = settings
            .inboxes
            .iter()
            .map(|(name, settings)| (name.clone(), settings.inbox.limits))
            .collect();
        let all = || limits.values().chain([&settings.limits]);
        if all().all(SpendLimits::is_none) {
            return Ok(Budget::default());
        }
        // The jobs first: one that is accepted between the two reads then counts twice this time, and is not missed.
        let jobs = ledger.jobs();
        let mut spent: HashMap<String, Spent> = HashMap::new();
        let day = Timestamp::now() - DAY;
        for (inbox, credits) in ledger.journal().credits_by_inbox(day).await? {
            spent.entry(inbox).or_default().day = credits;
        }
        if all().any(|limits| limits.per_month.is_some()) {
            for (inbox, credits) in self.sum_month(ledger).await? {
                spent.entry(inbox).or_default().month = credits;
            }
        }
        let mut budget = Budget::new(settings.limits, &limits, &spent);
        for job in jobs {
            let price = job.plan.as_ref().and_then(|plan| plan.estimated);
            match &job.state {
                // Not in the journal's sums yet.
                State::Uploading | State::Submitting { .. } | State::InDoubt { .. } => {
                    budget.count(&job.inbox, price);
                }
                // In the sums, but as nothing.
                State::Running { .. } if job.estimated().is_none() => {
                    budget.count(&job.inbox, None);
                }
                State::Running { .. }
                | State::Taking { .. }
                | State::Queued { .. }
                | State::Downloading { .. }
                | State::Delivering { .. }
                | State::Closing { .. }
                | State::Done { .. }
                | State::Failed { .. }
                | State::Cancelled { .. } => {}
            }
        }
        Ok(budget)
    }

    async fn sum_month(&mut self, ledger: &Ledger) -> Result<Credits, JournalError> {
        let month = match self.month.take() {
            Some(month) if month.at.elapsed() < Month::GOOD_FOR => month,
            Some(_) | None => Month {
                at: Instant::now(),
                counted: ledger.spent(),
                spent: ledger
                    .journal()
                    .credits_by_inbox(Timestamp::now() - MONTH)
                    .await?,
            },
        };
        let mut spent = month.spent.clone();
        for (inbox, credits) in ledger.spent() {
            let before = month.counted.get(&inbox).copied().unwrap_or_default();
            *spent.entry(inbox).or_default() += credits - before;
        }
        self.month = Some(month);
        Ok(spent)
    }
}
