//! ICMPv6 and DHCPv6 of frames whose IPv6 source is good: no router, no DHCP server, no foreign neighbour.

use std::net::Ipv6Addr;

use ebpf_abi::Reason;
use openflow::{Mac, Match};

use super::{Bound, Rules, from_port};

const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Router advertisement, redirect (RFC 4861), router renumbering (RFC 2894), multicast router
/// advertisement (RFC 4286): what only routers send.
const ROUTER_TYPES: [u8; 4] = [134, 137, 138, 151];

const DHCP6_SERVER: u16 = 547;

/// OVS reads an absent link-layer address option as all zeroes.
const ABSENT: Mac = Mac([0; 6]);

pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let block = rules.block;
    let table = block.icmp6();
    // OVS sees no ports and no ICMPv6 type in a fragment (`frags=normal`).
    rules.deny(endpoint, table, 300, from_port(endpoint).icmp6().ip_frag_any(), Reason::Icmp6Frag);
    rules.deny(endpoint, table, 300, from_port(endpoint).udp6().tp_src(DHCP6_SERVER), Reason::Dhcp6Server);
    let solicits = (!endpoint.guard.slaac).then_some(ROUTER_SOLICITATION);
    for kind in ROUTER_TYPES.into_iter().chain(solicits) {
        rules.deny(endpoint, table, 300, of_type(endpoint, kind), Reason::Router);
    }
    neighbours(rules, endpoint);
    rules.allow(endpoint, table, 10, from_port(endpoint).ipv6(), block.accept());
}

/// Neighbour solicitations and advertisements (RFC 4861 §7.1, RFC 4862 §5.4.3).
fn neighbours(rules: &mut Rules, endpoint: &Bound) {
    let (table, accept) = (rules.block.icmp6(), rules.block.accept());
    let own_mac = endpoint.sources.mac;
    // OVS' parser zeroes the target of a message whose options are malformed.
    for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
        let malformed = of_type(endpoint, kind).nd_target(Ipv6Addr::UNSPECIFIED);
        rules.deny(endpoint, table, 260, malformed, Reason::Nd);
    }
    for &address in &endpoint.sources.ipv6 {
        let detection = valid(endpoint, NEIGHBOUR_SOLICITATION).ipv6_src(Ipv6Addr::UNSPECIFIED);
        rules.allow(endpoint, table, 250, detection.nd_target(address).nd_sll(ABSENT), accept);
        for link_layer in [own_mac, ABSENT] {
            let own = valid(endpoint, NEIGHBOUR_ADVERTISEMENT).nd_target(address).nd_tll(link_layer);
            rules.allow(endpoint, table, 200, own, accept);
        }
    }
    let detection = of_type(endpoint, NEIGHBOUR_SOLICITATION).ipv6_src(Ipv6Addr::UNSPECIFIED);
    rules.deny(endpoint, table, 240, detection, Reason::Nd);
    for link_layer in [own_mac, ABSENT] {
        rules.allow(endpoint, table, 200, valid(endpoint, NEIGHBOUR_SOLICITATION).nd_sll(link_layer), accept);
    }
    for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
        rules.deny(endpoint, table, 150, of_type(endpoint, kind), Reason::Nd);
    }
}

fn of_type(endpoint: &Bound, kind: u8) -> Match {
    from_port(endpoint).icmp6().icmp_type(kind)
}

/// Hop limit 255 proves that no router forwarded it; every other code is invalid.
fn valid(endpoint: &Bound, kind: u8) -> Match {
    of_type(endpoint, kind).nw_ttl(255).icmp_code(0)
}
