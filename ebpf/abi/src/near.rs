//! What an ordinary frame needs, found without hashing.
//!
//! A look-up in a kernel hash map takes some 140 instructions, in an array ten, and an accelerated frame has two
//! of them. So the loader keeps copies of `PORTS` and `LOCAL` in arrays, each entry at the one place that its key
//! gives. Where two entries want a place, the first has it and the other is found in its hash map, which stays the
//! truth: a copy may be missing, never wrong.

use crate::{
    L2Key, Local, LocalFlags, Mode, Port, PortFlags, Stage, TRUNK, bytes::shared_struct, maps::PLACES,
};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

shared_struct! {
    /// Value of `NEAR_PORTS`: how the ordinary frames of an open endpoint look. One cache line.
    NearPort: 64 {
        /// The host veth; 0: nobody is here.
        ifindex: u32,
        /// Index of the endpoint's counters.
        slot: u32,
        /// Bytes 6 to 13 of its IPv4 frames, loaded as one word: Ethernet source and ethertype.
        from4: u64,
        /// The same of its IPv6 frames.
        from6: u64,
        /// Its first IPv4 address; zero if it must not use any.
        ip4: [u8; 4],
        /// MTU in bytes.
        mtu: u32,
        /// Its first IPv6 address; zero if it must not use any.
        ip6: [u8; 16],
        /// Bridge and VLAN, see [`segment`].
        segment: u32,
        /// Variations of the policy.
        flags: PortFlags,
        /// Zero.
        pad: [u8; 8],
    }
}

impl NearPort {
    /// Nobody.
    pub const NONE: NearPort = NearPort {
        ifindex: 0,
        slot: 0,
        from4: 0,
        from6: 0,
        ip4: [0; 4],
        mtu: 0,
        ip6: [0; 16],
        segment: 0,
        flags: PortFlags::NONE,
        pad: [0; 8],
    };

    /// The copy of a port; `None` where the first addresses do not decide: behind a closed gate, on a trunk, without
    /// a guard, or where every frame ends in SHOT.
    pub fn of(ifindex: u32, port: &Port) -> Option<NearPort> {
        let ordinary = port.stage == Stage::OPEN
            && port.mode != Mode::OFF
            && port.vlan != TRUNK
            && !port.flags.contains(PortFlags::USERSPACE_DP);
        ordinary.then(|| NearPort {
            ifindex,
            slot: port.slot,
            from4: from(port.mac, IPV4),
            from6: from(port.mac, IPV6),
            ip4: port.ip4,
            mtu: port.mtu,
            ip6: if port.flags.contains(PortFlags::IP4_ONLY) { [0; 16] } else { port.ip6 },
            segment: segment(port.bridge, port.vlan),
            flags: port.flags,
            pad: [0; 8],
        })
    }

    /// The place of a host veth.
    #[inline]
    pub const fn place(ifindex: u32) -> u32 {
        ifindex & (PLACES - 1)
    }
}

const fn from(mac: [u8; 6], ethertype: [u8; 2]) -> u64 {
    (mac_word(mac) | (u16::from_le_bytes(ethertype) as u64) << 48).to_le()
}

shared_struct! {
    /// Value of `NEAR_LOCALS`: an entry of `LOCAL` with its key.
    NearLocal: 32 {
        /// The MAC, see [`mac_word`]; 0: nobody is here.
        mac: u64,
        /// Bridge and VLAN, see [`segment`].
        segment: u32,
        /// The endpoint.
        local: Local,
        /// Zero.
        pad: u32,
    }
}

impl NearLocal {
    /// Nobody.
    pub const NONE: NearLocal = NearLocal::of(
        &L2Key::new(0, 0, [0; 6]),
        &Local { ifindex: 0, slot: 0, mtu: 0, flags: LocalFlags::NONE },
    );

    /// The copy of an entry.
    pub const fn of(key: &L2Key, local: &Local) -> NearLocal {
        NearLocal { mac: mac_word(key.mac), segment: segment(key.bridge, key.vlan), local: *local, pad: 0 }
    }

    /// The place of a MAC. Made MACs differ in few bits, anywhere: Fibonacci hashing spreads them.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the highest bits are left, as many as places need"
    )]
    pub const fn place(mac: u64) -> u32 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        (mac.wrapping_mul(GOLDEN) >> (u64::BITS - PLACES.trailing_zeros())) as u32
    }
}

/// Where a MAC means the same endpoint: the index of a bridge, and a VLAN in its low half.
#[inline]
pub const fn segment(bridge: u16, vlan: u16) -> u32 {
    (bridge as u32) << 16 | vlan as u32
}

/// The bridge of a [`segment`].
#[inline]
pub const fn segment_bridge(segment: u32) -> u16 {
    (segment >> 16) as u16
}

/// A MAC as a number, its first byte the lowest.
#[inline]
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    let [head @ .., fifth, sixth] = mac;
    u32::from_le_bytes(head) as u64 | (u16::from_le_bytes([fifth, sixth]) as u64) << 32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{NearLocal, PLACES, mac_word};

    #[test]
    fn made_macs_spread() {
        let sequential = |n: u16| [0x0a, 0x58, 10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]];
        let places: BTreeSet<u32> = (0..256).map(|n| NearLocal::place(mac_word(sequential(n)))).collect();
        assert!(places.len() > 240, "{}", places.len());
        assert!(places.iter().all(|p| *p < PLACES));
    }
}
