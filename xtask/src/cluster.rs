//! The stories on a Kubernetes cluster of real parts: builds the parts, the image, and runs them.
//!
//! The parts come from Go modules and Debian (`tests/cluster/build.sh`) and are kept between runs; from nothing they
//! take a quarter of an hour of two cores.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::check;
use crate::image;
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::steps::Steps;
use crate::test::{Here, test_binaries};

/// From nothing: 26 minutes of processor time, at low priority.
const PARTS_DEADLINE: Duration = Duration::from_mins(90);

/// The image as the nodes know it: `tests/cluster/values.yaml` names it.
const IMAGE: &str = "localhost/underpass:cluster";

/// Where the stories find parts and image.
pub(crate) const PARTS_VARIABLE: &str = "CLUSTER_BIN";
pub(crate) const IMAGE_VARIABLE: &str = "CLUSTER_IMAGE";

/// Runs the stories whose name contains `filter`.
pub(crate) fn stories(steps: &mut Steps, filter: Option<&str>) -> Result<()> {
    let (mut parts, mut archive) = (None, None);
    steps.step("parts of Kubernetes", |work| {
        parts = Some(build_parts(work)?);
        Ok(Ok(()).into())
    })?;
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
    let shell = Shell::new()?;
    let script = places::root().join("tests/cluster/build.sh");
    if places::program("go").is_none() {
        work.line("Go is not installed: the parts of Kubernetes must be there already");
    }
    let said = process::output_seen(cmd!(shell, "{script}"), PARTS_DEADLINE, |line| work.note(line))?;
    let directory = said.lines().last().map(PathBuf::from).context("build.sh printed nothing")?;
    if !directory.join("kubelet").exists() {
        bail!("{}: build.sh named no directory with the parts", directory.display());
    }
    Ok(directory)
}
