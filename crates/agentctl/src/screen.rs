//! Where answers go: standard output, as tables for people or JSON for programs.

use std::env;
use std::io::{self, Write as _};

use anstream::ColorChoice;
use serde::Serialize;

use crate::cli::Format;
use crate::grid::Grid;

/// Standard output and how to use it.
pub(crate) struct Screen {
    stdout: io::Stdout,
    format: Format,
    /// Columns; `None`: as wide as the content.
    width: Option<u16>,
    coloured: bool,
}

impl Screen {
    /// Colours only where a terminal shows them (and `NO_COLOR` is not set). Tables are as wide as `COLUMNS` says, else as
    /// the terminal is; in a pipe they are as wide as their content, so that `grep` finds whole lines.
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let coloured = anstream::AutoStream::choice(&stdout) != ColorChoice::Never;
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| comfy_table::Table::new().width()).map(|width| width.max(LEAST_WIDTH));
        Self { stdout, format, width, coloured }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// One document, over several lines.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(&text)
    }

    /// One document on one line: for answers that go on.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// A table; without rows only `otherwise` is said.
    pub(crate) fn grid(&self, grid: &Grid, otherwise: &str) -> io::Result<()> {
        if grid.is_empty() {
            self.line(otherwise)
        } else {
            self.line(&grid.render(self.width, self.coloured))
        }
    }

    /// A table that may be wider than the terminal: its last column is not broken.
    pub(crate) fn wide_grid(&self, grid: &Grid) -> io::Result<()> {
        self.line(&grid.render(None, self.coloured))
    }

    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}

/// Below it no table can be laid out.
const LEAST_WIDTH: u16 = 40;
