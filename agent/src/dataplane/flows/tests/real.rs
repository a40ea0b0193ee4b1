//! What a real vswitchd does.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use openflow::message::port::PortConfig;
use openflow::{Flow, Match, OfPort, TableId};
use tokio::time::timeout;

use super::super::{
    ConnectError, Connection, DumpScope, FlowChanges, Runner, Settings, SwitchError, Switches, new, run,
};
use super::ovs::Ovs;
use crate::plan::flows::Block;

/// Nothing here takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

const BASE: u8 = 220;

#[tokio::test]
async fn flows_are_written_and_read_back() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        let flows = vec![drop_from(1), drop_from(2)];
        let applied = switches.apply("br0", epoch, add(&flows)).await.unwrap();
        assert_eq!((applied.written, applied.refused), (2, vec![]));
        assert_eq!(guard_flows(&switches).await, flows);

        let removal = FlowChanges { remove: vec![flows[0].key()], add: vec![] };
        assert_eq!(switches.apply("br0", epoch, removal).await.unwrap().written, 1);
        assert_eq!(guard_flows(&switches).await, flows[1..]);
    })
    .await;
}

#[tokio::test]
async fn the_guards_dump_shows_foreign_flows_where_they_matter() {
    let ovs = Ovs::with_bridge();
    ovs.ofctl("add-flow", &["table=220,priority=7,actions=drop"]);
    ovs.ofctl("add-flow", &["table=0,priority=65521,in_port=2,actions=drop"]);
    ovs.ofctl(
        "add-flow",
        &["table=0,priority=65520,cookie=0x5550010000000001,in_port=1,actions=goto_table:220"],
    );
    ovs.ofctl("add-flow", &["table=0,priority=100,in_port=2,actions=drop"]);
    // Says nothing new: the one above concerns the same port, and the bridge does what the other asks for anyway.
    ovs.ofctl("add-flow", &["table=0,priority=90,in_port=2,arp,actions=drop"]);
    ovs.ofctl("add-flow", &["table=0,priority=80,in_port=3,actions=NORMAL"]);
    ovs.ofctl("add-flow", &["table=230,actions=drop"]);
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        connected(&switches, 0).await;
        let flows = guard_flows(&switches).await;
        let mut seen: Vec<_> = flows.iter().map(|flow| (flow.key().table.0, flow.key().priority)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 100), (0, 65_520), (0, 65_521), (BASE, 7)]);

        let owned = switches.dump("br0", DumpScope::Owned(Block::new(BASE))).await.unwrap();
        let mut seen: Vec<_> =
            owned.flows.iter().map(|entry| (entry.flow.table.0, entry.flow.priority)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 65_520), (BASE, 7)]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_add_leaves_the_whole_bundle_without_effect() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        let backwards = Flow::new(TableId(BASE)).priority(9).goto(TableId(3));
        let changes = add(&[drop_from(1), backwards.clone(), drop_from(2)]);
        let applied = switches.apply("br0", epoch, changes).await.unwrap();
        assert_eq!(applied.refused, [(backwards.key(), "OFPBIC_BAD_TABLE_ID".to_owned())]);
        assert_eq!(applied.written, 0);
        assert_eq!(guard_flows(&switches).await, []);

        // The discarded bundle is not in the way of the next.
        assert_eq!(switches.apply("br0", epoch, add(&[drop_from(1)])).await.unwrap().written, 1);
    })
    .await;
}

#[tokio::test]
async fn a_flow_refused_at_the_commit_is_named_and_nothing_is_kept() {
    let ovs = Ovs::with_bridge();
    let full = "flow_limit=1 overflow_policy=refuse -- set Bridge br0 flow_tables:220=@t";
    let create: Vec<_> = "-- --id=@t create Flow_Table".split(' ').chain(full.split(' ')).collect();
    ovs.vsctl(&create);
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        let applied = switches.apply("br0", epoch, add(&[drop_from(1), drop_from(2)])).await.unwrap();
        assert_eq!(applied.refused, [(drop_from(2).key(), "OFPFMFC_TABLE_FULL".to_owned())]);
        assert_eq!(guard_flows(&switches).await, []);
    })
    .await;
}

#[tokio::test]
async fn five_thousand_flows_are_written_and_streamed() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        guard_flows(&switches).await;
        let flows: Vec<_> = (1..=5_000).map(drop_from).collect();
        let applied = switches.apply("br0", epoch, add(&flows)).await.unwrap();
        assert_eq!((applied.written, applied.refused), (5_000, vec![]));
        assert_eq!(guard_flows(&switches).await, flows);
        // A monitor whose updates wait in the switch pauses, and would report our own changes as anybody's.
        assert_eq!(switches.disturbed().borrow().get("br0"), None);

        let (mut parts, mut streamed) = (0, 0);
        let mut stream = switches.dump_all("br0").await.unwrap();
        while let Some(part) = stream.next().await {
            parts += 1;
            streamed += part.unwrap().len();
        }
        // The bridge's own NORMAL flow is beside ours.
        assert_eq!(streamed, 5_001);
        assert!(parts > 5, "{parts} parts");
    })
    .await;
}

#[tokio::test]
async fn a_reader_who_does_not_read_holds_up_nobody() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        let flows: Vec<_> = (1..=20_000).map(drop_from).collect();
        assert_eq!(switches.apply("br0", epoch, add(&flows)).await.unwrap().written, flows.len());
        let mut stream = switches.dump_all("br0").await.unwrap();
        let mut streamed = stream.next().await.unwrap().unwrap().len();
        // The reader pauses; changes and reads go on.
        let removal = FlowChanges { remove: vec![flows[0].key()], add: vec![] };
        assert_eq!(switches.apply("br0", epoch, removal).await.unwrap().written, 1);
        assert_eq!(guard_flows(&switches).await.len(), flows.len() - 1);
        while let Some(part) = stream.next().await {
            streamed += part.unwrap().len();
        }
        assert_eq!(streamed, flows.len() + 1, "the dump is of the time when it was asked for");
    })
    .await;
}

#[tokio::test]
async fn a_restarted_vswitchd_is_a_new_epoch() {
    let mut ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let first = connected(&switches, 0).await;
        ovs.kill_vswitchd();
        down(&switches).await;
        let refused = switches.apply("br0", first, add(&[drop_from(1)])).await.unwrap_err();
        assert!(matches!(refused, SwitchError::Down { .. }), "{refused}");

        ovs.start_vswitchd();
        let second = connected(&switches, first).await;
        let refused = switches.apply("br0", first, add(&[drop_from(1)])).await.unwrap_err();
        assert!(matches!(refused, SwitchError::Stale { .. }), "{refused}");
        assert_eq!(switches.apply("br0", second, add(&[drop_from(1)])).await.unwrap().written, 1);
    })
    .await;
}

#[tokio::test]
async fn a_bridge_deleted_and_made_again_is_found_again() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let first = connected(&switches, 0).await;
        switches.apply("br0", first, add(&[drop_from(1)])).await.unwrap();
        ovs.vsctl(&["del-br", "br0"]);
        let error = down(&switches).await;
        assert!(matches!(*error, ConnectError::Closed | ConnectError::Socket { .. }), "{error}");

        ovs.add_bridge();
        connected(&switches, first).await;
        assert_eq!(guard_flows(&switches).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_bridge_without_openflow_1_5_says_what_to_do_and_is_tried_again() {
    let ovs = Ovs::with_bridge();
    ovs.vsctl(&["set", "bridge", "br0", "protocols=OpenFlow10,OpenFlow13"]);
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let expected = "bridge br0 does not speak OpenFlow 1.5 (its protocols are OpenFlow10,OpenFlow13): \
                        ovs-vsctl set bridge br0 protocols=OpenFlow10,OpenFlow13,OpenFlow15";
        assert_eq!(down(&switches).await.to_string(), expected);
        ovs.vsctl(&["set", "bridge", "br0", "protocols=OpenFlow10,OpenFlow13,OpenFlow15"]);
        connected(&switches, 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_bridge_that_was_not_there_is_connected_when_it_appears() {
    let ovs = Ovs::start();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let error = down(&switches).await;
        assert!(matches!(*error, ConnectError::Socket { .. }), "{error}");
        ovs.add_bridge();
        connected(&switches, 0).await;
        switches.want(BTreeSet::new());
        let mut states = switches.watch();
        states.wait_for(|states| states.is_empty()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_packet_out_takes_the_ports_own_path() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        connected(&switches, 0).await;
        let mut frame = vec![0xff; 6];
        frame.extend([0x02, 0, 0, 0, 0, 7, 0x88, 0xb5]);
        frame.resize(60, 0);
        switches.packet_out("br0", OfPort(1), Bytes::from(frame)).await.unwrap();
        // A dump is answered after the packet: by then the bridge has learned its source.
        guard_flows(&switches).await;
        let learned = ovs.appctl(&["fdb/show", "br0"]);
        assert!(learned.contains("02:00:00:00:00:07"), "{learned}");
        let ports = ovs.ofctl("dump-ports", &["2"]);
        assert!(ports.contains("tx pkts=1"), "{ports}");
    })
    .await;
}

#[tokio::test]
async fn changes_by_others_disturb_and_our_own_do_not() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        guard_flows(&switches).await;
        let disturbed = switches.disturbed();
        let count = || disturbed.borrow().get("br0").copied().unwrap_or_default();
        switches.apply("br0", epoch, add(&[drop_from(1), drop_from(2)])).await.unwrap();
        ovs.ofctl("add-flow", &["table=0,priority=65519,actions=NORMAL"]);
        ovs.ofctl("add-flow", &["table=230,actions=drop"]);
        let removal = FlowChanges { remove: vec![drop_from(2).key()], add: vec![] };
        switches.apply("br0", epoch, removal).await.unwrap();
        // Updates come before later replies, so a dump has seen them all.
        guard_flows(&switches).await;
        assert_eq!(count(), 0);

        let foreign = [
            ("add-flow", "table=221,in_port=1,actions=drop"),
            ("add-flow", "table=0,priority=65520,in_port=1,actions=drop"),
            ("mod-flows", "table=220,in_port=1,actions=NORMAL"),
            ("del-flows", "table=220"),
        ];
        for (verb, flow) in foreign {
            let before = count();
            ovs.ofctl(verb, &[flow]);
            guard_flows(&switches).await;
            assert!(count() > before, "not told of {verb} {flow}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_ports_are_listed_with_their_flags() {
    let ovs = Ovs::with_bridge();
    ovs.ofctl("mod-port", &["p2", "no-forward"]);
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        connected(&switches, 0).await;
        let ports = switches.port_desc("br0").await.unwrap();
        let p2 = ports.iter().find(|port| port.name == "p2").unwrap();
        assert_eq!((p2.number, p2.config), (OfPort(2), PortConfig::NO_FWD));
        let mut names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["br0", "p1", "p2"]);
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_a_stopped_switch_did_not_see_is_taken_back() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        ovs.signal_vswitchd(Signal::SIGSTOP);
        let error = switches.apply("br0", epoch, add(&[drop_from(1)])).await.unwrap_err();
        assert!(matches!(error, SwitchError::TimedOut { .. }), "{error}");
        ovs.signal_vswitchd(Signal::SIGCONT);
        // The same connection: the switch reads the bundle now, and its discard.
        assert_eq!(guard_flows(&switches).await, []);
        assert_eq!(connected(&switches, 0).await, epoch);
    })
    .await;
}

#[tokio::test]
async fn callers_that_go_away_leave_the_stream_in_order() {
    let ovs = Ovs::with_bridge();
    let (switches, runner) = door(&ovs);
    beside(runner, async {
        let epoch = connected(&switches, 0).await;
        for turn in 0..200_u32 {
            let flow = [drop_from(turn + 1)];
            // Given up at a different point each time: before it is queued, while it waits, or not at all.
            let patience = Duration::from_micros(u64::from(turn) * 5);
            drop(timeout(patience, switches.apply("br0", epoch, add(&flow))).await);
            drop(timeout(patience, switches.dump("br0", DumpScope::Guard(Block::new(BASE)))).await);
        }
        let before = guard_flows(&switches).await.len();
        assert_eq!(switches.apply("br0", epoch, add(&[drop_from(1_000)])).await.unwrap().written, 1);
        assert_eq!(guard_flows(&switches).await.len(), before + 1);
    })
    .await;
}

/// A door that wants `br0`.
fn door(ovs: &Ovs) -> (Switches, Runner) {
    let (switches, runner) = new(Settings { run_dir: ovs.run_dir() });
    switches.want(BTreeSet::from(["br0".to_owned()]));
    (switches, runner)
}

/// Runs a story while the connections are served.
async fn beside(runner: Runner, story: impl Future<Output = ()>) {
    tokio::select! {
        () = story => {}
        () = run(runner) => panic!("the task ended"),
        () = tokio::time::sleep(PATIENCE) => panic!("not done after {PATIENCE:?}"),
    }
}

/// The epoch of a connection after `last`.
async fn connected(switches: &Switches, last: u64) -> u64 {
    let mut states = switches.watch();
    let is_new = |state: &Connection| matches!(state, Connection::Connected { epoch, .. } if *epoch > last);
    let states = states.wait_for(|states| states.get("br0").is_some_and(is_new)).await.unwrap();
    match states["br0"] {
        Connection::Connected { epoch, .. } => epoch,
        Connection::Down { .. } => unreachable!("waited for a connection"),
    }
}

/// The first real reason for having no connection.
async fn down(switches: &Switches) -> Arc<ConnectError> {
    let mut states = switches.watch();
    let is_down = |state: &Connection| matches!(state, Connection::Down { error, .. } if !matches!(**error, ConnectError::NotTried));
    let states = states.wait_for(|states| states.get("br0").is_some_and(is_down)).await.unwrap();
    match &states["br0"] {
        Connection::Down { error, .. } => error.clone(),
        Connection::Connected { .. } => unreachable!("waited for its end"),
    }
}

/// What the reconciler would compare, in the order of the flows' identities.
async fn guard_flows(switches: &Switches) -> Vec<Flow> {
    let dump = switches.dump("br0", DumpScope::Guard(Block::new(BASE))).await.unwrap();
    let mut flows: Vec<_> = dump.flows.into_iter().map(|entry| entry.flow).collect();
    flows.sort_by_key(Flow::key);
    flows
}

fn add(flows: &[Flow]) -> FlowChanges {
    FlowChanges { add: flows.to_vec(), remove: vec![] }
}

/// A flow of the block that drops what comes from one port.
fn drop_from(port: u32) -> Flow {
    let cookie = crate::plan::flows::Cookie { kind: 1, slot: port }.encode();
    Flow::new(TableId(BASE)).priority(10).cookie(cookie).matching(Match::new().in_port(OfPort(port)))
}
