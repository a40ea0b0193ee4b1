//! What is kept of a frame that was stopped.

use crate::{
    Reason,
    bytes::{flag_word, shared_struct},
};

/// How many bytes of an offending frame are kept: Ethernet, IPv6 and ten bytes of what follows.
pub const HEAD_LEN: usize = 64;

shared_struct! {
    /// An offending frame: value of `LAST` (the newest of a slot) and record of the ring `DROPS`.
    Offence: 104 {
        /// When, ns; 0 = there was none.
        at_ns: u64,
        /// The device that the frame came from.
        ifindex: u32,
        /// The endpoint's slot; 0 for `unbound`.
        slot: u32,
        /// Generation of the slot.
        generation: u32,
        /// Length of the frame in bytes, without a tag that the kernel holds beside it.
        len: u32,
        /// Tag control information of the outer tag.
        vlan_tci: u16,
        /// Protocol of the outer tag (0x8100, 0x88a8), 0 = no tag.
        vlan_proto: u16,
        /// Number of the [`Reason`].
        reason: u8,
        /// What became of it.
        flags: OffenceFlags,
        /// How many bytes of `head` are from the frame.
        head_len: u16,
        /// Offences of this slot that were not sent to the ring since the one before.
        lost: u32,
        /// Zero.
        pad: u32,
        /// The first bytes of the frame, then zeroes.
        head: [u8; HEAD_LEN],
    }
}

impl Offence {
    /// The reason, if its number is known.
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_u8(self.reason)
    }

    /// The bytes that were kept of the frame.
    pub fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.head_len)).unwrap_or(&self.head)
    }
}

flag_word! {
    /// What became of an offending frame.
    OffenceFlags: u8 {
        /// It passed: the endpoint is only observed.
        PASSED = 1 << 0;
    }
}

shared_struct! {
    /// Value of `RATE`: how many offences of a slot may still go to the ring in this second.
    /// Written by several CPUs without a lock, on purpose: an event more or less does not matter.
    Rate: 16 {
        /// Begin of the second, ns.
        since_ns: u64,
        /// How many were sent in it.
        sent: u32,
        /// How many were not sent since the last one that was.
        lost: u32,
    }
}

impl Rate {
    /// Events a second that one slot may send to the ring: enough to see what happens, too few to
    /// let one endpoint starve the others (32 slots at full rate fill the ring in four seconds).
    pub const PER_SECOND: u32 = 10;
}
