//! Keeping a match canonical while fields are put into it, and leaving that form for older versions.
//!
//! Owns the special cases: registers live in pairs, `vlan_tci` is two fields, 16-bit ports and `nw_tos` have
//! modern forms, "any Ethernet packet" is implied by Ethernet fields.

use std::cmp::Ordering;

use super::{Match, field_bytes};
use crate::Version;
use crate::error::EncodeError;
use crate::field::{Field, Prereq};
use crate::oxm::{FullHeader, Tlv, write_field};
use crate::types::OfPort;
use crate::writer::Writer;

/// How a field stands in a canonical match.
enum Place {
    /// As it is.
    Plain,
    /// In a half of a packet register.
    Register,
    /// In two packet registers.
    WideRegister,
    /// As `in_port` of 32 bits.
    Port,
    /// As `vlan_vid` and `vlan_pcp`.
    Tci,
    /// As `ip_dscp`.
    Tos,
    /// Nowhere: no wire carries it.
    Nowhere,
}

fn place(field: Field) -> Place {
    match field {
        Field::InPort16 => Place::Port,
        Field::VlanTci => Place::Tci,
        Field::IpTos => Place::Tos,
        Field::SkbPriority => Place::Nowhere,
        Field::Xxreg0 | Field::Xxreg1 | Field::Xxreg2 | Field::Xxreg3 => Place::WideRegister,
        _ if register_half(field).is_some() => Place::Register,
        _ => Place::Plain,
    }
}

/// Whether `field` stands in canonical matches as itself.
pub(super) fn is_plain(field: Field) -> bool {
    field < Field::Reg0
}

/// The packet register that holds `field`, and how far up its 32 bits are.
pub(super) fn register_half(field: Field) -> Option<(Field, u32)> {
    let number = u8::try_from((0_u8..16).position(|n| Field::reg(n) == Some(field))?).ok()?;
    let shift = if number % 2 == 0 { 32 } else { 0 };
    Some((Field::xreg(number / 2)?, shift))
}

/// The two packet registers of a 128-bit one, high half first.
fn wide_halves(field: Field) -> Option<(Field, Field)> {
    match field {
        Field::Xxreg0 => Some((Field::Xreg0, Field::Xreg1)),
        Field::Xxreg1 => Some((Field::Xreg2, Field::Xreg3)),
        Field::Xxreg2 => Some((Field::Xreg4, Field::Xreg5)),
        Field::Xxreg3 => Some((Field::Xreg6, Field::Xreg7)),
        _ => None,
    }
}

impl Match {
    /// Sets a field of at most 16 bytes; an empty mask removes it. Bits outside the mask are dropped.
    ///
    /// Does not ask whether the field may be masked or whether its prerequisites are there:
    /// [`Match::check`] does.
    pub fn set(&mut self, field: Field, value: u128, mask: u128) {
        let value = value & mask;
        match place(field) {
            // Of the tunnel flags only the public one can be matched.
            Place::Plain if field == Field::TunFlags => self.set_plain(field, value & 1, mask & 1),
            Place::Plain => self.set_plain(field, value, mask),
            Place::Register => {
                if let Some((xreg, shift)) = register_half(field) {
                    self.merge(
                        xreg,
                        0xffff_ffff << shift,
                        (value & 0xffff_ffff) << shift,
                        (mask & 0xffff_ffff) << shift,
                    );
                }
            }
            Place::WideRegister => {
                if let Some((high, low)) = wide_halves(field) {
                    self.set_plain(high, value >> 64, mask >> 64);
                    self.set_plain(low, value & u128::from(u64::MAX), mask & u128::from(u64::MAX));
                }
            }
            Place::Port => {
                let port = u16::try_from(value & 0xffff).unwrap_or_default();
                self.set_plain(Field::InPort, u128::from(OfPort::from_u16(port).0), 0xffff_ffff);
            }
            Place::Tci => {
                self.set_plain(Field::VlanVid, value & 0x1fff, mask & 0x1fff);
                // Open vSwitch writes a priority only beside a tag, and always whole.
                let pcp = if mask & 0xe000 != 0 && value & 0x1000 != 0 { 0xff } else { 0 };
                self.set_plain(Field::VlanPcp, value >> 13, pcp);
            }
            Place::Tos => self.set_plain(Field::IpDscp, (value & 0xfc) >> 2, 0xff),
            Place::Nowhere => {}
        }
    }

    /// Whether the match already says something about bits of the field.
    pub(super) fn overlaps(&self, field: Field) -> bool {
        let has = |field: Field| self.value(field).is_some();
        match place(field) {
            Place::Plain | Place::Register => has(field),
            Place::WideRegister => wide_halves(field).is_some_and(|(high, low)| has(high) || has(low)),
            Place::Port => has(Field::InPort),
            Place::Tci => has(Field::VlanVid),
            Place::Tos => has(Field::IpDscp),
            Place::Nowhere => false,
        }
    }

    /// Sets a field from bytes, as long as the switch's TLV table says: `tun_metadata`.
    pub(crate) fn set_raw(&mut self, field: Option<Field>, raw: &[u8]) {
        let mut at = 0_usize;
        let mut stale = 0_usize;
        for tlv in self.iter() {
            match order(tlv.field, tlv.raw, field, raw) {
                Ordering::Less => at = at.saturating_add(tlv.raw.len()),
                Ordering::Equal => stale = tlv.raw.len(),
                Ordering::Greater => break,
            }
        }
        self.bytes.drain(at..at.saturating_add(stale));
        self.bytes.insert_from_slice(at, raw);
        self.drop_implied_packet_type();
    }

    fn set_plain(&mut self, field: Field, value: u128, mask: u128) {
        let mask = mask & field.exact_mask();
        if mask == 0 {
            self.remove(field);
        } else {
            self.set_raw(Some(field), &field_bytes(field, value & mask, mask));
        }
    }

    /// Replaces the bits `window` of a packet register.
    fn merge(&mut self, xreg: Field, window: u128, value: u128, mask: u128) {
        let (old_value, old_mask) = self.value(xreg).unwrap_or_default();
        self.set_plain(xreg, (old_value & !window) | value, (old_mask & !window) | mask);
    }

    /// Removes a field that stands as itself.
    fn remove(&mut self, field: Field) {
        let mut at = 0_usize;
        let mut found = None;
        for tlv in self.iter() {
            if tlv.field == Some(field) {
                found = Some(tlv.raw.len());
                break;
            }
            at = at.saturating_add(tlv.raw.len());
        }
        if let Some(len) = found {
            self.bytes.drain(at..at.saturating_add(len));
        }
    }

    /// `packet_type=(0,0)` says no more than any Ethernet field does, and Open vSwitch leaves it out then.
    pub(super) fn drop_implied_packet_type(&mut self) {
        let mut tlvs = self.iter();
        let ethernet = tlvs.next().is_some_and(|t| t.field == Some(Field::PacketType) && t.number() == 0);
        let implied = |t: Tlv<'_>| t.field.is_some_and(implies_ethernet);
        if ethernet && tlvs.any(implied) {
            self.remove(Field::PacketType);
        }
    }
}

/// Whether a match on `field` is one on Ethernet packets whatever else it says.
pub(super) fn implies_ethernet(field: Field) -> bool {
    matches!(field.prereq(), Prereq::Ethernet | Prereq::VlanVid)
}

/// The canonical order: the table's, then unknown fields by their bytes.
pub(super) fn order(a: Option<Field>, a_raw: &[u8], b: Option<Field>, b_raw: &[u8]) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        // Two values of one unknown field are the same place: compare what names the field.
        (None, None) => a_raw.get(..4).cmp(&b_raw.get(..4)).then_with(|| a_raw.cmp(b_raw)),
    }
}

/// Writes one canonical field as OpenFlow 1.3 and 1.4 know it.
pub(super) fn write_old(w: &mut Writer<'_>, tlv: &Tlv<'_>) -> Result<(), EncodeError> {
    let Some(field) = tlv.field else {
        w.bytes(tlv.raw);
        return Ok(());
    };
    let registers = (0_u8..16).filter_map(Field::reg).filter_map(|reg| Some((reg, register_half(reg)?)));
    let mut is_register = false;
    for (reg, (_, shift)) in registers.filter(|(_, (xreg, _))| *xreg == field) {
        is_register = true;
        let mask = (tlv.mask_number() >> shift) & 0xffff_ffff;
        if mask != 0 {
            let mask = (mask != 0xffff_ffff).then_some(mask);
            write_field(w, reg, (tlv.number() >> shift) & 0xffff_ffff, mask)?;
        }
    }
    if is_register {
        return Ok(());
    }
    match field.header(w.version()) {
        Some(header) if header != tlv.header => {
            let payload = tlv.value.len().saturating_add(tlv.mask.map_or(0, <[u8]>::len));
            FullHeader { header, masked: tlv.mask.is_some(), payload }.write(w)?;
            w.bytes(tlv.value);
            w.bytes(tlv.mask.unwrap_or_default());
        }
        _ => w.bytes(tlv.raw),
    }
    Ok(())
}

/// Whether this is how OpenFlow 1.5 and Open vSwitch write the field.
pub(super) fn is_canonical(tlv: &Tlv<'_>, field: Field) -> bool {
    // The length and mask of a metadata field say how it was defined, so they stay as they are.
    let sensible = |mask: u128| mask != 0 && mask != field.exact_mask();
    is_plain(field)
        && field.header(Version::V15) == Some(tlv.header)
        && (tlv.mask.is_none() || field.is_variable() || sensible(tlv.mask_number()))
}
