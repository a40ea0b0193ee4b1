//! Messages captured from Open vSwitch 3.1 decode to what they mean and encode to the same bytes.

use std::time::Duration;

use bytes::BytesMut;
use hex_literal::hex;
use openflow::message::bundle::{BundleAdd, BundleControl, BundleFlags, BundleOp};
use openflow::message::flow_mod::FlowMod;
use openflow::message::hello::Hello;
use openflow::message::monitor::{FlowEvent, FlowUpdate, MonitorRequest};
use openflow::message::multipart::{FlowQuery, MultipartBody, MultipartRequest};
use openflow::{Action, Flow, Mac, Match, Message, OfPort, TableId, Version, next_frame};

const FLOW_DUMP: &[u8] = &hex!(
    "061300880000000200010000000000000078000003008000000a0014001f000500000000000000000001000a80000a020800"
    "00000000000000000034800200080000000000e4e1c080020208000000000000000080020808000000000000000080020a08"
    "000000000000000000000000000400180000000000000010fffffffa0000000000000000"
);

/// The flow of the guard that marks accepted packets and looks them up again.
const ACCEPT_MOD: &[u8] = &hex!(
    "060e00600000000200000000000000000000000000000000e500000000000000ffffffffffffffffffffffff00000000000100040000"
    "000000040028000000000019001000011f088000000080000000ffff001000002320000efff800000000"
);

#[test]
fn a_flow_dump_of_1_5_prints_as_ovs_ofctl_prints_it() {
    let (header, message) = Message::decode(FLOW_DUMP).unwrap();
    assert_eq!(header.xid, 2);
    let Message::MultipartReply(reply) = message else { panic!("{message:?}") };
    let MultipartBody::Flow(mut flows) = reply.body else { panic!("no flows") };
    let flow = flows.next().unwrap().unwrap();
    assert_eq!(
        flow.to_string(),
        "cookie=0x0, duration=0.015s, table=3, n_packets=0, n_bytes=0, idle_timeout=10, hard_timeout=20, \
         send_flow_rem check_overlap reset_counts no_packet_counts no_byte_counts importance=5, idle_age=0, \
         ip actions=NORMAL"
    );
    assert_eq!(flow.duration, Duration::from_millis(15));
    assert!(flows.next().is_none());
}

#[test]
fn the_builder_writes_what_ovs_ofctl_writes() {
    let flow = Flow::new(TableId(229))
        .priority(0)
        .apply([Action::load_reg(15, 31, 31, 1), Action::resubmit_table(TableId(0))]);
    let mut buf = BytesMut::new();
    FlowMod::add(flow).encode(Version::V15, 2, &mut buf).unwrap();
    assert_eq!(&buf[..], ACCEPT_MOD);
}

#[test]
fn a_flow_mod_reencodes_to_its_own_bytes() {
    let (_, message) = Message::decode(ACCEPT_MOD).unwrap();
    let Message::FlowMod(change) = message else { panic!("{message:?}") };
    assert_eq!(
        change.flow.to_string(),
        "cookie=0x0,table=229,priority=0 actions=set_field:0x80000000/0x80000000->reg15,resubmit(,0)"
    );
    let mut buf = BytesMut::new();
    change.encode(Version::V15, 2, &mut buf).unwrap();
    assert_eq!(&buf[..], ACCEPT_MOD);
}

#[test]
fn guard_flows_print_in_ovs_order() {
    let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
    let flow = Flow::new(TableId(221))
        .cookie(0x5550_0110_0000_0001)
        .priority(200)
        .matching(
            Match::new()
                .arp()
                .in_port(OfPort(1))
                .arp_op(1)
                .arp_sha(mac)
                .arp_spa(std::net::Ipv4Addr::new(10, 0, 0, 7)),
        )
        .goto(TableId(229));
    assert_eq!(
        flow.to_string(),
        "cookie=0x5550011000000001,table=221,priority=200,arp,in_port=1,arp_spa=10.0.0.7,arp_op=1,\
         arp_sha=02:00:00:00:00:01 actions=goto_table:229"
    );
    flow.matching.check().unwrap();
}

#[test]
fn a_switch_that_forbids_1_5_is_noticed_by_its_bitmap() {
    let hello = Message::decode(&hex!("0600001000000004 0001000800000010")).unwrap().1;
    let Message::Hello(hello) = hello else { panic!("no hello") };
    assert_eq!(hello.negotiate(&[Version::V15]), None);
    assert_eq!(hello.negotiate(&Version::ALL), Some(Version::V13));
    let plain = Message::decode(&hex!("0600000800000004")).unwrap().1;
    let Message::Hello(plain) = plain else { panic!("no hello") };
    assert_eq!(plain.negotiate(&[Version::V15]), Some(Version::V15));
}

#[test]
fn our_hello_is_that_of_ovs_ofctl() {
    let mut buf = BytesMut::new();
    Hello::offering(&[Version::V15]).encode(1, &mut buf).unwrap();
    assert_eq!(&buf[..], hex!("06000010000000010001000800000040"));
}

#[test]
fn requests_equal_those_of_ovs_ofctl() {
    let encode = |request: MultipartRequest<'_>, xid| {
        let mut buf = BytesMut::new();
        request.encode(Version::V15, xid, &mut buf).unwrap();
        buf.to_vec()
    };
    assert_eq!(
        encode(MultipartRequest::Flow(FlowQuery::default()), 2),
        hex!(
            "06120038000000020001000000000000ff000000ffffffffffffffff00000000000000000000000000000000000000000001000400000000"
        )
    );
    assert_eq!(
        encode(MultipartRequest::PortDesc(OfPort::ANY), 2),
        hex!("0612001800000002000d000000000000ffffffff00000000")
    );
    let mut monitor = MonitorRequest::watch(0, TableId(0));
    monitor.flags |= openflow::message::monitor::MonitorFlags::ONLY_OWN;
    assert_eq!(
        encode(MultipartRequest::FlowMonitor(monitor), 5),
        hex!("0612002800000005001000000000000000000000ffffffffffffffff005f00000001000400000000")
    );
}

#[test]
fn a_monitor_tells_of_a_deleted_flow() {
    let frame = hex!(
        "0613005800000000001000000000000000480002000200000000004d00000000000000000000000700010012800000040000000280000a"
        "021234000000000000000400180000000000000010000000010000000000000000"
    );
    let (_, Message::MultipartReply(reply)) = Message::decode(&frame).unwrap() else { panic!("no reply") };
    let MultipartBody::FlowMonitor(mut updates) = reply.body else { panic!("no updates") };
    let Some(Ok(FlowUpdate::Full(update))) = updates.next() else { panic!("no update") };
    assert_eq!(update.event, FlowEvent::Removed);
    assert_eq!(update.key().to_string(), "table=0,priority=77,in_port=2,dl_type=0x1234");
    assert_eq!(update.instructions.as_ref().to_string(), "output:1");
}

#[test]
fn a_packet_in_carries_port_and_userdata() {
    let frame = hex!(
        "060400c800000000000023200000001e0000007a5054000000065054000000050800450000680000000040"
        "066a7d010203040506070800010002000000000000000050000000bb8a0000000102030405060708090a0b0c0d0e0f1011121314151617"
        "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f0000000000000003000500000000"
        "0004001000000000000000000000000000050005010000000006000c8000000400000002000000000007000601020000"
    );
    let (_, Message::PacketIn(packet)) = Message::decode(&frame).unwrap() else { panic!("no packet") };
    assert_eq!(packet.in_port(), Some(OfPort(2)));
    assert_eq!(packet.userdata, [1, 2]);
    assert_eq!(packet.packet.len(), 118);
    assert_eq!(packet.reason, 1);
}

#[test]
fn a_removed_flow_and_a_new_port_are_understood() {
    let removed = hex!(
        "060b0058000000000002004d00000000000000000000000700010012800000040000000280000a02123400000000000000000028800200"
        "0800000000016e360080020808000000000000000080020a080000000000000000"
    );
    let (_, Message::FlowRemoved(removed)) = Message::decode(&removed).unwrap() else {
        panic!("not removed")
    };
    assert_eq!((removed.reason, removed.cookie), (2, 7));
    let added = hex!(
        "060c00580000000000000000000000000000000400480000aa55aa5500120000703300000000000000000000000000000000000000000000"
        "0000002000000000000000000000000000000000000000000000000000000000"
    );
    let frame = &added[..];
    let (header, Message::PortStatus(status)) = Message::decode(frame).unwrap() else { panic!("no status") };
    assert_eq!((status.port.number, status.port.name_str()), (OfPort(4), Some("p3")));
    let mut buf = BytesMut::new();
    status.encode(header.version, header.xid, &mut buf).unwrap();
    assert_eq!(&buf[..], frame);
}

#[test]
fn a_bundle_wraps_messages_with_their_own_xid() {
    let mut buf = BytesMut::new();
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    BundleControl { bundle: 7, op: BundleOp::OpenRequest, flags, properties: &[] }
        .encode(Version::V15, 1, &mut buf)
        .unwrap();
    let change = FlowMod::add(Flow::new(TableId(0)));
    BundleAdd::encode_with(7, flags, Version::V15, 9, &mut buf, |v, xid, buf| change.encode(v, xid, buf))
        .unwrap();
    let open = next_frame(&mut buf).unwrap().unwrap();
    assert_eq!(&open[..], hex!("0621001000000001 00000007 0000 0003"));
    let add = next_frame(&mut buf).unwrap().unwrap();
    let (header, Message::BundleAdd(add)) = Message::decode(&add).unwrap() else { panic!("no add") };
    assert_eq!(header.xid, 9);
    let (inner, _) = Message::decode(add.message).unwrap();
    assert_eq!(inner.xid, 9);
    assert!(next_frame(&mut buf).unwrap().is_none());
}

#[test]
fn an_error_names_itself_and_quotes_its_request() {
    let frame = hex!("0601001c00000002 00050003 060e0038000000020000000000000000");
    let (_, Message::Error(error)) = Message::decode(&frame).unwrap() else { panic!("no error") };
    assert_eq!(error.code, Some(openflow::ErrorCode::OFPFMFC_OVERLAP));
    assert_eq!(error.request(), Some((14, 2)));
}

#[test]
fn a_frame_that_lies_about_its_length_is_an_error_not_a_loop() {
    let mut stream = BytesMut::from(&hex!("0602000700000001")[..]);
    assert!(next_frame(&mut stream).is_err());
    let mut partial = BytesMut::from(&hex!("0602000900000001")[..]);
    assert!(next_frame(&mut partial).unwrap().is_none());
}

/// What port 1 had counted: 2 packets and 236 bytes in, nothing out, errors not counted.
fn check_port_counters(frame: &[u8]) {
    let (_, Message::MultipartReply(reply)) = Message::decode(frame).unwrap() else { panic!("no reply") };
    let MultipartBody::PortStats(mut ports) = reply.body else { panic!("no ports") };
    let stats = ports.next().unwrap().unwrap();
    let counters = stats.counters;
    assert_eq!(stats.port, OfPort(1));
    assert_eq!((counters.rx_packets, counters.rx_bytes, counters.tx_packets), (Some(2), Some(236), Some(0)));
    assert_eq!((counters.rx_errors, counters.rx_crc_errors, counters.collisions), (None, None, None));
    assert_eq!(stats.duration.as_secs(), 3928);
    assert!(ports.next().is_none());
}

#[test]
fn port_counters_of_1_5_skip_properties_of_others() {
    check_port_counters(&hex!(
        "061301e000000002000400000000000001d000000000000100000f581c222600000000000000000200000000000000000000"
        "0000000000ec0000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00000028"
        "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00b80000aa01000000010000"
        "0000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffff009c0000aa0100000002000000061372785f637573746f6d5f706163"
        "6b6574735f3100000000000000021372785f637573746f6d5f7061636b6574735f3200000000000000020b72785f71305f62"
        "7974657300000000000000ec0d72785f71305f7061636b65747300000000000000020b74785f71305f627974657300000000"
        "000000000d74785f71305f7061636b657473000000000000000000000000"
    ));
}

#[test]
fn port_counters_of_1_3_stand_in_one_structure() {
    check_port_counters(&hex!(
        "0413008000000002000400000000000000000001000000000000000000000002000000000000000000000000000000ec0000"
        "000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffff00000f581ce88340"
    ));
}

#[test]
fn counters_that_a_trigger_sent_keep_what_they_say_and_what_they_leave_out() {
    // Table 3, a trigger, priority 200, every IPv4 packet, 5 packets and a statistic that nobody knows.
    let bytes = hex!(
        "0613004000000009 0011000000000000"
        "00300000 03 01 00c8 0001000a80000a0208000000 00000000"
        "00000018 8002080800000000 00000005 80026004 00000001"
    );
    let (header, message) = Message::decode(&bytes).unwrap();
    let Message::MultipartReply(reply) = &message else { panic!("no reply") };
    let MultipartBody::FlowCounts(mut counts) = reply.body.clone() else { panic!("no counters") };
    let one = counts.next().unwrap().unwrap();
    assert_eq!((one.reason, one.key().to_string().as_str()), (1, "table=3,priority=200,ip"));
    assert_eq!((one.statistics().packets, one.statistics().bytes), (Some(5), None));
    let mut again = BytesMut::new();
    message.encode(&header, &mut again).unwrap();
    assert_eq!(again[..], bytes);
    assert_eq!(openflow::frame_error(&bytes), Some(openflow::ErrorCode::OFPBRC_BAD_STAT));
}
