//! The programs and maps of one agent: loading them, and the typed access to each map.
//!
//! Writers: the agent is the only writer of what is set here; the programs write counters, last
//! offenders, rates, and what they have seen of a watched address.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, MapError, RingBuf},
    programs::SchedClassifier,
};
use ebpf_abi::{
    AddrKey, BridgeFlags, COUNTERS, Counters, Ctl, HEAD_LEN, L2Key, Local, MacKey, NearLocal, NearPort,
    Offence, OffenceFlags, Port, Rate, SrcKey, SrcVal, Uplink, VlanKey, Watch, maps,
};

use crate::{
    DropRing, Error, FactRing, Role,
    near::Near,
    pins::Pins,
    table::{Cells, Counts, Sources, Table, failed},
};

mod attach;
mod measure;

pub use attach::{AttachKind, Attached, Attachment, Hooks};
pub use measure::TestRun;

/// The object, built from `programs/` by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/underpass.bpf.o"));

/// Largest number of endpoints: their counters then take 4 MiB for each CPU.
const MAX_ENDPOINTS_LIMIT: u32 = 8_192;

/// The data plane in the kernel, as far as it is BPF.
///
/// Dropping it closes descriptors only: the maps and links are pinned and go on without the agent.
pub struct Dataplane {
    /// The programs. Shared: hanging them takes long, and entries are written meanwhile.
    pub hooks: Arc<Hooks>,
    ports: Table<u32, Port>,
    sources: Sources,
    macs: Table<MacKey, SrcVal>,
    vlans: Table<VlanKey, u32>,
    locals: Table<L2Key, Local>,
    near_ports: Near<NearPort>,
    near_locals: Near<NearLocal>,
    watches: Table<AddrKey, Watch>,
    uplinks: Table<u32, Uplink>,
    ctl: Cells<Ctl>,
    counts: Counts,
    last: Cells<Offence>,
    rates: Cells<Rate>,
}

impl Dataplane {
    /// Opens the maps pinned under `bpf_dir`, or creates them, and loads the programs.
    ///
    /// Nothing is mounted and nothing is attached. A change of the layout or of `max_endpoints` gives new,
    /// empty maps beside the old ones: fill them, attach again (which swaps the programs in their links),
    /// then remove what [`Dataplane::stale_layouts`] names. Slots must be below [`maps::slots`].
    pub fn open(bpf_dir: &Path, max_endpoints: u32) -> Result<Dataplane, Error> {
        if !(1..=MAX_ENDPOINTS_LIMIT).contains(&max_endpoints) {
            return Err(Error::MaxEndpoints { max_endpoints, limit: MAX_ENDPOINTS_LIMIT });
        }
        let pins = Pins::prepare(bpf_dir, max_endpoints)?;
        let mut object = load_object(&pins, max_endpoints)?;
        check_shapes(&object, max_endpoints)?;
        let program_ids = load_programs(&mut object)?;
        let mut dataplane = Dataplane {
            ports: Table::take(&mut object, maps::PORTS)?,
            sources: Sources::take(&mut object)?,
            macs: Table::take(&mut object, maps::MACS)?,
            vlans: Table::take(&mut object, maps::VLANS)?,
            locals: Table::take(&mut object, maps::LOCAL)?,
            near_ports: Near::take(&mut object, maps::NEAR_PORTS)?,
            near_locals: Near::take(&mut object, maps::NEAR_LOCALS)?,
            watches: Table::take(&mut object, maps::WATCH)?,
            uplinks: Table::take(&mut object, maps::UPLINKS)?,
            ctl: Cells::take(&mut object, maps::CTL)?,
            counts: Counts::take(&mut object)?,
            last: Cells::take(&mut object, maps::LAST)?,
            rates: Cells::take(&mut object, maps::RATE)?,
            hooks: Arc::new(Hooks::new(pins, object, program_ids)),
        };
        dataplane.mend_copies()?;
        Ok(dataplane)
    }

    /// Names of the map directories of other layouts and versions.
    pub fn stale_layouts(&self) -> Result<Vec<String>, Error> {
        self.hooks.pins.stale_layouts()
    }

    /// Removes one of them, after every link has been attached again.
    pub fn remove_layout(&self, name: &str) -> Result<(), Error> {
        self.hooks.pins.remove_layout(name)
    }

    /// Removes every pin, after every program was detached: who leaves for good leaves nothing.
    pub fn remove_pins(&self) -> Result<(), Error> {
        self.hooks.pins.remove_all()
    }

    /// The entries of the host veths, by ifindex.
    pub fn ports(&self) -> Result<BTreeMap<u32, Port>, Error> {
        self.ports.all()
    }

    /// Writes the entry of a host veth.
    pub fn set_port(&mut self, ifindex: u32, port: &Port) -> Result<(), Error> {
        self.near_ports.withdraw(&NearPort { ifindex, ..NearPort::NONE })?;
        self.ports.set(ifindex, *port)?;
        NearPort::of(ifindex, port).map_or(Ok(()), |copy| self.near_ports.put(copy))
    }

    /// Removes it: its program then drops every frame as `unbound`.
    pub fn remove_port(&mut self, ifindex: u32) -> Result<(), Error> {
        self.near_ports.withdraw(&NearPort { ifindex, ..NearPort::NONE })?;
        self.ports.remove(ifindex)
    }

    /// The further sources.
    pub fn sources(&self) -> Result<BTreeMap<SrcKey, SrcVal>, Error> {
        self.sources.all()
    }

    /// Allows a further source. It counts only where the port has `MORE_SRC`.
    pub fn set_source(&mut self, key: &SrcKey, value: &SrcVal) -> Result<(), Error> {
        self.sources.set(key, *value)
    }

    /// Withdraws a further source.
    pub fn remove_source(&mut self, key: &SrcKey) -> Result<(), Error> {
        self.sources.remove(key)
    }

    /// The further MACs.
    pub fn macs(&self) -> Result<BTreeMap<MacKey, SrcVal>, Error> {
        self.macs.all()
    }

    /// Allows a further MAC. It counts only where the port has `MORE_SRC`.
    pub fn set_mac(&mut self, key: &MacKey, value: &SrcVal) -> Result<(), Error> {
        self.macs.set(*key, *value)
    }

    /// Withdraws a further MAC.
    pub fn remove_mac(&mut self, key: &MacKey) -> Result<(), Error> {
        self.macs.remove(*key)
    }

    /// The VLANs of trunk ports.
    pub fn vlans(&self) -> Result<Vec<VlanKey>, Error> {
        Ok(self.vlans.all()?.into_keys().collect())
    }

    /// Lets a trunk port carry a VLAN; VID 0 is untagged frames.
    pub fn set_vlan(&mut self, key: &VlanKey) -> Result<(), Error> {
        self.vlans.set(*key, 1)
    }

    /// Takes a VLAN from a trunk port.
    pub fn remove_vlan(&mut self, key: &VlanKey) -> Result<(), Error> {
        self.vlans.remove(*key)
    }

    /// The local endpoints that can be reached past the bridge.
    pub fn locals(&self) -> Result<BTreeMap<L2Key, Local>, Error> {
        self.locals.all()
    }

    /// Writes a local endpoint.
    pub fn set_local(&mut self, key: &L2Key, value: &Local) -> Result<(), Error> {
        let copy = NearLocal::of(key, value);
        self.near_locals.withdraw(&copy)?;
        self.locals.set(*key, *value)?;
        self.near_locals.put(copy)
    }

    /// Removes a local endpoint.
    pub fn remove_local(&mut self, key: &L2Key) -> Result<(), Error> {
        self.near_locals.withdraw(&NearLocal::of(key, &NearLocal::NONE.local))?;
        self.locals.remove(*key)
    }

    /// The watched addresses, with what was seen of them.
    pub fn watches(&self) -> Result<BTreeMap<AddrKey, Watch>, Error> {
        self.watches.all()
    }

    /// One watched address.
    pub fn watch(&self, key: &AddrKey) -> Result<Option<Watch>, Error> {
        self.watches.one(*key)
    }

    /// Watches an address. An entry made with [`Watch::new`] forgets what was seen, and the next foreign
    /// claim is told at once: write it before a probe is sent.
    pub fn set_watch(&mut self, key: &AddrKey, value: &Watch) -> Result<(), Error> {
        self.watches.set(*key, *value)
    }

    /// Stops watching an address.
    pub fn remove_watch(&mut self, key: &AddrKey) -> Result<(), Error> {
        self.watches.remove(*key)
    }

    /// The physical members, by ifindex.
    pub fn uplinks(&self) -> Result<BTreeMap<u32, Uplink>, Error> {
        self.uplinks.all()
    }

    /// Says to which bridge a physical member belongs.
    pub fn set_uplink(&mut self, ifindex: u32, uplink: &Uplink) -> Result<(), Error> {
        self.uplinks.set(ifindex, *uplink)
    }

    /// Removes a physical member.
    pub fn remove_uplink(&mut self, ifindex: u32) -> Result<(), Error> {
        self.uplinks.remove(ifindex)
    }

    /// The flags of a bridge, by its index (below [`maps::BRIDGES`]).
    pub fn bridge(&self, index: u16) -> Result<BridgeFlags, Error> {
        let bit = bridge_bit(index, "reading")?;
        Ok(BridgeFlags::NONE.set(BridgeFlags::ACCEL_OK, self.ctl.one(0)?.accel_ok & bit != 0))
    }

    /// Writes the flags of a bridge.
    pub fn set_bridge(&mut self, index: u16, flags: BridgeFlags) -> Result<(), Error> {
        let bit = bridge_bit(index, "writing")?;
        let ctl = self.ctl.one(0)?;
        let others = ctl.accel_ok & !bit;
        let accel_ok = if flags.contains(BridgeFlags::ACCEL_OK) { others | bit } else { others };
        self.ctl.set(0, Ctl { accel_ok, ..ctl })
    }

    /// Until when acceleration holds, ns of [`crate::ktime_ns`]; 0 = it does not.
    pub fn lease(&self) -> Result<u64, Error> {
        Ok(self.ctl.one(0)?.lease_ns)
    }

    /// Moves the end of the lease.
    pub fn set_lease(&mut self, until_ns: u64) -> Result<(), Error> {
        let ctl = self.ctl.one(0)?;
        self.ctl.set(0, Ctl { lease_ns: until_ns, ..ctl })
    }

    /// The counters of a slot, summed over the CPUs.
    pub fn counters(&self, slot: u32) -> Result<Counters, Error> {
        self.counts.sum(slot)
    }

    /// Zeroes the counters, the last offender and the rate of a slot, before it is handed out.
    pub fn zero_counters(&mut self, slot: u32) -> Result<(), Error> {
        self.counts.zero(slot)?;
        self.last.set(slot, NO_OFFENCE)?;
        self.rates.set(slot, Rate { since_ns: 0, sent: 0, lost: 0 })
    }

    /// The last frame of a slot that was counted under a drop reason.
    pub fn last(&self, slot: u32) -> Result<Option<Offence>, Error> {
        Ok(Some(self.last.one(slot)?).filter(|o| o.at_ns != 0))
    }

    /// Opens the ring of facts. One reader only.
    pub fn facts(&self) -> Result<FactRing, Error> {
        self.ring(maps::FACTS).map(FactRing::new)
    }

    /// Opens the ring of dropped frames. One reader only.
    pub fn drops(&self) -> Result<DropRing, Error> {
        self.ring(maps::DROPS).map(DropRing::new)
    }

    /// What an agent that was stopped amid a write left of the copies.
    fn mend_copies(&mut self) -> Result<(), Error> {
        let ports: Vec<_> = self.ports()?.iter().filter_map(|(i, port)| NearPort::of(*i, port)).collect();
        self.near_ports.mend(&ports)?;
        let locals: Vec<_> = self.locals()?.iter().map(|(key, local)| NearLocal::of(key, local)).collect();
        self.near_locals.mend(&locals)
    }

    fn ring(&self, name: &'static str) -> Result<RingBuf<MapData>, Error> {
        MapData::from_pin(self.hooks.pins.map(name))
            .and_then(|data| RingBuf::try_from(aya::maps::Map::RingBuf(data)))
            .map_err(|e| failed(name, "opening", "*", e))
    }
}

const NO_OFFENCE: Offence = Offence {
    at_ns: 0,
    ifindex: 0,
    slot: 0,
    generation: 0,
    len: 0,
    vlan_tci: 0,
    vlan_proto: 0,
    reason: 0,
    flags: OffenceFlags::NONE,
    head_len: 0,
    lost: 0,
    pad: 0,
    head: [0; HEAD_LEN],
};

/// The bit of a bridge in [`Ctl::accel_ok`].
fn bridge_bit(index: u16, operation: &'static str) -> Result<u64, Error> {
    1_u64.checked_shl(u32::from(index)).ok_or_else(|| {
        let beyond = MapError::OutOfBounds { index: u32::from(index), max_entries: maps::BRIDGES };
        failed(maps::CTL, operation, index, beyond)
    })
}

const fn program_name(role: Role) -> &'static str {
    match role {
        Role::FromPod => "up_from_pod",
        Role::ToPod => "up_to_pod",
        Role::Uplink => "up_uplink",
    }
}

fn program(object: &Ebpf, role: Role) -> Result<&SchedClassifier, Error> {
    let name = program_name(role);
    object.program(name).and_then(|p| p.try_into().ok()).ok_or(Error::Missing { kind: "program", name })
}

fn program_mut(object: &mut Ebpf, role: Role) -> Result<&mut SchedClassifier, Error> {
    let name = program_name(role);
    object.program_mut(name).and_then(|p| p.try_into().ok()).ok_or(Error::Missing { kind: "program", name })
}

fn load_object(pins: &Pins, max_endpoints: u32) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    for name in maps::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    for name in [maps::PORTS, maps::LOCAL] {
        loader.map_max_entries(name, maps::ports(max_endpoints));
    }
    for name in [maps::COUNT, maps::LAST, maps::RATE] {
        loader.map_max_entries(name, maps::slots(max_endpoints));
    }
    loader.map_max_entries(maps::WATCH, maps::watches(max_endpoints));
    loader.load(OBJECT).map_err(|e| Error::Load(Box::new(e)))
}

/// aya takes a pinned map as it is. If it were smaller than we think, the kernel would write beyond our
/// buffers, so the sizes are compared although the pin path already depends on them.
fn check_shapes(object: &Ebpf, max_endpoints: u32) -> Result<(), Error> {
    use std::mem::size_of;
    let (ports, slots) = (maps::ports(max_endpoints), maps::slots(max_endpoints));
    let shapes = [
        (maps::PORTS, 4, size_of::<Port>(), ports),
        (maps::SRC, size_of::<SrcKey>(), size_of::<SrcVal>(), maps::MAX_SOURCES),
        (maps::MACS, size_of::<MacKey>(), size_of::<SrcVal>(), maps::MAX_MACS),
        (maps::VLANS, size_of::<VlanKey>(), 4, maps::MAX_VLANS),
        (maps::LOCAL, size_of::<L2Key>(), size_of::<Local>(), ports),
        (maps::NEAR_PORTS, 4, size_of::<NearPort>(), maps::PLACES),
        (maps::NEAR_LOCALS, 4, size_of::<NearLocal>(), maps::PLACES),
        (maps::WATCH, size_of::<AddrKey>(), size_of::<Watch>(), maps::watches(max_endpoints)),
        (maps::UPLINKS, 4, size_of::<Uplink>(), maps::MAX_UPLINKS),
        (maps::CTL, 4, size_of::<Ctl>(), 1),
        (maps::COUNT, 4, 8 * COUNTERS, slots),
        (maps::LAST, 4, size_of::<Offence>(), slots),
        (maps::RATE, 4, size_of::<Rate>(), slots),
        (maps::FACTS, 0, 0, maps::FACTS_BYTES),
        (maps::DROPS, 0, 0, maps::DROPS_BYTES),
    ];
    for (name, key, value, entries) in shapes {
        check_shape(object, name, key, value, entries)?;
    }
    Ok(())
}

fn check_shape(
    object: &Ebpf,
    map: &'static str,
    key: usize,
    value: usize,
    entries: u32,
) -> Result<(), Error> {
    let data = object.map(map).and_then(map_data).ok_or(Error::Missing { kind: "map", name: map })?;
    let info = data.info().map_err(|e| failed(map, "reading", "info", e))?;
    let found = [info.key_size(), info.value_size(), info.max_entries()];
    let expected = [key as u64, value as u64, u64::from(entries)];
    for ((field, found), expected) in
        ["key size", "value size", "max_entries"].into_iter().zip(found).zip(expected)
    {
        if u64::from(found) != expected {
            return Err(Error::MapShape { map, field, found: u64::from(found), expected });
        }
    }
    Ok(())
}

/// The five types of maps that programs/src/maps.rs has.
fn map_data(map: &aya::maps::Map) -> Option<&MapData> {
    use aya::maps::Map::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf};
    match map {
        Array(d) | HashMap(d) | LpmTrie(d) | PerCpuArray(d) | RingBuf(d) => Some(d),
        _ => None,
    }
}

fn load_programs(object: &mut Ebpf) -> Result<[u32; 3], Error> {
    let mut ids = [0; 3];
    for (role, id) in Role::ALL.into_iter().zip(&mut ids) {
        let fail = |source| Error::LoadProgram { program: program_name(role), source: Box::new(source) };
        let program = program_mut(object, role)?;
        program.load().map_err(fail)?;
        *id = program.info().map_err(fail)?.id();
    }
    Ok(ids)
}
