//! Printing a match as `ovs-ofctl` does.
//!
//! Owns the order of display (the rank of the field table, not the order of the bytes) and the formats of
//! values. Must not judge: whatever is in the match is printed.

use std::fmt::{self, Write};

use smallvec::SmallVec;

use crate::field::{Field, Format};
use crate::matching::MatchRef;
use crate::oxm::{Tlv, number};
use crate::text::out::Out;
use crate::text::{Hex, HexBytes, Ipv6Text, digits, prefix_len};
use crate::types::OfPort;

/// Writes a comma before everything but the first.
#[derive(Debug, Default)]
pub(crate) struct Separator {
    started: bool,
}

impl Separator {
    /// Between two items.
    pub(crate) fn next(&mut self, out: &mut Out<'_>) -> fmt::Result {
        if std::mem::replace(&mut self.started, true) { out.write_char(',') } else { Ok(()) }
    }

    /// Whether something was written.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }
}

/// Writes the fields, each after the separator.
pub(crate) fn write(out: &mut Out<'_>, matching: MatchRef<'_>, sep: &mut Separator) -> fmt::Result {
    let view = View::new(matching);
    let word = view.protocol_word();
    let mut word_due = true;
    for item in &view.items {
        if word_due && item.rank > PROTOCOL_RANK {
            word_due = false;
            view.write_words(out, word, sep)?;
        }
        if !view.is_said(item, word) {
            view.write_item(out, item, sep)?;
        }
    }
    if word_due {
        view.write_words(out, word, sep)?;
    }
    Ok(())
}

/// Where `ip`, `tcp` and the like stand among the ranks of the field table.
const PROTOCOL_RANK: u16 = 76;
/// Where the registers stand.
const REGISTER_RANK: u16 = 80;

/// Something to print, with its place.
struct Item<'a> {
    rank: u16,
    /// Orders items of one rank: registers.
    sub: u8,
    tlv: Tlv<'a>,
}

/// The fields of a match in display order, and what decides about the protocol words.
struct View<'a> {
    items: SmallVec<[Item<'a>; 16]>,
    eth_type: Option<u128>,
    ip_proto: Option<u128>,
    packet_type: Option<u128>,
    megaflow: bool,
    erspan_version: u128,
    nsh_type: u128,
}

impl<'a> View<'a> {
    fn new(matching: MatchRef<'a>) -> Self {
        let mut view = Self {
            items: SmallVec::new(),
            eth_type: None,
            ip_proto: None,
            packet_type: None,
            megaflow: false,
            erspan_version: 0,
            nsh_type: 0,
        };
        for tlv in matching {
            match tlv.field {
                Some(Field::EthType) => view.eth_type = Some(tlv.number()),
                Some(Field::IpProto) => view.ip_proto = Some(tlv.number()),
                Some(Field::PacketType) => view.packet_type = Some(tlv.number()),
                Some(Field::RecircId) => view.megaflow = true,
                Some(Field::NshMdtype) => view.nsh_type = tlv.number(),
                Some(Field::TunErspanVer) => view.erspan_version = tlv.number(),
                _ => {}
            }
            view.push(tlv);
        }
        view.items.sort_unstable_by_key(|item| (item.rank, item.sub));
        view
    }

    fn push(&mut self, tlv: Tlv<'a>) {
        let rank = tlv.field.map_or(u16::MAX, |field| field.row().rank);
        if rank != REGISTER_RANK {
            self.items.push(Item { rank, sub: 0, tlv });
            return;
        }
        // A packet register shows as its two halves, each if its half of the mask is not empty.
        for half in [0_u8, 1] {
            let number = tlv.header.number.saturating_mul(2).saturating_add(half);
            let Some(part) = register_half(&tlv, number, half) else { continue };
            self.items.push(Item { rank, sub: number, tlv: part });
        }
    }

    /// `tcp` and the like, and whether the word says the IP protocol too.
    fn protocol_word(&self) -> Option<(&'static str, bool)> {
        if self.packet_type.is_some_and(|t| t != 0) {
            return None;
        }
        Some(match (self.eth_type?, self.ip_proto) {
            (0x0800, Some(1)) => ("icmp", true),
            (0x0800, Some(6)) => ("tcp", true),
            (0x0800, Some(17)) => ("udp", true),
            (0x0800, Some(132)) => ("sctp", true),
            (0x0800, _) => ("ip", false),
            (0x86dd, Some(58)) => ("icmp6", true),
            (0x86dd, Some(6)) => ("tcp6", true),
            (0x86dd, Some(17)) => ("udp6", true),
            (0x86dd, Some(132)) => ("sctp6", true),
            (0x86dd, _) => ("ipv6", false),
            (0x0806, _) => ("arp", false),
            (0x8035, _) => ("rarp", false),
            (0x8847, _) => ("mpls", false),
            (0x8848, _) => ("mplsm", false),
            _ => return None,
        })
    }

    fn write_words(&self, out: &mut Out<'_>, word: Option<(&str, bool)>, sep: &mut Separator) -> fmt::Result {
        // A match with a recirculation id is one of the datapath, where Ethernet is worth saying.
        if self.megaflow && self.packet_type.unwrap_or(0) == 0 {
            sep.next(out)?;
            out.write_str("eth")?;
        }
        if let Some((word, _)) = word {
            sep.next(out)?;
            out.write_str(word)?;
        }
        Ok(())
    }

    /// Whether other words already say what this item would.
    fn is_said(&self, item: &Item<'_>, word: Option<(&str, bool)>) -> bool {
        match item.tlv.field {
            Some(Field::EthType) => word.is_some(),
            Some(Field::IpProto) => word.is_some_and(|(_, proto)| proto),
            Some(Field::PacketType) => item.tlv.number() == 0,
            Some(Field::TunErspanIdx) => self.erspan_version != 1,
            Some(Field::TunErspanDir | Field::TunErspanHwid) => self.erspan_version != 2,
            Some(Field::NshC1 | Field::NshC2 | Field::NshC3 | Field::NshC4) => self.nsh_type != 1,
            Some(Field::VlanPcp) => self.vlan_is_tci(),
            _ => false,
        }
    }

    fn write_item(&self, out: &mut Out<'_>, item: &Item<'_>, sep: &mut Separator) -> fmt::Result {
        let Some(field) = item.tlv.field else {
            sep.next(out)?;
            return write!(out, "oxm=0x{}", HexBytes(item.tlv.raw));
        };
        if field == Field::VlanVid {
            return self.write_vlan(out, &item.tlv, sep);
        }
        sep.next(out)?;
        out.write_str(field.row().match_name)?;
        write_value(out, field, &item.tlv)
    }

    /// The tag's 16 bits and which of them count.
    fn tci(&self) -> (u128, u128) {
        let find =
            |field: Field| self.items.iter().map(|item| &item.tlv).find(|tlv| tlv.field == Some(field));
        let (vid, vid_mask) = find(Field::VlanVid).map_or((0, 0), |t| (t.number(), t.mask_number() & 0x1fff));
        let (pcp, pcp_mask) = find(Field::VlanPcp).map_or((0, 0), |t| (t.number() << 13, 0xe000));
        (vid | pcp, vid_mask | pcp_mask)
    }

    /// Whether the tag cannot be said as `dl_vlan` and `dl_vlan_pcp`.
    fn vlan_is_tci(&self) -> bool {
        let (tci, mask) = self.tci();
        let whole = |bits: u128| mask & bits == 0 || mask & bits == bits;
        let tagged = tci & mask & 0x1000 != 0;
        !(tagged && whole(0xfff) && whole(0xe000) && mask & 0xefff != 0)
    }

    fn write_vlan(&self, out: &mut Out<'_>, vid: &Tlv<'_>, sep: &mut Separator) -> fmt::Result {
        let (tci, mask) = self.tci();
        if self.vlan_is_tci() {
            sep.next(out)?;
            write!(out, "vlan_tci=0x{tci:04x}")?;
            return if mask == 0xffff { Ok(()) } else { write!(out, "/0x{mask:04x}") };
        }
        let names_vlan = mask & 0xfff == 0xfff;
        if !names_vlan {
            return Ok(());
        }
        sep.next(out)?;
        write!(out, "dl_vlan={}", vid.number() & 0xfff)
    }
}

/// One half of a packet register as the register it is.
fn register_half<'a>(tlv: &Tlv<'a>, number: u8, half: u8) -> Option<Tlv<'a>> {
    let cut = |bytes: &'a [u8]| {
        let (high, low) = bytes.split_at_checked(4)?;
        Some(if half == 0 { high } else { low })
    };
    let mask = match tlv.mask {
        Some(mask) => Some(cut(mask)?).filter(|mask| mask.iter().any(|b| *b != 0)),
        None => None,
    };
    if tlv.mask.is_some() && mask.is_none() {
        return None;
    }
    let mask = mask.filter(|mask| mask.iter().any(|b| *b != 0xff));
    Some(Tlv { field: Field::reg(number), value: cut(tlv.value)?, mask, ..*tlv })
}

/// `=value` or `=value/mask`.
fn write_value(out: &mut Out<'_>, field: Field, tlv: &Tlv<'_>) -> fmt::Result {
    if field.is_variable() {
        return write_metadata(out, tlv);
    }
    out.write_char('=')?;
    let value = tlv.number();
    let mask = tlv.mask.map(number);
    match field {
        Field::NshFlags => {
            return match mask {
                Some(mask) => write!(out, "0x{value:02x}/0x{mask:02x}"),
                None => write!(out, "{value}"),
            };
        }
        Field::NshSpi | Field::NshC1 | Field::NshC2 | Field::NshC3 | Field::NshC4 => {
            return match mask {
                Some(mask) => write!(out, "{value:#x}/{mask:#x}"),
                None => write!(out, "{value:#x}"),
            };
        }
        Field::EthType => return write!(out, "0x{value:04x}"),
        Field::IpDscp => return write!(out, "{}", value << 2),
        Field::RecircId => return write!(out, "{}", Hex(value)),
        Field::Ipv6Label => return write_padded(out, value, mask),
        Field::TunGbpFlags | Field::TunErspanIdx | Field::TunErspanHwid | Field::TunGtpuFlags => {
            return write!(out, "{}", Hex(value));
        }
        Field::TunErspanVer | Field::TunErspanDir | Field::TunGtpuMsgtype => return write!(out, "{value}"),
        _ => {}
    }
    write_formatted(out, field.format(), value, mask)
}

/// A value in a format of the table.
pub(crate) fn write_formatted(
    out: &mut Out<'_>,
    format: Format,
    value: u128,
    mask: Option<u128>,
) -> fmt::Result {
    match (format, mask) {
        (Format::Dec, None) => digits::dec(out, value),
        (Format::Dec, Some(mask)) => write!(out, "{value:#x}/{mask:#x}"),
        (Format::Hex, None) => hex(out, value),
        (Format::Hex, Some(mask)) => {
            hex(out, value)?;
            out.write_char('/')?;
            hex(out, mask)
        }
        (Format::Ipv4, mask) => write_ipv4(out, value, mask),
        (Format::Ipv6, mask) => write_ipv6(out, value, mask),
        (Format::Mac, None) => digits::mac(out, value),
        (Format::Mac, Some(mask)) => {
            digits::mac(out, value)?;
            out.write_char('/')?;
            digits::mac(out, mask)
        }
        (Format::Port, _) => out.port(OfPort(u32::try_from(value).unwrap_or(u32::MAX))),
        (Format::Port16, _) => out.port(OfPort::from_u16(u16::try_from(value).unwrap_or(u16::MAX))),
        // Only Ethernet types are worth hexadecimal digits.
        (Format::PacketType, _) if value >> 16 == 1 => write!(out, "(1,{})", Hex(value & 0xffff)),
        (Format::PacketType, _) => write!(out, "({},{})", value >> 16, value & 0xffff),
        (Format::Frag, mask) => out.write_str(frag_name(value, mask.unwrap_or(3))),
        (Format::CtState, mask) => write_flags(out, &CT_STATE, 0xff, value, mask.unwrap_or(u128::MAX)),
        (Format::TcpFlags, mask) => write_flags(out, &TCP_FLAGS, 0xfff, value, mask.unwrap_or(0xfff)),
        (Format::TunFlags, None) => write_flag_list(out, &TUN_FLAGS, value, '|'),
        // Tunnel flags with a mask have a sign even where the mask covers all of them.
        (Format::TunFlags, Some(mask)) => write_flags(out, &TUN_FLAGS, u128::MAX, value, mask),
    }
}

fn write_padded(out: &mut Out<'_>, value: u128, mask: Option<u128>) -> fmt::Result {
    write!(out, "0x{value:05x}")?;
    mask.map_or(Ok(()), |mask| write!(out, "/0x{mask:05x}"))
}

/// A number as C's `%#x` prints it.
fn hex(out: &mut Out<'_>, value: u128) -> fmt::Result {
    if value == 0 { out.write_char('0') } else { digits::hex0x(out, value) }
}

fn write_ipv4(out: &mut Out<'_>, value: u128, mask: Option<u128>) -> fmt::Result {
    digits::ipv4(out, value)?;
    match mask.map(|mask| (mask, prefix_len(mask, 32))) {
        None | Some((_, Some(32))) => Ok(()),
        Some((_, Some(prefix))) => write!(out, "/{prefix}"),
        Some((mask, None)) => {
            out.write_char('/')?;
            digits::ipv4(out, mask)
        }
    }
}

fn write_ipv6(out: &mut Out<'_>, value: u128, mask: Option<u128>) -> fmt::Result {
    write!(out, "{}", Ipv6Text(value))?;
    match mask.map(|mask| (mask, prefix_len(mask, 128))) {
        None | Some((_, Some(128))) => Ok(()),
        Some((_, Some(prefix))) => write!(out, "/{prefix}"),
        Some((mask, None)) => write!(out, "/{}", Ipv6Text(mask)),
    }
}

/// `tun_metadata`, whose length is the switch's business; without any bytes, a mask says that it is present.
fn write_metadata(out: &mut Out<'_>, tlv: &Tlv<'_>) -> fmt::Result {
    if tlv.value.is_empty() && tlv.mask.is_some() {
        return Ok(());
    }
    out.write_char('=')?;
    write_number(out, tlv.value)?;
    match tlv.mask {
        Some(mask) if mask.iter().any(|b| *b != 0xff) => {
            out.write_char('/')?;
            write_number(out, mask)
        }
        _ => Ok(()),
    }
}

/// Bytes as one number in hexadecimal; zero has no prefix.
pub(crate) fn write_number(out: &mut Out<'_>, bytes: &[u8]) -> fmt::Result {
    if bytes.iter().any(|b| *b != 0) {
        out.write_str("0x")?;
    }
    write_trimmed(out, bytes)
}

/// Hexadecimal digits without leading zeroes.
fn write_trimmed(out: &mut Out<'_>, bytes: &[u8]) -> fmt::Result {
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    match bytes.get(first..).and_then(<[u8]>::split_first) {
        Some((head, rest)) => write!(out, "{head:x}{}", HexBytes(rest)),
        None => out.write_char('0'),
    }
}

/// The words of `nw_frag`.
pub(crate) fn frag_name(value: u128, mask: u128) -> &'static str {
    match (mask, value) {
        (1 | 3, 0) => "no",
        (1, _) => "yes",
        (2, 0) => "not_later",
        (3, 1) => "first",
        (2, _) | (3, 3) => "later",
        _ => "<error>",
    }
}

/// `a|b` where all bits count, else `+a-b`.
fn write_flags(out: &mut Out<'_>, names: &[&str], all: u128, value: u128, mask: u128) -> fmt::Result {
    if mask & all == all {
        return write_flag_list(out, names, value, '|');
    }
    for (bit, name) in (0..128_u32).map(|shift| 1_u128 << shift).zip(names) {
        if mask & bit != 0 {
            write!(out, "{}{name}", if value & bit == 0 { '-' } else { '+' })?;
        }
    }
    Ok(())
}

/// The names of the bits that are set, or `0`.
pub(crate) fn write_flag_list(out: &mut Out<'_>, names: &[&str], value: u128, between: char) -> fmt::Result {
    if value == 0 {
        return out.write_char('0');
    }
    let mut first = true;
    for (bit, name) in (0..128_u32).map(|shift| 1_u128 << shift).zip(names) {
        if value & bit != 0 {
            if !std::mem::take(&mut first) {
                out.write_char(between)?;
            }
            out.write_str(name)?;
        }
    }
    Ok(())
}

/// Connection states from bit 0.
pub(crate) const CT_STATE: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
/// TCP flags from bit 0; the last three have no names.
pub(crate) const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];
/// Tunnel flags from bit 0.
pub(crate) const TUN_FLAGS: [&str; 1] = ["oam"];
