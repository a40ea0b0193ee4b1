//! Everything that knows BPF: the TC programs as bytes, and one typed door to them.
//!
//! [`Dataplane`] owns the pinned maps and the loaded programs of one agent. It is synchronous and has
//! no tasks: each call is one or a few system calls. [`FactRing`] and [`DropRing`] are the two ways in
//! which the kernel speaks up by itself; their owner waits on the descriptor and reads until empty.
//!
//! The types of the maps stand in [`abi`], which the kernel side is built from too. This crate must not
//! know OVS, the API server or what an endpoint is; it writes what it is told.
//!
//! ```text
//! bpf_dir/                     bpffs, mounted by someone else
//!   v<abi>-<layout hash>/      the maps of one layout: PORTS, SRC, ..., each pinned under its name
//!   links/<ifindex>-<role>     the TCX links: kept when the layout changes, so that a new version swaps
//!                              the program in a link instead of leaving a gap
//!   links/<ifindex>-<role>-tc  an empty directory: here a clsact filter is attached (kernels before 6.6)
//! ```

pub use ebpf_abi as abi;

#[cfg(feature = "census")]
pub mod census;
mod clock;
#[cfg(feature = "corpus")]
pub mod corpus;
mod dataplane;
mod error;
mod filters;
mod links;
mod near;
mod pins;
mod raw;
mod ring;
mod table;

pub use clock::ktime_ns;
pub use dataplane::{AttachKind, Attached, Attachment, Dataplane, Hooks, TestRun};
pub use error::Error;
pub use pins::Role;
pub use ring::{DropRing, FactRing};
