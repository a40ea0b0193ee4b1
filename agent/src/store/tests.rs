//! The store against a real ledger in a directory of its own.
#![expect(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

use std::time::Duration;

use super::*;
use crate::model::{
    ConflictPolicy, Endpoint, EndpointId, GatewayPolicy, Guard, GuardMode, IpamState, Phase, PortVlan,
    ProbeTiming, Slot,
};

const BOOT: &str = "boot-1";

fn clock() -> Duration {
    Duration::from_secs(1_000)
}

fn endpoint(name: &str) -> Endpoint {
    let id = EndpointId::new(name, "eth0");
    Endpoint {
        mac: id.derived_mac(),
        id,
        pod: None,
        netns: "/run/netns/x".to_owned(),
        network: "net".to_owned(),
        ovs_cni: false,
        bridge: "br1".to_owned(),
        vlan: PortVlan::Access(10),
        mtu: 1500,
        addresses: vec!["10.0.0.5/24".parse().unwrap(), "fd00::5/64".parse().unwrap()],
        gateways: Vec::new(),
        routes: Vec::new(),
        guard: Guard { mode: GuardMode::Full, dhcp: false, slaac: false, vm: false },
        conflict: ConflictPolicy::Fail,
        conflict_timing: ProbeTiming::USUAL,
        gateway: GatewayPolicy::Warn,
        accelerate: true,
        ofport_request: None,
    }
}

fn new(name: &str) -> NewEntry {
    NewEntry { endpoint: endpoint(name), ipam: Some(ipam()), request: 7, asked_at: Duration::from_mins(15) }
}

fn ipam() -> Ipam {
    Ipam {
        plugin: "host-local".to_owned(),
        path: "/opt/cni/bin".to_owned(),
        args: String::new(),
        stdin: "{}".to_owned(),
        result: None,
        state: IpamState::Held,
    }
}

/// An endpoint whose ADD has ended.
async fn live(store: &StoreHandle, name: &str) -> Arc<Entry> {
    let entry = store.put(new(name)).await.unwrap();
    store.commit(&entry.endpoint.id, entry.created).await.unwrap();
    entry
}

fn owed() -> Ipam {
    Ipam { state: IpamState::Owed, ..ipam() }
}

fn remove(name: &str, reservation: Reservation) -> Remove {
    Remove { id: EndpointId::new(name, "eth0"), created: None, deleted_at: None, reservation, plugin: None }
}

/// Opens the ledger in `dir` as a fresh agent would, and drives the actor beside the test.
fn open(dir: &tempfile::TempDir, boot: &str) -> StoreHandle {
    let ledger = Ledger::open(dir.path(), boot).unwrap();
    let (store, handle) = Store::open(ledger, 2, clock).unwrap();
    drop(tokio::spawn(run(store)));
    handle
}

#[tokio::test]
async fn a_committed_endpoint_survives_a_restart_with_its_slot() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = store.put(new("a")).await.unwrap();
    store.set_endpoint(entry.created, endpoint("a")).await.unwrap();
    store.commit(&entry.endpoint.id, entry.created).await.unwrap();

    let intent = open(&dir, BOOT).intent();
    let restored = &intent.endpoints[&entry.endpoint.id];
    assert_eq!(restored.endpoint, endpoint("a"));
    assert_eq!((restored.slot, restored.phase), (entry.slot, Phase::Live));
    assert!(intent.generation >= entry.revision);
}

#[tokio::test]
async fn an_add_that_never_ended_is_withdrawn_at_the_next_start_and_its_address_owed() {
    let dir = tempfile::tempdir().unwrap();
    let entry = open(&dir, BOOT).put(new("a")).await.unwrap();

    let intent = open(&dir, BOOT).intent();
    assert!(intent.endpoints.is_empty());
    assert_eq!(intent.removals[&entry.endpoint.id].slot, Some(entry.slot));
    assert_eq!(intent.debts[&entry.endpoint.id].state, IpamState::Owed);
}

#[tokio::test]
async fn another_boot_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = store.put(new("a")).await.unwrap();
    store.commit(&entry.endpoint.id, entry.created).await.unwrap();

    let intent = open(&dir, "boot-2").intent();
    assert!(intent.endpoints.is_empty() && intent.removals.is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("ledger")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_add_older_than_a_del_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let deleted =
        Remove { deleted_at: Some(Duration::from_secs(901)), ..remove("a", Reservation::CallerReleases) };
    let revision = store.remove(deleted).await.unwrap();
    store.gone(EndpointId::new("a", "eth0"), revision).await;

    assert!(matches!(store.put(new("a")).await, Err(StoreError::LateAdd)));
    // The rule outlives the agent.
    assert!(matches!(open(&dir, BOOT).put(new("a")).await, Err(StoreError::LateAdd)));
    let later = NewEntry { asked_at: Duration::from_secs(902), ..new("a") };
    store.put(later).await.unwrap();
}

#[tokio::test]
async fn a_removed_endpoint_leaves_no_file_once_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = live(&store, "a").await;
    let revision = store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
    assert!(store.intent().removals.contains_key(&entry.endpoint.id));
    assert!(matches!(store.put(new("a")).await, Err(StoreError::Exists(_))));

    store.gone(entry.endpoint.id.clone(), revision).await;
    live(&store, "a").await;
    store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
    store.gone(entry.endpoint.id.clone(), store.intent().generation).await;
    store.paid(EndpointId::new("nobody", "eth0"), ipam()).await;
    let _settled = store.remove(remove("b", Reservation::CallerReleases)).await.unwrap();
    assert!(!dir.path().join("ledger").join(entry.endpoint.id.digest()).exists());
}

#[tokio::test]
async fn a_debt_keeps_the_name_busy_until_it_is_paid() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let id = live(&store, "a").await.endpoint.id.clone();
    let revision = store.remove(remove("a", Reservation::AgentReleases)).await.unwrap();
    store.gone(id.clone(), revision).await;
    assert!(matches!(store.put(new("a")).await, Err(StoreError::Exists(_))));
    assert_eq!(open(&dir, BOOT).intent().debts.len(), 1);
    // Another reservation than the one that is owed.
    store.paid(id.clone(), ipam()).await;
    assert!(matches!(store.put(new("a")).await, Err(StoreError::Exists(_))));
    store.paid(id, owed()).await;
    store.put(new("a")).await.unwrap();
}

#[tokio::test]
async fn a_debt_that_cannot_be_paid_holds_up_no_new_attachment() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let id = live(&store, "a").await.endpoint.id.clone();
    let revision = store.remove(remove("a", Reservation::AgentReleases)).await.unwrap();
    store.gone(id.clone(), revision).await;
    assert!(store.pay(&id, &owed()).await);
    store.unpaid(id.clone(), owed(), "no ranges".to_owned()).await;
    // A DEL that owes the same once more changes nothing; while the plugin is asked again, nobody takes the name.
    let revision = store.remove(remove("a", Reservation::AgentReleases)).await.unwrap();
    store.gone(id.clone(), revision).await;
    assert_eq!(store.intent().unpaid[&id], "no ranges");
    assert!(store.pay(&id, &owed()).await);
    assert!(matches!(store.put(new("a")).await, Err(StoreError::Exists(_))));
    store.unpaid(id.clone(), owed(), "no ranges".to_owned()).await;
    store.put(new("a")).await.unwrap();
    let intent = store.intent();
    assert!(intent.debts.is_empty() && intent.unpaid.is_empty());
    assert!(!store.pay(&id, &owed()).await, "the address is the new attachment's");
}

#[tokio::test]
async fn a_plugin_that_refuses_a_del_is_owed_only_what_it_is_known_to_have_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let id = EndpointId::new("a", "eth0");
    let refused = || Remove { plugin: Some(ipam()), ..remove("a", Reservation::PluginRefused) };
    store.remove(refused()).await.unwrap();
    assert!(store.intent().debts.is_empty(), "nothing is known of it");
    store.remove(Remove { plugin: Some(ipam()), ..remove("a", Reservation::AgentReleases) }).await.unwrap();
    assert_eq!(store.intent().debts.len(), 1);
    store.remove(refused()).await.unwrap();
    assert!(store.intent().debts.is_empty(), "asked by the runtime, the plugin knows nothing of it either");
    store.gone(id.clone(), store.intent().generation).await;

    // An attachment without IPAM, and a configuration that names a plugin since.
    let entry = store.put(NewEntry { ipam: None, ..new("a") }).await.unwrap();
    store.commit(&id, entry.created).await.unwrap();
    let revision = store.remove(refused()).await.unwrap();
    assert!(store.intent().debts.is_empty());
    store.gone(id.clone(), revision).await;

    let entry = store.put(new("a")).await.unwrap();
    let given = Ipam { result: Some("{}".to_owned()), ..ipam() };
    store.set_ipam(&id, entry.created, given).await.unwrap();
    store.commit(&id, entry.created).await.unwrap();
    for _ in 0..2 {
        store.remove(refused()).await.unwrap();
        assert_eq!(store.intent().debts[&id].state, IpamState::Owed);
    }
}

#[tokio::test]
async fn a_withdrawn_call_does_not_remove_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let first = live(&store, "a").await;
    let revision = store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
    store.gone(first.endpoint.id.clone(), revision).await;
    let second = store.put(new("a")).await.unwrap();
    let late = Remove { created: Some(first.created), ..remove("a", Reservation::CallerReleases) };
    store.remove(late).await.unwrap();
    assert_eq!(store.intent().endpoints[&second.endpoint.id], second);
}

/// What is booked of the address of `a` after the ADD whose endpoint a DEL took away has ended.
async fn overtaken(ends: Reservation) -> (Option<IpamState>, Option<IpamState>, Option<IpamState>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = store.put(new("a")).await.unwrap();
    let id = entry.endpoint.id.clone();
    let state = |store: &StoreHandle| store.intent().debts.get(&id).map(|ipam| ipam.state);
    // The DEL has told the plugin, a second one tells it again; the ADD's own question is still on its way.
    for _ in 0..2 {
        let revision = store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
        store.gone(id.clone(), revision).await;
    }
    let held = state(&store);
    // Should the agent die here, its successor pays.
    let after_a_crash = open(&dir, BOOT).intent().debts.get(&id).map(|ipam| ipam.state);
    let end = Remove { created: Some(entry.created), plugin: Some(ipam()), ..remove("a", ends) };
    store.remove(end).await.unwrap();
    (held, after_a_crash, state(&store))
}

#[tokio::test]
async fn what_an_add_reserves_after_a_del_overtook_it_is_owed_if_its_shim_dies() {
    let (held, owed) = (Some(IpamState::Held), Some(IpamState::Owed));
    assert_eq!(overtaken(Reservation::AgentReleases).await, (held, owed, owed));
    assert_eq!(overtaken(Reservation::CallerReleases).await, (held, owed, None));
}

#[tokio::test]
async fn an_overtaken_add_owes_although_the_del_knew_no_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = store.put(NewEntry { ipam: None, ..new("a") }).await.unwrap();
    let id = entry.endpoint.id.clone();
    store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
    let end = Remove {
        created: Some(entry.created),
        plugin: Some(ipam()),
        ..remove("a", Reservation::AgentReleases)
    };
    store.remove(end).await.unwrap();
    assert_eq!(store.intent().debts[&id], owed());
}

#[tokio::test]
async fn an_unplugged_endpoint_is_still_one_that_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let id = store.put(new("a")).await.unwrap().endpoint.id.clone();
    let revision = store.remove(remove("a", Reservation::CallerReleases)).await.unwrap();
    store.unplugged(id.clone(), revision).await;
    let mut intent = store.watch();
    let seen = intent.wait_for(|i| i.removals[&id].is_unplugged).await.unwrap().clone();
    assert_eq!(seen.removals[&id].bridge.as_deref(), Some("br1"));
    // Where it was, and with which slot, outlives the agent; that there is no port has to be seen again.
    let restored = open(&dir, BOOT).intent().removals[&id].clone();
    assert_eq!((restored.bridge.as_deref(), restored.is_unplugged), (Some("br1"), false));
    assert_eq!(restored.slot, seen.removals[&id].slot);
}

#[tokio::test]
async fn a_del_that_was_asked_for_before_the_add_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let entry = store.put(new("a")).await.unwrap();
    let old =
        Remove { deleted_at: Some(Duration::from_secs(899)), ..remove("a", Reservation::AgentReleases) };
    store.remove(old).await.unwrap();
    assert_eq!(store.intent().endpoints[&entry.endpoint.id], entry);
}

#[tokio::test]
async fn a_del_of_an_endpoint_that_the_ledger_lost_still_owes_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let unknown = Remove { plugin: Some(ipam()), ..remove("a", Reservation::AgentReleases) };
    store.remove(unknown).await.unwrap();
    assert_eq!(store.intent().debts[&EndpointId::new("a", "eth0")].state, IpamState::Owed);
}

#[tokio::test]
async fn a_full_house_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    store.put(new("a")).await.unwrap();
    store.put(new("b")).await.unwrap();
    assert!(matches!(store.put(new("c")).await, Err(StoreError::Full(2))));
}

#[tokio::test]
async fn an_unreadable_file_is_left_alone_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), BOOT).unwrap();
    std::fs::write(dir.path().join("ledger/junk"), "not json").unwrap();
    let (_store, handle) = Store::open(ledger, 2, clock).unwrap();
    assert!(dir.path().join("ledger/junk").exists());
    assert!(handle.intent().unreadable.contains("junk"));
}

fn lost(name: &str, slot: u32) -> Rebuilt {
    let slot = Some(Slot { index: slot, generation: 41 });
    Rebuilt { endpoint: endpoint(name), slot, lacking: vec!["its prefix".to_owned()] }
}

#[tokio::test]
async fn an_endpoint_that_the_ledger_lost_is_taken_in_with_its_slot_and_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let id = EndpointId::new("a", "eth0");
    let ledger = Ledger::open(dir.path(), BOOT).unwrap();
    std::fs::write(dir.path().join("ledger").join(id.digest()), "{ torn").unwrap();
    let (store, handle) = Store::open(ledger, 2, clock).unwrap();
    drop(tokio::spawn(run(store)));
    assert!(handle.adopt(vec![lost("a", 2)]).await.unwrap().contains(&id));

    for intent in [handle.intent(), open(&dir, BOOT).intent()] {
        let entry = &intent.endpoints[&id];
        assert_eq!((entry.endpoint.clone(), entry.phase), (endpoint("a"), Phase::Live));
        assert_eq!(entry.slot, Slot { index: 2, generation: 41 });
        assert_eq!(entry.rebuilt.as_deref(), Some(&["its prefix".to_owned()][..]));
        assert!(intent.unreadable.is_empty());
    }
    // Whatever a DEL's stamp is, it is newer than what nobody knows.
    let early =
        Remove { deleted_at: Some(Duration::from_secs(1)), ..remove("a", Reservation::CallerReleases) };
    handle.remove(early).await.unwrap();
    assert!(handle.intent().endpoints.is_empty());
}

#[tokio::test]
async fn what_came_or_went_meanwhile_is_not_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, BOOT);
    let here = store.put(new("a")).await.unwrap();
    store.remove(remove("b", Reservation::CallerReleases)).await.unwrap();
    assert!(store.adopt(vec![lost("a", 2), lost("b", 2)]).await.unwrap().is_empty());
    assert_eq!(store.intent().endpoints[&here.endpoint.id], here);
    // Its old slot belongs to somebody else by now.
    assert_eq!(store.adopt(vec![lost("c", here.slot.index)]).await.unwrap().len(), 1);
    assert_ne!(store.intent().endpoints[&EndpointId::new("c", "eth0")].slot.index, here.slot.index);
}
