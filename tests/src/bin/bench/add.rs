//! ADD from the exec of the shim until the port has its number, and to its exit, beside the floor and beside the start of
//! any process at all.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::Lab;
use serde_json::json;

use crate::floor::Floor;
use crate::samples::Row;

/// Turns per number of ports.
const TURNS: usize = 60;
/// How many pods are there already.
const PORTS: [usize; 2] = [0, 100];

/// No conflict probe, no gateway probe: what is left is plumbing and guard.
const CONFIG: &str = "[gateway]\npolicy = \"off\"";

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ports in PORTS {
        let lab = Lab::with_config(CONFIG);
        let others: Vec<_> = (0..ports).map(|number| quiet(&lab, &format!("other{number}")).up()).collect();
        let mut floor = Floor::connect(&lab)?;
        let [mut floors, mut processes, mut numbered, mut layer2, mut adds, mut dels] =
            [const { Vec::new() }; 6];
        for turn in 0..TURNS {
            floors.push(micros(floor.once()?));
            processes.push(micros(bare_process()?));
            let pod = quiet(&lab, &format!("pod{turn}")).address("10.0.0.200/24").place();
            let answer = pod.add();
            ensure!(answer.exit == Some(0), "ADD failed: {answer:?}");
            adds.push(micros(answer.took));
            let answer = pod.del();
            ensure!(answer.exit == Some(0), "DEL failed: {answer:?}");
            dels.push(micros(answer.took));
            let pod = quiet(&lab, &format!("plain{turn}")).place();
            let (answer, took) = floor.until_numbered(|| pod.add())?;
            ensure!(answer.exit == Some(0), "ADD failed: {answer:?}");
            numbered.push(micros(took));
            layer2.push(micros(answer.took));
            pod.del().succeeded();
        }
        drop(others);
        lab.finish();
        let sums = floors.iter().zip(&processes).map(|(floor, process)| floor + process).collect();
        let floor_name = format!("floor and /bin/true, {ports} ports");
        rows.extend([
            Row::new(format!("floor, {ports} ports"), "µs", floors),
            Row::new(format!("/bin/true, {ports} ports"), "µs", processes),
            Row::new(floor_name.clone(), "µs", sums),
            Row::new(format!("ADD until the port has its number, {ports} ports"), "µs", numbered)
                .beside(&floor_name),
            Row::new(format!("ADD without IPAM, {ports} ports"), "µs", layer2).beside(&floor_name),
            Row::new(format!("ADD with plugin static, {ports} ports"), "µs", adds).beside(&floor_name),
            Row::new(format!("DEL with plugin static, {ports} ports"), "µs", dels),
        ]);
    }
    Ok(rows)
}

/// A pod without IPAM and without probes.
fn quiet<'lab>(lab: &'lab Lab, name: &str) -> e2e::PodDrawing<'lab> {
    lab.pod(name).without_ipam().key("conflict", json!({ "policy": "off" }))
}

fn bare_process() -> Result<Duration> {
    let began = Instant::now();
    let mut child = Command::new("/bin/true").stdout(Stdio::null()).spawn().context("/bin/true")?;
    child.wait()?;
    Ok(began.elapsed())
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}
