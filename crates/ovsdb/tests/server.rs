//! The client against a real, private ovsdb-server. A machine without one cannot run these tests: they fail
//! and say so. Each test has its own server, directory and socket.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::{
    Atom, Cache, CallError, Client, CloseReason, Condition, Driver, Endpoint, Event, Events, Limits,
    LockName, MonitorId, MonitorSpec, Mutator, NamedUuid, OpResult, Operation, TransactError, Until,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const MONITOR: MonitorId = MonitorId(1);

/// An ovsdb-server with an initialised Open_vSwitch database; ends with the test.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let schema = [
            "/usr/share/openvswitch/vswitch.ovsschema",
            "/usr/local/share/openvswitch/vswitch.ovsschema",
        ]
        .into_iter()
        .find(|path| fs::exists(path).is_ok_and(|exists| exists))
        .expect(
            "vswitch.ovsschema is not on this machine: install openvswitch-common and openvswitch-switch",
        );
        let database = dir.path().join("conf.db");
        let created = Command::new("ovsdb-tool").arg("create").arg(&database).arg(schema).status();
        assert!(created.expect("ovsdb-tool is missing: install openvswitch-common").success());
        let child = Command::new("ovsdb-server")
            .arg(&database)
            .arg(format!("--remote=punix:{}", dir.path().join("db.sock").display()))
            .arg(format!("--unixctl={}", dir.path().join("ctl").display()))
            .args(["--no-chdir", "-vconsole:off"])
            .stdin(Stdio::null())
            .spawn()
            .expect("ovsdb-server is missing: install openvswitch-switch");
        let server = Self { child, dir };
        let since = Instant::now();
        while UnixStream::connect(server.socket()).is_err() {
            assert!(since.elapsed() < Duration::from_secs(10), "ovsdb-server does not take connections");
            std::thread::sleep(Duration::from_millis(2));
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("db.sock")
    }

    async fn connect(&self) -> (Client, Events, Driver) {
        ovsdb::connect(&Endpoint::unix(self.socket()), Limits::default()).await.expect("a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have been ended by the test already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection whose driver runs in `tasks`, with an Open_vSwitch row and a bridge `br0`.
async fn with_bridge(server: &Server, tasks: &mut JoinSet<CloseReason>) -> (Client, Events) {
    let (client, events) = connected(server, tasks).await;
    let bridge = vec![
        Operation::insert("Bridge").named(NamedUuid(1)).set("name", "br0"),
        Operation::insert("Open_vSwitch").set("bridges", NamedUuid(1)),
    ];
    client.transact(bridge).await.expect("a bridge");
    (client, events)
}

async fn connected(server: &Server, tasks: &mut JoinSet<CloseReason>) -> (Client, Events) {
    let (client, events, driver) = server.connect().await;
    tasks.spawn(driver.run());
    (client, events)
}

fn add_port(name: &str, bridge: &str) -> Vec<Operation> {
    let is_bridge = || vec![Condition::equal("name", bridge)];
    vec![
        Operation::wait("Bridge", is_bridge(), Until::Equal).set("name", bridge),
        Operation::insert("Interface").named(NamedUuid(1)).set("name", name),
        Operation::insert("Port").named(NamedUuid(2)).set("name", name).set("interfaces", NamedUuid(1)),
        Operation::mutate("Bridge", is_bridge()).mutation("ports", Mutator::Insert, NamedUuid(2)),
        Operation::mutate("Open_vSwitch", vec![]).mutation("next_cfg", Mutator::Add, 1),
    ]
}

fn text(error: &TransactError) -> String {
    error.to_string()
}

#[tokio::test]
async fn a_port_is_added_by_one_transaction() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, _events) = with_bridge(&server, &mut tasks).await;
    let results = client.transact(add_port("p1", "br0")).await.unwrap();
    assert!(matches!(
        results.as_slice(),
        [
            OpResult::Done,
            OpResult::Inserted(_),
            OpResult::Inserted(_),
            OpResult::Count(1),
            OpResult::Count(1)
        ]
    ));
    let select = Operation::select("Bridge", vec![], ["name", "ports"]);
    let rows = client.transact(vec![select]).await.unwrap();
    let [OpResult::Rows(rows)] = rows.as_slice() else { panic!("not rows: {rows:?}") };
    assert_eq!(rows[0].text("name"), Some("br0"));
    assert_eq!(rows[0].uuids("ports").count(), 1);
}

#[tokio::test]
async fn each_failure_of_a_transaction_is_named_with_its_operation() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, _events) = with_bridge(&server, &mut tasks).await;
    client.transact(add_port("p1", "br0")).await.unwrap();

    let missing = client.transact(add_port("p2", "br9")).await.unwrap_err();
    assert!(text(&missing).starts_with("operation 0 (wait) failed: timed out"), "{missing}");

    let duplicate = client.transact(add_port("p1", "br0")).await.unwrap_err();
    assert!(text(&duplicate).starts_with("the commit failed: constraint violation"), "{duplicate}");

    let dangling = Operation::insert("Port").set("name", "p3").set("interfaces", ovsdb::Uuid(7));
    let is_bridge = vec![Condition::equal("name", "br0")];
    let hang = Operation::mutate("Bridge", is_bridge).mutation("ports", Mutator::Insert, NamedUuid(1));
    let dangling = client.transact(vec![dangling.named(NamedUuid(1)), hang]).await.unwrap_err();
    assert!(text(&dangling).starts_with("the commit failed: referential integrity violation"), "{dangling}");

    let range = Operation::update("Port", vec![]).set("tag", 4096);
    let range = client.transact(vec![range]).await.unwrap_err();
    assert!(text(&range).starts_with("operation 0 (update) failed: constraint violation"), "{range}");

    let unowned = Operation::assert(&LockName::from_text("l"));
    let unowned = client.transact(vec![unowned]).await.unwrap_err();
    assert!(text(&unowned).starts_with("operation 0 (assert) failed: not owner"), "{unowned}");

    let nameless = Operation::update("Port", vec![]).set("interfaces", NamedUuid(9));
    let nameless = client.transact(vec![nameless]).await.unwrap_err();
    assert_eq!(text(&nameless), "operation 0 (update) refers to row9, which no operation inserts");
}

#[tokio::test]
async fn refusals_of_calls_are_errors_of_their_own() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, _events) = connected(&server, &mut tasks).await;
    client.echo().await.unwrap();
    let unknown = client.call("nonsense", serde_json::json!([])).await.unwrap_err();
    assert!(unknown.is_unknown_method(), "{unknown}");
    let database = client.call("get_schema", serde_json::json!(["nonsense"])).await.unwrap_err();
    assert!(database.to_string().starts_with("get_schema was refused: unknown database"), "{database}");
    // A call whose params are no array makes the server drop the connection.
    let dropped = client.call("transact", 7.into()).await.unwrap_err();
    assert!(matches!(dropped, CallError::Closed { .. }), "{dropped}");
    assert!(matches!(tasks.join_next().await, Some(Ok(CloseReason::Eof | CloseReason::Io(_)))));
}

#[tokio::test]
async fn a_cache_follows_every_kind_of_change_exactly() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (writer, _events) = with_bridge(&server, &mut tasks).await;
    let (client, mut events) = connected(&server, &mut tasks).await;
    let schema = Arc::new(client.schema().await.unwrap());
    let spec = MonitorSpec::new()
        .table("Bridge", ["name", "ports", "flood_vlans", "other_config"])
        .table("Port", ["name", "tag", "trunks", "external_ids", "protected", "no_such_column"])
        .table("No_Such_Table", ["name"])
        .known_to(&schema);
    let mut cache = Cache::new(Arc::clone(&schema), spec.clone());
    cache.start(client.monitor(MONITOR, &spec, None).await.unwrap()).unwrap();

    let all_ports = || Operation::mutate("Port", vec![]);
    let bridge = || Operation::mutate("Bridge", vec![]);
    let ids = |pairs: &[(&'static str, &'static str)]| ovsdb::Datum::map(pairs.iter().copied());
    let keys = |keys: &[&'static str]| ovsdb::Datum::set(keys.iter().copied());
    let changes: Vec<Vec<Operation>> = vec![
        add_port("p1", "br0"),
        add_port("p2", "br0"),
        vec![all_ports().mutation("external_ids", Mutator::Insert, ids(&[("a", "1"), ("b", "2")]))],
        // The same difference means "set" first and "delete" next.
        vec![all_ports().mutation("external_ids", Mutator::Delete, keys(&["b"])).mutation(
            "external_ids",
            Mutator::Insert,
            ids(&[("b", "3")]),
        )],
        vec![all_ports().mutation("external_ids", Mutator::Delete, keys(&["b"]))],
        vec![Operation::update("Port", vec![Condition::equal("name", "p1")]).set("tag", 5)],
        vec![Operation::update("Port", vec![Condition::equal("name", "p1")]).set("tag", 6)],
        vec![Operation::update("Port", vec![]).set("tag", ovsdb::Datum::empty()).set("protected", true)],
        vec![Operation::update("Port", vec![]).set("trunks", ovsdb::Datum::set([1, 2, 3]))],
        vec![Operation::update("Port", vec![]).set("trunks", 3)],
        vec![bridge().mutation("flood_vlans", Mutator::Insert, ovsdb::Datum::set([7, 8]))],
        vec![bridge().mutation("flood_vlans", Mutator::Delete, 8)],
        vec![Operation::update("Bridge", vec![]).set("ports", ovsdb::Datum::empty())],
    ];
    for change in changes {
        let label = format!("{change:?}");
        writer.transact(change).await.unwrap();
        // The server flushes a connection's updates before it answers a later call on it.
        client.echo().await.unwrap();
        while let Some(event) = events.try_recv() {
            let Event::Update { updates, .. } = event else { panic!("{event:?}") };
            cache.apply(updates).unwrap();
        }
        let mut fresh = Cache::new(Arc::clone(&schema), spec.clone());
        let (reader, _events) = connected(&server, &mut tasks).await;
        fresh.start(reader.monitor(MONITOR, &spec, None).await.unwrap()).unwrap();
        for table in ["Bridge", "Port"] {
            let (kept, fresh): (Vec<_>, Vec<_>) = (cache.rows(table).collect(), fresh.rows(table).collect());
            assert_eq!(kept, fresh, "{table} after {label}");
        }
    }
    assert_eq!(cache.rows("Port").count(), 0);
}

#[tokio::test]
async fn a_monitor_that_asks_to_resume_ends_up_exact() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, _events) = with_bridge(&server, &mut tasks).await;
    let spec = MonitorSpec::new().table("Bridge", ["name", "flood_vlans"]);
    let schema = Arc::new(client.schema().await.unwrap());
    let mut cache = Cache::new(schema, spec.clone());
    let first = client.monitor(MONITOR, &spec, None).await.unwrap();
    let last = first.last.clone().expect("this server has monitor_cond_since");
    cache.start(first).unwrap();
    client.transact(vec![Operation::update("Bridge", vec![]).set("flood_vlans", 9)]).await.unwrap();

    let (second, _events) = connected(&server, &mut tasks).await;
    let snapshot = second.monitor(MONITOR, &spec, Some(&last)).await.unwrap();
    // A standalone server keeps no history (measured on 3.1; clustered ones do), so it starts over.
    assert!(!snapshot.resumed, "{snapshot:?}");
    cache.start(snapshot).unwrap();
    let (_, bridge) = cache.rows("Bridge").next().expect("the bridge");
    assert_eq!((bridge.text("name"), bridge.integer("flood_vlans")), (Some("br0"), Some(9)));
}

#[tokio::test]
async fn two_hundred_pipelined_transactions_all_get_their_own_answer() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, _events) = with_bridge(&server, &mut tasks).await;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let client = client.clone();
        calls.spawn(async move {
            let name = format!("p{number}");
            client.transact(add_port(&name, "br0")).await.unwrap();
            let select = Operation::select("Port", vec![Condition::equal("name", name.as_str())], ["name"]);
            let rows = client.transact(vec![select]).await.unwrap();
            assert!(matches!(rows.as_slice(), [OpResult::Rows(rows)] if rows[0].text("name") == Some(&name)));
        });
    }
    while let Some(outcome) = calls.join_next().await {
        outcome.unwrap();
    }
    let rows = client.transact(vec![Operation::select("Open_vSwitch", vec![], ["next_cfg"])]).await.unwrap();
    let [OpResult::Rows(rows)] = rows.as_slice() else { panic!("not rows: {rows:?}") };
    assert_eq!(rows[0].datum("next_cfg").and_then(|datum| datum.single()), Some(&Atom::Integer(200)));
}

#[tokio::test]
async fn a_lock_passes_to_the_next_and_can_be_stolen() {
    let (server, mut tasks) = (Server::start(), JoinSet::new());
    let (first, mut first_events) = connected(&server, &mut tasks).await;
    let (second, mut second_events) = connected(&server, &mut tasks).await;
    let lock = LockName::from_text("node-1");
    assert!(first.lock(&lock).await.unwrap());
    assert!(!second.lock(&lock).await.unwrap());
    let locked = Operation::assert(&lock);
    first.transact(vec![locked.clone()]).await.unwrap();
    first.unlock(&lock).await.unwrap();
    assert!(matches!(second_events.recv().await, Some(Event::Locked(name)) if name == lock.as_str()));
    second.transact(vec![locked]).await.unwrap();
    first.steal(&lock).await.unwrap();
    assert!(matches!(second_events.recv().await, Some(Event::Stolen(name)) if name == lock.as_str()));
    assert!(first_events.try_recv().is_none());
    // The one it was stolen from keeps its place in the queue.
    first.unlock(&lock).await.unwrap();
    assert!(matches!(second_events.recv().await, Some(Event::Locked(name)) if name == lock.as_str()));
}

#[tokio::test]
async fn the_end_of_the_server_ends_calls_and_events() {
    let (mut server, mut tasks) = (Server::start(), JoinSet::new());
    let (client, mut events) = connected(&server, &mut tasks).await;
    client.echo().await.unwrap();
    server.child.kill().unwrap();
    assert!(matches!(events.recv().await, Some(Event::Closed(CloseReason::Eof | CloseReason::Io(_)))));
    assert!(events.recv().await.is_none());
    assert!(matches!(client.echo().await, Err(CallError::Closed { .. })));
}
