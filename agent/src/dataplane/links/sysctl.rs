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
    ensure(proc, ifname, "disable_ipv6", "1")
}

/// What the pod's end must have before its link goes up (design §4): nothing that listens to a router unless asked.
pub(super) fn prepare_pod_end(proc: &ProcRoot, ifname: &str, mode: Ipv6Mode) -> Result<(), LinkError> {
    let (disable, listen) = match mode {
        Ipv6Mode::Off => ("1", "0"),
        Ipv6Mode::Static => ("0", "0"),
        Ipv6Mode::Slaac => ("0", "1"),
    };
    ensure(proc, ifname, "accept_ra", listen)?;
    ensure(proc, ifname, "autoconf", listen)?;
    ensure(proc, ifname, "disable_ipv6", disable)
}

/// A link without IPv6 (a kernel booted with `ipv6.disable=1`, an MTU below the 1,280 bytes that IPv6 needs) has none
/// of these files, and nothing that they could keep quiet. Whoever wants an IPv6 address there is told when it is set.
fn ensure(proc: &ProcRoot, ifname: &str, key: &str, value: &str) -> Result<(), LinkError> {
    let path = proc.join(format!("sys/net/ipv6/conf/{ifname}/{key}"));
    match fs::read_to_string(&path) {
        Ok(current) if current.trim_end() == value => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_sysctls(proc) => Ok(()),
        Ok(_) | Err(_) => fs::write(&path, value).map_err(|source| error(path, value, source)),
    }
}

/// Whether `proc` is a procfs at all: a wrong path must not pass for a kernel without IPv6.
fn has_sysctls(proc: &ProcRoot) -> bool {
    proc.join("sys/net/ipv4/conf/all").exists()
}

fn error(path: PathBuf, value: &str, source: io::Error) -> LinkError {
    LinkError::Sysctl { path, value: value.to_owned(), source }
}
