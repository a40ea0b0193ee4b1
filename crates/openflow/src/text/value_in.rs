//! Reading values of fields from text, in the formats of the field table.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::action::Subfield;
use crate::error::ParseError;
use crate::field::{Field, Format, ones};
use crate::text::match_out::{CT_STATE, TCP_FLAGS, TUN_FLAGS};
use crate::text::ports::PortNames;
use crate::text::{number, wide_number};
use crate::types::{Mac, OfPort};

/// A text that is being read, for errors that point into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'t> {
    text: &'t str,
    ports: Option<&'t PortNames>,
}

impl<'t> Source<'t> {
    /// A text whose ports have numbers only.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, ports: None }
    }

    /// A text whose ports may have these names.
    pub(crate) fn named(text: &'t str, ports: &'t PortNames) -> Self {
        Self { text, ports: Some(ports) }
    }

    /// All of it.
    pub(crate) fn text(self) -> &'t str {
        self.text
    }

    /// An error about a part of the text.
    pub(crate) fn error(self, part: &str, reason: impl Into<String>) -> ParseError {
        ParseError::new(self.text, part, reason)
    }

    /// A number that fits.
    pub(crate) fn number<T: TryFrom<u64>>(self, text: &str, what: &str) -> Result<T, ParseError> {
        let fits = number(text).and_then(|n| T::try_from(n).ok());
        fits.ok_or_else(|| self.error(text, format!("{what} is not a number that fits")))
    }

    /// The value that a pair must have.
    pub(crate) fn required(
        self,
        value: Option<&'t str>,
        whole: &str,
        what: &str,
    ) -> Result<&'t str, ParseError> {
        value.filter(|v| !v.is_empty()).ok_or_else(|| self.error(whole, format!("{what} needs a value")))
    }

    /// A port by number or name.
    pub(crate) fn port(self, text: &str) -> Result<OfPort, ParseError> {
        self.try_port(text).ok_or_else(|| self.error(text, "not an OpenFlow port"))
    }

    /// The same, where it may be something else.
    pub(crate) fn try_port(self, text: &str) -> Option<OfPort> {
        PortNames::read(self.ports, text)
    }

    /// A field by any of its names.
    pub(crate) fn field(self, text: &str) -> Result<Field, ParseError> {
        Field::from_name(text).ok_or_else(|| self.error(text, "unknown field"))
    }

    /// `FIELD[]`, `FIELD[bit]`, `FIELD[first..last]` or `FIELD`.
    pub(crate) fn subfield(self, text: &str) -> Result<Subfield, ParseError> {
        let Some((name, range)) = text.split_once('[') else {
            return Ok(Subfield::whole(self.field(text)?));
        };
        let field = self.field(name)?;
        let range = range.strip_suffix(']').ok_or_else(|| self.error(text, "] is missing"))?;
        if range.is_empty() {
            return Ok(Subfield::whole(field));
        }
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let (first, last) = (self.number::<u16>(first, "bit")?, self.number::<u16>(last, "bit")?);
        let bits = last.checked_sub(first).and_then(|n| n.checked_add(1));
        let sub = bits.map(|bits| Subfield { field, offset: first, bits });
        sub.filter(|sub| sub.fits())
            .ok_or_else(|| self.error(text, format!("{field} has {} bits", field.bits())))
    }

    /// A value with its mask; without one the mask is all ones.
    pub(crate) fn value(self, field: Field, text: &str) -> Result<(u128, u128), ParseError> {
        let bad = || self.error(text, format!("not a value of {field}"));
        let read = match field.format() {
            Format::Mac => split(text, |t| t.parse::<Mac>().ok().map(Mac::bits)),
            Format::Ipv4 => {
                split_prefix(text, 32, |t| t.parse::<Ipv4Addr>().ok().map(|ip| u128::from(ip.to_bits())))
            }
            Format::Ipv6 => split_prefix(text, 128, |t| t.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits)),
            Format::Port => self.try_port(text).map(|port| (u128::from(port.0), u128::MAX)),
            Format::Port16 => {
                let port = self.try_port(text).and_then(OfPort::to_u16);
                port.map(|port| (u128::from(port), u128::MAX))
            }
            Format::PacketType => packet_type(text),
            Format::Frag => frag(text),
            Format::CtState => flags(text, &CT_STATE, 0xff),
            Format::TcpFlags => {
                flags(text, &TCP_FLAGS, 0xfff).map(|(v, m)| (v, if m == 0xfff { u128::MAX } else { m }))
            }
            Format::TunFlags => flags(text, &TUN_FLAGS, u128::from(u16::MAX)),

            Format::Dec | Format::Hex => split(text, wide_number),
        };
        let (value, mask) = read.ok_or_else(bad)?;
        let room = if field.is_variable() { u128::MAX } else { field.value_mask() };
        if value & !room != 0 {
            return Err(self.error(text, format!("{field} has {} bits", field.bits())));
        }
        Ok((value, mask))
    }
}

fn split(text: &str, read: impl Fn(&str) -> Option<u128>) -> Option<(u128, u128)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((read(value)?, read(mask)?)),
        None => Some((read(text)?, u128::MAX)),
    }
}

fn split_prefix(text: &str, bits: u32, read: impl Fn(&str) -> Option<u128>) -> Option<(u128, u128)> {
    let Some((value, mask)) = text.split_once('/') else {
        return Some((read(text)?, u128::MAX));
    };
    let mask = match mask.parse::<u32>().ok() {
        Some(prefix) if prefix <= bits => ones(bits) & !ones(bits.saturating_sub(prefix)),
        Some(_) => return None,
        None => read(mask)?,
    };
    Some((read(value)?, mask))
}

/// `(namespace,type)`.
fn packet_type(text: &str) -> Option<(u128, u128)> {
    let (namespace, kind) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let namespace = number(namespace.trim()).filter(|n| *n <= 0xffff)?;
    let kind = number(kind.trim()).filter(|n| *n <= 0xffff)?;
    Some(((u128::from(namespace) << 16) | u128::from(kind), u128::MAX))
}

fn frag(text: &str) -> Option<(u128, u128)> {
    Some(match text {
        "no" => (0, 3),
        "yes" => (1, 1),
        "first" => (1, 3),
        "later" => (3, 3),
        "not_later" => (0, 2),
        _ => return None,
    })
}

/// `+a-b`, `a|b`, or numbers. `all` is the mask of the second form.
fn flags(text: &str, names: &[&str], all: u128) -> Option<(u128, u128)> {
    let bit = |name: &str| {
        let at = u32::try_from(names.iter().position(|n| *n == name)?).ok()?;
        1_u128.checked_shl(at)
    };
    if text.starts_with(['+', '-']) {
        let (mut value, mut mask) = (0, 0);
        let mut rest = text;
        while let Some(sign) = rest.chars().next() {
            let after = rest.get(1..)?;
            let end = after.find(['+', '-']).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            let bit = bit(name)?;
            if mask & bit != 0 {
                return None;
            }
            mask |= bit;
            value |= if sign == '+' { bit } else { 0 };
            rest = tail;
        }
        return Some((value, mask));
    }
    if let Some((value, mask)) = split(text, wide_number) {
        let mask = if text.contains('/') { mask } else { all };
        return (value & !all == 0 && mask & !all == 0).then_some((value, mask));
    }
    let value = text.split('|').try_fold(0, |value, name| Some(value | bit(name)?))?;
    Some((value, all))
}
