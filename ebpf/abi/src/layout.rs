//! The fingerprint of the whole contract, and the version beside it.

use crate::{
    AddrKey, COUNTERS, Ctl, Fact, L2Key, Local, MacKey, NearLocal, NearPort, Offence, Port, Rate, SrcBody,
    SrcKey, SrcVal, Uplink, VlanKey, Watch, maps,
};

/// Version of the meaning of the maps. Raised when a value keeps its layout and changes its meaning.
pub const ABI_VERSION: u32 = 1;

/// Fingerprint of the layout of every shared type and of the fixed map sizes.
pub const LAYOUT: u64 = {
    let parts = [
        Port::LAYOUT,
        SrcBody::LAYOUT,
        SrcKey::LAYOUT,
        SrcVal::LAYOUT,
        MacKey::LAYOUT,
        VlanKey::LAYOUT,
        L2Key::LAYOUT,
        Local::LAYOUT,
        NearPort::LAYOUT,
        NearLocal::LAYOUT,
        Ctl::LAYOUT,
        AddrKey::LAYOUT,
        Watch::LAYOUT,
        Uplink::LAYOUT,
        Fact::LAYOUT,
        Offence::LAYOUT,
        Rate::LAYOUT,
    ];
    let mut h = SEED;
    let mut i = 0;
    while i < parts.len() {
        h = fold(h, parts[i]);
        i += 1;
    }
    h = number(h, COUNTERS);
    i = 0;
    while i < maps::ALL.len() {
        h = text(h, maps::ALL[i]);
        i += 1;
    }
    fold(h, maps::FIXED_SIZES)
};

/// The layout together with the sizes that follow from the number of endpoints.
///
/// A map cannot grow in place, so a changed limit is a changed layout: new maps beside the old ones.
pub const fn layout_hash(max_endpoints: u32) -> u64 {
    fold(LAYOUT, max_endpoints as u64)
}

/// Offset basis of 64-bit FNV-1a.
pub(crate) const SEED: u64 = 0xcbf2_9ce4_8422_2325;

pub(crate) const fn fold(hash: u64, value: u64) -> u64 {
    let bytes = value.to_le_bytes();
    let mut h = hash;
    let mut i = 0;
    while i < bytes.len() {
        h = (h ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    h
}

pub(crate) const fn number(hash: u64, value: usize) -> u64 {
    fold(hash, value as u64)
}

pub(crate) const fn text(hash: u64, value: &str) -> u64 {
    let bytes = value.as_bytes();
    let mut h = fold(hash, bytes.len() as u64);
    let mut i = 0;
    while i < bytes.len() {
        h = fold(h, bytes[i] as u64);
        i += 1;
    }
    h
}

#[cfg(test)]
mod tests {
    use super::{LAYOUT, SEED, layout_hash, text};
    use crate::{Ctl, Local};

    #[test]
    fn sizes_and_layouts_change_the_fingerprint() {
        assert_ne!(layout_hash(1), layout_hash(2));
        assert_ne!(layout_hash(1), LAYOUT);
        assert_ne!(Ctl::LAYOUT, Local::LAYOUT, "the same size, other fields");
    }

    #[test]
    fn where_one_name_ends_and_the_next_begins_counts() {
        assert_ne!(text(text(SEED, "ab"), "c"), text(text(SEED, "a"), "bc"));
    }
}
