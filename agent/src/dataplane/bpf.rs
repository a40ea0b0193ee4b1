//! The eBPF side: the one [`ebpf::Dataplane`] of the agent, shared between its one writer and its readers.
//!
//! Owns the pinned maps and the programs. Writes come from the reconciler alone; the prober and the control API
//! read counters, offenders and sightings. The agent does not know aya: this file speaks the plan's words.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebpf::{AttachKind, Dataplane, DropRing, Error, FactRing, Hooks, Role};
use ebpf_abi::{
    AddrKey, BridgeFlags, Counters, L2Key, Local, Offence, Port, SrcKey, SrcVal, Uplink, VlanKey, Watch, maps,
};

use crate::plan::bpf::{Holder, Tables};

/// How the programs hang on a host veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    pub ifindex: u32,
    /// `tcx` or `clsact`.
    pub kind: &'static str,
    /// There is no better way to hang them on this kernel.
    pub for_good: bool,
    /// A program of somebody else runs before ours, where it could change what we judge.
    pub foreign_before: bool,
    /// A program of somebody else is on one of the hooks.
    pub foreign: bool,
}

/// How programs are to be hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Without waiting for a grace period of the kernel: swapped in their TCX links where there are some, else by
    /// clsact (0.2 ms for both; two new TCX links take 24 ms, RTNL lock held; 6.18, HZ=250).
    AtOnce,
    /// For good: by TCX, which nobody takes off by accident and which leaves clsact to OVS' policing.
    ForGood,
}

/// The door to the maps and programs.
pub struct Bpf {
    // A lock, not a task: every call is one or a few short system calls, and a reader must not wait for a pass.
    dataplane: Mutex<Dataplane>,
    // Beside the lock: hanging a program takes milliseconds.
    hooks: Arc<Hooks>,
    has_tcx: bool,
    max_endpoints: u32,
}

impl Bpf {
    /// Makes or reuses the pinned maps below `bpf_dir` and loads the programs.
    pub fn open(bpf_dir: &Path, max_endpoints: u32) -> Result<Self, Error> {
        let dataplane = Dataplane::open(bpf_dir, max_endpoints)?;
        // Programs that still hang in their links hold the maps they were loaded with: nothing stops judging.
        for layout in dataplane.stale_layouts()? {
            tracing::info!(%layout, "maps of another version removed; they are filled anew from the ledger");
            dataplane.remove_layout(&layout)?;
        }
        let hooks = Arc::clone(&dataplane.hooks);
        let has_tcx = hooks.has_tcx();
        Ok(Self { dataplane: Mutex::new(dataplane), hooks, has_tcx, max_endpoints })
    }

    /// Hangs both programs on a host veth, or swaps them where they hang already.
    pub fn attach(&self, ifindex: u32, ifname: &str, haste: Haste) -> Result<Attached, Error> {
        let at_once = haste == Haste::AtOnce && !self.hooks.is_linked(ifindex);
        let kind = if at_once { AttachKind::Clsact } else { AttachKind::Tcx };
        let attached = match self.hooks.attach_pod(ifindex, ifname, kind) {
            // Somebody polices the device, and there is no room for a clsact qdisc.
            Err(_) if at_once && self.has_tcx => self.hooks.attach_pod(ifindex, ifname, AttachKind::Tcx),
            outcome => outcome,
        }?;
        Ok(self.described(ifindex, attached, attached.foreign_any))
    }

    /// Makes room for OVS' policing on a device, if our programs do not hang by clsact there.
    pub fn vacate(&self, ifindex: u32) -> Result<(), Error> {
        self.hooks.vacate(ifindex)
    }

    /// How the programs hang there now; `None` if one of them is gone.
    pub fn inspect(&self, ifindex: u32, ifname: &str) -> Result<Option<Attached>, Error> {
        let from = self.hooks.inspect(Role::FromPod, ifindex, ifname)?;
        let to = self.hooks.inspect(Role::ToPod, ifindex, ifname)?;
        Ok(from.zip(to).map(|(from, to)| self.described(ifindex, from, from.foreign_any || to.foreign_any)))
    }

    fn described(&self, ifindex: u32, guard: ebpf::Attached, foreign: bool) -> Attached {
        Attached {
            ifindex,
            kind: kind(guard.kind),
            for_good: guard.kind == AttachKind::Tcx || !self.has_tcx,
            foreign_before: guard.foreign_before,
            foreign,
        }
    }

    pub fn attach_uplink(&self, ifindex: u32, ifname: &str, uplink: Uplink) -> Result<(), Error> {
        self.lock().set_uplink(ifindex, &uplink)?;
        self.hooks.attach_uplink(ifindex, ifname, AttachKind::Tcx).map(drop)
    }

    /// Takes the programs off a device; the device may be gone.
    pub fn detach(&self, ifindex: u32) -> Result<(), Error> {
        self.hooks.detach(ifindex)
    }

    pub fn detach_uplink(&self, ifindex: u32) -> Result<(), Error> {
        self.hooks.detach(ifindex)?;
        self.lock().remove_uplink(ifindex)
    }

    /// Removes every pin, after every program was detached.
    pub fn remove_pins(&self) -> Result<(), Error> {
        self.lock().remove_pins()
    }

    /// The interfaces that have programs of ours, by index; the device may be gone.
    pub fn attached(&self) -> Result<Vec<u32>, Error> {
        let mut indices: Vec<_> = self.hooks.attachments()?.into_iter().map(|a| a.ifindex).collect();
        indices.dedup();
        Ok(indices)
    }

    /// Reads every map that the agent writes.
    pub fn read(&self) -> Result<Tables, Error> {
        let dataplane = self.lock();
        let mut bridges = BTreeMap::new();
        for index in 0..maps::BRIDGES {
            let flags = dataplane.bridge(u16::try_from(index).unwrap_or_default())?;
            if flags != BridgeFlags::NONE {
                bridges.insert(index, flags);
            }
        }
        let watches = dataplane.watches()?.into_iter().map(|(key, watch)| {
            (key, Holder { slot: watch.slot, generation: watch.generation, mac: watch.mac })
        });
        Ok(Tables {
            ports: dataplane.ports()?,
            sources: dataplane.sources()?,
            vlans: dataplane.vlans()?.into_iter().collect(),
            locals: dataplane.locals()?,
            watches: watches.collect(),
            uplinks: dataplane.uplinks()?,
            bridges,
        })
    }

    pub fn set_port(&self, ifindex: u32, port: &Port) -> Result<(), Error> {
        self.lock().set_port(ifindex, port)
    }

    pub fn remove_port(&self, ifindex: u32) -> Result<(), Error> {
        self.lock().remove_port(ifindex)
    }

    pub fn set_source(&self, key: &SrcKey, value: &SrcVal) -> Result<(), Error> {
        self.lock().set_source(key, value)
    }

    pub fn remove_source(&self, key: &SrcKey) -> Result<(), Error> {
        self.lock().remove_source(key)
    }

    pub fn set_vlan(&self, key: &VlanKey) -> Result<(), Error> {
        self.lock().set_vlan(key)
    }

    pub fn remove_vlan(&self, key: &VlanKey) -> Result<(), Error> {
        self.lock().remove_vlan(key)
    }

    pub fn set_local(&self, key: &L2Key, local: &Local) -> Result<(), Error> {
        self.lock().set_local(key, local)
    }

    pub fn remove_local(&self, key: &L2Key) -> Result<(), Error> {
        self.lock().remove_local(key)
    }

    /// Writes who holds an address; when it was last seen begins anew.
    pub fn set_watch(&self, key: &AddrKey, holder: &Holder) -> Result<(), Error> {
        self.lock().set_watch(key, &Watch::new(holder.slot, holder.generation, holder.mac))
    }

    pub fn remove_watch(&self, key: &AddrKey) -> Result<(), Error> {
        self.lock().remove_watch(key)
    }

    /// What the programs have seen of an address; `None` if nobody watches it.
    pub fn watch(&self, key: &AddrKey) -> Result<Option<Watch>, Error> {
        self.lock().watch(key)
    }

    pub fn set_bridge(&self, index: u32, flags: BridgeFlags) -> Result<(), Error> {
        self.lock().set_bridge(u16::try_from(index).unwrap_or(u16::MAX), flags)
    }

    /// Lets the programs go past OVS until `lease` from now.
    pub fn extend_lease(&self, lease: Duration) -> Result<(), Error> {
        let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        self.lock().set_lease(ebpf::ktime_ns().saturating_add(lease))
    }

    /// How long the programs still may go past OVS.
    pub fn lease_left(&self) -> Duration {
        let until = self.lock().lease().unwrap_or_default();
        Duration::from_nanos(until.saturating_sub(ebpf::ktime_ns()))
    }

    /// The layout of the maps: the name of the directory where they are pinned.
    pub fn layout(&self) -> String {
        format!("v{}-{:016x}", ebpf_abi::ABI_VERSION, ebpf_abi::layout_hash(self.max_endpoints))
    }

    pub fn zero(&self, slot: u32) -> Result<(), Error> {
        self.lock().zero_counters(slot)
    }

    pub fn counters(&self, slot: u32) -> Result<Counters, Error> {
        self.lock().counters(slot)
    }

    /// The newest frame of a slot that was stopped.
    pub fn last(&self, slot: u32) -> Result<Option<Offence>, Error> {
        self.lock().last(slot)
    }

    /// The ring of sightings. It has one reader.
    pub fn facts(&self) -> Result<FactRing, Error> {
        self.lock().facts()
    }

    /// The ring of stopped frames. It has one reader.
    pub fn drops(&self) -> Result<DropRing, Error> {
        self.lock().drops()
    }

    fn lock(&self) -> MutexGuard<'_, Dataplane> {
        // A panic in the middle of a call leaves the kernel's maps as they are; they are read back anyway.
        self.dataplane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(kind: AttachKind) -> &'static str {
    match kind {
        AttachKind::Tcx => "tcx",
        AttachKind::Clsact => "clsact",
    }
}
