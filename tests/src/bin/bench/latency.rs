//! Round trips between two namespaces over every path that there is, in turn: a bare veth pair, a Linux bridge, two
//! guarded ends without any bridge, two plain ports on OVS (what ovs-cni gives), two guarded pods through OVS, two
//! accelerated pods.
//!
//! Each round takes every path once, so that what disturbs the machine disturbs them all.

mod alone;
mod paths;
mod trips;

use anyhow::Result;
use e2e::{Lab, control};
use trips::{Load, Protocol};

use crate::effort::Effort;
use crate::samples::Row;
use crate::tell;

const ROUNDS: usize = 16;
/// Round trips of one path in one round, shared by its flows.
const TRIPS: usize = 512;
/// What the payload of a datagram may be on a link of 1500 bytes.
const MTU_PAYLOAD: usize = 1472;
/// A new pod's programs hang in haste first, and for good some ten seconds later, one pod after the other.
const SETTLED_WITHIN_SECONDS: u64 = 90;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let lab = Lab::usual();
    let paths = paths::all(&lab)?;
    lab.eventually(SETTLED_WITHIN_SECONDS, "the programs hang for good", || settled(&lab));
    let (rounds, trips) = effort.pick((2, 32), (ROUNDS, TRIPS));
    let mut rows = Vec::new();
    for load in loads(effort) {
        let mut taken: Vec<Vec<f64>> = paths.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            tell(&format!("{load}, round {} of {rounds}", round + 1));
            for (path, taken) in paths.iter().zip(&mut taken) {
                taken.extend(trips::round(path, load, trips)?);
            }
        }
        let floor = format!("{load}: {}", paths[0].name);
        rows.extend(paths.iter().zip(taken).map(|(path, taken)| {
            let row = Row::new(format!("{load}: {}", path.name), "µs", taken)
                .in_rounds_of(load.samples(trips))
                .curve(&load.to_string(), path.name);
            if row.name == floor { row } else { row.beside(&floor) }
        }));
    }
    paths::clear(paths)?;
    lab.finish();
    Ok(rows)
}

fn loads(effort: Effort) -> Vec<Load> {
    let udp = |size, flows| Load { protocol: Protocol::Udp, size, flows };
    let others = [Protocol::PacedUdp, Protocol::Tcp, Protocol::TcpConnect].map(|protocol| Load {
        protocol,
        size: 64,
        flows: 1,
    });
    let mut all = match effort {
        Effort::Quick => vec![udp(64, 1), udp(64, 4)],
        Effort::Usual => vec![udp(64, 1), udp(1024, 1), udp(MTU_PAYLOAD, 1), udp(64, 4), udp(64, 16)],
        Effort::Full => {
            let flows = |size| [1, 4, 16].map(|flows| udp(size, flows));
            [64, 1024, MTU_PAYLOAD].into_iter().flat_map(flows).collect()
        }
    };
    all.extend(others);
    all
}

/// Every pod's programs hang by TCX.
fn settled(lab: &Lab) -> Result<(), String> {
    let endpoints = lab.agent().endpoints().map_err(|error| format!("{error:#}"))?;
    let hooks: Vec<_> = endpoints.iter().map(|one| one.guard.as_ref().map(control::Guard::ebpf)).collect();
    let good = hooks.iter().all(|hook| *hook == Some(control::BpfHook::Tcx));
    if good { Ok(()) } else { Err(format!("{hooks:?}")) }
}
