//! Samples of one thing, as they are handed on: `cargo xtask bench` makes tables and pictures of them.

use serde_json::{Value, json};

/// What was measured, in one unit; less is better.
#[derive(Debug)]
pub(crate) struct Row {
    /// No other row has it.
    pub(crate) name: String,
    /// `µs`, `ms`, `MB`.
    unit: &'static str,
    samples: Vec<f64>,
    /// So many samples in a row were taken in one go.
    round: usize,
    /// Name of the row that this one is held against.
    beside: Option<String>,
    picture: Option<Value>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self { name: name.into(), unit, samples, round: 1, beside: None, picture: None }
    }

    pub(crate) fn beside(mut self, other: &str) -> Self {
        self.beside = Some(other.to_owned());
        self
    }

    /// Samples of one round share their luck: together they count as one observation.
    pub(crate) fn in_rounds_of(mut self, round: usize) -> Self {
        self.round = round;
        self
    }

    /// A curve of the picture of this title.
    pub(crate) fn curve(mut self, title: &str, line: &str) -> Self {
        self.picture = Some(json!({ "title": title, "line": line }));
        self
    }

    /// A point of a line of the picture of this title: at `at` on the lower axis, which counts `axis`.
    pub(crate) fn point(mut self, title: &str, line: &str, at: usize, axis: &str) -> Self {
        self.picture = Some(json!({ "title": title, "line": line, "at": [at, axis] }));
        self
    }
}

/// Everything, for other programs.
pub(crate) fn json(what: &str, environment: &Value, rows: &[Row]) -> Value {
    let row = |row: &Row| {
        // Three digits behind the point: nanoseconds of a microsecond, which no figure here outdoes.
        let samples: Vec<f64> = row.samples.iter().map(|one| (one * 1e3).round() / 1e3).collect();
        json!({
            "name": row.name, "unit": row.unit, "samples": samples, "round": row.round,
            "beside": row.beside, "picture": row.picture,
        })
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({ "benchmark": what, "environment": environment, "rows": rows })
}
