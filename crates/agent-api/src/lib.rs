//! The gRPC contract of the agent, its socket and how to reach it.
//!
//! Two services share one Unix socket: [`cni`] is what the CNI shim speaks, [`control`] is what `agentctl` speaks. The
//! `.proto` files under `proto/` are the contract and carry the units; this crate adds what both sides must agree on
//! beside them: where the socket is ([`socket_path`]), how large a message may be ([`MAX_MESSAGE`]) and which clock
//! orders an ADD against a DEL ([`boottime_ns`]). It holds no policy.
//!
//! Features keep small users small: `cni-client` (the shim), `control-client` (`agentctl`), `server` (the agent, both
//! services). The messages of a service exist only where one of its sides does.
#![forbid(unsafe_code)]

#[cfg(feature = "socket")]
mod connect;
#[cfg(feature = "cni-client")]
mod line;
mod socket;
mod spool;

#[cfg(feature = "client")]
pub use connect::connect;
#[cfg(feature = "socket")]
pub use connect::{CONNECT_TIMEOUT, ConnectError};
#[cfg(feature = "cni-client")]
pub use line::{Line, dial};
pub use socket::{
    ACCEPT_TIMEOUT, ACCEPT_TIMEOUT_MS, ACCEPT_TIMEOUT_VARIABLE, DEFAULT_SOCKET, SOCKET_VARIABLE,
    accept_timeout, boottime_ns, socket_path,
};
pub use spool::{SPOOL_DIR, SPOOL_MAX_BYTES, SPOOL_MAX_FILES, is_spool_file, spool_dir, spool_file_name};

/// `underpass.cni.v1`: the conversation between shim and agent.
#[cfg(feature = "cni")]
pub mod cni {
    /// Version 1 of the contract.
    #[expect(unused_qualifications, reason = "generated")]
    #[cfg_attr(feature = "server", expect(clippy::default_trait_access, reason = "generated"))]
    pub mod v1 {
        tonic::include_proto!("underpass.cni.v1");
    }
}

/// `underpass.control.v1`: what operators ask the agent.
#[cfg(feature = "control")]
pub mod control {
    /// Version 1 of the contract.
    #[expect(unused_qualifications, reason = "generated")]
    #[expect(clippy::struct_excessive_bools, reason = "a message has the fields its contract has")]
    #[cfg_attr(
        feature = "server",
        expect(clippy::default_trait_access, clippy::too_many_lines, reason = "generated")
    )]
    pub mod v1 {
        tonic::include_proto!("underpass.control.v1");
    }
}

/// Most bytes of one payload: standard input of a call, standard output of a plugin or of a call. A CNI configuration
/// is some hundred bytes, a GC list of 500 attachments some 50 KiB; 4 MiB is gRPC's customary limit.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Most bytes of a plugin's standard error that travel with its outcome.
pub const MAX_STDERR: usize = 64 << 10;

/// Most bytes of one message: a payload and the `CNI_*` variables, of which Linux allows 128 KiB each.
pub const MAX_MESSAGE: usize = MAX_PAYLOAD + (1 << 20);
