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

#[cfg(test)]
mod tests {
    use super::Reason;
    use crate::{COUNTERS, Counter, Counters};

    #[test]
    fn numbers_and_names_are_those_that_operators_see() {
        let list: Vec<String> = Reason::ALL.iter().map(|r| format!("{} {r}", *r as u8)).collect();
        assert_eq!(
            list.join(", "),
            "1 vlan, 2 linklocal, 3 ethertype, 4 mac, 5 arp, 6 dhcp4_server, 7 ipv4, 8 ipv6, 9 icmp6_frag, \
             10 dhcp6_server, 11 router, 12 nd, 13 short, 14 ext, 15 unbound, 16 allow, 17 closed, \
             18 broadcast_rate, 19 new_destination_rate"
        );
    }

    #[test]
    fn every_number_is_a_reason_or_is_given_back() {
        for number in 0..=u8::MAX {
            match Reason::try_from(number) {
                Ok(reason) => assert_eq!(reason as u8, number),
                Err(unknown) => assert_eq!((unknown, Reason::from_u8(number)), (number, None)),
            }
        }
    }

    #[test]
    fn no_reason_shares_a_counter_with_another_number() {
        let others = [
            Counter::Passed,
            Counter::AccelTxPackets,
            Counter::AccelTxBytes,
            Counter::AccelRxPackets,
            Counter::AccelRxBytes,
            Counter::FactsLost,
            Counter::DropsLost,
        ];
        for reason in Reason::ALL {
            assert!(
                (*reason as usize) < COUNTERS && others.iter().all(|c| *c as u8 != *reason as u8),
                "{reason}"
            );
        }
    }

    #[test]
    fn only_reasons_that_were_counted_are_listed() {
        let mut counters = Counters::default();
        counters.0[Counter::Passed as usize] = 9;
        counters.0[Reason::Nd as usize] = 2;
        counters.0[Reason::Vlan as usize] = 1;
        assert_eq!(counters.drops().collect::<Vec<_>>(), [(Reason::Vlan, 1), (Reason::Nd, 2)]);
        assert_eq!((counters.passed(), counters.dropped(Reason::Mac)), (9, 0));
    }
}
