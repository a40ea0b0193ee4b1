//! Names and sizes of the maps.

/// HASH ifindex -> [`crate::Port`], one for each host veth.
pub const PORTS: &str = "PORTS";
/// LPM trie [`crate::SrcKey`] -> [`crate::SrcVal`].
pub const SRC: &str = "SRC";
/// HASH [`crate::MacKey`] -> [`crate::SrcVal`].
pub const MACS: &str = "MACS";
/// HASH [`crate::VlanKey`] -> `u32`.
pub const VLANS: &str = "VLANS";
/// HASH [`crate::L2Key`] -> [`crate::Local`].
pub const LOCAL: &str = "LOCAL";
/// ARRAY [`crate::NearPort::place`] -> [`crate::NearPort`], copies of `PORTS`.
pub const NEAR_PORTS: &str = "NEAR_PORTS";
/// ARRAY [`crate::NearLocal::place`] -> [`crate::NearLocal`], copies of `LOCAL`.
pub const NEAR_LOCALS: &str = "NEAR_LOCALS";
/// HASH [`crate::AddrKey`] -> [`crate::Watch`].
pub const WATCH: &str = "WATCH";
/// HASH ifindex -> [`crate::Uplink`].
pub const UPLINKS: &str = "UPLINKS";
/// ARRAY of one [`crate::Ctl`].
pub const CTL: &str = "CTL";
/// PERCPU_ARRAY slot -> `[u64; 32]`, see [`crate::Counters`].
pub const COUNT: &str = "COUNT";
/// ARRAY slot -> [`crate::Offence`].
pub const LAST: &str = "LAST";
/// ARRAY slot -> [`crate::Rate`].
pub const RATE: &str = "RATE";
/// RINGBUF of [`crate::Fact`]. A ring of its own: drops never starve it.
pub const FACTS: &str = "FACTS";
/// RINGBUF of [`crate::Offence`].
pub const DROPS: &str = "DROPS";

/// Every map.
pub const ALL: [&str; 15] = [
    PORTS,
    SRC,
    MACS,
    VLANS,
    LOCAL,
    NEAR_PORTS,
    NEAR_LOCALS,
    WATCH,
    UPLINKS,
    CTL,
    COUNT,
    LAST,
    RATE,
    FACTS,
    DROPS,
];

/// Further sources on a node: prefixes, virtual addresses, exceptions.
pub const MAX_SOURCES: u32 = 16_384;
/// Further MACs on a node: a few VRRP groups for each endpoint that has any.
pub const MAX_MACS: u32 = 4_096;
/// Places of each array of copies, a power of two: sixteen for each of the 250 endpoints of a large node, so that few
/// meet. 384 KiB together.
pub const PLACES: u32 = 4_096;
/// (trunk port, VLAN) pairs on a node.
pub const MAX_VLANS: u32 = 16_384;
/// Physical members of bridges on a node.
pub const MAX_UPLINKS: u32 = 256;
/// Bridges on a node: one bit each of [`crate::Ctl::accel_ok`].
pub const BRIDGES: u32 = 64;
/// Bytes of the ring `FACTS`: 1,024 records.
pub const FACTS_BYTES: u32 = 64 * 1024;
/// Bytes of the ring `DROPS`: 1,170 records.
pub const DROPS_BYTES: u32 = 128 * 1024;
/// Addresses watched for each port: two a family at most on average, and the gateways.
pub const WATCHES_PER_PORT: u32 = 4;

/// The sizes above, folded for the layout's fingerprint.
pub(crate) const FIXED_SIZES: u64 = {
    let sizes = [
        MAX_SOURCES,
        MAX_MACS,
        PLACES,
        MAX_VLANS,
        MAX_UPLINKS,
        BRIDGES,
        FACTS_BYTES,
        DROPS_BYTES,
        WATCHES_PER_PORT,
    ];
    let mut h = crate::layout::SEED;
    let mut i = 0;
    while i < sizes.len() {
        h = crate::layout::fold(h, sizes[i] as u64);
        i += 1;
    }
    h
};

/// Entries of `PORTS` and `LOCAL` for a number of endpoints: twice as many, since an endpoint that is
/// replaced has two veths for a moment.
pub const fn ports(max_endpoints: u32) -> u32 {
    max_endpoints.saturating_mul(2)
}

/// Slots, that is entries of `COUNT`, `LAST`, `RATE`: as many as ports, and slot 0. A slot handed out
/// must be below this number.
pub const fn slots(max_endpoints: u32) -> u32 {
    ports(max_endpoints).saturating_add(1)
}

/// Entries of `WATCH`.
pub const fn watches(max_endpoints: u32) -> u32 {
    ports(max_endpoints).saturating_mul(WATCHES_PER_PORT)
}
