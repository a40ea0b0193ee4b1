//! What an endpoint may send: its entry, and the further sources it was given.

use crate::bytes::{flag_word, open_number, shared_struct};

/// [`Port::vlan`] of a trunk port: the allowed VLANs stand in [`crate::maps::VLANS`].
pub const TRUNK: u16 = 0xffff;

shared_struct! {
    /// Value of `PORTS`, keyed by the ifindex of the host veth. One cache line.
    Port: 64 {
        /// Index of the endpoint's counters; 0 is no endpoint.
        slot: u32,
        /// Raised each time the slot is handed out, so that late records are told apart.
        generation: u32,
        /// Index of the OVS bridge in `BRIDGE`, below [`crate::maps::BRIDGES`].
        bridge: u16,
        /// VLAN of an access port, 1 to 4094; 0 untagged; [`TRUNK`].
        vlan: u16,
        /// The endpoint's MAC.
        mac: [u8; 6],
        /// What is checked.
        mode: Mode,
        /// Whether the gate is open.
        stage: Stage,
        /// Variations of the policy.
        flags: PortFlags,
        /// MTU of the endpoint's interface in bytes, without the Ethernet header.
        mtu: u32,
        /// The IPv4 address; zero if there is none.
        ip4: [u8; 4],
        /// The first IPv6 address; zero if there is none.
        ip6: [u8; 16],
        /// The link-local address, see [`eui64_link_local`]; zero if there is none.
        ll6: [u8; 16],
    }
}

open_number! {
    /// What the guard checks of an endpoint's frames.
    Mode: u8 {
        /// Nothing.
        OFF = 0 => "off";
        /// Tag, destination, MAC and ethertype.
        MAC = 1 => "mac";
        /// Everything.
        FULL = 2 => "full";
        /// Everything, but offenders are counted and pass.
        OBSERVE = 3 => "observe";
    }
}

open_number! {
    /// The gate of an endpoint: opened last, closed first.
    Stage: u8 {
        /// Every frame drops as `closed`.
        CLOSED = 0 => "closed";
        /// The policy decides.
        OPEN = 1 => "open";
    }
}

flag_word! {
    /// Variations of the policy of one endpoint.
    PortFlags: u32 {
        /// The DHCP client exchange 0.0.0.0:68 to 255.255.255.255:67 passes.
        DHCP4 = 1 << 0;
        /// Router solicitations pass.
        SLAAC = 1 << 1;
        /// A virtual machine that may live on two nodes for some seconds. Read by user space only.
        VM = 1 << 2;
        /// Frames to neighbours on the node may go past the bridge.
        ACCEL = 1 << 3;
        /// The bridge reads a copy through a packet socket: every frame ends in SHOT after observing.
        USERSPACE_DP = 1 << 4;
        /// `SRC` and `MACS` hold further entries for this slot.
        MORE_SRC = 1 << 5;
        /// No IPv6 at all: each such frame drops as `ipv6`.
        IP4_ONLY = 1 << 6;
        /// On a trunk port: every VLAN and untagged frames are carried.
        VLAN_ANY = 1 << 7;
    }
}

shared_struct! {
    /// The part of an LPM key after the prefix length.
    SrcBody: 20 {
        /// The endpoint's slot.
        slot: u32,
        /// IPv6, or IPv4 mapped to ::ffff:0:0/96.
        addr: [u8; 16],
    }
}

shared_struct! {
    /// Key of `SRC`: an address or prefix that an endpoint may use beside its inline ones.
    SrcKey: 24 {
        /// Bits that count, those of the slot included: 32 + 96 + IPv4 bits, or 32 + IPv6 bits.
        prefix: u32,
        /// Slot and address.
        body: SrcBody,
    }
}

impl SrcKey {
    /// The key of an IPv4 prefix of `bits` (at most 32).
    pub const fn v4(slot: u32, addr: [u8; 4], bits: u8) -> SrcKey {
        SrcKey { prefix: 32 + 96 + bits as u32, body: SrcBody { slot, addr: v4_mapped(addr) } }
    }

    /// The key of an IPv6 prefix of `bits` (at most 128).
    pub const fn v6(slot: u32, addr: [u8; 16], bits: u8) -> SrcKey {
        SrcKey { prefix: 32 + bits as u32, body: SrcBody { slot, addr } }
    }
}

shared_struct! {
    /// Value of `SRC` and of `MACS`.
    SrcVal: 16 {
        /// No bit is defined yet; zero.
        flags: u32,
        /// Zero.
        pad: u32,
        /// The entry is void from this time on, ns; 0 = never.
        expires_ns: u64,
    }
}

impl SrcVal {
    /// An entry without expiry.
    pub const FOREVER: SrcVal = SrcVal { flags: 0, pad: 0, expires_ns: 0 };

    /// An entry that is void from `expires_ns` on.
    pub const fn until(expires_ns: u64) -> SrcVal {
        SrcVal { flags: 0, pad: 0, expires_ns }
    }
}

shared_struct! {
    /// Key of `MACS`: an Ethernet source that an endpoint may use beside its own (a VRRP MAC).
    MacKey: 12 {
        /// The endpoint's slot.
        slot: u32,
        /// The MAC.
        mac: [u8; 6],
        /// Zero.
        pad: u16,
    }
}

impl MacKey {
    /// The key of a further MAC of a slot.
    #[inline]
    pub const fn new(slot: u32, mac: [u8; 6]) -> MacKey {
        MacKey { slot, mac, pad: 0 }
    }
}

shared_struct! {
    /// Key of `VLANS`: a VLAN that a trunk port carries. The value is 1.
    VlanKey: 8 {
        /// The endpoint's slot.
        slot: u32,
        /// 1 to 4094, or 0: untagged frames are carried (a native VLAN).
        vid: u16,
        /// Zero.
        pad: u16,
    }
}

impl VlanKey {
    /// The key of a VLAN of a slot.
    #[inline]
    pub const fn new(slot: u32, vid: u16) -> VlanKey {
        VlanKey { slot, vid, pad: 0 }
    }
}

/// An IPv4 address in the form in which the maps hold it: ::ffff:a.b.c.d.
#[inline]
pub const fn v4_mapped(a: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]]
}

/// The link-local address that a kernel with `addr_gen_mode=0` derives from a MAC (RFC 4291, appendix A).
pub const fn eui64_link_local(m: [u8; 6]) -> [u8; 16] {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]]
}

#[cfg(test)]
mod tests {
    use super::{Mode, PortFlags, SrcKey, eui64_link_local, v4_mapped};

    #[test]
    fn a_link_local_address_is_made_as_the_kernel_makes_it() {
        let addr = std::net::Ipv6Addr::from(eui64_link_local([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]));
        assert_eq!(addr.to_string(), "fe80::11:22ff:fe33:4455");
    }

    #[test]
    fn an_ipv4_prefix_counts_its_bits_behind_slot_and_mapping() {
        let key = SrcKey::v4(3, [10, 1, 2, 0], 24);
        assert_eq!((key.prefix, key.body.slot, key.body.addr), (152, 3, v4_mapped([10, 1, 2, 0])));
        assert_eq!(SrcKey::v6(3, [0; 16], 64).prefix, 96);
    }

    #[test]
    fn flags_and_numbers_print_what_they_know_and_what_they_do_not() {
        let flags = PortFlags::DHCP4 | PortFlags::ACCEL;
        assert_eq!(format!("{flags:?}"), "DHCP4|ACCEL");
        assert_eq!(format!("{:?}", PortFlags(flags.0 | 1 << 30)), "DHCP4|ACCEL|0x40000000");
        assert_eq!(format!("{:?}", PortFlags::NONE), "0x0");
        assert_eq!(format!("{} {}", Mode::OBSERVE, Mode(77)), "observe 0x4d");
        assert_eq!(
            flags.set(PortFlags::ACCEL, false).set(PortFlags::VM, true),
            PortFlags::DHCP4 | PortFlags::VM
        );
    }
}
