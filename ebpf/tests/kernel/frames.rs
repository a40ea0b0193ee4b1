//! The corpus against the programs: once by test run, once through a real veth.

use ebpf::{
    AttachKind, Dataplane, Role,
    abi::{Counters, MacKey, Mode, Port, PortFlags, Reason, SrcKey, SrcVal, Stage, TRUNK, VlanKey},
    corpus::{
        self, Case, EXPIRED_IP4, Kind, LISTED_MAC, LISTED_PREFIX4, LISTED_PREFIX6, TRUNK_VLANS, Verdict,
    },
};

use crate::lab::{Pod, eventually, in_lab};

const NEXT: i32 = -1;
const SHOT: i32 = 2;

#[test]
fn every_frame_of_the_corpus_gets_its_verdict_and_its_reason() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        let mut wrong = Vec::new();
        for case in corpus::cases(&pod.id).iter().filter(|c| can_test_run(c)) {
            dress(&mut dataplane, &pod, case.kind);
            let verdict =
                dataplane.hooks.test_run(Role::FromPod, &case.frame, pod.ifindex, 1).map(|r| r.verdict);
            let counted = outcome(&dataplane.counters(pod.slot).unwrap());
            let expected = (if case.ebpf == Verdict::Pass { NEXT } else { SHOT }, Some(case.ebpf));
            if verdict.as_ref().ok() != Some(&expected.0) || counted != expected.1 {
                wrong.push(format!(
                    "{:?} {}: {verdict:?}, {counted:?}, expected {expected:?}",
                    case.kind, case.name
                ));
            }
        }
        assert!(wrong.is_empty(), "{} frames:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn every_frame_that_a_pod_really_sends_is_counted_under_its_reason() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        let mut wrong = Vec::new();
        for case in corpus::cases(&pod.id) {
            dress(&mut dataplane, &pod, case.kind);
            pod.send(&case.on_wire());
            let mut counted = None;
            eventually(case.name, || {
                counted = outcome(&dataplane.counters(pod.slot).unwrap());
                counted.is_some()
            });
            if counted != Some(case.ebpf) {
                wrong.push(format!("{:?} {}: {counted:?}, expected {:?}", case.kind, case.name, case.ebpf));
            }
        }
        assert!(wrong.is_empty(), "{} frames:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn an_observed_endpoint_is_counted_and_passes() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        for case in corpus::cases(&pod.id).iter().filter(|c| can_test_run(c) && c.kind == Kind::Dual) {
            dress(&mut dataplane, &pod, case.kind);
            dataplane.set_port(pod.ifindex, &Port { mode: Mode::OBSERVE, ..pod.port() }).unwrap();
            let run = dataplane.hooks.test_run(Role::FromPod, &case.frame, pod.ifindex, 1).unwrap();
            assert_eq!(run.verdict, NEXT, "{}", case.name);
            assert_eq!(outcome(&dataplane.counters(pod.slot).unwrap()), Some(case.ebpf), "{}", case.name);
        }
    });
}

#[test]
fn on_the_userspace_datapath_every_frame_ends_here_under_its_real_verdict() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        for case in corpus::cases(&pod.id).iter().filter(|c| can_test_run(c) && c.kind == Kind::Dual) {
            dress(&mut dataplane, &pod, case.kind);
            let flags = PortFlags::USERSPACE_DP | PortFlags::ACCEL;
            dataplane.set_port(pod.ifindex, &Port { flags, ..pod.port() }).unwrap();
            let run = dataplane.hooks.test_run(Role::FromPod, &case.frame, pod.ifindex, 1).unwrap();
            assert_eq!(run.verdict, SHOT, "{}", case.name);
            assert_eq!(outcome(&dataplane.counters(pod.slot).unwrap()), Some(case.ebpf), "{}", case.name);
        }
    });
}

#[test]
fn a_closed_gate_drops_what_an_open_one_lets_pass() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        let honest = corpus::cases(&pod.id).swap_remove(0).frame;
        let closed = Port { stage: Stage::CLOSED, ..pod.port() };
        for (port, verdict, counted) in [
            (pod.port(), NEXT, Verdict::Pass),
            (closed, SHOT, Verdict::Drop(Reason::Closed)),
            (Port { mode: Mode::OBSERVE, ..closed }, SHOT, Verdict::Drop(Reason::Closed)),
            (Port { mode: Mode::OFF, ..closed }, NEXT, Verdict::Pass),
            (Port { mode: Mode::OFF, flags: PortFlags::USERSPACE_DP, ..closed }, SHOT, Verdict::Pass),
        ] {
            dataplane.zero_counters(pod.slot).unwrap();
            dataplane.set_port(pod.ifindex, &port).unwrap();
            assert_eq!(
                dataplane.hooks.test_run(Role::FromPod, &honest, pod.ifindex, 1).unwrap().verdict,
                verdict
            );
            assert_eq!(outcome(&dataplane.counters(pod.slot).unwrap()), Some(counted));
        }
    });
}

#[test]
fn a_device_without_an_entry_drops_everything_under_slot_zero() {
    in_lab(|lab| {
        let dataplane = lab.open();
        let pod = Pod::new(1);
        let honest = corpus::cases(&pod.id).swap_remove(0).frame;
        let run = dataplane.hooks.test_run(Role::FromPod, &honest, pod.ifindex, 1).unwrap();
        assert_eq!(run.verdict, SHOT);
        assert_eq!(dataplane.counters(0).unwrap().dropped(Reason::Unbound), 1);
        let last = dataplane.last(0).unwrap().expect("it was kept");
        assert_eq!((last.reason(), last.ifindex), (Some(Reason::Unbound), pod.ifindex));
    });
}

#[test]
fn the_last_offender_is_kept_with_the_head_of_its_frame() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        dress(&mut dataplane, &pod, Kind::Dual);
        assert_eq!(dataplane.last(pod.slot).unwrap(), None);
        let before = ebpf::ktime_ns();
        for case in corpus::cases(&pod.id).iter().filter(|c| can_test_run(c) && c.kind == Kind::Dual) {
            let Verdict::Drop(reason) = case.ebpf else { continue };
            dataplane.hooks.test_run(Role::FromPod, &case.frame, pod.ifindex, 1).unwrap();
            let last = dataplane.last(pod.slot).unwrap().expect("it was dropped");
            assert_eq!(last.reason(), Some(reason), "{}", case.name);
            assert_eq!(last.head(), &case.frame[..case.frame.len().min(64)], "{}", case.name);
            assert_eq!((last.len as usize, last.generation), (case.frame.len(), 1), "{}", case.name);
            assert!((before..=ebpf::ktime_ns()).contains(&last.at_ns), "{}", case.name);
        }
    });
}

#[test]
fn a_storm_of_drops_fills_the_ring_no_faster_than_its_rate() {
    in_lab(|lab| {
        let mut dataplane = lab.open();
        let pod = Pod::new(1);
        dress(&mut dataplane, &pod, Kind::Dual);
        let mut drops = dataplane.drops().unwrap();
        let spoof = corpus::build::ethernet(pod.id.other_mac, pod.id.other_mac, 0x0800, &[0x45; 40]);
        dataplane.hooks.test_run(Role::FromPod, &spoof, pod.ifindex, 1000).unwrap();
        let told: Vec<_> = std::iter::from_fn(|| drops.next()).collect();
        assert_eq!(dataplane.counters(pod.slot).unwrap().dropped(Reason::Mac), 1000);
        assert!((10..=20).contains(&told.len()), "{} records", told.len());
        assert_eq!(told[0].head(), &spoof[..]);
        assert_eq!((told[0].slot, told[0].reason()), (pod.slot, Some(Reason::Mac)));
    });
}

/// Makes the pod an endpoint of a kind, with fresh counters.
fn dress(dataplane: &mut Dataplane, pod: &Pod, kind: Kind) {
    let slot = pod.slot;
    let port = match kind {
        Kind::Dual => pod.port(),
        Kind::Ip4Only => Port { flags: PortFlags::IP4_ONLY, ip6: [0; 16], ll6: [0; 16], ..pod.port() },
        Kind::Dhcp => Port { flags: PortFlags::DHCP4, ..pod.port() },
        Kind::Slaac => Port { flags: PortFlags::SLAAC, ..pod.port() },
        Kind::MacOnly => Port { mode: Mode::MAC, ..pod.port() },
        Kind::Trunk | Kind::TrunkNative => Port { vlan: TRUNK, ..pod.port() },
        Kind::Listed => Port { flags: PortFlags::MORE_SRC, ..pod.port() },
    };
    for vid in TRUNK_VLANS {
        dataplane.set_vlan(&VlanKey::new(slot, vid)).unwrap();
    }
    if kind == Kind::TrunkNative {
        dataplane.set_vlan(&VlanKey::new(slot, 0)).unwrap();
    } else {
        dataplane.remove_vlan(&VlanKey::new(slot, 0)).unwrap();
    }
    let (prefix4, bits4) = LISTED_PREFIX4;
    let (prefix6, bits6) = LISTED_PREFIX6;
    dataplane.set_source(&SrcKey::v4(slot, prefix4, bits4), &SrcVal::FOREVER).unwrap();
    dataplane
        .set_source(&SrcKey::v6(slot, prefix6, bits6), &SrcVal::until(ebpf::ktime_ns() + 60_000_000_000))
        .unwrap();
    dataplane.set_source(&SrcKey::v4(slot, EXPIRED_IP4, 32), &SrcVal::until(1)).unwrap();
    dataplane.set_mac(&MacKey::new(slot, LISTED_MAC), &SrcVal::FOREVER).unwrap();
    dataplane.set_port(pod.ifindex, &port).unwrap();
    dataplane.zero_counters(slot).unwrap();
}

/// What one frame was counted as; `None`: none yet.
fn outcome(counters: &Counters) -> Option<Verdict> {
    if counters.passed() > 0 {
        return Some(Verdict::Pass);
    }
    counters.drops().next().map(|(reason, _)| Verdict::Drop(reason))
}

/// A test run cannot carry an outer tag, and wants the fixed part of IPv4 and IPv6 headers.
fn can_test_run(case: &Case) -> bool {
    let least = match case.frame.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 15,
    };
    case.tag.is_none() && case.frame.len() >= least
}
