//! Where answers go: standard output, as tables for people or JSON for programs.

use std::borrow::Cow;
use std::env;
use std::fmt::Write as _;
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
            self.write(&grid.render(self.width, self.coloured))
        }
    }

    /// A table that may be wider than the terminal: its last column is not broken.
    pub(crate) fn wide_grid(&self, grid: &Grid) -> io::Result<()> {
        self.write(&grid.render(None, self.coloured))
    }

    /// Text that may be foreign; JSON stays the same JSON.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.write(&harmless(text))
    }

    /// A line that may have colours.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}

/// A text that no terminal obeys: whoever names a pod or a port must not write on an operator's screen. What controls a
/// terminal, or turns the direction of writing (UAX #9, explicit formatting), is shown as JSON escapes it.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let controls = |char: char| {
        (char.is_control() && char != '\n')
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if controls(char) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(char));
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// Below it no table can be laid out.
const LEAST_WIDTH: u16 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_foreign_text_moves_a_terminal() {
        assert_eq!(
            harmless("a\n\u{1b}[31mred\u{7f}\u{9b}2J\u{202e}"),
            "a\n\\u001b[31mred\\u007f\\u009b2J\\u202e"
        );
        assert_eq!(harmless("pod é, 2 m\n"), "pod é, 2 m\n");
        let json = serde_json::to_string(&"\u{9b}\u{1b}").unwrap();
        let back: String = serde_json::from_str(&harmless(&json)).unwrap();
        assert_eq!(back, "\u{9b}\u{1b}");
    }
}
