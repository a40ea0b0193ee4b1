//! The watch on addresses: who is told of whom, and how often.

use std::{thread, time::Duration};

use ebpf::{
    AttachKind, Dataplane, FactRing, Role,
    abi::{
        AddrKey, Counter, Fact, FactKind, GATEWAY_SLOT, Place, Port, TRUNK, Uplink, Watch, maps, v4_mapped,
    },
    corpus::{
        self, Identity,
        build::{
            ALL_NODES, ALL_NODES_MAC, BROADCAST, UNSPECIFIED6, arp, ethernet, icmp6, link_layer, neighbour,
            solicited,
        },
    },
};

use crate::lab::{Pod, eventually, in_lab, send};

/// Longer than the pause after which the same claim is told again.
const REPEAT: Duration = Duration::from_millis(120);
/// Longer than the pause after which another claim is told.
const OTHER: Duration = Duration::from_millis(15);

/// The watched pod's neighbour sees claims on the pod's addresses.
struct Scene {
    dataplane: Dataplane,
    facts: FactRing,
    /// Whose addresses are watched.
    holder: Identity,
    key4: AddrKey,
    key6: AddrKey,
}

const STRANGER: [u8; 6] = [6, 6, 6, 6, 6, 6];
const VLAN: u16 = 30;
const BRIDGE: u16 = 1;

impl Scene {
    fn new(dataplane: Dataplane, pod: &Pod) -> Scene {
        let facts = dataplane.facts().unwrap();
        let holder = Identity::numbered(9);
        let key4 = AddrKey::new(BRIDGE, VLAN, v4_mapped(holder.ip4));
        let key6 = AddrKey::new(BRIDGE, VLAN, holder.ip6);
        let mut scene = Scene { dataplane, facts, holder, key4, key6 };
        scene.dataplane.set_port(pod.ifindex, &Port { vlan: VLAN, ..pod.port() }).unwrap();
        scene.rewrite();
        scene
    }

    fn rewrite(&mut self) {
        for key in [self.key4, self.key6] {
            self.dataplane.set_watch(&key, &Watch::new(9, 5, self.holder.mac)).unwrap();
        }
    }

    fn deliver(&self, pod: &Pod, frame: &[u8]) {
        let run = self.dataplane.hooks.test_run(Role::ToPod, frame, pod.ifindex, 1).unwrap();
        assert_eq!(run.verdict, -1, "the watch never changes what happens to a frame");
    }

    fn told(&mut self) -> Vec<Fact> {
        std::iter::from_fn(|| self.facts.next()).collect()
    }
}

fn arp_frame(src: [u8; 6], op: u16, spa: [u8; 4], tpa: [u8; 4]) -> Vec<u8> {
    ethernet(BROADCAST, src, 0x0806, &arp(op, src, spa, [0; 6], tpa))
}

fn advert(src: [u8; 6], ip: [u8; 16], target: [u8; 16], hops: u8, options: &[u8]) -> Vec<u8> {
    ethernet(ALL_NODES_MAC, src, 0x86dd, &icmp6(ip, ALL_NODES, hops, &neighbour(136, 0, target, options)))
}

fn solicit(src: [u8; 6], ip: [u8; 16], target: [u8; 16], options: &[u8]) -> Vec<u8> {
    let (group, mac) = solicited(target);
    ethernet(mac, src, 0x86dd, &icmp6(ip, group, 255, &neighbour(135, 0, target, options)))
}

/// Each way to speak for the holder's addresses, by a MAC.
fn claims(holder: &Identity, mac: [u8; 6]) -> [(FactKind, Vec<u8>); 10] {
    let (ip4, ip6, else4, else6) = (holder.ip4, holder.ip6, holder.other_ip4, holder.other_ip6);
    let (source, target) = (link_layer(1, mac), link_layer(2, mac));
    [
        (FactKind::ARP_CLAIM, arp_frame(mac, 1, ip4, else4)),
        (FactKind::ARP_CLAIM, arp_frame(mac, 2, ip4, ip4)),
        (FactKind::ARP_CLAIM, ethernet(BROADCAST, [8; 6], 0x0806, &arp(2, mac, ip4, [0; 6], ip4))),
        (FactKind::ARP_PROBE, arp_frame(mac, 1, [0; 4], ip4)),
        (FactKind::NA_CLAIM, advert(mac, ip6, ip6, 255, &target)),
        (FactKind::NA_CLAIM, advert(mac, else6, ip6, 255, &[])),
        (
            FactKind::NA_CLAIM,
            advert([8; 6], ip6, ip6, 255, &[&[200, 1, 0, 0, 0, 0, 0, 0], &target[..]].concat()),
        ),
        (FactKind::DAD_PROBE, solicit(mac, UNSPECIFIED6, ip6, &[])),
        (FactKind::NS_CLAIM, solicit(mac, ip6, else6, &source)),
        (FactKind::NS_CLAIM, solicit(mac, ip6, else6, &[])),
    ]
}

#[test]
fn every_kind_of_claim_by_a_stranger_is_told() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        for (kind, frame) in claims(&scene.holder, STRANGER) {
            scene.rewrite();
            let before = ebpf::ktime_ns();
            scene.deliver(&pod, &frame);
            let key = if frame[12] == 8 { scene.key4 } else { scene.key6 };
            let [fact] = scene.told()[..] else { panic!("{kind} was not told once") };
            assert!((before..=ebpf::ktime_ns()).contains(&fact.at_ns));
            let expected = Fact {
                at_ns: fact.at_ns,
                bridge: BRIDGE,
                vlan: VLAN,
                ifindex: pod.ifindex,
                slot: 9,
                generation: 5,
                addr: key.addr,
                mac: STRANGER,
                kind,
                place: Place::TO_POD,
                holder: scene.holder.mac,
                pad: 0,
            };
            assert_eq!(fact, expected);
        }
    });
}

#[test]
fn the_holder_itself_is_seen_and_not_told() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        for (kind, frame) in claims(&scene.holder, scene.holder.mac) {
            scene.rewrite();
            let before = ebpf::ktime_ns();
            scene.deliver(&pod, &frame);
            let key = if frame[12] == 8 { scene.key4 } else { scene.key6 };
            let seen = scene.dataplane.watch(&key).unwrap().unwrap().seen_ns;
            assert!((before..=ebpf::ktime_ns()).contains(&seen), "{kind}");
            assert_eq!(scene.told(), [], "{kind}");
        }
    });
}

#[test]
fn what_speaks_for_nobody_watched_is_not_told() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        let h = scene.holder;
        let bent =
            |at: usize, value| corpus::build::with_byte(arp_frame(STRANGER, 2, h.ip4, h.ip4), 14 + at, value);
        let mut cut = arp_frame(STRANGER, 2, h.ip4, h.ip4);
        cut.truncate(40);
        for (what, frame) in [
            ("an address of nobody", arp_frame(STRANGER, 2, h.other_ip4, h.ip4)),
            ("a question", arp_frame(STRANGER, 1, h.other_ip4, h.ip4)),
            ("a reply from zero", arp_frame(STRANGER, 2, [0; 4], h.ip4)),
            ("another hardware type", bent(1, 6)),
            ("another protocol", bent(2, 9)),
            ("a cut packet", cut),
            ("an advertisement from afar", advert(STRANGER, h.ip6, h.ip6, 64, &[])),
            ("an advertisement of nobody", advert(STRANGER, h.ip6, h.other_ip6, 255, &[])),
            ("a solicitation", solicit(STRANGER, h.other_ip6, h.ip6, &link_layer(1, STRANGER))),
            (
                "traffic",
                ethernet(h.mac, STRANGER, 0x0800, &corpus::build::ipv4(h.ip4, h.other_ip4, 17, &[0; 8])),
            ),
        ] {
            scene.deliver(&pod, &frame);
            assert_eq!(scene.told(), [], "{what}");
        }
        let frame = arp_frame(STRANGER, 2, h.ip4, h.ip4);
        for port in [Port { vlan: VLAN + 1, ..pod.port() }, Port { bridge: 2, vlan: VLAN, ..pod.port() }] {
            scene.dataplane.set_port(pod.ifindex, &port).unwrap();
            scene.deliver(&pod, &frame);
            assert_eq!(scene.told(), [], "another VLAN or bridge");
        }
        scene.dataplane.remove_port(pod.ifindex).unwrap();
        scene.deliver(&pod, &frame);
        assert_eq!(scene.told(), [], "a device without an entry");
    });
}

#[test]
fn the_whole_corpus_passes_the_watch() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        scene.dataplane.set_uplink(pod.ifindex, &Uplink::new(BRIDGE)).unwrap();
        for case in corpus::cases(&scene.holder).iter().filter(|c| c.frame.len() >= 54) {
            for role in [Role::ToPod, Role::Uplink] {
                let run = scene.dataplane.hooks.test_run(role, &case.frame, pod.ifindex, 1).unwrap();
                assert_eq!(run.verdict, -1, "{role} {}", case.name);
            }
        }
    });
}

#[test]
fn a_storm_is_told_in_measure_and_a_rewritten_entry_at_once() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        let h = scene.holder;
        let by = |mac| arp_frame(mac, 2, h.ip4, h.ip4);
        let storm = |scene: &Scene, mac| {
            scene.dataplane.hooks.test_run(Role::ToPod, &by(mac), pod.ifindex, 1000).unwrap();
        };
        storm(&scene, STRANGER);
        assert_eq!(scene.told().len(), 1, "the same claim once");
        scene.rewrite();
        storm(&scene, STRANGER);
        assert_eq!(scene.told().len(), 1, "a rewritten entry tells at once");
        thread::sleep(OTHER);
        storm(&scene, [8; 6]);
        let told = scene.told();
        assert_eq!((told.len(), told[0].mac), (1, [8; 6]), "another MAC soon after");
        thread::sleep(OTHER);
        scene.deliver(&pod, &arp_frame([8; 6], 1, [0; 4], h.ip4));
        assert_eq!(scene.told().len(), 1, "another kind soon after");
        thread::sleep(REPEAT);
        scene.deliver(&pod, &arp_frame([8; 6], 1, [0; 4], h.ip4));
        assert_eq!(scene.told().len(), 1, "the same again after a while");
    });
}

#[test]
fn a_gateway_whose_mac_is_not_known_yet_is_told() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        scene.dataplane.set_watch(&scene.key4, &Watch::new(GATEWAY_SLOT, 7, [0; 6])).unwrap();
        scene.deliver(&pod, &arp_frame(scene.holder.mac, 2, scene.holder.ip4, pod.id.ip4));
        let [fact] = scene.told()[..] else { panic!("not told once") };
        assert_eq!(
            (fact.slot, fact.generation, fact.mac, fact.holder),
            (GATEWAY_SLOT, 7, scene.holder.mac, [0; 6])
        );
    });
}

#[test]
fn a_full_ring_is_counted_and_the_claim_is_told_later() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        let frame = arp_frame(STRANGER, 2, scene.holder.ip4, scene.holder.ip4);
        let capacity = maps::FACTS_BYTES / 64;
        for _ in 0..capacity + 10 {
            scene.rewrite();
            scene.deliver(&pod, &frame);
        }
        let lost = scene.dataplane.counters(0).unwrap().of(Counter::FactsLost);
        assert!((10..=12).contains(&lost), "{lost} lost");
        assert_eq!(scene.dataplane.watch(&scene.key4).unwrap().unwrap().reported_ns, 0, "not noted as told");
        assert_eq!(scene.told().len(), usize::try_from(u64::from(capacity) + 10 - lost).unwrap());
        scene.deliver(&pod, &frame);
        assert_eq!(scene.told().len(), 1);
    });
}

#[test]
fn on_a_trunk_and_an_uplink_the_tag_says_the_vlan() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut scene = Scene::new(lab.open(), &pod);
        let h = scene.holder;
        let plain = arp_frame(STRANGER, 2, h.ip4, h.ip4);
        let advert = advert(STRANGER, h.ip6, h.ip6, 255, &link_layer(2, STRANGER));
        let tagged =
            |frame: &[u8], vid: u16| [&frame[..12], &[0x81, 0], &vid.to_be_bytes(), &frame[12..]].concat();
        scene.dataplane.set_port(pod.ifindex, &Port { vlan: TRUNK, ..pod.port() }).unwrap();
        scene.dataplane.set_uplink(pod.ifindex, &Uplink::new(BRIDGE)).unwrap();
        scene.dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        // Out of the node's end: a packet socket leaves the tag in the bytes.
        for (frame, vid, times) in
            [(&plain, VLAN, 1), (&plain, VLAN + 1, 0), (&advert, VLAN, 1), (&advert, 0, 0)]
        {
            scene.rewrite();
            send(&pod.ifname, &tagged(frame, vid));
            send(&pod.ifname, frame);
            let told = scene.told();
            assert_eq!(told.len(), times, "VLAN {vid}");
            assert!(told.iter().all(|f| f.vlan == VLAN && f.place == Place::TO_POD && f.mac == STRANGER));
        }
        // Into the node's end: the kernel takes the tag out of the bytes before the hook.
        scene.dataplane.hooks.detach(pod.ifindex).unwrap();
        scene.dataplane.hooks.attach_uplink(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        for (frame, vid, times) in
            [(&plain, VLAN, 1), (&plain, VLAN + 1, 0), (&advert, VLAN, 1), (&advert, 0, 0)]
        {
            scene.rewrite();
            let before = scene.dataplane.watch(&scene.key4).unwrap();
            pod.send(frame);
            pod.send(&tagged(frame, vid));
            // What is not to be told leaves no trace to wait for: the next frame, which is told, ends the wait.
            scene.dataplane.set_watch(&AddrKey::new(BRIDGE, 0, [7; 16]), &Watch::new(1, 1, [0; 6])).unwrap();
            pod.send(&self::advert(STRANGER, [7; 16], [7; 16], 255, &[]));
            let mut told = Vec::new();
            eventually("the last frame is told", || {
                told.extend(scene.told());
                told.iter().any(|f: &Fact| f.addr == [7; 16])
            });
            told.retain(|f| f.addr != [7; 16]);
            assert_eq!(told.len(), times, "VLAN {vid}, before {before:?}");
            assert!(told.iter().all(|f| f.vlan == VLAN && f.place == Place::UPLINK && f.mac == STRANGER));
        }
    });
}
