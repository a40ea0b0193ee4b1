//! The watch: who speaks for the addresses of this node's endpoints and gateways.
//!
//! Looks at ARP and neighbour discovery only and never changes what happens to a frame. The rightful MAC
//! is noted with its time; a foreign one becomes a fact. Facts are told once for each (address, MAC, kind)
//! in a while, so that a storm fills neither the ring nor the agent; what was told stands in the entry, so
//! an entry that was just written tells the next claim at once.
//!
//! Neighbour discovery behind extension headers is not followed: no host sends it.

use core::mem::MaybeUninit;

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};
use ebpf_abi::{AddrKey, Counter, Fact, FactKind, Place, v4_mapped};

use crate::{
    account::count_shared,
    headers::{
        self, Arp, ETH_LEN, Head, ICMP6, Ip6, Ipv6, L4, Mac, ND_HOP_LIMIT, NEIGHBOUR_ADVERTISEMENT,
        NEIGHBOUR_SOLICITATION, SOURCE_LINK_LAYER, TARGET_LINK_LAYER, UNSPECIFIED6, VID_MASK, load_into,
    },
    maps::{FACTS, WATCH},
};

/// The same claim by the same MAC is told again after this time.
const REPEAT_NS: u64 = 100_000_000;
/// A claim by another MAC, or of another kind, is told after this time: MACs that take turns are not a
/// way around the limit.
const OTHER_NS: u64 = 10_000_000;
/// Options that are looked at for a MAC.
const MAX_OPTIONS: u32 = 4;
/// Header and target address of a solicitation or advertisement.
const ND_LEN: u32 = 24;
/// Where an IPv6 payload begins in a frame without a tag in its bytes.
const PAYLOAD_AT: u32 = ETH_LEN + 40;
const TAG_LEN: u32 = 4;
/// `skb->protocol` where the sender of a raw frame did not say.
const UNSET: u16 = 0;

/// A frame that may speak for an address.
pub(crate) struct Candidate<'a> {
    /// Its first bytes, without a tag in them.
    head: &'a Head,
    src: Mac,
    ethertype: u16,
    /// Length of the tag in the bytes: 0 or 4.
    shift: u32,
    /// The VLAN of its tag, 0 without one.
    pub(crate) vlan: u16,
}

struct Claim {
    addr: Ip6,
    mac: Mac,
    kind: FactKind,
}

/// Sorts out ARP and IPv6; nearly everything else ends at the first comparison.
#[inline(always)]
pub(crate) fn candidate<'a>(ctx: &TcContext, room: &'a mut MaybeUninit<Head>) -> Option<Candidate<'a>> {
    // SAFETY: the kernel hands a valid `__sk_buff`.
    let protocol = (unsafe { (*ctx.skb.skb).protocol } as u16).to_be();
    if !matches!(protocol, headers::ARP | headers::IPV6 | headers::DOT1Q | UNSET) {
        return None;
    }
    let eth = *Head::load(ctx, 0, room).ethernet();
    let mut ethertype = u16::from_be_bytes(eth.ethertype);
    let tag = headers::outer_tag(ctx);
    let mut vlan = tag.map_or(0, |(_, tci)| tci & VID_MASK);
    let mut shift = 0;
    if ethertype == headers::DOT1Q && tag.is_none() {
        // A packet socket leaves the tag in the bytes: so does OVS' userspace datapath.
        let mut tag = [0; 4];
        if !load_into(ctx, headers::ETH_LEN, &mut tag) {
            return None;
        }
        let [a, b, c, d] = tag;
        vlan = u16::from_be_bytes([a, b]) & VID_MASK;
        ethertype = u16::from_be_bytes([c, d]);
        shift = TAG_LEN;
        Head::load(ctx, shift, room);
    }
    // SAFETY: it was loaded above.
    let head = unsafe { room.assume_init_ref() };
    Some(Candidate { head, src: eth.src, ethertype, shift, vlan })
}

/// Compares what the frame says with what is known of the address.
#[inline(always)]
pub(crate) fn look(ctx: &TcContext, frame: &Candidate<'_>, bridge: u16, vlan: u16, place: Place) {
    let claim = match frame.ethertype {
        headers::ARP => arp_claim(ctx, frame),
        headers::IPV6 => nd_claim(ctx, frame),
        _ => None,
    };
    if let Some(claim) = claim {
        note(ctx, &claim, bridge, vlan, place);
    }
}

#[inline(always)]
fn arp_claim(ctx: &TcContext, frame: &Candidate<'_>) -> Option<Claim> {
    let arp: &Arp = frame.head.network();
    if arp.form != Arp::FORM || ctx.len() < frame.shift + Arp::END {
        return None;
    }
    if arp.spa != [0; 4] {
        return Some(Claim { addr: v4_mapped(arp.spa), mac: arp.sha, kind: FactKind::ARP_CLAIM });
    }
    (u16::from_be_bytes(arp.op) == Arp::REQUEST).then_some(Claim {
        addr: v4_mapped(arp.tpa),
        mac: arp.sha,
        kind: FactKind::ARP_PROBE,
    })
}

#[inline(always)]
fn nd_claim(ctx: &TcContext, frame: &Candidate<'_>) -> Option<Claim> {
    let ip: &Ipv6 = frame.head.network();
    if ip.next != ICMP6 || ip.hop_limit != ND_HOP_LIMIT {
        return None;
    }
    let [kind, code, ..] = frame.head.transport::<{ PAYLOAD_AT as usize }>();
    if code != 0 || !matches!(kind, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT) {
        return None;
    }
    let l4_at = frame.shift + PAYLOAD_AT;
    let mut target: Ip6 = UNSPECIFIED6;
    if !load_into(ctx, l4_at + 8, &mut target) {
        return None;
    }
    match kind {
        NEIGHBOUR_ADVERTISEMENT => Some(Claim {
            addr: target,
            mac: option_mac(ctx, l4_at + ND_LEN, TARGET_LINK_LAYER, frame.src),
            kind: FactKind::NA_CLAIM,
        }),
        NEIGHBOUR_SOLICITATION if ip.src == UNSPECIFIED6 => {
            Some(Claim { addr: target, mac: frame.src, kind: FactKind::DAD_PROBE })
        }
        NEIGHBOUR_SOLICITATION => Some(Claim {
            addr: ip.src,
            mac: option_mac(ctx, l4_at + ND_LEN, SOURCE_LINK_LAYER, frame.src),
            kind: FactKind::NS_CLAIM,
        }),
        _ => None,
    }
}

/// The MAC that an option names, else the sender's.
#[inline(always)]
fn option_mac(ctx: &TcContext, begin: u32, wanted: u8, sender: Mac) -> Mac {
    let mut at = begin;
    let mut option: L4 = [0; 8];
    for _ in 0..MAX_OPTIONS {
        if !load_into(ctx, at, &mut option) {
            break;
        }
        let [kind, len, mac @ ..] = option;
        if kind == wanted && len == 1 {
            return mac;
        }
        if len == 0 {
            break;
        }
        at += u32::from(len) * 8;
    }
    sender
}

#[inline(always)]
fn note(ctx: &TcContext, claim: &Claim, bridge: u16, vlan: u16, place: Place) {
    let Some(entry) = WATCH.get_ptr_mut(AddrKey::new(bridge, vlan, claim.addr)) else { return };
    // SAFETY: a valid value of this type. Two CPUs may write at once: a fact is then told twice.
    let entry = unsafe { &mut *entry };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if claim.mac == entry.mac {
        entry.seen_ns = now;
        return;
    }
    let repeated = claim.mac == entry.reported_mac && claim.kind == entry.reported_kind;
    let pause = if repeated { REPEAT_NS } else { OTHER_NS };
    if entry.reported_ns != 0 && now.wrapping_sub(entry.reported_ns) < pause {
        return;
    }
    let Some(mut record) = FACTS.reserve::<Fact>(0) else {
        // Not noted as told: the next claim tries again.
        count_shared(Counter::FactsLost);
        return;
    };
    record.write(Fact {
        at_ns: now,
        bridge,
        vlan,
        // SAFETY: the kernel hands a valid `__sk_buff`.
        ifindex: unsafe { (*ctx.skb.skb).ifindex },
        slot: entry.slot,
        generation: entry.generation,
        addr: claim.addr,
        mac: claim.mac,
        kind: claim.kind,
        place,
        holder: entry.mac,
        pad: 0,
    });
    record.submit(0);
    entry.reported_ns = now;
    entry.reported_mac = claim.mac;
    entry.reported_kind = claim.kind;
}
