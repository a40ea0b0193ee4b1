//! Why a frame was dropped: one list for both back ends of the guard.

use core::fmt;

macro_rules! reasons {
    ($($(#[$attr:meta])* $variant:ident = $num:literal => $text:literal;)+) => {
        /// Why the guard stopped a frame. The numbers stand in OpenFlow cookies and in the counters.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$attr])* $variant = $num,)+ }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// The short name, as operators see it.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $text,)+ }
            }

            /// The reason with this number.
            pub const fn from_u8(number: u8) -> Option<Reason> {
                match number {
                    $($num => Some(Reason::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// A tag on an access port, a VLAN that the trunk does not carry, or a second tag.
    Vlan = 1 => "vlan";
    /// Destination 01:80:c2:00:00:0x (bridge protocols, pause, LLDP, 802.1X).
    LinkLocal = 2 => "linklocal";
    /// An ethertype other than ARP, IPv4, IPv6.
    Ethertype = 3 => "ethertype";
    /// An Ethernet source that is not the endpoint's.
    Mac = 4 => "mac";
    /// An ARP packet that speaks for another address, or is none for IPv4 over Ethernet.
    Arp = 5 => "arp";
    /// UDP over IPv4 from port 67.
    Dhcp4Server = 6 => "dhcp4_server";
    /// An IPv4 source that is not the endpoint's, or a malformed header.
    Ipv4 = 7 => "ipv4";
    /// An IPv6 source that is not the endpoint's, a malformed header, or IPv6 on an IPv4-only endpoint.
    Ipv6 = 8 => "ipv6";
    /// The first of several fragments of an ICMPv6 packet.
    Icmp6Frag = 9 => "icmp6_frag";
    /// UDP over IPv6 from port 547.
    Dhcp6Server = 10 => "dhcp6_server";
    /// What only routers send: ICMP 5 and 9, ICMPv6 134, 137, 138, 151 (and 133 without `slaac`).
    Router = 11 => "router";
    /// Neighbour discovery that speaks for another address or MAC, or is malformed.
    Nd = 12 => "nd";
    /// A frame that ends inside a header which the policy reads.
    Short = 13 => "short";
    /// More than six IPv6 extension headers, or headers beyond the first 512 bytes.
    Ext = 14 => "ext";
    /// A program of ours on a device without an entry. Counted under slot 0.
    Unbound = 15 => "unbound";
    /// Not a drop: the number of the allowing flows in OpenFlow cookies.
    Allow = 16 => "allow";
    /// The endpoint's gate is still closed.
    Closed = 17 => "closed";
    /// Reserved: more broadcasts in a second than the endpoint may send.
    BroadcastRate = 18 => "broadcast_rate";
    /// Reserved: more new destinations in a second than the endpoint may open.
    NewDestinationRate = 19 => "new_destination_rate";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<u8> for Reason {
    type Error = u8;

    fn try_from(number: u8) -> Result<Reason, u8> {
        Reason::from_u8(number).ok_or(number)
    }
}
