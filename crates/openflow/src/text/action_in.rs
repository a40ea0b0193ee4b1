//! Reading actions and instructions from text.
//!
//! Owns the words; the arguments with a syntax of their own stand in `action_in/nested.rs`. Actions are written
//! straight into wire form.

use bytes::BytesMut;

use crate::action::{Action, ActionsRef, Resubmit, Subfield};
use crate::error::{EncodeError, ParseError};
use crate::field::Field;
use crate::instruction::{Instruction, Instructions};
use crate::matching::Match;
use crate::text::lexer::{Pair, Pairs};
use crate::text::match_in::{hex_bytes, metadata_value};
use crate::text::value_in::Source;
use crate::types::{OfPort, TableId, Version};
use crate::writer::Writer;

mod more;
mod nested;

/// What the words of OpenFlow 1.0 need to know about the packets of the flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packets {
    /// There is a VLAN tag at this point.
    tagged: bool,
    ip_proto: Option<u128>,
}

impl Packets {
    pub(crate) fn of(matching: &Match) -> Self {
        let value = |field| matching.value(field).map(|(value, _)| value);
        Self {
            tagged: value(Field::VlanVid).is_some_and(|vid| vid & 0x1000 != 0),
            ip_proto: value(Field::IpProto),
        }
    }
}

/// Reads what follows `actions=`.
pub(crate) fn instructions(
    source: Source<'_>,
    text: &str,
    matching: &Match,
    version: Version,
) -> Result<Instructions, ParseError> {
    let mut apply = BytesMut::new();
    let mut write = BytesMut::new();
    let mut meter = None;
    let mut list: Vec<Instruction<'_>> = Vec::new();
    let mut parser = Parser { source, packets: Packets::of(matching), depth: 0 };
    for pair in Pairs::new(text) {
        let argument = || source.required(pair.argument(), pair.text, pair.key);
        let instruction = match pair.key {
            "clear_actions" => Instruction::Clear,
            "goto_table" => Instruction::Goto(TableId(source.number(argument()?, "table")?)),
            "write_metadata" => metadata(source, argument()?)?,
            "meter" if version < Version::V15 => {
                if meter.is_some() || !apply.is_empty() {
                    return Err(source.error(pair.text, "a meter comes first"));
                }
                meter = Some(source.number::<u32>(argument()?, "meter")?);
                continue;
            }
            "write_actions" => {
                let inner = pair.argument().unwrap_or_default();
                parser.list(inner, &mut Writer::new(&mut write, version))?;
                continue;
            }
            "apply_actions" => {
                let inner = pair.argument().unwrap_or_default();
                parser.list(inner, &mut Writer::new(&mut apply, version))?;
                continue;
            }
            "unknown_instruction" => return Err(source.error(pair.text, "cannot be read back")),
            _ => {
                parser.action(&pair, &mut Writer::new(&mut apply, version))?;
                continue;
            }
        };
        list.push(instruction);
    }
    list.extend(meter.map(Instruction::Meter));
    list.extend([
        Instruction::Apply(ActionsRef::trusted(&apply)),
        Instruction::Write(ActionsRef::trusted(&write)),
    ]);
    Instructions::for_version(version, list).map_err(|e| source.error(text, e.to_string()))
}

/// Reads a list of actions alone.
pub(crate) fn actions(source: Source<'_>, text: &str, version: Version) -> Result<BytesMut, ParseError> {
    let mut buf = BytesMut::new();
    let mut parser = Parser { source, packets: Packets::of(&Match::new()), depth: 0 };
    parser.list(text, &mut Writer::new(&mut buf, version))?;
    Ok(buf)
}

fn metadata<'a>(source: Source<'_>, text: &str) -> Result<Instruction<'a>, ParseError> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (source.number(value, "metadata")?, source.number(mask, "mask")?),
        None => (source.number(text, "metadata")?, u64::MAX),
    };
    Ok(Instruction::Metadata { value, mask })
}

/// Reads actions one after another.
struct Parser<'t> {
    source: Source<'t>,
    packets: Packets,
    depth: u8,
}

impl Parser<'_> {
    /// Actions separated by commas.
    fn list(&mut self, text: &str, w: &mut Writer<'_>) -> Result<(), ParseError> {
        if self.depth > crate::limits::MAX_NESTING {
            return Err(self.source.error(text, "nested too deeply"));
        }
        self.depth = self.depth.saturating_add(1);
        for pair in Pairs::new(text) {
            self.action(&pair, w)?;
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn action(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        if self.simple(pair, w)? || self.rewrite(pair, w)? || self.nested(pair, w)? || self.more(pair, w)? {
            return Ok(());
        }
        // What is left is a port: `1`, `LOCAL`, `NORMAL`.
        let port = self.source.try_port(pair.key).filter(|port| *port != OfPort::CONTROLLER);
        match port {
            Some(port) if pair.argument().is_none() => self.put(pair, w, Action::output(port)),
            _ => Err(self.source.error(pair.text, format!("unknown action {}", pair.key))),
        }
    }

    /// Appends an action.
    fn put(&self, pair: &Pair<'_>, w: &mut Writer<'_>, action: Action<'_>) -> Result<(), ParseError> {
        self.written(pair, action.write(w))
    }

    fn written(&self, pair: &Pair<'_>, result: Result<(), EncodeError>) -> Result<(), ParseError> {
        result.map_err(|e| self.source.error(pair.text, e.to_string()))
    }

    fn argument<'t>(&self, pair: &Pair<'t>) -> Result<&'t str, ParseError> {
        let argument = pair.argument().filter(|text| !text.is_empty());
        argument.ok_or_else(|| self.source.error(pair.text, format!("{} needs an argument", pair.key)))
    }

    fn number<T: TryFrom<u64>>(&self, pair: &Pair<'_>) -> Result<T, ParseError> {
        self.source.number(self.argument(pair)?, pair.key)
    }

    /// Actions with one argument or none; false if the word is another.
    fn simple(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<bool, ParseError> {
        let action = match pair.key {
            "drop" => return Ok(true),
            "group" => Action::Group(self.number(pair)?),
            "set_queue" => Action::SetQueue(self.number(pair)?),
            "pop_queue" => Action::PopQueue,
            "meter" => Action::Meter(self.number(pair)?),
            "push_vlan" => {
                self.packets.tagged = true;
                Action::PushVlan(self.ethertype(pair, &[0x8100, 0x88a8])?)
            }
            "pop_vlan" | "strip_vlan" => {
                self.packets.tagged = false;
                Action::PopVlan
            }
            "push_mpls" => Action::PushMpls(self.ethertype(pair, &[0x8847, 0x8848])?),
            "pop_mpls" => Action::PopMpls(self.number(pair)?),
            "set_mpls_ttl" => Action::SetMplsTtl(self.number(pair)?),
            "dec_mpls_ttl" => Action::DecMplsTtl,
            "mod_nw_ttl" => Action::SetNwTtl(self.number(pair)?),
            "dec_nsh_ttl" => Action::DecNshTtl,
            "dec_ttl" => return self.dec_ttl(pair, w).map(|()| true),
            "set_tunnel" => Action::SetTunnel(self.number(pair)?),
            "set_tunnel64" => Action::SetTunnel64(self.number(pair)?),
            "resubmit" => Action::Resubmit(self.resubmit(pair)?),
            "exit" => Action::Exit,
            "ct_clear" => Action::CtClear,
            "push" => Action::StackPush(self.source.subfield(self.argument(pair)?)?),
            "pop" => Action::StackPop(self.source.subfield(self.argument(pair)?)?),
            "delete_field" => Action::DeleteField(self.source.field(self.argument(pair)?)?),
            "load" => self.load(pair)?,
            "move" => self.copy(pair)?,
            "check_pkt_larger" => self.check_pkt_larger(pair)?,
            "note" => return self.note(pair, w).map(|()| true),
            "unknown_action" => return self.raw(pair, w).map(|()| true),
            _ => return Ok(false),
        };
        self.put(pair, w, action).map(|()| true)
    }

    /// Actions that write fields, among them the words of OpenFlow 1.0.
    fn rewrite(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<bool, ParseError> {
        let proto = |tcp, udp, sctp| match self.packets.ip_proto {
            Some(17) => udp,
            Some(132) => sctp,
            _ => tcp,
        };
        let field = match pair.key {
            "set_field" => return self.set_field(pair, w).map(|()| true),
            "mod_dl_src" => Field::EthSrc,
            "mod_dl_dst" => Field::EthDst,
            "mod_nw_src" => Field::Ipv4Src,
            "mod_nw_dst" => Field::Ipv4Dst,
            "mod_nw_ecn" => Field::IpEcn,
            "mod_tp_src" => proto(Field::TcpSrc, Field::UdpSrc, Field::SctpSrc),
            "mod_tp_dst" => proto(Field::TcpDst, Field::UdpDst, Field::SctpDst),
            "set_mpls_label" => Field::MplsLabel,
            "set_mpls_tc" => Field::MplsTc,
            "mod_nw_tos" => {
                let tos: u8 = self.number(pair)?;
                return self
                    .put(pair, w, Action::set_field(Field::IpDscp, u128::from(tos >> 2)))
                    .map(|()| true);
            }
            "mod_vlan_vid" | "set_vlan_vid" | "mod_vlan_pcp" | "set_vlan_pcp" => {
                return self.vlan(pair, w).map(|()| true);
            }
            _ => return Ok(false),
        };
        let (value, mask) = self.source.value(field, self.argument(pair)?)?;
        self.put(pair, w, Action::SetField { field, value, mask }).map(|()| true)
    }

    /// OpenFlow 1.0's actions add a tag where there is none.
    fn vlan(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let (field, value) = if pair.key.ends_with("vid") {
            let vid: u16 = self.number(pair)?;
            (Field::VlanVid, u128::from((vid & 0xfff) | 0x1000))
        } else {
            (Field::VlanPcp, u128::from(self.number::<u8>(pair)? & 7))
        };
        if !std::mem::replace(&mut self.packets.tagged, true) && pair.key.starts_with("mod") {
            self.put(pair, w, Action::PushVlan(0x8100))?;
        }
        self.put(pair, w, Action::set_field(field, value))
    }

    fn ethertype(&self, pair: &Pair<'_>, allowed: &[u16]) -> Result<u16, ParseError> {
        let eth: u16 = self.number(pair)?;
        if allowed.contains(&eth) {
            Ok(eth)
        } else {
            Err(self.source.error(pair.text, "not an allowed Ethernet type"))
        }
    }

    fn dec_ttl(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let Some(text) = pair.argument() else {
            return self.put(pair, w, Action::DecTtl);
        };
        let mut ids = Vec::new();
        for id in text.split([',', ' ']).filter(|id| !id.is_empty()) {
            ids.extend_from_slice(&self.source.number::<u16>(id, "controller")?.to_be_bytes());
        }
        if ids.is_empty() {
            return Err(self.source.error(pair.text, "dec_ttl() needs controllers"));
        }
        self.put(pair, w, Action::DecTtlIds(&ids))
    }

    /// `resubmit:port`, `resubmit(port,table)`, `resubmit(,table,ct)`.
    fn resubmit(&self, pair: &Pair<'_>) -> Result<Resubmit, ParseError> {
        let mut parts = self.argument(pair)?.split(',').map(str::trim);
        let port = match parts.next() {
            None | Some("") => OfPort::IN_PORT,
            Some(port) => self.source.port(port)?,
        };
        let table = match parts.next() {
            None | Some("") => TableId::ALL,
            Some(table) => TableId(self.source.number(table, "table")?),
        };
        let ct = match parts.next() {
            None | Some("") => false,
            Some("ct") => true,
            Some(other) => return Err(self.source.error(other, "resubmit takes a port, a table and ct")),
        };
        if port == OfPort::IN_PORT && table == TableId::ALL {
            return Err(self.source.error(pair.text, "resubmit needs a port or a table"));
        }
        Ok(Resubmit { port, table, ct })
    }

    /// The two sides of an arrow.
    fn arrow<'t>(&self, pair: &Pair<'t>) -> Result<(&'t str, &'t str), ParseError> {
        let sides = self.argument(pair)?.split_once("->");
        sides.ok_or_else(|| self.source.error(pair.text, format!("{} needs ->", pair.key)))
    }

    fn load<'a>(&self, pair: &Pair<'_>) -> Result<Action<'a>, ParseError> {
        let (value, dst) = self.arrow(pair)?;
        let dst = self.writable(dst)?;
        let number: u64 = self.source.number(value, "value")?;
        if dst.bits < 64 && number >> dst.bits != 0 {
            return Err(self.source.error(value, format!("does not fit {} bits", dst.bits)));
        }
        Ok(Action::Load { dst, value: number })
    }

    fn copy<'a>(&self, pair: &Pair<'_>) -> Result<Action<'a>, ParseError> {
        let (src, dst) = self.arrow(pair)?;
        let (src, dst) = (self.source.subfield(src)?, self.writable(dst)?);
        if src.bits != dst.bits {
            return Err(self.source.error(pair.text, format!("{} bits do not fill {}", src.bits, dst.bits)));
        }
        Ok(Action::Move { src, dst })
    }

    fn writable(&self, text: &str) -> Result<Subfield, ParseError> {
        let sub = self.source.subfield(text)?;
        if sub.field.is_writable() {
            Ok(sub)
        } else {
            Err(self.source.error(text, format!("{} is read-only", sub.field)))
        }
    }

    fn check_pkt_larger<'a>(&self, pair: &Pair<'_>) -> Result<Action<'a>, ParseError> {
        let len = self.source.number(pair.inner.unwrap_or_default(), "length")?;
        let dst = pair.value.and_then(|tail| tail.strip_prefix("->"));
        let dst = dst.ok_or_else(|| self.source.error(pair.text, "check_pkt_larger needs ->"))?;
        let dst = self.writable(dst)?;
        if dst.bits == 1 {
            Ok(Action::CheckPktLarger { len, dst })
        } else {
            Err(self.source.error(pair.text, "check_pkt_larger fills one bit"))
        }
    }

    fn set_field(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let (value_text, name) = self.arrow(pair)?;
        let field = self.source.field(name)?;
        if !field.is_writable() {
            return Err(self.source.error(name, format!("{field} is read-only")));
        }
        if field.is_variable() {
            let (mut value, mut mask) = metadata_value(self.source, field, value_text)?;
            if value.is_empty() && mask.is_none() {
                value = vec![0];
            }
            mask = mask.filter(|mask| !mask.is_empty());
            let action = Action::SetMetadataField { field, value: &value, mask: mask.as_deref() };
            return self.put(pair, w, action);
        }
        let (value, mask) = self.source.value(field, value_text)?;
        if mask != u128::MAX && !field.is_maskable() {
            return Err(self.source.error(value_text, format!("{field} cannot be masked")));
        }
        self.put(pair, w, Action::SetField { field, value, mask })
    }

    /// Bytes, of which the last are filled up with zeroes to a whole action.
    fn note(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let text = pair.argument().unwrap_or_default().replace('.', "");
        let bytes = if text.is_empty() {
            Some(Vec::new())
        } else {
            hex_bytes(&text).filter(|_| text.len().is_multiple_of(2))
        };
        let bytes = bytes.ok_or_else(|| self.source.error(pair.text, "not bytes in hexadecimal"))?;
        self.put(pair, w, Action::Note(&bytes))
    }

    /// An action that the codec does not know, whole.
    fn raw(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let bad = || self.source.error(pair.text, "not an action in hexadecimal");
        let text = pair.argument().and_then(|text| text.strip_prefix("0x"));
        let bytes = text.and_then(hex_bytes).ok_or_else(bad)?;
        let parsed = crate::action::Actions::from_wire(&bytes, w.version()).map_err(|_| bad())?;
        self.written(pair, parsed.as_ref().write(w))
    }
}
