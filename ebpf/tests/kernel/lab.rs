//! A place of its own for each test: a thread with a network and a mount namespace, a bpffs, and pods.
//!
//! Everything lives in the namespaces of the thread, so it is gone when the thread ends, also after a
//! panic. A machine that cannot run this (no root, no BPF) fails the test with a sentence.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ebpf::{
    AttachKind, Dataplane,
    abi::{Mode, Port, PortFlags, Stage},
    corpus::Identity,
};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
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
        open_at(&self.bpf_dir(), MAX_ENDPOINTS)
    }

    /// A second agent with maps and programs of its own: what it attaches is foreign to the first.
    pub(crate) fn open_foreign(&self) -> Dataplane {
        open_at(&self.dir.path().join("foreign"), MAX_ENDPOINTS)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The mount would go with the namespace; the directory can be removed only without it.
        let _unmounted = nix::mount::umount2(self.dir.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Sends a frame out of a device of the node, as the bridge does.
pub(crate) fn send(ifname: &str, frame: &[u8]) {
    packet::Sender::open(ifname).send(frame);
}

pub(crate) fn open_at(dir: &Path, max_endpoints: u32) -> Dataplane {
    Dataplane::open(dir, max_endpoints).unwrap_or_else(|e| panic!("{}", chain(&e)))
}

/// How programs hang on devices of this kernel.
pub(crate) fn native_kind() -> AttachKind {
    let release = nix::sys::utsname::uname().expect("uname has no way to fail");
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 6) { AttachKind::Tcx } else { AttachKind::Clsact }
}

/// A pod: a thread that keeps its netns, and the host's end of its veth.
pub(crate) struct Pod {
    pub(crate) id: Identity,
    pub(crate) slot: u32,
    pub(crate) ifname: String,
    pub(crate) ifindex: u32,
    sender: packet::Sender,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

type Order = Box<dyn FnOnce() + Send>;

impl Pod {
    /// A pod of its own netns with a veth pair; the node's end is named `veth<n>`.
    pub(crate) fn new(n: u8) -> Pod {
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
        let [first, middle @ .., last] = id.mac;
        assert_eq!((first, middle), (2, [0; 4]), "the identities of the lab differ in their last byte only");
        ip(&format!(
            "link add {ifname} type veth peer name eth0 netns {tid} address 02:00:00:00:00:{last:02x}"
        ));
        let ifindex = if_nametoindex(ifname.as_str()).expect("the veth was just made");
        // Nothing speaks by itself: neither end has an IPv6 address, and the host's has no address at all.
        fs::write(format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6"), "1").expect("sysctl of the veth");
        let sender = order(&orders, || {
            fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").expect("sysctl of the pod");
            ip("link set eth0 up");
            packet::Sender::open("eth0")
        });
        ip(&format!("link set {ifname} up"));
        // The kernel opens the queues of a veth a moment after its carrier is there; frames before are lost.
        order(&orders, || await_up("eth0"));
        await_up(&ifname);
        Pod { id, slot: u32::from(n), ifname, ifindex, sender, orders: Some(orders), thread: Some(thread) }
    }

    /// Runs something in the pod's netns and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        order(self.orders.as_ref().expect("open until drop"), work)
    }

    /// Sends a frame out of the pod, as it is.
    pub(crate) fn send(&self, frame: &[u8]) {
        self.sender.send(frame);
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

fn order<T: Send + 'static>(orders: &mpsc::Sender<Order>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let order: Order = Box::new(move || {
        let _sent = tell.send(work());
    });
    orders.send(order).expect("the pod's thread lives");
    told.recv().expect("the work in the pod ends without a panic")
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
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

fn await_up(ifname: &str) {
    let shown = || Command::new("ip").args(["-o", "link", "show", ifname]).output().expect("ip ran before");
    eventually("the veth is up", || String::from_utf8_lossy(&shown().stdout).contains("state UP"));
}

/// Runs `ip` in the namespaces of this thread.
pub(crate) fn ip(args: &str) {
    run("ip", args);
}

/// Runs a program in the namespaces of this thread; what it printed.
pub(crate) fn run(program: &str, args: &str) -> String {
    let done = Command::new(program)
        .args(args.split_whitespace())
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed by these tests: {e}"));
    assert!(done.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Packet sockets. nix has no way to make their address, so this is the one place with raw calls.
mod packet {
    #![expect(unsafe_code, reason = "sockaddr_ll has no safe constructor in nix")]

    use std::{
        io, mem,
        os::fd::{AsRawFd as _, OwnedFd},
    };

    use nix::{
        libc,
        net::if_::if_nametoindex,
        sys::socket::{AddressFamily, SockFlag, SockType, socket},
    };

    /// A socket that sends out of one device. It is kept, since closing one takes an RCU grace period.
    pub(super) struct Sender {
        fd: OwnedFd,
        address: libc::sockaddr_ll,
    }

    impl Sender {
        /// Opens it for a device of this thread's netns; any thread may send.
        pub(super) fn open(ifname: &str) -> Sender {
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
                .expect("these tests need CAP_NET_RAW: opening a packet socket");
            Sender { fd, address: address(ifname) }
        }

        pub(super) fn send(&self, frame: &[u8]) {
            // SAFETY: frame and address are valid for the lengths given.
            let sent = unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const self.address).cast(),
                    length(),
                )
            };
            assert_eq!(usize::try_from(sent), Ok(frame.len()), "sending: {}", io::Error::last_os_error());
        }
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
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("a small struct")
    }
}
