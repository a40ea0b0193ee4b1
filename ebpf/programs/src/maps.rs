//! The maps. Names and meaning stand in `ebpf_abi::maps`; the sizes given here as 1 follow from the
//! number of endpoints and are set by the loader.
//!
//! Only the agent writes PORTS, SRC, MACS, VLANS, LOCAL, NEAR_PORTS, NEAR_LOCALS, UPLINKS and CTL. The programs
//! write COUNT, LAST, RATE, the rings, the clock in CTL, and the `seen` and `reported` fields of WATCH.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
};
use ebpf_abi::{
    AddrKey, COUNTERS, Ctl, L2Key, Local, MacKey, NearLocal, NearPort, Offence, Port, Rate, SrcBody, SrcVal,
    Uplink, VlanKey, Watch, maps,
};

/// Replaced at load.
const SET_BY_LOADER: u32 = 1;

#[map]
pub(crate) static PORTS: HashMap<u32, Port> = HashMap::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static SRC: LpmTrie<SrcBody, SrcVal> =
    LpmTrie::with_max_entries(maps::MAX_SOURCES, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static MACS: HashMap<MacKey, SrcVal> =
    HashMap::with_max_entries(maps::MAX_MACS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static VLANS: HashMap<VlanKey, u32> =
    HashMap::with_max_entries(maps::MAX_VLANS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static LOCAL: HashMap<L2Key, Local> = HashMap::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static NEAR_PORTS: Array<NearPort> = Array::with_max_entries(maps::PLACES, 0);
#[map]
pub(crate) static NEAR_LOCALS: Array<NearLocal> = Array::with_max_entries(maps::PLACES, 0);
#[map]
pub(crate) static WATCH: HashMap<AddrKey, Watch> = HashMap::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static UPLINKS: HashMap<u32, Uplink> = HashMap::with_max_entries(maps::MAX_UPLINKS, 0);
#[map]
pub(crate) static CTL: Array<Ctl> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static COUNT: PerCpuArray<[u64; COUNTERS]> = PerCpuArray::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static LAST: Array<Offence> = Array::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static RATE: Array<Rate> = Array::with_max_entries(SET_BY_LOADER, 0);
#[map]
pub(crate) static FACTS: RingBuf = RingBuf::with_byte_size(maps::FACTS_BYTES, 0);
#[map]
pub(crate) static DROPS: RingBuf = RingBuf::with_byte_size(maps::DROPS_BYTES, 0);
