//! The guard: one frame of one endpoint against the policy, row by row.
//!
//! The order of the rows is the order of the checks, since a frame with several faults is counted under
//! the first. Hence headers are read first (`short` is the second row) and judged afterwards.

use core::mem::MaybeUninit;

use aya_ebpf::programs::TcContext;
use ebpf_abi::{MacKey, Mode, Port, PortFlags, Reason, TRUNK, VlanKey};

use crate::{
    headers::{self, Arp, Ethernet, Head, Mac, VID_MASK},
    ipv4, ipv6,
    maps::VLANS,
    source,
};

/// What is known of a frame that may pass.
pub(crate) struct Accepted {
    pub(crate) dst: Mac,
    /// Unfragmented unicast of TCP, UDP, SCTP or echo, untagged and from an access port: may go past the bridge.
    pub(crate) plain: bool,
}

/// The first five bytes of the addresses that no bridge forwards (IEEE 802.1D, table 7-10).
const LINK_LOCAL: [u8; 5] = [0x01, 0x80, 0xc2, 0, 0];

/// Judges a frame. In mode `mac` the layers above Ethernet are read for acceleration only.
#[inline(always)]
pub(crate) fn check(ctx: &TcContext, port: &Port) -> Result<Accepted, Reason> {
    let tagged = check_tag(ctx, port)?;
    if ctx.len() < headers::ETH_LEN {
        return Err(Reason::Short);
    }
    let mut room = MaybeUninit::uninit();
    let head = Head::load(ctx, 0, &mut room);
    let eth = head.ethernet();
    let full = port.mode != Mode::MAC;
    let plain = match u16::from_be_bytes(eth.ethertype) {
        // The outer tag is not in the bytes: this is a second one.
        headers::DOT1Q | headers::DOT1AD => return Err(Reason::Vlan),
        headers::ARP => {
            if full && ctx.len() < Arp::END {
                return Err(Reason::Short);
            }
            check_ethernet(port, eth)?;
            if full {
                check_arp(port, eth, head.network())?;
            }
            false
        }
        headers::IPV4 => {
            let mut transport = ipv4::Transport::default();
            let whole = ipv4::read(ctx, head, &mut transport);
            if full && !whole {
                return Err(Reason::Short);
            }
            check_ethernet(port, eth)?;
            if full {
                ipv4::check(port, head.network(), &transport)?;
            }
            whole && ipv4::is_plain(&transport)
        }
        headers::IPV6 => {
            let mut transport = ipv6::Transport::default();
            let whole = ipv6::read(ctx, head, &mut transport);
            if full && !whole {
                return Err(Reason::Short);
            }
            check_ethernet(port, eth)?;
            if full {
                ipv6::check(ctx, port, head, &transport)?;
            }
            whole && ipv6::is_plain(&transport)
        }
        _ => {
            check_ethernet(port, eth)?;
            return Err(Reason::Ethertype);
        }
    };
    let [first, ..] = eth.dst;
    Ok(Accepted { dst: eth.dst, plain: plain && !tagged && first & 1 == 0 && port.vlan != TRUNK })
}

/// Row `vlan`: says whether the frame has a tag that the port carries.
#[inline(always)]
fn check_tag(ctx: &TcContext, port: &Port) -> Result<bool, Reason> {
    let tag = headers::outer_tag(ctx);
    if port.vlan != TRUNK {
        return if tag.is_none() { Ok(false) } else { Err(Reason::Vlan) };
    }
    if port.flags.contains(PortFlags::VLAN_ANY) {
        return Ok(tag.is_some());
    }
    let vid = match tag {
        // Untagged frames stand in the map as VID 0, so a tag with VID 0 must not be looked up.
        None => 0,
        Some((headers::DOT1Q, tci)) if tci & VID_MASK != 0 => tci & VID_MASK,
        Some(_) => return Err(Reason::Vlan),
    };
    // SAFETY: the value is only tested for presence.
    match unsafe { VLANS.get(VlanKey::new(port.slot, vid)) } {
        Some(_) => Ok(vid != 0),
        None => Err(Reason::Vlan),
    }
}

/// Rows `linklocal` and `mac`.
#[inline(always)]
fn check_ethernet(port: &Port, eth: &Ethernet) -> Result<(), Reason> {
    let [group @ .., last] = eth.dst;
    if group == LINK_LOCAL && last & 0xf0 == 0 {
        return Err(Reason::LinkLocal);
    }
    if eth.src == port.mac
        || (port.flags.contains(PortFlags::MORE_SRC)
            && source::is_listed_mac(MacKey::new(port.slot, eth.src)))
    {
        Ok(())
    } else {
        Err(Reason::Mac)
    }
}

/// Row `arp`. The Ethernet source is known to be the endpoint's.
#[inline(always)]
fn check_arp(port: &Port, eth: &Ethernet, arp: &Arp) -> Result<(), Reason> {
    let op = u16::from_be_bytes(arp.op);
    let probe = op == Arp::REQUEST && arp.spa == [0; 4];
    let speaks_for = if probe { arp.tpa } else { arp.spa };
    if arp.form == Arp::FORM
        && (op == Arp::REQUEST || op == Arp::REPLY)
        && arp.sha == eth.src
        && source::is_own4(port, speaks_for)
    {
        Ok(())
    } else {
        Err(Reason::Arp)
    }
}
