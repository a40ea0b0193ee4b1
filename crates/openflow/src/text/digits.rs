//! Numbers and addresses written digit by digit.
//!
//! Owns the speed of printing: `write!` costs several times as much for each of the dozen numbers of a flow.
//! Must produce exactly what `{}`, `{:x}` and the addresses' own `Display` do.

use std::fmt::{self, Write};

/// The most digits of a number of 128 bits: decimal.
const MAX_DIGITS: usize = 39;

/// Digits, filled from the back.
struct Digits {
    bytes: [u8; MAX_DIGITS],
    free: usize,
}

impl Digits {
    fn new() -> Self {
        Self { bytes: [0; MAX_DIGITS], free: MAX_DIGITS }
    }

    fn push(&mut self, digit: u8) {
        self.free = self.free.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.free) {
            *place = digit;
        }
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let digits = self.bytes.get(self.free..).unwrap_or_default();
        // Only ASCII is ever pushed, so this cannot fail.
        std::str::from_utf8(digits).map_or(Err(fmt::Error), |text| out.write_str(text))
    }
}

/// `{}`.
pub(crate) fn dec(out: &mut dyn Write, value: u128) -> fmt::Result {
    let Ok(mut rest) = u64::try_from(value) else {
        return write!(out, "{value}");
    };
    let mut digits = Digits::new();
    loop {
        digits.push(b'0'.wrapping_add(low(rest % 10)));
        rest /= 10;
        if rest == 0 {
            return digits.write(out);
        }
    }
}

/// `{:x}`.
pub(crate) fn hex(out: &mut dyn Write, value: u128) -> fmt::Result {
    let mut digits = Digits::new();
    let Ok(mut rest) = u64::try_from(value) else {
        return write!(out, "{value:x}");
    };
    loop {
        digits.push(nibble(low(rest & 15)));
        rest >>= 4;
        if rest == 0 {
            return digits.write(out);
        }
    }
}

/// `{:#x}`.
pub(crate) fn hex0x(out: &mut dyn Write, value: u128) -> fmt::Result {
    out.write_str("0x")?;
    hex(out, value)
}

/// An Ethernet address in the low 48 bits.
pub(crate) fn mac(out: &mut dyn Write, value: u128) -> fmt::Result {
    let mut digits = Digits::new();
    let mut rest = u64::try_from(value & 0xffff_ffff_ffff).unwrap_or_default();
    for place in 0..6_u8 {
        if place != 0 {
            digits.push(b':');
        }
        digits.push(nibble(low(rest & 15)));
        digits.push(nibble(low((rest >> 4) & 15)));
        rest >>= 8;
    }
    digits.write(out)
}

/// An IPv4 address in the low 32 bits.
pub(crate) fn ipv4(out: &mut dyn Write, value: u128) -> fmt::Result {
    let mut digits = Digits::new();
    let bytes = u32::try_from(value & 0xffff_ffff).unwrap_or_default().to_le_bytes();
    for (place, byte) in bytes.into_iter().enumerate() {
        if place != 0 {
            digits.push(b'.');
        }
        let mut rest = byte;
        loop {
            digits.push(b'0'.wrapping_add(rest % 10));
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
    }
    digits.write(out)
}

/// A number below 16.
fn low(value: u64) -> u8 {
    let [.., byte] = value.to_be_bytes();
    byte
}

fn nibble(value: u8) -> u8 {
    if value < 10 { b'0'.wrapping_add(value) } else { b'a'.wrapping_add(value.wrapping_sub(10)) }
}

#[cfg(test)]
mod tests {
    use super::{dec, hex, ipv4, mac};

    fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).expect("a string takes everything");
        out
    }

    #[test]
    fn digits_are_those_of_the_standard_formats() {
        for value in [0, 1, 9, 10, 15, 16, 255, 4_294_967_295, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(text(|out| dec(out, value)), value.to_string());
            assert_eq!(text(|out| hex(out, value)), format!("{value:x}"));
        }
        assert_eq!(text(|out| mac(out, 0x0200_00ab_cdef)), "02:00:00:ab:cd:ef");
        assert_eq!(text(|out| ipv4(out, 0x0a00_ff07)), "10.0.255.7");
    }
}
