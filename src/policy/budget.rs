//! Spending against the configuration's limits: over a day and a month, of all inboxes together and of each. Pure.
//!
//! What has been spent comes from the journal, so that limits hold across restarts. Jobs in flight that are not in the journal's
//! sums yet are added. An unknown price never counts as zero: such jobs are let through one at a time while a limit is not
//! reached, so that at most one of them can exceed it.

use std::collections::HashMap;

use jiff::SignedDuration;

/// The rolling day.
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);
/// The rolling month: thirty days.
pub(crate) const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The most that may be spent, in credits; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpendLimits {
    /// In any 24 hours.
    pub per_day: Option<f64>,
    /// In any 30 days.
    pub per_month: Option<f64>,
}

impl SpendLimits {
    /// Whether nothing is limited.
    pub(crate) fn is_none(&self) -> bool {
        self.per_day.is_none() && self.per_month.is_none()
    }
}

/// What was spent, in credits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spent {
    /// In the last 24 hours.
    pub(crate) day: f64,
    /// In the last 30 days.
    pub(crate) month: f64,
}

/// Limits and what counts against them.
#[derive(Debug, Clone, Default)]
struct Scope {
    limits: SpendLimits,
    spent: Spent,
    /// Whether a job of unknown price is in flight.
    unknown: bool,
}

impl Scope {
    fn count(&mut self, price: Option<f64>) {
        match price {
            Some(credits) => {
                self.spent.day += credits;
                self.spent.month += credits;
            }
            None => self.unknown = true,
        }
    }

    /// Finds the limit that leaves no room: its key, its value, and its period.
    fn find_limit(&self, price: Option<f64>) -> Option<(&'static str, f64, &'static str)> {
        let over = |limit: f64, spent: f64| match price {
            Some(credits) => spent + credits > limit,
            None => spent >= limit || self.unknown,
        };
        [
            (
                "credits_per_day",
                self.limits.per_day,
                self.spent.day,
                "24 hours",
            ),
            (
                "credits_per_month",
                self.limits.per_month,
                self.spent.month,
                "30 days",
            ),
        ]
        .into_iter()
        .find_map(|(key, limit, spent, time)| {
            let limit = limit.filter(|limit| over(*limit, spent))?;
            Some((key, limit, time))
        })
    }
}

/// What may still be spent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    overall: Scope,
    inboxes: HashMap<String, Scope>,
}

impl Budget {
    /// Makes a budget from the limits and from what was spent so far, by inbox. An inbox that is no longer in `limits` counts towards the
    /// whole.
    pub(crate) fn new(
        overall: SpendLimits,
        limits: &HashMap<String, SpendLimits>,
        spent: &HashMap<String, Spent>,
    ) -> Budget {
        let mut budget = Budget {
            overall: Scope {
                limits: overall,
                ..Scope::default()
            },
            inboxes: HashMap::new(),
        };
        for (inbox, limits) in limits {
            let scope = Scope {
                limits: *limits,
                spent: spent.get(inbox).copied().unwrap_or_default(),
                unknown: false,
            };
            budget.inboxes.insert(inbox.clone(), scope);
        }
        for spent in spent.values() {
            budget.overall.spent.day += spent.day;
            budget.overall.spent.month += spent.month;
        }
        budget
    }

    /// Counts a job in flight that is not in the sums. Its price is in credits.
    pub(crate) fn count(&mut self, inbox: &str, price: Option<f64>) {
        self.overall.count(price);
        if let Some(scope) = self.inboxes.get_mut(inbox) {
            scope.count(price);
        }
    }

    /// Counts a job if it fits.
    ///
    /// # Errors
    /// Which limit leaves no room for it. The text stays the same while it does, so it names no changing sums.
    pub(crate) fn admit(&mut self, inbox: &str, price: Option<f64>) -> Result<(), String> {
        if let Some((key, limit, time)) = self.overall.find_limit(price) {
            return Err(format!(
                "`limits.{key}` is {limit} credits, and the last {time} leave no room for it"
            ));
        }
        let own = self
            .inboxes
            .get(inbox)
            .and_then(|own| own.find_limit(price));
        if let Some((key, limit, time)) = own {
            return Err(format!(
                "`limits.{key}` of inbox '{inbox}' is {limit} credits, and the last {time} leave no room for it"
            ));
        }
        self.count(inbox, price);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(per_day: Option<f64>, per_month: Option<f64>) -> SpendLimits {
        SpendLimits { per_day, per_month }
    }

    fn studio(own: SpendLimits) -> HashMap<String, SpendLimits> {
        HashMap::from([("studio".to_owned(), own)])
    }

    fn spent(day: f64, month: f64) -> HashMap<String, Spent> {
        HashMap::from([("studio".to_owned(), Spent { day, month })])
    }

    #[test]
    fn what_was_spent_leaves_less_room_over_the_day_and_over_the_month() {
        let day = limits(Some(100.0), None);
        let month = limits(None, Some(100.0));
        for (overall, before, fits) in [
            (day, spent(75.0, 900.0), true),
            (day, spent(75.1, 0.0), false),
            (month, spent(0.0, 75.0), true),
            (month, spent(0.0, 80.0), false),
            (SpendLimits::default(), spent(1e9, 1e9), true),
        ] {
            let mut budget = Budget::new(overall, &HashMap::new(), &before);
            assert_eq!(
                budget.admit("studio", Some(25.0)).is_ok(),
                fits,
                "{before:?}"
            );
        }
    }

    #[test]
    fn one_inbox_at_its_limit_leaves_the_others_theirs() {
        let own = studio(limits(Some(30.0), None));
        let mut budget = Budget::new(limits(Some(60.0), None), &own, &HashMap::new());
        budget.admit("studio", Some(25.0)).unwrap();
        let why = budget.admit("studio", Some(25.0)).unwrap_err();
        assert!(
            why.contains("inbox 'studio'") && why.contains("30 credits"),
            "{why}"
        );
        budget.admit("films", Some(25.0)).unwrap();
        let why = budget.admit("films", Some(25.0)).unwrap_err();
        assert!(why.starts_with("`limits.credits_per_day` is 60"), "{why}");
    }

    #[test]
    fn jobs_of_unknown_price_go_one_at_a_time_and_not_beyond_a_limit() {
        let overall = limits(Some(30.0), None);
        let mut budget = Budget::new(overall, &HashMap::new(), &spent(20.0, 20.0));
        budget.admit("studio", None).unwrap();
        assert!(budget.admit("studio", None).is_err());
        // Known ones are not held up by it.
        budget.admit("studio", Some(5.0)).unwrap();
        let mut full = Budget::new(overall, &HashMap::new(), &spent(30.0, 30.0));
        assert!(full.admit("studio", None).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_is_asked_in_whatever_order_no_limit_is_exceeded(
            asked in prop::collection::vec((0..3_usize, prop::option::of(0.0..50.0_f64)), 0..60),
            overall in prop::option::of(0.0..200.0_f64),
            own in prop::option::of(0.0..100.0_f64),
            month in prop::option::of(0.0..200.0_f64),
            before in 0.0..100.0_f64,
        ) {
            let names = ["studio", "films", "gone"];
            let own_limits = studio(limits(own, month));
            let mut budget = Budget::new(limits(overall, month), &own_limits, &spent(before, before));
            let (mut all, mut of_studio, mut unknown) = (0.0, 0.0, 0);
            for (inbox, price) in asked {
                let Some(name) = names.get(inbox) else { continue };
                if budget.admit(name, price).is_ok() {
                    all += price.unwrap_or_default();
                    of_studio += if *name == "studio" { price.unwrap_or_default() } else { 0.0 };
                    unknown += usize::from(price.is_none());
                }
            }
            for limit in [overall, month].into_iter().flatten() {
                prop_assert!(all == 0.0 || before + all <= limit + 1e-6);
                prop_assert!(unknown <= 1);
            }
            for limit in [own, month].into_iter().flatten() {
                prop_assert!(of_studio == 0.0 || before + of_studio <= limit + 1e-6);
            }
        }
    }
}
