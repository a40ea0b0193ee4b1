//! `ovs-ofctl`'s syntax, both ways.
//!
//! Owns the number and address formats that all its parts share. Must not know wire formats: it walks the
//! canonical bytes through their readers and writes through their builders.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) mod action_in;
pub(crate) mod action_out;
pub(crate) mod digits;
pub(crate) mod flow_out;
pub(crate) mod group_in;
pub(crate) mod lexer;
pub(crate) mod match_in;
pub(crate) mod match_out;
pub(crate) mod message_out;
pub(crate) mod meter_in;
pub(crate) mod out;
pub(crate) mod ports;
pub(crate) mod value_in;

pub use match_in::FlowText;
pub use message_out::{FrameText, frame_error};
pub use ports::{Named, PortNames};

/// A number as `strtoull(…, 0)` reads it: decimal, `0x` hexadecimal, or octal with a leading zero.
pub(crate) fn number(text: &str) -> Option<u64> {
    wide_number(text).and_then(|n| u64::try_from(n).ok())
}

/// The same up to 128 bits.
pub(crate) fn wide_number(text: &str) -> Option<u128> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return digits(hex, 16);
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => digits(octal, 8),
        _ => digits(text, 10),
    }
}

/// Digits only: `from_str_radix` would allow a sign.
fn digits(text: &str, radix: u32) -> Option<u128> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    if plain { u128::from_str_radix(text, radix).ok() } else { None }
}

/// A number as C's `%#x` prints it: zero has no prefix.
pub(crate) struct Hex(pub(crate) u128);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// An IPv6 address as `inet_ntop` prints it; Rust differs for addresses that end in an IPv4 address.
pub(crate) struct Ipv6Text(pub(crate) u128);

impl fmt::Display for Ipv6Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = u32::try_from(self.0 & 0xffff_ffff).unwrap_or_default();
        if self.0 >> 32 == 0 && low > 0xffff {
            return write!(f, "::{}", Ipv4Addr::from_bits(low));
        }
        Ipv6Addr::from_bits(self.0).fmt(f)
    }
}

/// The prefix length of a mask of `bits` bits, if its ones are all in front.
pub(crate) fn prefix_len(mask: u128, bits: u32) -> Option<u32> {
    let aligned = mask << 128_u32.saturating_sub(bits);
    let ones = aligned.leading_ones().min(bits);
    (aligned.count_ones() == ones).then_some(ones)
}

/// Bytes in lower-case hexadecimal without separators.
pub(crate) struct HexBytes<'a>(pub(crate) &'a [u8]);

impl fmt::Display for HexBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
