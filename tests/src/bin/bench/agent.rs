//! What the agent takes: resident memory at some numbers of pods and beside many foreign flows, and processor time while
//! nothing happens.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::Lab;
use serde_json::json;

use crate::effort::Effort;
use crate::flows::crowd;
use crate::processor::agent_ms;
use crate::samples::Row;
use crate::tell;

const PODS: [usize; 4] = [0, 30, 100, 250];
/// The lab's range has 235.
const WITH_ADDRESSES: usize = 200;
/// In table 0, which the agent reads, since it shares that one.
const FOREIGN_FLOWS: u32 = 100_000;
/// They go to the switch in parts, each within the deadline of one command.
const PART: u32 = 10_000;
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
            let pod = lab.pod(&format!("p{}", pods.len())).key("conflict", quick);
            pods.push(if pods.len() < WITH_ADDRESSES { pod.up() } else { crowd(pod) });
        }
        thread::sleep(Duration::from_secs(2));
        let mut memory = Vec::new();
        for _ in 0..effort.pick(1, LOOKS) {
            memory.push(memory_mb(&lab, "VmRSS")?);
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
    rows.extend(beside_foreign_flows(&lab, effort.pick(PART / 10, FOREIGN_FLOWS))?);
    drop(pods);
    lab.finish();
    Ok(rows)
}

/// A dump goes through the agent, flow by flow; its peak is what counts.
fn beside_foreign_flows(lab: &Lab, count: u32) -> Result<Vec<Row>> {
    for first in (0..count).step_by(PART as usize) {
        tell(&format!("foreign flow {first} of {count}"));
        let flow = |number: u32| {
            let from = Ipv4Addr::from(0x0a80_0000 + number);
            format!("table=0,priority=1,ip,in_port=LOCAL,nw_src={from},actions=NORMAL\n")
        };
        lab.switch().add_flows("br1", &(first..count.min(first + PART)).map(flow).collect::<String>())?;
    }
    tell("dumping them");
    let dump = lab.agent().agentctl(&["flows", "dump"])?;
    let shown = dump.stdout.matches("nw_src=10.1").count();
    ensure!(u32::try_from(shown)? == count, "{shown} of {count} foreign flows are in the dump");
    let name = format!("resident memory at most, {count} foreign flows dumped");
    Ok(vec![Row::new(name, "MB", vec![memory_mb(lab, "VmHWM")?])])
}

/// `VmRSS`, or `VmHWM`, the most it ever was, of proc_pid_status(5), in 10⁶ bytes.
fn memory_mb(lab: &Lab, key: &str) -> Result<f64> {
    let pid = lab.agent().pid().context("the agent is not running")?;
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib: f64 = line.with_context(|| key.to_owned())?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}
