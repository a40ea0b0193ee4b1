//! Hostile and honest frames on which both walls of the guard must agree, as data.
//!
//! A case says what an endpoint sends, what the eBPF wall makes of it, what the OpenFlow wall makes of it,
//! and why, where the two differ. The eBPF tests of this crate and the lab both read this list; it needs
//! neither a kernel nor a switch. Names are unique, addresses come from the [`Identity`] given, so a lab
//! may run the list for whichever pod it has made.
//!
//! What OpenFlow makes of malformed packets is what OVS 3.1 does on its userspace datapath.

use crate::abi::Reason;

pub mod build;
mod ethernet;
mod extension;
mod ipv4;
mod ipv6;
mod neighbour;

/// Who sends: the addresses that are the endpoint's own, and some that are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its MAC.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub ip4: [u8; 4],
    /// Its IPv6 address.
    pub ip6: [u8; 16],
    /// Its link-local address, made from the MAC.
    pub ll6: [u8; 16],
    /// A neighbour: what the endpoint must not pretend to be.
    pub other_mac: [u8; 6],
    /// The neighbour's IPv4 address.
    pub other_ip4: [u8; 4],
    /// The neighbour's IPv6 address.
    pub other_ip6: [u8; 16],
    /// The neighbour's link-local address.
    pub other_ll6: [u8; 16],
}

impl Identity {
    /// The `n`th endpoint of a lab beside its neighbour `n + 1`: 10.99.0.n, fd00:99::n, 02:00:00:00:00:n.
    pub const fn numbered(n: u8) -> Identity {
        let (mac, other_mac) = ([2, 0, 0, 0, 0, n], [2, 0, 0, 0, 0, n + 1]);
        Identity {
            mac,
            ip4: [10, 99, 0, n],
            ip6: [0xfd, 0, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n],
            ll6: crate::abi::eui64_link_local(mac),
            other_mac,
            other_ip4: [10, 99, 0, n + 1],
            other_ip6: [0xfd, 0, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n + 1],
            other_ll6: crate::abi::eui64_link_local(other_mac),
        }
    }
}

/// What kind of endpoint sends. All have the same addresses, in mode `full` unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// IPv4 and IPv6 on an access port.
    Dual,
    /// IPv4 only.
    Ip4Only,
    /// The attachment says DHCP.
    Dhcp,
    /// The attachment says `slaac`.
    Slaac,
    /// Mode `mac`.
    MacOnly,
    /// A trunk with [`TRUNK_VLANS`] and no untagged frames.
    Trunk,
    /// The same trunk, untagged frames are carried too.
    TrunkNative,
    /// With the exceptions [`LISTED_PREFIX4`], [`LISTED_PREFIX6`], [`LISTED_MAC`], and the expired
    /// [`EXPIRED_IP4`].
    Listed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 8] = [
        Kind::Dual,
        Kind::Ip4Only,
        Kind::Dhcp,
        Kind::Slaac,
        Kind::MacOnly,
        Kind::Trunk,
        Kind::TrunkNative,
        Kind::Listed,
    ];
}

/// What the trunk ports carry.
pub const TRUNK_VLANS: [u16; 2] = [10, 20];
/// A listed IPv4 prefix and its bits.
pub const LISTED_PREFIX4: ([u8; 4], u8) = ([192, 0, 2, 0], 25);
/// A listed IPv6 prefix and its bits.
pub const LISTED_PREFIX6: ([u8; 16], u8) = ([0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48);
/// A listed MAC: a VRRP group's.
pub const LISTED_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 7];
/// An address whose exception has run out.
pub const EXPIRED_IP4: [u8; 4] = [198, 51, 100, 9];

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is stopped and counted.
    Drop(Reason),
}

/// The outer 802.1Q or 802.1ad tag: TPID and tag control information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority, drop eligibility, VLAN.
    pub tci: u16,
}

/// One frame and what is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Says what is special about it.
    pub name: &'static str,
    /// Who sends it.
    pub kind: Kind,
    /// The outer tag. A NIC, a veth and the kernel hold it beside the frame.
    pub tag: Option<Tag>,
    /// The frame from the destination MAC on, without the outer tag and the checksum.
    pub frame: Vec<u8>,
    /// What the eBPF wall makes of it.
    pub ebpf: Verdict,
    /// What the OpenFlow wall makes of it where OVS's flow cache knows nothing like it yet.
    pub openflow: Verdict,
    /// Why the two differ; empty where they do not.
    pub difference: &'static str,
}

impl Case {
    /// The frame as it is on the wire, with its outer tag.
    pub fn on_wire(&self) -> Vec<u8> {
        let Some(tag) = self.tag else { return self.frame.clone() };
        let (macs, rest) = self.frame.split_at(12.min(self.frame.len()));
        [macs, &tag.tpid.to_be_bytes(), &tag.tci.to_be_bytes(), rest].concat()
    }

    fn on(mut self, kind: Kind) -> Case {
        self.kind = kind;
        self
    }

    fn tagged(mut self, tpid: u16, tci: u16) -> Case {
        self.tag = Some(Tag { tpid, tci });
        self
    }

    fn but_openflow(mut self, verdict: Verdict, difference: &'static str) -> Case {
        self.openflow = verdict;
        self.difference = difference;
        self
    }
}

/// The whole list for an endpoint.
pub fn cases(me: &Identity) -> Vec<Case> {
    [
        ethernet::cases(me),
        ethernet::arp_cases(me),
        ipv4::cases(me),
        ipv6::cases(me),
        extension::cases(me),
        neighbour::cases(me),
    ]
    .concat()
}

fn pass(name: &'static str, frame: Vec<u8>) -> Case {
    let verdict = Verdict::Pass;
    Case { name, kind: Kind::Dual, tag: None, frame, ebpf: verdict, openflow: verdict, difference: "" }
}

fn drop(name: &'static str, frame: Vec<u8>, reason: Reason) -> Case {
    let verdict = Verdict::Drop(reason);
    Case { ebpf: verdict, openflow: verdict, ..pass(name, frame) }
}

/// A frame cut to `len` bytes. OVS has no row for it: it sees zeroes where it cannot read.
fn short(name: &'static str, mut frame: Vec<u8>, len: usize, openflow: Verdict) -> Case {
    frame.truncate(len);
    drop(name, frame, Reason::Short).but_openflow(openflow, "OVS has no row for short frames")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Case, Identity, Verdict, cases};
    use crate::abi::Reason;

    fn all() -> Vec<Case> {
        cases(&Identity::numbered(1))
    }

    #[test]
    fn every_name_is_unique() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() >= 120, "{} cases", all.len());
    }

    #[test]
    fn every_row_of_the_table_has_a_frame() {
        let all = all();
        for reason in Reason::ALL {
            let not_by_frame = [
                Reason::Unbound,
                Reason::Allow,
                Reason::Closed,
                Reason::BroadcastRate,
                Reason::NewDestinationRate,
            ];
            let found = all.iter().any(|c| c.ebpf == Verdict::Drop(*reason));
            assert_eq!(found, !not_by_frame.contains(reason), "{reason}");
        }
    }

    #[test]
    fn a_difference_has_a_reason_and_only_a_difference_has() {
        for case in all() {
            assert_eq!(case.ebpf != case.openflow, !case.difference.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn the_kernel_takes_every_frame() {
        for case in all() {
            assert!((14..=1514).contains(&case.frame.len()), "{}: {} bytes", case.name, case.frame.len());
        }
    }
}
