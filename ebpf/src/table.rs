//! Maps with their names and types: every error says which map and which key.

use std::{collections::BTreeMap, fmt::Debug};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues, lpm_trie},
    util::nr_cpus,
};
use ebpf_abi::{COUNTERS, Counters, SrcBody, SrcKey, SrcVal, maps};

use crate::{
    Error,
    raw::{Plain, Raw},
};

/// A hash map.
pub(crate) struct Table<K: Plain, V: Plain> {
    name: &'static str,
    map: HashMap<MapData, Raw<K>, Raw<V>>,
}

impl<K: Plain + Ord + Debug, V: Plain> Table<K, V> {
    pub(crate) fn take(object: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        Ok(Self { name, map: take(object, name)? })
    }

    /// Writes an entry, replacing the one before.
    pub(crate) fn set(&mut self, key: K, value: V) -> Result<(), Error> {
        self.map.insert(Raw(key), Raw(value), 0).map_err(|e| failed(self.name, "writing", key, e))
    }

    /// Removes an entry; one that is not there is removed already.
    pub(crate) fn remove(&mut self, key: K) -> Result<(), Error> {
        absent_is_fine(self.map.remove(&Raw(key))).map_err(|e| failed(self.name, "removing", key, e))
    }

    /// One entry.
    pub(crate) fn one(&self, key: K) -> Result<Option<V>, Error> {
        match self.map.get(&Raw(key), 0) {
            Ok(Raw(value)) => Ok(Some(value)),
            Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
            Err(e) => Err(failed(self.name, "reading", key, e)),
        }
    }

    /// Every entry. The map may change meanwhile; the agent is its only writer.
    pub(crate) fn all(&self) -> Result<BTreeMap<K, V>, Error> {
        self.map
            .iter()
            .map(|entry| entry.map(|(Raw(k), Raw(v))| (k, v)))
            .collect::<Result<_, _>>()
            .map_err(|e| failed(self.name, "reading", "*", e))
    }
}

/// The sources by prefix.
pub(crate) struct Sources(LpmTrie<MapData, Raw<SrcBody>, Raw<SrcVal>>);

impl Sources {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        take(object, maps::SRC).map(Sources)
    }

    pub(crate) fn set(&mut self, key: &SrcKey, value: SrcVal) -> Result<(), Error> {
        self.0.insert(&lpm(key), Raw(value), 0).map_err(|e| failed(maps::SRC, "writing", key, e))
    }

    pub(crate) fn remove(&mut self, key: &SrcKey) -> Result<(), Error> {
        absent_is_fine(self.0.remove(&lpm(key))).map_err(|e| failed(maps::SRC, "removing", key, e))
    }

    pub(crate) fn all(&self) -> Result<BTreeMap<SrcKey, SrcVal>, Error> {
        self.0
            .iter()
            .map(|entry| entry.map(|(k, Raw(v))| (SrcKey { prefix: k.prefix_len(), body: k.data().0 }, v)))
            .collect::<Result<_, _>>()
            .map_err(|e| failed(maps::SRC, "reading", "*", e))
    }
}

fn lpm(key: &SrcKey) -> lpm_trie::Key<Raw<SrcBody>> {
    lpm_trie::Key::new(key.prefix, Raw(key.body))
}

/// An array.
pub(crate) struct Cells<V: Plain> {
    name: &'static str,
    map: Array<MapData, Raw<V>>,
}

impl<V: Plain> Cells<V> {
    pub(crate) fn take(object: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        Ok(Self { name, map: take(object, name)? })
    }

    pub(crate) fn set(&mut self, index: u32, value: V) -> Result<(), Error> {
        self.map.set(index, Raw(value), 0).map_err(|e| failed(self.name, "writing", index, e))
    }

    pub(crate) fn one(&self, index: u32) -> Result<V, Error> {
        self.map.get(&index, 0).map(|Raw(v)| v).map_err(|e| failed(self.name, "reading", index, e))
    }
}

/// The counters, one set for each CPU.
pub(crate) struct Counts(PerCpuArray<MapData, Raw<[u64; COUNTERS]>>);

impl Counts {
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        take(object, maps::COUNT).map(Counts)
    }

    /// The sum over the CPUs.
    pub(crate) fn sum(&self, slot: u32) -> Result<Counters, Error> {
        let cpus = self.0.get(&slot, 0).map_err(|e| failed(maps::COUNT, "reading", slot, e))?;
        let mut sum = Counters::default();
        for Raw(cpu) in cpus.iter() {
            for (total, n) in sum.0.iter_mut().zip(cpu) {
                *total = total.wrapping_add(*n);
            }
        }
        Ok(sum)
    }

    pub(crate) fn zero(&mut self, slot: u32) -> Result<(), Error> {
        let fail = |e| failed(maps::COUNT, "writing", slot, e);
        let cpus = nr_cpus().map_err(|(_, e)| fail(MapError::IoError(e)))?;
        let zeroes = PerCpuValues::try_from(vec![Raw([0; COUNTERS]); cpus]).map_err(|e| fail(e.into()))?;
        self.0.set(slot, zeroes, 0).map_err(fail)
    }
}

/// Takes a map out of the object as a type of aya's.
pub(crate) fn take<T: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let map = object.take_map(name).ok_or(Error::Missing { kind: "map", name })?;
    T::try_from(map).map_err(|e| failed(name, "opening", "*", e))
}

pub(crate) fn failed(map: &'static str, operation: &'static str, key: impl Debug, source: MapError) -> Error {
    Error::Map { map, operation, key: format!("{key:?}"), source: Box::new(source) }
}

/// The kernel answers ENOENT for a key that is not there; aya gives that as a failed system call.
fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        other => other,
    }
}
