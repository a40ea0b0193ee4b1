//! Reading meters from text, as `ovs-ofctl add-meter` takes them.

use crate::error::ParseError;
use crate::message::meter::{
    ALL_METERS, Band, BandKind, CONTROLLER_METER, Meter, MeterCommand, MeterFlags, MeterMod, SLOWPATH_METER,
};
use crate::text::lexer::{Pair, Pairs};
use crate::text::value_in::Source;

impl MeterMod {
    /// Reads what `ovs-ofctl add-meter` (or the word for another command) takes.
    pub fn parse(text: &str, command: MeterCommand) -> Result<Self, ParseError> {
        let source = Source::new(text);
        let mut id = None;
        let mut flags = MeterFlags::empty();
        let mut bands: Vec<Band> = Vec::new();
        for pair in Pairs::new(text) {
            match pair.key {
                "meter" | "meter_id" => id = Some(meter_id(source, &pair, command)?),
                "kbps" => flags |= MeterFlags::KBPS,
                "pktps" => flags |= MeterFlags::PKTPS,
                "burst" => flags |= MeterFlags::BURST,
                "stats" => flags |= MeterFlags::STATS,
                "band" | "bands" => {
                    let first = pair.argument().unwrap_or_default();
                    Pairs::new(first).try_for_each(|pair| band(source, &pair, &mut bands, flags))?;
                }
                _ => band(source, &pair, &mut bands, flags)?,
            }
        }
        let id = match id {
            Some(id) => id,
            None if command == MeterCommand::Delete => ALL_METERS,
            None => return Err(source.error(text, "meter is missing")),
        };
        if command == MeterCommand::Delete {
            return Ok(Self { command, meter: Meter { id, flags: MeterFlags::empty(), bands: Vec::new() } });
        }
        if bands.is_empty() {
            return Err(source.error(text, "a meter has bands"));
        }
        if flags.contains(MeterFlags::KBPS) == flags.contains(MeterFlags::PKTPS) {
            return Err(source.error(text, "a meter is either kbps or pktps"));
        }
        if bands.iter().any(|band| band.rate == 0) {
            return Err(source.error(text, "each band has a rate"));
        }
        Ok(Self { command, meter: Meter { id, flags, bands } })
    }
}

fn meter_id(source: Source<'_>, pair: &Pair<'_>, command: MeterCommand) -> Result<u32, ParseError> {
    match source.required(pair.argument(), pair.text, pair.key)? {
        "all" if command == MeterCommand::Delete => Ok(ALL_METERS),
        "controller" => Ok(CONTROLLER_METER),
        "slowpath" => Ok(SLOWPATH_METER),
        text => source.number(text, "meter"),
    }
}

/// One word of a band; `type` begins the next.
fn band(
    source: Source<'_>,
    pair: &Pair<'_>,
    bands: &mut Vec<Band>,
    flags: MeterFlags,
) -> Result<(), ParseError> {
    let unknown = || source.error(pair.text, format!("unknown word {} of a meter", pair.key));
    let value = source.required(pair.argument(), pair.text, pair.key);
    if pair.key == "type" {
        let kind = match value? {
            "drop" => BandKind::Drop,
            "dscp_remark" => BandKind::DscpRemark(0),
            other => return Err(source.error(other, "type is drop or dscp_remark")),
        };
        bands.push(Band { kind, rate: 0, burst: 0 });
        return Ok(());
    }
    let band = bands.last_mut().ok_or_else(unknown)?;
    match pair.key {
        "rate" => band.rate = source.number(value?, "rate")?,
        "burst_size" if flags.contains(MeterFlags::BURST) => {
            band.burst = source.number(value?, "burst_size")?;
        }
        "burst_size" => return Err(source.error(pair.text, "burst_size needs the word burst")),
        "prec_level" => match &mut band.kind {
            BandKind::DscpRemark(level) => *level = source.number(value?, "prec_level")?,
            BandKind::Drop => return Err(source.error(pair.text, "prec_level needs type=dscp_remark")),
        },
        _ => return Err(unknown()),
    }
    Ok(())
}
