//! The way past the bridge: what takes it, what does not, and that it arrives.

use std::{net::UdpSocket, time::Duration};

use ebpf::{
    AttachKind, Dataplane, Role,
    abi::{BridgeFlags, Counter, L2Key, Local, LocalFlags, Mode, Port, PortFlags, TRUNK},
    corpus::{self, build},
};

use crate::lab::{DELIVERY, Pod, in_lab, ip};

const NEXT: i32 = -1;
const REDIRECT: i32 = 7;
/// The programs may see a time that is older by a tick of the kernel, at most this.
const TICK_NS: u64 = 10_000_000;
const LEASE_NS: u64 = 30_000_000_000;

fn accelerated(pod: &Pod) -> Port {
    Port { flags: PortFlags::ACCEL, ..pod.port() }
}

fn local(pod: &Pod) -> (L2Key, Local) {
    let value = Local { ifindex: pod.ifindex, slot: pod.slot, mtu: 1500, flags: LocalFlags::NONE };
    (L2Key::new(1, 0, pod.id.mac), value)
}

/// Everything that acceleration between two pods needs.
fn allow(d: &mut Dataplane, pods: [&Pod; 2]) {
    for pod in pods {
        let (key, value) = local(pod);
        d.set_port(pod.ifindex, &accelerated(pod)).unwrap();
        d.set_local(&key, &value).unwrap();
        d.zero_counters(pod.slot).unwrap();
    }
    d.set_bridge(1, BridgeFlags::ACCEL_OK).unwrap();
    d.set_lease(ebpf::ktime_ns() + LEASE_NS).unwrap();
}

fn datagram(a: &Pod) -> Vec<u8> {
    let packet = build::ipv4(a.id.ip4, a.id.other_ip4, 17, &build::udp(4000, 4001, &[0; 64]));
    build::ethernet(a.id.other_mac, a.id.mac, 0x0800, &packet)
}

#[test]
fn a_plain_frame_to_a_neighbour_goes_past_the_bridge_and_is_counted_on_both_sides() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        allow(&mut d, [&a, &b]);
        let frame = datagram(&a);
        assert_eq!(d.hooks.test_run(Role::FromPod, &frame, a.ifindex, 3).unwrap().verdict, REDIRECT);
        let (tx, rx) = (d.counters(a.slot).unwrap(), d.counters(b.slot).unwrap());
        let bytes = 3 * frame.len() as u64;
        assert_eq!(
            (tx.of(Counter::AccelTxPackets), tx.of(Counter::AccelTxBytes), tx.passed()),
            (3, bytes, 3)
        );
        assert_eq!(
            (rx.of(Counter::AccelRxPackets), rx.of(Counter::AccelRxBytes), rx.passed()),
            (3, bytes, 0)
        );
    });
}

#[test]
fn only_plain_unicast_frames_that_the_guard_lets_pass_take_the_way() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        allow(&mut d, [&a, &b]);
        let expected = [
            "untagged",
            "TCP",
            "UDP with an empty payload",
            "UDP padded to 60 bytes",
            "SCTP",
            "echo request",
            "echo reply",
            "do not fragment",
            "with router alert",
            "IPv6 of its own",
            "IPv6 from the own link-local address",
            "TCP over IPv6",
            "SCTP over IPv6",
            "echo request over IPv6",
            "echo reply over IPv6",
        ];
        for case in corpus::cases(&a.id) {
            let readable = case.tag.is_none() && case.frame.len() >= 54 && case.kind == corpus::Kind::Dual;
            if !readable || case.frame[..6] != a.id.other_mac {
                continue;
            }
            let verdict = d.hooks.test_run(Role::FromPod, &case.frame, a.ifindex, 1).unwrap().verdict;
            if expected.contains(&case.name) {
                assert_eq!(verdict, REDIRECT, "{}", case.name);
            }
            if case.ebpf != corpus::Verdict::Pass {
                assert_eq!(verdict, 2, "{}", case.name);
            }
            let never = [
                "ARP",
                "fragment",
                "olicitation",
                "dvertisement",
                "GRE",
                "ESP",
                "IGMP",
                "IPv4 in",
                "IPv6 in",
                "VRRP",
                "ICMP ",
            ];
            let atomic = case.name.contains("atomic");
            if never.iter().any(|n| case.name.contains(n)) && case.name != "do not fragment" && !atomic {
                assert_ne!(verdict, REDIRECT, "{}", case.name);
            }
        }
        let group = build::ethernet(build::BROADCAST, a.id.mac, 0x0800, &datagram(&a)[14..]);
        assert_eq!(d.hooks.test_run(Role::FromPod, &group, a.ifindex, 1).unwrap().verdict, NEXT);
    });
}

/// What is changed, and how the scene is changed.
type Change = fn(&mut Dataplane, &Pod, &Pod);

#[test]
fn each_condition_alone_switches_it_off() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        let frame = datagram(&a);
        let changes: [(&str, Change, i32); 12] = [
            ("nothing", |_, _, _| {}, REDIRECT),
            ("no flag on the port", |d, a, _| d.set_port(a.ifindex, &a.port()).unwrap(), NEXT),
            ("no lease", |d, _, _| d.set_lease(0).unwrap(), NEXT),
            ("a lease that ran out", |d, _, _| d.set_lease(ebpf::ktime_ns() - TICK_NS).unwrap(), NEXT),
            ("the bridge forbids it", |d, _, _| d.set_bridge(1, BridgeFlags::NONE).unwrap(), NEXT),
            ("no such neighbour", |d, _, b| d.remove_local(&local(b).0).unwrap(), NEXT),
            (
                "the neighbour does not want it",
                |d, _, b| {
                    let (key, value) = local(b);
                    d.set_local(&key, &Local { flags: LocalFlags::NO_ACCEL_IN, ..value }).unwrap();
                },
                NEXT,
            ),
            (
                "the neighbour's MTU is smaller",
                |d, _, b| {
                    let (key, value) = local(b);
                    d.set_local(&key, &Local { mtu: 1499, ..value }).unwrap();
                },
                NEXT,
            ),
            (
                "another VLAN",
                |d, a, _| d.set_port(a.ifindex, &Port { vlan: 5, ..accelerated(a) }).unwrap(),
                NEXT,
            ),
            (
                "another bridge",
                |d, a, _| d.set_port(a.ifindex, &Port { bridge: 2, ..accelerated(a) }).unwrap(),
                NEXT,
            ),
            (
                "a trunk",
                |d, a, _| {
                    let flags = PortFlags::ACCEL | PortFlags::VLAN_ANY;
                    d.set_port(a.ifindex, &Port { vlan: TRUNK, flags, ..accelerated(a) }).unwrap();
                },
                NEXT,
            ),
            (
                "mode mac keeps it",
                |d, a, _| d.set_port(a.ifindex, &Port { mode: Mode::MAC, ..accelerated(a) }).unwrap(),
                REDIRECT,
            ),
        ];
        for (what, change, expected) in changes {
            allow(&mut d, [&a, &b]);
            change(&mut d, &a, &b);
            assert_eq!(
                d.hooks.test_run(Role::FromPod, &frame, a.ifindex, 1).unwrap().verdict,
                expected,
                "{what}"
            );
        }
        allow(&mut d, [&a, &b]);
        let to_itself = build::ethernet(a.id.mac, a.id.mac, 0x0800, &frame[14..]);
        assert_eq!(
            d.hooks.test_run(Role::FromPod, &to_itself, a.ifindex, 1).unwrap().verdict,
            NEXT,
            "to itself"
        );
    });
}

#[test]
fn a_datagram_reaches_the_neighbours_socket_without_any_bridge() {
    in_lab(|lab| {
        let (mut d, a, b) = (lab.open(), Pod::new(1), Pod::new(2));
        for (me, other) in [(&a, &b), (&b, &a)] {
            d.hooks.attach_pod(me.ifindex, &me.ifname, AttachKind::Tcx).unwrap();
            let (own, theirs, [.., n]) = (me.id.ip4, other.id.ip4, other.id.mac);
            me.run(move || {
                ip(&format!("addr add {}/24 dev eth0", std::net::Ipv4Addr::from(own)));
                ip(&format!(
                    "neigh replace {} lladdr 02:00:00:00:00:{n:02x} dev eth0",
                    std::net::Ipv4Addr::from(theirs)
                ));
            });
        }
        allow(&mut d, [&a, &b]);
        let server = b.run(|| UdpSocket::bind("0.0.0.0:4001").unwrap());
        server.set_read_timeout(Some(DELIVERY)).unwrap();
        let to = (std::net::Ipv4Addr::from(b.id.ip4), 4001);
        let client = a.run(|| UdpSocket::bind("0.0.0.0:4000").unwrap());
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.send_to(b"over", to).unwrap();
        let mut text = [0; 16];
        let (len, from) = server.recv_from(&mut text).expect("it arrives");
        assert_eq!(&text[..len], b"over");
        server.send_to(b"and back", from).unwrap();
        let (len, _) = client.recv_from(&mut text).expect("the answer arrives");
        assert_eq!(&text[..len], b"and back");
        for pod in [&a, &b] {
            let counters = d.counters(pod.slot).unwrap();
            assert_eq!((counters.of(Counter::AccelTxPackets), counters.of(Counter::AccelRxPackets)), (1, 1));
        }
    });
}
