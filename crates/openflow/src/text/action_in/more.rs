//! Reading the actions with a syntax of their own: `learn`, `multipath`, `bundle`, `encap`, `decap`.

use bytes::BytesMut;

use super::Parser;
use crate::action::{
    Action, BUNDLE_ALGORITHMS, Encap, EncapProperties, EncapProperty, HASH_FIELDS, Learn, LearnSource,
    LearnSpec, LearnSpecs, LearnTarget, MULTIPATH_ALGORITHMS, MemberBundle, Multipath, PT_ETHERNET, PT_MPLS,
    PT_MPLS_MC, PT_NEXT, PT_NSH, Subfield,
};
use crate::error::ParseError;
use crate::flow::DEFAULT_PRIORITY;
use crate::text::lexer::{Pair, Pairs};
use crate::text::match_in::metadata_value;
use crate::types::TableId;
use crate::writer::Writer;

impl Parser<'_> {
    /// False if the word is none of these actions.
    pub(super) fn more(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<bool, ParseError> {
        match pair.key {
            "learn" => self.learn(pair, w)?,
            "multipath" => self.multipath(pair, w)?,
            "bundle" | "bundle_load" => self.bundle(pair, w)?,
            "encap" => self.encap(pair, w)?,
            "decap" => self.decap(pair, w)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn learn(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let mut specs = BytesMut::new();
        let mut learn = Learn {
            idle_timeout: 0,
            hard_timeout: 0,
            priority: DEFAULT_PRIORITY,
            cookie: 0,
            flags: 0,
            table: TableId(1),
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            limit: 0,
            result: None,
            specs: LearnSpecs::default(),
        };
        for part in Pairs::new(pair.argument().unwrap_or_default()) {
            match part.key {
                "table" => learn.table = TableId(self.number(&part)?),
                "priority" => learn.priority = self.number(&part)?,
                "idle_timeout" => learn.idle_timeout = self.number(&part)?,
                "hard_timeout" => learn.hard_timeout = self.number(&part)?,
                "fin_idle_timeout" => learn.fin_idle_timeout = self.number(&part)?,
                "fin_hard_timeout" => learn.fin_hard_timeout = self.number(&part)?,
                "cookie" => learn.cookie = self.number(&part)?,
                "limit" => learn.limit = self.number(&part)?,
                "send_flow_rem" => learn.flags |= Learn::SEND_FLOW_REM,
                "delete_learned" => learn.flags |= Learn::DELETE_LEARNED,
                "result_dst" => learn.result = Some(self.one_bit(&part)?),
                _ => self.spec(&part, &mut Writer::new(&mut specs, w.version()))?,
            }
        }
        if learn.table == TableId::ALL {
            return Err(self.source.error(pair.text, "learn needs a table below 255"));
        }
        learn.specs = LearnSpecs(&specs);
        self.put(pair, w, Action::Learn(learn))
    }

    fn one_bit(&self, part: &Pair<'_>) -> Result<Subfield, ParseError> {
        let bit = self.writable(self.argument(part)?)?;
        if bit.bits == 1 { Ok(bit) } else { Err(self.source.error(part.text, "result_dst is one bit")) }
    }

    fn spec(&self, part: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        match part.key {
            "load" => self.load_spec(part, w),
            "output" => {
                let source = self.source.subfield(self.argument(part)?)?;
                let spec = LearnSpec {
                    bits: source.bits,
                    source: LearnSource::Field(source),
                    target: LearnTarget::Output,
                };
                self.written(part, spec.write(w))
            }
            _ => self.match_spec(part, w),
        }
    }

    /// `load:VALUE->FIELD` and `load:FIELD->FIELD`.
    fn load_spec(&self, part: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let (source, dst) = self.arrow(part)?;
        let dst = self.writable(dst)?;
        let target = LearnTarget::Load(dst);
        if source.starts_with(|c: char| c.is_ascii_digit()) {
            return self.value_spec(part, source, dst, target, w);
        }
        self.field_spec(part, self.source.subfield(source)?, dst, target, w)
    }

    /// `FIELD`, `FIELD=FIELD`, `FIELD=VALUE`.
    fn match_spec(&self, part: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let (name, value) = match part.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (part.text, None),
        };
        let dst = self.source.subfield(name)?;
        let target = LearnTarget::Match(dst);
        let Some(value) = value else {
            return self.field_spec(part, dst, dst, target, w);
        };
        match self.source.subfield(value) {
            Ok(src) => self.field_spec(part, src, dst, target, w),
            Err(_) => self.value_spec(part, value, dst, target, w),
        }
    }

    fn field_spec(
        &self,
        part: &Pair<'_>,
        src: Subfield,
        dst: Subfield,
        target: LearnTarget,
        w: &mut Writer<'_>,
    ) -> Result<(), ParseError> {
        if src.bits != dst.bits {
            return Err(self.source.error(part.text, format!("{} bits do not fill {}", src.bits, dst.bits)));
        }
        let spec = LearnSpec { bits: dst.bits, source: LearnSource::Field(src), target };
        self.written(part, spec.write(w))
    }

    /// Bits from the text, as many as the target has, in whole 16-bit words.
    fn value_spec(
        &self,
        part: &Pair<'_>,
        text: &str,
        dst: Subfield,
        target: LearnTarget,
        w: &mut Writer<'_>,
    ) -> Result<(), ParseError> {
        let whole = dst == Subfield::whole(dst.field);
        let digits = if dst.field.is_variable() {
            metadata_value(self.source, dst.field, text)?.0
        } else if whole {
            let (value, mask) = self.source.value(dst.field, text)?;
            if mask != u128::MAX && mask != dst.field.exact_mask() {
                return Err(self.source.error(text, "learn takes no masks"));
            }
            value.to_be_bytes().to_vec()
        } else {
            let value =
                crate::text::wide_number(text).filter(|n| n & !crate::field::ones(u32::from(dst.bits)) == 0);
            let value =
                value.ok_or_else(|| self.source.error(text, format!("does not fit {} bits", dst.bits)))?;
            value.to_be_bytes().to_vec()
        };
        let len = usize::from(dst.bits.div_ceil(16)).saturating_mul(2);
        let mut bytes = vec![0; len.saturating_sub(digits.len())];
        bytes.extend_from_slice(digits.get(digits.len().saturating_sub(len)..).unwrap_or_default());
        let spec = LearnSpec { bits: dst.bits, source: LearnSource::Value(&bytes), target };
        self.written(part, spec.write(w))
    }

    /// The position of a word in a list of names.
    fn named(&self, text: &str, names: &[&str]) -> Result<u16, ParseError> {
        let at = names.iter().position(|name| *name == text).and_then(|at| u16::try_from(at).ok());
        at.ok_or_else(|| self.source.error(text, format!("none of {}", names.join(", "))))
    }

    fn multipath(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let parts: Vec<&str> =
            self.argument(pair)?.split([',', ' ']).filter(|part| !part.is_empty()).collect();
        let [fields, basis, algorithm, links, argument, dst] = parts.as_slice() else {
            return Err(self
                .source
                .error(pair.text, "multipath takes fields,basis,algorithm,n_links,arg,dst"));
        };
        let links: u32 = self.source.number(links, "n_links")?;
        let max_link = links.checked_sub(1).and_then(|n| u16::try_from(n).ok());
        let dst = self.writable(dst)?;
        let fits = max_link.filter(|n| dst.bits >= 16 || u32::from(*n) >> dst.bits == 0);
        let max_link = fits.ok_or_else(|| self.source.error(pair.text, "n_links does not fit the target"))?;
        let multipath = Multipath {
            fields: self.named(fields, &HASH_FIELDS)?,
            basis: self.source.number(basis, "basis")?,
            algorithm: self.named(algorithm, &MULTIPATH_ALGORITHMS)?,
            max_link,
            argument: self.source.number(argument, "arg")?,
            dst,
        };
        self.put(pair, w, Action::Multipath(multipath))
    }

    fn bundle(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let text = self.argument(pair)?;
        let bad = || self.source.error(pair.text, "bundle takes fields,basis,algorithm,ofport,members:…");
        let (head, members) =
            text.split_once("members:").or_else(|| text.split_once("slaves:")).ok_or_else(bad)?;
        let parts: Vec<&str> = head.split([',', ' ']).filter(|part| !part.is_empty()).collect();
        let (fields, basis, algorithm, dst) = match parts.as_slice() {
            [fields, basis, algorithm, "ofport"] if pair.key == "bundle" => (fields, basis, algorithm, None),
            [fields, basis, algorithm, "ofport", dst] if pair.key == "bundle_load" => {
                (fields, basis, algorithm, Some(self.writable(dst)?))
            }
            _ => return Err(bad()),
        };
        let mut ports = Vec::new();
        for member in members.split([',', ' ']).filter(|member| !member.is_empty()) {
            let port = self.source.port(member)?;
            let port = port.to_u16().ok_or_else(|| self.source.error(member, "members have 16-bit ports"))?;
            ports.extend_from_slice(&port.to_be_bytes());
        }
        let bundle = MemberBundle {
            algorithm: self.named(algorithm, &BUNDLE_ALGORITHMS)?,
            fields: self.named(fields, &HASH_FIELDS)?,
            basis: self.source.number(basis, "basis")?,
            dst,
            members: &ports,
        };
        self.put(pair, w, Action::Bundle(bundle))
    }

    fn encap(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let text = self.argument(pair)?;
        let header =
            Pairs::new(text).next().ok_or_else(|| self.source.error(text, "encap needs a header"))?;
        let packet_type = match header.key {
            "ethernet" => PT_ETHERNET,
            "nsh" => PT_NSH,
            "mpls" => PT_MPLS,
            "mpls_mc" => PT_MPLS_MC,
            _ => return Err(self.source.error(header.text, "encap knows ethernet, nsh, mpls, mpls_mc")),
        };
        let mut properties = BytesMut::new();
        for part in Pairs::new(header.inner.unwrap_or_default()) {
            let mut w = Writer::new(&mut properties, w.version());
            match part.key {
                "md_type" => {
                    let md_type: u8 = self.number(&part)?;
                    if !(1..=2).contains(&md_type) {
                        return Err(self.source.error(part.text, "md_type is 1 or 2"));
                    }
                    self.written(&part, EncapProperty::NshMdType(md_type).write(&mut w))?;
                }
                "tlv" => self.nsh_tlv(&part, &mut w)?,
                _ => return Err(self.source.error(part.text, "unknown property of encap")),
            }
        }
        self.put(pair, w, Action::Encap(Encap { packet_type, properties: EncapProperties(&properties) }))
    }

    /// `tlv(class,type,0xvalue)`.
    fn nsh_tlv(&self, part: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let bad = || self.source.error(part.text, "tlv takes a class, a type and a value in hexadecimal");
        let mut words = self.argument(part)?.split(',').map(str::trim);
        let class = self.source.number(words.next().unwrap_or_default(), "class")?;
        let kind = self.source.number(words.next().unwrap_or_default(), "type")?;
        let digits = words.next().and_then(|word| word.strip_prefix("0x")).ok_or_else(bad)?;
        let value = crate::text::match_in::hex_bytes(digits).ok_or_else(bad)?;
        self.written(part, EncapProperty::NshTlv { class, kind, value: &value }.write(w))
    }

    fn decap(&self, pair: &Pair<'_>, w: &mut Writer<'_>) -> Result<(), ParseError> {
        let Some(text) = pair.inner.filter(|text| !text.is_empty()) else {
            return self.put(pair, w, Action::Decap(PT_NEXT));
        };
        let bad = || self.source.error(pair.text, "decap takes packet_type(ns=…,type=…)");
        let inner = Pairs::new(text).next().filter(|inner| inner.key == "packet_type").ok_or_else(bad)?;
        let (mut namespace, mut kind) = (0_u16, 0_u16);
        for part in Pairs::new(inner.inner.ok_or_else(bad)?) {
            match part.key {
                "ns" => namespace = self.number(&part)?,
                "type" => kind = self.number(&part)?,
                _ => return Err(bad()),
            }
        }
        self.put(pair, w, Action::Decap((u32::from(namespace) << 16) | u32::from(kind)))
    }
}
