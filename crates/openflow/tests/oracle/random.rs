//! Random flows as text, drawn from the field table and from a grammar of actions, consistent enough that
//! `ovs-ofctl` takes every one of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use openflow::{Field, Format, Mac, Prereq};

/// A small generator (xorshift64*), so that a seed in a log is all that a failure needs.
pub(crate) struct Random(u64);

/// A kind of packet: the words that name it, and the prerequisites that it satisfies.
struct Protocol {
    words: &'static str,
    satisfies: &'static [Prereq],
}

const PROTOCOLS: &[Protocol] = &[
    Protocol { words: "", satisfies: &[] },
    Protocol { words: "dl_type=0x1234", satisfies: &[] },
    Protocol { words: "arp", satisfies: &[Prereq::Arp] },
    Protocol { words: "rarp", satisfies: &[Prereq::Arp] },
    Protocol { words: "mpls", satisfies: &[Prereq::Mpls] },
    Protocol { words: "dl_type=0x894f", satisfies: &[Prereq::Nsh] },
    Protocol { words: "ip", satisfies: &[Prereq::Ipv4, Prereq::Ip] },
    Protocol { words: "ip,nw_proto=47", satisfies: &[Prereq::Ipv4, Prereq::Ip] },
    Protocol { words: "ipv6", satisfies: &[Prereq::Ipv6, Prereq::Ip] },
    Protocol { words: "tcp", satisfies: &[Prereq::Ipv4, Prereq::Ip, Prereq::Tcp] },
    Protocol { words: "tcp6", satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Tcp] },
    Protocol { words: "udp", satisfies: &[Prereq::Ipv4, Prereq::Ip, Prereq::Udp] },
    Protocol { words: "udp6", satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Udp] },
    Protocol { words: "sctp6", satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Sctp] },
    Protocol { words: "icmp", satisfies: &[Prereq::Ipv4, Prereq::Ip, Prereq::Icmp4] },
    Protocol { words: "icmp6", satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Icmp6] },
    Protocol {
        words: "icmp6,icmp_type=135,icmp_code=0",
        satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Nd, Prereq::NdSolicit],
    },
    Protocol {
        words: "icmp6,icmp_type=136,icmp_code=0",
        satisfies: &[Prereq::Ipv6, Prereq::Ip, Prereq::Nd, Prereq::NdAdvert],
    },
];

/// Fields that are not drawn: aliases of others, what no wire carries, what the protocol words say, and the
/// tunnel options whose masks Open vSwitch 3.1 replaces by their values.
fn is_drawn(field: Field) -> bool {
    !matches!(
        field,
        Field::PacketType
            | Field::EthType
            | Field::IpProto
            | Field::IpFrag
            | Field::InPort16
            | Field::VlanVid
            | Field::VlanPcp
            | Field::IpTos
            | Field::SkbPriority
            | Field::RecircId
            | Field::CtState
            | Field::TunErspanVer
            | Field::TunErspanIdx
            | Field::TunErspanDir
            | Field::TunErspanHwid
            | Field::TunGtpuFlags
            | Field::TunGtpuMsgtype
            | Field::NdReserved
            | Field::NdOptionsType
    ) && !field.is_variable()
        && !field.name().starts_with("xreg")
        && !field.name().starts_with("xxreg")
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number of so many bits, biased towards the ends.
    fn bits(&mut self, bits: u16) -> u128 {
        let wide = (u128::from(self.next()) << 64) | u128::from(self.next());
        let all = if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
        match self.below(4) {
            0 => u128::from(self.next() % 8) & all,
            1 => all & !(wide & 1),
            _ => wide & all,
        }
    }

    /// One flow.
    pub(crate) fn flow(&mut self) -> String {
        let protocol = &PROTOCOLS[self.below(PROTOCOLS.len())];
        let mut parts: Vec<String> = vec![format!("table={}", self.below(255))];
        if self.one_in(2) {
            parts.push(format!("priority={}", self.below(65536)));
        }
        if self.one_in(4) {
            parts.push(format!("cookie={:#x},idle_timeout={}", self.next(), self.below(65536)));
        }
        if self.one_in(8) {
            parts.push("send_flow_rem,check_overlap".to_owned());
        }
        parts.extend(Some(protocol.words.to_owned()).filter(|words| !words.is_empty()));
        let ct = self.one_in(5);
        if ct {
            parts.push(
                self.pick(&["ct_state=+trk+new", "ct_state=+est-rel+trk", "ct_state=+trk-inv"]).to_owned(),
            );
        }
        let allowed = |field: &Field| match field.prereq() {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Ct => {
                let v6 = field.name().starts_with("ct_ipv6");
                let needs = if v6 { Prereq::Ipv6 } else { Prereq::Ipv4 };
                ct && protocol.satisfies.contains(&needs) && !field.name().starts_with("ct_tp")
            }
            other => protocol.satisfies.contains(&other),
        };
        let fields: Vec<Field> =
            Field::ALL.iter().copied().filter(|f| is_drawn(*f)).filter(allowed).collect();
        let mut drawn: Vec<Field> = (0..self.below(7)).map(|_| self.pick(&fields)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        for field in drawn {
            parts.push(self.matched(field));
        }
        if self.one_in(12) {
            parts.push(format!("tun_metadata{}={:#x}", self.below(64), self.bits(64)));
        }
        let actions = self.actions(protocol.satisfies, 0);
        format!("{},actions={actions}", parts.join(","))
    }

    /// `name=value/mask`.
    fn matched(&mut self, field: Field) -> String {
        let name = if field == Field::InPort { "in_port" } else { field.name() };
        let value = self.value(field);
        let masked = field.is_maskable() && self.one_in(3);
        if field == Field::TcpFlags {
            return format!("{name}={}", self.pick(&["+syn-ack", "syn|ack", "0", "-fin", "+ns+cwr"]));
        }
        if field == Field::TunFlags {
            return format!("{name}={}", self.pick(&["+oam", "-oam"]));
        }
        if !masked {
            return format!("{name}={}", Self::text(field, value));
        }
        let mask = match field.format() {
            Format::Ipv4 | Format::Ipv6 if self.one_in(2) => {
                return format!(
                    "{name}={}/{}",
                    Self::text(field, value),
                    1 + self.below(usize::from(field.bits()))
                );
            }
            _ => self.mask(field),
        };
        format!("{name}={}/{}", Self::text(field, value), Self::text(field, mask))
    }

    /// A mask with at least one bit. Open vSwitch takes an IPv6 mask that begins with a digit for a prefix length.
    fn mask(&mut self, field: Field) -> u128 {
        let mask = self.bits(field.bits()) | 1;
        if field.format() == Format::Ipv6 { mask | (0xf << 124) } else { mask }
    }

    fn value(&mut self, field: Field) -> u128 {
        match field {
            Field::InPort | Field::ActsetOutput => 1 + self.bits(15) % 0xfe00,
            // Open vSwitch keeps only 8 bits of it.
            Field::ArpOp => self.bits(8),
            // ovs-ofctl 3.1 does not send a zero.
            Field::CtNwProto => self.bits(8).max(1),
            Field::NshTtl => self.bits(6),
            // Zero would be "no tag", which has spellings of its own.
            Field::VlanTci => self.bits(16) | 0x1000,
            _ => self.bits(field.bits()),
        }
    }

    fn text(field: Field, value: u128) -> String {
        match field.format() {
            Format::Mac => Mac(*value.to_be_bytes().last_chunk().unwrap()).to_string(),
            Format::Ipv4 => Ipv4Addr::from_bits(u32::try_from(value).unwrap()).to_string(),
            Format::Ipv6 => Ipv6Addr::from_bits(value).to_string(),
            Format::Port => value.to_string(),
            _ => format!("{value:#x}"),
        }
    }

    fn actions(&mut self, satisfies: &[Prereq], depth: usize) -> String {
        if depth == 0 && self.one_in(12) {
            let clauses = 2 + self.below(63);
            return format!("conjunction({},{}/{clauses})", self.below(65536), 1 + self.below(clauses));
        }
        let count = self.below(5);
        let mut list: Vec<String> = (0..count).map(|_| self.action(satisfies, depth)).collect();
        if depth == 0 && self.one_in(6) {
            list.push(format!("write_metadata:{:#x}/{:#x}", self.next(), self.next() | 1));
        }
        if depth == 0 && list.is_empty() {
            list.push("drop".to_owned());
        }
        if list.is_empty() {
            list.push("output:1".to_owned());
        }
        list.join(",")
    }

    /// A register and a range in it.
    fn register(&mut self, bits: u16) -> String {
        let first = self.below(usize::from(32 - bits) + 1);
        format!("NXM_NX_REG{}[{first}..{}]", self.below(16), first + usize::from(bits) - 1)
    }

    fn action(&mut self, satisfies: &[Prereq], depth: usize) -> String {
        let n = self.below(65536);
        match self.below(if depth == 0 { 27 } else { 22 }) {
            0 => format!("output:{}", 1 + n % 60000),
            1 => {
                self.pick(&["NORMAL", "LOCAL", "FLOOD", "ALL", "IN_PORT", "ct_clear", "pop_queue"]).to_owned()
            }
            2 | 14 => format!("group:{n}"),
            3 => format!("set_queue:{n}"),
            4 => format!("resubmit({},{})", 1 + n % 60000, self.below(255)),
            5 => format!("resubmit(,{})", self.below(255)),
            6 => {
                let bits = u16::try_from(1 + self.below(32)).unwrap();
                format!("load:{:#x}->{}", self.bits(bits), self.register(bits))
            }
            7 => {
                let bits = u16::try_from(1 + self.below(32)).unwrap();
                format!("move:{}->{}", self.register(bits), self.register(bits))
            }
            8..=11 => self.set_field(satisfies),
            12 => format!("push:{}", self.register(9)),
            13 => format!("pop:{}", self.register(7)),
            15 => format!("note:{:02x}.{:02x}", n >> 8, n & 0xff),
            16 => format!("controller(max_len={},id={},reason=invalid_ttl)", n, 1 + self.below(99)),
            17 => format!("controller(userdata={:02x}.{:02x},pause)", n & 0xff, n >> 8),
            18 => format!("output(port={},max_len={})", 1 + n % 60000, 14 + self.below(9999)),
            19 => format!("output:{}", self.register(16)),
            20 => format!("check_pkt_larger({n})->NXM_NX_REG{}[{}]", self.below(16), self.below(32)),
            21 => format!("multipath(symmetric_l4,{n},hrw,{},0,{})", 1 + self.below(16), self.register(8)),
            22 => format!("clone({})", self.actions(satisfies, depth + 1)),
            23 => self.ct(satisfies),
            24 => format!("bundle(eth_src,{n},hrw,ofport,members:{},{})", 1 + n % 99, 1 + n % 77),
            25 => format!(
                "learn(table={},priority={n},NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:{:#x}->{})",
                self.below(254),
                self.bits(8),
                self.register(8)
            ),
            _ => format!(
                "sample(probability={},collector_set_id={n},obs_domain_id=1,obs_point_id=2)",
                1 + n % 65535
            ),
        }
    }

    fn set_field(&mut self, satisfies: &[Prereq]) -> String {
        let fields: Vec<Field> = Field::ALL
            .iter()
            .copied()
            .filter(|f| f.is_writable() && is_drawn(*f) && !matches!(*f, Field::VlanTci | Field::TunFlags))
            .filter(|f| {
                matches!(f.prereq(), Prereq::None | Prereq::Ethernet) || satisfies.contains(&f.prereq())
            })
            .filter(|f| !f.name().starts_with("ct_"))
            .collect();
        let field = self.pick(&fields);
        let value = self.value(field);
        let text = Self::text(field, value);
        if field.is_maskable() && self.one_in(3) {
            let mask = self.mask(field);
            return format!(
                "set_field:{}/{}->{}",
                Self::text(field, value & mask),
                Self::text(field, mask),
                field.name()
            );
        }
        format!("set_field:{text}->{}", field.name())
    }

    fn ct(&mut self, satisfies: &[Prereq]) -> String {
        if !satisfies.contains(&Prereq::Ip) {
            return "ct_clear".to_owned();
        }
        let n = self.below(65536);
        let nat = match (satisfies.contains(&Prereq::Ipv4), self.below(4)) {
            (_, 0) => ",nat".to_owned(),
            (true, 1) => format!(",nat(src=10.0.0.1-10.0.0.9:{n}-65535,random)"),
            (false, 1) => format!(",nat(dst=[2001:db8::1]-[2001:db8::9]:{n})"),
            (true, 2) => ",nat(src=10.0.0.1,hash)".to_owned(),
            (false, 2) => ",nat(dst=2001:db8::1,persistent)".to_owned(),
            _ => String::new(),
        };
        let exec = match self.below(3) {
            0 => format!(
                ",exec(set_field:{n:#x}->ct_mark,set_field:{:#x}/{:#x}->ct_label)",
                0,
                self.bits(128) | 1
            ),
            1 => format!(",exec(load:{:#x}->NXM_NX_CT_MARK[0..7])", n & 0xff),
            _ => String::new(),
        };
        format!("ct(commit,zone={n},table={}{nat}{exec})", self.below(255))
    }
}
