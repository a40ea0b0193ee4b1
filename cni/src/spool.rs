//! Leaves a DEL or GC for an agent that is away.
//!
//! Owns the writing side of the spool (`agent_api::spool_dir`): an unfinished file begins with a dot and is renamed when
//! it is whole. No fsync: what a DEL takes away does not survive a power cut either, but for IPAM's files, and those the
//! runtime's next GC returns.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process;

use agent_api::cni::v1::Start;
use agent_api::{SPOOL_MAX_BYTES, SPOOL_MAX_FILES};
use prost::Message as _;

use crate::failure::{Failure, TRY_AGAIN};

/// Writes the call to the spool beside the agent's socket.
pub(crate) fn leave(start: &Start) -> Result<(), Failure> {
    let dir = agent_api::spool_dir(&agent_api::socket_path());
    let bytes = start.encode_to_vec();
    if bytes.len() > SPOOL_MAX_BYTES {
        let size = bytes.len();
        return Err(refused(format!("the call has {size} bytes, the spool takes {SPOOL_MAX_BYTES}")));
    }
    let trouble = |what: &str, error: &io::Error| refused(format!("{what} {}: {error}", dir.display()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| trouble("cannot make spool", &error))?;
    let files = fs::read_dir(&dir).map_err(|error| trouble("cannot list spool", &error))?.count();
    if files >= SPOOL_MAX_FILES {
        return Err(refused(format!("spool {} holds {files} calls already", dir.display())));
    }
    write(&dir, start.boottime_ns, &bytes).map_err(|error| trouble("cannot write to spool", &error))
}

fn write(dir: &Path, boottime_ns: u64, bytes: &[u8]) -> io::Result<()> {
    let name = agent_api::spool_file_name(boottime_ns, process::id());
    let unfinished = dir.join(format!(".{name}"));
    // The pid may be another container's too; the nanoseconds then still differ, and O_EXCL proves it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let finished = file.write_all(bytes).and_then(|()| fs::rename(&unfinished, dir.join(name)));
    if finished.is_err() {
        // The first error is the one to report; a leftover dot file only takes room.
        drop(fs::remove_file(&unfinished));
    }
    finished
}

fn refused(details: String) -> Failure {
    Failure::new(TRY_AGAIN, "the call could not be left for later").because(details)
}
