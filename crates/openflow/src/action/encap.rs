//! Adding and removing whole headers: `encap` and `decap`.
//!
//! Encap: header size u16 (0), packet type u32, properties (class u16, type u8, length u8, body, padded to 8).
//! Decap: pad 2, packet type u32.

use super::nicira as nx;
use super::read::Scan;
use super::write::nicira;
use crate::cursor::{Reader, pad8};
use crate::error::{DecodeError, EncodeError};
use crate::error_code::ErrorCode;
use crate::writer::Writer;

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encap<'a> {
    /// The packet type: namespace in the upper, type in the lower 16 bits.
    pub packet_type: u32,
    /// Its properties.
    pub properties: EncapProperties<'a>,
}

/// Properties of a header to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncapProperties<'a>(pub(crate) &'a [u8]);

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncapProperty<'a> {
    /// The NSH metadata type.
    NshMdType(u8),
    /// A TLV of NSH metadata type 2.
    NshTlv {
        /// Its class.
        class: u16,
        /// Its type.
        kind: u8,
        /// Its value.
        value: &'a [u8],
    },
}

/// Ethernet.
pub(crate) const PT_ETHERNET: u32 = 0;
/// NSH.
pub(crate) const PT_NSH: u32 = 0x1_894f;
/// MPLS.
pub(crate) const PT_MPLS: u32 = 0x1_8847;
/// MPLS multicast.
pub(crate) const PT_MPLS_MC: u32 = 0x1_8848;
/// "Whatever is below".
pub(crate) const PT_NEXT: u32 = 0xfffe;

/// Walks them.
#[derive(Debug, Clone)]
pub struct EncapPropertyIter<'a>(&'a [u8]);

impl<'a> IntoIterator for EncapProperties<'a> {
    type Item = EncapProperty<'a>;
    type IntoIter = EncapPropertyIter<'a>;

    fn into_iter(self) -> EncapPropertyIter<'a> {
        EncapPropertyIter(self.0)
    }
}

impl<'a> Iterator for EncapPropertyIter<'a> {
    type Item = EncapProperty<'a>;

    fn next(&mut self) -> Option<EncapProperty<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let mut r = Reader::new(self.0, "encap");
        // Validated when the action was read, so an error cannot occur; it would end the walk.
        let property = read_property(&mut r, &mut Scan::default()).ok();
        self.0 = r.rest();
        property
    }
}

fn read_property<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<EncapProperty<'a>, DecodeError> {
    let at = *r;
    let (class, kind, len) = (r.u16()?, r.u8()?, usize::from(r.u8()?));
    let bad = || at.refuse(ErrorCode::NXBAC_BAD_ED_PROP);
    let mut body = r.sub(len.checked_sub(4).ok_or_else(bad)?, "encap property")?;
    scan.pad(r, pad8(len).min(r.len()))?;
    match (class, kind) {
        (CLASS_NSH, NSH_MD_TYPE) => {
            let md_type = body.u8()?;
            if md_type == 1 || md_type == 2 { Ok(EncapProperty::NshMdType(md_type)) } else { Err(bad()) }
        }
        (CLASS_NSH, NSH_TLV) => {
            let (class, kind, len) = (body.u16()?, body.u8()?, usize::from(body.u8()?));
            let value = body.take(len).map_err(|_| bad())?;
            scan.pad_rest(&mut body)?;
            Ok(EncapProperty::NshTlv { class, kind, value })
        }
        _ => Err(at.refuse(ErrorCode::NXBAC_UNKNOWN_ED_PROP)),
    }
}

pub(super) fn read<'a>(r: &mut Reader<'a>, scan: &mut Scan) -> Result<Encap<'a>, DecodeError> {
    let _header_size = r.u16()?;
    let packet_type = r.u32()?;
    if !matches!(packet_type, PT_ETHERNET | PT_NSH | PT_MPLS | PT_MPLS_MC) {
        return Err(r.refuse(ErrorCode::NXBAC_BAD_HEADER_TYPE));
    }
    let properties = EncapProperties(r.peek());
    while !r.is_empty() {
        read_property(r, scan)?;
    }
    Ok(Encap { packet_type, properties })
}

pub(super) fn write(w: &mut Writer<'_>, encap: &Encap<'_>) -> Result<(), EncodeError> {
    nicira(w, nx::ENCAP, |w| {
        w.zeros(2);
        w.u32(encap.packet_type);
        w.bytes(encap.properties.0);
        Ok(())
    })
}

impl EncapProperty<'_> {
    /// Appends the property.
    pub fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u16(CLASS_NSH);
        match *self {
            Self::NshMdType(md_type) => {
                w.u8(NSH_MD_TYPE);
                w.u8(5);
                w.u8(md_type);
                w.zeros(3);
            }
            Self::NshTlv { class, kind, value } => {
                let len = value.len().saturating_add(8);
                let padded = len.saturating_add(pad8(len));
                let fits = (u8::try_from(padded), u8::try_from(value.len()));
                let (Ok(padded8), Ok(value_len)) = fits else {
                    return Err(EncodeError::TooLong { what: "encap property", len });
                };
                w.u8(NSH_TLV);
                w.u8(padded8);
                w.u16(class);
                w.u8(kind);
                w.u8(value_len);
                w.bytes(value);
                w.zeros(pad8(len));
            }
        }
        Ok(())
    }
}

const CLASS_NSH: u16 = 4;
const NSH_MD_TYPE: u8 = 1;
const NSH_TLV: u8 = 2;
