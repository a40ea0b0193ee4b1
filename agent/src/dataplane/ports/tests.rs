//! The adapter against a private Open vSwitch: a real ovsdb-server and ovs-vswitchd with dummy devices, so that
//! neither root nor a kernel device is needed. A machine without the binaries fails these tests by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::{Endpoint, LockName};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::model::Obstacle;

/// Long enough for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both daemons, in a directory of their own; they end with the test.
struct Switch {
    dir: TempDir,
    server: Child,
    vswitchd: Child,
}

impl Switch {
    /// A switch whose devices are dummies, with the bridge `br1`.
    fn start() -> Self {
        Self::with_dummies("--enable-dummy=override")
    }

    fn with_dummies(dummies: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let schema = [
            "/usr/share/openvswitch/vswitch.ovsschema",
            "/usr/local/share/openvswitch/vswitch.ovsschema",
        ]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect(
            "vswitch.ovsschema is not on this machine: install openvswitch-common and openvswitch-switch",
        );
        let created =
            Command::new("ovsdb-tool").arg("create").arg(dir.path().join("conf.db")).arg(schema).status();
        assert!(created.expect("ovsdb-tool is missing: install openvswitch-common").success());
        let server = start_server(dir.path());
        vsctl(dir.path(), &["--no-wait", "init", "--", "set", "Open_vSwitch", ".", "ovs_version=1.2.3"]);
        let vswitchd = daemon(dir.path(), "ovs-vswitchd", |command| {
            command.arg(remote(dir.path())).args(["--disable-system", dummies]);
        });
        let switch = Self { dir, server, vswitchd };
        switch.vsctl(&[
            "add-br",
            "br1",
            "--",
            "set",
            "bridge",
            "br1",
            "datapath_type=dummy",
            "external_ids:a=b",
        ]);
        switch
    }

    /// Runs ovs-vsctl, an independent witness, and gives what it prints.
    fn vsctl(&self, args: &[&str]) -> String {
        vsctl(self.dir.path(), args)
    }

    fn stop_server(&mut self) {
        self.server.kill().expect("the server runs");
        self.server.wait().expect("a child");
    }

    fn restart_server(&mut self) {
        self.server = start_server(self.dir.path());
    }

    /// An agent's adapter, its task in `tasks`.
    fn adapter(&self, tasks: &mut JoinSet<()>) -> PortsHandle {
        let config =
            PortsConfig::new(Endpoint::unix(socket(self.dir.path())), LockName::from_text("underpass"));
        let (handle, task) = ports(config);
        tasks.spawn(task.run());
        handle
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for child in [&mut self.vswitchd, &mut self.server] {
            // The test may have ended it already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("db.sock")
}

fn remote(dir: &Path) -> String {
    format!("unix:{}", socket(dir).display())
}

fn start_server(dir: &Path) -> Child {
    let server = daemon(dir, "ovsdb-server", |command| {
        command.arg(dir.join("conf.db")).arg(format!("--remote=punix:{}", socket(dir).display()));
    });
    let since = std::time::Instant::now();
    while UnixStream::connect(socket(dir)).is_err() {
        assert!(since.elapsed() < PATIENCE, "ovsdb-server does not take connections");
        std::thread::sleep(Duration::from_millis(2));
    }
    server
}

fn daemon(dir: &Path, name: &str, arguments: impl FnOnce(&mut Command)) -> Child {
    let log = fs::File::create(dir.join(format!("{name}.log"))).expect("a log file");
    let mut command = Command::new(name);
    arguments(&mut command);
    command
        .arg(format!("--unixctl={}", dir.join(format!("{name}.ctl")).display()))
        .args(["--no-chdir", "-vsyslog:off"])
        .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|key| (key, dir)))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} cannot be started ({error}): install openvswitch-switch"))
}

fn vsctl(dir: &Path, args: &[&str]) -> String {
    let output =
        Command::new("ovs-vsctl").arg(format!("--db={}", remote(dir))).arg("-t10").args(args).output();
    let output = output.expect("ovs-vsctl is missing: install openvswitch-switch");
    assert!(output.status.success(), "ovs-vsctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn new_port(name: &str, vlan: PortVlan) -> NewPort {
    let ids = [("owner", "underpass"), ("underpass-ifname", "eth0")];
    NewPort {
        bridge: "br1".to_owned(),
        name: name.to_owned(),
        vlan,
        external_ids: ids.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ofport_request: None,
    }
}

/// Waits until the published value is so.
async fn until(ovs: &mut watch::Receiver<Arc<Ovs>>, is_so: impl FnMut(&Arc<Ovs>) -> bool) -> Arc<Ovs> {
    let outcome = timeout(PATIENCE, ovs.wait_for(is_so)).await.map(|value| value.map(|ovs| Arc::clone(&ovs)));
    match outcome {
        Ok(Ok(ovs)) => ovs,
        other => panic!("{other:?} with {:#?}", ovs.borrow()),
    }
}

fn openflow_port(ovs: &Ovs, name: &str) -> Option<u32> {
    ovs.ports.get(name)?.interface()?.openflow_port()
}

#[tokio::test]
async fn a_port_is_added_seen_and_removed() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    let connected = until(&mut ovs, |ovs| ovs.is_current() && ovs.bridges.contains_key("br1")).await;
    assert!(connected.is_synced && connected.lock == Lock::Held);
    assert_eq!(connected.version, "1.2.3");
    let bridge = &connected.bridges["br1"];
    assert_eq!(bridge.external_ids, BTreeMap::from([("a".to_owned(), "b".to_owned())]));

    handle.add_port(new_port("v1", PortVlan::Access(0))).await.unwrap();
    let with_port = until(&mut ovs, |ovs| openflow_port(ovs, "v1").is_some()).await;
    let port = &with_port.ports["v1"];
    assert!(new_port("v1", PortVlan::Access(0)).is_satisfied_by(port), "{port:?}");
    assert_eq!((port.owner(), port.access_vlan()), (Owner::Underpass, Some(0)));
    assert!(with_port.bridges["br1"].ports.contains("v1"));
    assert!(with_port.cur_cfg >= connected.next_cfg);
    assert_eq!(switch.vsctl(&["get", "port", "v1", "vlan_mode", "tag"]), "access\n0");

    handle.remove_port("v1").await.unwrap();
    until(&mut ovs, |ovs| !ovs.ports.contains_key("v1")).await;
    assert_eq!(switch.vsctl(&["list-ports", "br1"]), "");
    handle.remove_port("v1").await.unwrap();
}

#[tokio::test]
async fn what_was_just_added_is_removed_though_it_was_not_seen_yet() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    until(&mut handle.watch(), |ovs| ovs.is_current()).await;
    // On this runtime of one thread the task has no chance to publish between the two.
    for _ in 0..5 {
        handle.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap();
        handle.remove_port("v1").await.unwrap();
        assert_eq!(switch.vsctl(&["list-ports", "br1"]), "");
    }
}

#[tokio::test]
async fn a_port_of_ours_is_changed_in_place_and_moved() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    switch.vsctl(&["add-br", "br2", "--", "set", "bridge", "br2", "datapath_type=dummy"]);
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    handle.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap();
    let before = until(&mut ovs, |ovs| openflow_port(ovs, "v1").is_some()).await;
    switch.vsctl(&["set", "port", "v1", "external_ids:iface-id=x", "external_ids:underpass-ips=old"]);

    let trunk = PortVlan::Trunk { ids: BTreeSet::from([7, 8]), native: Some(9) };
    handle.add_port(new_port("v1", trunk.clone())).await.unwrap();
    let after = until(&mut ovs, |ovs| ovs.ports["v1"].has_vlan(&trunk)).await;
    assert_eq!(after.ports["v1"].uuid, before.ports["v1"].uuid);
    let keys: Vec<_> = after.ports["v1"].external_ids.keys().map(String::as_str).collect();
    assert_eq!(keys, ["iface-id", "owner", "underpass-ifname"]);

    let moved =
        NewPort { bridge: "br2".to_owned(), ofport_request: Some(77), ..new_port("v1", PortVlan::Unset) };
    handle.add_port(moved.clone()).await.unwrap();
    let after = until(&mut ovs, |ovs| openflow_port(ovs, "v1") == Some(77)).await;
    assert!(moved.is_satisfied_by(&after.ports["v1"]), "{:?}", after.ports["v1"]);
    assert_eq!(switch.vsctl(&["list-ports", "br1"]), "");
    assert_eq!(switch.vsctl(&["port-to-br", "v1"]), "br2");
}

#[tokio::test]
async fn ports_of_others_are_left_alone_and_those_of_ovs_cni_are_not() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    switch.vsctl(&["add-port", "br1", "eth9"]);
    switch.vsctl(&["add-port", "br1", "v9", "--", "set", "port", "v9", "external_ids:owner=neutron"]);
    switch.vsctl(&["add-port", "br1", "c1"]);
    switch.vsctl(&["set", "port", "c1", "external_ids:owner=ovs-cni.network.kubevirt.io"]);
    let handle = switch.adapter(&mut tasks);
    until(&mut handle.watch(), |ovs| ovs.is_current() && ovs.ports.contains_key("c1")).await;
    for name in ["eth9", "v9", "br1"] {
        let added = handle.add_port(new_port(name, PortVlan::Access(5))).await;
        assert!(matches!(added, Err(PortError::Foreign { .. })), "{added:?}");
        let removed = handle.remove_port(name).await;
        assert!(matches!(removed, Err(PortError::Foreign { .. })), "{removed:?}");
    }
    handle.remove_port("c1").await.unwrap();
    assert_eq!(switch.vsctl(&["list-ports", "br1"]), "eth9\nv9");
}

#[tokio::test]
async fn a_port_of_ours_that_somebody_cleared_is_ours() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let name = "veth0123456789a";
    switch.vsctl(&["add-port", "br1", name]);
    let handle = switch.adapter(&mut tasks);
    until(&mut handle.watch(), |ovs| ovs.is_current() && ovs.ports.contains_key(name)).await;
    handle.add_port(new_port(name, PortVlan::Access(5))).await.unwrap();
    assert_eq!(switch.vsctl(&["get", "port", name, "external_ids:owner"]), "underpass");
    switch.vsctl(&["clear", "port", name, "external_ids"]);
    handle.remove_port(name).await.unwrap();
    assert_eq!(switch.vsctl(&["list-ports", "br1"]), "");
}

#[tokio::test]
async fn a_port_that_appeared_unseen_is_judged_by_the_database() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    until(&mut handle.watch(), |ovs| ovs.is_current()).await;
    // ovs-vsctl blocks this thread, so the task cannot have seen the ports before the calls are made.
    switch.vsctl(&["add-port", "br1", "v1", "--", "set", "port", "v1", "external_ids:owner=neutron"]);
    switch.vsctl(&["add-port", "br1", "v2", "--", "set", "port", "v2", "external_ids:owner=underpass"]);
    let foreign = handle.add_port(new_port("v1", PortVlan::Access(5))).await;
    assert!(matches!(foreign, Err(PortError::Foreign { .. })), "{foreign:?}");
    handle.add_port(new_port("v2", PortVlan::Access(5))).await.unwrap();
    assert_eq!(switch.vsctl(&["get", "port", "v2", "tag"]), "5");
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    until(&mut handle.watch(), |ovs| ovs.is_current() && ovs.bridges.contains_key("br1")).await;
    let elsewhere = NewPort { bridge: "br9".to_owned(), ..new_port("v1", PortVlan::Access(5)) };
    let missing = handle.add_port(elsewhere).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no bridge br9; bridges here: br1");
    let range = handle.add_port(new_port("v1", PortVlan::Access(4096))).await.unwrap_err();
    assert!(range.to_string().starts_with("OVSDB refused insert: constraint violation ("), "{range}");
    assert_eq!(switch.vsctl(&["list-ports", "br1"]), "");
}

#[tokio::test]
async fn a_device_that_cannot_be_opened_is_reported_and_others_are_not_held_up() {
    let (switch, mut tasks) = (Switch::with_dummies("--enable-dummy"), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    handle.add_port(new_port("nosuchdev0", PortVlan::Access(5))).await.unwrap();
    let failed =
        |ovs: &Arc<Ovs>| ovs.ports.get("nosuchdev0").is_some_and(|port| port.interfaces[0].error.is_some());
    let ovs = until(&mut ovs, failed).await;
    let interface = ovs.ports["nosuchdev0"].interface().unwrap();
    assert_eq!((interface.ofport, interface.openflow_port()), (Some(-1), None));
    assert!(interface.error.as_deref().unwrap().contains("No such device"), "{interface:?}");
    assert_eq!(ovs.cur_cfg, ovs.next_cfg);
}

#[tokio::test]
async fn thirty_adds_at_once_succeed_but_for_the_bad_ones() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    let mut calls = JoinSet::new();
    for number in 0..30u16 {
        let (handle, vlan) = (handle.clone(), if number % 10 == 9 { 4096 } else { number });
        calls.spawn(
            async move { handle.add_port(new_port(&format!("v{number}"), PortVlan::Access(vlan))).await },
        );
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 27);
    assert_eq!(
        outcomes.iter().filter(|outcome| matches!(outcome, Err(PortError::Refused { .. }))).count(),
        3
    );
    until(&mut ovs, |ovs| ovs.ports.keys().filter(|name| openflow_port(ovs, name).is_some()).count() >= 27)
        .await;
}

#[tokio::test]
async fn a_lost_connection_leaves_a_stale_picture_and_comes_back() {
    let (mut switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    handle.add_port(new_port("v0", PortVlan::Access(5))).await.expect_err("nothing is connected yet");
    until(&mut ovs, |ovs| ovs.is_current()).await;
    handle.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap();
    until(&mut ovs, |ovs| ovs.ports.contains_key("v1")).await;

    switch.stop_server();
    let stale = until(&mut ovs, |ovs| !ovs.is_current()).await;
    assert!(stale.is_synced && stale.lock == Lock::Waiting && stale.ports.contains_key("v1"));
    let refused = handle.remove_port("v1").await.unwrap_err();
    assert!(matches!(refused, PortError::Unreachable(_)), "{refused:?}");

    switch.restart_server();
    until(&mut ovs, |ovs| ovs.is_current() && ovs.lock == Lock::Held).await;
    handle.remove_port("v1").await.unwrap();
    until(&mut ovs, |ovs| !ovs.ports.contains_key("v1")).await;
}

#[tokio::test]
async fn a_picture_grown_by_changes_equals_one_read_afresh() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    switch.vsctl(&["add-br", "br2", "--", "set", "bridge", "br2", "datapath_type=dummy"]);
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    let on =
        |bridge: &str, name| NewPort { bridge: bridge.to_owned(), ..new_port(name, PortVlan::Access(5)) };
    for (bridge, name) in [("br1", "v1"), ("br1", "v2"), ("br2", "v2"), ("br1", "v3")] {
        handle.add_port(on(bridge, name)).await.unwrap();
        until(&mut ovs, |ovs| ovs.ports.get(name).is_some_and(|port| port.bridge == bridge)).await;
    }
    handle.remove_port("v1").await.unwrap();
    handle.add_port(new_port("v1", PortVlan::Unset)).await.unwrap();
    switch.vsctl(&["--", "set", "port", "v3", "tag=9", "--", "set", "interface", "v2", "external_ids:a=b"]);
    switch.vsctl(&[
        "add-bond",
        "br1",
        "bond0",
        "m1",
        "m2",
        "--",
        "set",
        "interface",
        "m1",
        "external_ids:c=d",
    ]);
    switch.vsctl(&[
        "--",
        "set",
        "bridge",
        "br2",
        "other_config:mac-aging-time=60",
        "mcast_snooping_enable=true",
    ]);

    let afresh = switch.adapter(&mut tasks);
    let is_settled = |ovs: &Arc<Ovs>| ovs.cur_cfg == ovs.next_cfg && ovs.ports.contains_key("bond0");
    let afresh = until(&mut afresh.watch(), is_settled).await;
    let grown = until(&mut ovs, |ovs| ovs.ports == afresh.ports && ovs.bridges == afresh.bridges).await;
    assert!(grown.ports["bond0"].is_bond() && grown.ports["v2"].bridge == "br2");
    assert_eq!(grown.ports["v3"].tag, Some(9));
}

#[tokio::test]
async fn a_second_agent_waits_for_the_lock_and_writes_nothing() {
    let (switch, mut first_tasks, mut tasks) = (Switch::start(), JoinSet::new(), JoinSet::new());
    let first = switch.adapter(&mut first_tasks);
    until(&mut first.watch(), |ovs| ovs.lock == Lock::Held).await;
    let second = switch.adapter(&mut tasks);
    let mut ovs = second.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    let refused = second.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap_err();
    assert!(matches!(refused, PortError::NotHeld), "{refused:?}");
    first_tasks.shutdown().await;
    until(&mut ovs, |ovs| ovs.lock == Lock::Held).await;
    second.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap();
}

#[tokio::test]
async fn conditions_against_acceleration_are_seen_as_they_come_and_go() {
    let (switch, mut tasks) = (Switch::start(), JoinSet::new());
    let handle = switch.adapter(&mut tasks);
    let mut ovs = handle.watch();
    until(&mut ovs, |ovs| ovs.is_current()).await;
    handle.add_port(new_port("v1", PortVlan::Access(5))).await.unwrap();
    let mut check = async |args: &[&str], expected: &[Obstacle]| {
        switch.vsctl(args);
        let blockers = |ovs: &Ovs| {
            let mut blockers = ovs.accel_blockers("br1");
            blockers.extend(ovs.ports.get("v1").map(Port::accel_blockers).unwrap_or_default());
            blockers
        };
        until(&mut ovs, |ovs| ovs.ports.contains_key("v1") && blockers(ovs) == expected).await;
    };
    check(
        &["--", "--id=@m", "create", "mirror", "name=m", "--", "set", "bridge", "br1", "mirrors=@m"],
        &[Obstacle::Mirror],
    )
    .await;
    check(&["clear", "bridge", "br1", "mirrors"], &[]).await;
    check(
        &[
            "--",
            "--id=@s",
            "create",
            "sflow",
            "targets=\"127.0.0.1:1\"",
            "--",
            "set",
            "bridge",
            "br1",
            "sflow=@s",
        ],
        &[Obstacle::SFlow],
    )
    .await;
    check(&["clear", "bridge", "br1", "sflow"], &[]).await;
    check(
        &[
            "--",
            "--id=@b",
            "get",
            "bridge",
            "br1",
            "--",
            "create",
            "Flow_Sample_Collector_Set",
            "id=1",
            "bridge=@b",
        ],
        &[Obstacle::Sampling],
    )
    .await;
    check(&["--all", "destroy", "Flow_Sample_Collector_Set"], &[]).await;
    check(&["set", "interface", "v1", "ingress_policing_rate=1000"], &[Obstacle::Policing]).await;
    check(&["set", "interface", "v1", "ingress_policing_rate=0"], &[]).await;
    check(
        &["--", "--id=@q", "create", "qos", "type=linux-htb", "--", "set", "port", "v1", "qos=@q"],
        &[Obstacle::Qos],
    )
    .await;
    check(&["clear", "port", "v1", "qos"], &[]).await;
    check(&["set", "port", "v1", "protected=true"], &[Obstacle::Protected]).await;
    check(&["set", "port", "v1", "protected=false"], &[]).await;
    check(
        &["set", "bridge", "br1", "stp_enable=true", "flood_vlans=7"],
        &[Obstacle::FloodVlans, Obstacle::Stp],
    )
    .await;
}
