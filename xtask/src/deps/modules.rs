//! The edges between the agent's modules, from the paths in its sources.
//!
//! A module is the first name below `agent/src`; what its own files name of each other is its own
//! affair. `crate::x` and `super::super::x` are seen alike; a re-export at the crate's root would hide
//! an arrow and is a violation itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Violation;
use super::crates::{belongs, list};
use super::paths::{NamedPath, paths};
use super::table::{IMPURE, MODULE_GUARDED, MODULES, PURE_MODULES};

const SOURCES: &str = "agent/src";

pub(super) fn check(root: &Path) -> Result<Vec<Violation>> {
    let sources = root.join(SOURCES);
    let mut files = Vec::new();
    rust_files(&sources, &mut files)?;
    files.sort();
    let mut violations = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let relative = file.strip_prefix(&sources).unwrap_or(&file);
        violations.extend(check_file(relative, &text));
    }
    Ok(violations)
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The violations of one file, given by its path below `agent/src`.
fn check_file(relative: &Path, text: &str) -> Vec<Violation> {
    let stem = relative.with_extension("");
    let names: Vec<_> = stem.iter().filter_map(|part| part.to_str()).collect();
    let Some(&module) = names.first() else { return Vec::new() };
    let file = format!("{SOURCES}/{}", relative.display());
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![Violation { file, line: 1, says: format!("module {module} is not in the table") }];
    };
    let mut violations: Vec<Violation> = Vec::new();
    for path in paths(text) {
        let says = arrow(module, allowed, names.len(), &path).or_else(|| foreign(module, &path));
        if let Some(says) = says {
            let violation = Violation { file: file.clone(), line: path.line, says };
            if !violations.contains(&violation) {
                violations.push(violation);
            }
        }
    }
    violations
}

/// What is wrong with a path into another module of the agent, if anything.
fn arrow(module: &str, allowed: &[&str], depth: usize, path: &NamedPath) -> Option<String> {
    let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    let target = match segments.as_slice() {
        ["crate", target, ..] => *target,
        // Inside an inline module one `super` more stays at home: only known modules count here.
        _ if supers >= depth => segments.get(supers).copied().filter(|target| is_module(target))?,
        // The binary's own way to its library.
        ["underpass_agent", target, ..] => *target,
        _ => return None,
    };
    if target == module || allowed.contains(&target) {
        return None;
    }
    if !is_module(target) {
        return Some(format!("crate::{target} is no module in the table (a re-export would hide its arrow)"));
    }
    Some(format!("{module} must not name {target}; it may: {}", list(allowed)))
}

fn is_module(name: &str) -> bool {
    MODULES.iter().any(|(module, _)| *module == name)
}

/// What is wrong with a path out of the agent, if anything.
fn foreign(module: &str, path: &NamedPath) -> Option<String> {
    let first = path.segments.first()?;
    let guarded =
        MODULE_GUARDED.iter().find(|(family, rooms)| belongs(first, family, '_') && !rooms.contains(&module));
    if let Some((family, rooms)) = guarded {
        return Some(format!("{module} must not name {first}: {family} is only for {}", list(rooms)));
    }
    let whole = path.segments.join("::");
    let impure = IMPURE.iter().find(|impure| {
        whole.strip_prefix(**impure).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })?;
    PURE_MODULES
        .contains(&module)
        .then(|| format!("{module} takes values and gives values: it must not name {impure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &[&str]) {
        let found: Vec<_> = check_file(Path::new(file), text).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found:?} does not say {expected:?}");
        }
    }

    #[test]
    fn arrows_down_are_allowed() {
        check("app.rs", "use crate::{api, store::Store, reconcile};", &[]);
        check("plan/flows.rs", "use crate::model::Mac;\nuse super::ports;\nuse crate::plan::diff;", &[]);
        check("main.rs", "use underpass_agent::app;", &[]);
        check("dataplane/links.rs", "use rtnetlink::Handle;", &[]);
        check("api/control.rs", "use tonic_health::server;", &[]);
    }

    #[test]
    fn arrows_up_are_found_with_file_and_line() {
        check("plan.rs", "\n\nuse crate::store::Store;", &["agent/src/plan.rs:3: plan must not name store"]);
        check("store/ledger.rs", "fn f() { crate::api::cni::x() }", &["store must not name api"]);
        check("model/mac.rs", "use super::super::dataplane::Links;", &["model must not name dataplane"]);
        check(
            "plan.rs",
            "mod tests { use super::*; }\nuse super::reconcile::X;",
            &["plan must not name reconcile"],
        );
        check("main.rs", "use underpass_agent::store;", &["main must not name store"]);
    }

    #[test]
    fn strangers_in_the_wrong_room_are_found() {
        check("store.rs", "use tonic::Status;", &["store must not name tonic"]);
        check("api/cni.rs", "use rtnetlink::Handle;", &["api must not name rtnetlink"]);
        check("dataplane/bpf.rs", "use aya::Ebpf;", &["aya is only for nobody here"]);
        check("reconcile.rs", "fn f(s: tonic_prost::X) {}", &["tonic is only for api"]);
    }

    #[test]
    fn the_pure_modules_do_no_io() {
        check("plan/flows.rs", "use std::{fs, collections::BTreeMap};", &["must not name std::fs"]);
        check("model.rs", "fn now() { std::time::Instant::now(); tokio::spawn(x) }", &["Instant", "tokio"]);
        check("store.rs", "use std::fs; use tokio::sync::watch;", &[]);
        check("plan.rs", "/// See `tokio::sync`.\nconst S: &str = \"std::fs::read\";", &[]);
    }

    #[test]
    fn newcomers_and_re_exports_are_told() {
        check("helper.rs", "", &["module helper is not in the table"]);
        check("store.rs", "use crate::Everything;", &["crate::Everything is no module"]);
    }

    #[test]
    fn the_table_names_modules_only() {
        let named = MODULES.iter().flat_map(|(_, allowed)| *allowed);
        assert_eq!(named.filter(|name| !is_module(name)).count(), 0);
    }
}
