//! What can go wrong between the agent and the kernel, with the operands that went in.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

use crate::Role;

/// A failed operation on programs, maps, links or pins.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for pins is not on a bpffs: a person must mount one.
    #[error("{} is not on a bpf file system: mount one there (mount -t bpf bpf <dir>)", path.display())]
    NotBpffs {
        /// The directory of the configuration.
        path: PathBuf,
    },
    /// A file or directory under the pins.
    #[error("{operation} {}", path.display())]
    Pin {
        /// What was done with it.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The limit of endpoints gives no usable map sizes.
    #[error("max_endpoints {max_endpoints} is out of range 1 to {limit}")]
    MaxEndpoints {
        /// The value given.
        max_endpoints: u32,
        /// The largest value taken.
        limit: u32,
    },
    /// The object or its maps could not be loaded.
    #[error("loading the eBPF object")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused a program.
    #[error("loading the program {program}")]
    LoadProgram {
        /// Its name.
        program: &'static str,
        /// The verifier's log stands here.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object or a pinned map is not what this crate was built with.
    #[error("map {map}: {field} is {found}, expected {expected}")]
    MapShape {
        /// Name of the map.
        map: &'static str,
        /// What differs.
        field: &'static str,
        /// What is there.
        found: u64,
        /// What was expected.
        expected: u64,
    },
    /// The object lacks a map or a program.
    #[error("the eBPF object has no {kind} {name}")]
    Missing {
        /// "map" or "program".
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// An operation on a map.
    #[error("{operation} {map}[{key}]")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// "reading", "writing", "removing".
        operation: &'static str,
        /// The key, printed.
        key: String,
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// The name and the index of a device do not belong together (any more).
    #[error("ifindex {ifindex} is not {ifname} but {}", found.as_deref().unwrap_or("nobody's"))]
    Device {
        /// The name given.
        ifname: String,
        /// The index given.
        ifindex: u32,
        /// The name of the device that has the index now.
        found: Option<String>,
    },
    /// A program could not be attached.
    #[error("attaching the program {program} to {ifname} (ifindex {ifindex})")]
    Attach {
        /// Which program.
        program: &'static str,
        /// The device.
        ifname: String,
        /// Its index.
        ifindex: u32,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A link could not be pinned, opened or removed.
    #[error("{operation} the link of {role} on ifindex {ifindex}")]
    Link {
        /// What was done with it.
        operation: &'static str,
        /// Which one.
        role: Role,
        /// The device.
        ifindex: u32,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A filter dump or removal over netlink.
    #[error("{operation} the tc filters of ifindex {ifindex}")]
    Filters {
        /// What was done.
        operation: &'static str,
        /// The device.
        ifindex: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a test run.
    #[error("running the program {program} on a frame of {len} bytes")]
    TestRun {
        /// Which program.
        program: &'static str,
        /// Length of the frame.
        len: usize,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
}

impl Error {
    pub(crate) fn link(
        operation: &'static str,
        role: Role,
        ifindex: u32,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Link { operation, role, ifindex, source: source.into() }
    }
}

/// The errno within aya's errors, which hide it at different depths.
pub(crate) trait Errno {
    fn errno(&self) -> Option<i32>;
}

impl Errno for ProgramError {
    fn errno(&self) -> Option<i32> {
        match self {
            ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
            ProgramError::NetlinkError(e) => e.raw_os_error(),
            ProgramError::TcError(e) => e.errno(),
            _ => None,
        }
    }
}

impl Errno for aya::programs::tc::TcError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::NetlinkError(e) => e.raw_os_error(),
            Self::IoError(e) => e.raw_os_error(),
            _ => None,
        }
    }
}

impl Errno for LinkError {
    fn errno(&self) -> Option<i32> {
        match self {
            LinkError::SyscallError(e) => e.io_error.raw_os_error(),
            _ => None,
        }
    }
}

impl Errno for PinError {
    fn errno(&self) -> Option<i32> {
        match self {
            PinError::SyscallError(e) => e.io_error.raw_os_error(),
            _ => None,
        }
    }
}
