//! The way past the bridge: who is local, and until when it holds.

use crate::{
    bytes::{flag_word, shared_struct},
    near::segment_bridge,
};

shared_struct! {
    /// Key of `LOCAL`: where a frame is addressed to.
    L2Key: 12 {
        /// Index of the bridge.
        bridge: u16,
        /// VLAN of the access port, 0 untagged.
        vlan: u16,
        /// Destination MAC.
        mac: [u8; 6],
        /// Zero.
        pad: u16,
    }
}

impl L2Key {
    /// The key of a MAC in a VLAN of a bridge.
    #[inline]
    pub const fn new(bridge: u16, vlan: u16, mac: [u8; 6]) -> L2Key {
        L2Key { bridge, vlan, mac, pad: 0 }
    }

    /// The same from a segment and a MAC as numbers.
    #[inline]
    pub const fn of_words(segment: u32, mac: u64) -> L2Key {
        let [mac @ .., _, _] = mac.to_le_bytes();
        L2Key::new(segment_bridge(segment), (segment & 0xffff) as u16, mac)
    }
}

shared_struct! {
    /// Value of `LOCAL`: an endpoint of this node.
    Local: 16 {
        /// Its host veth.
        ifindex: u32,
        /// Its slot, for counting.
        slot: u32,
        /// Its MTU in bytes.
        mtu: u32,
        /// What is not to be done with it.
        flags: LocalFlags,
    }
}

flag_word! {
    /// Variations for the receiving side.
    LocalFlags: u32 {
        /// Frames to this endpoint go through the bridge.
        NO_ACCEL_IN = 1 << 0;
    }
}

flag_word! {
    /// What holds for a bridge; in the maps a bit of [`Ctl::accel_ok`].
    BridgeFlags: u32 {
        /// Nothing on this bridge forbids acceleration.
        ACCEL_OK = 1 << 0;
    }
}

shared_struct! {
    /// The only entry of `CTL`: everything that may stop acceleration at once, found by one look-up.
    Ctl: 32 {
        /// Acceleration holds until this time, ns; 0 = never. The agent moves it on while it lives.
        lease_ns: u64,
        /// A bit for each bridge on which nothing forbids it, the lowest for bridge 0.
        accel_ok: u64,
        /// `jiffies64` when a program last looked at the clock. Written by the programs.
        clock_jiffies: u64,
        /// The time then, ns. Written by the programs.
        clock_ns: u64,
    }
}
