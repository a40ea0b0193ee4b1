//! A network namespace of the lab, and the way into it.
//!
//! Work happens on a thread that enters the namespace and ends there, so neither the test's own threads nor the
//! mount namespace ever change: `ip netns exec` would mount a new `/sys` and hide bpffs. A socket, and a child
//! process, belong for life to the namespace in which they were made, so `enter` needs to hold only their birth.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace that is kept alive, and found by others, through a bind mount.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    /// `None` once deleted.
    file: Mutex<Option<Arc<File>>>,
}

impl Netns {
    /// Makes a namespace with its loopback up and binds it to `path`.
    pub fn create(path: &Path) -> Result<Self> {
        File::create_new(path).with_context(|| format!("creating {}", path.display()))?;
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare of a network namespace")?;
            let none: Option<&str> = None;
            mount(Some("/proc/thread-self/ns/net"), path, none, MsFlags::MS_BIND, none)
                .with_context(|| format!("binding a network namespace to {}", path.display()))
        })?;
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let netns = Self { path: path.to_owned(), file: Mutex::new(Some(Arc::new(file))) };
        crate::process::run(&netns, "ip", &["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Where the namespace is bound: what a runtime would pass as `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a thread inside the namespace and hands back what it returns.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let file = file.ok_or_else(|| anyhow!("the namespace {} is gone", self.path.display()))?;
        inside(&file, &self.path, work)
    }

    /// The (device, inode) pair under which `/proc/*/ns/net` shows this namespace.
    pub fn identity(&self) -> Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(&self.path).with_context(|| format!("stat of {}", self.path.display()))?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Unbinds the namespace; the kernel takes it and its links away once nothing lives in it any more.
    pub fn delete(&self) -> Result<()> {
        if self.file.lock().unwrap_or_else(PoisonError::into_inner).take().is_none() {
            return Ok(());
        }
        unbind(&self.path)
    }
}

/// Runs `work` on a thread inside a namespace that somebody else keeps.
pub(crate) fn inside<T: Send>(
    file: &File,
    path: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_a_thread(|| {
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("entering {}", path.display()))?;
        work()
    })
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Errors were reported by whoever called `delete`; this is the last resort after a panic.
        drop(self.delete());
    }
}

/// Takes the bind mount at `path` away, and the file below it.
pub(crate) fn unbind(path: &Path) -> Result<()> {
    umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", path.display()))?;
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
