//! How long an outage may last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openflow::Version;

use super::*;
use crate::dataplane::flows::ConnectError;
use crate::dataplane::ports::{Bridge, Lock};

const PATIENCE: Duration = Duration::from_millis(400);

/// Much longer than an outage may last.
const LONG: Duration = PATIENCE.saturating_mul(4);

fn connected() -> Ovs {
    Ovs { state: State::Connected, lock: Lock::Held, ..away() }
}

fn away() -> Ovs {
    Ovs::unknown(Instant::now().into_std())
}

fn with_bridge(ovs: Ovs) -> Ovs {
    let bridge = Bridge {
        uuid: ovsdb::Uuid(1),
        name: "br1".to_owned(),
        datapath_id: None,
        datapath_type: String::new(),
        protocols: BTreeSet::new(),
        controllers: 0,
        external_ids: BTreeMap::new(),
        other_config: BTreeMap::new(),
        ports: BTreeSet::new(),
        flood_vlans: BTreeSet::new(),
        features: BTreeSet::new(),
        local_mtu: None,
    };
    Ovs { bridges: BTreeMap::from([(bridge.name.clone(), bridge)]), ..ovs }
}

fn up() -> Connections {
    let state =
        Connection::Connected { epoch: 1, version: Version::V15, datapath_id: 1, since: Instant::now() };
    Arc::new(BTreeMap::from([("br1".to_owned(), state)]))
}

fn down() -> Connections {
    let state = Connection::Down { since: Instant::now(), error: Arc::new(ConnectError::Closed) };
    Arc::new(BTreeMap::from([("br1".to_owned(), state)]))
}

/// After how long an ADD is given up, if it is, and why.
async fn given_up(
    ovs: &watch::Sender<Arc<Ovs>>,
    switches: &watch::Sender<Connections>,
) -> Option<(Duration, String)> {
    let began = Instant::now();
    let lasting = until_lasting(ovs.subscribe(), switches.subscribe(), "br1", PATIENCE);
    let error = timeout(LONG, lasting).await.ok()?;
    assert_eq!(error.code, Code::TRY_AGAIN);
    Some((began.elapsed(), error.msg))
}

#[tokio::test]
async fn while_all_is_there_nothing_is_given_up() {
    let (ovs, switches) = (watch::Sender::new(Arc::new(with_bridge(connected()))), watch::Sender::new(up()));
    assert_eq!(given_up(&ovs, &switches).await, None);
    switches.send_replace(Connections::default());
    assert_eq!(given_up(&ovs, &switches).await, None, "nobody asked for the bridge yet");
}

#[tokio::test]
async fn a_switch_a_bridge_or_a_database_that_stays_away_is_told() {
    let (ovs, switches) =
        (watch::Sender::new(Arc::new(with_bridge(connected()))), watch::Sender::new(down()));
    let told_after_patience = async |msg: &str| {
        let (after, why) = given_up(&ovs, &switches).await.expect("it is told");
        assert_eq!(why, msg);
        // Clocks are read at both ends, and since when it is away was read before.
        assert!(after >= PATIENCE / 2, "{msg} after {after:?}");
    };
    told_after_patience("bridge br1 does not answer").await;
    let (at_once, _) = given_up(&ovs, &switches).await.expect("it is still away");
    assert!(at_once < PATIENCE, "{at_once:?}");
    ovs.send_replace(Arc::new(connected()));
    told_after_patience("there is no bridge br1").await;
    ovs.send_replace(Arc::new(with_bridge(away())));
    told_after_patience("OVSDB is out of reach").await;
}

#[tokio::test]
async fn a_restart_is_waited_for_and_the_next_outage_is_another_one() {
    let (ovs, switches) =
        (watch::Sender::new(Arc::new(with_bridge(connected()))), watch::Sender::new(down()));
    let restarts = async {
        for _ in 0..4 {
            switches.send_replace(down());
            tokio::time::sleep(PATIENCE / 2).await;
            switches.send_replace(up());
            tokio::time::sleep(PATIENCE / 4).await;
        }
    };
    // The restarts go first at every turn: a machine that is late is late for both.
    let ((), given_up) = tokio::join!(biased; restarts, given_up(&ovs, &switches));
    assert_eq!(given_up, None);
}
