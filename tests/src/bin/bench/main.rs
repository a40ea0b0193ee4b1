//! The benchmarks: each figure beside its floor or peer, both taken in turn in the same run, in a lab.
//!
//! `bench WHAT --json FILE [--quick|--full]` says what it is doing and writes the samples; `cargo xtask bench` makes
//! tables and pictures of them. What is measured stands in the module of that name; nothing here decides whether a
//! figure is good.
#![expect(clippy::print_stdout, reason = "a terminal program: it says how far it is")]

mod add;
mod agent;
mod effort;
mod environment;
mod floor;
mod flows;
mod guard;
mod latency;
mod notice;
mod processor;
mod samples;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use effort::Effort;
use environment::Before;
use samples::Row;

const USAGE: &str = "usage: bench add|agent|flows|guard|latency|notice --json FILE [--quick|--full]";

type Measure = fn(Effort) -> Result<Vec<Row>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((what, measure, file, effort)) = understood(&words) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(what, measure, Path::new(file), effort) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn understood<'a>(words: &[&'a str]) -> Option<(&'a str, Measure, &'a str, Effort)> {
    let (what, file, effort) = match *words {
        [what, "--json", file] => (what, file, Effort::Usual),
        [what, "--json", file, "--quick"] => (what, file, Effort::Quick),
        [what, "--json", file, "--full"] => (what, file, Effort::Full),
        _ => return None,
    };
    let measure: Measure = match what {
        "add" => add::measure,
        "agent" => agent::measure,
        "flows" => flows::measure,
        "guard" => guard::measure,
        "latency" => latency::measure,
        "notice" => notice::measure,
        _ => return None,
    };
    Some((what, measure, file, effort))
}

fn run(what: &str, measure: Measure, file: &Path, effort: Effort) -> Result<()> {
    let before = Before::look();
    let rows = measure(effort)?;
    let json = samples::json(what, &before.until_now(), &rows);
    let text = serde_json::to_string(&json).context("the samples as JSON")?;
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// Says how far it is.
fn tell(text: &str) {
    println!("{text}");
}
