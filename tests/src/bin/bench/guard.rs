//! What the programs cost by themselves: one frame of each path through them, run by the kernel without any traffic,
//! and how far the verifier walked. The kernel's own loop around a run (27 ns on 6.18) is in every figure.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use ebpf::abi::{BridgeFlags, L2Key, Local, LocalFlags, Mode, Port, PortFlags, Stage, maps};
use ebpf::corpus::{self, Identity, Kind};
use ebpf::{Dataplane, Role};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

use crate::effort::Effort;
use crate::samples::Row;

/// Means taken of each path; each is one sample.
const ROUNDS: usize = 50;
/// Runs in a mean.
const RUNS: u32 = 2_000;
/// Beside how many other endpoints the last rows are taken: the most that fit.
const CROWD: u32 = 8_191;
/// Longer than any run of this.
const LEASE_NS: u64 = 3_600_000_000_000;
const MTU: u32 = 1_500;
const BRIDGE: u16 = 1;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    // A thread of its own: its network and its mounts end with it.
    thread::spawn(move || {
        let ground = tempfile::tempdir().context("a directory")?;
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("unshare")?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("private mounts")?;
        mount(Some("bpf"), ground.path(), Some("bpf"), MsFlags::empty(), none).context("a bpffs")?;
        let rows = on(&ground.path().join("underpass"), effort.pick(3, ROUNDS));
        umount2(ground.path(), MntFlags::MNT_DETACH).context("unmounting the bpffs")?;
        rows
    })
    .join()
    .map_err(|_| anyhow!("the measuring thread panicked"))?
}

fn on(bpf_dir: &Path, rounds: usize) -> Result<Vec<Row>> {
    let made = std::process::Command::new("ip")
        .args(["link", "add", "guarded", "type", "veth", "peer", "name", "near"])
        .status()
        .context("ip")?;
    ensure!(made.success(), "ip link add: {made}");
    let mut bench = Bench {
        dataplane: Dataplane::open(bpf_dir, CROWD + 1)?,
        ifindex: if_nametoindex("guarded")?,
        neighbour: if_nametoindex("near")?,
        rounds,
        rows: Vec::new(),
    };
    bench.verified()?;
    bench.paths()?;
    bench.crowded()?;
    Ok(bench.rows)
}

struct Bench {
    dataplane: Dataplane,
    ifindex: u32,
    neighbour: u32,
    rounds: usize,
    rows: Vec<Row>,
}

impl Bench {
    /// How many instructions the verifier walked.
    fn verified(&mut self) -> Result<()> {
        for role in Role::ALL {
            let walked =
                self.dataplane.hooks.verified_instructions(role)?.context("this kernel does not tell")?;
            self.rows.push(Row::new(format!("{role}: verified"), "insns", vec![f64::from(walked)]));
        }
        Ok(())
    }

    fn paths(&mut self) -> Result<()> {
        self.allow(PortFlags::NONE)?;
        self.time("IPv4 UDP, passed", Role::FromPod, "untagged")?;
        self.time("IPv4 TCP, passed", Role::FromPod, "TCP")?;
        self.time("IPv6 TCP, passed", Role::FromPod, "TCP over IPv6")?;
        self.time("IPv4 with an option, passed", Role::FromPod, "with router alert")?;
        self.time("IPv6 with 6 extension headers, passed", Role::FromPod, "6 extension headers")?;
        self.time("ARP request, passed", Role::FromPod, "ARP request")?;
        self.time("neighbour solicitation, passed", Role::FromPod, "solicitation")?;
        self.time("foreign IPv4, dropped", Role::FromPod, "IPv4 of the neighbour")?;
        self.time("traffic at the watch", Role::ToPod, "TCP")?;
        self.time("ARP at the watch", Role::ToPod, "ARP request")?;
        self.time("traffic at the uplink", Role::Uplink, "TCP")?;
        self.allow(PortFlags::ACCEL)?;
        self.time("IPv4 UDP, past the bridge", Role::FromPod, "untagged")?;
        self.time("IPv6 TCP, past the bridge", Role::FromPod, "TCP over IPv6")
    }

    /// The same with as many endpoints as there can be: those before have taken most of the places of the copies.
    fn crowded(&mut self) -> Result<()> {
        let mut others = (1..).filter(|i| ![self.ifindex, self.neighbour].contains(i));
        let others: Vec<u32> = others.by_ref().take(CROWD as usize).collect();
        for ifindex in others {
            let slot = ifindex % maps::slots(CROWD);
            self.dataplane.set_port(ifindex, &Port { slot, ..port(PortFlags::NONE) })?;
        }
        self.time("IPv4 UDP past the bridge, 8,192 endpoints", Role::FromPod, "untagged")?;
        self.dataplane.remove_port(self.ifindex)?;
        let rival = self.ifindex + maps::PLACES;
        self.dataplane.set_port(rival, &Port { slot: 2, ..port(PortFlags::NONE) })?;
        self.dataplane.set_port(self.ifindex, &port(PortFlags::ACCEL))?;
        self.time("… whose place another one has", Role::FromPod, "untagged")
    }

    fn allow(&mut self, flags: PortFlags) -> Result<()> {
        let me = Identity::numbered(1);
        let local = Local { ifindex: self.neighbour, slot: 2, mtu: MTU, flags: LocalFlags::NONE };
        self.dataplane.set_local(&L2Key::new(BRIDGE, 0, me.other_mac), &local)?;
        self.dataplane.set_bridge(BRIDGE, BridgeFlags::ACCEL_OK)?;
        self.dataplane.set_lease(ebpf::ktime_ns() + LEASE_NS)?;
        Ok(self.dataplane.set_port(self.ifindex, &port(flags))?)
    }

    fn time(&mut self, what: &str, role: Role, case: &str) -> Result<()> {
        let me = Identity::numbered(1);
        let all = corpus::cases(&me);
        let found = all.into_iter().find(|c| c.name == case && c.kind == Kind::Dual);
        let mut frame = found.with_context(|| format!("the corpus has no {case:?}"))?.frame;
        // Room for what a real packet carries; none of these frames is judged by its length.
        frame.resize(frame.len().max(118), 0);
        let mut samples = Vec::with_capacity(self.rounds);
        let mut verdict = None;
        for _ in 0..self.rounds {
            let run = self.dataplane.hooks.test_run(role, &frame, self.ifindex, RUNS)?;
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one frame")]
            samples.push(run.mean_ns as f64);
            verdict = Some(run.verdict);
        }
        let mut name = what.to_owned();
        let _ = write!(name, " ({})", verdict.map_or("?", spoken));
        self.rows.push(Row::new(name, "ns", samples));
        Ok(())
    }
}

fn spoken(verdict: i32) -> &'static str {
    match verdict {
        -1 => "next",
        2 => "shot",
        7 => "redirect",
        _ => "unknown",
    }
}

fn port(flags: PortFlags) -> Port {
    let me = Identity::numbered(1);
    Port {
        slot: 1,
        generation: 1,
        bridge: BRIDGE,
        vlan: 0,
        mac: me.mac,
        mode: Mode::FULL,
        stage: Stage::OPEN,
        flags,
        mtu: MTU,
        ip4: me.ip4,
        ip6: me.ip6,
        ll6: me.ll6,
    }
}
