//! The Container Network Interface as values: configurations in, results and errors out.
//!
//! What the runtime, Multus and IPAM plugins hand over is parsed here, once, with an error that names the field and the
//! value; past this module nothing looks at JSON of theirs again. The module is pure: no IO, no clock, no tokio, no gRPC.
//! It decides nothing about endpoints: defaults of the agent are merged in by its callers.
//!
//! | part | bytes to value, value to bytes |
//! | --- | --- |
//! | [`conf`] | network configuration of `type: underpass` and `type: ovs` |
//! | [`args`] | `CNI_ARGS`, container id, interface name |
//! | [`result`] | results in all four versions, both ways |
//! | [`ipam`] | what an IPAM plugin is told, and what it answered |
//! | [`check`] | what CHECK expects to find |
//! | [`gc`] | the attachments that GC must leave alone |
//! | [`error`] | error objects and their codes |
//!
//! Versions: 0.3.1, 0.4.0, 1.0.0 and 1.1.0 of the specification; section numbers in comments are 1.1.0's.

pub mod args;
pub mod check;
pub mod conf;
pub mod error;
mod fields;
pub mod gc;
pub mod ipam;
pub mod result;
mod version;

pub use args::CniArgs;
pub use conf::{Head, NetConf};
pub use error::{CniError, Code};
pub use result::CniResult;
pub use version::Version;
