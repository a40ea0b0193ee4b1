//! Watching the neighbourhood: conflicts of addresses, and gateways.
//!
//! Everything here is sans-IO: it is told the time and what was seen, and says what to send and when to look again.
//! Time is a [`Duration`] on the boot clock, as everywhere in the agent. What was seen bears the time that the kernel took
//! (the driver converts it), because vswitchd stalls during large dumps, and a verdict must not depend on who was
//! scheduled when.
//!
//! | file | |
//! | --- | --- |
//! | `frames` | the bytes of every frame that is sent |
//! | `conflict` | at ADD, before the addresses are set: is somebody else using them? |
//! | `watch` | for the pod's whole life: the book of who claimed a local address |
//! | `gateway` | per (bridge, VLAN, gateway): does it answer, and with one MAC? |
//!
//! Must not: open sockets, read a clock, know OpenFlow or eBPF maps. The driver does, and hands facts in.

pub mod conflict;
pub mod driver;
pub mod frames;
pub mod gateway;
pub mod watch;

use std::net::IpAddr;
use std::time::Duration;

use crate::model::Mac;

/// Somebody who is not the rightful holder spoke for a watched address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub address: IpAddr,
    /// Who spoke: the sender's MAC inside ARP, the Ethernet source of ND.
    pub mac: Mac,
    pub said: Said,
    /// When the kernel saw the frame.
    pub at: Duration,
    /// The device that saw it.
    pub ifindex: u32,
}

/// What a frame says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// "It is mine": ARP with it as sender, a neighbour advertisement for it, a solicitation from it.
    Claims,
    /// "I am about to use it": an ARP probe (RFC 5227, section 1.1), duplicate address detection (RFC 4862, 5.4).
    Probes,
}
