//! What may not outlive a cluster on the machine that carried it: processes, links, cgroups, files, and
//! the programs and maps that its agents loaded, which the kernel counts for all cells together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ebpf::census;

use super::{Cluster, NODES};
use crate::eventually::{eventually, wait_for};
use crate::wire::link_names;

/// The kernel takes namespaces, programs and maps away behind the last process, on a loaded machine too.
const GONE_WITHIN: Duration = Duration::from_secs(30);

impl Cluster {
    /// Remembers what the agents hold of the kernel now, for the end.
    pub(super) fn note_held(&self) -> Result<()> {
        self.held.borrow_mut().add(self)
    }

    /// The kernel has none of the programs and maps any more that the agents had loaded when they were installed.
    #[track_caller]
    pub fn assert_unloaded(&self) {
        eventually(GONE_WITHIN, "programs and maps are unloaded", || self.held.borrow().loaded());
    }
}

/// What a cluster had of the kernel, by the kernel's own numbers. Those of programs and maps are given once only; those
/// of namespaces again and again, but only cells have PID namespaces here.
#[derive(Debug, Default)]
pub(super) struct Held {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    /// PID namespaces, as `/proc/PID/ns` names them: `pid:[4026532000]`.
    cells: BTreeSet<PathBuf>,
    /// The number in the names of its links and cgroups.
    id: String,
}

impl Held {
    /// Adds what the agents have loaded now and the cells.
    fn add(&mut self, cluster: &Cluster) -> Result<()> {
        self.id = fs::read_to_string(cluster.state.join("id"))?.trim().into();
        for cell in ["cp", NODES[0], NODES[1]] {
            let pid = fs::read_to_string(cluster.state.join(cell).join("pid"))?;
            self.cells.insert(fs::read_link(format!("/proc/{}/ns/pid", pid.trim()))?);
        }
        for node in NODES {
            // A descriptor may be closed while it is read.
            let read =
                "for pid in $(busybox pidof underpass-agent); do cat /proc/$pid/fdinfo/* || true; done";
            let text = cluster.on(node, &["sh", "-c", read])?;
            self.programs.extend(ids(&text, "prog_id:"));
            self.maps.extend(ids(&text, "map_id:"));
        }
        ensure!(!self.programs.is_empty() && !self.maps.is_empty(), "no agent has loaded anything");
        Ok(())
    }

    /// Whether the kernel still has programs or maps of these.
    fn loaded(&self) -> Result<()> {
        let left = |ours: &BTreeSet<u32>, all: &BTreeSet<u32>| ours.intersection(all).copied().collect();
        let programs: Vec<u32> = left(&self.programs, &census::program_ids()?);
        let maps: Vec<u32> = left(&self.maps, &census::map_ids()?);
        ensure!(programs.is_empty() && maps.is_empty(), "still loaded: programs {programs:?}, maps {maps:?}");
        Ok(())
    }

    /// What is left although the cluster is down; waits for it to go first.
    pub(super) fn left(&self, state: &Path) -> Vec<String> {
        let looks: [(&str, &dyn Fn() -> Result<()>); 5] = [
            ("BPF", &|| self.loaded()),
            ("processes", &|| self.no_process()),
            ("links", &|| self.no_link()),
            ("cgroups", &|| self.no_cgroup()),
            ("files", &|| {
                ensure!(!state.exists(), "{} is there", state.display());
                Ok(())
            }),
        ];
        let left = looks.iter().filter_map(|(what, look)| Some((what, wait_for(GONE_WITHIN, look).err()?)));
        left.map(|(what, why)| format!("{what}: {why}")).collect()
    }

    fn no_process(&self) -> Result<()> {
        for process in fs::read_dir("/proc")?.flatten().map(|entry| entry.path()) {
            let Ok(cell) = fs::read_link(process.join("ns/pid")) else { continue };
            ensure!(!self.cells.contains(&cell), "{} is in {}", process.display(), cell.display());
        }
        Ok(())
    }

    /// `common.sh` makes both ends of a cable on the machine before it moves them.
    fn no_link(&self) -> Result<()> {
        let cable = format!("-{}", self.id);
        let cables: Vec<String> = link_names()?.into_iter().filter(|name| name.ends_with(&cable)).collect();
        ensure!(cables.is_empty(), "{cables:?}");
        Ok(())
    }

    fn no_cgroup(&self) -> Result<()> {
        let (root, name) = (Path::new("/sys/fs/cgroup"), format!("underpass-cluster-{}", self.id));
        let hierarchies = fs::read_dir(root).context("listing cgroups")?.flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            let group = hierarchy.join(&name);
            ensure!(!group.exists(), "{}", group.display());
        }
        Ok(())
    }
}

fn ids<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = u32> + 'a {
    text.lines().filter_map(move |line| line.strip_prefix(key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_descriptors_of_every_kind() {
        let text = "pos:\t0\nlink_type:\ttcx\nprog_id:\t17\nmap_id:\t3\nmap_id:\t4\n";
        assert_eq!(ids(text, "prog_id:").collect::<Vec<_>>(), [17]);
        assert_eq!(ids(text, "map_id:").collect::<Vec<_>>(), [3, 4]);
    }
}
