//! The copies in arrays: a frame gets the same verdict whether its endpoint has one or not.

use aya::maps::{Array, Map, MapData};
use ebpf::{
    Dataplane, Role,
    abi::{
        BridgeFlags, L2Key, Local, LocalFlags, NearLocal, NearPort, Port, PortFlags, Stage, mac_word, maps,
    },
    corpus::{self, Kind, Verdict, build},
};

use crate::lab::{Lab, Pod, in_lab, ip};

const NEXT: i32 = -1;
const SHOT: i32 = 2;
const REDIRECT: i32 = 7;
const LEASE_NS: u64 = 30_000_000_000;

/// A device whose entry wants the same place as the pod's; its ifindex.
fn rival(pod: &Pod) -> u32 {
    let ifindex = pod.ifindex + maps::PLACES;
    ip(&format!("link add rival index {ifindex} type veth peer name rival-peer"));
    assert_eq!(NearPort::place(ifindex), NearPort::place(pod.ifindex));
    ifindex
}

fn datagram(pod: &Pod) -> Vec<u8> {
    let packet = build::ipv4(pod.id.ip4, pod.id.other_ip4, 17, &build::udp(4000, 4001, &[0; 64]));
    build::ethernet(pod.id.other_mac, pod.id.mac, 0x0800, &packet)
}

#[test]
fn without_a_copy_the_corpus_gets_the_same_verdicts() {
    in_lab(|lab| {
        let (mut d, pod) = (lab.open(), Pod::new(1));
        d.set_port(rival(&pod), &Port { slot: 9, ..pod.port() }).unwrap();
        d.set_port(pod.ifindex, &pod.port()).unwrap();
        let mut wrong = Vec::new();
        for case in corpus::cases(&pod.id) {
            if case.kind != Kind::Dual || case.tag.is_some() || case.frame.len() < 54 {
                continue;
            }
            let expected = if case.ebpf == Verdict::Pass { NEXT } else { SHOT };
            let verdict = d.hooks.test_run(Role::FromPod, &case.frame, pod.ifindex, 1).unwrap().verdict;
            if verdict != expected {
                wrong.push(format!("{}: {verdict}, expected {expected}", case.name));
            }
        }
        assert!(wrong.is_empty(), "{} frames:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn two_ports_that_want_one_place_are_told_apart() {
    in_lab(|lab| {
        let (mut d, pod) = (lab.open(), Pod::new(1));
        let rival = rival(&pod);
        let stranger = Port { slot: 9, mac: [2, 0, 0, 0, 9, 9], ..pod.port() };
        let verdicts = |d: &Dataplane| {
            [pod.ifindex, rival]
                .map(|i| d.hooks.test_run(Role::FromPod, &datagram(&pod), i, 1).unwrap().verdict)
        };
        d.set_port(pod.ifindex, &pod.port()).unwrap();
        d.set_port(rival, &stranger).unwrap();
        assert_eq!(verdicts(&d), [NEXT, SHOT]);
        assert_eq!((d.counters(pod.slot).unwrap().passed(), d.counters(9).unwrap().passed()), (1, 0));
        d.set_port(pod.ifindex, &Port { stage: Stage::CLOSED, ..pod.port() }).unwrap();
        assert_eq!(verdicts(&d), [SHOT, SHOT], "a closed gate");
        d.set_port(rival, &Port { slot: 9, ..pod.port() }).unwrap();
        assert_eq!(verdicts(&d), [SHOT, NEXT], "the place was free");
        d.set_port(pod.ifindex, &pod.port()).unwrap();
        d.remove_port(rival).unwrap();
        assert_eq!(verdicts(&d), [NEXT, SHOT], "an entry that was removed");
    });
}

#[test]
fn two_neighbours_that_want_one_place_are_both_reached() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        let place = |mac| NearLocal::place(mac_word(mac));
        let twin = (0..=u16::MAX)
            .map(|n| [6, 0, 0, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]])
            .find(|mac| place(*mac) == place(b.id.mac));
        let twin = twin.expect("65,536 MACs take every place");
        d.set_port(a.ifindex, &Port { flags: PortFlags::ACCEL, ..a.port() }).unwrap();
        d.set_bridge(1, BridgeFlags::ACCEL_OK).unwrap();
        d.set_lease(ebpf::ktime_ns() + LEASE_NS).unwrap();
        let verdicts = |d: &Dataplane| {
            [b.id.mac, twin].map(|mac| {
                let frame = build::ethernet(mac, a.id.mac, 0x0800, &datagram(&a)[14..]);
                d.hooks.test_run(Role::FromPod, &frame, a.ifindex, 1).unwrap().verdict
            })
        };
        let local = |slot| Local { ifindex: b.ifindex, slot, mtu: 1500, flags: LocalFlags::NONE };
        d.set_local(&L2Key::new(1, 0, b.id.mac), &local(2)).unwrap();
        d.set_local(&L2Key::new(1, 0, twin), &local(3)).unwrap();
        assert_eq!(verdicts(&d), [REDIRECT, REDIRECT]);
        d.remove_local(&L2Key::new(1, 0, b.id.mac)).unwrap();
        assert_eq!(verdicts(&d), [NEXT, REDIRECT]);
        d.remove_local(&L2Key::new(1, 0, twin)).unwrap();
        assert_eq!(verdicts(&d), [NEXT, NEXT]);
    });
}

#[test]
fn copies_that_an_agent_stopped_amid_a_write_left_behind_are_mended() {
    in_lab(|lab| {
        let (mut d, pod) = (lab.open(), Pod::new(1));
        let gone = rival(&pod) + 1;
        ip(&format!("link add gone index {gone} type veth peer name gone-peer"));
        d.set_port(gone, &pod.port()).unwrap();
        let place = NearPort::place(gone);
        let left = copies(lab).get(&place, 0).unwrap();
        d.remove_port(gone).unwrap();
        copies(lab).set(place, left, 0).unwrap();
        let verdict =
            |d: &Dataplane| d.hooks.test_run(Role::FromPod, &datagram(&pod), gone, 1).unwrap().verdict;
        assert_eq!(verdict(&d), NEXT, "the stage is set: the copy counts");
        drop(d);
        assert_eq!(verdict(&lab.open()), SHOT);
    });
}

/// The array itself, from its pin.
fn copies(lab: &Lab) -> Array<MapData, [u8; size_of::<NearPort>()]> {
    let entries = std::fs::read_dir(lab.bpf_dir()).unwrap().map(|e| e.unwrap().path());
    let layout = entries.into_iter().find(|p| !p.ends_with("links")).unwrap();
    let map = MapData::from_pin(layout.join(maps::NEAR_PORTS)).unwrap();
    Array::try_from(Map::Array(map)).unwrap()
}
