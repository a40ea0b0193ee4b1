//! The edges between crates, from cargo's metadata: of this workspace and of the BPF programs'.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use super::Violation;
use super::table::{ASYNC, CRATES, GUARDED, SANS_IO};

pub(super) fn check(root: &Path) -> Result<Vec<Violation>> {
    let metadata = MetadataCommand::new().current_dir(root).exec().context("cargo metadata")?;
    let mut violations = workspace(&metadata, root);
    violations.extend(sans_io(&metadata, root));
    let programs = root.join("ebpf/programs/Cargo.toml");
    if programs.exists() {
        let metadata =
            MetadataCommand::new().manifest_path(&programs).no_deps().exec().context("cargo metadata")?;
        violations.extend(workspace(&metadata, root));
    }
    Ok(violations)
}

/// The direct dependencies of every member, of every kind.
fn workspace(metadata: &Metadata, root: &Path) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in metadata.workspace_packages() {
        let direct = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        // One dependency may stand in several sections.
        for dependency in direct.collect::<BTreeSet<_>>() {
            violations.extend(
                edge(package.name.as_str(), dependency).map(|says| at(package, dependency, root, says)),
            );
        }
    }
    violations
}

/// What is wrong with one crate's dependency on another, if anything.
fn edge(from: &str, to: &str) -> Option<String> {
    let ours = |name: &str| CRATES.iter().find(|(crate_name, _)| *crate_name == name);
    let Some((_, allowed)) = ours(from) else { return Some(format!("crate {from} is not in the table")) };
    if ours(to).is_some() {
        // A crate's tests may depend on the crate itself, to switch its features on.
        return (from != to && !allowed.contains(&to)).then(|| format!("{from} must not depend on {to}"));
    }
    let (family, rooms) = GUARDED.iter().find(|(family, _)| belongs(to, family, '-'))?;
    (!rooms.contains(&from))
        .then(|| format!("{from} must not depend on {to}: {family} is only for {}", list(rooms)))
}

/// Whether `name` is `family` or one of its satellites (`tonic-health` of `tonic`).
pub(super) fn belongs(name: &str, family: &str, separator: char) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

pub(super) fn list(rooms: &[&str]) -> String {
    if rooms.is_empty() { "nobody here".to_owned() } else { rooms.join(", ") }
}

/// Async crates among everything that a sans-IO room needs to be built; tests are free.
fn sans_io(metadata: &Metadata, root: &Path) -> Vec<Violation> {
    let nodes: HashMap<_, _> =
        metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| (&node.id, node)).collect();
    let mut violations = Vec::new();
    for package in metadata.workspace_packages().into_iter().filter(|p| SANS_IO.contains(&p.name.as_str())) {
        let mut pending: Vec<(&PackageId, Option<&PackageId>)> = vec![(&package.id, None)];
        let mut seen = BTreeSet::new();
        while let Some((id, through)) = pending.pop() {
            let name = metadata[id].name.as_str();
            if ASYNC.iter().any(|family| belongs(name, family, '-')) {
                let direct = metadata[through.unwrap_or(id)].name.as_str();
                let says = format!("{} is sans-IO and must not depend on {name} (by {direct})", package.name);
                violations.push(at(package, direct, root, says));
                continue;
            }
            let built = nodes
                .get(id)
                .into_iter()
                .flat_map(|node| &node.deps)
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            for dep in built.filter(|dep| seen.insert(&dep.pkg)) {
                pending.push((&dep.pkg, through.or(Some(&dep.pkg))));
            }
        }
    }
    violations
}

/// A violation at the line of the manifest where the dependency stands.
fn at(package: &Package, dependency: &str, root: &Path, says: String) -> Violation {
    let manifest = package.manifest_path.as_std_path();
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let stands = |line: &str| {
        let name = line.trim_start().trim_start_matches('"');
        name.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=', '"']))
    };
    let line = text.lines().position(stands).map_or(1, |index| index + 1);
    let file = manifest.strip_prefix(root).unwrap_or(manifest).display().to_string();
    Violation { file, line, says }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_that_point_up_are_found() {
        assert_eq!(edge("underpass-agent", "openflow"), None);
        assert_eq!(edge("openflow", "serde"), None);
        assert_eq!(edge("ebpf", "ebpf"), None);
        assert!(edge("openflow", "ovsdb").unwrap().contains("must not depend on ovsdb"));
        assert!(edge("e2e", "underpass-agent").is_some());
        assert!(edge("newcomer", "serde").unwrap().contains("not in the table"));
    }

    #[test]
    fn guarded_crates_are_guarded_with_their_families() {
        assert_eq!(edge("underpass-cni", "tonic"), None);
        assert!(edge("ovsdb", "tonic-health").unwrap().contains("tonic is only for"));
        assert!(edge("underpass-agent", "aya").is_some());
        assert_eq!(edge("underpass-agent", "ayatollah"), None);
    }

    #[test]
    fn every_room_that_the_table_names_is_a_room() {
        let is_room = |name: &&&str| CRATES.iter().any(|(room, _)| room == *name);
        let named = CRATES.iter().chain(GUARDED).flat_map(|(_, rooms)| *rooms).chain(SANS_IO);
        assert_eq!(named.filter(|name| !is_room(name)).count(), 0);
    }
}
