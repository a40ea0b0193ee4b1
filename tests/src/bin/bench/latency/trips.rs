//! The load: round trips of one kind between the two ends of a path, and what each took.
//!
//! Both ends run on one processor, the last one, so that none of it is the waking of another. They block in `recv`; the
//! processor's sleep and wake are in every figure, on every path alike.
//!
//! With one request under way at a time nothing is sent while an answer is late, so that one long wait counts once
//! (coordinated omission). The paced load sends by the clock instead, whatever has come back, and counts each round trip
//! from when its request was due. Every sample is kept, so percentiles are exact and no histogram stands between.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use e2e::Netns;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

use super::paths::Path;

/// An answer that takes longer is lost, and with it the run.
const SILENCE: Duration = Duration::from_secs(SILENCE_SECONDS.cast_unsigned());
const SILENCE_SECONDS: i64 = 5;
/// One request of the paced load is due so long after the other: a tenth of what the slowest path manages.
const PACE: Duration = Duration::from_millis(1);
/// The share of a round that warms up.
const WARM_UP: usize = 8;
/// The largest datagram here.
const MOST: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One request a flow under way at a time.
    Udp,
    /// Requests by the clock.
    PacedUdp,
    /// One request at a time over one connection.
    Tcp,
    /// A connection for each request.
    TcpConnect,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    /// Bytes of a request, and of its answer.
    pub(super) size: usize,
    pub(super) flows: usize,
}

impl Load {
    /// Samples that a round of `trips` gives.
    pub(super) fn samples(self, trips: usize) -> usize {
        let each = trips / self.flows;
        (each - each / WARM_UP) * self.flows
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, size, flows } = self;
        let protocol = match protocol {
            Protocol::Udp => "UDP",
            Protocol::PacedUdp => "UDP by the clock",
            Protocol::Tcp => "TCP",
            Protocol::TcpConnect => "TCP with connect",
        };
        write!(f, "{protocol}, {size} bytes, {flows} {}", if *flows == 1 { "flow" } else { "flows" })
    }
}

/// One round over one path, in µs; flow after flow.
pub(super) fn round(path: &Path<'_>, load: Load, trips: usize) -> Result<Vec<f64>> {
    let each = trips / load.flows;
    let flows = (0..load.flows).map(|_| match load.protocol {
        Protocol::Udp | Protocol::PacedUdp => Flow::udp(path),
        Protocol::Tcp | Protocol::TcpConnect => Flow::tcp(path),
    });
    let flows = flows.collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let running: Vec<_> = flows
            .iter()
            .map(|flow| {
                let answering = scope.spawn(move || on_our_processor(|| flow.answer(load, each)));
                (scope.spawn(move || on_our_processor(|| flow.ask(path, load, each))), answering)
            })
            .collect();
        let mut all = Vec::new();
        for (asking, answering) in running {
            let taken = joined(asking).with_context(|| format!("{load} over {}", path.name));
            joined(answering).with_context(|| format!("{load} over {}, the far end", path.name))?;
            all.extend(taken?.into_iter().skip(each / WARM_UP).map(|took| took.as_secs_f64() * 1e6));
        }
        Ok(all)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// The calling thread, which is a flow's own, stays on the last processor.
fn on_our_processor<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let mut one = CpuSet::new();
    one.set(last).context("a set of processors")?;
    sched_setaffinity(Pid::from_raw(0), &one).context("staying on one processor")?;
    work()
}

/// The sockets of one flow.
enum Flow {
    Udp { here: UdpSocket, there: UdpSocket },
    Tcp { there: TcpListener },
}

impl Flow {
    fn udp(path: &Path<'_>) -> Result<Self> {
        let bind = |netns: &Netns, ip: IpAddr| {
            netns.enter(|| UdpSocket::bind((ip, 0)).with_context(|| format!("binding {ip}")))
        };
        let (here, there) = (bind(path.here(), path.here_ip)?, bind(path.there(), path.there_ip)?);
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        for socket in [&here, &there] {
            socket.set_read_timeout(Some(SILENCE))?;
        }
        Ok(Self::Udp { here, there })
    }

    fn tcp(path: &Path<'_>) -> Result<Self> {
        let there = path.there().enter(|| {
            TcpListener::bind((path.there_ip, 0)).with_context(|| format!("listening on {}", path.there_ip))
        })?;
        // Of accept(2) too.
        setsockopt(&there, sockopt::ReceiveTimeout, &TimeVal::seconds(SILENCE_SECONDS))?;
        Ok(Self::Tcp { there })
    }

    fn answer(&self, load: Load, trips: usize) -> Result<()> {
        let mut buffer = [0; MOST];
        match self {
            Self::Udp { there, .. } => {
                for _ in 0..trips {
                    let length = there.recv(&mut buffer).context("nothing was heard")?;
                    there.send(&buffer[..length])?;
                }
            }
            Self::Tcp { there } => {
                let connections = if load.protocol == Protocol::TcpConnect { trips } else { 1 };
                for _ in 0..connections {
                    let (stream, _) = there.accept().context("nobody connected")?;
                    prepare(&stream)?;
                    echo(stream, &mut buffer[..load.size], trips / connections)?;
                }
            }
        }
        Ok(())
    }

    fn ask(&self, path: &Path<'_>, load: Load, trips: usize) -> Result<Vec<Duration>> {
        match self {
            Self::Udp { here, .. } if load.protocol == Protocol::PacedUdp => paced(here, load.size, trips),
            Self::Udp { here, .. } => {
                let mut buffer = [0; MOST];
                let trip = || {
                    here.send(&buffer[..load.size])?;
                    let length = here.recv(&mut buffer).context("no answer")?;
                    ensure!(length == load.size, "an answer of {length} bytes");
                    Ok(())
                };
                timed(trips, trip)
            }
            Self::Tcp { there } => {
                let to = there.local_addr()?;
                let mut buffer = [0; MOST];
                let buffer = &mut buffer[..load.size];
                // A socket belongs to the namespace in which it was made: this thread goes there.
                path.here().enter(|| {
                    // A thread of `enter` is a new one, and inherits where its maker stays.
                    if load.protocol == Protocol::TcpConnect {
                        return timed(trips, || exchange(&mut connect(to)?, buffer));
                    }
                    let mut stream = connect(to)?;
                    timed(trips, || exchange(&mut stream, buffer))
                })
            }
        }
    }
}

fn timed(trips: usize, mut trip: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    let one = |_| {
        let began = Instant::now();
        trip()?;
        Ok(began.elapsed())
    };
    (0..trips).map(one).collect()
}

/// Requests at their times by a thread of its own; answers, which carry their number, as they come.
fn paced(here: &UdpSocket, size: usize, trips: usize) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let due = |number: usize| PACE * u32::try_from(number).unwrap_or(u32::MAX);
    thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            // By default the kernel wakes a sleeper up to 50 µs late, which would be counted as the path's.
            set_timerslack(1).context("PR_SET_TIMERSLACK")?;
            let mut buffer = [0; MOST];
            for number in 0..trips {
                thread::sleep(due(number).saturating_sub(began.elapsed()));
                buffer[..8].copy_from_slice(&number.to_be_bytes());
                here.send(&buffer[..size])?;
            }
            Ok(())
        });
        let mut taken = Vec::with_capacity(trips);
        let mut buffer = [0; MOST];
        while taken.len() < trips {
            here.recv(&mut buffer).context("no answer")?;
            let (number, _) = buffer.split_first_chunk().context("an answer without number")?;
            taken.push(began.elapsed().saturating_sub(due(usize::from_be_bytes(*number))));
        }
        joined(sending)?;
        Ok(taken)
    })
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&to, SILENCE).with_context(|| format!("no connection to {to}"))?;
    prepare(&stream)?;
    Ok(stream)
}

fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE)).context("a TCP socket's timeout")
}

fn exchange(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    stream.write_all(buffer)?;
    stream.read_exact(buffer).context("no answer")
}

fn echo(mut stream: TcpStream, buffer: &mut [u8], times: usize) -> Result<()> {
    for _ in 0..times {
        stream.read_exact(buffer).context("nothing was heard")?;
        stream.write_all(buffer)?;
    }
    Ok(())
}
