//! Actions whose arguments have a syntax of their own.

use bytes::BytesMut;

use super::Parser;
use crate::action::{
    Action, ActionsRef, Controller, Ct, CtZone, Nat, NatKind, NatRange, Sample, SampleDirection,
};
use crate::error::ParseError;
use crate::text::action_out::REASONS;
use crate::text::lexer::{Pair, Pairs};
use crate::text::match_in::hex_bytes;
use crate::types::{OfPort, TableId};
use crate::writer::Writer;

impl Parser<'_> {
    /// False if the word is none of these actions.
    pub(super) fn nested(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<bool, ParseError> {
        match pair.key {
            "output" => self.output(pair, w)?,
            "enqueue" => self.enqueue(pair, w)?,
            "controller" | "CONTROLLER" => self.controller(pair, w)?,
            "ct" => self.ct(pair, w)?,
            "nat" => {
                let nat = self.nat(pair)?;
                self.put(pair, w, Action::Nat(nat))?;
            }
            "clone" => self.clone_actions(pair, w)?,
            "conjunction" => self.conjunction(pair, w)?,
            "sample" => self.sample(pair, w)?,
            "fin_timeout" => self.fin_timeout(pair, w)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `output:1`, `output:FIELD[]`, `output(port=1,max_len=100)`.
    fn output(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        if let Some(inner) = pair.inner {
            let mut port = None;
            let mut max_len = None;
            for part in Pairs::new(inner) {
                let value = self.source.required(part.value, part.text, part.key)?;
                match part.key {
                    "port" => port = Some(self.source.port(value)?),
                    "max_len" => max_len = Some(self.source.number(value, "max_len")?),
                    _ => return Err(self.source.error(part.text, "output takes port and max_len")),
                }
            }
            let (Some(port), Some(max_len)) = (port, max_len) else {
                return Err(self.source.error(pair.text, "output() needs port and max_len"));
            };
            return self.put(pair, w, Action::OutputTrunc { port, max_len });
        }
        let text = self.argument(pair)?;
        if let Some(port) = self.source.try_port(text) {
            return self.put(pair, w, Action::output(port));
        }
        let source = self.source.subfield(text)?;
        self.put(pair, w, Action::OutputReg { source, max_len: u16::MAX })
    }

    /// OpenFlow 1.0's: choose the queue, send, forget the queue.
    fn enqueue(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let parts = self.argument(pair)?.split_once([':', ',']);
        let Some((port, queue)) = parts else {
            return Err(self.source.error(pair.text, "enqueue takes a port and a queue"));
        };
        let queue = self.source.number(queue.trim(), "queue")?;
        self.put(pair, w, Action::SetQueue(queue))?;
        let port = self.source.port(port)?;
        self.put(pair, w, Action::Output { port, max_len: u16::MAX })?;
        self.put(pair, w, Action::PopQueue)
    }

    fn controller(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let mut bytes = Vec::new();
        let mut c = Controller {
            max_len: u16::MAX,
            id: 0,
            reason: 1,
            userdata: &[],
            pause: false,
            meter: 0,
            extended: false,
        };
        if let Some(inner) = pair.inner {
            for part in Pairs::new(inner) {
                self.controller_part(&part, &mut c, &mut bytes)?;
            }
        } else if let Some(max_len) = pair.value.filter(|text| !text.is_empty()) {
            c.max_len = self.source.number(max_len, "max_len")?;
        }
        c.userdata = &bytes;
        let plain = c.reason == 1 && c.id == 0 && bytes.is_empty() && !c.pause && c.meter == 0;
        if plain {
            return self.put(pair, w, Action::Output { port: OfPort::CONTROLLER, max_len: c.max_len });
        }
        self.put(pair, w, Action::Controller(c))
    }

    fn controller_part(
        &self,
        part: &Pair<'_>,
        c: &mut Controller<'_>,
        userdata: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        if part.key == "pause" {
            c.pause = true;
            return Ok(());
        }
        let value = self.source.required(part.value, part.text, part.key)?;
        match part.key {
            "reason" => {
                let reason = REASONS.iter().position(|reason| *reason == value);
                let reason = reason.and_then(|n| u8::try_from(n).ok());
                c.reason = reason.ok_or_else(|| self.source.error(value, "unknown reason"))?;
            }
            "max_len" => c.max_len = self.source.number(value, "max_len")?,
            "id" => c.id = self.source.number(value, "id")?,
            "meter_id" => c.meter = self.source.number(value, "meter_id")?,
            "userdata" => {
                let bytes = hex_bytes(&value.replace('.', ""));
                *userdata = bytes.ok_or_else(|| self.source.error(value, "not bytes in hexadecimal"))?;
            }
            _ => return Err(self.source.error(part.text, "unknown argument of controller")),
        }
        Ok(())
    }

    fn ct(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let mut buf = BytesMut::new();
        let mut ct = Ct {
            flags: 0,
            zone: CtZone::Number(0),
            table: TableId::ALL,
            alg: 0,
            actions: ActionsRef::default(),
        };
        for part in Pairs::new(pair.argument().unwrap_or_default()) {
            match part.key {
                "commit" => ct.flags |= Ct::COMMIT,
                "force" => ct.flags |= Ct::FORCE,
                "nat" => {
                    let nat = self.nat(&part)?;
                    self.put(&part, &mut Writer::new(&mut buf, w.version()), Action::Nat(nat))?;
                }
                "exec" => {
                    let inner = part.argument().unwrap_or_default();
                    self.list(inner, &mut Writer::new(&mut buf, w.version()))?;
                }
                "table" => ct.table = TableId(self.number(&part)?),
                "zone" => ct.zone = self.zone(&part)?,
                "alg" => {
                    ct.alg = match self.argument(&part)? {
                        "ftp" => 21,
                        "tftp" => 69,
                        other => self.source.number(other, "alg")?,
                    }
                }
                _ => return Err(self.source.error(part.text, "unknown argument of ct")),
            }
        }
        if ct.flags == Ct::FORCE {
            return Err(self.source.error(pair.text, "force needs commit"));
        }
        ct.actions = ActionsRef::trusted(&buf);
        self.put(pair, w, Action::Ct(ct))
    }

    fn zone(&self, part: &Pair<'_>) -> Result<CtZone, ParseError> {
        let text = self.argument(part)?;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(CtZone::Number(self.source.number(text, "zone")?));
        }
        let sub = self.source.subfield(text)?;
        if sub.bits == 16 {
            Ok(CtZone::Field(sub))
        } else {
            Err(self.source.error(text, "a zone has 16 bits"))
        }
    }

    /// `nat`, `nat(src)`, `nat(src=1.2.3.4-1.2.3.8:5-9,random)`.
    fn nat(&self, pair: &Pair<'_>) -> Result<Nat, ParseError> {
        let mut nat =
            Nat { kind: NatKind::Any, flags: 0, range: NatRange::None, port_min: None, port_max: None };
        for part in Pairs::new(pair.argument().unwrap_or_default()) {
            match part.key {
                "src" | "dst" => {
                    nat.kind = if part.key == "src" { NatKind::Src } else { NatKind::Dst };
                    if let Some(range) = part.value {
                        self.nat_range(range, &mut nat)?;
                    }
                }
                "persistent" => nat.flags |= Nat::PERSISTENT,
                "hash" => nat.flags |= Nat::HASH,
                "random" => nat.flags |= Nat::RANDOM,
                _ => return Err(self.source.error(part.text, "unknown argument of nat")),
            }
        }
        if nat.kind == NatKind::Any && nat.flags != 0 {
            return Err(self.source.error(pair.text, "nat flags need src or dst"));
        }
        Ok(nat)
    }

    fn nat_range(&self, text: &str, nat: &mut Nat) -> Result<(), ParseError> {
        let bad = || self.source.error(text, "not a range of addresses and ports");
        // IPv6 addresses stand in brackets if a port follows, else the colons are theirs.
        let v6 = text.starts_with('[') || text.matches(':').count() > 1;
        let (addresses, ports) = if v6 {
            match text.rsplit_once("]:") {
                Some((addresses, ports)) => (addresses, Some(ports)),
                None => (text, None),
            }
        } else {
            match text.split_once(':') {
                Some((addresses, ports)) => (addresses, Some(ports)),
                None => (text, None),
            }
        };
        let (min, max) = match addresses.split_once('-') {
            Some((min, max)) => (min, Some(max)),
            None => (addresses, None),
        };
        let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
        nat.range = match (min.is_empty(), v6) {
            (true, _) => NatRange::None,
            (false, false) => NatRange::V4(
                bare(min).parse().map_err(|_| bad())?,
                max.map(|max| bare(max).parse()).transpose().map_err(|_| bad())?,
            ),
            (false, true) => NatRange::V6(
                bare(min).parse().map_err(|_| bad())?,
                max.map(|max| bare(max).parse()).transpose().map_err(|_| bad())?,
            ),
        };
        if let Some(ports) = ports {
            let (min, max) = match ports.split_once('-') {
                Some((min, max)) => (min, Some(max)),
                None => (ports, None),
            };
            nat.port_min = Some(self.source.number(min, "port")?);
            nat.port_max = max.map(|max| self.source.number(max, "port")).transpose()?;
        }
        Ok(())
    }

    fn clone_actions(&mut self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let mut buf = BytesMut::new();
        let packets = self.packets;
        self.list(pair.argument().unwrap_or_default(), &mut Writer::new(&mut buf, w.version()))?;
        // The copy's tags are not the packet's.
        self.packets = packets;
        self.put(pair, w, Action::Clone(ActionsRef::trusted(&buf)))
    }

    /// `conjunction(id,clause/clauses)`, whose clauses count from 1.
    fn conjunction(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let bad =
            || self.source.error(pair.text, "conjunction takes an id and k/n with 1 ≤ k ≤ n, 2 ≤ n ≤ 64");
        let (id, clauses) = self.argument(pair)?.split_once(',').ok_or_else(bad)?;
        let (clause, clauses) = clauses.split_once('/').ok_or_else(bad)?;
        let id = self.source.number(id.trim(), "id")?;
        let clause: u8 = self.source.number(clause.trim(), "clause")?;
        let clauses: u8 = self.source.number(clauses.trim(), "clauses")?;
        let clause =
            clause.checked_sub(1).filter(|k| *k < clauses && (2..=64).contains(&clauses)).ok_or_else(bad)?;
        self.put(pair, w, Action::Conjunction { id, clause, clauses })
    }

    fn sample(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let mut sample = Sample {
            probability: 0,
            collector_set: 0,
            domain: 0,
            point: 0,
            port: None,
            direction: SampleDirection::Default,
        };
        for part in Pairs::new(self.argument(pair)?) {
            match part.key {
                "probability" => sample.probability = self.number(&part)?,
                "collector_set_id" => sample.collector_set = self.number(&part)?,
                "obs_domain_id" => sample.domain = self.number(&part)?,
                "obs_point_id" => sample.point = self.number(&part)?,
                "sampling_port" => sample.port = Some(self.source.port(self.argument(&part)?)?),
                "ingress" => sample.direction = SampleDirection::Ingress,
                "egress" => sample.direction = SampleDirection::Egress,
                _ => return Err(self.source.error(part.text, "unknown argument of sample")),
            }
        }
        if sample.probability == 0 {
            return Err(self.source.error(pair.text, "sample needs a probability above 0"));
        }
        self.put(pair, w, Action::Sample(sample))
    }

    fn fin_timeout(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let (mut idle, mut hard) = (0, 0);
        for part in Pairs::new(pair.argument().unwrap_or_default()) {
            match part.key {
                "idle_timeout" => idle = self.number(&part)?,
                "hard_timeout" => hard = self.number(&part)?,
                _ => return Err(self.source.error(part.text, "unknown argument of fin_timeout")),
            }
        }
        self.put(pair, w, Action::FinTimeout { idle, hard })
    }
}
