//! The figures as an aligned table, and the few sums that they take.

use std::time::Duration;

/// One figure.
pub struct Row {
    measure: &'static str,
    what: String,
    value: String,
    aim: &'static str,
}

impl Row {
    /// A figure with its unit.
    pub fn new(measure: &'static str, what: impl Into<String>, value: impl Into<String>) -> Row {
        Row {
            measure,
            what: what.into(),
            value: value.into(),
            aim: "",
        }
    }

    /// The same with what the project aims at.
    pub fn aim(self, aim: &'static str) -> Row {
        Row { aim, ..self }
    }
}

/// The rows below each other, each with a line end.
pub fn lines(rows: &[Row]) -> String {
    let widest = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max();
    let first = widest(|row| row.measure).unwrap_or(0);
    let second = widest(|row| &row.what).unwrap_or(0);
    let third = widest(|row| &row.value).unwrap_or(0);
    rows.iter()
        .map(|row| {
            let line = format!(
                "{:<first$}  {:<second$}  {:>third$}  {}",
                row.measure, row.what, row.value, row.aim
            );
            format!("{}\n", line.trim_end())
        })
        .collect()
}

/// Figures in order, to read ranks from.
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Puts figures in order.
    pub fn new(mut figures: Vec<f64>) -> Sorted {
        figures.sort_by(f64::total_cmp);
        Sorted(figures)
    }

    /// The figure that this share of all does not exceed, by nearest rank; 0 without any.
    pub fn at(&self, share: f64) -> f64 {
        // Ranks are far below what a cast could lose.
        let rank = (share * self.0.len() as f64).ceil() as usize;
        let figure = self.0.get(rank.max(1) - 1).or(self.0.last());
        figure.copied().unwrap_or(0.0)
    }

    /// The mean; 0 without any.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }
}

/// Bytes in MB of a million bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Milliseconds.
pub fn milliseconds(time: f64) -> String {
    format!("{time:.1} ms")
}

/// Seconds.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
