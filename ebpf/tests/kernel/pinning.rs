//! The maps: what survives, what is refused, and that each says what it was told.

use std::fs;

use ebpf::{
    Dataplane, Error,
    abi::{
        AddrKey, BridgeFlags, GATEWAY_SLOT, L2Key, Local, LocalFlags, MacKey, SrcKey, SrcVal, Uplink,
        VlanKey, Watch, maps, v4_mapped,
    },
};

use crate::lab::{Lab, MAX_ENDPOINTS, Pod, chain, in_lab, open_at};

fn refusal(lab: &Lab, max_endpoints: u32) -> Error {
    match Dataplane::open(&lab.bpf_dir(), max_endpoints) {
        Ok(_) => panic!("it was opened"),
        Err(e) => e,
    }
}

#[test]
fn a_directory_that_is_not_on_a_bpffs_is_named() {
    in_lab(|_| {
        let plain = tempfile::tempdir().unwrap();
        let dir = plain.path().join("underpass");
        let Err(error) = Dataplane::open(&dir, MAX_ENDPOINTS) else { panic!("it was opened") };
        assert!(matches!(&error, Error::NotBpffs { path } if *path == dir), "{error}");
        assert!(!dir.exists(), "and nothing was made there");
    });
}

#[test]
fn a_number_of_endpoints_out_of_range_is_refused() {
    in_lab(|lab| {
        for n in [0, 8193, u32::MAX] {
            let text = refusal(lab, n).to_string();
            assert_eq!(text, format!("max_endpoints {n} is out of range 1 to 8192"));
        }
        open_at(&lab.bpf_dir(), 8192);
    });
}

#[test]
fn maps_survive_the_agent() {
    in_lab(|lab| {
        let pod = Pod::new(1);
        let mut dataplane = lab.open();
        dataplane.set_port(pod.ifindex, &pod.port()).unwrap();
        dataplane.set_lease(77).unwrap();
        drop(dataplane);
        let dataplane = lab.open();
        assert_eq!(dataplane.ports().unwrap().into_iter().collect::<Vec<_>>(), [(pod.ifindex, pod.port())]);
        assert_eq!(dataplane.lease().unwrap(), 77);
        assert_eq!(dataplane.stale_layouts().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn every_map_gives_back_what_was_set_and_forgets_what_was_removed() {
    in_lab(|lab| {
        let mut d = lab.open();
        let sources = [
            (SrcKey::v4(3, [10, 0, 0, 0], 8), SrcVal::FOREVER),
            (SrcKey::v4(3, [10, 1, 2, 3], 32), SrcVal::until(5)),
            (SrcKey::v6(4, [0xfd; 16], 128), SrcVal::until(6)),
        ];
        let mac = MacKey::new(3, [0, 0, 0x5e, 0, 1, 9]);
        let vlan = VlanKey::new(3, 4094);
        let local = (
            L2Key::new(1, 10, [2; 6]),
            Local { ifindex: 9, slot: 3, mtu: 1500, flags: LocalFlags::NO_ACCEL_IN },
        );
        let watch = (AddrKey::new(1, 10, v4_mapped([10, 0, 0, 1])), Watch::new(GATEWAY_SLOT, 2, [2; 6]));
        for _ in 0..2 {
            for (key, value) in &sources {
                d.set_source(key, value).unwrap();
            }
            d.set_mac(&mac, &SrcVal::FOREVER).unwrap();
            d.set_vlan(&vlan).unwrap();
            d.set_local(&local.0, &local.1).unwrap();
            d.set_watch(&watch.0, &watch.1).unwrap();
            d.set_uplink(5, &Uplink::new(1)).unwrap();
            d.set_bridge(63, BridgeFlags::ACCEL_OK).unwrap();
        }
        assert_eq!(d.sources().unwrap().into_iter().collect::<Vec<_>>(), sources);
        assert_eq!(d.macs().unwrap().into_iter().collect::<Vec<_>>(), [(mac, SrcVal::FOREVER)]);
        assert_eq!(d.vlans().unwrap(), [vlan]);
        assert_eq!(d.locals().unwrap().into_iter().collect::<Vec<_>>(), [local]);
        assert_eq!(d.watches().unwrap().into_iter().collect::<Vec<_>>(), [watch]);
        assert_eq!(d.watch(&watch.0).unwrap(), Some(watch.1));
        assert_eq!(d.uplinks().unwrap().into_iter().collect::<Vec<_>>(), [(5, Uplink::new(1))]);
        assert_eq!((d.bridge(63).unwrap(), d.bridge(0).unwrap()), (BridgeFlags::ACCEL_OK, BridgeFlags::NONE));
        for _ in 0..2 {
            for (key, _) in &sources {
                d.remove_source(key).unwrap();
            }
            d.remove_mac(&mac).unwrap();
            d.remove_vlan(&vlan).unwrap();
            d.remove_local(&local.0).unwrap();
            d.remove_watch(&watch.0).unwrap();
            d.remove_uplink(5).unwrap();
            d.remove_port(5).unwrap();
        }
        assert!(
            d.sources().unwrap().is_empty() && d.macs().unwrap().is_empty() && d.vlans().unwrap().is_empty()
        );
        assert!(
            d.locals().unwrap().is_empty()
                && d.uplinks().unwrap().is_empty()
                && d.ports().unwrap().is_empty()
        );
        assert_eq!(d.watch(&watch.0).unwrap(), None);
    });
}

#[test]
fn an_error_names_the_map_and_the_key() {
    in_lab(|lab| {
        let mut d = lab.open();
        let slots = maps::slots(MAX_ENDPOINTS);
        d.zero_counters(slots - 1).unwrap();
        assert!(chain(&d.counters(slots).unwrap_err()).starts_with(&format!("reading COUNT[{slots}]")));
        assert!(chain(&d.set_bridge(64, BridgeFlags::NONE).unwrap_err()).starts_with("writing CTL[64]"));
        for ifindex in 0..maps::MAX_UPLINKS {
            d.set_uplink(ifindex, &Uplink::new(0)).unwrap();
        }
        let full = chain(&d.set_uplink(1000, &Uplink::new(0)).unwrap_err());
        assert!(full.starts_with("writing UPLINKS[1000]"), "{full}");
    });
}

#[test]
fn a_pinned_map_of_another_shape_is_refused() {
    in_lab(|lab| {
        drop(lab.open());
        let layout = fs::read_dir(lab.bpf_dir()).unwrap().map(|e| e.unwrap().path());
        let layout = layout.into_iter().find(|p| !p.ends_with("links")).unwrap();
        fs::remove_file(layout.join("RATE")).unwrap();
        fs::rename(layout.join("LAST"), layout.join("RATE")).unwrap();
        let text = refusal(lab, MAX_ENDPOINTS).to_string();
        assert_eq!(text, "map RATE: value size is 104, expected 16");
    });
}

#[test]
fn only_other_layouts_can_be_removed() {
    in_lab(|lab| {
        let dataplane = lab.open();
        let own = fs::read_dir(lab.bpf_dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        for name in own.chain(["..".into(), "links".into(), String::new(), "v1-../../x".into()]) {
            assert!(dataplane.remove_layout(&name).is_err(), "{name}");
        }
        dataplane.remove_layout("v0-0123456789abcdef").unwrap();
    });
}
