//! What a request will probably cost.
//!
//! Prices are for estimates and for `max_credits` only; the task's own
//! `estimatedCost` and `cost` count once there is a task. What is not known
//! is not guessed: there is no estimate then. Parts of units count as whole ones.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json::get_field;

/// A model's price in credits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawPrice")]
pub struct Price {
    /// The unit that is counted.
    pub unit: Unit,
    /// Credits for one unit: the first rule that applies.
    pub rules: Vec<Rule>,
    /// Where the price is from.
    pub source: String,
}

/// What a price is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Unit {
    /// So many seconds.
    Seconds {
        /// The length of one unit in seconds.
        per: f64,
        /// The seconds that are counted.
        from: SecondsFrom,
    },
    /// One image.
    Image {
        /// The field with their number; without one, there is always one.
        count_from: Option<String>,
    },
    /// So many characters of a text, in UTF-16 code units.
    Characters {
        /// The length of one unit in characters.
        per: f64,
        /// The field with the text.
        text_from: String,
    },
    /// The whole task.
    Task,
}

/// The seconds that are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondsFrom {
    /// The body's `duration`.
    Duration,
    /// The input media's length, which is the output's, too.
    Input,
}

/// A price under a condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Fields and the values of which each must have one; empty always applies.
    #[serde(default)]
    pub when: BTreeMap<String, Vec<Value>>,
    /// Credits for one unit.
    pub credits: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    unit: RawUnit,
    per: Option<f64>,
    seconds_from: Option<SecondsFrom>,
    count_from: Option<String>,
    text_from: Option<String>,
    rules: Vec<Rule>,
    source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawUnit {
    Second,
    Image,
    Character,
    Flat,
}

impl TryFrom<RawPrice> for Price {
    type Error = String;

    fn try_from(raw: RawPrice) -> Result<Self, String> {
        let per = raw.per.unwrap_or(1.0);
        if !(per.is_finite() && per > 0.0) {
            return Err("`per` of a price must be more than 0".to_owned());
        }
        if raw.rules.is_empty() {
            return Err("a price needs at least one rule".to_owned());
        }
        if raw
            .rules
            .iter()
            .any(|r| !(r.credits.is_finite() && r.credits >= 0.0))
        {
            return Err("`credits` of a price must be 0 or more".to_owned());
        }
        let unit = match (raw.unit, raw.seconds_from, raw.count_from, raw.text_from) {
            (RawUnit::Second, Some(from), None, None) => Unit::Seconds { per, from },
            (RawUnit::Image, None, count_from, None) => Unit::Image { count_from },
            (RawUnit::Character, None, None, Some(text_from)) => {
                Unit::Characters { per, text_from }
            }
            (RawUnit::Flat, None, None, None) => Unit::Task,
            (RawUnit::Second | RawUnit::Image | RawUnit::Character | RawUnit::Flat, ..) => {
                return Err(
                    "a price by the second needs `seconds_from`, one by the image may have \
                            `count_from`, one by the character needs `text_from`, and none takes \
                            another's"
                        .to_owned(),
                );
            }
        };
        Ok(Price {
            unit,
            rules: raw.rules,
            source: raw.source,
        })
    }
}

impl Price {
    /// The credits that a request will probably cost; see [`Model::estimate`](super::Model::estimate).
    pub(super) fn estimate(
        &self,
        body: &Map<String, Value>,
        input_seconds: Option<f64>,
    ) -> Option<f64> {
        let credits = self.rules.iter().find(|rule| rule.applies(body))?.credits;
        let units = match &self.unit {
            Unit::Seconds { per, from } => {
                let seconds = match from {
                    SecondsFrom::Duration => body.get("duration")?.as_f64()?,
                    SecondsFrom::Input => input_seconds?,
                };
                count_units(seconds, *per)?
            }
            Unit::Image { count_from: None } | Unit::Task => 1.0,
            Unit::Image {
                count_from: Some(field),
            } => count_units(get_field(body, field)?.as_f64()?, 1.0)?,
            Unit::Characters { per, text_from } => {
                let characters = get_field(body, text_from)?.as_str()?.encode_utf16().count();
                // Texts are far shorter than the 2^53 where this would lose precision.
                count_units(characters as f64, *per)?
            }
        };
        Some(credits * units)
    }
}

impl Rule {
    fn applies(&self, body: &Map<String, Value>) -> bool {
        self.when.iter().all(|(field, values)| {
            get_field(body, field).is_some_and(|given| values.iter().any(|v| is_same(v, given)))
        })
    }
}

/// Whether two values are the same to the API, to which 5 and 5.0 are.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn count_units(amount: f64, per: f64) -> Option<f64> {
    (amount.is_finite() && amount >= 0.0).then(|| (amount / per).ceil())
}
