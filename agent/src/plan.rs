//! From what should be there to what has to be done. Pure: values in, values out; no IO, no clock, no tokio.
//!
//! Every pass builds the whole desired set from scratch and compares it with what is known to be there. 250
//! dual-stack pods are about 10,000 small values; nothing is remembered between passes.
//!
//! | module | desired | compared with |
//! | --- | --- | --- |
//! | [`flows`] | the guard's flows of one bridge, one file for each table | the bridge's tables |
//! | [`bpf`] | the entries of the eBPF maps | the pinned maps |
//! | [`ports`] | the port in OVSDB | the monitored database |
//! | [`rebuild`] | the endpoint that a port of ours belongs to, when the ledger has lost it | – |
//! | [`accel`] | who may be reached past OVS, and why not | – |

pub mod accel;
pub mod bpf;
pub mod diff;
pub mod flows;
pub mod ports;
pub mod rebuild;
