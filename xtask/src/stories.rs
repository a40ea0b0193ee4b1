//! Runs test binaries whose tests play on a whole machine, here or in a guest, and tells what fails once more.
//!
//! The lab's stories share processors with everything else that runs, and in an emulated guest a second of a
//! processor may be gone where nobody expects it. A story that fails is told again, alone. If it then passes, the run
//! does too, and the table names it as shaky: a fault, of the story or of the product, that is still to be found.

use anyhow::Result;

use crate::steps::{Tally, Verdict};

/// More failures in one step are no accident.
const TOLD_AGAIN_AT_MOST: usize = 3;

/// What a shell prints before each binary, so that its failures are known as its own.
pub(crate) const RUNNING: &str = "Running ";

/// A test binary and the arguments that it is run with.
pub(crate) type Argv = Vec<String>;

/// What the binaries of one run have said.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    pub tally: Tally,
    binary: String,
    listing: bool,
    /// What failed of the binary that runs; its last list counts, as captured output may look like one.
    failed_here: Vec<String>,
    failed: Vec<Story>,
}

/// One test of one binary.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Story {
    binary: String,
    name: String,
}

impl Telling {
    /// Adds a line of output.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        self.tally.read(line);
        if let Some(binary) = line.strip_prefix(RUNNING) {
            binary.clone_into(&mut self.binary);
        } else if line == "failures:" {
            self.listing = true;
            self.failed_here.clear();
        } else if line.starts_with("test result: ") {
            self.listing = false;
            let binary = &self.binary;
            let failed = self.failed_here.drain(..).map(|name| Story { binary: binary.clone(), name });
            self.failed.extend(failed);
        } else if self.listing
            && let Some(name) = line.strip_prefix("    ")
            && !name.starts_with(' ')
        {
            self.failed_here.push(name.to_owned());
        }
    }
}

/// Runs the binaries, all of them or their tests with `filter` in the name, and again what failed.
///
/// `run` runs each in turn, whatever the one before came to, and gives whether all of them succeeded.
pub(crate) fn tell(
    binaries: &[String],
    filter: Option<&str>,
    mut run: impl FnMut(&[Argv], &mut Telling) -> Result<bool>,
) -> Verdict {
    let whole =
        |binary: &String| [Some(binary.as_str()), filter].into_iter().flatten().map(str::to_owned).collect();
    let all: Vec<Argv> = binaries.iter().map(whole).collect();
    let mut first = Telling::default();
    let succeeded = match run(&all, &mut first) {
        Ok(succeeded) => succeeded && first.tally.summaries == all.len(),
        Err(error) => return first.tally.broken(error),
    };
    let known = first.tally.summaries == all.len() && first.failed.len() == count(first.tally.failed);
    if !known || !(1..=TOLD_AGAIN_AT_MOST).contains(&first.failed.len()) {
        return first.tally.verdict(succeeded);
    }
    let alone = |story: &Story| vec![story.binary.clone(), "--exact".to_owned(), story.name.clone()];
    let again: Vec<Argv> = first.failed.iter().map(alone).collect();
    let mut second = Telling::default();
    match run(&again, &mut second) {
        Ok(_) => {}
        Err(error) => return first.tally.broken(error),
    }
    // A binary that died, or found no test of that name, has passed none.
    if count(second.tally.passed + second.tally.failed) < again.len() {
        return first.tally.verdict(false);
    }
    first.failed.retain(|story| !second.failed.contains(story));
    first.tally.passes_after_all(first.failed.into_iter().map(|story| story.name).collect())
}

fn count(tests: u32) -> usize {
    usize::try_from(tests).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "Running /t/talk-1\n\nrunning 2 tests\ntest a ... FAILED\ntest b ... ok\n\nfailures:\n\n\
        ---- a stdout ----\nfailures:\n    not a test\n\nfailures:\n    a\n\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n\
        Running /t/spoofs-2\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
    const PASSED: &str = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out\n";
    const NONE: &str = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out\n";
    const FAILED: &str = "Running /t/talk-1\nfailures:\n    a\n\n\
        test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out\n";

    /// A run of two binaries that prints `first`, then `second` when it is asked again; what it was asked.
    fn told(first: &str, second: &str) -> (Verdict, Vec<Vec<Argv>>) {
        let mut asked = Vec::new();
        let binaries = ["/t/talk-1".to_owned(), "/t/spoofs-2".to_owned()];
        let verdict = tell(&binaries, None, |argvs, telling| {
            asked.push(argvs.to_vec());
            let text = if asked.len() == 1 { first } else { second };
            text.lines().for_each(|line| telling.read(line));
            Ok(!text.contains("FAILED"))
        });
        (verdict, asked)
    }

    #[test]
    fn a_story_that_fails_once_is_told_again_alone_and_named() {
        let (verdict, asked) = told(RUN, PASSED);
        assert_eq!(asked[1], [["/t/talk-1", "--exact", "a"]]);
        assert!(verdict.error.is_none());
        assert_eq!((verdict.tally.passed, verdict.tally.failed), (5, 0));
        assert_eq!(verdict.shaky, ["a"]);
    }

    #[test]
    fn a_story_that_fails_twice_or_is_not_told_again_has_failed() {
        for second in [FAILED, NONE, ""] {
            let (verdict, _) = told(RUN, second);
            assert!(verdict.error.is_some(), "{second}");
            assert_eq!(verdict.tally.failed, 1, "{second}");
            assert!(verdict.shaky.is_empty(), "{second}");
        }
    }

    #[test]
    fn many_failures_and_a_binary_that_died_are_not_told_again() {
        let died = "Running /t/talk-1\nrunning 2 tests\nRunning /t/spoofs-2\n".to_owned() + PASSED;
        let many = "Running /t/talk-1\nfailures:\n    a\n    b\n    c\n    d\n\n\
            test result: FAILED. 1 passed; 4 failed; 0 ignored\n"
            .to_owned()
            + PASSED;
        for first in [died, many] {
            let (verdict, asked) = told(&first, PASSED);
            assert!(verdict.error.is_some(), "{first}");
            assert_eq!(asked.len(), 1, "{first}");
        }
    }
}
