#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The contract between the TC programs in the kernel and the loader in user space.
//!
//! Every value that crosses the border stands here: map keys and values, ring buffer records, drop
//! reasons, flag words, map names and sizes. Both sides are compiled from these same lines, so this
//! crate must stay `no_std`, hold values only, and know neither aya nor the agent.
//!
//! Rules that every type keeps:
//! - `repr(C)` with explicit padding that is written as zero. As root the verifier lets uninitialised
//!   bytes pass, and a hash map look-up with such a key then misses at random.
//! - Numbers are in host byte order; addresses and MACs are bytes as they stand on the wire.
//! - Times are nanoseconds of `CLOCK_MONOTONIC`, which is what `bpf_ktime_get_ns` gives.
//!
//! A change of any layout changes [`LAYOUT`], and with it the directory in which the maps are pinned:
//! two versions of the agent never read each other's maps.

mod accel;
mod bytes;
mod counters;
mod layout;
pub mod maps;
mod near;
mod port;
mod reason;
mod record;
mod watch;

pub use accel::{BridgeFlags, Ctl, L2Key, Local, LocalFlags};
pub use counters::{COUNTERS, Counter, Counters};
pub use layout::{ABI_VERSION, LAYOUT, layout_hash};
pub use near::{NearLocal, NearPort, mac_word, segment, segment_bridge};
pub use port::{
    MacKey, Mode, Port, PortFlags, SrcBody, SrcKey, SrcVal, Stage, TRUNK, VlanKey, eui64_link_local,
    v4_mapped,
};
pub use reason::Reason;
pub use record::{HEAD_LEN, Offence, OffenceFlags, Rate};
pub use watch::{AddrKey, Fact, FactKind, GATEWAY_SLOT, Place, Uplink, Watch};
