//! The text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::metrics::Histogram;

/// A family of series: its description comes once, then a line for each series.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    pub(super) fn new(
        text: &'a mut String,
        name: &'static str,
        kind: &str,
        help: &str,
    ) -> Family<'a> {
        put(
            text,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        Family { text, name }
    }

    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        put(self.text, format_args!("{}{suffix}", self.name));
        if !labels.is_empty() {
            let pairs: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            put(self.text, format_args!("{{{}}}", pairs.join(",")));
        }
        put(self.text, format_args!(" {value}\n"));
    }

    pub(super) fn histograms(&mut self, all: &BTreeMap<String, Histogram>, bounds: &[f64; 8]) {
        for (model, histogram) in all {
            let mut sum = 0_u64;
            let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (count, bound) in histogram.counts.iter().zip(bounds) {
                sum = sum.saturating_add(*count);
                self.part("_bucket", &[("model", model), ("le", &bound)], sum);
            }
            self.part("_sum", &[("model", model)], histogram.sum);
            self.part("_count", &[("model", model)], sum);
        }
    }
}

/// Writing to a text cannot fail.
fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    if text.write_fmt(what).is_err() {
        tracing::debug!("a figure could not be written");
    }
}

/// A label's value: the format escapes backslash, quote and line end, and nothing else.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
