//! The programs without devices, for tests and benches: runs on given frames, and sizes.
//!
//! Nothing here is needed to run an agent.

use aya::programs::{TestRun as _, TestRunOptions};

use nix::libc;

use super::{Dataplane, Hooks, OBJECT, program, program_name};
use crate::{Error, Role, error::Errno};

/// Size of `struct __sk_buff` up to the last field that kernel 5.10 knows.
const CONTEXT_LEN: usize = 176;
/// Where `ifindex` lies in it.
const IFINDEX_AT: usize = 40;
/// How often a run is begun anew that the kernel broke off: it does so for any work that waits for the thread.
const RETRIES: usize = 8;

/// What a test run tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the program answered: -1 go on, 2 drop, 7 redirect.
    pub verdict: i32,
    /// Mean time of one run in nanoseconds.
    pub mean_ns: u64,
}

impl Hooks {
    /// Runs a program on a frame as if it came from `ifindex`, which must exist in the caller's netns.
    ///
    /// The kernel refuses frames below 14 bytes, and IPv4 and IPv6 frames shorter than their fixed header;
    /// the outer tag beside the frame cannot be given.
    pub fn test_run(&self, role: Role, frame: &[u8], ifindex: u32, repeat: u32) -> Result<TestRun, Error> {
        let mut context = [0; CONTEXT_LEN];
        context[IFINDEX_AT..IFINDEX_AT + 4].copy_from_slice(&ifindex.to_ne_bytes());
        let object = self.object();
        let program = program(&object, role)?;
        let run = || {
            program.test_run(TestRunOptions {
                data_in: Some(frame),
                ctx_in: Some(&context),
                repeat: repeat.max(1),
                ..TestRunOptions::default()
            })
        };
        let mut result = run();
        for _ in 0..RETRIES {
            match &result {
                Err(e) if e.errno() == Some(libc::EINTR) => result = run(),
                _ => break,
            }
        }
        let result = result.map_err(|source| Error::TestRun {
            program: program_name(role),
            len: frame.len(),
            source: Box::new(source),
        })?;
        let mean_ns = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(TestRun { verdict: result.return_value.cast_signed(), mean_ns })
    }

    /// How many instructions the verifier walked for a program (kernels from 5.16 tell).
    pub fn verified_instructions(&self, role: Role) -> Result<Option<u32>, Error> {
        let object = self.object();
        let program = program(&object, role)?;
        let info = program
            .info()
            .map_err(|source| Error::LoadProgram { program: program_name(role), source: Box::new(source) })?;
        Ok(info.verified_instruction_count())
    }
}

impl Dataplane {
    /// Bytes of the embedded object.
    pub fn object_len() -> usize {
        OBJECT.len()
    }
}
