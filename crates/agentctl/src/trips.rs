//! Round trips between two network namespaces: one request under way at a time, and what each took.
//!
//! Sockets are born inside a namespace, by a thread that enters it and ends, and used from outside. Neither end is bound
//! to a processor: what is measured is what the pods themselves would see, the waking of another core included.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// Bytes of a request: it carries its number, and fits a datagram of the usual MTU.
pub(crate) const SIZES: RangeInclusive<i64> = 8..=1400;
const NUMBER: usize = size_of::<u64>();
const LARGEST: usize = 1400;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many requests in a row without an answer: nobody is there.
const LOST_IN_A_ROW: u64 = 3;
/// Not counted: the first ones wait for neighbours to be found and flows to be made.
const WARM_UP: u64 = 100;
/// How long the far end waits before it looks whether it is still needed.
const SLICE: Duration = Duration::from_millis(50);

/// One side of the path.
pub(crate) struct End {
    netns: File,
    ip: IpAddr,
}

#[derive(Clone, Copy)]
pub(crate) enum Load {
    Udp,
    /// Over one connection.
    Tcp,
}

/// What was measured.
pub(crate) struct Trips {
    /// Those that came back.
    pub(crate) took: Vec<Duration>,
    /// All that were sent, warming up included.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TripError {
    #[error("the network namespace {netns} cannot be entered")]
    Netns { netns: String, source: io::Error },
    #[error("{to} does not answer {what}: does something inside the pods drop it?")]
    NoAnswer { to: IpAddr, what: &'static str },
    #[error("{what}")]
    Socket { what: &'static str, source: io::Error },
}

impl End {
    /// `netns` as the runtime named it to the agent: a path here or, seen from a container, on the node.
    pub(crate) fn open(netns: &str, ip: IpAddr) -> Result<Self, TripError> {
        let opened = open_here(Path::new(netns)).or_else(|_| open_on_node(Path::new(netns)));
        let netns =
            opened.map_err(|errno| TripError::Netns { netns: netns.to_owned(), source: errno.into() })?;
        Ok(Self { netns, ip })
    }

    /// A socket of this end.
    fn socket<T: Send>(
        &self,
        what: &'static str,
        make: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, TripError> {
        let make = || {
            setns(&self.netns, CloneFlags::CLONE_NEWNET)?;
            make()
        };
        let panicked = |_| Err(io::Error::other("the thread inside the network namespace panicked"));
        let made = thread::scope(|scope| scope.spawn(make).join().unwrap_or_else(panicked));
        made.map_err(failed(what))
    }
}

/// Sends requests of `size` bytes (see [`SIZES`]) from one end to the other for `time`.
pub(crate) fn measure(
    load: Load,
    from: &End,
    to: &End,
    size: usize,
    time: Duration,
) -> Result<Trips, TripError> {
    match load {
        Load::Udp => udp(from, to, size, time),
        Load::Tcp => tcp(from, to, size, time),
    }
}

fn udp(from: &End, to: &End, size: usize, time: Duration) -> Result<Trips, TripError> {
    let bind = |end: &End| {
        let place = SocketAddr::new(end.ip, 0);
        let socket = end.socket("a UDP socket", move || UdpSocket::bind(place))?;
        let address = socket.local_addr().map_err(failed("a UDP socket's port"))?;
        Ok((socket, address))
    };
    let ((here, near), (there, far)) = (bind(from)?, bind(to)?);
    here.connect(far).and_then(|()| there.connect(near)).map_err(failed("connecting UDP sockets"))?;
    here.set_read_timeout(Some(PATIENCE)).map_err(failed("SO_RCVTIMEO"))?;
    there.set_read_timeout(Some(SLICE)).map_err(failed("SO_RCVTIMEO"))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; LARGEST];
            while !done.load(Ordering::Relaxed) {
                // What cannot be answered is counted as lost where it is waited for.
                if let Ok(length) = there.recv(&mut buffer) {
                    drop(buffer.get(..length).map(|request| there.send(request)));
                }
            }
        });
        let trips = run(to.ip, "UDP", size, time, |request, answer| {
            here.send(request)?;
            // A late answer to an earlier request is none to this one.
            while here.recv(answer)? != request.len() || answer.get(..NUMBER) != request.get(..NUMBER) {}
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        trips
    })
}

fn tcp(from: &End, to: &End, size: usize, time: Duration) -> Result<Trips, TripError> {
    let place = SocketAddr::new(to.ip, 0);
    let listener = to.socket("a TCP socket", move || TcpListener::bind(place))?;
    let far = listener.local_addr().map_err(failed("a TCP socket's port"))?;
    let connected = from.socket("a TCP connection", move || TcpStream::connect_timeout(&far, PATIENCE));
    let mut here = connected.map_err(|error| match error {
        TripError::Socket { source, .. } if is_silence(&source) => {
            TripError::NoAnswer { to: to.ip, what: "TCP" }
        }
        other => other,
    })?;
    // Whoever has connected waits to be accepted already.
    let (mut there, _) = listener.accept().map_err(failed("accepting a TCP connection"))?;
    for stream in [&here, &there] {
        stream.set_nodelay(true).map_err(failed("TCP_NODELAY"))?;
    }
    here.set_read_timeout(Some(PATIENCE)).map_err(failed("SO_RCVTIMEO"))?;
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; size];
            // Ends with the connection.
            while there.read_exact(&mut buffer).and_then(|()| there.write_all(&buffer)).is_ok() {}
        });
        let trips = run(to.ip, "TCP", size, time, |request, answer| {
            here.write_all(request)?;
            here.read_exact(answer)
        });
        drop(here);
        trips
    })
}

fn run(
    to: IpAddr,
    what: &'static str,
    size: usize,
    time: Duration,
    mut exchange: impl FnMut(&[u8], &mut [u8]) -> io::Result<()>,
) -> Result<Trips, TripError> {
    let (mut request, mut answer) = (vec![0; size], vec![0; size]);
    let mut trips = Trips { took: Vec::new(), sent: 0, lost: 0 };
    let (mut in_a_row, began) = (0, Instant::now());
    while began.elapsed() < time {
        for (byte, number) in request.iter_mut().zip(trips.sent.to_be_bytes()) {
            *byte = number;
        }
        let start = Instant::now();
        let outcome = exchange(&request, &mut answer);
        let took = start.elapsed();
        trips.sent += 1;
        match outcome {
            Ok(()) => {
                in_a_row = 0;
                if trips.sent > WARM_UP {
                    trips.took.push(took);
                }
            }
            Err(error) if is_silence(&error) => {
                trips.lost += 1;
                in_a_row += 1;
                if in_a_row == LOST_IN_A_ROW {
                    return Err(TripError::NoAnswer { to, what });
                }
            }
            Err(source) => return Err(TripError::Socket { what: "a round trip", source }),
        }
    }
    Ok(trips)
}

/// SO_RCVTIMEO ends a read with EAGAIN (socket(7)), a connection with ETIMEDOUT.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> TripError {
    move |source| TripError::Socket { what, source }
}

fn open_here(path: &Path) -> Result<File, Errno> {
    is_namespace(open(path, FLAGS, Mode::empty())?.into())
}

/// The node's first process has the node's mount namespace; its absolute links count from there (openat2, Linux 5.6).
fn open_on_node(path: &Path) -> Result<File, Errno> {
    let root = open("/proc/1/root", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new().flags(FLAGS).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    is_namespace(openat2(&root, path, how)?.into())
}

/// A mount point whose mount is not seen here is an empty file.
fn is_namespace(file: File) -> Result<File, Errno> {
    if fstatfs(&file)?.filesystem_type() == NSFS_MAGIC { Ok(file) } else { Err(Errno::ENOENT) }
}

const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);
