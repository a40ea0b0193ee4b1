//! Numbers and addresses written digit by digit.
//!
//! Owns the speed of printing: `write!` costs several times as much for each of the dozen numbers of a flow.
//! Must produce exactly what `{}`, `{:x}` and the addresses' own `Display` do.

use std::fmt::{self, Write};

use super::out::Out;

/// `{}`.
pub(crate) fn dec(out: &mut Out<'_>, value: u128) -> fmt::Result {
    let Ok(mut rest) = u64::try_from(value) else {
        return write!(out, "{value}");
    };
    let digits = rest.checked_ilog10().map_or(1, |power| power.saturating_add(1));
    out.ascii(digits, |place| {
        *place = b'0'.wrapping_add(low(rest % 10));
        rest /= 10;
    })
}

/// `{:x}`.
pub(crate) fn hex(out: &mut Out<'_>, value: u128) -> fmt::Result {
    let Ok(mut rest) = u64::try_from(value) else {
        return write!(out, "{value:x}");
    };
    let digits = rest.checked_ilog2().map_or(1, |power| (power / 4).saturating_add(1));
    out.ascii(digits, |place| {
        *place = nibble(low(rest & 15));
        rest >>= 4;
    })
}

/// `{:#x}`.
pub(crate) fn hex0x(out: &mut Out<'_>, value: u128) -> fmt::Result {
    out.write_str("0x")?;
    hex(out, value)
}

/// An Ethernet address in the low 48 bits.
pub(crate) fn mac(out: &mut Out<'_>, value: u128) -> fmt::Result {
    let mut rest = u64::try_from(value & 0xffff_ffff_ffff).unwrap_or_default();
    let mut column = 0_u8;
    out.ascii(17, |place| {
        if column % 3 == 2 {
            *place = b':';
        } else {
            *place = nibble(low(rest & 15));
            rest >>= 4;
        }
        column = column.wrapping_add(1);
    })
}

/// An IPv4 address in the low 32 bits.
pub(crate) fn ipv4(out: &mut Out<'_>, value: u128) -> fmt::Result {
    let [a, b, c, d] = u32::try_from(value & 0xffff_ffff).unwrap_or_default().to_be_bytes();
    dec(out, u128::from(a))?;
    for byte in [b, c, d] {
        out.write_char('.')?;
        dec(out, u128::from(byte))?;
    }
    Ok(())
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
    use super::{Out, dec, hex, ipv4, mac};

    fn text(write: impl FnOnce(&mut Out<'_>) -> std::fmt::Result) -> String {
        let mut out = String::new();
        Out::show(&mut out, write).expect("a string takes everything");
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
