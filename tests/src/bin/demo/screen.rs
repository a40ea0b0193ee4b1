//! How the demo looks: a drawing, a line for each check, small tables, a verdict. 80 columns.

use std::io::Write as _;
use std::time::{Duration, Instant};

use e2e::{Datapath, Lab, our_binary};

/// Collects what held and what did not while it prints.
pub(crate) struct Screen {
    began: Instant,
    held: usize,
    failed: Vec<String>,
}

impl Screen {
    /// Says what this is.
    pub(crate) fn begin(headline: &str) -> Self {
        Self::say(headline);
        Self { began: Instant::now(), held: 0, failed: Vec::new() }
    }

    /// [`Self::begin`] with what a lab is.
    pub(crate) fn begin_lab(lab: &Lab) -> Self {
        let status = lab.agent().status().unwrap_or_default();
        let datapath = match lab.datapath() {
            Datapath::Userspace => "userspace datapath: OpenFlow is the wall, eBPF watches",
            Datapath::Kernel => "kernel datapath: eBPF is the wall, OpenFlow the second one",
        };
        let (version, kernel, ovs) = (status.version, status.kernel, status.ovs_version);
        Self::begin(&format!("Underpass {version}   kernel {kernel}   Open vSwitch {ovs}\n{datapath}\n"))
    }

    /// Prints a line. A reader who has gone away must not keep the lab from being taken away.
    pub(crate) fn say(line: &str) {
        drop(writeln!(std::io::stdout(), "{line}"));
    }

    /// A heading between two groups of checks.
    pub(crate) fn chapter(title: &str) {
        Self::say(&format!("\n{title}"));
    }

    /// A line of detail below a check.
    pub(crate) fn detail(line: &str) {
        Self::say(&format!("      {line}"));
    }

    /// Runs one check and prints how it ended; the text is what was seen, in both cases.
    pub(crate) fn check(&mut self, what: &str, check: impl FnOnce() -> Result<String, String>) {
        let (outcome, seen) = self.count(what, check());
        Self::say(&format!("  {outcome:<5} {what}: {seen}"));
    }

    /// [`Self::check`] as a row of a table.
    pub(crate) fn row(&mut self, what: &str, seen: Result<String, String>) {
        let (outcome, seen) = self.count(what, seen);
        Self::say(&format!("  {outcome:<5} {what:<27} {seen}"));
    }

    fn count(&mut self, what: &str, seen: Result<String, String>) -> (&'static str, String) {
        match seen {
            Ok(seen) => {
                self.held += 1;
                ("ok", seen)
            }
            Err(why) => {
                self.failed.push(what.to_owned());
                ("FAIL", why)
            }
        }
    }

    /// What one may do in a lab that is kept.
    pub(crate) fn things_to_try(lab: &Lab) {
        let room = lab.room_path("");
        let room = room.display();
        let agentctl =
            our_binary("agentctl").map_or_else(|_| "agentctl".to_owned(), |path| path.display().to_string());
        Self::chapter("It stays until Ctrl-C. Things to try in another terminal:");
        Self::say(&format!("  export UNDERPASS_SOCKET={room}run/agent.sock"));
        for words in ["status", "flows dump --pod lab/cart", "drops", "gateways", "accel", "doctor"] {
            Self::say(&format!("  {agentctl} {words}"));
        }
        Self::say(&format!("  nsenter --net={room}netns/cart ping 10.0.0.21"));
        Self::say(&format!("  ovs-vsctl --db=unix:{room}ovs/db.sock show"));
        Self::say(&format!("  ovs-ofctl -O OpenFlow15 dump-flows unix:{room}ovs/br1.mgmt"));
    }

    /// The last word; true when every check held.
    pub(crate) fn verdict(&self) -> bool {
        let took = self.began.elapsed().as_secs_f32();
        if self.failed.is_empty() {
            Self::say(&format!("\nVerdict: all {} checks held, in {took:.1} s.", self.held));
            return true;
        }
        let all = self.held + self.failed.len();
        Self::say(&format!("\nVerdict: {} of {all} checks did NOT hold, in {took:.1} s:", self.failed.len()));
        for what in &self.failed {
            Self::say(&format!("  {what}"));
        }
        false
    }
}

/// A span of time as a person reads it.
pub(crate) fn span(time: Duration) -> String {
    let micros = time.as_micros();
    if micros < 10_000 { format!("{micros} µs") } else { format!("{} ms", time.as_millis()) }
}

/// Median and 99th percentile of some spans.
pub(crate) fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => format!("p50 {}, p99 {}", span(*p50), span(*p99)),
        _ => "no answer".to_owned(),
    }
}
