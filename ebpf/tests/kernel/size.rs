//! How large the programs are. How fast they are is measured by the benchmark `guard`.

use std::{io::Write as _, time::Instant};

use ebpf::{Dataplane, Role};

use crate::lab::in_lab;

/// Kernels before 5.2 took 4,096 instructions, later ones walk a million. A tenth leaves room for the
/// verifiers of older kernels, which prune less: 5.10 walks up to three times as far.
const MAX_VERIFIED: u32 = 100_000;

#[test]
fn the_verifier_walks_few_instructions() {
    in_lab(|lab| {
        let begin = Instant::now();
        let dataplane = lab.open();
        let mut out = std::io::stdout();
        writeln!(out, "opened in {:?}", begin.elapsed()).unwrap();
        writeln!(out, "object {} bytes", Dataplane::object_len()).unwrap();
        for role in Role::ALL {
            let walked = dataplane.hooks.verified_instructions(role).unwrap();
            writeln!(out, "{role}: {walked:?} instructions verified").unwrap();
            assert!(walked.is_none_or(|n| n < MAX_VERIFIED), "{role}: {walked:?}");
        }
    });
}
