//! The watch on addresses: who may answer for them, and what was seen instead.

use crate::bytes::{open_number, shared_struct};

/// [`Watch::slot`] of an entry that watches a gateway.
pub const GATEWAY_SLOT: u32 = 0xffff_ffff;

shared_struct! {
    /// Key of `WATCH`: an address in a VLAN of a bridge.
    AddrKey: 24 {
        /// Index of the bridge.
        bridge: u16,
        /// VLAN, 0 untagged.
        vlan: u16,
        /// Zero.
        pad: u32,
        /// IPv6, or IPv4 mapped to ::ffff:0:0/96.
        addr: [u8; 16],
    }
}

impl AddrKey {
    /// The key of an address in a VLAN of a bridge.
    #[inline]
    pub const fn new(bridge: u16, vlan: u16, addr: [u8; 16]) -> AddrKey {
        AddrKey { bridge, vlan, pad: 0, addr }
    }
}

shared_struct! {
    /// Value of `WATCH`: the rightful holder of an address, written by the agent, and what the programs
    /// have seen of it since. Writing the entry anew makes the next foreign claim be told at once.
    Watch: 40 {
        /// The endpoint's slot, or [`GATEWAY_SLOT`].
        slot: u32,
        /// Generation of the slot, or of the gateway's entry.
        generation: u32,
        /// The rightful MAC; zero = not known yet, every claim is told.
        mac: [u8; 6],
        /// Zero.
        pad: u16,
        /// When the rightful MAC was last seen, ns; 0 = never. Written by the programs.
        seen_ns: u64,
        /// When a foreign claim was last told, ns; 0 = never. Written by the programs.
        reported_ns: u64,
        /// Its MAC.
        reported_mac: [u8; 6],
        /// Its kind.
        reported_kind: FactKind,
        /// Zero.
        pad2: u8,
    }
}

impl Watch {
    /// A fresh entry.
    pub const fn new(slot: u32, generation: u32, mac: [u8; 6]) -> Watch {
        Watch {
            slot,
            generation,
            mac,
            pad: 0,
            seen_ns: 0,
            reported_ns: 0,
            reported_mac: [0; 6],
            reported_kind: FactKind(0),
            pad2: 0,
        }
    }
}

open_number! {
    /// What a frame said about a watched address.
    FactKind: u8 {
        /// An ARP packet whose sender address it is.
        ARP_CLAIM = 1 => "arp_claim";
        /// An ARP probe for it: request, sender address zero (RFC 5227).
        ARP_PROBE = 2 => "arp_probe";
        /// A neighbour advertisement whose target it is.
        NA_CLAIM = 3 => "na_claim";
        /// A neighbour solicitation for it from the unspecified address (duplicate address detection).
        DAD_PROBE = 4 => "dad_probe";
        /// A neighbour solicitation from it that carries a link-layer address.
        NS_CLAIM = 5 => "ns_claim";
    }
}

open_number! {
    /// Which hook saw it.
    Place: u8 {
        /// On its way to an endpoint.
        TO_POD = 1 => "to_pod";
        /// Coming in on an uplink.
        UPLINK = 2 => "uplink";
    }
}

shared_struct! {
    /// A record of the ring `FACTS`: a foreign MAC spoke for a watched address.
    Fact: 56 {
        /// When, ns.
        at_ns: u64,
        /// Index of the bridge.
        bridge: u16,
        /// VLAN, 0 untagged.
        vlan: u16,
        /// The device that saw it.
        ifindex: u32,
        /// [`Watch::slot`] of the entry.
        slot: u32,
        /// [`Watch::generation`] of the entry.
        generation: u32,
        /// The watched address, IPv4 mapped.
        addr: [u8; 16],
        /// The MAC that spoke for it.
        mac: [u8; 6],
        /// What it said.
        kind: FactKind,
        /// Which hook saw it.
        place: Place,
        /// The rightful MAC; zero if not known.
        holder: [u8; 6],
        /// Zero.
        pad: u16,
    }
}

shared_struct! {
    /// Value of `UPLINKS`, keyed by the ifindex of the physical member.
    Uplink: 4 {
        /// Index of the bridge.
        bridge: u16,
        /// Zero.
        pad: u16,
    }
}

impl Uplink {
    /// An uplink of a bridge.
    pub const fn new(bridge: u16) -> Uplink {
        Uplink { bridge, pad: 0 }
    }
}
