//! Sysctls of one interface, level-triggered: read, and written only where the value differs.
//!
//! The functions act on the namespace of the calling thread: they run inside [`Netns::run`](super::Netns::run) or its
//! like. They touch `conf/<interface>` only, never `all` or `default`, and never `rp_filter`.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Ipv6Mode, LinkError};
use crate::dataplane::netns::ProcRoot;

/// Makes the host end silent on IPv6: no link-local address, no DAD, no MLD of its own.
pub(super) fn silence_host_end(proc: &ProcRoot, ifname: &str) -> Result<(), LinkError> {
    ensure(proc, ifname, "disable_ipv6", "1", Absent::Fine)
}

/// What the pod's end must have before its link goes up (design §4): nothing that listens to a router unless asked.
pub(super) fn prepare_pod_end(proc: &ProcRoot, ifname: &str, mode: Ipv6Mode) -> Result<(), LinkError> {
    let (disable, listen, absent) = match mode {
        Ipv6Mode::Off => ("1", "0", Absent::Fine),
        Ipv6Mode::Static => ("0", "0", Absent::Error),
        Ipv6Mode::Slaac => ("0", "1", Absent::Error),
    };
    ensure(proc, ifname, "accept_ra", listen, absent)?;
    ensure(proc, ifname, "autoconf", listen, absent)?;
    ensure(proc, ifname, "disable_ipv6", disable, absent)
}

/// What a missing file means: a kernel booted with `ipv6.disable=1` has none of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Fine,
    Error,
}

fn ensure(proc: &ProcRoot, ifname: &str, key: &str, value: &str, absent: Absent) -> Result<(), LinkError> {
    let path = proc.join(format!("sys/net/ipv6/conf/{ifname}/{key}"));
    match fs::read_to_string(&path) {
        Ok(current) if current.trim_end() == value => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && absent == Absent::Fine => Ok(()),
        Ok(_) | Err(_) => fs::write(&path, value).map_err(|source| error(path, value, source)),
    }
}

fn error(path: PathBuf, value: &str, source: io::Error) -> LinkError {
    LinkError::Sysctl { path, value: value.to_owned(), source }
}
