//! What the kernel holds of BPF, for who looks for what was left behind. Reads only: an agent may work beside it.

use std::{collections::BTreeSet, io, path::Path};

use aya::{
    maps::{HashMap, LpmTrie, Map, MapData, MapError, loaded_maps, lpm_trie},
    programs::{ProgramError, loaded_programs},
};
use ebpf_abi::{AddrKey, L2Key, Local, MacKey, Port, SrcBody, SrcVal, Watch, maps};
use nix::libc::ENOENT;

use crate::{
    Error,
    error::Errno as _,
    pins::layouts,
    raw::{Plain, Raw},
    table::failed,
};

/// How many entries of the maps pinned under `bpf_dir` speak of endpoints, in all layouts together.
pub fn entries(bpf_dir: &Path) -> Result<usize, Error> {
    let mut sum = 0;
    for layout in layouts(bpf_dir)? {
        sum += hash::<u32, Port>(&layout, maps::PORTS)?
            + hash::<MacKey, SrcVal>(&layout, maps::MACS)?
            + hash::<L2Key, Local>(&layout, maps::LOCAL)?
            + hash::<AddrKey, Watch>(&layout, maps::WATCH)?
            + sources(&layout)?;
    }
    Ok(sum)
}

/// The ids of every program that is loaded on this machine, whoever did it.
pub fn program_ids() -> io::Result<BTreeSet<u32>> {
    let id = |program: Result<aya::programs::ProgramInfo, ProgramError>| match program {
        // Unloaded between its id and its description.
        Err(error) if error.errno() == Some(ENOENT) => None,
        other => Some(other.map(|program| program.id()).map_err(io::Error::other)),
    };
    loaded_programs().filter_map(id).collect()
}

/// The ids of every map on this machine.
pub fn map_ids() -> io::Result<BTreeSet<u32>> {
    let id = |map: Result<aya::maps::MapInfo, MapError>| match map {
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(ENOENT) => None,
        other => Some(other.map(|map| map.id()).map_err(io::Error::other)),
    };
    loaded_maps().filter_map(id).collect()
}

fn hash<K: Plain, V: Plain>(layout: &Path, name: &'static str) -> Result<usize, Error> {
    let map: HashMap<MapData, Raw<K>, Raw<V>> = open(layout, name)?;
    counted(name, map.keys())
}

fn sources(layout: &Path) -> Result<usize, Error> {
    let map: LpmTrie<MapData, Raw<SrcBody>, Raw<SrcVal>> = open(layout, maps::SRC)?;
    counted::<lpm_trie::Key<Raw<SrcBody>>>(maps::SRC, map.keys())
}

fn open<T: TryFrom<Map, Error = MapError>>(layout: &Path, name: &'static str) -> Result<T, Error> {
    let map = MapData::from_pin(layout.join(name)).and_then(Map::from_map_data);
    map.and_then(T::try_from).map_err(|e| failed(name, "opening", "*", e))
}

fn counted<K>(name: &'static str, keys: impl Iterator<Item = Result<K, MapError>>) -> Result<usize, Error> {
    let mut count = 0;
    for key in keys {
        key.map_err(|e| failed(name, "reading", "*", e))?;
        count += 1;
    }
    Ok(count)
}
