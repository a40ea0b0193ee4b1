//! The stories on a Kubernetes cluster of real parts: builds the parts, the image, and runs them.
//!
//! The parts come from Go modules and Debian (`tests/cluster/build.sh`) and are kept between runs; from nothing they
//! take a quarter of an hour of two cores.

use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Shell, cmd};

use crate::check;
use crate::image;
use crate::places;
use crate::process;
use crate::progress::{Work, in_ci};
use crate::steps::Steps;
use crate::test::{Here, test_binaries};

/// From nothing: 26 minutes of processor time, at low priority.
const PARTS_DEADLINE: Duration = Duration::from_mins(90);

/// Asking Go for its version, or the file system for the parts.
const LOOK_DEADLINE: Duration = Duration::from_secs(30);

/// The image as the nodes know it: `tests/cluster/values.yaml` names it.
const IMAGE: &str = "localhost/underpass:cluster";

/// Where the stories find parts and image.
pub(crate) const PARTS_VARIABLE: &str = "CLUSTER_BIN";
pub(crate) const IMAGE_VARIABLE: &str = "CLUSTER_IMAGE";

/// Go that compiles the parts; their `go.mod` says the same.
const GO: [u32; 2] = [1, 26];

/// Parts of Kubernetes that are there, or that are built while other steps run.
pub(crate) enum Parts {
    /// What builds them ends when the user stops us.
    Coming(Option<JoinHandle<Result<PathBuf>>>),
    /// Why there are none.
    Lacking(String),
}

impl Parts {
    /// Begins to build what is missing, with processor time that nobody else wants.
    pub(crate) fn begin() -> Self {
        let go = go_version();
        if there() || go.is_some_and(|version| version >= GO) {
            return Self::Coming(Some(thread::spawn(|| build(true, |_| {}))));
        }
        let [major, minor] = GO;
        Self::Lacking(format!(
            "no parts of Kubernetes are in the cache, and no Go {major}.{minor} to build them"
        ))
    }

    fn finish(mut self) -> Result<PathBuf> {
        match &mut self {
            Self::Coming(build) => {
                let build = build.take().context("the parts were asked for twice")?;
                build.join().map_err(|_| anyhow!("the thread that builds the parts panicked"))?
            }
            Self::Lacking(why) => bail!("{why}"),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Self::Coming(build) = self
            && process::interrupted()
            && let Some(build) = build.take()
        {
            // It sees the same flag and ends its children; without us they would go on.
            drop(build.join());
        }
    }
}

/// Runs all stories, at the end of everything else. Without parts it is a failure in CI, and said aloud elsewhere.
pub(crate) fn stories_at_last(steps: &mut Steps, parts: Parts) -> Result<()> {
    match parts {
        Parts::Lacking(ref why) if !in_ci() => {
            steps.not_run(format!("the stories on a cluster: {why}"));
            Ok(())
        }
        parts => stories_with(steps, None, |_| parts.finish()),
    }
}

/// Runs the stories whose name contains `filter`.
pub(crate) fn stories(steps: &mut Steps, filter: Option<&str>) -> Result<()> {
    stories_with(steps, filter, build_parts)
}

fn stories_with(
    steps: &mut Steps,
    filter: Option<&str>,
    parts_of: impl FnOnce(&Work) -> Result<PathBuf>,
) -> Result<()> {
    let (mut parts, mut archive) = (None, None);
    steps.step("parts of Kubernetes", |work| {
        parts = Some(parts_of(work)?);
        Ok(Ok(()).into())
    })?;
    if parts.is_none() {
        return Ok(());
    }
    steps.step("image", |work| {
        archive = Some(make_image(work)?);
        Ok(Ok(()).into())
    })?;
    let (Some(parts), Some(archive)) = (parts, archive) else { return Ok(()) };
    let shell = Shell::new()?;
    steps.step("chart", |work| {
        let (helm, chart) = (parts.join("helm"), places::root().join("charts/underpass"));
        let values = places::root().join("tests/cluster/values.yaml");
        check::quiet(work, cmd!(shell, "{helm} lint --strict {chart}"))?;
        let scraped = ["--set", "podMonitor.enabled=true", "--set", "config.metrics.listen=0.0.0.0:9476"];
        check::quiet(work, cmd!(shell, "{helm} lint --strict {chart} {scraped...}"))?;
        Ok(check::quiet(work, cmd!(shell, "{helm} lint --strict {chart} --values {values}")).into())
    })?;
    steps.step("stories on a cluster", |work| {
        let tests = test_binaries(work, "tests", &["--features", "e2e/cluster", "--test", "cluster*"])?;
        let here = Here {
            environment: vec![(PARTS_VARIABLE, parts.into()), (IMAGE_VARIABLE, archive.into())],
            // Each brings a cluster of its own up, and two at once would only wait for each other.
            arguments: &["--test-threads=1"],
        };
        here.tell(work, &tests, filter)
    })
}

/// Makes the image that the nodes get; gives the archive.
pub(crate) fn make_image(work: &Work) -> Result<PathBuf> {
    let out = places::target()?.join("underpass-cluster.tar");
    image::make(work, IMAGE, &out)?;
    Ok(out)
}

/// Builds what is missing of the parts; gives their directory.
pub(crate) fn build_parts(work: &Work) -> Result<PathBuf> {
    if go_version().is_none() {
        work.line("Go is not installed: the parts of Kubernetes must be there already");
    }
    build(false, |line| work.note(line))
}

fn build(beside_others: bool, on_line: impl FnMut(&str)) -> Result<PathBuf> {
    let shell = Shell::new()?;
    let script = script();
    let command = match places::program("chrt") {
        // SCHED_IDLE: weaker than any niceness.
        Some(chrt) if beside_others => cmd!(shell, "{chrt} --idle 0 {script}"),
        _ => cmd!(shell, "{script}"),
    };
    let said = process::output_seen(command, PARTS_DEADLINE, on_line)?;
    let directory = said.lines().last().map(PathBuf::from).context("build.sh printed nothing")?;
    if !directory.join("kubelet").exists() {
        bail!("{}: build.sh named no directory with the parts", directory.display());
    }
    Ok(directory)
}

fn script() -> PathBuf {
    places::root().join("tests/cluster/build.sh")
}

/// Whether every part is there.
fn there() -> bool {
    let mut look = Command::new(script());
    look.arg("--there");
    process::output(look, LOOK_DEADLINE).is_ok()
}

/// The Go that is installed, if it says its version.
fn go_version() -> Option<[u32; 2]> {
    let mut ask = Command::new(places::program("go")?);
    ask.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/");
    parse_go(process::output(ask, LOOK_DEADLINE).ok()?.trim())
}

/// `go1.26.8` and `go1.27rc1` are versions; `devel go1.28-...` is none.
fn parse_go(text: &str) -> Option<[u32; 2]> {
    let (major, rest) = text.strip_prefix("go")?.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some([major.parse().ok()?, minor.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        let parsed = |text| parse_go(text).expect("a version");
        for new in ["go1.26", "go1.26.8", "go1.27rc1", "go1.100.1", "go2.0"] {
            assert!(parsed(new) >= GO, "{new}");
        }
        for old in ["go1.9.7", "go1.25.12"] {
            assert!(parsed(old) < GO, "{old}");
        }
        assert_eq!(parse_go("devel go1.28-abc"), None);
    }
}
