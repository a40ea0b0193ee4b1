//! Where things are pinned: the paths under `bpf_dir`, and what lies there.

use std::{
    fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use ebpf_abi::{ABI_VERSION, layout_hash};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::Error;

/// Which program of ours is attached to a device, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `up_from_pod` on the ingress of a host veth.
    FromPod,
    /// `up_to_pod` on the egress of a host veth.
    ToPod,
    /// `up_uplink` on the ingress of a physical member.
    Uplink,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::FromPod, Role::ToPod, Role::Uplink];

    /// The name in paths and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Role::FromPod => "from_pod",
            Role::ToPod => "to_pod",
            Role::Uplink => "uplink",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ends the name of the directory that marks a clsact filter. bpffs refuses names with a dot.
const CLSACT_SUFFIX: &str = "-tc";

/// The paths under one `bpf_dir`.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    layout: String,
}

/// What was found under `links/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) ifindex: u32,
    pub(crate) role: Role,
    pub(crate) clsact: bool,
}

impl Pins {
    /// Makes the directories. The root must lie on a bpffs, or where one is mounted above it.
    pub(crate) fn prepare(root: &Path, max_endpoints: u32) -> Result<Pins, Error> {
        let existing = root.ancestors().find(|p| p.exists()).unwrap_or(root);
        let magic =
            statfs(existing).map_err(|e| pin_error("looking at", existing, e.into()))?.filesystem_type();
        if magic != BPF_FS_MAGIC {
            return Err(Error::NotBpffs { path: root.to_path_buf() });
        }
        let pins = Pins { root: root.to_path_buf(), layout: layout_name(max_endpoints) };
        for dir in [pins.layout_dir(), pins.links_dir()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|e| pin_error("creating", &dir, e))?;
        }
        Ok(pins)
    }

    pub(crate) fn layout_dir(&self) -> PathBuf {
        self.root.join(&self.layout)
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.layout_dir().join(name)
    }

    /// The pin of a TCX link.
    pub(crate) fn link(&self, ifindex: u32, role: Role) -> PathBuf {
        self.links_dir().join(format!("{ifindex}-{role}"))
    }

    /// The mark of a clsact filter.
    pub(crate) fn clsact_mark(&self, ifindex: u32, role: Role) -> PathBuf {
        self.links_dir().join(format!("{ifindex}-{role}{CLSACT_SUFFIX}"))
    }

    /// Everything attached, as far as the pins tell.
    pub(crate) fn found(&self) -> Result<Vec<Found>, Error> {
        let mut found: Vec<Found> =
            names(&self.links_dir())?.iter().filter_map(|name| parse_link(name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Directories of other layouts.
    pub(crate) fn stale_layouts(&self) -> Result<Vec<String>, Error> {
        let mut stale = names(&self.root)?;
        stale.retain(|name| is_layout(name) && *name != self.layout);
        stale.sort_unstable();
        Ok(stale)
    }

    /// Removes the maps of another layout. Programs that still use them keep them alive in the kernel.
    pub(crate) fn remove_layout(&self, name: &str) -> Result<(), Error> {
        let dir = self.root.join(name);
        if !is_layout(name) || name == self.layout {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not the directory of another layout");
            return Err(pin_error("removing", &dir, source));
        }
        remove(&dir, |p| fs::remove_dir_all(p))
    }

    /// Removes everything that is pinned, the directory too.
    pub(crate) fn remove_all(&self) -> Result<(), Error> {
        remove(&self.root, |p| fs::remove_dir_all(p))
    }

    fn links_dir(&self) -> PathBuf {
        self.root.join("links")
    }
}

/// Removes what may be gone already.
pub(crate) fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    match how(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(pin_error("removing", path, e)),
        _ => Ok(()),
    }
}

pub(crate) fn pin_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Pin { operation, path: path.to_path_buf(), source }
}

fn layout_name(max_endpoints: u32) -> String {
    format!("v{ABI_VERSION}-{:016x}", layout_hash(max_endpoints))
}

fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').and_then(|rest| rest.split_once('-')).is_some_and(|(abi, hash)| {
        abi.bytes().all(|b| b.is_ascii_digit())
            && hash.len() == 16
            && hash.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn parse_link(name: &str) -> Option<Found> {
    let (ifindex, rest) = name.split_once('-')?;
    let (role, clsact) = match rest.strip_suffix(CLSACT_SUFFIX) {
        Some(role) => (role, true),
        None => (rest, false),
    };
    let role = *Role::ALL.iter().find(|r| r.name() == role)?;
    Some(Found { ifindex: ifindex.parse().ok()?, role, clsact })
}

/// The directories of all layouts under `root`; none where it does not exist.
#[cfg(feature = "census")]
pub(crate) fn layouts(root: &Path) -> Result<Vec<PathBuf>, Error> {
    if !root.exists() {
        return Ok(Vec::new());
    }
    let layouts = names(root)?.into_iter().filter(|name| is_layout(name));
    Ok(layouts.map(|name| root.join(name)).collect())
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().map_err(|e| pin_error("listing", dir, e))
}

#[cfg(test)]
mod tests {
    use super::{Found, Role, is_layout, layout_name, parse_link};

    #[test]
    fn another_limit_of_endpoints_is_another_layout() {
        assert_ne!(layout_name(512), layout_name(513));
        assert!(is_layout(&layout_name(512)));
    }

    #[test]
    fn only_our_names_are_layouts() {
        for name in ["links", "v1", "v1-xyz", "v1-0123", "vx-0123456789abcdef", "1-0123456789abcdef"] {
            assert!(!is_layout(name), "{name}");
        }
    }

    #[test]
    fn names_of_links_say_device_role_and_kind() {
        let found = |role, clsact| Some(Found { ifindex: 17, role, clsact });
        assert_eq!(parse_link("17-from_pod"), found(Role::FromPod, false));
        assert_eq!(parse_link("17-to_pod-tc"), found(Role::ToPod, true));
        assert_eq!(parse_link("17-uplink"), found(Role::Uplink, false));
        for name in ["17", "x-uplink", "17-other", "-uplink", "17-uplink-tc-tc"] {
            assert_eq!(parse_link(name), None, "{name}");
        }
    }
}
