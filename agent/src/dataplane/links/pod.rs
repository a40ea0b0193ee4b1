//! The pod's end of a veth: prepared while down, configured when the gate is open, inspected for CHECK.
//!
//! Acts on one interface of one namespace and on nothing else there. Addresses and routes are added, never removed
//! behind the pod's back: a pod may put virtual addresses of its own beside ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::host::{link_named, mac_of, missing, up_down};
use super::request::{self, Netlink};
use super::{
    IfIndex, Ipv6Mode, LinkError, Links, Offloads, PodLink, PodLinkSpec, PodRoute, check_ifname, ethtool,
    sysctl,
};
use crate::dataplane::netns::Netns;
use crate::model::{Mac, Route};

impl Links {
    /// Sets what must be set before the link is up, then sets it up: sysctls of this interface, address generation,
    /// offloads, MAC and MTU. No address yet.
    pub async fn prepare_pod_link(&self, netns: &Netns, spec: PodLinkSpec<'_>) -> Result<IfIndex, LinkError> {
        check_ifname(spec.ifname)?;
        let (proc, ifname) = (self.proc.clone(), spec.ifname.to_owned());
        let PodLinkSpec { mac, mtu, ipv6, offloads, .. } = spec;
        request::visit(netns, move |netlink| async move {
            sysctl::prepare_pod_end(&proc, &ifname, ipv6)?;
            if offloads == Offloads::TransmitOff {
                ethtool::turn_transmit_offloads_off(&ifname)
                    .map_err(|source| LinkError::Ethtool { ifname: ifname.clone(), source })?;
            }
            let spec = PodLinkSpec { ifname: &ifname, mac, mtu, ipv6, offloads };
            prepare(&netlink, &spec).await?;
            // Not in the same request: the kernel applies the flags before IFLA_AF_SPEC (do_setlink, Linux 5.10).
            let change = RouteNetlinkMessage::SetLink(up_down(&ifname, true));
            netlink.change(&format!("RTM_SETLINK {ifname} up"), change, 0).await?;
            index_of(&netlink, &ifname).await
        })
        .await
    }

    /// Sets addresses and routes. The link must be up, and for IPv6 routes the host end as well.
    ///
    /// IPv6 addresses are set without duplicate address detection of the kernel: the agent has probed already.
    /// A gateway that no address of the link covers is taken as on-link, as CNI's `ptp` networks need it.
    pub async fn configure_pod(
        &self,
        netns: &Netns,
        ifname: &str,
        addresses: &[IpNet],
        routes: &[Route],
    ) -> Result<(), LinkError> {
        check_ifname(ifname)?;
        let (ifname, addresses) = (ifname.to_owned(), addresses.to_vec());
        // Routes without a gateway first: they may be what makes a gateway reachable.
        let (direct, via): (Vec<_>, Vec<_>) = routes.iter().partition(|route| route.gateway.is_none());
        let in_order = direct.into_iter().chain(via);
        let routes: Vec<_> = in_order
            .map(|route| PodRoute { destination: route.destination.trunc(), gateway: route.gateway })
            .collect();
        request::visit(netns, |netlink| async move {
            let index = index_of(&netlink, &ifname).await?;
            let pod = PodEnd { netlink, ifname, index };
            for address in addresses {
                pod.add_address(address).await?;
            }
            for route in routes {
                pod.add_route(route).await?;
            }
            Ok(())
        })
        .await
    }

    /// The pod's end as it is, `None` where there is no such link.
    pub async fn inspect_pod_link(&self, netns: &Netns, ifname: &str) -> Result<Option<PodLink>, LinkError> {
        check_ifname(ifname)?;
        let ifname = ifname.to_owned();
        request::visit(netns, |netlink| async move {
            let Some(link) = link_named(&netlink, &ifname).await? else { return Ok(None) };
            let mut seen = describe(&link);
            let pod = PodEnd { netlink, ifname, index: seen.index };
            seen.addresses = pod.addresses().await?;
            seen.routes = pod.routes().await?;
            Ok(Some(seen))
        })
        .await
    }
}

/// One interface in the namespace of `netlink`.
struct PodEnd {
    netlink: Netlink,
    ifname: String,
    index: IfIndex,
}

impl PodEnd {
    async fn add_address(&self, address: IpNet) -> Result<(), LinkError> {
        let operation = format!("RTM_NEWADDR {address} on {}", self.ifname);
        let message = RouteNetlinkMessage::NewAddress(self.address_message(address));
        match self.netlink.change(&operation, message, NLM_F_CREATE | NLM_F_EXCL).await {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                // IPv6 says so whatever the prefix is.
                if self.addresses().await?.contains(&address) {
                    Ok(())
                } else {
                    Err(LinkError::AddressTaken { address, ifname: self.ifname.clone() })
                }
            }
            outcome => outcome,
        }
    }

    fn address_message(&self, address: IpNet) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.index = self.index.0;
        message.attributes =
            vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
        match address {
            // The broadcast address is set as the reference plugins set it; /31 and /32 have none (RFC 3021).
            IpNet::V4(v4) if v4.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
            }
            IpNet::V4(_) => {}
            IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
        }
        message
    }

    async fn add_route(&self, route: PodRoute) -> Result<(), LinkError> {
        let refused = match self.request_route(route, RouteFlags::empty()).await {
            // No address of the link covers the gateway: "Nexthop has invalid gateway" (IPv4), "No route to host".
            Err(error) if matches!(error.errno(), Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH)) => {
                self.request_route(route, RouteFlags::Onlink).await
            }
            outcome => outcome,
        };
        match refused {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                if self.routes().await?.contains(&route) {
                    Ok(())
                } else {
                    Err(LinkError::RouteTaken { destination: route.destination, ifname: self.ifname.clone() })
                }
            }
            outcome => outcome,
        }
    }

    async fn request_route(&self, route: PodRoute, flags: RouteFlags) -> Result<(), LinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(route.destination.addr());
        message.header.destination_prefix_length = route.destination.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.flags = flags;
        message.header.scope = match route.gateway {
            None if route.destination.addr().is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        message.attributes = vec![
            RouteAttribute::Destination(route.destination.addr().into()),
            RouteAttribute::Oif(self.index.0),
        ];
        message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        let operation = format!("RTM_NEWROUTE {}{via} dev {}", route.destination, self.ifname);
        let message = RouteNetlinkMessage::NewRoute(message);
        self.netlink.change(&operation, message, NLM_F_CREATE | NLM_F_EXCL).await
    }

    async fn addresses(&self) -> Result<Vec<IpNet>, LinkError> {
        let mut message = AddressMessage::default();
        message.header.index = self.index.0;
        let operation = format!("RTM_GETADDR of {}", self.ifname);
        let replies = self.netlink.dump(&operation, RouteNetlinkMessage::GetAddress(message)).await?;
        let addresses = replies.iter().filter_map(|reply| match reply {
            RouteNetlinkMessage::NewAddress(m) if m.header.index == self.index.0 => address_of(m),
            _ => None,
        });
        Ok(addresses.collect())
    }

    async fn routes(&self) -> Result<Vec<PodRoute>, LinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.attributes = vec![
                RouteAttribute::Table(u32::from(RouteHeader::RT_TABLE_MAIN)),
                RouteAttribute::Oif(self.index.0),
            ];
            let operation = format!("RTM_GETROUTE through {}", self.ifname);
            let replies = self.netlink.dump(&operation, RouteNetlinkMessage::GetRoute(message)).await;
            match replies {
                Ok(replies) => routes.extend(replies.iter().filter_map(|reply| route_of(reply, self.index))),
                // A kernel without IPv6 has no such table.
                Err(error)
                    if family == AddressFamily::Inet6
                        && matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => {}
                Err(error) => return Err(error),
            }
        }
        routes.sort();
        Ok(routes)
    }
}

/// Everything that rtnetlink sets before the link is up.
async fn prepare(netlink: &Netlink, spec: &PodLinkSpec<'_>) -> Result<(), LinkError> {
    let operation = format!("RTM_SETLINK {} mac {}, mtu {}", spec.ifname, spec.mac, spec.mtu);
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(spec.ifname.to_owned()),
        LinkAttribute::Address(spec.mac.0.to_vec()),
        LinkAttribute::Mtu(spec.mtu),
    ];
    missing(spec.ifname, netlink.change(&operation, RouteNetlinkMessage::SetLink(message), 0).await)?;
    if spec.ipv6 == Ipv6Mode::Off {
        return Ok(());
    }
    // The link-local must be the one that the guard expects: EUI-64 of the MAC (RFC 4291, appendix A).
    let operation = format!("RTM_SETLINK {} addr_gen_mode eui64", spec.ifname);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::Eui64);
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(spec.ifname.to_owned()),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]),
    ];
    match netlink.change(&operation, RouteNetlinkMessage::SetLink(message), 0).await {
        // A kernel without IPv6, or a link whose MTU is below the 1,280 bytes that IPv6 needs: no link-local either.
        Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EINVAL)) => Ok(()),
        outcome => outcome,
    }
}

async fn index_of(netlink: &Netlink, ifname: &str) -> Result<IfIndex, LinkError> {
    match link_named(netlink, ifname).await? {
        Some(link) => Ok(IfIndex(link.header.index)),
        None => Err(LinkError::NoSuchLink { ifname: ifname.to_owned() }),
    }
}

fn describe(link: &LinkMessage) -> PodLink {
    let mut seen = PodLink {
        index: IfIndex(link.header.index),
        peer: IfIndex(0),
        mac: Mac([0; 6]),
        mtu: 0,
        is_up: link.header.flags.contains(LinkFlags::Up),
        addresses: Vec::new(),
        routes: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => seen.mac = mac_of(bytes).unwrap_or(seen.mac),
            LinkAttribute::Mtu(mtu) => seen.mtu = *mtu,
            LinkAttribute::Link(index) => seen.peer = IfIndex(*index),
            _ => {}
        }
    }
    seen
}

/// The interface's own address: IFA_LOCAL, which IPv6 leaves out where it equals IFA_ADDRESS.
fn address_of(message: &AddressMessage) -> Option<IpNet> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => address = Some(*ip),
            AddressAttribute::Address(ip) => address = address.or(Some(*ip)),
            _ => {}
        }
    }
    IpNet::new(address?, message.header.prefix_len).ok()
}

fn route_of(reply: &RouteNetlinkMessage, through: IfIndex) -> Option<PodRoute> {
    let RouteNetlinkMessage::NewRoute(message) = reply else { return None };
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut gateway, mut is_ours) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => destination = ip_of(ip)?,
            RouteAttribute::Gateway(ip) => gateway = Some(ip_of(ip)?),
            RouteAttribute::Oif(index) => is_ours = *index == through.0,
            _ => {}
        }
    }
    let destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    is_ours.then_some(PodRoute { destination, gateway })
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
