//! What befalls a cluster: upgrades, agents killed, no API server, daemons restarted, a node rebooted.
//!
//! Run by `cargo xtask test --cluster`, as `cluster.rs` is.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{Cluster, NODES, PingStream, eventually, note};

/// What takes a minute by itself: a pod whose ADD was refused is tried again, ever later.
const IN_TIME: Duration = Duration::from_mins(2);

/// Stops the pings; none may be lost. How long it took is noted.
#[track_caller]
fn assert_lossless(what: &str, began: Instant, streams: [PingStream; 2]) {
    let took = began.elapsed();
    for (path, stream) in ["within a node", "across nodes"].into_iter().zip(streams) {
        let loss = stream.stop().expect("a count");
        note(&format!("{what} in {took:?}, {path}: {loss:?}"));
        assert_eq!(loss.lost(), 0, "{what}, {path}: {loss:?}");
    }
}

/// Pings from the first pod to one on its node and to one on the other, once it reaches all.
#[track_caller]
fn streams(cluster: &Cluster, pods: &[(String, String, String)]) -> (Instant, [PingStream; 2]) {
    let (name, _, address) = &pods[0];
    for (_, _, other) in &pods[1..] {
        cluster.assert_reaches(name, other);
    }
    (Instant::now(), [&pods[1].2, &pods[2].2].map(|to| cluster.ping(NODES[0], address, to)))
}

#[test]
fn an_upgrade_and_its_rollback_lose_no_packet() {
    let (cluster, pods) = Cluster::with_shop();
    let (first, same_node, other_node) = (&pods[0].2, &pods[1].2, &pods[2].2);
    cluster.assert_reaches(&pods[0].0, same_node);
    cluster.assert_reaches(&pods[0].0, other_node);
    let pings = || [same_node, other_node].map(|to| cluster.ping(NODES[0], first, to));

    let (began, streams) = (Instant::now(), pings());
    cluster.upgrade(&["--set", "config.log.level=debug"]);
    assert_lossless("upgraded", began, streams);

    let (began, streams) = (Instant::now(), pings());
    cluster.helm(&["rollback", "underpass", "--namespace", "kube-system", "--wait", "--timeout", "100s"]);
    cluster.rolled_out();
    assert_lossless("rolled back", began, streams);
}

#[test]
fn the_agents_pods_are_killed_old_pods_do_not_notice_and_new_ones_come_up() {
    let (cluster, pods) = Cluster::with_shop();
    let (began, streams) = streams(&cluster, &pods);
    let first = &pods[0];
    for node in NODES {
        let agent = cluster.agent(node);
        let force = ["--grace-period=0", "--force", "--wait=false"];
        cluster.kubectl(&[&["--namespace=kube-system", "delete", "pod", &agent], &force[..]].concat());
    }
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=6"]);
    let pods = cluster.running("shop", 6);
    assert_lossless("six pods after the agents' end", began, streams);
    for (_, _, address) in &pods {
        cluster.assert_reaches(&first.0, address);
    }
}

#[test]
fn without_the_api_server_pods_are_added_and_deleted_and_the_agent_restarts() {
    let (cluster, _) = Cluster::with_shop();
    let node = NODES[0];
    let on = |words: &[&str]| cluster.on(node, words).unwrap_or_else(|error| panic!("{error:#}"));
    for netns in ["early", "late"] {
        on(&["ip", "netns", "add", netns]);
    }
    // Stopped, not ended: requests hang, which is worse than a refusal.
    cluster.signal("cp", "kube-apiserver", "-STOP");
    let add = |netns: &str| cluster.cni(node, "ADD", netns);
    let reaches =
        |netns: &str| on(&["ip", "netns", "exec", netns, "ping", "-c", "2", "-W", "2", "10.244.0.1"]);
    let began = Instant::now();
    add("early").expect("an ADD");
    note(&format!("ADD without an API server: {:?}", began.elapsed()));
    reaches("early");
    cluster.signal(node, "underpass-agent", "-KILL");
    eventually(IN_TIME, "the agent is back", || add("late"));
    reaches("early");
    reaches("late");
    for netns in ["early", "late"] {
        cluster.cni(node, "DEL", netns).expect("a DEL");
    }
    cluster.signal("cp", "kube-apiserver", "-CONT");
    let left = on(&["ovs-vsctl", "--columns=external_ids", "list", "Interface"]);
    assert!(!left.contains("early") && !left.contains("late"), "{left}");
    cluster.running("shop", 4);
}

#[test]
fn the_runtime_and_the_kubelet_are_killed_pods_do_not_notice_and_new_ones_come_up() {
    let (cluster, pods) = Cluster::with_shop();
    let (began, streams) = streams(&cluster, &pods);
    let first = &pods[0];
    for service in ["containerd", "kubelet"] {
        cluster.restart(NODES[0], service);
    }
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=6"]);
    let more = cluster.running("shop", 6);
    assert_lossless("six pods after the end of containerd and kubelet", began, streams);
    for pod in &pods {
        assert!(more.contains(pod), "{pod:?} is another now: {more:?}");
    }
    for (_, _, address) in &more {
        cluster.assert_reaches(&first.0, address);
    }
    cluster.kubectl(&["delete", "deployment", "shop"]);
    cluster.assert_gone("shop");
    for node in NODES {
        let ports = cluster.on(node, &["ovs-vsctl", "list-ports", "br1"]).expect("the ports");
        assert_eq!(ports.trim(), "eth1", "{node}");
    }
}

/// The node is Ready after 3 s, and its kubelet tries pods at once, for the configuration of the network is still
/// there; the agent is not yet, so the first ADD is refused. The kubelet tries again after 10 to 15 s of its own.
#[test]
fn a_node_reboots_its_pods_come_back_and_nothing_of_the_old_boot_is_left() {
    let (cluster, pods) = Cluster::with_shop();
    let (node, neighbour) = (NODES[0], &pods[2]);
    cluster.assert_reaches(&neighbour.0, &pods[0].2);
    let before = cluster.holdings(node).expect("what it holds");
    let boot = |node| cluster.get(&["node", node]).expect("the node")["status"]["nodeInfo"]["bootID"].clone();
    let old = boot(node);

    let began = Instant::now();
    cluster.reboot(node);
    eventually(IN_TIME, "the node has another boot id", || {
        if boot(node) == old { Err(format!("it is still {old}")) } else { Ok(()) }
    });
    eventually(IN_TIME, "its pods are new and reach the other node", || {
        let now = cluster.running("shop", 4);
        ensure!(now.iter().all(|pod| pod.1 != node || !pods.contains(pod)), "{now:?}");
        for (pod, _, _) in now.iter().filter(|pod| pod.1 == node) {
            cluster.exec(pod, &["ping", "-c", "2", "-W", "2", &neighbour.2])?;
        }
        Ok(())
    });
    note(&format!("rebooted, pods there again: {:?}", began.elapsed()));
    cluster.assert_holds(node, before);
}
