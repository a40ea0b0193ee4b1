//! The product in a cluster: installed by its chart on two nodes of real Kubernetes parts.
//!
//! Run by `cargo xtask test cluster`: it needs the parts built from Go modules and the product's image.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, NODES, eventually};

/// Events are written at once; the API server may be slow.
const SOON: Duration = Duration::from_secs(30);

fn pings(cluster: &Cluster, from: &str, to: &str) -> Result<()> {
    cluster.exec(from, &["ping", "-c", "2", "-W", "2", to]).map(drop)
}

#[track_caller]
fn assert_reaches(cluster: &Cluster, from: &str, to: &str) {
    eventually(SOON, &format!("{from} reaches {to}"), || pings(cluster, from, to));
}

#[test]
fn installed_by_helm_pods_talk_within_and_across_nodes_and_an_uninstall_leaves_them_connected() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let nodes: Vec<_> = pods.iter().map(|(_, node, _)| node.as_str()).collect();
    assert_eq!(nodes, [NODES[0], NODES[0], NODES[1], NODES[1]]);
    let first = &pods[0].0;
    for (_, _, address) in &pods[1..] {
        assert_reaches(&cluster, first, address);
    }
    assert_reaches(&cluster, first, "10.244.0.1");

    let flows = cluster.agentctl(NODES[0], &["flows", "dump"]);
    assert!(flows.contains(&format!("default/{first}:eth0")), "{flows}");
    let node = cluster.get(&["node", NODES[0]]).expect("the node");
    assert_eq!(node["status"]["allocatable"]["ovs-cni.network.kubevirt.io/br1"], "1k");

    cluster.helm(&["uninstall", "underpass", "--namespace", "kube-system", "--wait"]);
    for node in NODES {
        let flows = cluster.on(node, &["ovs-ofctl", "dump-flows", "br1"]).expect("flows");
        assert!(!flows.contains("0x5550"), "{flows}");
        let conf = cluster.on(node, &["ls", "/etc/cni/net.d"]).expect("the directory");
        assert_eq!(conf.trim(), "", "configurations are left on {node}");
    }
    for (_, _, address) in &pods[1..] {
        assert_reaches(&cluster, first, address);
    }
    // The plugin stayed for them: they can be deleted.
    cluster.kubectl(&["delete", "deployment", "shop", "--wait"]);
    eventually(SOON, "every pod is gone", || {
        let left = cluster.get(&["pods", "--selector=app=shop"])?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
        Ok(())
    });
}

#[test]
fn a_spoofing_pod_is_stopped_and_kubectl_shows_its_event() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let (spoofer, victim) = (&pods[0].0, &pods[1].2);
    assert_reaches(&cluster, spoofer, victim);
    cluster.exec(spoofer, &["ip", "address", "add", "10.244.9.9/16", "dev", "eth0"]).expect("an address");
    let stopped =
        cluster.exec(spoofer, &["ping", "-c", "30", "-i", "0.2", "-W", "1", "-I", "10.244.9.9", victim]);
    assert!(stopped.is_err(), "a spoofed ping was answered: {stopped:?}");
    eventually(SOON, "kubectl shows the event", || {
        let field = format!("--field-selector=involvedObject.name={spoofer},reason=GuardDrops");
        let events = cluster.get(&["events", &field])?;
        let event = &events["items"][0];
        ensure!(event["type"] == "Warning", "{events}");
        ensure!(event["message"].as_str().is_some_and(|text| text.contains("the guard stopped")), "{event}");
        Ok(())
    });
    assert_reaches(&cluster, spoofer, victim);
}

#[test]
fn the_agents_pod_is_killed_old_pods_do_not_notice_and_new_ones_come_up() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let (first, neighbour) = (&pods[0].0, &pods[1].2);
    let agent = cluster.agent(NODES[0]);
    cluster.kubectl(&[
        "--namespace=kube-system",
        "delete",
        "pod",
        &agent,
        "--grace-period=0",
        "--force",
        "--wait=false",
    ]);
    let lost =
        cluster.exec(first, &["ping", "-c", "50", "-i", "0.1", "-W", "1", neighbour]).expect("the ping");
    assert!(lost.contains("50 packets received"), "{lost}");
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=6"]);
    let pods = cluster.running("shop", 6);
    for (_, _, address) in &pods {
        assert_reaches(&cluster, first, address);
    }
}
