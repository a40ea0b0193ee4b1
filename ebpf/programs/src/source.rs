//! Whose address is it: the inline sources of a port, then the listed ones.

use aya_ebpf::{helpers::bpf_ktime_get_ns, maps::lpm_trie::Key};
use ebpf_abi::{MacKey, Port, PortFlags, SrcBody, SrcVal, v4_mapped};

use crate::{
    headers::{Ip6, UNSPECIFIED6},
    maps::{MACS, SRC},
};

/// The slot and a whole IPv6 address.
const FULL_PREFIX: u32 = 32 + 128;

/// True if the endpoint may use this IPv4 address. Zero is nobody's.
#[inline(always)]
pub(crate) fn is_own4(port: &Port, addr: [u8; 4]) -> bool {
    addr != [0; 4]
        && (addr == port.ip4
            || (port.flags.contains(PortFlags::MORE_SRC) && is_listed(port.slot, &v4_mapped(addr))))
}

/// True if the endpoint may use this IPv6 address. The unspecified one is nobody's.
#[inline(always)]
pub(crate) fn is_own6(port: &Port, addr: &Ip6) -> bool {
    *addr != UNSPECIFIED6
        && (*addr == port.ip6
            || *addr == port.ll6
            || (port.flags.contains(PortFlags::MORE_SRC) && is_listed(port.slot, addr)))
}

/// A function of its own: it is called for sources and targets, and rarely.
#[inline(never)]
fn is_listed(slot: u32, addr: &Ip6) -> bool {
    let key = Key::new(FULL_PREFIX, SrcBody { slot, addr: *addr });
    SRC.get(key).is_some_and(is_valid)
}

#[inline(always)]
pub(crate) fn is_listed_mac(key: MacKey) -> bool {
    // SAFETY: the entry may be rewritten while it is read; its one field is read once.
    unsafe { MACS.get(key) }.is_some_and(is_valid)
}

#[inline(always)]
fn is_valid(entry: &SrcVal) -> bool {
    // SAFETY: the helper has no preconditions.
    entry.expires_ns == 0 || entry.expires_ns > unsafe { bpf_ktime_get_ns() }
}
