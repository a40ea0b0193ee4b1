//! Both walls make of the whole corpus what it says, counted frame by frame on a living port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use e2e::frames::{Identity, udp};
use e2e::{Datapath, Lab, Mac, Pod, control, wait_for};
use ebpf::corpus::{Case, Identity as Parties, Kind, Verdict, cases};
use serde_json::{Value, json};

/// vswitchd pushes the statistics of a flow about twice a second.
const COUNTED_WITHIN_SECONDS: u64 = 5;

/// Frames sent before the neighbour is heard.
const VOLLEY: usize = 16;

/// How long a volley may take from one pod to another.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// The end of a volley: nothing came for so long.
const SILENCE: Duration = Duration::from_millis(300);

/// Frames by reason: at the eBPF wall and at the OpenFlow wall.
type Counts = BTreeMap<u64, [u64; 2]>;

/// Where the corpus speaks of IPv6 and the pod has none: an address that nobody has.
const NO_IP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xdead);

fn v4(pod: &Pod<'_>) -> Ipv4Addr {
    match pod.v4() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("v4 gave {v6}"),
    }
}

fn v6(pod: &Pod<'_>) -> Ipv6Addr {
    let global = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if !v6.is_unicast_link_local());
    match pod.addresses().into_iter().find(global) {
        Some(IpAddr::V6(v6)) => v6,
        _ => NO_IP6,
    }
}

fn parties(me: &Pod<'_>, other: &Pod<'_>) -> Parties {
    let (mac, other_mac) = (me.mac().0, other.mac().0);
    Parties {
        mac,
        ip4: v4(me).octets(),
        ip6: v6(me).octets(),
        ll6: ebpf::abi::eui64_link_local(mac),
        other_mac,
        other_ip4: v4(other).octets(),
        other_ip6: v6(other).octets(),
        other_ll6: ebpf::abi::eui64_link_local(other_mac),
    }
}

/// What both walls have counted for the pod.
fn counted(lab: &Lab, pod: &Pod<'_>) -> Counts {
    let all = lab.agent().drops().expect("drops");
    let ours = all.into_iter().filter(|one| pod.is_in(one.endpoint.as_ref()));
    let row = |count: control::ReasonCount| {
        (u64::try_from(count.reason).unwrap_or_default(), [count.ebpf, count.openflow])
    };
    ours.flat_map(|one| one.reasons).map(row).collect()
}

/// What both walls must count. On the kernel datapath the second one sees only what the first one let pass.
fn due(lab: &Lab, cases: &[Case]) -> Counts {
    let mut due = Counts::new();
    for case in cases {
        if let Verdict::Drop(reason) = case.ebpf {
            due.entry(reason as u64).or_default()[0] += 1;
        }
        if let (Datapath::Userspace, true, Verdict::Drop(reason)) =
            (lab.datapath(), is_agreed(case), case.openflow)
        {
            due.entry(reason as u64).or_default()[1] += 1;
        }
    }
    due
}

/// Whether a frame comes to the neighbour: the walls let it pass, and a bridge sends nothing back where it came from.
fn arrives(lab: &Lab, case: &Case) -> bool {
    let to_itself = case.frame[..6] == case.frame[6..12];
    let verdict = match lab.datapath() {
        Datapath::Userspace => case.openflow,
        Datapath::Kernel => case.ebpf,
    };
    verdict == Verdict::Pass && !to_itself
}

/// Whether the arrival of a frame tells about the walls. Where they differ, OVS could not read the frame as we do: what
/// its userspace datapath then makes of it depends on the frames before, and the kernel's parser is another one.
fn is_told(lab: &Lab, case: &Case) -> bool {
    is_agreed(case) || (lab.datapath() == Datapath::Kernel && case.ebpf != Verdict::Pass)
}

fn is_agreed(case: &Case) -> bool {
    case.difference.is_empty()
}

/// How often each frame is among `frames`.
fn tally<'a>(frames: impl Iterator<Item = &'a [u8]>) -> BTreeMap<&'a [u8], usize> {
    let mut tally = BTreeMap::new();
    for frame in frames {
        *tally.entry(frame).or_default() += 1;
    }
    tally
}

/// Sends every frame of a kind from a pod drawn with these keys; compares arrivals and counters with the corpus.
#[track_caller]
fn check(kind: Kind, guard: Option<Value>, addresses: &[&str]) {
    let lab = Lab::usual();
    let mut drawing = lab.pod("me");
    for address in addresses {
        drawing = drawing.address(address);
    }
    if let Some(guard) = guard {
        drawing = drawing.key("guard", guard);
    }
    let (me, other) = (drawing.up(), lab.pod("other").up());
    me.assert_reaches(other.v4());
    let all = cases(&parties(&me, &other));
    let cases: Vec<Case> = all.into_iter().filter(|case| case.kind == kind).collect();
    assert!(!cases.is_empty(), "the corpus has frames of {kind:?}");

    // Frames that OVS cannot read go last: they leave flows in its cache that others meet.
    let (agreed, others): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(is_agreed);
    for cases in [agreed, others] {
        let before = counted(&lab, &me);
        let arrived = fire(&me, &other, &cases);
        let due = due(&lab, &cases);
        let counters = wait_for(lab.within_seconds(COUNTED_WITHIN_SECONDS), || {
            differences(&lab, &before, &counted(&lab, &me), &due, &cases)
        });
        let wrong = [wrong_arrivals(&lab, &cases, &arrived), counters.err().into_iter().collect()].concat();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    lab.finish();
}

/// Sends the frames a few at a time, each volley closed by an honest datagram whose arrival is awaited: the socket
/// through which the userspace datapath reads a port holds a few hundred frames, then it drops. What has arrived.
fn fire(me: &Pod<'_>, other: &Pod<'_>, cases: &[Case]) -> Vec<Vec<u8>> {
    let (seen, out) = (other.wire(), me.wire());
    let us = Identity { mac: me.mac(), v4: v4(me), v6: v6(me) };
    let everyone = Identity { mac: Mac([0xff; 6]), v4: Ipv4Addr::BROADCAST, ..us };
    let mut arrived = Vec::new();
    for (volley, port) in cases.chunks(VOLLEY).zip(4711..) {
        for case in volley {
            out.send(&case.on_wire()).unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
        }
        let marker = udp(us, everyone, (port, 9));
        out.send(&marker).expect("a marker");
        arrived.extend(seen.all_until(ARRIVES_WITHIN, |got| got == marker).expect("the marker"));
    }
    // On the kernel datapath the marker overtakes frames that the switch meets for the first time.
    arrived.extend(seen.all_until_silence(SILENCE).expect("the stragglers"));
    arrived
}

/// What came to the neighbour and should not have, or the other way round.
fn wrong_arrivals(lab: &Lab, cases: &[Case], arrived: &[Vec<u8>]) -> Vec<String> {
    let arrived = tally(arrived.iter().map(Vec::as_slice));
    let passing: Vec<&Case> = cases.iter().filter(|case| arrives(lab, case)).collect();
    let expected = tally(passing.iter().map(|case| case.frame.as_slice()));
    cases
        .iter()
        .filter(|case| is_told(lab, case))
        .map(|case| {
            let frame = case.frame.as_slice();
            (case.name, arrived.get(frame).copied().unwrap_or(0), expected.get(frame).copied().unwrap_or(0))
        })
        // The agent announces the pod's addresses with frames that are in the corpus too.
        .filter(|(_, arrived, expected)| arrived < expected || (*expected == 0 && *arrived > 0))
        .map(|(name, arrived, expected)| format!("{name}: arrived {arrived} times instead of {expected}"))
        .collect()
}

fn differences(lab: &Lab, before: &Counts, now: &Counts, due: &Counts, cases: &[Case]) -> Result<(), String> {
    let mut wrong = Vec::new();
    let reasons: BTreeSet<&u64> = due.keys().chain(now.keys()).collect();
    for reason in reasons {
        let at = |counts: &Counts| counts.get(reason).copied().unwrap_or_default();
        let (old, new, due) = (at(before), at(now), at(due));
        let is_counted = lab.datapath() == Datapath::Userspace && cases.iter().all(is_agreed);
        let openflow = if is_counted { new[1] - old[1] } else { 0 };
        let more = [new[0] - old[0], openflow];
        if more != due {
            let of = |case: &&Case| [case.ebpf, case.openflow].iter().any(|v| is_drop_for(*v, *reason));
            let names: Vec<&str> = cases.iter().filter(of).map(|case| case.name).collect();
            wrong.push(format!(
                "reason {reason}: eBPF and OpenFlow counted {more:?} instead of {due:?}: {names:?}"
            ));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn is_drop_for(verdict: Verdict, reason: u64) -> bool {
    matches!(verdict, Verdict::Drop(why) if why as u64 == reason)
}

#[test]
fn both_walls_agree_with_the_corpus_on_a_dual_stack_pod() {
    check(Kind::Dual, None, &[]);
}

#[test]
fn both_walls_agree_with_the_corpus_on_an_ipv4_pod() {
    check(Kind::Ip4Only, None, &["10.0.0.5/24"]);
}

#[test]
fn both_walls_agree_with_the_corpus_on_a_dhcp_client() {
    check(Kind::Dhcp, Some(json!({ "mode": "full", "dhcp": true })), &[]);
}

#[test]
fn both_walls_agree_with_the_corpus_on_a_pod_that_may_ask_routers() {
    check(Kind::Slaac, Some(json!({ "mode": "full", "slaac": true })), &[]);
}

#[test]
fn both_walls_agree_with_the_corpus_in_mode_mac() {
    check(Kind::MacOnly, Some(json!({ "mode": "mac" })), &[]);
}
