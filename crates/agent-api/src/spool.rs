//! The spool: where the shim leaves a DEL or a GC while the agent is away.
//!
//! A directory beside the socket, one file a call, each the protobuf encoding of one `cni.v1.Start`. The shim writes a file
//! under a name that begins with a dot (`O_EXCL`, mode 0600) and renames it when it is whole, so a reader that skips
//! dot files never meets half a call. Names sort by the time of the call. This module only names things.

use std::path::{Path, PathBuf};

/// Name of the spool, the socket's sibling.
pub const SPOOL_DIR: &str = "spool";

/// Most files in the spool, unfinished ones included: sixteen DELs for each of 250 pods. Above it the shim answers
/// "try again later" instead.
pub const SPOOL_MAX_FILES: usize = 4096;

/// Most bytes of one file: a DEL is some KiB, a GC list of 500 attachments some 50 KiB.
pub const SPOOL_MAX_BYTES: usize = 64 << 10;

/// The directory in which the shim leaves calls: `spool` beside the socket.
pub fn spool_dir(socket: &Path) -> PathBuf {
    socket.with_file_name(SPOOL_DIR)
}

/// Name of the finished file for a call made at `boottime_ns` by the shim with process id `pid`.
pub fn spool_file_name(boottime_ns: u64, pid: u32) -> String {
    format!("{boottime_ns:020}-{pid}{SUFFIX}")
}

/// Whether a name in the spool is that of a finished file.
pub fn is_spool_file(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(SUFFIX)
}

const SUFFIX: &str = ".start";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_is_the_sibling_of_the_socket() {
        assert_eq!(spool_dir(Path::new("/run/x/agent.sock")), Path::new("/run/x/spool"));
    }

    #[test]
    fn names_sort_by_time() {
        let (early, late) = (spool_file_name(999, 7), spool_file_name(1_000, 1));
        assert!(early < late);
        assert!(is_spool_file(&early));
        assert!(!is_spool_file(&format!(".{early}")));
    }
}
