//! Decoding, printing and comparing a dump of OpenFlow 1.5 allocates nothing, however long the dump is.

use std::fmt::Write as _;

use bytes::BytesMut;
use openflow::message::multipart::{self, MultipartBody, MultipartReply};
use openflow::{Flow, FlowEntry, FlowStats, Message, Version};

/// The guard's flows and some with nested actions.
fn flows() -> Vec<Flow> {
    let more = [
        "table=1,ip,reg0=5,actions=ct(commit,zone=5,nat(src=10.0.0.1),exec(set_field:1->ct_mark)),clone(output:1)",
        "table=2,actions=learn(table=3,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
        "table=3,tun_metadata0=0x12345678,actions=note:01.02.03,bundle(eth_src,0,hrw,ofport,members:1,2)",
    ];
    let guard = include_str!("oracle/guard.txt").lines().filter(|line| !line.starts_with('#'));
    guard.chain(more).map(|line| line.parse().expect(line)).collect()
}

fn dump(flows: &[Flow]) -> BytesMut {
    let mut buf = BytesMut::new();
    MultipartReply::encode_with(multipart::FLOW, false, Version::V15, 1, &mut buf, |w| {
        flows.iter().try_for_each(|flow| {
            let entry = FlowEntry {
                flow: flow.clone(),
                packet_count: Some(1),
                byte_count: Some(60),
                duration: std::time::Duration::from_secs(1),
                idle_age: None,
            };
            entry.as_stats().write(w)
        })
    })
    .expect("the flows fit a message");
    buf
}

fn each<'a>(frame: &'a [u8], mut visit: impl FnMut(usize, FlowStats<'a>)) {
    let (_, message) = Message::decode(frame).expect("our own bytes");
    let Message::MultipartReply(reply) = message else { unreachable!("a reply") };
    let MultipartBody::Flow(flows) = reply.body else { unreachable!("flows") };
    flows.enumerate().for_each(|(n, flow)| visit(n, flow.expect("our own bytes")));
}

#[test]
fn a_dump_is_decoded_without_allocating() {
    let flows = flows();
    let frame = dump(&flows);
    let mut seen = 0;
    let counted = allocation_counter::measure(|| each(&frame, |_, _| seen += 1));
    assert_eq!((seen, counted.count_total), (flows.len(), 0));
}

#[test]
fn a_dump_is_printed_into_one_buffer_without_allocating() {
    let frame = dump(&flows());
    let mut line = String::with_capacity(4096);
    let counted = allocation_counter::measure(|| {
        each(&frame, |_, flow| {
            line.clear();
            write!(line, "{flow}").expect("a string takes everything");
        });
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_dump_is_compared_with_what_should_be_there_without_allocating() {
    let wanted = flows();
    let frame = dump(&wanted);
    let mut same = 0;
    let counted = allocation_counter::measure(|| {
        each(&frame, |n, flow| {
            let found = wanted.get(n).is_some_and(|flow_wanted| flow.is(flow_wanted));
            same += usize::from(found);
        });
    });
    assert_eq!((same, counted.count_total), (wanted.len(), 0));
}
