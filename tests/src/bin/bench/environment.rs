//! Where and under what circumstances it was measured: what a reader must know before he believes a figure.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// By which `cargo xtask bench` says what it built.
const COMMIT_VARIABLE: &str = "BENCH_COMMIT";

/// What the machine was doing before the first sample.
pub(crate) struct Before {
    load: String,
    ticks: Ticks,
}

impl Before {
    pub(crate) fn look() -> Self {
        Self { load: load(), ticks: Ticks::look() }
    }

    /// Everything, after the last sample.
    pub(crate) fn until_now(self) -> Value {
        let spent = Ticks::look().since(&self.ticks);
        json!({
            "commit": std::env::var(COMMIT_VARIABLE).unwrap_or_else(|_| "not told".to_owned()),
            "kernel": line("/proc/sys/kernel/osrelease"),
            "processor": processor(),
            "processors": std::thread::available_parallelism().map_or(0, usize::from),
            "datapath": std::env::var("LAB_DATAPATH").unwrap_or_else(|_| "netdev".to_owned()),
            "open_vswitch": open_vswitch(),
            "load_before": self.load,
            "load_after": load(),
            "time_stolen_percent": spent.share(spent.stolen),
            "time_idle_percent": spent.share(spent.idle),
        })
    }
}

/// Processor time of the whole machine, in ticks: the first line of proc_stat(5).
struct Ticks {
    all: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    fn look() -> Self {
        let text = line("/proc/stat");
        let words: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let at = |index: usize| words.get(index).copied().unwrap_or(0);
        // user nice system idle iowait irq softirq steal; guests' time is in user's already.
        Self { all: words.iter().take(8).sum(), idle: at(3) + at(4), stolen: at(7) }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            idle: self.idle.saturating_sub(before.idle),
            stolen: self.stolen.saturating_sub(before.stolen),
        }
    }

    fn share(&self, part: u64) -> u64 {
        (part * 100).checked_div(self.all).unwrap_or(0)
    }
}

fn load() -> String {
    line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "not told".to_owned(), |(_, name)| name.to_owned())
}

fn open_vswitch() -> String {
    let said = Command::new("ovs-vsctl").arg("--version").output();
    let text = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or("not told").to_owned()
}

/// The first line of a file, empty where there is none.
fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}
