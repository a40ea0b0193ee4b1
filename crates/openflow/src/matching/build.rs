//! Building a match in code: one method per field that flows commonly use, by value.
//!
//! Owns the shorthands of `ovs-ofctl` (`arp`, `tcp6`, …), which set the prerequisites. Name the protocol
//! before its ports or ICMP types: they stand in different fields for each protocol.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Match;
use crate::field::{Field, ones};
use crate::types::{Mac, OfPort};

/// An IPv4 address or prefix to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Match {
    /// The address.
    pub address: Ipv4Addr,
    /// The bits that count.
    pub mask: Ipv4Addr,
}

/// An IPv6 address or prefix to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Match {
    /// The address.
    pub address: Ipv6Addr,
    /// The bits that count.
    pub mask: Ipv6Addr,
}

impl From<Ipv4Addr> for Ipv4Match {
    fn from(address: Ipv4Addr) -> Self {
        Self { address, mask: Ipv4Addr::BROADCAST }
    }
}

impl From<(Ipv4Addr, u8)> for Ipv4Match {
    /// A prefix of so many bits; more than 32 mean 32.
    fn from((address, prefix): (Ipv4Addr, u8)) -> Self {
        let free = 32_u8.saturating_sub(prefix);
        let mask = u32::try_from(ones(32) & !ones(u32::from(free))).unwrap_or(u32::MAX);
        Self { address, mask: Ipv4Addr::from_bits(mask) }
    }
}

impl From<Ipv6Addr> for Ipv6Match {
    fn from(address: Ipv6Addr) -> Self {
        Self { address, mask: Ipv6Addr::from_bits(u128::MAX) }
    }
}

impl From<(Ipv6Addr, u8)> for Ipv6Match {
    /// A prefix of so many bits; more than 128 mean 128.
    fn from((address, prefix): (Ipv6Addr, u8)) -> Self {
        let free = 128_u8.saturating_sub(prefix);
        Self { address, mask: Ipv6Addr::from_bits(!ones(u32::from(free))) }
    }
}

/// Methods that set a field to a number exactly.
macro_rules! exact {
    ($($(#[$doc:meta])* $method:ident($ty:ty) = $field:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $method(self, value: $ty) -> Self {
                self.with(Field::$field, u128::from(value), u128::MAX)
            }
        )*
    };
}

/// Methods that set a field to an address, exactly or masked.
macro_rules! addresses {
    ($($(#[$doc:meta])* $method:ident($ty:ty) = $field:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $method(self, value: impl Into<$ty>) -> Self {
                let value = value.into();
                self.with(Field::$field, u128::from(value.address.to_bits()), u128::from(value.mask.to_bits()))
            }
        )*
    };
}

/// Methods that set a field to an Ethernet address, exactly and masked.
macro_rules! macs {
    ($($(#[$doc:meta])* $method:ident, $masked:ident = $field:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $method(self, mac: Mac) -> Self {
                self.with(Field::$field, mac.bits(), u128::MAX)
            }

            $(#[$doc])*
            ///
            /// Only the bits of `mask` count.
            #[must_use]
            pub fn $masked(self, mac: Mac, mask: Mac) -> Self {
                self.with(Field::$field, mac.bits(), mask.bits())
            }
        )*
    };
}

/// Methods that set a protocol and what it requires.
macro_rules! protocols {
    ($($(#[$doc:meta])* $method:ident = $eth:literal $(, $proto:literal)?;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $method(self) -> Self {
                self.eth_type($eth)$(.ip_proto($proto))?
            }
        )*
    };
}

impl Match {
    /// Any field of at most 16 bytes, by value and mask. See [`Match::set`].
    #[must_use]
    pub fn with(mut self, field: Field, value: u128, mask: u128) -> Self {
        self.set(field, value, mask);
        self
    }

    /// The port that the packet came in by.
    #[must_use]
    pub fn in_port(self, port: OfPort) -> Self {
        self.with(Field::InPort, u128::from(port.0), u128::MAX)
    }

    protocols! {
        /// Ethernet type ARP.
        arp = 0x0806;
        /// Ethernet type RARP.
        rarp = 0x8035;
        /// Ethernet type IPv4.
        ip = 0x0800;
        /// Ethernet type IPv6.
        ipv6 = 0x86dd;
        /// TCP over IPv4.
        tcp = 0x0800, 6_u8;
        /// TCP over IPv6.
        tcp6 = 0x86dd, 6_u8;
        /// UDP over IPv4.
        udp = 0x0800, 17_u8;
        /// UDP over IPv6.
        udp6 = 0x86dd, 17_u8;
        /// SCTP over IPv4.
        sctp = 0x0800, 132_u8;
        /// SCTP over IPv6.
        sctp6 = 0x86dd, 132_u8;
        /// ICMP over IPv4.
        icmp = 0x0800, 1_u8;
        /// ICMPv6.
        icmp6 = 0x86dd, 58_u8;
        /// MPLS unicast.
        mpls = 0x8847;
        /// MPLS multicast.
        mplsm = 0x8848;
    }

    macs! {
        /// The Ethernet source.
        dl_src, dl_src_masked = EthSrc;
        /// The Ethernet destination.
        dl_dst, dl_dst_masked = EthDst;
        /// The sender's hardware address in ARP.
        arp_sha, arp_sha_masked = ArpSha;
        /// The target's hardware address in ARP.
        arp_tha, arp_tha_masked = ArpTha;
        /// The source link-layer option of a neighbour solicitation.
        nd_sll, nd_sll_masked = NdSll;
        /// The target link-layer option of a neighbour advertisement.
        nd_tll, nd_tll_masked = NdTll;
    }

    addresses! {
        /// The IPv4 source.
        nw_src(Ipv4Match) = Ipv4Src;
        /// The IPv4 destination.
        nw_dst(Ipv4Match) = Ipv4Dst;
        /// The sender's IPv4 address in ARP.
        arp_spa(Ipv4Match) = ArpSpa;
        /// The target's IPv4 address in ARP.
        arp_tpa(Ipv4Match) = ArpTpa;
        /// The IPv6 source.
        ipv6_src(Ipv6Match) = Ipv6Src;
        /// The IPv6 destination.
        ipv6_dst(Ipv6Match) = Ipv6Dst;
        /// The target of neighbour discovery.
        nd_target(Ipv6Match) = NdTarget;
    }

    exact! {
        /// The Ethernet type.
        eth_type(u16) = EthType;
        /// The IP protocol.
        ip_proto(u8) = IpProto;
        /// The ARP operation: 1 request, 2 reply.
        arp_op(u16) = ArpOp;
        /// The TTL or hop limit.
        nw_ttl(u8) = IpTtl;
        /// The six DSCP bits.
        ip_dscp(u8) = IpDscp;
        /// The two ECN bits.
        nw_ecn(u8) = IpEcn;
        /// The metadata between tables.
        metadata(u64) = Metadata;
        /// The tunnel key.
        tun_id(u64) = TunId;
        /// The conjunction's number.
        conj_id(u32) = ConjId;
        /// The connection tracking zone.
        ct_zone(u16) = CtZone;
        /// The VLAN priority; needs a tag.
        vlan_pcp(u8) = VlanPcp;
    }

    /// A tag with this VLAN, whatever its priority.
    #[must_use]
    pub fn vlan_vid(self, vid: u16) -> Self {
        self.with(Field::VlanVid, u128::from((vid & 0xfff) | 0x1000), u128::MAX)
    }

    /// The tag's 16 bits as OpenFlow 1.0 has them: bit 12 says that there is a tag.
    #[must_use]
    pub fn vlan_tci_masked(self, tci: u16, mask: u16) -> Self {
        self.with(Field::VlanTci, u128::from(tci), u128::from(mask))
    }

    /// `metadata`, masked.
    #[must_use]
    pub fn metadata_masked(self, value: u64, mask: u64) -> Self {
        self.with(Field::Metadata, u128::from(value), u128::from(mask))
    }

    /// The bits `mask` of the register `reg{number}`; numbers above 15 change nothing.
    #[must_use]
    pub fn reg(self, number: u8, value: u32, mask: u32) -> Self {
        match Field::reg(number) {
            Some(reg) => self.with(reg, u128::from(value), u128::from(mask)),
            None => self,
        }
    }

    /// The connection state's bits, as in `ovs-fields(7)`.
    #[must_use]
    pub fn ct_state(self, value: u32, mask: u32) -> Self {
        self.with(Field::CtState, u128::from(value), u128::from(mask))
    }

    /// The connection mark.
    #[must_use]
    pub fn ct_mark(self, value: u32, mask: u32) -> Self {
        self.with(Field::CtMark, u128::from(value), u128::from(mask))
    }

    /// Any fragment, first or later (`ip_frag=yes`).
    #[must_use]
    pub fn ip_frag_any(self) -> Self {
        self.with(Field::IpFrag, 1, 1)
    }

    /// The source port of the TCP, UDP or SCTP named before.
    #[must_use]
    pub fn tp_src(self, port: u16) -> Self {
        let field = self.transport(Field::TcpSrc, Field::UdpSrc, Field::SctpSrc);
        self.with(field, u128::from(port), u128::MAX)
    }

    /// The destination port of the TCP, UDP or SCTP named before.
    #[must_use]
    pub fn tp_dst(self, port: u16) -> Self {
        let field = self.transport(Field::TcpDst, Field::UdpDst, Field::SctpDst);
        self.with(field, u128::from(port), u128::MAX)
    }

    /// The type of the ICMP named before.
    #[must_use]
    pub fn icmp_type(self, kind: u8) -> Self {
        let field = if self.proto() == Some(58) { Field::Icmpv6Type } else { Field::IcmpType };
        self.with(field, u128::from(kind), u128::MAX)
    }

    /// The code of the ICMP named before.
    #[must_use]
    pub fn icmp_code(self, code: u8) -> Self {
        let field = if self.proto() == Some(58) { Field::Icmpv6Code } else { Field::IcmpCode };
        self.with(field, u128::from(code), u128::MAX)
    }

    fn proto(&self) -> Option<u128> {
        self.value(Field::IpProto).map(|(value, _)| value)
    }

    pub(crate) fn transport(&self, tcp: Field, udp: Field, sctp: Field) -> Field {
        match self.proto() {
            Some(17) => udp,
            Some(132) => sctp,
            _ => tcp,
        }
    }
}
