//! What a benchmark measured, as it lies in the files of a run; read by every other part, changed by none.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// Where the raw files lie in a run's folder.
pub(super) const RAW: &str = "raw";

/// One benchmark in one place: a file `raw/<name>.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Results {
    /// `latency-userspace`: the file's name without its ending.
    #[serde(skip)]
    pub name: String,
    pub rows: Vec<Row>,
    /// Where it ran, by name; an empty object in files of before.
    #[serde(default)]
    pub environment: serde_json::Map<String, Value>,
}

/// Samples of one thing.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Row {
    /// No other row of the file has it.
    pub name: String,
    /// `µs`, `ms`, `MB`; less is better in every one of them.
    pub unit: String,
    /// In the order in which they were taken.
    pub samples: Vec<f64>,
    /// So many samples in a row were taken in one go, so that they share their luck.
    #[serde(default = "one")]
    pub round: usize,
    /// Name of the row that this one is held against.
    pub beside: Option<String>,
    /// The picture that it belongs to.
    pub picture: Option<Place>,
}

/// A row's place in a picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Place {
    pub title: String,
    /// What the line is called.
    pub line: String,
    /// Where it stands on the picture's lower axis, and that axis' name; a curve of percentiles has neither.
    pub at: Option<(f64, String)>,
}

fn one() -> usize {
    1
}

/// Every benchmark of a run that leaves figures, by name; some leave a text only.
pub(super) fn read(folder: &Path) -> Result<Vec<Results>> {
    let raw = folder.join(RAW);
    let files =
        fs::read_dir(&raw).with_context(|| format!("{} is not the folder of a run", raw.display()))?;
    let mut all = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            all.push(parse(&path)?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn parse(path: &Path) -> Result<Results> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut results: Results =
        serde_json::from_slice(&text).with_context(|| format!("{} holds no results", path.display()))?;
    results.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    for row in &results.rows {
        ensure!(row.round > 0, "{}: row {:?} has rounds of 0 samples", path.display(), row.name);
    }
    Ok(results)
}

impl Results {
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The row that `row` is held against.
    pub(super) fn beside(&self, row: &Row) -> Option<&Row> {
        row.beside.as_ref().and_then(|name| self.row(name))
    }
}
