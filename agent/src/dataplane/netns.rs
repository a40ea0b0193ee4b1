//! A network namespace, held by a descriptor, and work done inside it.
//!
//! Owns: descriptors of namespaces, and the short-lived threads that enter them. A thread that called `setns` never
//! goes back to a pool: it ends with its work, so no other work can find itself in a pod's namespace.
//!
//! Must not: keep a namespace alive longer than an endpoint needs it, or tell namespaces apart by path or inode alone.
//! A namespace is who it is by (device, inode) *while a descriptor is open*; after the last one is closed, the kernel
//! reuses the inode at once. rtnetlink's own `NetworkNamespace` is not used: it forks inside a tokio process.
//!
//! Files under `/proc/sys/net` show the namespace of the thread that opens them, through any mount of procfs, so a
//! sysctl of a pod is written from a thread inside the pod's namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use tokio::sync::oneshot;

/// Where procfs of the host is mounted: `/proc`, or `/host/proc` in a container, whose own `/proc/sys` is read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot(PathBuf);

impl ProcRoot {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// `<proc>/<relative>`; `relative` is written without a leading slash.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self::new("/proc")
    }
}

/// Which namespace it is: device and inode of its nsfs file. Holds only while a descriptor of it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId {
    pub device: u64,
    pub inode: u64,
}

/// An open network namespace. Clones share the descriptor.
#[derive(Clone, Debug)]
pub struct Netns {
    file: Arc<OwnedFd>,
    id: NetnsId,
    path: Arc<Path>,
}

/// Why a namespace could not be opened or worked in.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error("open network namespace {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a network namespace", path.display())]
    NotNetns { path: PathBuf },
    #[error("setns into network namespace {}", path.display())]
    Enter {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("start a thread for network namespace {}", path.display())]
    Thread {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("work in network namespace {} panicked", path.display())]
    Panicked { path: PathBuf },
    #[error("work in network namespace {} did not end within {after:?}", path.display())]
    Timeout { path: PathBuf, after: Duration },
    #[error("open a netlink socket in network namespace {}", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Netns {
    /// Opens the namespace at `path`, as this process sees it.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let file = open(path, OPEN_FLAGS, Mode::empty()).map_err(|errno| open_error(path, errno))?;
        Self::from_file(file, path)
    }

    /// Opens `cni_netns` as the process `peer` sees it.
    ///
    /// The runtime's path means something in the runtime's mount namespace, which the shim shares; the agent's may be
    /// another. Works only while `peer` lives: it is called at the start of the call, and the descriptor is kept.
    pub fn open_of_peer(
        proc: &ProcRoot,
        peer: nix::unistd::Pid,
        cni_netns: &Path,
    ) -> Result<Self, NetnsError> {
        let root = proc.join(format!("{peer}/root"));
        let relative: PathBuf = cni_netns.components().filter(|c| !matches!(c, Component::RootDir)).collect();
        // Messages show the path as the caller wrote it: ours means nothing to it.
        let file = open_below(&root, &relative, &root.join(&relative))
            .map_err(|errno| open_error(cni_netns, errno))?;
        Self::from_file(file, cni_netns)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Whether both are the same namespace. Both are open here, so their inodes cannot have been reused.
    pub fn same_as(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a new thread inside the namespace and blocks the caller until it ends.
    pub fn run<T, F>(&self, work: F) -> Result<T, NetnsError>
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        thread::scope(|scope| {
            let thread = thread_builder("netns")
                .spawn_scoped(scope, || self.enter().map(|()| work()))
                .map_err(|source| NetnsError::Thread { path: self.owned_path(), source })?;
            thread.join().unwrap_or_else(|_| Err(NetnsError::Panicked { path: self.owned_path() }))
        })
    }

    /// Runs `work` on a new thread inside the namespace; the calling task waits, its thread does not.
    ///
    /// Work that outlives `deadline` is left to end by itself: a thread inside a system call cannot be stopped.
    pub async fn call<T, F>(&self, deadline: Duration, work: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // The receiver is gone only if the deadline passed: then nobody wants the outcome.
        self.spawn("netns", move |entered| drop(reply.send(entered.map(|()| work()))))?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(NetnsError::Panicked { path: self.owned_path() }),
            Err(_) => Err(NetnsError::Timeout { path: self.owned_path(), after: deadline }),
        }
    }

    /// Starts `work` on a new thread called `name` that has entered the namespace, or has not: `work` is told.
    pub fn spawn<F>(&self, name: &str, work: F) -> Result<(), NetnsError>
    where
        F: FnOnce(Result<(), NetnsError>) + Send + 'static,
    {
        let netns = self.clone();
        thread_builder(name)
            .spawn(move || work(netns.enter()))
            .map(drop)
            .map_err(|source| NetnsError::Thread { path: self.owned_path(), source })
    }

    fn from_file(file: OwnedFd, path: &Path) -> Result<Self, NetnsError> {
        let not_netns = || NetnsError::NotNetns { path: path.to_owned() };
        let kind = fstatfs(&file).map_err(|errno| open_error(path, errno))?.filesystem_type();
        if kind != NSFS_MAGIC {
            return Err(not_netns());
        }
        let meta = File::from(file);
        let stat = meta.metadata().map_err(|source| NetnsError::Open { path: path.to_owned(), source })?;
        let netns = Self {
            id: NetnsId { device: stat.dev(), inode: stat.ino() },
            file: Arc::new(meta.into()),
            path: path.into(),
        };
        // Other kinds of namespace are nsfs files too. NS_GET_NSTYPE is an ioctl, which needs unsafe code; `setns`
        // with the expected kind answers EINVAL for any other.
        match netns.run(|| ()) {
            Err(NetnsError::Enter { source, .. }) if source.raw_os_error() == Some(Errno::EINVAL as i32) => {
                Err(not_netns())
            }
            outcome => outcome.map(|()| netns),
        }
    }

    fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NetnsError::Enter { path: self.owned_path(), source: errno.into() })
    }

    fn owned_path(&self) -> PathBuf {
        self.path.to_path_buf()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Opens `relative` below the directory `root`, whose absolute links count from `root`.
///
/// A plain open of `/proc/PID/root/var/run/netns/x` follows `/var/run -> /run` into the *caller's* root: hence
/// openat2 (Linux 5.6) with `RESOLVE_IN_ROOT`. That one refuses the magic links of procfs (`/proc/PID/ns/net`, the
/// form some runtimes use), and old seccomp profiles refuse openat2: there the plain open is right or the best.
fn open_below(root: &Path, relative: &Path, whole: &Path) -> Result<OwnedFd, Errno> {
    let dir = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new().flags(OPEN_FLAGS).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    match openat2(&dir, relative, how) {
        Err(Errno::ELOOP | Errno::EXDEV | Errno::ENOSYS | Errno::EPERM) => {
            open(whole, OPEN_FLAGS, Mode::empty())
        }
        outcome => outcome,
    }
}

fn open_error(path: &Path, errno: Errno) -> NetnsError {
    NetnsError::Open { path: path.to_owned(), source: errno.into() }
}

fn thread_builder(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK)
}

/// Non-blocking, because the path comes from outside and could name a FIFO.
const OPEN_FLAGS: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Bytes of stack of a thread in a namespace: the work is one small runtime and netlink messages of some KiB.
const STACK: usize = 512 * 1024;

#[cfg(test)]
pub(crate) mod tests;
