//! Processor time that others spend for us: the shim with its plugins, and the agent.

use std::fs;

use anyhow::{Context as _, Result};
use e2e::Lab;

/// proc_stat(5) counts in ticks of 10 ms: `sysconf(_SC_CLK_TCK)` is 100 on every Linux that we know.
const TICK_MS: f64 = 10.0;

/// Fields of proc_pid_stat(5), counted behind the process' name.
const USER: usize = 11;
const CHILDREN_USER: usize = 13;

/// User and system time of the children of this process that have ended, in ms, with what they waited for themselves.
pub(crate) fn children_ms() -> Result<f64> {
    two_fields("/proc/self/stat", CHILDREN_USER)
}

/// User and system time of the agent, in ms.
pub(crate) fn agent_ms(lab: &Lab) -> Result<f64> {
    let pid = lab.agent().pid().context("the agent is not running")?;
    two_fields(&format!("/proc/{pid}/stat"), USER)
}

fn two_fields(path: &str, first: usize) -> Result<f64> {
    let stat = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let behind_name = stat.rsplit(')').next().with_context(|| path.to_owned())?;
    let words: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks =
        |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).context("a count of ticks");
    Ok((ticks(first)? + ticks(first + 1)?) * TICK_MS)
}
