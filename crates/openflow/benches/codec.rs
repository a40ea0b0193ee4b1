//! How fast the codec is on 100,000 flows: decode a dump, print it, compare it with the flows that should be there, encode
//! them into a bundle. Each beside its floor in the same run.
//!
//! Run by `cargo xtask bench openflow`. Two corpora: the guard's rows, and flows with every action of the oracle's list.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark may panic, and says what it measured"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use openflow::message::bundle::{BundleAdd, BundleFlags};
use openflow::message::flow_mod::FlowMod;
use openflow::message::multipart::{self, MultipartBody, MultipartReply};
use openflow::{Action, Flow, FlowEntry, FlowStats, Mac, Match, Message, OfPort, TableId, Version};

/// The flows of each corpus.
const FLOWS: u32 = 100_000;
/// Entries of one part of a reply; Open vSwitch fills parts up to 64 KB.
const PER_PART: usize = 150;
/// How often each row is measured.
const ROUNDS: usize = 25;

fn main() {
    for (name, mut flows) in [("guard", guard()), ("mixed", mixed())] {
        flows.sort_by(|a, b| a.key_ref().cmp(&b.key_ref()));
        let dump = dump(&flows);
        let bytes: usize = dump.iter().map(BytesMut::len).sum();
        println!("\n{name}: {} flows, {bytes} bytes   min, p50, max in ms   (goal)", flows.len());
        measure(&flows, &dump, bytes);
    }
}

fn measure(flows: &[Flow], dump: &[BytesMut], bytes: usize) {
    let mut copy = BytesMut::with_capacity(bytes);
    row("floor: copy of the bytes", None, || {
        copy.clear();
        for part in dump {
            copy.extend_from_slice(part);
        }
        black_box(&copy);
    });
    row("floor: walk over lengths", None, || {
        black_box(dump.iter().map(|part| walk(part)).sum::<usize>());
    });
    row("decode", Some(15), || {
        let mut packets = 0;
        each(dump, |flow| packets += black_box(flow).packet_count.unwrap_or_default());
        black_box(packets);
    });
    let mut line = String::new();
    row("decode and print", Some(60), || {
        each(dump, |flow| {
            line.clear();
            write!(line, "{flow}").unwrap();
            black_box(&line);
        });
    });
    row("decode and compare", Some(25), || {
        let mut wanted = flows.iter();
        let mut differences = 0_u32;
        each(dump, |flow| differences += u32::from(!wanted.next().is_some_and(|wanted| flow.is(wanted))));
        assert_eq!(differences, 0);
    });
    let changes: Vec<FlowMod> = flows.iter().cloned().map(FlowMod::add).collect();
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    let mut buf = BytesMut::with_capacity(64 << 20);
    row("encode into a bundle", Some(10), || {
        buf.clear();
        for (xid, change) in (1..).zip(&changes) {
            let encode = |v, xid, buf: &mut BytesMut| change.encode(v, xid, buf);
            BundleAdd::encode_with(1, flags, Version::V15, xid, &mut buf, encode).unwrap();
        }
        black_box(&buf);
    });
}

/// Measures one row and prints it.
fn row(name: &str, goal_ms: Option<u32>, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.copied().unwrap_or_default().as_secs_f64() * 1000.0;
    let (min, median, max) = (times.first(), times.get(times.len() / 2), times.last());
    let goal = goal_ms.map_or(String::new(), |goal| format!("({goal})"));
    println!("  {name:26} {:8.2} {:8.2} {:8.2}   {goal}", ms(min), ms(median), ms(max));
}

/// What reading at least has to do: follow the lengths of entries and of the fields of their matches.
fn walk(part: &[u8]) -> usize {
    let mut fields = 0;
    let mut entries = part.get(16..).unwrap_or_default();
    while let Some((len, _)) = entries.split_first_chunk::<2>() {
        let (entry, rest) = entries.split_at(usize::from(u16::from_be_bytes(*len)));
        let matching = entry.get(26..).unwrap_or_default();
        let len = matching.first_chunk::<2>().map_or(4, |len| usize::from(u16::from_be_bytes(*len)));
        let mut tlvs = matching.get(2..len.saturating_sub(2)).unwrap_or_default();
        while let Some(([_, _, _, len], after)) = tlvs.split_first_chunk::<4>() {
            tlvs = after.get(usize::from(*len)..).unwrap_or_default();
            fields += 1;
        }
        entries = rest;
    }
    fields
}

/// Rows of the guard, or accepting ones with actions.
fn guard() -> Vec<Flow> {
    let flow = |n: u32| {
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
    };
    (0..FLOWS).map(flow).collect()
}

/// Flows with every field and action that the oracle's lists have, over and over, told apart by their priority and table.
fn mixed() -> Vec<Flow> {
    let lists = [include_str!("../tests/oracle/actions.txt"), include_str!("../tests/oracle/fields.txt")];
    let texts = lists.iter().flat_map(|list| list.lines());
    let texts = texts.filter_map(|line| line.split(" #").next()).filter(|line| !line.starts_with('#'));
    let flows: Vec<Flow> = texts.filter_map(|text| Flow::parse(text, Version::V15).ok()).collect();
    let numbered = (0..FLOWS).zip(flows.iter().cycle());
    let distinct = numbered.map(|(n, flow)| {
        let [_, table, high, low] = n.to_be_bytes();
        let priority = u16::from_be_bytes([high, low]);
        Flow { table: TableId(table), priority, cookie: u64::from(n), ..flow.clone() }
    });
    distinct.collect()
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
        duration: Duration::from_millis(12_345),
        idle_age: Some(Duration::from_secs(3)),
    }
}

fn each<'a>(dump: &'a [BytesMut], mut each: impl FnMut(&FlowStats<'a>)) {
    for frame in dump {
        let (_, message) = Message::decode(frame).unwrap();
        let Message::MultipartReply(reply) = message else { continue };
        let MultipartBody::Flow(flows) = reply.body else { continue };
        for flow in flows {
            each(&flow.unwrap());
        }
    }
}
