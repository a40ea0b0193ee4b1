//! Frames as bytes on a link: sending them past the kernel's stack and capturing what arrives.
//!
//! AF_PACKET sockets through nix alone. A VLAN tag in the bytes sent becomes the skb's tag at the veth's other
//! end, exactly as a hostile pod would make it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
    socket,
};
use nix::sys::time::TimeVal;

/// `PACKET_OUTGOING` of `<linux/if_packet.h>`: a frame that this namespace sent itself.
const PACKET_OUTGOING: u8 = 4;

/// Jumbo frames and segments merged by GRO fit.
const MAX_FRAME: usize = 65_536 + 18;

/// How long one receive blocks before the deadline is looked at again.
const RECEIVE_SLICE: Duration = Duration::from_millis(20);

/// Longer than an upcall takes on an emulated machine.
const STRAGGLES_FOR: Duration = Duration::from_millis(700);

/// A burst of a whole corpus fits without loss.
const CAPTURE_BUFFER_BYTES: usize = 4 << 20;

/// Six bytes, printed with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(out, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(out, ":{byte:02x}"))
    }
}

/// A raw socket on one link: sends frames and receives those that arrive there.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens the link `ifname` of the namespace that the calling thread is in.
    pub(crate) fn open(ifname: &str) -> Result<Self> {
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .context("opening a packet socket")?;
        // The address carries protocol 0, which keeps the one given at the socket's birth: everything.
        bind(socket.as_raw_fd(), &link_address(ifname)?).with_context(|| format!("binding to {ifname}"))?;
        setsockopt(&socket, ReceiveTimeout, &time_val(RECEIVE_SLICE)).context("SO_RCVTIMEO")?;
        setsockopt(&socket, RcvBufForce, &CAPTURE_BUFFER_BYTES).context("SO_RCVBUFFORCE")?;
        Ok(Self { socket })
    }

    /// Puts the frame, from its destination MAC on, on the link as it is.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .with_context(|| format!("sending a frame of {} bytes", frame.len()))?;
        ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }

    /// The next frame that arrives, `None` if none does before `deadline` has passed.
    pub fn next(&self, deadline: Duration) -> Result<Option<Vec<u8>>> {
        self.until(deadline, |_| true)
    }

    /// All frames that still arrive until none has for `silence`.
    pub fn all_until_silence(&self, silence: Duration) -> Result<Vec<Vec<u8>>> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next(silence)? {
            seen.push(frame);
        }
        Ok(seen)
    }

    /// All frames that arrive until `last` accepts one, that one included; an error if none is accepted in time.
    pub fn all_until(&self, deadline: Duration, last: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let began = Instant::now();
        let mut seen = Vec::new();
        while let Some(frame) = self.next(deadline.saturating_sub(began.elapsed()))? {
            let is_last = last(&frame);
            seen.push(frame);
            if is_last {
                return Ok(seen);
            }
        }
        bail!("the last frame did not arrive within {deadline:?}, after {} others", seen.len())
    }

    /// [`all_until`](Self::all_until) the marker, and what the marker has overtaken on its way.
    ///
    /// Open vSwitch keeps no order between frames that wait for an upcall: several handlers take them, and a
    /// frame whose flow is known waits for none.
    pub fn all_about(&self, deadline: Duration, marker: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut seen = self.all_until(deadline, |frame| frame == marker)?;
        seen.extend(self.all_until_silence(STRAGGLES_FOR)?);
        Ok(seen)
    }

    /// The first frame to arrive that `wanted` accepts; others are dropped.
    pub fn until(&self, deadline: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        let began = Instant::now();
        let mut buffer = vec![0; MAX_FRAME];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, from)) => {
                    let outgoing = from.is_some_and(|from| from.pkttype() == PACKET_OUTGOING);
                    if !outgoing && wanted(&buffer[..length]) {
                        return Ok(Some(buffer[..length].to_vec()));
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("receiving from a packet socket"),
            }
            if began.elapsed() >= deadline {
                return Ok(None);
            }
        }
    }
}

/// The MAC of a link in the namespace that the calling thread is in.
pub(crate) fn mac_of(ifname: &str) -> Result<Mac> {
    link_address(ifname)?.addr().map(Mac).with_context(|| format!("{ifname} has no Ethernet address"))
}

/// The IP addresses of a link in the namespace that the calling thread is in.
pub(crate) fn addresses_of(ifname: &str) -> Result<Vec<IpAddr>> {
    let all = getifaddrs().context("listing addresses")?;
    let ours = all.filter(|entry| entry.interface_name == ifname).filter_map(|entry| entry.address);
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(ours.filter_map(ip).collect())
}

/// The names of all links in the namespace that the calling thread is in.
pub(crate) fn link_names() -> Result<Vec<String>> {
    let mut names: Vec<String> =
        getifaddrs().context("listing links")?.map(|entry| entry.interface_name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// An ARP frame: `op` 1 asks, 2 answers; broadcast unless `to` is given.
pub fn arp(op: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), to: Option<Mac>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(to.unwrap_or(Mac([0xff; 6])).0);
    frame.extend(sender.0.0);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4]);
    frame.extend(op.to_be_bytes());
    frame.extend(sender.0.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0.0);
    frame.extend(target.1.octets());
    frame
}

pub(crate) fn time_val(duration: Duration) -> TimeVal {
    let micros = i64::from(duration.subsec_micros());
    TimeVal::new(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), micros)
}

fn link_address(ifname: &str) -> Result<LinkAddr> {
    getifaddrs()
        .context("listing links")?
        .filter(|entry| entry.interface_name == ifname)
        .find_map(|entry| entry.address.and_then(|address| address.as_link_addr().copied()))
        .ok_or_else(|| anyhow!("no link {ifname} here"))
}
