//! From a configuration and the agent's defaults to an endpoint.

use std::net::IpAddr;
use std::path::Path;

use agent_api::cni::v1::Start;
use ipnet::IpNet;
use nix::unistd::Pid;

use super::Context;
use crate::cni::args::RequestedIp;
use crate::cni::conf::{BridgeName, Kind};
use crate::cni::{CniArgs, CniError, CniResult, Code, NetConf, args};
use crate::config::Config;
use crate::dataplane::netns::Netns;
use crate::dataplane::ports::Ovs;
use crate::model::{Endpoint, EndpointId, Guard, GuardMode, ProbeTiming, Route};

/// An ADD or CHECK, understood.
pub(super) struct Asked {
    pub(super) id: EndpointId,
    pub(super) conf: NetConf,
    pub(super) args: CniArgs,
    pub(super) netns: Netns,
    /// Tells a repeated request from a changed one.
    pub(super) digest: u64,
}

impl Asked {
    pub(super) fn parse(context: &Context, pid: i32, start: &Start) -> Result<Self, CniError> {
        let id = args::endpoint_id(&start.container_id, &start.ifname)?;
        let args = CniArgs::parse(&start.args)?;
        let conf = NetConf::parse(&start.stdin, &args)?;
        for warning in &conf.warnings {
            tracing::warn!(endpoint = %id, network = %conf.head.name, "{warning}");
        }
        if start.netns.is_empty() {
            return Err(CniError::new(Code::INVALID_ENVIRONMENT, "CNI_NETNS is missing"));
        }
        let netns = Netns::open_of_peer(&context.proc_root, Pid::from_raw(pid), Path::new(&start.netns))
            .map_err(|error| {
                CniError::new(Code::UNKNOWN_CONTAINER, "CNI_NETNS cannot be opened").caused_by(&error)
            })?;
        // The node would get the pod's addresses, routes and settings.
        if Netns::current().is_ok_and(|node| node.same_as(&netns)) {
            let msg =
                format!("CNI_NETNS is {:?}: expected another network namespace than the node's", start.netns);
            return Err(CniError::new(Code::INVALID_ENVIRONMENT, msg));
        }
        Ok(Self { digest: digest(start), id, conf, args, netns })
    }

    /// The endpoint as far as it is known without IPAM.
    pub(super) fn endpoint(&self, config: &Config, ovs: &Ovs, netns: &str) -> Result<Endpoint, CniError> {
        let bridge = self.bridge(ovs)?;
        let conf = &self.conf;
        let addresses: Vec<IpNet> = match conf.head.ipam {
            Some(_) => Vec::new(),
            None => conf.ips.iter().filter_map(network).collect(),
        };
        let has_addresses = conf.head.ipam.is_some() || !addresses.is_empty();
        let default_mode = if has_addresses { config.guard_mode } else { GuardMode::Mac };
        let timing = config.conflict.timing;
        Ok(Endpoint {
            id: self.id.clone(),
            pod: self.args.pod.clone(),
            netns: netns.to_owned(),
            network: conf.head.name.clone(),
            ovs_cni: conf.head.kind == Kind::Ovs,
            mtu: conf.mtu.or(ovs.bridges.get(&bridge).and_then(|b| b.local_mtu)).unwrap_or(DEFAULT_MTU),
            bridge,
            vlan: conf.vlan.clone(),
            mac: conf.mac.unwrap_or_else(|| self.id.derived_mac()),
            addresses,
            gateways: Vec::new(),
            routes: Vec::new(),
            guard: Guard {
                mode: conf.guard.mode.unwrap_or(default_mode),
                dhcp: conf.guard.dhcp,
                slaac: conf.guard.slaac,
                vm: conf.guard.vm,
            },
            conflict: conf.conflict.policy.unwrap_or(config.conflict.policy),
            conflict_timing: ProbeTiming {
                count: conf.conflict.count.unwrap_or(timing.count),
                interval: conf.conflict.interval.unwrap_or(timing.interval),
                wait: conf.conflict.wait.unwrap_or(timing.wait),
            },
            gateway: conf.gateway.unwrap_or(config.gateway.policy),
            accelerate: conf.accelerate.unwrap_or(true),
            ofport_request: conf.ofport_request,
        })
    }

    /// The bridge that the configuration means.
    pub(super) fn bridge(&self, ovs: &Ovs) -> Result<String, CniError> {
        reachable(ovs).map_err(|why| CniError::new(Code::TRY_AGAIN, "OVSDB is out of reach").because(why))?;
        resolve_bridge(&self.conf.bridge, ovs)
    }
}

/// The bridge that a configuration means, which must exist.
pub(super) fn resolve_bridge(name: &BridgeName, ovs: &Ovs) -> Result<String, CniError> {
    let existing: Vec<_> = ovs.bridges.keys().cloned().collect();
    let existing = existing.join(", ");
    match name {
        BridgeName::Bridge(name) if ovs.bridges.contains_key(name) => Ok(name.clone()),
        BridgeName::Bridge(name) => Err(CniError::config(format!("bridge `{name}` does not exist"))
            .because(format!("bridges here: {existing}"))),
        BridgeName::WithUplink(uplink) => {
            let bears = |p: &&crate::dataplane::ports::Port| {
                p.name == *uplink || p.interfaces.iter().any(|i| i.name == *uplink)
            };
            let port = ovs.ports.values().find(bears);
            port.map(|p| p.bridge.clone()).ok_or_else(|| {
                CniError::config(format!("no bridge has the uplink `{uplink}`"))
                    .because(format!("bridges here: {existing}"))
            })
        }
    }
}

/// Why the database's picture cannot be relied on, if it cannot.
pub(super) fn reachable(ovs: &Ovs) -> Result<(), String> {
    ovs.outage().map_or(Ok(()), |why| Err(why.to_owned()))
}

/// Adds what IPAM gave.
pub(super) fn with_addresses(mut endpoint: Endpoint, result: &CniResult) -> Endpoint {
    endpoint.addresses = result.ips.iter().map(|ip| ip.address).collect();
    let mut gateways: Vec<IpAddr> = Vec::new();
    for gateway in result.ips.iter().filter_map(|ip| ip.gateway) {
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    endpoint.gateways = gateways;
    endpoint.routes = result.routes.iter().map(|r| Route { destination: r.dst, gateway: r.gw }).collect();
    endpoint
}

/// Refuses an MTU with which the kernel has no IPv6 on an interface (RFC 8200, section 5).
pub(super) fn check_mtu(endpoint: &Endpoint) -> Result<(), CniError> {
    if endpoint.has_ipv6() && endpoint.mtu < IPV6_MTU {
        let mtu = endpoint.mtu;
        return Err(CniError::config(format!("mtu is {mtu}: expected at least {IPV6_MTU}, because of IPv6")));
    }
    Ok(())
}

/// An address with its prefix; without IPAM the configuration insists on one.
fn network(ip: &RequestedIp) -> Option<IpNet> {
    match ip {
        RequestedIp::Network(network) => Some(*network),
        RequestedIp::Address(_) => None,
    }
}

/// FNV-1a over what makes a request: the configuration, the arguments, the namespace's path.
fn digest(start: &Start) -> u64 {
    let parts = [&start.stdin[..], start.args.as_bytes(), start.netns.as_bytes()];
    let bytes = parts.into_iter().flat_map(|part| part.iter().copied().chain([0]));
    bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The smallest MTU that IPv6 allows, in bytes.
const IPV6_MTU: u32 = 1_280;

/// The kernel's own default, where neither the configuration nor the bridge says anything.
const DEFAULT_MTU: u32 = 1_500;
