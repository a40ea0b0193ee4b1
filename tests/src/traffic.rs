//! Honest traffic: echo requests one by one or as a stream, UDP and TCP echoes.
//!
//! Sockets are born inside a namespace and used from anywhere. Latencies are round trips as this process sees
//! them, its own scheduling included.

use std::io::{Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv, send,
    setsockopt, socket,
};

use crate::wire::time_val;

/// How long one receive blocks before a flag or a deadline is looked at again.
const SLICE: Duration = Duration::from_millis(20);

/// Bytes behind the ICMP header, as ping(8) sends them.
const ECHO_PAYLOAD: usize = 56;

/// What one TCP echo moves each way: many segments, so offloads and checksums are put to use.
const TCP_BYTES: usize = 256 << 10;

/// The identifier of the next stream of echo requests, so that streams of one process never mix.
static NEXT_IDENT: AtomicU16 = AtomicU16::new(1);

/// A source of echo requests to one address.
#[derive(Debug)]
pub(crate) struct Echoes {
    socket: OwnedFd,
    ident: u16,
    request: u8,
    reply: u8,
}

impl Echoes {
    /// Opens a raw socket in the namespace of the calling thread; a route to `to` must exist.
    pub(crate) fn open(to: IpAddr) -> Result<Self> {
        let (family, protocol, request, reply) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
        };
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .context("opening an ICMP socket")?;
        setsockopt(&socket, ReceiveTimeout, &time_val(SLICE)).context("SO_RCVTIMEO")?;
        let address = match to {
            IpAddr::V4(ip) => SockaddrStorage::from(SocketAddrV4::new(ip, 0)),
            IpAddr::V6(ip) => SockaddrStorage::from(SocketAddrV6::new(ip, 0, 0, 0)),
        };
        connect(socket.as_raw_fd(), &address).with_context(|| format!("no way to {to}"))?;
        Ok(Self { socket, ident: NEXT_IDENT.fetch_add(1, Ordering::Relaxed), request, reply })
    }

    /// Sends one request. A full queue or a dead neighbour is a lost packet, not a failure of the test.
    pub(crate) fn send(&self, sequence: u16) {
        let mut packet = vec![self.request, 0, 0, 0];
        packet.extend(self.ident.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0x55; ECHO_PAYLOAD]);
        // The kernel fills in ICMPv6's checksum, but not ICMP's.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        let _: Result<usize, _> = send(self.socket.as_raw_fd(), &packet, MsgFlags::empty());
    }

    /// The sequence number of the next reply, `None` after a slice of silence.
    pub(crate) fn receive(&self) -> Result<Option<u16>> {
        let mut buffer = [0; 2048];
        let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            // An ICMP error that came back for an earlier request is a lost packet.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => return Ok(None),
            Err(error) => return Err(error).context("receiving from an ICMP socket"),
        };
        let packet = &buffer[..length];
        // A raw IPv4 socket delivers the IP header too; an IPv6 one does not.
        let header =
            if self.reply == 0 { usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4 } else { 0 };
        Ok(match packet.get(header..) {
            Some([kind, 0, _, _, i1, i2, s1, s2, ..])
                if *kind == self.reply && u16::from_be_bytes([*i1, *i2]) == self.ident =>
            {
                Some(u16::from_be_bytes([*s1, *s2]))
            }
            _ => None,
        })
    }

    /// One round trip, `None` if there is no reply before the deadline.
    pub(crate) fn round_trip(&self, sequence: u16, deadline: Duration) -> Result<Option<Duration>> {
        let began = Instant::now();
        self.send(sequence);
        while began.elapsed() < deadline {
            if self.receive()? == Some(sequence) {
                return Ok(Some(began.elapsed()));
            }
        }
        Ok(None)
    }
}

/// What a stream of echo requests met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Requests sent.
    pub sent: usize,
    /// Distinct replies received.
    pub received: usize,
    /// The longest run of requests without a reply.
    pub longest_gap: usize,
    /// The first request without a reply.
    pub first_lost: Option<usize>,
}

impl Loss {
    /// Requests without a reply.
    pub fn lost(self) -> usize {
        self.sent - self.received
    }
}

/// Echo requests at a steady pace, until stopped.
#[derive(Debug)]
pub struct PingStream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<usize>,
    receiver: JoinHandle<Result<Vec<bool>>>,
}

impl PingStream {
    pub(crate) fn start(echoes: Echoes, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let echoes = Arc::new(echoes);
        let sender = thread::spawn({
            let (stop, echoes) = (Arc::clone(&stop), Arc::clone(&echoes));
            move || send_at_pace(&echoes, interval, &stop)
        });
        let receiver = thread::spawn({
            let stop = Arc::clone(&stop);
            move || collect_replies(&echoes, &stop)
        });
        Self { stop, sender, receiver }
    }

    /// Ends the stream, gives the last replies time to come, and counts.
    pub fn stop(self) -> Result<Loss> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| anyhow!("the sender of a ping stream panicked"))?;
        let seen = self.receiver.join().map_err(|_| anyhow!("the receiver of a ping stream panicked"))??;
        let replies = &seen[..sent.min(seen.len())];
        let longest_gap = replies.split(|seen| *seen).map(<[bool]>::len).max().unwrap_or(0);
        let first_lost = replies.iter().position(|seen| !*seen);
        Ok(Loss { sent, received: replies.iter().filter(|seen| **seen).count(), longest_gap, first_lost })
    }
}

/// How long after the last request replies still count.
const LAST_REPLIES: Duration = Duration::from_millis(500);

fn send_at_pace(echoes: &Echoes, interval: Duration, stop: &AtomicBool) -> usize {
    let began = Instant::now();
    for sequence in 0..u16::MAX {
        if stop.load(Ordering::Relaxed) {
            return usize::from(sequence);
        }
        echoes.send(sequence);
        // Paced by the clock, not by sleeps added up: a late wake-up is caught up with.
        let next = interval * (u32::from(sequence) + 1);
        thread::sleep(next.saturating_sub(began.elapsed()));
    }
    usize::from(u16::MAX)
}

fn collect_replies(echoes: &Echoes, stop: &AtomicBool) -> Result<Vec<bool>> {
    let mut seen = vec![false; usize::from(u16::MAX) + 1];
    let mut stopped: Option<Instant> = None;
    while stopped.is_none_or(|at| at.elapsed() < LAST_REPLIES) {
        if let Some(sequence) = echoes.receive()? {
            seen[usize::from(sequence)] = true;
        }
        if stopped.is_none() && stop.load(Ordering::Relaxed) {
            stopped = Some(Instant::now());
        }
    }
    Ok(seen)
}

/// A UDP and a TCP server on one port that send back what they get, until dropped.
#[derive(Debug)]
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens in the namespace of the calling thread on every address of both families.
    pub(crate) fn listen(port: u16) -> Result<Self> {
        // `bindv6only` is 0 in a new namespace: this takes IPv4 too.
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        let udp = UdpSocket::bind(any).with_context(|| format!("binding UDP port {port}"))?;
        udp.set_read_timeout(Some(SLICE)).context("a UDP socket's timeout")?;
        let tcp = TcpListener::bind(any).with_context(|| format!("binding TCP port {port}"))?;
        tcp.set_nonblocking(true).context("a TCP listener's mode")?;
        let stop = Arc::new(AtomicBool::new(false));
        let for_udp = Arc::clone(&stop);
        let for_tcp = Arc::clone(&stop);
        let threads = vec![
            thread::spawn(move || echo_udp(&udp, &for_udp)),
            thread::spawn(move || echo_tcp(&tcp, &for_tcp)),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// One datagram there and back, from the namespace of the calling thread.
pub(crate) fn udp_echo(to: SocketAddr, deadline: Duration) -> Result<Duration> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).context("binding a UDP socket")?;
    socket.connect(to).with_context(|| format!("no way to {to}"))?;
    socket.set_read_timeout(Some(deadline)).context("a UDP socket's timeout")?;
    let began = Instant::now();
    socket.send(b"underpass").with_context(|| format!("sending a datagram to {to}"))?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).with_context(|| format!("no UDP echo from {to}"))?;
    ensure!(&buffer[..length] == b"underpass", "the UDP echo from {to} is not what was sent");
    Ok(began.elapsed())
}

/// A quarter of a megabyte there and back over one connection, from the namespace of the calling thread.
pub(crate) fn tcp_echo(to: SocketAddr, deadline: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut stream =
        TcpStream::connect_timeout(&to, deadline).with_context(|| format!("no connection to {to}"))?;
    stream.set_read_timeout(Some(deadline)).context("a TCP socket's timeout")?;
    let sent: Vec<u8> = (0..TCP_BYTES).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let mut writer = stream.try_clone().context("duplicating a TCP socket")?;
    let mut received = vec![0; TCP_BYTES];
    thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&sent).context("writing to a TCP echo"));
        stream.read_exact(&mut received).with_context(|| format!("no TCP echo from {to}"))?;
        writing.join().map_err(|_| anyhow!("the writer of a TCP echo panicked"))?
    })?;
    ensure!(received == sent, "the TCP echo from {to} is not what was sent");
    Ok(began.elapsed())
}

fn echo_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..length], from));
        }
    }
}

fn echo_tcp(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // One client at a time: a story talks over one connection. A broken one is the client's to report.
            Ok((stream, _)) => drop(echo_stream(stream)),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn echo_stream(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

/// RFC 1071: the ones' complement of the ones' complement sum of 16-bit words.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}
