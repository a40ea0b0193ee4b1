//! IPv4: no redirects, no router advertisements, no DHCP server; the source is the pod's own.

use std::net::Ipv4Addr;

use ebpf_abi::Reason;

use super::{Bound, Rules, from_port};

/// ICMP redirect (RFC 792) and router advertisement (RFC 1256): what only routers send.
const ROUTER_TYPES: [u8; 2] = [5, 9];

const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let (table, accept) = (rules.block.ipv4(), rules.block.accept());
    for kind in ROUTER_TYPES {
        let router = from_port(endpoint).icmp().icmp_type(kind);
        rules.deny(endpoint, table, 300, router, Reason::Router);
    }
    let server = from_port(endpoint).udp().tp_src(DHCP_SERVER);
    rules.deny(endpoint, table, 300, server, Reason::Dhcp4Server);
    for &address in &endpoint.sources.ipv4 {
        rules.allow(endpoint, table, 200, from_port(endpoint).ip().nw_src(address), accept);
    }
    if endpoint.guard.dhcp {
        let client = from_port(endpoint).udp().tp_src(DHCP_CLIENT).tp_dst(DHCP_SERVER);
        let client = client.nw_src(Ipv4Addr::UNSPECIFIED).nw_dst(Ipv4Addr::BROADCAST);
        rules.allow(endpoint, table, 190, client, accept);
    }
    rules.deny(endpoint, table, 10, from_port(endpoint), Reason::Ipv4);
}
