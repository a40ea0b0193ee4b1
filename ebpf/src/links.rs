//! Taking a TCX link off its device, at once.
//!
//! Removing the pin alone takes it off later: the kernel drops the last reference of a pinned link in a
//! work queue after an RCU grace period (kernel/bpf/inode.c, `bpf_free_inode`). Between the two a program
//! of ours would still see frames after `detach` has returned. aya 0.14 has no call for it, hence the two
//! raw ones.

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper for these two commands in aya 0.14")]

use std::{
    ffi::CString,
    io,
    mem::size_of,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::libc;

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that BPF_OBJ_GET reads.
#[repr(C)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part that BPF_LINK_DETACH reads.
#[repr(C)]
struct LinkAttr {
    fd: RawFd,
}

/// Detaches the link pinned at `path` from its device. A link without a device is detached already.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    match bpf(BPF_LINK_DETACH, &LinkAttr { fd: link.as_raw_fd() }) {
        Err(e) if e.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        other => other.map(drop),
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<RawFd> {
    // SAFETY: `attr` is valid for its size, and both commands only read it and what it points to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}
