//! The benchmarks: each figure beside its floor or peer, both taken in turn in the same run, in a lab.
//!
//! `bench add|agent|guard|notice|latency`. Prints one Markdown table, and with `--json FILE` writes the samples too. What is
//! measured stands in the module of that name; nothing here decides whether a figure is good.
#![expect(clippy::print_stdout, reason = "a terminal program: its result is a table")]

mod add;
mod agent;
mod floor;
mod guard;
mod latency;
mod notice;
mod samples;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use samples::Row;

const USAGE: &str = "usage: bench add|agent|guard|notice|latency [--json FILE]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (what, file) = match words.as_slice() {
        [what] => (*what, None),
        [what, "--json", file] => (*what, Some(Path::new(file))),
        _ => ("", None),
    };
    let measure: fn() -> Result<Vec<Row>> = match what {
        "add" => add::measure,
        "agent" => agent::measure,
        "guard" => guard::measure,
        "notice" => notice::measure,
        "latency" => latency::measure,
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match measure().and_then(|rows| show(what, &rows, file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(what: &str, rows: &[Row], file: Option<&Path>) -> Result<()> {
    print!("{}", samples::table(what, rows));
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_string_pretty(&samples::json(what, rows)).context("the samples as JSON")?;
    std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))
}
