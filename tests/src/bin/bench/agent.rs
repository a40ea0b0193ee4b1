//! What the agent takes: resident memory at some numbers of pods, and processor time while nothing happens.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Lab;
use serde_json::json;

use crate::samples::Row;

const PODS: [usize; 3] = [0, 30, 100];
/// Memory is looked at so often, a second apart.
const LOOKS: usize = 5;
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let lab = Lab::usual();
    let mut pods = Vec::new();
    let mut rows = Vec::new();
    for count in PODS {
        while pods.len() < count {
            let quick = json!({ "count": 1, "interval": "10ms", "wait": "10ms" });
            pods.push(lab.pod(&format!("p{}", pods.len())).key("conflict", quick).up());
        }
        thread::sleep(Duration::from_secs(2));
        let mut memory = Vec::new();
        for _ in 0..LOOKS {
            memory.push(resident_mb(&lab)?);
            thread::sleep(Duration::from_secs(1));
        }
        let before = processor_ms(&lab)?;
        thread::sleep(IDLE);
        let used = (processor_ms(&lab)? - before) / IDLE.as_secs_f64();
        rows.push(Row::new(format!("resident memory, {count} pods"), "MB", memory));
        rows.push(Row::new(format!("processor time a second, idle, {count} pods"), "ms", vec![used]));
    }
    drop(pods);
    lab.finish();
    Ok(rows)
}

/// `VmRSS` of proc_pid_status(5), in 10⁶ bytes.
fn resident_mb(lab: &Lab) -> Result<f64> {
    let status = file(lab, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib * 1024.0 / 1e6)
}

/// `utime` and `stime` of proc_pid_stat(5), which counts in ticks of 10 ms.
fn processor_ms(lab: &Lab) -> Result<f64> {
    let stat = file(lab, "stat")?;
    let behind_name = stat.rsplit(')').next().context("stat")?;
    let words: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).context("stat");
    Ok((ticks(11)? + ticks(12)?) * 10.0)
}

fn file(lab: &Lab, name: &str) -> Result<String> {
    let pid = lab.agent().pid().context("the agent is not running")?;
    fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("/proc/{pid}/{name}"))
}
