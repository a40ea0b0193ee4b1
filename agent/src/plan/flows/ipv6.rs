//! IPv6 sources: own addresses; `::` only for duplicate address detection and MLDv2 reports.

use std::net::Ipv6Addr;

use ebpf_abi::Reason;

use super::{Bound, Rules, from_port};

const NEIGHBOUR_SOLICITATION: u8 = 135;
/// RFC 3810 §5.2.13: a report may be sent from `::` before a link-local address is there.
const MLDV2_REPORT: u8 = 143;

pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let block = rules.block;
    let table = block.ipv6();
    for &address in &endpoint.sources.ipv6 {
        rules.allow(endpoint, table, 200, from_port(endpoint).ipv6().ipv6_src(address), block.icmp6());
    }
    let nobody = || from_port(endpoint).icmp6().ipv6_src(Ipv6Addr::UNSPECIFIED);
    rules.allow(endpoint, table, 200, nobody().icmp_type(NEIGHBOUR_SOLICITATION), block.icmp6());
    rules.allow(endpoint, table, 200, nobody().icmp_type(MLDV2_REPORT), block.accept());
    rules.deny(endpoint, table, 10, from_port(endpoint), Reason::Ipv6);
}
