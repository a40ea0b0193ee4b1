//! The actions of OpenFlow 1.1 that Open vSwitch still reads in later versions, where `set_field` does their work.
//!
//! Numbers 1 to 8, 13 and 14 leave as `set_field`; 9 and 10 (ports of the transport protocol) mean a field only beside a
//! match, so they leave as they came.

use super::Action;
use crate::cursor::Reader;
use crate::error::DecodeError;
use crate::error_code::ErrorCode;
use crate::field::Field;

/// A field set by an action of OpenFlow 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldSet {
    /// A field that `set_field` sets, too, and its value there.
    Field(Field, u128),
    /// The source port of TCP, UDP or SCTP, whichever the packet has.
    SourcePort(u16),
    /// The destination port.
    DestinationPort(u16),
}

impl OldSet {
    /// Reads the action of this number; `None` if it is none of these. Padding is looked at by the caller.
    pub(super) fn read<'a>(
        kind: u16,
        r: &mut Reader<'_>,
        raw: &[u8],
    ) -> Result<Option<(Action<'a>, bool)>, DecodeError> {
        let bad_argument = r.refuse(ErrorCode::OFPBAC_BAD_ARGUMENT);
        let checked = |ok: bool| if ok { Ok(()) } else { Err(bad_argument) };
        let (field, value) = match kind {
            1 => {
                let vid = r.u16()?;
                checked(vid < 0x1000)?;
                (Field::VlanVid, u128::from(vid | 0x1000))
            }
            2 => {
                let priority = r.u8()?;
                checked(priority < 8)?;
                (Field::VlanPcp, u128::from(priority))
            }
            3 => (Field::EthSrc, crate::Mac(r.array()?).bits()),
            4 => (Field::EthDst, crate::Mac(r.array()?).bits()),
            5 => (Field::Ipv4Src, u128::from(r.u32()?)),
            6 => (Field::Ipv4Dst, u128::from(r.u32()?)),
            7 => {
                let tos = r.u8()?;
                checked(tos.is_multiple_of(4))?;
                (Field::IpDscp, u128::from(tos >> 2))
            }
            8 => {
                let ecn = r.u8()?;
                checked(ecn < 4)?;
                (Field::IpEcn, u128::from(ecn))
            }
            9 => return Ok(Some((Action::OldSet(Self::SourcePort(port(r, raw)?)), true))),
            10 => return Ok(Some((Action::OldSet(Self::DestinationPort(port(r, raw)?)), true))),
            // Unchecked, as in Open vSwitch; only the bits of the field leave.
            13 => (Field::MplsLabel, u128::from(r.u32()?)),
            14 => (Field::MplsTc, u128::from(r.u8()?)),
            _ => return Ok(None),
        };
        let len = if matches!(kind, 3 | 4) { 16 } else { 8 };
        if raw.len() != len {
            return Err(r.refuse(ErrorCode::OFPBAC_BAD_LEN));
        }
        Ok(Some((Action::OldSet(Self::Field(field, value)), false)))
    }
}

fn port(r: &mut Reader<'_>, raw: &[u8]) -> Result<u16, DecodeError> {
    if raw.len() == 8 { r.u16() } else { Err(r.refuse(ErrorCode::OFPBAC_BAD_LEN)) }
}
