//! A place of its own for each test: a thread with a network and a mount namespace, a bpffs, and pods.
//!
//! Everything lives in the namespaces of the thread, so it is gone when the thread ends, also after a
//! panic. A machine that cannot run this (no root, no BPF) fails the test with a sentence.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ebpf::{
    Dataplane,
    abi::{Mode, Port, PortFlags, Stage},
    corpus::Identity,
};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
    unistd::gettid,
};

/// How long a frame may take through a veth pair: it is delivered before `send` returns, but a busy
/// machine may put it off to a kernel thread.
pub(crate) const DELIVERY: Duration = Duration::from_secs(2);

/// Endpoints for which the maps of a test are made.
pub(crate) const MAX_ENDPOINTS: u32 = 16;

/// Runs a test in fresh namespaces and passes its panic on.
pub(crate) fn in_lab(test: impl FnOnce(&Lab) + Send + 'static) {
    let outcome = thread::spawn(move || {
        let lab = Lab::enter();
        test(&lab);
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The node: this thread's namespaces, and a bpffs.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn enter() -> Lab {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("these tests need root: they make network and mount namespaces");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .expect("making the mounts of the test private");
        let dir = tempfile::tempdir().expect("a temporary directory");
        mount(Some("bpf"), dir.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .expect("these tests need BPF: mounting a bpffs");
        ip("link set lo up");
        Lab { dir }
    }

    /// The directory of the configuration, one level below the mount.
    pub(crate) fn bpf_dir(&self) -> PathBuf {
        self.dir.path().join("underpass")
    }

    pub(crate) fn open(&self) -> Dataplane {
        Dataplane::open(&self.bpf_dir(), MAX_ENDPOINTS).unwrap_or_else(|e| panic!("{}", chain(&e)))
    }

    /// A pod of its own netns with a veth pair; the host's end is named `veth<n>`.
    pub(crate) fn pod(&self, n: u8) -> Pod {
        Pod::new(n)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The mount would go with the namespace; the directory can be removed only without it.
        let _unmounted = nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A pod: a thread that keeps its netns, and the host's end of its veth.
pub(crate) struct Pod {
    pub(crate) id: Identity,
    pub(crate) slot: u32,
    pub(crate) ifname: String,
    pub(crate) ifindex: u32,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

type Order = Box<dyn FnOnce() + Send>;

impl Pod {
    fn new(n: u8) -> Pod {
        let id = Identity::numbered(n);
        let (orders, inbox) = mpsc::channel::<Order>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a netns for a pod");
            tell.send(gettid()).expect("the test waits");
            for order in inbox {
                order();
            }
        });
        let tid = told.recv().expect("the pod's thread lives");
        let ifname = format!("veth{n}");
        let [a, b, c, d, e, f] = id.mac;
        ip(&format!(
            "link add {ifname} type veth peer name eth0 netns {tid} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
        ));
        let ifindex = if_nametoindex(ifname.as_str()).expect("the veth was just made");
        let pod = Pod { id, slot: u32::from(n), ifname, ifindex, orders: Some(orders), thread: Some(thread) };
        // Nothing speaks by itself: neither end has an IPv6 address, and the host's has no address at all.
        fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", pod.ifname), "1")
            .expect("sysctl of the veth");
        pod.run(|| {
            fs::write("/proc/thread-self/root/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").ok();
            ip("link set eth0 up");
        });
        ip(&format!("link set {} up", pod.ifname));
        pod
    }

    /// Runs something in the pod's netns and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let order: Order = Box::new(move || {
            let _sent = tell.send(work());
        });
        self.orders.as_ref().expect("open until drop").send(order).expect("the pod's thread lives");
        told.recv().expect("the work in the pod ends without a panic")
    }

    /// Sends a frame out of the pod, as it is.
    pub(crate) fn send(&self, frame: &[u8]) {
        let frame = frame.to_vec();
        self.run(move || packet::send("eth0", &frame));
    }

    /// Starts catching what reaches the pod.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.run(|| packet::socket("eth0")))
    }

    /// Its entry: dual-stack, mode full, gate open.
    pub(crate) fn port(&self) -> Port {
        Port {
            slot: self.slot,
            generation: 1,
            bridge: 1,
            vlan: 0,
            mac: self.id.mac,
            mode: Mode::FULL,
            stage: Stage::OPEN,
            flags: PortFlags::NONE,
            mtu: 1500,
            ip4: self.id.ip4,
            ip6: self.id.ip6,
            ll6: self.id.ll6,
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// A packet socket in a pod.
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// True once this very frame has arrived.
    pub(crate) fn hears(&self, frame: &[u8]) -> bool {
        let deadline = Instant::now() + DELIVERY;
        while Instant::now() < deadline {
            match packet::receive(self.0.as_raw_fd()) {
                Some(heard) if heard == frame => return true,
                _ => {}
            }
        }
        false
    }

    /// Everything that is waiting now.
    pub(crate) fn drain(&self) -> usize {
        std::iter::from_fn(|| packet::receive(self.0.as_raw_fd())).count()
    }
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DELIVERY;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DELIVERY:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `ip` in the namespaces of this thread.
pub(crate) fn ip(args: &str) {
    run("ip", args);
}

/// Runs a program in the namespaces of this thread.
pub(crate) fn run(program: &str, args: &str) {
    let done = Command::new(program)
        .args(args.split_whitespace())
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed by these tests: {e}"));
    assert!(done.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Enters the netns of the calling process's first thread again: for looking from outside.
pub(crate) fn outside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(move || {
        let net = fs::File::open(Path::new("/proc/self/ns/net")).expect("the process has a netns");
        setns(net, CloneFlags::CLONE_NEWNET).expect("back to the first netns");
        work()
    })
    .join()
    .expect("the work outside ends without a panic")
}

/// Packet sockets. nix has no way to make their address, so this is the one place with raw calls.
mod packet {
    #![expect(unsafe_code, reason = "sockaddr_ll has no safe constructor in nix")]

    use std::{
        io, mem,
        os::fd::{AsRawFd as _, OwnedFd, RawFd},
    };

    use nix::{
        libc,
        net::if_::if_nametoindex,
        sys::{
            socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, sockopt},
            time::{TimeVal, TimeValLike as _},
        },
    };

    /// A frame is there at once or not at all, but the caller asks again until its deadline.
    const RECEIVE_MS: i64 = 20;

    pub(super) fn socket(ifname: &str) -> OwnedFd {
        let fd = nix::sys::socket::socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .expect("a packet socket");
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(RECEIVE_MS)).expect("a timeout");
        let address = address(ifname);
        // SAFETY: the address is a whole sockaddr_ll and its length is given.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length()) };
        assert_eq!(bound, 0, "binding to {ifname}: {}", io::Error::last_os_error());
        fd
    }

    pub(super) fn send(ifname: &str, frame: &[u8]) {
        let fd = nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .expect("a packet socket");
        let address = address(ifname);
        // SAFETY: frame and address are valid for the lengths given.
        let sent = unsafe {
            libc::sendto(
                fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                length(),
            )
        };
        assert_eq!(usize::try_from(sent), Ok(frame.len()), "sending: {}", io::Error::last_os_error());
    }

    pub(super) fn receive(fd: RawFd) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let len = recv(fd, &mut frame, MsgFlags::empty()).ok()?;
        frame.truncate(len);
        Some(frame)
    }

    fn address(ifname: &str) -> libc::sockaddr_ll {
        // SAFETY: all zeroes is a value of this plain C struct.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small constant");
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).expect("a small constant").to_be();
        let ifindex = if_nametoindex(ifname).expect("the device is there");
        address.sll_ifindex = i32::try_from(ifindex).expect("an ifindex is positive");
        address
    }

    fn length() -> libc::socklen_t {
        libc::socklen_t::try_from(mem::size_of::<libc::sockaddr_ll>()).expect("a small struct")
    }
}
