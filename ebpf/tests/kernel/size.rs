//! How large and how fast the programs are. Times are printed, never asserted: they are the machine's.

use std::{io::Write as _, time::Instant};

use ebpf::{
    Dataplane, Role,
    abi::{BridgeFlags, L2Key, Local, LocalFlags, Port, PortFlags},
    corpus::{self, Kind},
};

use crate::lab::{Pod, in_lab};

/// Kernels before 5.2 took 4,096 instructions, later ones walk a million. A tenth leaves room for the
/// verifiers of older kernels, which prune less: 5.10 walks up to three times as far.
const MAX_VERIFIED: u32 = 100_000;
/// Runs in one round; the best of the rounds is printed, since another load only ever adds.
const RUNS: u32 = 50_000;
const ROUNDS: usize = 5;

#[test]
fn the_verifier_walks_few_instructions() {
    in_lab(|lab| {
        let begin = Instant::now();
        let dataplane = lab.open();
        let mut out = std::io::stdout();
        writeln!(out, "opened in {:?}", begin.elapsed()).unwrap();
        writeln!(out, "object {} bytes", Dataplane::object_len()).unwrap();
        for role in Role::ALL {
            let walked = dataplane.hooks.verified_instructions(role).unwrap();
            writeln!(out, "{role}: {walked:?} instructions verified").unwrap();
            assert!(walked.is_none_or(|n| n < MAX_VERIFIED), "{role}: {walked:?}");
        }
    });
}

#[test]
fn times_of_the_paths_are_printed() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        let all = corpus::cases(&a.id);
        let frame =
            |name: &str| all.iter().find(|c| c.name == name && c.kind == Kind::Dual).unwrap().frame.clone();
        let value = Local { ifindex: b.ifindex, slot: b.slot, mtu: 1500, flags: LocalFlags::NONE };
        d.set_local(&L2Key::new(1, 0, b.id.mac), &value).unwrap();
        d.set_lease(ebpf::ktime_ns() + 600_000_000_000).unwrap();
        let mut out = std::io::stdout();
        let mut time = |d: &Dataplane, what: &str, role, frame: &[u8]| {
            let runs = (0..ROUNDS).map(|_| d.hooks.test_run(role, frame, a.ifindex, RUNS).unwrap());
            let best = runs.min_by_key(|run| run.mean_ns).unwrap();
            writeln!(out, "{what:45} {:4} ns, verdict {}", best.mean_ns, best.verdict).unwrap();
        };
        d.set_port(a.ifindex, &a.port()).unwrap();
        let large = [frame("untagged"), vec![0; 40]].concat();
        time(&d, "IPv4 UDP, passed", Role::FromPod, &large);
        time(&d, "IPv4 TCP, passed, below 62 bytes", Role::FromPod, &frame("TCP"));
        time(&d, "IPv6 TCP, passed", Role::FromPod, &frame("TCP over IPv6"));
        time(&d, "IPv6, 6 extension headers, passed", Role::FromPod, &frame("6 extension headers"));
        time(&d, "ARP request, passed", Role::FromPod, &frame("ARP request"));
        time(&d, "neighbour solicitation, passed", Role::FromPod, &frame("solicitation"));
        time(&d, "foreign IPv4, dropped", Role::FromPod, &frame("IPv4 of the neighbour"));
        time(&d, "traffic at the watch", Role::ToPod, &frame("TCP"));
        time(&d, "ARP at the watch", Role::ToPod, &frame("ARP request"));
        time(&d, "traffic at the uplink", Role::Uplink, &frame("TCP"));
        d.set_port(a.ifindex, &Port { flags: PortFlags::ACCEL, ..a.port() }).unwrap();
        d.set_bridge(1, BridgeFlags::ACCEL_OK).unwrap();
        time(&d, "IPv4 UDP, past the bridge", Role::FromPod, &large);
        time(&d, "IPv6 TCP, past the bridge", Role::FromPod, &frame("TCP over IPv6"));
    });
}
