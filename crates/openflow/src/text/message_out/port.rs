//! Printing ports.

use std::fmt::{self, Write};

use super::write_bits;
use crate::message::port::{Port, PortConfig, PortMod, PortReason, PortStatus};
use crate::text::out::Out;

const CONFIG: [(u32, &str); 4] =
    [(1, "PORT_DOWN"), (1 << 2, "NO_RECV"), (1 << 5, "NO_FWD"), (1 << 6, "NO_PACKET_IN")];
/// Bits without a name mean nothing to Open vSwitch.
fn write_config(out: &mut Out<'_>, config: PortConfig) -> fmt::Result {
    let known = CONFIG.iter().fold(0, |bits, (bit, _)| bits | bit);
    write_bits(out, config.bits() & known, &CONFIG, ' ')
}

const STATE: [(u32, &str); 3] = [(1, "LINK_DOWN"), (2, "BLOCKED"), (4, "LIVE")];
const FEATURES: [(u32, &str); 16] = [
    (1, "10MB-HD"),
    (1 << 1, "10MB-FD"),
    (1 << 2, "100MB-HD"),
    (1 << 3, "100MB-FD"),
    (1 << 4, "1GB-HD"),
    (1 << 5, "1GB-FD"),
    (1 << 6, "10GB-FD"),
    (1 << 7, "40GB-FD"),
    (1 << 8, "100GB-FD"),
    (1 << 9, "1TB-FD"),
    (1 << 10, "OTHER"),
    (1 << 11, "COPPER"),
    (1 << 12, "FIBER"),
    (1 << 13, "AUTO_NEG"),
    (1 << 14, "AUTO_PAUSE"),
    (1 << 15, "AUTO_PAUSE_ASYM"),
];

pub(super) fn write_port(out: &mut Out<'_>, port: &Port<'_>) -> fmt::Result {
    write!(
        out,
        " {}({}): addr:{}\n     config:     ",
        port.number,
        String::from_utf8_lossy(port.name),
        port.mac
    )?;
    write_config(out, port.config)?;
    out.write_str("\n     state:      ")?;
    write_bits(out, port.state.bits(), &STATE, ' ')?;
    out.write_char('\n')?;
    let ethernet = &port.ethernet;
    for (name, bits) in [
        ("current:    ", ethernet.current),
        ("advertised: ", ethernet.advertised),
        ("supported:  ", ethernet.supported),
        ("peer:       ", ethernet.peer),
    ] {
        // Bits without a name mean nothing here, either.
        let bits = bits & 0xffff;
        if bits != 0 {
            write!(out, "     {name}")?;
            write_bits(out, bits, &FEATURES, ' ')?;
            out.write_char('\n')?;
        }
    }
    writeln!(
        out,
        "     speed: {} Mbps now, {} Mbps max",
        ethernet.current_speed / 1000,
        ethernet.max_speed / 1000
    )
}

pub(super) fn write_status(out: &mut Out<'_>, status: &PortStatus<'_>) -> fmt::Result {
    out.write_str(match status.reason {
        PortReason::Add => " ADD:",
        PortReason::Delete => " DEL:",
        PortReason::Modify => " MOD:",
    })?;
    write_port(out, &status.port)
}

pub(super) fn write_mod(out: &mut Out<'_>, change: &PortMod<'_>) -> fmt::Result {
    write!(out, " port: {}: addr:{}\n     config: ", change.number, change.mac)?;
    write_config(out, change.config & change.mask)?;
    out.write_str("\n     mask:   ")?;
    write_config(out, change.mask)?;
    out.write_str("\n     advertise: ")?;
    if change.advertise == 0 {
        out.write_str("UNCHANGED\n")
    } else {
        write_bits(out, change.advertise, &FEATURES, ' ')?;
        out.write_char('\n')
    }
}
