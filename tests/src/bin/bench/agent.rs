//! What the agent takes: resident memory at some numbers of pods, and processor time while nothing happens.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Lab;
use serde_json::json;

use crate::effort::Effort;
use crate::processor::agent_ms;
use crate::samples::Row;
use crate::tell;

const PODS: [usize; 3] = [0, 30, 100];
/// Memory is looked at so often, a second apart.
const LOOKS: usize = 5;
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let lab = Lab::usual();
    let mut pods = Vec::new();
    let mut rows = Vec::new();
    let idle = effort.pick(Duration::from_secs(1), IDLE);
    for count in effort.pick(&PODS[..1], &PODS) {
        let count = *count;
        tell(&format!("{count} pods"));
        while pods.len() < count {
            let quick = json!({ "count": 1, "interval": "10ms", "wait": "10ms" });
            pods.push(lab.pod(&format!("p{}", pods.len())).key("conflict", quick).up());
        }
        thread::sleep(Duration::from_secs(2));
        let mut memory = Vec::new();
        for _ in 0..effort.pick(1, LOOKS) {
            memory.push(resident_mb(&lab)?);
            thread::sleep(Duration::from_secs(1));
        }
        let before = agent_ms(&lab)?;
        thread::sleep(idle);
        let used = (agent_ms(&lab)? - before) / idle.as_secs_f64();
        let (memory_of, time_of) = ("resident memory", "processor time a second, idle");
        rows.push(Row::new(format!("{memory_of}, {count} pods"), "MB", memory).point(
            "memory by pods",
            memory_of,
            count,
            "pods",
        ));
        rows.push(Row::new(format!("{time_of}, {count} pods"), "ms", vec![used]));
    }
    drop(pods);
    lab.finish();
    Ok(rows)
}

/// `VmRSS` of proc_pid_status(5), in 10⁶ bytes.
fn resident_mb(lab: &Lab) -> Result<f64> {
    let pid = lab.agent().pid().context("the agent is not running")?;
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib * 1024.0 / 1e6)
}
