//! Reading a match: one pass that validates as Open vSwitch does and notices whether the bytes are canonical.
//!
//! Owns prerequisites and the rules on values and masks. Must not allocate unless the bytes need another form.

use smallvec::SmallVec;

use super::{Match, MatchCow, MatchRef, OFPMT_OXM, canon};
use crate::cursor::{Reader, pad8};
use crate::error::DecodeError;
use crate::error_code::ErrorCode;
use crate::field::{Field, Prereq, Usual};
use crate::oxm::{Tlv, number as number_of};

/// Reads an `OFPMT_OXM` match with its header and padding.
pub(crate) fn read_match<'a>(reader: &mut Reader<'a>) -> Result<MatchCow<'a>, DecodeError> {
    let mut r = reader.named("match");
    let bad_len = || reader.named("match").refuse(ErrorCode::OFPBMC_BAD_LEN);
    let Ok([kind_high, kind_low, len_high, len_low]) = r.array() else { return Err(bad_len()) };
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    match u16::from_be_bytes([kind_high, kind_low]) {
        OFPMT_OXM => {}
        // The match of 1.1 has another length than this one, if it is not a match of 1.1.
        OFPMT_STANDARD if len != STANDARD_LEN => return Err(bad_len()),
        _ => return Err(r.refuse(ErrorCode::OFPBMC_BAD_TYPE)),
    }
    let body = len.checked_sub(4).ok_or_else(bad_len)?;
    let body = r.sub(body, "match").map_err(|_| bad_len())?;
    r.skip(pad8(len)).map_err(|_| bad_len())?;
    *reader = r;
    fields(body)
}

/// Reads fields up to the end of `reader`.
pub(crate) fn fields(reader: Reader<'_>) -> Result<MatchCow<'_>, DecodeError> {
    let bytes = reader.peek();
    if is_usual(bytes) == Some(true) {
        return Ok(MatchCow::Borrowed(MatchRef { bytes }));
    }
    let mut context = Context::default();
    let mut canonical = true;
    let mut r = reader;
    let mut last: Option<(Option<Field>, &[u8])> = None;
    while !r.is_empty() {
        let at = r;
        let tlv = Tlv::read(&mut r)?;
        canonical &= tlv.field.is_none_or(|field| canon::is_canonical(&tlv, field));
        canonical &= last.is_none_or(|(field, raw)| canon::order(field, raw, tlv.field, tlv.raw).is_lt());
        if tlv.field.is_some_and(canon::implies_ethernet) && context.explicit_ethernet {
            canonical = false;
        }
        context.admit(&tlv).map_err(|code| at.refuse(code))?;
        last = Some((tlv.field, tlv.raw));
    }
    if canonical {
        return Ok(MatchCow::Borrowed(MatchRef { bytes }));
    }
    canonicalise(reader).map(MatchCow::Owned)
}

/// Whether a quick look finds nothing but usual fields in canonical order: nearly all that a switch sends. `None` and
/// `false` mean no more than that somebody has to look more closely.
fn is_usual(mut rest: &[u8]) -> Option<bool> {
    let mut context = Context::default();
    let mut last = None;
    while let Some(([class_high, class_low, number, len], body)) = rest.split_first_chunk::<4>() {
        let usual = Usual::of(u16::from_be_bytes([*class_high, *class_low]), number >> 1)?;
        let (payload, after) = body.split_at_checked(usize::from(*len))?;
        let is_masked = number & 1 != 0;
        let (value, mask) =
            if is_masked { payload.split_at_checked(payload.len() / 2)? } else { (payload, payload) };
        if value.len() != usize::from(usual.bytes) || mask.len() != value.len() {
            return None;
        }
        if last >= Some(usual.field) || !context.allows(usual.prereq) {
            return None;
        }
        if context.explicit_ethernet && canon::implies_ethernet(usual.field) {
            return None;
        }
        if is_masked || usual.is_judged {
            let value = number_of(value);
            let mask = if is_masked { number_of(mask) } else { u128::MAX };
            let is_plain = !is_masked
                || usual.is_maskable && value & !mask == 0 && mask != 0 && mask != usual.field.exact_mask();
            if !is_plain || !usual.allows(value) {
                return None;
            }
            context.remember(usual.field, value, mask);
        }
        last = Some(usual.field);
        rest = after;
    }
    Some(rest.is_empty())
}

/// Validates bytes that are canonical by construction.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    fields(Reader::new(bytes, "match")).map(|_| ())
}

/// Puts the fields one after another into an empty match; a field given twice is an error.
fn canonicalise(mut reader: Reader<'_>) -> Result<Match, DecodeError> {
    let mut seen: SmallVec<[(crate::field::Header, u8); 16]> = SmallVec::new();
    let mut all = Match::new();
    while !reader.is_empty() {
        let at = reader;
        let tlv = Tlv::read(&mut reader)?;
        let name = (tlv.header, 0);
        if seen.contains(&name) {
            return Err(at.refuse(ErrorCode::OFPBMC_DUP_FIELD));
        }
        seen.push(name);
        match tlv.field {
            Some(field) if all.overlaps(field) => return Err(at.refuse(ErrorCode::OFPBMC_DUP_FIELD)),
            Some(field) if !field.is_variable() => all.set(field, tlv.number(), tlv.mask_number()),
            field => all.set_raw(field, tlv.raw),
        }
    }
    Ok(all)
}

/// What the fields before this one said.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one packet, each set by one field"
)]
pub(crate) struct Context {
    /// `packet_type=(0,0)` was spelt out.
    explicit_ethernet: bool,
    /// A packet type other than Ethernet.
    pub(crate) other_packet_type: Option<u32>,
    pub(crate) eth_type: Option<u32>,
    pub(crate) vlan_tagged: bool,
    later_fragment: bool,
    pub(crate) ip_proto: Option<u32>,
    icmp_type: Option<u32>,
    icmp_code: u32,
    ct_valid: bool,
}

impl Context {
    /// What a whole match says.
    pub(crate) fn of(matching: MatchRef<'_>) -> Self {
        let mut context = Self::default();
        for tlv in matching {
            let Some(field) = tlv.field else { continue };
            context.remember(field, tlv.number(), tlv.mask_number());
        }
        context
    }

    /// Checks one field against those before it and remembers what later ones ask for.
    fn admit(&mut self, tlv: &Tlv<'_>) -> Result<(), ErrorCode> {
        let Some(field) = tlv.field else {
            return Ok(());
        };
        if tlv.mask.is_some_and(|mask| !field.is_maskable() && !is_all_or_nothing(mask)) {
            return Err(ErrorCode::OFPBMC_BAD_MASK);
        }
        let value = tlv.number();
        if !field.is_variable() && !field.allows(value) {
            return Err(ErrorCode::OFPBMC_BAD_VALUE);
        }
        if !self.allows(field.prereq()) {
            return Err(ErrorCode::OFPBMC_BAD_PREREQ);
        }
        self.remember(field, value, tlv.mask_number());
        Ok(())
    }

    /// Takes note of a field that others ask for.
    pub(crate) fn remember(&mut self, field: Field, value: u128, mask: u128) {
        // None of the fields that matter has more than 32 bits.
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        match field {
            Field::PacketType if value == 0 => self.explicit_ethernet = true,
            Field::PacketType => self.other_packet_type = Some(number),
            Field::EthType => self.eth_type = Some(number),
            Field::VlanVid | Field::VlanTci => self.vlan_tagged = value & 0x1000 != 0,
            Field::IpFrag => self.later_fragment = value & 2 != 0,
            Field::IpProto => self.ip_proto = Some(number),
            Field::Icmpv6Type => self.icmp_type = Some(number),
            Field::Icmpv6Code => self.icmp_code = number,
            Field::CtState => self.ct_valid = ct_valid(value, mask),
            _ => {}
        }
    }

    /// The Ethernet type, or the type of a packet that is not Ethernet but in the Ethertype namespace.
    fn network_type(&self) -> Option<u32> {
        match self.other_packet_type {
            Some(packet_type) if packet_type >> 16 == 1 => Some(packet_type & 0xffff),
            Some(_) => None,
            None => self.eth_type,
        }
    }

    /// Whether a prerequisite is met.
    #[inline]
    pub(crate) fn allows(&self, prereq: Prereq) -> bool {
        match prereq {
            Prereq::None => true,
            Prereq::Ethernet => self.other_packet_type.is_none(),
            _ => self.allows_inside(prereq),
        }
    }

    /// Of what is inside an Ethernet packet.
    fn allows_inside(&self, prereq: Prereq) -> bool {
        let eth = self.network_type();
        let ip = matches!(eth, Some(0x0800 | 0x86dd));
        let proto = if ip { self.ip_proto } else { None };
        let transport = |number: u32| proto == Some(number) && !self.later_fragment;
        let icmp6 = proto == Some(58) && eth == Some(0x86dd);
        let nd = |kind: u32| icmp6 && self.icmp_type == Some(kind) && self.icmp_code == 0;
        match prereq {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Arp => matches!(eth, Some(0x0806 | 0x8035)),
            Prereq::VlanVid => self.vlan_tagged && self.other_packet_type.is_none(),
            Prereq::Mpls => matches!(eth, Some(0x8847 | 0x8848)),
            Prereq::Ipv4 => eth == Some(0x0800),
            Prereq::Ipv6 => eth == Some(0x86dd),
            Prereq::Ip => ip,
            Prereq::Tcp => transport(6),
            Prereq::Udp => transport(17),
            Prereq::Sctp => transport(132),
            Prereq::Icmp4 => proto == Some(1) && eth == Some(0x0800),
            Prereq::Icmp6 => icmp6,
            Prereq::Nd => nd(135) || nd(136),
            Prereq::NdSolicit => nd(135),
            Prereq::NdAdvert => nd(136),
            Prereq::Ct => self.ct_valid,
            Prereq::Nsh => eth == Some(0x894f),
        }
    }
}

/// Whether a mask says what a field without one says, or nothing: even fields that cannot be masked may have it.
fn is_all_or_nothing(mask: &[u8]) -> bool {
    mask.iter().all(|byte| *byte == 0) || mask.iter().all(|byte| *byte == 0xff)
}

/// Whether a connection state says that there is a valid connection: one of new, est, rel, rpl, snat, dnat,
/// or tracked and not invalid.
fn ct_valid(value: u128, mask: u128) -> bool {
    let (new_est_rel_rpl, invalid, tracked, nat) = (0x0f, 0x10, 0x20, 0xc0);
    value & (new_est_rel_rpl | nat) != 0
        || (value & tracked != 0 && mask & invalid != 0 && value & invalid == 0)
}

/// The match type of 1.1, which Open vSwitch still knows of.
const OFPMT_STANDARD: u16 = 0;
/// Bytes of a match of 1.1.
const STANDARD_LEN: usize = 88;
