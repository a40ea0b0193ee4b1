//! ARP: the sender is the pod, or the frame is a probe for an address of the pod (RFC 826, RFC 5227 §1.1).

use std::net::Ipv4Addr;

use ebpf_abi::Reason;

use super::{Bound, Rules, from_port};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let (table, accept) = (rules.block.arp(), rules.block.accept());
    let mac = endpoint.sources.mac;
    for &address in &endpoint.sources.ipv4 {
        for operation in [REQUEST, REPLY] {
            let claim = from_port(endpoint).arp().arp_op(operation).arp_sha(mac).arp_spa(address);
            rules.allow(endpoint, table, 200, claim, accept);
        }
        let probe = from_port(endpoint).arp().arp_op(REQUEST).arp_sha(mac);
        let probe = probe.arp_spa(Ipv4Addr::UNSPECIFIED).arp_tpa(address);
        rules.allow(endpoint, table, 200, probe, accept);
    }
    rules.deny(endpoint, table, 10, from_port(endpoint), Reason::Arp);
}
