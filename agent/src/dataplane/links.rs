//! Veths: the pairs that join pods to the bridge, and what stands on the pod's end.
//!
//! Owns: one rtnetlink socket in the host's namespace with the thread that drives it ([`Links`]), a second one that
//! hears of changes ([`monitor`]), and for each piece of work that is long or in a pod's namespace a thread and a
//! socket that live as long as the work. The agent's own threads never wait for the kernel's RTNL lock.
//! Every operation is level-triggered: it may be repeated at any time and brings about the same end.
//!
//! Must not: move a device between namespaces (the pod's end is born where it belongs: 1 ms against 16 ms, measured),
//! touch what bears no mark of ours, write a sysctl of `all` or `default`, or read or write `rp_filter` or forwarding.
//!
//! The order at ADD (design §3, "the gate opens last"): [`Links::create_veth`] → [`Links::prepare_pod_link`], the
//! other stages, then [`Links::set_host_up`], the probe, [`Links::configure_pod`]. The host end is made down.
//!
//! | file | |
//! | --- | --- |
//! | `links/create.rs` | the pair, made |
//! | `links/host.rs` | observe, up and down, delete: the host's namespace |
//! | `links/pod.rs` | prepare, configure, inspect: the pod's namespace |
//! | `links/monitor.rs` | the task that keeps the observed set current |
//! | `links/request.rs`, `sysctl.rs`, `ethtool.rs` | one door each to rtnetlink, `/proc/sys`, ethtool netlink |

mod create;
mod ethtool;
mod host;
pub mod monitor;
mod pod;
mod request;
mod sysctl;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::netns::{Netns, NetnsError, ProcRoot};
use crate::model::Mac;

pub use crate::model::Route;
pub use request::Refusal;

/// The adapter. Clones share the socket.
#[derive(Clone, Debug)]
pub struct Links {
    netlink: request::Netlink,
    host: Netns,
    proc: ProcRoot,
}

/// A kernel interface index. It means something only together with its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u32);

/// What [`Links::create_veth`] is to make.
#[derive(Clone, Debug)]
pub struct VethSpec<'a> {
    /// At most 15 bytes, `veth` and 11 hex digits.
    pub host_ifname: &'a str,
    /// The mark of the owner; at most 255 bytes (IFALIASZ).
    pub alias: &'a str,
    /// The name that the runtime asked for, at most 15 bytes.
    pub pod_ifname: &'a str,
    pub pod_netns: &'a Netns,
    pub mtu: u32,
    /// Of the pod's end. The host end keeps the random one of the kernel: nothing ever uses it.
    pub mac: Mac,
}

/// A host end as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVeth {
    pub index: IfIndex,
    /// `None` on a veth that bears nobody's mark: a foreign one, or one of ours that lost a race with a crash.
    pub alias: Option<String>,
    pub is_up: bool,
    pub mtu: u32,
    pub mac: Mac,
    /// Index of the pod's end, in the pod's namespace (IFLA_LINK).
    pub peer: IfIndex,
    /// The root qdisc: `noop` while down, `noqueue` where nobody shapes, else something that forbids acceleration.
    pub qdisc: String,
    /// The device that took it as a port: `ovs-system` on the kernel datapath.
    pub master: Option<IfIndex>,
}

/// Host ends by interface name.
pub type HostVeths = BTreeMap<String, HostVeth>;

/// What IPv6 does on a pod's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Mode {
    /// An IPv4-only attachment: IPv6 is off on this interface.
    Off,
    /// Addresses and routes come from us alone.
    Static,
    /// The pod also listens to routers.
    Slaac,
}

/// Which datapath the bridge has, as far as a pod's link must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// As the kernel has them.
    Keep,
    /// The userspace datapath forwards partial checksums, and receivers drop UDP and TCP for it (design §4): transmit
    /// checksums and segmentation are done in the pod's own stack.
    TransmitOff,
}

/// What [`Links::prepare_pod_link`] is to bring about.
#[derive(Clone, Copy, Debug)]
pub struct PodLinkSpec<'a> {
    pub ifname: &'a str,
    pub mac: Mac,
    pub mtu: u32,
    pub ipv6: Ipv6Mode,
    pub offloads: Offloads,
}

/// A pod's end as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    pub index: IfIndex,
    /// Index of the host end: the proof that the link is an endpoint's (design §3, "the netns").
    pub peer: IfIndex,
    pub mac: Mac,
    pub mtu: u32,
    pub is_up: bool,
    /// All addresses, the kernel's own link-local one included.
    pub addresses: Vec<IpNet>,
    /// Unicast routes of the main table through this link.
    pub routes: Vec<PodRoute>,
}

/// A route as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRoute {
    pub destination: IpNet,
    pub gateway: Option<IpAddr>,
}

/// Why an operation on links failed. The chain of sources ends in the kernel's errno and words.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("{operation}")]
    Refused {
        operation: String,
        #[source]
        source: Refusal,
    },
    #[error("{operation}: no answer from the kernel within {after:?}")]
    Timeout { operation: String, after: Duration },
    #[error("{operation}: the netlink socket is closed")]
    Closed { operation: String },
    #[error("{operation}: torn by concurrent changes {attempts} times")]
    Torn { operation: String, attempts: usize },
    #[error("write `{value}` to {}", path.display())]
    Sysctl {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("turn transmit offloads off on {ifname} (ethtool netlink)")]
    Ethtool {
        ifname: String,
        #[source]
        source: io::Error,
    },
    #[error("interface {ifname} exists on the host and is not ours (alias `{alias}`)")]
    HostNameTaken { ifname: String, alias: String },
    #[error("interface {ifname} already exists in {}", netns.display())]
    PodNameTaken { ifname: String, netns: PathBuf },
    #[error("no interface {ifname}")]
    NoSuchLink { ifname: String },
    #[error("`{ifname}` is not an interface name")]
    BadName { ifname: String },
    #[error("address {address}: interface {ifname} has it with another prefix")]
    AddressTaken { address: IpNet, ifname: String },
    #[error("route to {destination}: another route to it exists, not through {ifname}")]
    RouteTaken { destination: IpNet, ifname: String },
}

impl LinkError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } => Some(source.errno),
            _ => None,
        }
    }
}

impl Links {
    /// Connects to rtnetlink in `host`. A thread of its own drives the socket; the future ends when that thread does,
    /// which is when the last clone is dropped or the socket fails.
    pub async fn connect(
        host: Netns,
        proc: ProcRoot,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), LinkError> {
        let (netlink, ended) = request::connect(&host).await?;
        Ok((Self { netlink, host, proc }, async { drop(ended.await) }))
    }

    /// The namespace in which host ends live.
    pub fn host(&self) -> &Netns {
        &self.host
    }
}

/// Whether `name` has the form of our host ends: `veth` and 11 hex digits.
///
/// Others use `veth` with other lengths. The name only makes a link a candidate; the alias decides.
pub fn is_host_end_name(name: &str) -> bool {
    name.strip_prefix("veth").is_some_and(|digits| {
        digits.len() == 11 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Refuses what the kernel would (`dev_valid_name`), before it becomes part of a path below `/proc/sys`.
fn check_ifname(ifname: &str) -> Result<(), LinkError> {
    let bad = ifname.is_empty()
        || ifname.len() > IFNAME_MAX
        || ifname == "."
        || ifname == ".."
        || ifname.bytes().any(|b| matches!(b, b'/' | b':' | 0) || b.is_ascii_whitespace());
    if bad { Err(LinkError::BadName { ifname: ifname.to_owned() }) } else { Ok(()) }
}

/// IFNAMSIZ without the closing zero.
const IFNAME_MAX: usize = 15;

#[cfg(test)]
mod tests;
