//! Tells a person what is going on: a spinner with the elapsed time on a terminal, plain lines
//! elsewhere (and always where `CI=true`).

use std::env;
use std::io::{IsTerminal, stderr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);
/// Longest note beside the spinner; the terminal cuts the rest.
const NOTE_CHARS: usize = 100;

static ON_TERMINAL: LazyLock<bool> = LazyLock::new(|| stderr().is_terminal() && !in_ci());

/// Whether this is a run of continuous integration.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// One piece of work that takes long enough to be announced. Dropped without [`Work::done`] it
/// counts as failed.
pub(crate) struct Work {
    name: String,
    begun: Instant,
    spinner: Option<ProgressBar>,
    ended: bool,
}

impl Work {
    /// Announces the work.
    pub(crate) fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        let spinner = ON_TERMINAL.then(|| spinner(&name));
        if spinner.is_none() {
            eprintln!("{name} ...");
        }
        Self { name, begun: Instant::now(), spinner, ended: false }
    }

    /// Shows a passing detail beside the spinner; nothing elsewhere.
    pub(crate) fn note(&self, detail: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(detail.trim().chars().take(NOTE_CHARS).collect::<String>());
        }
    }

    /// Prints a line that stays.
    pub(crate) fn line(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends the work well.
    pub(crate) fn done(mut self) {
        self.end("done");
    }

    fn end(&mut self, how: &str) {
        if self.ended {
            return;
        }
        self.ended = true;
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        eprintln!("{}: {how} ({})", self.name, seconds(self.begun.elapsed()));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.end("FAILED");
    }
}

/// Says something that must not be overlooked.
pub(crate) fn warn(text: &str) {
    eprintln!("WARNING: {text}");
}

/// A duration as people read it: `3.4 s`, `12 min 05 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole >= 60 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn spinner(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg:.dim}")
        .expect("the template is a literal that the tests parse");
    let spinner = ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned());
    spinner.enable_steady_tick(TICK);
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_spinner_parses() {
        spinner("x").finish_and_clear();
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(3440)), "3.4 s");
        assert_eq!(seconds(Duration::from_secs(725)), "12 min 05 s");
    }
}
