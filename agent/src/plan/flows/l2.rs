//! The first table of the block: VLAN tags, reserved destinations, the Ethernet source, the ethertype.

use ebpf_abi::Reason;
use openflow::{Mac, Match};

use super::{Bound, Rules, from_port};
use crate::model::{GuardMode, PortVlan};

/// The VLAN TCI's "tag present" bit, as `vlan_tci=0x1000/0x1000` prints it.
const TAG_PRESENT: u16 = 0x1000;

/// IEEE 802.1D/Q reserved group addresses: 01:80:c2:00:00:00 to :0f.
const RESERVED: (Mac, Mac) = (Mac([0x01, 0x80, 0xc2, 0, 0, 0]), Mac([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]));

pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let table = rules.block.l2();
    match &endpoint.vlan {
        // A layer-2 attachment of ovs-cni without `vlan` is a trunk of everything.
        PortVlan::Unset if endpoint.guard.mode == GuardMode::Mac => frames(rules, endpoint, Match::new),
        PortVlan::Access(_) | PortVlan::Unset => {
            let tagged = from_port(endpoint).vlan_tci_masked(TAG_PRESENT, TAG_PRESENT);
            rules.deny(endpoint, table, 300, tagged, Reason::Vlan);
            frames(rules, endpoint, Match::new);
        }
        PortVlan::Trunk { vlans, native } => {
            for &vlan in vlans.iter().filter(|v| Some(**v) != *native) {
                frames(rules, endpoint, || Match::new().vlan_vid(vlan));
            }
            if native.is_some() {
                frames(rules, endpoint, || Match::new().vlan_tci_masked(0, TAG_PRESENT));
            }
            rules.deny(endpoint, table, 5, from_port(endpoint), Reason::Vlan);
        }
    }
}

/// The rules for the frames of one VLAN, or of all where the tag does not matter.
fn frames(rules: &mut Rules, endpoint: &Bound, tag: impl Fn() -> Match) {
    let block = rules.block;
    let table = block.l2();
    let from = || tag().in_port(endpoint.ofport);
    let own = || from().dl_src(endpoint.sources.mac);
    rules.deny(endpoint, table, 250, from().dl_dst_masked(RESERVED.0, RESERVED.1), Reason::LinkLocal);
    if endpoint.guard.mode == GuardMode::Mac {
        for kind in [own().arp(), own().ip(), own().ipv6()] {
            rules.allow(endpoint, table, 200, kind, block.accept());
        }
    } else {
        rules.allow(endpoint, table, 200, own().arp(), block.arp());
        rules.allow(endpoint, table, 200, own().ip(), block.ipv4());
        if endpoint.sources.ipv6.is_empty() {
            rules.deny(endpoint, table, 200, own().ipv6(), Reason::Ipv6);
        } else {
            rules.allow(endpoint, table, 200, own().ipv6(), block.ipv6());
        }
    }
    rules.deny(endpoint, table, 100, own(), Reason::Ethertype);
    rules.deny(endpoint, table, 10, from(), Reason::Mac);
}
