//! The tc filters on a device, over netlink: aya attaches filters but neither lists them nor removes their qdisc.
//!
//! Layouts: `struct nlmsghdr` (16 bytes), `struct tcmsg` (20 bytes), attributes of
//! `linux/rtnetlink.h` and `linux/pkt_cls.h`.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt,
        socket, sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};

use crate::Error;

/// A filter on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Kernel id of its program, if it is a BPF filter and the kernel tells.
    pub(crate) program: Option<u32>,
}

const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLM_F_REQUEST_ACK: u16 = 0x5;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TC_H_INGRESS: u32 = 0xffff_fff2;
const TC_H_EGRESS: u32 = 0xffff_fff3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
/// The upper bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSGHDR_LEN: usize = 16;
const TCMSG_LEN: usize = 20;
/// The kernel fills dumps in pages of at most 32 KiB.
const RECEIVE_BYTES: usize = 32 * 1024;
/// A dump is answered from memory; a second means that something is broken.
const RECEIVE_SECONDS: i64 = 1;

/// Lists the filters of a hook in the order in which they run; none if there is no qdisc for it.
pub(crate) fn dump(ifindex: u32, ingress: bool) -> Result<Vec<Filter>, Error> {
    ask(ifindex, ingress).map_err(|source| Error::Filters { operation: "listing", ifindex, source })
}

/// Removes the clsact qdisc of a device if no filter is left in it: while it is there, nobody else can police the device
/// ("File exists").
pub(crate) fn remove_empty_qdisc(ifindex: u32) -> Result<(), Error> {
    if !dump(ifindex, true)?.is_empty() || !dump(ifindex, false)?.is_empty() {
        return Ok(());
    }
    // Named, so that a qdisc of another kind which took its place is left alone.
    let kind = [&12u16.to_ne_bytes()[..], &TCA_KIND.to_ne_bytes(), b"clsact\0\0"].concat();
    let removed = socket_with(&request(RTM_DELQDISC, NLM_F_REQUEST_ACK, ifindex, TC_H_CLSACT, &kind))
        .and_then(|fd| take_answers(&fd, &mut Vec::new()));
    removed.map_err(|source| Error::Filters { operation: "removing the qdisc of", ifindex, source })
}

fn ask(ifindex: u32, ingress: bool) -> io::Result<Vec<Filter>> {
    let parent = if ingress { TC_H_INGRESS } else { TC_H_EGRESS };
    let fd = socket_with(&request(RTM_GETTFILTER, NLM_F_REQUEST_DUMP, ifindex, parent, &[]))?;
    let mut filters = Vec::new();
    take_answers(&fd, &mut filters)?;
    Ok(filters)
}

/// A socket on which a request is on its way.
fn socket_with(request: &[u8]) -> io::Result<OwnedFd> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(RECEIVE_SECONDS))?;
    sendto(fd.as_raw_fd(), request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(fd)
}

fn take_answers(fd: &OwnedFd, filters: &mut Vec<Filter>) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let len = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if take_messages(buffer.get(..len).unwrap_or_default(), filters)? {
            return Ok(());
        }
    }
}

fn request(kind: u16, flags: u16, ifindex: u32, parent: u32, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(NLMSGHDR_LEN + TCMSG_LEN + attributes.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(NLMSGHDR_LEN + TCMSG_LEN);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence, port: the socket has one request only
    bytes.extend([0; 4]); // family and padding
    bytes.extend(ifindex.to_ne_bytes());
    bytes.extend([0; 4]); // handle
    bytes.extend(parent.to_ne_bytes());
    bytes.extend([0; 4]); // info
    bytes.extend(attributes);
    bytes
}

/// Collects what one datagram says; `true` at the end of the dump.
fn take_messages(datagram: &[u8], filters: &mut Vec<Filter>) -> io::Result<bool> {
    let mut rest = datagram;
    while rest.len() >= NLMSGHDR_LEN {
        let len = u32_at(rest, 0) as usize;
        let message = rest.get(NLMSGHDR_LEN..len).ok_or_else(torn)?;
        match u16_at(rest, 4) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return end_of_dump(i32::from_ne_bytes(u32_at(message, 0).to_ne_bytes())),
            RTM_NEWTFILTER => filters.extend(filter(message)),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Without a clsact or ingress qdisc some kernels answer with an error instead of an empty dump.
fn end_of_dump(errno: i32) -> io::Result<bool> {
    match -errno {
        0 | nix::libc::EINVAL | nix::libc::ENOENT | nix::libc::EOPNOTSUPP => Ok(true),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A filter, unless it is the head of its priority, which has the handle 0 and does nothing.
fn filter(message: &[u8]) -> Option<Filter> {
    let handle = u32_at(message, 8);
    let attributes = message.get(TCMSG_LEN..)?;
    (handle != 0).then(|| Filter {
        program: attribute(attributes, TCA_OPTIONS)
            .and_then(|options| attribute(options, TCA_BPF_ID))
            .filter(|id| id.len() == 4)
            .map(|id| u32_at(id, 0)),
    })
}

fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let len = usize::from(u16_at(attributes, 0));
        if u16_at(attributes, 2) & NLA_TYPE_MASK == kind {
            return attributes.get(4..len);
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
    None
}

fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a netlink message ends beyond its datagram")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        Filter, NLM_F_REQUEST_DUMP, NLMSG_DONE, NLMSG_ERROR, RTM_GETTFILTER, RTM_NEWTFILTER, TC_H_INGRESS,
        TCA_BPF_ID, TCA_OPTIONS, request, take_messages,
    };

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(16 + body.len()).unwrap();
        let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + body.len()).unwrap();
        [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), body].concat()
    }

    fn filter(handle: u32, attributes: &[u8]) -> Vec<u8> {
        message(RTM_NEWTFILTER, &[&[0; 8], &handle.to_ne_bytes()[..], &[0; 8], attributes].concat())
    }

    fn read(datagram: &[u8]) -> (Result<bool, Option<i32>>, Vec<Filter>) {
        let mut filters = Vec::new();
        let end = take_messages(datagram, &mut filters).map_err(|e| e.raw_os_error());
        (end, filters)
    }

    #[test]
    fn filters_are_listed_in_order_without_the_heads_of_priorities() {
        let bpf = attribute(TCA_OPTIONS | 0x8000, &attribute(TCA_BPF_ID, &77u32.to_ne_bytes()));
        let kind = attribute(1, b"bpf\0");
        let dump = [
            filter(0, &kind),
            filter(1, &[kind, bpf].concat()),
            filter(2, &[]),
            message(NLMSG_DONE, &[0; 4]),
        ];
        let found = [Filter { program: Some(77) }, Filter { program: None }];
        assert_eq!(read(&dump.concat()), (Ok(true), found.to_vec()));
        assert_eq!(read(&dump[..2].concat()), (Ok(false), found[..1].to_vec()));
    }

    #[test]
    fn no_qdisc_is_no_filter_and_another_error_is_told() {
        let error = |errno: i32| message(NLMSG_ERROR, &(-errno).to_ne_bytes());
        assert_eq!(read(&error(nix::libc::EINVAL)), (Ok(true), vec![]));
        assert_eq!(read(&error(nix::libc::EPERM)), (Err(Some(nix::libc::EPERM)), vec![]));
    }

    #[test]
    fn torn_messages_are_no_panic() {
        let bpf = attribute(TCA_OPTIONS, &attribute(TCA_BPF_ID, &77u32.to_ne_bytes()));
        let whole = filter(1, &bpf);
        for len in 0..whole.len() {
            let (_end, found) = read(&whole[..len]);
            assert_eq!(found, [], "cut to {len}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut bent = whole.clone();
                bent[at] = value;
                let _read = read(&bent);
            }
        }
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let bytes = request(RTM_GETTFILTER, NLM_F_REQUEST_DUMP, 7, TC_H_INGRESS, &[]);
        assert_eq!((bytes.len(), bytes[..4].to_vec()), (36, 36u32.to_ne_bytes().to_vec()));
    }
}
