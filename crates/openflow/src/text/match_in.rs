//! Reading matches and flows from text.
//!
//! Owns the shorthands and the fields whose meaning depends on others (`tp_src`, `icmp_type`, `dl_vlan`,
//! `nw_src` of ARP), in any order. One difference from ovs-ofctl: a field whose prerequisite is missing is an
//! error here, where ovs-ofctl drops it and so widens the match.

use std::str::FromStr;

use crate::error::ParseError;
use crate::field::Field;
use crate::flow::{Flow, FlowFlags};
use crate::matching::Match;
use crate::message::flow_mod::{FlowMod, FlowModCommand};
use crate::text::action_in;
use crate::text::flow_out::FLAG_NAMES;
use crate::text::lexer::{Pair, Pairs};
use crate::text::ports::PortNames;
use crate::text::value_in::Source;
use crate::types::{TableId, Version};

/// A flow as text says it, with what only some commands look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowText {
    /// The flow.
    pub flow: Flow,
    /// The cookie's mask, if one was given.
    pub cookie_mask: Option<u64>,
    /// `out_port`.
    pub out_port: Option<crate::OfPort>,
    /// `out_group`.
    pub out_group: Option<u32>,
    /// Whether a table was named.
    pub table_given: bool,
}

impl FromStr for Match {
    type Err = ParseError;

    /// Reads `ip,nw_src=10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut fields = Fields::new(Source::new(text));
        for pair in Pairs::new(text) {
            fields.read(&pair)?;
        }
        fields.finish(text)
    }
}

impl FromStr for Flow {
    type Err = ParseError;

    /// Reads what `ovs-ofctl add-flow` takes, or a line of `dump-flows`, into the form of OpenFlow 1.5.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, Version::V15)
    }
}

impl Flow {
    /// Reads what `ovs-ofctl -O version add-flow` takes.
    pub fn parse(text: &str, version: Version) -> Result<Self, ParseError> {
        FlowText::parse(text, version).map(|text| text.flow)
    }
}

impl FlowText {
    /// Reads a flow with the fields that only deletes and requests look at.
    pub fn parse(text: &str, version: Version) -> Result<Self, ParseError> {
        Self::read(Source::new(text), text, version)
    }

    /// The same where ports have names.
    pub fn parse_named(text: &str, version: Version, ports: &PortNames) -> Result<Self, ParseError> {
        Self::read(Source::named(text, ports), text, version)
    }

    fn read(source: Source<'_>, text: &str, version: Version) -> Result<Self, ParseError> {
        let (head, actions) = match find_actions(text) {
            Some((head, actions)) => (head, Some(actions)),
            None => (text, None),
        };
        let mut this = Self {
            flow: Flow::new(TableId(0)),
            cookie_mask: None,
            out_port: None,
            out_group: None,
            table_given: false,
        };
        let mut fields = Fields::new(source);
        for pair in Pairs::new(head) {
            if !this.read_head(source, &pair)? {
                fields.read(&pair)?;
            }
        }
        this.flow.matching = fields.finish(head)?;
        if let Some(actions) = actions {
            this.flow.instructions = action_in::instructions(source, actions, &this.flow.matching, version)?;
        }
        Ok(this)
    }

    /// The flow-mod that `ovs-ofctl` makes of the text: deletes look at all tables unless one is named, and a mask makes
    /// the cookie a condition.
    pub fn into_mod(self, command: FlowModCommand) -> FlowMod {
        let mut change = FlowMod { command, ..FlowMod::add(self.flow) };
        let deletes = matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        if deletes && !self.table_given {
            change.flow.table = TableId::ALL;
        }
        change.cookie_mask = self.cookie_mask.unwrap_or_default();
        change.out_port = self.out_port.unwrap_or(change.out_port);
        change.out_group = self.out_group.unwrap_or(change.out_group);
        change
    }

    /// Reads what is not about packets; false if the pair is something else.
    fn read_head(&mut self, source: Source<'_>, pair: &Pair<'_>) -> Result<bool, ParseError> {
        if let Some((flag, _)) = FLAG_NAMES.iter().find(|(_, name)| *name == pair.key) {
            self.flow.flags |= *flag;
            return Ok(true);
        }
        let value = || source.required(pair.value, pair.text, pair.key);
        match pair.key {
            "allow_hidden_fields" | "no_readonly_table" => {}
            "table" => {
                self.flow.table = TableId(source.number(value()?, "table")?);
                self.table_given = true;
            }
            "priority" => self.flow.priority = source.number(value()?, "priority")?,
            "idle_timeout" => self.flow.idle_timeout = source.number(value()?, "idle_timeout")?,
            "hard_timeout" => self.flow.hard_timeout = source.number(value()?, "hard_timeout")?,
            "importance" => self.flow.importance = source.number(value()?, "importance")?,
            "out_port" => self.out_port = Some(source.port(value()?)?),
            "out_group" => self.out_group = Some(source.number(value()?, "out_group")?),
            "cookie" => {
                let text = value()?;
                if let Some((cookie, mask)) = text.split_once('/') {
                    self.flow.cookie = source.number(cookie, "cookie")?;
                    let mask = if mask == "-1" { u64::MAX } else { source.number(mask, "cookie mask")? };
                    self.cookie_mask = Some(mask);
                } else {
                    self.flow.cookie = source.number(text, "cookie")?;
                }
            }
            // What a dump says about the past.
            "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => {
                value()?;
            }
            "unknown_flags" => {
                let bits = source.number(pair.inner.unwrap_or_default(), "flags")?;
                self.flow.flags |= FlowFlags::from_bits_retain(bits);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Splits at the word `actions=` (or `action=`).
fn find_actions(text: &str) -> Option<(&str, &str)> {
    let at = text.find("action")?;
    let (head, rest) = text.split_at(at);
    let rest = rest.strip_prefix("actions").or_else(|| rest.strip_prefix("action"))?;
    Some((head, rest.trim_start().strip_prefix('=')?))
}

/// Fields of a match while they are read: those that depend on others wait for the end.
struct Fields<'t> {
    source: Source<'t>,
    matching: Match,
    late: Vec<(Field, u128, u128)>,
    tci: (u128, u128),
}

impl<'t> Fields<'t> {
    fn new(source: Source<'t>) -> Self {
        Self { source, matching: Match::new(), late: Vec::new(), tci: (0, 0) }
    }

    fn read(&mut self, pair: &Pair<'_>) -> Result<(), ParseError> {
        if pair.value.is_none() && pair.inner.is_none() && self.word(pair.key) {
            return Ok(());
        }
        match pair.key {
            "dl_vlan" | "dl_vlan_pcp" | "vlan_pcp" => return self.vlan(pair),
            "oxm" => return self.raw(pair),
            _ => {}
        }
        let field = self.field(pair.key)?;
        if field.is_variable() {
            return self.metadata(field, pair);
        }
        let text = self.source.required(pair.value, pair.text, pair.key)?;
        let (value, mask) = self.source.value(field, text)?;
        if mask != u128::MAX && !field.is_maskable() {
            return Err(self.source.error(text, format!("{field} cannot be masked")));
        }
        match field {
            Field::VlanTci => self.tci = (value & mask, mask & 0xffff),
            Field::VlanVid => self.tci = (value & mask, mask & 0x1fff),
            _ if is_late(field) => self.late.push((field, value, mask)),
            _ => self.matching.set(field, value, mask),
        }
        Ok(())
    }

    fn field(&self, key: &str) -> Result<Field, ParseError> {
        match key {
            "in_port" => Ok(Field::InPort),
            "gtpu_flags" => Ok(Field::TunGtpuFlags),
            "gtpu_msgtype" => Ok(Field::TunGtpuMsgtype),
            _ => self.source.field(key),
        }
    }

    /// A protocol's name alone.
    fn word(&mut self, key: &str) -> bool {
        let m = std::mem::take(&mut self.matching);
        self.matching = match key {
            "ip" => m.ip(),
            "ipv6" | "ip6" => m.ipv6(),
            "icmp" => m.icmp(),
            "icmp6" => m.icmp6(),
            "tcp" => m.tcp(),
            "tcp6" => m.tcp6(),
            "udp" => m.udp(),
            "udp6" => m.udp6(),
            "sctp" => m.sctp(),
            "sctp6" => m.sctp6(),
            "arp" => m.arp(),
            "rarp" => m.rarp(),
            "mpls" => m.mpls(),
            "mplsm" => m.mplsm(),
            "eth" => m.with(Field::PacketType, 0, u128::MAX),
            _ => {
                self.matching = m;
                return false;
            }
        };
        true
    }

    /// OpenFlow 1.0's words for a tag: bit 12 means that there is one, and 0xffff that there is none.
    fn vlan(&mut self, pair: &Pair<'_>) -> Result<(), ParseError> {
        let text = self.source.required(pair.value, pair.text, pair.key)?;
        let number: u16 = self.source.number(text, pair.key)?;
        let (value, mask) = match (pair.key, number) {
            ("dl_vlan", 0xffff) => (0, 0x1fff),
            ("dl_vlan", 0..=0xfff) => (u128::from(number) | 0x1000, 0x1fff),
            ("dl_vlan_pcp" | "vlan_pcp", 0..=7) => ((u128::from(number) << 13) | 0x1000, 0xf000),
            _ => return Err(self.source.error(text, format!("{} is out of range", pair.key))),
        };
        self.tci = ((self.tci.0 & !mask) | value, self.tci.1 | mask);
        Ok(())
    }

    /// A field that the codec does not know, as hexadecimal bytes.
    fn raw(&mut self, pair: &Pair<'_>) -> Result<(), ParseError> {
        let text = self.source.required(pair.value, pair.text, pair.key)?;
        let bad = || self.source.error(text, "not an OXM field in hexadecimal");
        let bytes = text.strip_prefix("0x").and_then(hex_bytes).ok_or_else(bad)?;
        let one = Match::from_oxm(&bytes).map_err(|_| bad())?;
        for tlv in &one {
            self.matching.set_raw(tlv.field, tlv.raw);
        }
        Ok(())
    }

    /// `tun_metadata`: as many bytes as the digits need, and none at all without a value.
    fn metadata(&mut self, field: Field, pair: &Pair<'_>) -> Result<(), ParseError> {
        let source = self.source;
        let (value, mask) = match pair.value {
            None => (Vec::new(), Some(Vec::new())),
            Some(text) => metadata_value(source, field, text)?,
        };
        let raw = crate::oxm::raw_field(field, &value, mask.as_deref());
        self.matching.set_raw(Some(field), &raw.map_err(|e| source.error(pair.text, e.to_string()))?);
        Ok(())
    }

    fn finish(mut self, text: &str) -> Result<Match, ParseError> {
        let (tci, mask) = self.tci;
        if mask != 0 {
            self.matching.set(Field::VlanTci, tci, mask);
        }
        // The protocol decides what the others mean.
        self.late.sort_by_key(|(field, ..)| *field != Field::IpProto);
        for (field, value, mask) in std::mem::take(&mut self.late) {
            let field = settled(field, &self.matching);
            self.matching.set(field, value, mask);
        }
        self.matching.check().map_err(|e| self.source.error(text.trim(), e.to_string()))?;
        Ok(self.matching)
    }
}

/// Whether the words of OpenFlow 1.0 mean different fields for different protocols.
fn is_late(field: Field) -> bool {
    matches!(
        field,
        Field::TcpSrc
            | Field::TcpDst
            | Field::UdpSrc
            | Field::UdpDst
            | Field::SctpSrc
            | Field::SctpDst
            | Field::IcmpType
            | Field::IcmpCode
            | Field::Ipv4Src
            | Field::Ipv4Dst
            | Field::IpProto
    )
}

/// The field that is meant, given the protocols of the whole match.
fn settled(field: Field, matching: &Match) -> Field {
    let is = |field, number| matching.value(field).is_some_and(|(value, _)| value == number);
    let arp = is(Field::EthType, 0x0806) || is(Field::EthType, 0x8035);
    let icmp6 = is(Field::IpProto, 58);
    match field {
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => {
            matching.transport(Field::TcpSrc, Field::UdpSrc, Field::SctpSrc)
        }
        Field::TcpDst | Field::UdpDst | Field::SctpDst => {
            matching.transport(Field::TcpDst, Field::UdpDst, Field::SctpDst)
        }
        Field::IcmpType if icmp6 => Field::Icmpv6Type,
        Field::IcmpCode if icmp6 => Field::Icmpv6Code,
        Field::Ipv4Src if arp => Field::ArpSpa,
        Field::Ipv4Dst if arp => Field::ArpTpa,
        Field::IpProto if arp => Field::ArpOp,
        _ => field,
    }
}

/// The value and mask of `tun_metadata` as bytes of one length, which the larger of the two decides.
pub(crate) fn metadata_value(
    source: Source<'_>,
    field: Field,
    text: &str,
) -> Result<(Vec<u8>, Option<Vec<u8>>), ParseError> {
    let digits = |text: &str| {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        match hex {
            Some(hex) => hex_bytes(hex),
            None => wide_bytes(text),
        }
        .filter(|bytes| bytes.len() <= field.bytes())
        .ok_or_else(|| source.error(text, format!("not a value of {field}")))
    };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (digits(value)?, Some(digits(mask)?)),
        None => (digits(text)?, None),
    };
    let mut value = trimmed(value);
    let Some(mask) = mask else {
        return Ok((value, None));
    };
    let mut mask = trimmed(mask);
    let len = value.len().max(mask.len());
    for bytes in [&mut value, &mut mask] {
        let missing = len.saturating_sub(bytes.len());
        bytes.splice(0..0, std::iter::repeat_n(0, missing));
    }
    let masked: Vec<u8> = value.iter().zip(&mask).map(|(v, m)| v & m).collect();
    Ok((masked, Some(mask)))
}

fn trimmed(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|b| *b == 0).collect()
}

fn wide_bytes(text: &str) -> Option<Vec<u8>> {
    crate::text::wide_number(text).map(|n| n.to_be_bytes().to_vec())
}

/// Bytes from hexadecimal digits, an odd number of which begins with half a byte.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    let odd = digits.len() % 2;
    let (first, rest) = digits.split_at_checked(odd)?;
    let pairs = rest.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4) | low);
    Some(first.iter().copied().chain(pairs).collect())
}
