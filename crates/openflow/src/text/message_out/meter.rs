//! Printing meters.

use std::fmt::{self, Write};

use crate::message::meter::{
    ALL_METERS, Band, BandKind, CONTROLLER_METER, Meter, MeterCommand, MeterFeatures, MeterFlags, MeterMod,
    MeterStats, SLOWPATH_METER,
};
use crate::text::flow_out::write_duration;
use crate::text::out::Out;

/// A meter's number or name, after a separator.
pub(super) fn write_id(out: &mut Out<'_>, id: u32, separator: char) -> fmt::Result {
    write!(out, "meter{separator}")?;
    match id {
        ALL_METERS => out.write_str("all"),
        CONTROLLER_METER => out.write_str("controller"),
        SLOWPATH_METER => out.write_str("slowpath"),
        _ if id > MAX_METER => out.write_str("unknown"),
        _ => write!(out, "{id}"),
    }
}

/// Flags by name; what has none in hexadecimal after `rest`.
fn write_flags(out: &mut Out<'_>, flags: MeterFlags, rest: &str) -> fmt::Result {
    let names = [
        (MeterFlags::KBPS, " kbps"),
        (MeterFlags::PKTPS, " pktps"),
        (MeterFlags::BURST, " burst"),
        (MeterFlags::STATS, " stats"),
    ];
    names.iter().filter(|(flag, _)| flags.contains(*flag)).try_for_each(|(_, name)| out.write_str(name))?;
    let unknown = flags.bits() & !15;
    if unknown == 0 { Ok(()) } else { write!(out, " {rest}{unknown:#x}") }
}

pub(super) fn write_meter(out: &mut Out<'_>, meter: &Meter) -> fmt::Result {
    write_id(out, meter.id, '=')?;
    write_flags(out, meter.flags, "flags:")?;
    out.write_str(" bands=")?;
    for band in &meter.bands {
        out.write_char('\n')?;
        write_band(out, *band, meter.flags)?;
    }
    out.write_char('\n')
}

fn write_band(out: &mut Out<'_>, band: Band, flags: MeterFlags) -> fmt::Result {
    let name = match band.kind {
        BandKind::Drop => "drop",
        BandKind::DscpRemark(_) => "dscp_remark",
    };
    write!(out, "type={name} rate={}", band.rate)?;
    if flags.contains(MeterFlags::BURST) {
        write!(out, " burst_size={}", band.burst)?;
    }
    if let BandKind::DscpRemark(level) = band.kind {
        write!(out, " prec_level={level}")?;
    }
    Ok(())
}

pub(super) fn write_mod(out: &mut Out<'_>, change: &MeterMod) -> fmt::Result {
    out.write_str(match change.command {
        MeterCommand::Add => " ADD ",
        MeterCommand::Modify => " MOD ",
        MeterCommand::Delete => " DEL ",
    })?;
    write_meter(out, &change.meter)
}

pub(super) fn write_stats(out: &mut Out<'_>, stats: &MeterStats) -> fmt::Result {
    write_id(out, stats.id, ':')?;
    write!(
        out,
        " flow_count:{} packet_in_count:{} byte_in_count:{} duration:",
        stats.flow_count, stats.packet_in_count, stats.byte_in_count
    )?;
    write_duration(out, stats.duration)?;
    out.write_str(" bands:\n")?;
    for (number, [packets, bytes]) in stats.bands.iter().enumerate() {
        writeln!(out, "{number}: packet_count:{packets} byte_count:{bytes}")?;
    }
    Ok(())
}

pub(super) fn write_features(out: &mut Out<'_>, features: &MeterFeatures) -> fmt::Result {
    writeln!(
        out,
        "\nmax_meter:{} max_bands:{} max_color:{}",
        features.max_meters, features.max_bands, features.max_color
    )?;
    out.write_str("band_types:")?;
    let types = features.band_types;
    for (bit, name) in [(2, " drop"), (4, " dscp_remark")] {
        if types & bit != 0 {
            out.write_str(name)?;
        }
    }
    out.write_str("\ncapabilities:")?;
    write_flags(
        out,
        MeterFlags::from_bits_retain(u16::try_from(features.capabilities & 0xffff).unwrap_or_default()),
        "",
    )?;
    out.write_char('\n')
}

/// The greatest number of a meter.
const MAX_METER: u32 = 0xffff_0000;
