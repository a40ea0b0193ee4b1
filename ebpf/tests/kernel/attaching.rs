//! Hanging the programs on devices, again and again, and taking them off.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use ebpf::{AttachKind, Attached, Attachment, Dataplane, Role, abi::Reason, corpus};

use crate::lab::{Lab, MAX_ENDPOINTS, Pod, chain, eventually, in_lab, ip, native_kind, open_at, run};

fn alone(kind: AttachKind) -> Attached {
    Attached { kind, foreign_before: false, foreign_any: false }
}

fn pins(lab: &Lab) -> Vec<PathBuf> {
    let links = fs::read_dir(lab.bpf_dir().join("links")).unwrap();
    links.map(|entry| entry.unwrap().path()).collect()
}

/// A frame that the guard drops, and one that it lets pass.
fn spoof_and_honest(pod: &Pod) -> (Vec<u8>, Vec<u8>) {
    let frame = |mac| corpus::build::ethernet(pod.id.other_mac, mac, 0x0806, &own_arp(pod));
    (frame(pod.id.other_mac), frame(pod.id.mac))
}

fn own_arp(pod: &Pod) -> Vec<u8> {
    corpus::build::arp(1, pod.id.mac, pod.id.ip4, [0; 6], pod.id.other_ip4)
}

fn guards(dataplane: &Dataplane, pod: &Pod) {
    let (spoof, honest) = spoof_and_honest(pod);
    let before = dataplane.counters(pod.slot).unwrap();
    pod.send(&spoof);
    pod.send(&honest);
    eventually("both frames are counted once", || {
        let now = dataplane.counters(pod.slot).unwrap();
        now.dropped(Reason::Mac) == before.dropped(Reason::Mac) + 1 && now.passed() == before.passed() + 1
    });
}

#[test]
fn attaching_twice_is_attaching_once() {
    for kind in [native_kind(), AttachKind::Clsact] {
        in_lab(move |lab| {
            let mut dataplane = lab.open();
            let pod = Pod::new(1);
            dataplane.set_port(pod.ifindex, &pod.port()).unwrap();
            for _ in 0..3 {
                assert_eq!(dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap(), alone(kind));
                guards(&dataplane, &pod);
            }
            assert_eq!(pins(lab).len(), 2);
        });
    }
}

#[test]
fn the_guard_goes_on_without_the_agent() {
    for kind in [native_kind(), AttachKind::Clsact] {
        in_lab(move |lab| {
            let pod = Pod::new(1);
            let mut dataplane = lab.open();
            dataplane.set_port(pod.ifindex, &pod.port()).unwrap();
            dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap();
            drop(dataplane);
            let (spoof, honest) = spoof_and_honest(&pod);
            pod.send(&spoof);
            pod.send(&honest);
            let dataplane = lab.open();
            eventually("what came meanwhile was counted", || {
                let counters = dataplane.counters(pod.slot).unwrap();
                (counters.passed(), counters.dropped(Reason::Mac)) == (1, 1)
            });
        });
    }
}

#[test]
fn a_restart_swaps_the_programs_and_misses_no_frame() {
    const RESTARTS: usize = 3;
    for kind in [native_kind(), AttachKind::Clsact] {
        in_lab(move |lab| {
            let pod = Pod::new(1);
            let mut dataplane = lab.open();
            dataplane.set_port(pod.ifindex, &pod.port()).unwrap();
            dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap();
            let (_, honest) = spoof_and_honest(&pod);
            let (stop, mut sent) = (AtomicBool::new(false), 0);
            thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    let frames = std::iter::from_fn(|| (!stop.load(Relaxed)).then(|| pod.send(&honest)));
                    frames.count() as u64
                });
                for _ in 0..RESTARTS {
                    let next = lab.open();
                    assert_eq!(next.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap(), alone(kind));
                    let old = dataplane.hooks.inspect(Role::FromPod, pod.ifindex, &pod.ifname).unwrap();
                    assert_eq!(old, None, "the program of the agent before is gone");
                    dataplane = next;
                }
                stop.store(true, Relaxed);
                sent = sender.join().unwrap();
            });
            assert!(sent > 100, "only {sent} frames went while the programs were swapped");
            eventually("every frame was seen by one program", || {
                dataplane.counters(pod.slot).unwrap().passed() == sent
            });
        });
    }
}

#[test]
fn a_link_that_lost_its_device_is_replaced() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let dataplane = lab.open();
        dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        ip(&format!("link del {}", pod.ifname));
        assert_eq!(dataplane.hooks.attachments().unwrap().len(), 2, "the pins outlive the device");
        // The kernel counts ifindexes up; given by hand, the old one comes back.
        ip(&format!("link add {} index {} type veth peer name other", pod.ifname, pod.ifindex));
        let attached = dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        assert_eq!(attached, alone(native_kind()));
    });
}

#[test]
fn tcx_takes_over_from_clsact_and_back() {
    if native_kind() == AttachKind::Clsact {
        return; // This kernel has one way only, and every other test walks it.
    }
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut dataplane = lab.open();
        dataplane.set_port(pod.ifindex, &pod.port()).unwrap();
        for kind in [AttachKind::Clsact, AttachKind::Tcx, AttachKind::Clsact, AttachKind::Tcx] {
            assert_eq!(dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap(), alone(kind));
            guards(&dataplane, &pod);
            assert_eq!(pins(lab).len(), 2, "{:?}", pins(lab));
        }
    });
}

#[test]
fn foreign_programs_are_seen_and_ours_comes_first() {
    if native_kind() == AttachKind::Clsact {
        return; // Two agents share one place there: the kernel has no second hook to be foreign on.
    }
    in_lab(|lab| {
        let pod = Pod::new(1);
        let (ours, foreign) = (lab.open(), lab.open_foreign());
        foreign.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        let attached = ours.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        assert_eq!(attached, Attached { kind: AttachKind::Tcx, foreign_before: false, foreign_any: true });
        foreign.hooks.detach(pod.ifindex).unwrap();
        assert_eq!(
            ours.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap(),
            alone(AttachKind::Tcx)
        );
        foreign.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        let attached = ours.hooks.inspect(Role::FromPod, pod.ifindex, &pod.ifname).unwrap().unwrap();
        assert!(attached.foreign_before && attached.foreign_any, "it went before ours: {attached:?}");
        foreign.hooks.detach(pod.ifindex).unwrap();
        foreign.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Clsact).unwrap();
        let attached = ours.hooks.inspect(Role::FromPod, pod.ifindex, &pod.ifname).unwrap().unwrap();
        assert!(!attached.foreign_before && attached.foreign_any, "clsact runs behind TCX: {attached:?}");
        ours.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        assert!(
            foreign.hooks.inspect(Role::ToPod, pod.ifindex, &pod.ifname).unwrap().is_some(),
            "left alone"
        );
    });
}

#[test]
fn detaching_leaves_nothing_behind() {
    for kind in [native_kind(), AttachKind::Clsact] {
        in_lab(move |lab| {
            let pod = Pod::new(1);
            let dataplane = lab.open();
            dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap();
            dataplane.hooks.detach(pod.ifindex).unwrap();
            for role in [Role::FromPod, Role::ToPod] {
                assert_eq!(dataplane.hooks.inspect(role, pod.ifindex, &pod.ifname).unwrap(), None);
            }
            assert_eq!(dataplane.hooks.attachments().unwrap(), []);
            dataplane.hooks.vacate(pod.ifindex).unwrap();
            assert!(!run("tc", &format!("qdisc show dev {}", pod.ifname)).contains("clsact"));
            dataplane.hooks.detach(pod.ifindex).unwrap();
            assert_eq!(dataplane.counters(0).unwrap().dropped(Reason::Unbound), 0);
            pod.send(&spoof_and_honest(&pod).1);
            assert_eq!(dataplane.counters(0).unwrap().dropped(Reason::Unbound), 0, "no program is there");
        });
    }
}

#[test]
fn what_hangs_on_a_vanished_device_is_listed_and_unpinned() {
    for kind in [native_kind(), AttachKind::Clsact] {
        in_lab(move |lab| {
            let (pod, uplink) = (Pod::new(1), Pod::new(2));
            let dataplane = lab.open();
            dataplane.hooks.attach_pod(pod.ifindex, &pod.ifname, kind).unwrap();
            dataplane.hooks.attach_uplink(uplink.ifindex, &uplink.ifname, kind).unwrap();
            ip(&format!("link del {}", pod.ifname));
            let at = |ifindex, role| Attachment { ifindex, role };
            let all = vec![
                at(pod.ifindex, Role::FromPod),
                at(pod.ifindex, Role::ToPod),
                at(uplink.ifindex, Role::Uplink),
            ];
            let next = lab.open();
            assert_eq!(next.hooks.attachments().unwrap(), all);
            dataplane.hooks.detach(pod.ifindex).unwrap();
            assert_eq!(next.hooks.attachments().unwrap(), all[2..]);
            dataplane.hooks.detach(uplink.ifindex).unwrap();
            assert_eq!(pins(lab), Vec::<PathBuf>::new());
        });
    }
}

#[test]
fn a_device_with_a_dot_in_its_name_can_be_an_uplink() {
    in_lab(|lab| {
        ip("link add bond0.100 type veth peer name member");
        let ifindex = nix::net::if_::if_nametoindex("bond0.100").unwrap();
        let dataplane = lab.open();
        let attached = dataplane.hooks.attach_uplink(ifindex, "bond0.100", AttachKind::Tcx).unwrap();
        assert_eq!(attached, alone(native_kind()));
    });
}

#[test]
fn a_name_that_belongs_to_another_device_is_refused() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let dataplane = lab.open();
        let wrong = dataplane.hooks.attach_pod(pod.ifindex + 1, &pod.ifname, AttachKind::Tcx).unwrap_err();
        assert_eq!(chain(&wrong), format!("ifindex {} is not veth1 but nobody's", pod.ifindex + 1));
        let gone = dataplane.hooks.attach_pod(pod.ifindex, "nowhere", AttachKind::Tcx).unwrap_err();
        assert_eq!(chain(&gone), format!("ifindex {} is not nowhere but veth1", pod.ifindex));
        assert_eq!(dataplane.hooks.attachments().unwrap(), []);
    });
}

#[test]
fn a_new_layout_swaps_the_programs_in_the_old_links() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut old = lab.open();
        old.set_port(pod.ifindex, &pod.port()).unwrap();
        old.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap();
        let mut new = open_at(&lab.bpf_dir(), MAX_ENDPOINTS * 2);
        assert!(new.ports().unwrap().is_empty(), "new maps are empty");
        let stale = new.stale_layouts().unwrap();
        assert_eq!(stale.len(), 1, "{stale:?}");
        new.set_port(pod.ifindex, &pod.port()).unwrap();
        assert_eq!(
            new.hooks.attach_pod(pod.ifindex, &pod.ifname, AttachKind::Tcx).unwrap(),
            alone(native_kind())
        );
        new.remove_layout(&stale[0]).unwrap();
        assert_eq!(new.stale_layouts().unwrap(), Vec::<String>::new());
        guards(&new, &pod);
        assert_eq!(old.counters(pod.slot).unwrap().passed(), 0, "the old program sees nothing any more");
    });
}
