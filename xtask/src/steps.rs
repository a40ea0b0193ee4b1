//! Named steps with a verdict and a time each, a table at the end, and the closing line
//! `N passed, N failed`.
//!
//! A failing step does not stop the others; an interrupt does. Test results are read from what
//! libtest prints, wherever the tests ran.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Error, Result, bail};

use crate::process;
use crate::progress::{Work, seconds};

/// What libtest's summary lines add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub ignored: u32,
    /// Test binaries that reached their summary.
    pub summaries: usize,
}

impl Tally {
    /// Adds a line of output, if it is a summary.
    pub(crate) fn read(&mut self, line: &str) {
        let Some(summary) = line.trim().strip_prefix("test result: ") else { return };
        let count = |what: &str| -> u32 {
            let mut parts = summary.split([';', '.']).map(str::trim);
            parts.find_map(|part| part.strip_suffix(what)?.trim().parse().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
        self.summaries += 1;
    }

    /// What a test run came to: it fails where a test failed or was ignored, and where the command
    /// says so although no test did (it did not build, a binary died).
    pub(crate) fn verdict(self, succeeded: bool) -> Verdict {
        let error = if self.failed > 0 {
            Some(format!("{} tests failed", self.failed))
        } else if self.ignored > 0 {
            Some(format!("{} tests ignored: a test that cannot run is a failure", self.ignored))
        } else if !succeeded {
            Some("the tests did not come to their end".to_owned())
        } else {
            None
        };
        Verdict { error: error.map(Error::msg), ..Verdict::of(self) }
    }

    /// What a test run came to that did not come to its end.
    pub(crate) fn broken(self, error: Error) -> Verdict {
        Verdict { error: Some(error), ..Verdict::of(self) }
    }

    /// What a test run came to of whose failures these passed when they were run once more.
    pub(crate) fn passes_after_all(self, shaky: Vec<String>) -> Verdict {
        let passed = u32::try_from(shaky.len()).unwrap_or(u32::MAX).min(self.failed);
        let tally = Self { passed: self.passed + passed, failed: self.failed - passed, ..self };
        Verdict { shaky, ..tally.verdict(true) }
    }
}

/// How a step ended.
pub(crate) struct Verdict {
    pub tally: Tally,
    pub error: Option<Error>,
    /// Tests that passed only when they were run once more; the tally has them as passed.
    pub shaky: Vec<String>,
}

impl Verdict {
    fn of(tally: Tally) -> Self {
        Self { tally, error: None, shaky: Vec::new() }
    }
}

impl From<Result<()>> for Verdict {
    fn from(result: Result<()>) -> Self {
        Self { error: result.err(), ..Self::of(Tally::default()) }
    }
}

struct Row {
    name: String,
    tally: Tally,
    failed: bool,
    shaky: Vec<String>,
    took: Duration,
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
    not_run: Vec<String>,
}

impl Steps {
    /// Runs a step. Its failure is printed and kept for the table; only an interrupt is an error.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce(&Work) -> Result<Verdict>) -> Result<()> {
        let progress = Work::begin(name);
        let verdict = work(&progress).unwrap_or_else(|error| Err(error).into());
        if process::interrupted() {
            bail!("interrupted during {name}");
        }
        let took = progress.elapsed();
        let failed = verdict.error.is_some();
        match &verdict.error {
            Some(error) => {
                progress.line(&format!("{name}: {error:#}"));
                drop(progress);
            }
            None => progress.done(),
        }
        let Verdict { tally, shaky, .. } = verdict;
        self.rows.push(Row { name: name.to_owned(), tally, failed, shaky, took });
        Ok(())
    }

    /// Says below the table what should have run and could not.
    pub(crate) fn not_run(&mut self, what: String) {
        self.not_run.push(what);
    }

    /// Whether any test ran, passed or not.
    pub(crate) fn any_test_ran(&self) -> bool {
        self.rows.iter().any(|row| row.tally.passed + row.tally.failed > 0)
    }

    /// Prints the table and the closing line, and gives the exit status.
    pub(crate) fn finish(&self) -> ExitCode {
        println!("\n{}", self.table());
        ExitCode::from(u8::from(self.rows.iter().any(|row| row.failed)))
    }

    fn table(&self) -> String {
        let header = format!("{:<44} {:>6} {:>7} {:>7} {:>13}", "step", "", "passed", "failed", "time");
        let lines: Vec<_> = std::iter::once(header).chain(self.rows.iter().map(Row::line)).collect();
        let passed: u32 = self.rows.iter().map(|row| row.tally.passed).sum();
        let failed: u32 = self.rows.iter().map(Row::failures).sum();
        let mut remarks: String = self.rows.iter().flat_map(Row::shaky_lines).collect();
        remarks.extend(self.not_run.iter().map(|what| format!("NOT RUN: {what}\n")));
        format!("{}\n{remarks}\n{passed} passed, {failed} failed", lines.join("\n"))
    }
}

impl Row {
    fn line(&self) -> String {
        let verdict = if self.failed { "FAILED" } else { "ok" };
        let count = |number: u32| if self.tally.summaries == 0 { "-".to_owned() } else { number.to_string() };
        format!(
            "{:<44} {verdict:>6} {:>7} {:>7} {:>13}",
            self.name,
            count(self.tally.passed),
            count(self.failures()),
            seconds(self.took)
        )
    }

    fn shaky_lines(&self) -> impl Iterator<Item = String> {
        self.shaky.iter().map(|test| format!("shaky, passed when run once more: {test} ({})\n", self.name))
    }

    /// Failed and ignored tests; a step that failed without one counts as one, so that the closing
    /// line never says 0 over a failure.
    fn failures(&self) -> u32 {
        (self.tally.failed + self.tally.ignored).max(u32::from(self.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn summaries_of_several_binaries_add_up() {
        let text = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out; finished in 0.10s\n\
            test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(tally(text), Tally { passed: 7, failed: 2, ignored: 1, summaries: 2 });
    }

    #[test]
    fn an_ignored_test_fails_its_step() {
        let one = Tally { passed: 5, ignored: 1, summaries: 1, failed: 0 };
        assert!(one.verdict(true).error.is_some());
        assert!(Tally { ignored: 0, ..one }.verdict(true).error.is_none());
        assert!(Tally { ignored: 0, ..one }.verdict(false).error.is_some());
    }

    #[test]
    fn the_closing_line_counts_tests_and_steps_that_failed_without_one() {
        let row = |failed, tally| Row {
            name: "x".into(),
            tally,
            failed,
            shaky: vec!["y".into()],
            took: Duration::ZERO,
        };
        let steps = Steps {
            rows: vec![
                row(true, Tally::default()),
                row(false, Tally { passed: 7, summaries: 1, ..Tally::default() }),
                row(true, Tally { passed: 1, failed: 2, summaries: 1, ..Tally::default() }),
            ],
            not_run: vec!["z".into()],
        };
        assert!(
            steps.table().ends_with("once more: y (x)\nNOT RUN: z\n\n8 passed, 3 failed"),
            "{}",
            steps.table()
        );
    }

    #[test]
    fn a_failing_step_does_not_stop_the_next() {
        let mut steps = Steps::default();
        steps.step("one", |_| bail!("no")).unwrap();
        steps.step("two", |_| Ok(Ok(()).into())).unwrap();
        assert!(steps.rows[0].failed && !steps.rows[1].failed);
    }
}
