//! The one table of match fields: numbers, widths, mask rules, prerequisites, names and text formats.
//!
//! Owns every fact about a field (`field/table.rs`, one row each). Must not read or write matches or
//! actions: they ask here. Text names are those of Open vSwitch's `ovs-fields(7)`.

use std::fmt;

pub use table::Field;

mod table;

/// What identifies a field on the wire, without length and mask bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    /// The OXM class; `0xffff` means an experimenter.
    pub class: u16,
    /// The number within the class, 7 bits.
    pub number: u8,
    /// The experimenter of class `0xffff`, else 0.
    pub experimenter: u32,
}

/// OpenFlow's own fields.
pub(crate) const CLASS_OXM: u16 = 0x8000;
/// The packet registers of OpenFlow 1.5.
pub(crate) const CLASS_PKT_REG: u16 = 0x8001;
/// Nicira's first class: what OpenFlow 1.0 had.
pub(crate) const CLASS_NXM0: u16 = 0;
/// Nicira's second class: extensions.
pub(crate) const CLASS_NXM1: u16 = 1;
/// Ericsson's class.
pub(crate) const CLASS_ERIC: u16 = 0x1000;
/// Experimenter fields, whose value begins with the experimenter's number.
pub(crate) const CLASS_EXPERIMENTER: u16 = 0xffff;

/// How a value is written in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Decimal; hexadecimal when masked.
    Dec,
    /// Hexadecimal.
    Hex,
    /// `1.2.3.4/24`.
    Ipv4,
    /// `2001:db8::1/64`.
    Ipv6,
    /// `00:11:22:33:44:55`.
    Mac,
    /// An OpenFlow port of 32 bits.
    Port,
    /// An OpenFlow 1.0 port of 16 bits.
    Port16,
    /// `(namespace,type)`.
    PacketType,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Frag,
    /// `+trk-new` over connection states.
    CtState,
    /// `+oam`.
    TunFlags,
    /// `+syn-ack`.
    TcpFlags,
}

/// What may be done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Matched exactly, never written.
    RO,
    /// Matched with a mask.
    M,
    /// Matched exactly, written by actions.
    W,
    /// Matched with a mask, written by actions.
    MW,
}

/// What else a match must say before the field means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prereq {
    /// Nothing.
    None,
    /// An Ethernet packet.
    Ethernet,
    /// ARP or RARP.
    Arp,
    /// A VLAN tag.
    VlanVid,
    /// MPLS, unicast or multicast.
    Mpls,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    /// TCP over either, not a later fragment.
    Tcp,
    /// UDP over either, not a later fragment.
    Udp,
    /// SCTP over either, not a later fragment.
    Sctp,
    /// ICMP.
    Icmp4,
    /// ICMPv6.
    Icmp6,
    /// Neighbour solicitation or advertisement, code 0.
    Nd,
    /// Neighbour solicitation, code 0.
    NdSolicit,
    /// Neighbour advertisement, code 0.
    NdAdvert,
    /// A connection state that implies a valid connection.
    Ct,
    /// Network service header.
    Nsh,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) match_name: &'static str,
    pub(crate) bytes: u8,
    pub(crate) bits: u16,
    pub(crate) format: Format,
    pub(crate) access: Access,
    pub(crate) prereq: Prereq,
    pub(crate) rank: u16,
    /// The canonical header first; empty for fields that no wire carries.
    pub(crate) headers: &'static [(Header, &'static str)],
}

impl Field {
    /// The field that a wire header names.
    pub fn from_header(header: Header) -> Option<Self> {
        let number = usize::from(header.number);
        match (header.class, header.experimenter) {
            (CLASS_OXM, 0) => OXM.get(number).copied().flatten(),
            (CLASS_NXM1, 0) => NXM1.get(number).copied().flatten(),
            (CLASS_NXM0, 0) => NXM0.get(number).copied().flatten(),
            (CLASS_PKT_REG, 0) => Self::xreg(header.number),
            _ => Self::ALL.iter().copied().find(|f| f.row().headers.iter().any(|(h, _)| *h == header)),
        }
    }

    /// The field with this name, alias or wire name (`NXM_OF_ETH_SRC`).
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |row: &Row| row.name == name || row.aliases.contains(&name);
        let wire_named = |row: &Row| row.headers.iter().any(|(_, wire)| *wire == name);
        let by_name = Self::ALL.iter().copied().find(|f| named(f.row()));
        by_name.or_else(|| Self::ALL.iter().copied().find(|f| wire_named(f.row())))
    }

    /// `reg0` to `reg15`.
    pub fn reg(number: u8) -> Option<Self> {
        REGS.get(usize::from(number)).copied()
    }

    /// `xreg0` to `xreg7`.
    pub fn xreg(number: u8) -> Option<Self> {
        XREGS.get(usize::from(number)).copied()
    }

    /// `tun_metadata0` to `tun_metadata63`.
    pub fn tun_metadata(number: u8) -> Option<Self> {
        let number =
            number.checked_add(FIRST_TUN_METADATA).filter(|n| *n < FIRST_TUN_METADATA.saturating_add(64))?;
        Self::from_header(Header { class: CLASS_NXM1, number, experimenter: 0 })
    }

    /// The name that `ovs-fields(7)` lists first.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The name in the brackets notation, `NXM_NX_REG0`; Nicira's where there is one.
    pub fn wire_name(self) -> &'static str {
        let headers = self.row().headers;
        let nicira = headers.iter().find(|(h, _)| matches!(h.class, CLASS_NXM0 | CLASS_NXM1));
        nicira.or_else(|| headers.first()).map_or(self.row().name, |(_, name)| name)
    }

    /// Bytes of a value on the wire; of `tun_metadata` the most that it may have.
    pub fn bytes(self) -> usize {
        usize::from(self.row().bytes)
    }

    /// Significant bits.
    pub fn bits(self) -> u16 {
        self.row().bits
    }

    /// How its value is written in text.
    pub fn format(self) -> Format {
        self.row().format
    }

    /// Whether a match may mask it.
    pub fn is_maskable(self) -> bool {
        matches!(self.row().access, Access::M | Access::MW)
    }

    /// Whether actions may write it.
    pub fn is_writable(self) -> bool {
        matches!(self.row().access, Access::W | Access::MW)
    }

    /// What else a match on it must say.
    pub fn prereq(self) -> Prereq {
        self.row().prereq
    }

    /// Whether its values have different lengths (`tun_metadata`, defined by the switch's TLV table).
    pub fn is_variable(self) -> bool {
        self.row().bytes > 16
    }

    /// The header that Open vSwitch writes for it in `version`.
    pub(crate) fn header(self, version: crate::Version) -> Option<Header> {
        let headers = self.row().headers;
        if version == crate::Version::V15 {
            return headers.first().map(|(header, _)| *header);
        }
        let onf = headers.iter().find(|(h, _)| h.experimenter == ONF);
        onf.or_else(|| headers.first()).map(|(header, _)| *header)
    }

    /// Nicira's header for it, which her actions prefer in every version.
    pub(crate) fn nicira_header(self) -> Option<Header> {
        let headers = self.row().headers;
        headers.iter().find(|(h, _)| matches!(h.class, CLASS_NXM0 | CLASS_NXM1)).map(|(header, _)| *header)
    }

    /// The mask that means "all of it": fields with fewer bits than bytes are exact by their wire width,
    /// except the two whose unused bits Open vSwitch never sets.
    pub(crate) fn exact_mask(self) -> u128 {
        match self {
            Self::VlanVid => 0x1fff,
            Self::IpFrag => 3,
            Self::Ipv6Label => 0xf_ffff,
            _ => ones(u32::from(self.row().bytes).saturating_mul(8)),
        }
    }

    /// Whether Open vSwitch takes the value.
    pub(crate) fn allows(self, value: u128) -> bool {
        let sensible = match self {
            Self::NshMdtype => matches!(value, 1 | 2),
            Self::InPort | Self::ActsetOutput => {
                u32::try_from(value).is_ok_and(|port| crate::OfPort(port).is_valid())
            }
            _ => true,
        };
        sensible && value & !self.value_mask() == 0
    }

    /// The bits that a value may have.
    pub(crate) fn value_mask(self) -> u128 {
        ones(u32::from(self.value_bits()))
    }

    /// How many low bits a value may have.
    const fn value_bits(self) -> u16 {
        match self {
            Self::VlanVid => 13,
            // Open vSwitch keeps the operation in 8 bits and refuses larger ones.
            Self::ArpOp => 8,
            Self::NshTtl => 6,
            _ => self.row().bits,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number with the low `bits` set.
pub(crate) fn ones(bits: u32) -> u128 {
    match bits {
        0 => 0,
        1..=127 => (1_u128 << bits).wrapping_sub(1),
        _ => u128::MAX,
    }
}

/// The Open Networking Foundation, owner of fields that 1.5 made official.
const ONF: u32 = 0x4f4e_4600;
/// Nicira as an OXM experimenter.
const NICIRA: u32 = 0x2320;
/// The owner of the NSH fields.
const NSH: u32 = 0x005a_d650;
/// `NXM_NX_TUN_METADATA0`.
const FIRST_TUN_METADATA: u8 = 40;

const REGS: [Field; 16] = [
    Field::Reg0,
    Field::Reg1,
    Field::Reg2,
    Field::Reg3,
    Field::Reg4,
    Field::Reg5,
    Field::Reg6,
    Field::Reg7,
    Field::Reg8,
    Field::Reg9,
    Field::Reg10,
    Field::Reg11,
    Field::Reg12,
    Field::Reg13,
    Field::Reg14,
    Field::Reg15,
];
const XREGS: [Field; 8] = [
    Field::Xreg0,
    Field::Xreg1,
    Field::Xreg2,
    Field::Xreg3,
    Field::Xreg4,
    Field::Xreg5,
    Field::Xreg6,
    Field::Xreg7,
];

const fn plain(class: u16, number: u8) -> Header {
    Header { class, number, experimenter: 0 }
}
const fn oxm(number: u8) -> Header {
    plain(CLASS_OXM, number)
}
const fn pkt_reg(number: u8) -> Header {
    plain(CLASS_PKT_REG, number)
}
const fn nxm0(number: u8) -> Header {
    plain(CLASS_NXM0, number)
}
const fn nxm1(number: u8) -> Header {
    plain(CLASS_NXM1, number)
}
const fn eric(number: u8) -> Header {
    plain(CLASS_ERIC, number)
}
const fn onf(number: u8) -> Header {
    Header { class: CLASS_EXPERIMENTER, number, experimenter: ONF }
}
const fn nx_et(number: u8) -> Header {
    Header { class: CLASS_EXPERIMENTER, number, experimenter: NICIRA }
}
const fn nsh(number: u8) -> Header {
    Header { class: CLASS_EXPERIMENTER, number, experimenter: NSH }
}

/// Numbers of one class to fields.
type Index = [Option<Field>; 128];

/// What the usual field of a match needs: one that Open vSwitch writes under this number, of one length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usual {
    pub(crate) field: Field,
    pub(crate) bytes: u8,
    pub(crate) is_maskable: bool,
    /// Its value matters: not every one is allowed, or what may follow depends on it.
    pub(crate) is_judged: bool,
    /// How many low bits a value may have.
    bits: u16,
    /// There are other rules for its value, see [`Field::allows`].
    is_special: bool,
    pub(crate) prereq: Prereq,
}

impl Usual {
    /// The field of a class and number as they stand on the wire, if that is its canonical header.
    pub(crate) fn of(class: u16, number: u8) -> Option<&'static Self> {
        let table = match class {
            CLASS_OXM => &USUAL_OXM,
            CLASS_PKT_REG => &USUAL_PKT_REG,
            CLASS_NXM1 => &USUAL_NXM1,
            _ => return None,
        };
        table.get(usize::from(number))?.as_ref()
    }

    /// Whether Open vSwitch takes the value.
    pub(crate) fn allows(self, value: u128) -> bool {
        if self.is_special { self.field.allows(value) } else { value.leading_zeros() >= self.spare_bits() }
    }

    fn spare_bits(self) -> u32 {
        128_u32.saturating_sub(u32::from(self.bits))
    }
}

type UsualIndex = [Option<Usual>; 128];

static USUAL_OXM: UsualIndex = usual(CLASS_OXM);
static USUAL_PKT_REG: UsualIndex = usual(CLASS_PKT_REG);
static USUAL_NXM1: UsualIndex = usual(CLASS_NXM1);

/// Builds the index of the usual fields of a class while compiling.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "evaluated by the compiler only: a wrong index stops the build, not the program"
)]
const fn usual(class: u16) -> UsualIndex {
    let mut table = [None; 128];
    let mut at = 0;
    while at < Field::ALL.len() {
        let field = Field::ALL[at];
        let row = field.row();
        let is_plain = (field as usize) < Field::Reg0 as usize && row.bytes <= 16;
        if is_plain && !row.headers.is_empty() && row.headers[0].0.class == class {
            let is_special = matches!(
                field,
                Field::InPort
                    | Field::ActsetOutput
                    | Field::NshMdtype
                    | Field::PacketType
                    | Field::EthType
                    | Field::IpProto
                    | Field::Icmpv6Type
                    | Field::Icmpv6Code
            );
            table[row.headers[0].0.number as usize] = Some(Usual {
                field,
                bytes: row.bytes,
                is_maskable: matches!(row.access, Access::M | Access::MW),
                bits: field.value_bits(),
                is_special,
                is_judged: is_special || field.value_bits() != row.bytes as u16 * 8,
                prereq: row.prereq,
            });
        }
        at += 1;
    }
    table
}

static OXM: Index = index(CLASS_OXM);
static NXM0: Index = index(CLASS_NXM0);
static NXM1: Index = index(CLASS_NXM1);

/// Builds the index of a class while compiling.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "evaluated by the compiler only: a wrong index stops the build, not the program"
)]
const fn index(class: u16) -> Index {
    let mut table = [None; 128];
    let mut field = 0;
    while field < Field::ALL.len() {
        let headers = Field::ALL[field].row().headers;
        let mut header = 0;
        while header < headers.len() {
            if headers[header].0.class == class {
                table[headers[header].0.number as usize] = Some(Field::ALL[field]);
            }
            header += 1;
        }
        field += 1;
    }
    table
}

/// Turns the rows into the enum and its facts.
macro_rules! fields {
    ($($id:ident: $name:literal [$($alias:literal)?] as $match_name:literal, $bytes:literal, $bits:literal,
       $format:ident, $access:ident, $prereq:ident, $rank:literal,
       [$($header:ident($number:literal) $wire:literal),*];)*) => {
        /// A field of a packet or of its metadata. The order is that of a canonical match.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(
                #[doc = concat!("`", $name, "`")]
                $id,
            )*
        }

        impl Field {
            /// Every field.
            pub const ALL: &[Self] = &[$(Self::$id,)*];

            pub(crate) const fn row(self) -> &'static Row {
                match self {
                    $(Self::$id => const { &Row {
                        name: $name,
                        aliases: &[$($alias)?],
                        match_name: $match_name,
                        bytes: $bytes,
                        bits: $bits,
                        format: $format,
                        access: $access,
                        prereq: Prereq::$prereq,
                        rank: $rank,
                        headers: &[$(($header($number), $wire)),*],
                    } },)*
                }
            }
        }
    };
}
use fields;
