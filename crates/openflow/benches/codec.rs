//! How fast the codec is on 100,000 flows of the guard's shape: decode a dump, print it, compare it with the
//! flows that should be there, encode them into a bundle.
//!
//! Run with `cargo bench -p openflow`. The targets are 15 ms, 60 ms, 25 ms and 10 ms on the reference machine.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bytes::BytesMut;
use divan::{Bencher, black_box};
use openflow::message::bundle::{BundleAdd, BundleFlags};
use openflow::message::flow_mod::FlowMod;
use openflow::message::multipart::{self, MultipartBody, MultipartReply};
use openflow::{Action, Flow, FlowEntry, Mac, Match, Message, OfPort, TableId, Version};

/// The flows of the comparison.
const FLOWS: u32 = 100_000;
/// Entries of one part of a reply; Open vSwitch fills parts up to 64 KB.
const PER_PART: usize = 300;

fn main() {
    divan::main();
}

fn flows() -> Vec<Flow> {
    (0..FLOWS).map(flow).collect()
}

/// One of the guard's rows, or an accepting one with actions.
fn flow(n: u32) -> Flow {
    let [_, a, b, c] = n.to_be_bytes();
    let mac = Mac([2, 0, 0, a, b, c]);
    let ip = Ipv4Addr::new(10, a, b, c);
    let base = Match::new().in_port(OfPort(n % 500 + 1)).dl_src(mac);
    let flow = Flow::new(TableId(221)).priority(200).cookie(0x5550_0110_0000_0000 | u64::from(n));
    match n % 3 {
        0 => flow.matching(base.arp().arp_op(1).arp_spa(ip).arp_sha(mac)).goto(TableId(229)),
        1 => flow.matching(base.ip().nw_src(ip).reg(15, 0, 1 << 31)).goto(TableId(229)),
        _ => flow
            .matching(base.udp().tp_src(67))
            .apply([Action::load_reg(15, 31, 31, 1), Action::resubmit_table(TableId(0))]),
    }
}

/// A dump of the flows, in the parts that a switch sends.
fn dump(flows: &[Flow]) -> Vec<BytesMut> {
    let parts = flows.chunks(PER_PART).map(|part| {
        let mut buf = BytesMut::new();
        MultipartReply::encode_with(multipart::FLOW, true, Version::V15, 1, &mut buf, |w| {
            part.iter().try_for_each(|flow| entry(flow).as_stats().write(w))
        })
        .unwrap();
        buf
    });
    parts.collect()
}

fn entry(flow: &Flow) -> FlowEntry {
    FlowEntry {
        flow: flow.clone(),
        packet_count: Some(17),
        byte_count: Some(1700),
        duration: std::time::Duration::from_millis(12_345),
        idle_age: Some(std::time::Duration::from_secs(3)),
    }
}

fn stats<'a>(dump: &'a [BytesMut], mut each: impl FnMut(openflow::FlowStats<'a>)) {
    for frame in dump {
        let (_, message) = Message::decode(frame).unwrap();
        let Message::MultipartReply(reply) = message else { continue };
        let MultipartBody::Flow(flows) = reply.body else { continue };
        for flow in flows {
            each(flow.unwrap());
        }
    }
}

#[divan::bench]
fn decode_a_dump_of_100k(bencher: Bencher<'_, '_>) {
    let dump = dump(&flows());
    bencher.bench_local(|| {
        let mut packets = 0;
        stats(&dump, |flow| packets += black_box(&flow).packet_count.unwrap_or_default());
        packets
    });
}

#[divan::bench]
fn print_a_dump_of_100k(bencher: Bencher<'_, '_>) {
    let dump = dump(&flows());
    let mut line = String::new();
    bencher.bench_local(|| {
        stats(&dump, |flow| {
            line.clear();
            write!(line, "{flow}").unwrap();
            black_box(&line);
        });
    });
}

#[divan::bench]
fn compare_100k_with_100k_wanted(bencher: Bencher<'_, '_>) {
    let mut wanted = flows();
    wanted.sort_by(|a, b| a.key_ref().cmp(&b.key_ref()));
    let dump = dump(&wanted);
    bencher.bench_local(|| {
        let mut next = wanted.iter();
        let mut differences = 0_u32;
        stats(&dump, |flow| {
            let same = next.next().is_some_and(|wanted| flow.is(wanted));
            differences += u32::from(!same);
        });
        assert_eq!(differences, 0);
    });
}

#[divan::bench]
fn encode_100k_into_a_bundle(bencher: Bencher<'_, '_>) {
    let changes: Vec<FlowMod> = flows().into_iter().map(FlowMod::add).collect();
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    let mut buf = BytesMut::with_capacity(32 << 20);
    bencher.bench_local(|| {
        buf.clear();
        for (xid, change) in (1..).zip(&changes) {
            BundleAdd::encode_with(1, flags, Version::V15, xid, &mut buf, |v, xid, buf| {
                change.encode(v, xid, buf)
            })
            .unwrap();
        }
        buf.len()
    });
}
