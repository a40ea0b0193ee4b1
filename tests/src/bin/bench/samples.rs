//! Samples of one thing, and how they are shown: percentiles, and the ratio of the medians to another row's.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What was measured, in one unit.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// `µs`, `ms`, `MB`.
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<f64>,
    /// Name of the row that this one is held against.
    pub(crate) beside: Option<String>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self { name: name.into(), unit, samples, beside: None }
    }

    pub(crate) fn beside(mut self, other: &str) -> Self {
        self.beside = Some(other.to_owned());
        self
    }

    /// The value that `share` of the samples do not exceed; NaN without samples.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among at most some ten thousand samples"
        )]
        let rank = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }

    fn ratio(&self, rows: &[Row]) -> String {
        let other = self.beside.as_ref().and_then(|name| rows.iter().find(|row| row.name == *name));
        other.map_or_else(String::new, |other| {
            format!("{:.2} × {}", self.percentile(0.5) / other.percentile(0.5), other.name)
        })
    }
}

/// A Markdown table.
pub(crate) fn table(what: &str, rows: &[Row]) -> String {
    let mut text =
        format!("\n| {what} | n | p50 | p90 | p99 | max | p50 beside |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let at = |share| {
            format!(
                "{:.*} {}",
                if row.percentile(0.5) < 10.0 { 2 } else { 0 },
                row.percentile(share),
                row.unit
            )
        };
        let (n, ratio) = (row.samples.len(), row.ratio(rows));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {n} | {} | {} | {} | {} | {ratio} |",
            row.name,
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    text
}

/// Everything, for other programs.
pub(crate) fn json(what: &str, rows: &[Row]) -> Value {
    let row = |row: &Row| json!({ "name": row.name, "unit": row.unit, "samples": row.samples, "beside": row.beside });
    json!({ "benchmark": what, "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
