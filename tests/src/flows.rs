//! A flow as `ovs-ofctl` prints it, taken apart as far as stories ask.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::switch::Switch;

/// The upper sixteen bits of every cookie of ours.
const OURS: u64 = 0x5550;

/// One flow of a bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Its cookie.
    pub cookie: u64,
    /// Its table.
    pub table: u8,
    /// How long ago it was written.
    pub age: Duration,
    /// Frames it matched.
    pub packets: u64,
    /// Priority, match and actions: what it is, without its history.
    pub rule: String,
}

impl Flow {
    /// True for a flow that the agent wrote.
    pub fn is_ours(&self) -> bool {
        self.cookie >> 48 == OURS
    }

    /// The endpoint it belongs to; 0 where all endpoints share it.
    pub fn slot(&self) -> u64 {
        self.cookie & 0xffff_ffff
    }

    /// What identifies the flow and what it does, without its port's number: a restart of vswitchd may give the
    /// port another one.
    pub fn meaning(&self) -> String {
        let words =
            self.rule.split(',').map(|word| if word.starts_with("in_port=") { "in_port" } else { word });
        format!("{:#x} {} {}", self.cookie, self.table, words.collect::<Vec<_>>().join(","))
    }

    fn parse(line: &str) -> Result<Self> {
        let mut flow = Self { cookie: 0, table: 0, age: Duration::ZERO, packets: 0, rule: String::new() };
        let mut rest = line.trim();
        while let Some((word, behind)) = rest.split_once(", ") {
            let Some((name, value)) = word.split_once('=') else { break };
            match name {
                "cookie" => {
                    flow.cookie =
                        u64::from_str_radix(value.trim_start_matches("0x"), 16).context("a cookie")?;
                }
                "table" => flow.table = value.parse().context("a table")?,
                "duration" => {
                    let seconds = value.trim_end_matches('s').parse().context("a duration")?;
                    flow.age = Duration::try_from_secs_f64(seconds).context("a duration")?;
                }
                "n_packets" => flow.packets = value.parse().context("a packet counter")?,
                "n_bytes" | "idle_age" | "hard_age" => {}
                _ => break,
            }
            rest = behind;
        }
        rest.clone_into(&mut flow.rule);
        Ok(flow)
    }
}

/// All flows of a bridge.
pub(crate) fn of(switch: &Switch, bridge: &str) -> Result<Vec<Flow>> {
    let text = switch.ofctl("dump-flows", bridge, &[])?;
    let lines = text.lines().filter(|line| line.contains("cookie="));
    lines.map(|line| Flow::parse(line).with_context(|| format!("in the flow {line}"))).collect()
}
