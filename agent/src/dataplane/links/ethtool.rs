//! Transmit offloads of one interface, by ethtool's generic netlink family (Linux 5.8 for changes; floor 5.10).
//!
//! Acts on the namespace of the calling thread, synchronously: it runs on a thread inside the pod's namespace. The
//! ioctl does the same with less code, but only through unsafe blocks, so the few messages are laid out here.
//!
//! Messages: `nlmsghdr` (16 bytes: length u32, type u16, flags u16, sequence u32, port u32), `genlmsghdr` (4 bytes:
//! command u8, version u8, reserved u16), then attributes (length u16, type u16, value, padded to 4), host byte order.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::request::DEADLINE;

/// Turns off what lets a sender leave checksums or segmentation to a later device.
pub(super) fn turn_transmit_offloads_off(ifname: &str) -> io::Result<()> {
    let mut ethtool = Ethtool::connect()?;
    ethtool.transact(ETHTOOL_MSG_FEATURES_SET, &wanted(ifname))?;
    Ok(())
}

/// The features that are on now, by the kernel's names.
#[cfg(test)]
pub(super) fn active(ifname: &str) -> io::Result<std::collections::BTreeSet<String>> {
    let mut ethtool = Ethtool::connect()?;
    let reply = ethtool.transact(ETHTOOL_MSG_FEATURES_GET, &device(ifname))?;
    let bits = find(&reply, ETHTOOL_A_FEATURES_ACTIVE).and_then(|set| find(set, ETHTOOL_A_BITSET_BITS));
    let mut rest = bits.unwrap_or_default();
    let mut names = std::collections::BTreeSet::new();
    while let Some(bit) = find(rest, ETHTOOL_A_BITSET_BITS_BIT) {
        let name = find(bit, ETHTOOL_A_BITSET_BIT_NAME).unwrap_or_default();
        names.insert(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        rest = rest.get((ATTRIBUTE_HEADER_LEN + bit.len()).next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(names)
}

/// A generic netlink socket that knows the number of the family `ethtool`.
struct Ethtool {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Ethtool {
    fn connect() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric)?;
        let seconds = i64::try_from(DEADLINE.as_secs()).unwrap_or(i64::MAX);
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(seconds))?;
        let mut ethtool = Self { socket, family: GENL_ID_CTRL, sequence: 0 };
        let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        let reply = ethtool.transact(CTRL_CMD_GETFAMILY, &name)?;
        ethtool.family = find(&reply, CTRL_ATTR_FAMILY_ID)
            .and_then(|value| value.first_chunk())
            .map(|bytes| u16::from_ne_bytes(*bytes))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "no id in the answer for family ethtool")
            })?;
        Ok(ethtool)
    }

    /// Sends one request with NLM_F_ACK and returns the attributes of the reply, empty where only the ACK came.
    fn transact(&mut self, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let request = message(self.family, self.sequence, command, attributes)?;
        sendto(self.socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; RECEIVE_LEN];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..len).unwrap_or_default();
            while let Some((header, payload, next)) = split_message(rest) {
                rest = next;
                if header.sequence != self.sequence {
                    continue;
                }
                if header.kind != NLMSG_ERROR {
                    found = payload.get(GENL_HEADER_LEN..).unwrap_or_default().to_vec();
                    continue;
                }
                let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return if code == 0 { Ok(found) } else { Err(Errno::from_raw(-code).into()) };
            }
        }
    }
}

/// The request of ETHTOOL_MSG_FEATURES_SET: the device's name and a list of bits, each named and without the value
/// flag, which means "off". Bits that are not listed stay as they are.
fn wanted(ifname: &str) -> Vec<u8> {
    let bits: Vec<u8> = TRANSMIT_OFFLOADS
        .iter()
        .flat_map(|feature| {
            let name = [feature.as_bytes(), &[0]].concat();
            attribute(NESTED | ETHTOOL_A_BITSET_BITS_BIT, &attribute(ETHTOOL_A_BITSET_BIT_NAME, &name))
        })
        .collect();
    let bitset = attribute(NESTED | ETHTOOL_A_BITSET_BITS, &bits);
    [device(ifname), attribute(NESTED | ETHTOOL_A_FEATURES_WANTED, &bitset)].concat()
}

/// The header of an ethtool request: which device it is about.
fn device(ifname: &str) -> Vec<u8> {
    let name = [ifname.as_bytes(), &[0]].concat();
    attribute(NESTED | ETHTOOL_A_FEATURES_HEADER, &attribute(ETHTOOL_A_HEADER_DEV_NAME, &name))
}

fn message(family: u16, sequence: u32, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(HEADER_LEN + GENL_HEADER_LEN + attributes.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.extend(len.to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([command, GENL_VERSION, 0, 0]);
    bytes.extend(attributes);
    Ok(bytes)
}

/// One attribute, padded. Ours are far below 64 KiB: an interface name, a feature name, or a list of ten such.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// The value of the first attribute of `kind`.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some((head, _)) = attributes.split_first_chunk::<ATTRIBUTE_HEADER_LEN>() {
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = attributes.get(ATTRIBUTE_HEADER_LEN..len)?;
        if u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    None
}

struct Header {
    kind: u16,
    sequence: u32,
}

/// The first message of a datagram, its payload, and what follows.
fn split_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let head = bytes.first_chunk::<HEADER_LEN>()?;
    let len = usize::try_from(u32::from_ne_bytes([head[0], head[1], head[2], head[3]])).ok()?;
    let kind = u16::from_ne_bytes([head[4], head[5]]);
    let sequence = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
    let payload = bytes.get(HEADER_LEN..len)?;
    let next = bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((Header { kind, sequence }, payload, next))
}

/// The features of a veth (drivers/net/veth.c, `VETH_FEATURES`) by which a frame may leave unfinished: checksums,
/// TSO, and GSO with its kinds, by the names of net/ethtool/common.c that Linux 5.10 knows. What is not listed
/// (tunnels, AccECN) only ever counts together with one of these: `net_gso_ok` wants all bits of a frame's type.
pub(super) const TRANSMIT_OFFLOADS: [&str; 10] = [
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-udp-segmentation",
    "tx-gso-list",
    "tx-sctp-segmentation",
    "tx-generic-segmentation",
];

// linux/netlink.h, linux/genetlink.h, linux/ethtool_netlink.h.
const HEADER_LEN: usize = 16;
const GENL_HEADER_LEN: usize = 4;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const ALIGNMENT: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;
const GENL_VERSION: u8 = 1;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
#[cfg(test)]
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_FEATURES_SET: u8 = 12;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_WANTED: u16 = 3;
#[cfg(test)]
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// Bytes: the answer about a family is 2 KiB, an answer about features 1 KiB; netlink never splits a message.
const RECEIVE_LEN: usize = 16 * 1024;
