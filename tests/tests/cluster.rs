//! The product in a cluster: installed by its chart on two nodes of real Kubernetes parts.
//!
//! Run by `cargo xtask test --cluster`: it needs the parts built from Go modules and the product's image.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Cluster, NODES, PingStream, eventually, note};

/// Events are written at once; the API server may be slow.
const SOON: Duration = Duration::from_secs(30);

/// What takes a minute by itself: a pod whose ADD was refused is tried again, ever later; a claimant that is silent is
/// believed to be gone.
const IN_TIME: Duration = Duration::from_mins(2);

fn pings(cluster: &Cluster, from: &str, to: &str) -> Result<()> {
    let program = if to.contains(':') { "ping6" } else { "ping" };
    cluster.exec(from, &[program, "-c", "2", "-W", "2", to]).map(drop)
}

#[track_caller]
fn assert_reaches(cluster: &Cluster, from: &str, to: &str) {
    eventually(SOON, &format!("{from} reaches {to}"), || pings(cluster, from, to));
}

#[track_caller]
fn assert_gone(cluster: &Cluster, app: &str) {
    eventually(IN_TIME, &format!("every pod of {app} is gone"), || {
        let left = cluster.get(&["pods", &format!("--selector=app={app}")])?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
        Ok(())
    });
}

/// Both addresses of a pod, IPv4 and IPv6.
#[track_caller]
fn addresses(cluster: &Cluster, pod: &str) -> Vec<String> {
    let pod = cluster.get(&["pod", pod]).expect("the pod");
    let ips = pod["status"]["podIPs"].as_array().expect("its addresses").iter();
    ips.filter_map(|ip| ip["ip"].as_str()).map(str::to_owned).collect()
}

/// What a node's bridge and agent hold: ports, flows of the guard, endpoints, addresses that host-local gave.
fn holdings(cluster: &Cluster, node: &str) -> [usize; 4] {
    let on = |words: &[&str]| cluster.on(node, words).expect("an answer");
    let ports = on(&["ovs-vsctl", "list-ports", "br1"]).lines().count();
    let flows = on(&["ovs-ofctl", "dump-flows", "br1"]).lines().filter(|l| l.contains("0x5550")).count();
    let endpoints = cluster.agentctl(node, &["endpoints", "-o", "json"]);
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).expect("JSON");
    let leases = on(&["sh", "-c", "ls /var/lib/cni/networks/underlay | grep -c '[.:]' || true"]);
    let endpoints = endpoints.as_array().expect("a list").len();
    [ports, flows, endpoints, leases.trim().parse().expect("a number")]
}

#[track_caller]
fn assert_event(cluster: &Cluster, pod: &str, reason: &str, kind: &str, text: &str) {
    eventually(IN_TIME, &format!("kubectl shows {reason} of {pod}"), || {
        let field = format!("--field-selector=involvedObject.name={pod},reason={reason}");
        let events = cluster.get(&["events", &field])?;
        let event = &events["items"][0];
        ensure!(event["type"] == kind, "{events}");
        ensure!(event["message"].as_str().is_some_and(|message| message.contains(text)), "{event}");
        Ok(())
    });
}

#[test]
fn installed_by_helm_pods_talk_within_and_across_nodes_and_an_uninstall_leaves_them_connected() {
    let cluster = Cluster::up();
    let began = Instant::now();
    cluster.install();
    note(&format!("installed, nodes Ready: {:?}", began.elapsed()));
    let began = Instant::now();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    note(&format!("4 pods Running: {:?}", began.elapsed()));
    let nodes: Vec<_> = pods.iter().map(|(_, node, _)| node.as_str()).collect();
    assert_eq!(nodes, [NODES[0], NODES[0], NODES[1], NODES[1]]);
    let first = &pods[0].0;
    let others: Vec<String> = pods[1..].iter().flat_map(|(pod, _, _)| addresses(&cluster, pod)).collect();
    assert_eq!(others.len(), 6, "IPv4 and IPv6 each: {others:?}");
    for address in others.iter().map(String::as_str).chain(["10.244.0.1", "fd00:244::1"]) {
        assert_reaches(&cluster, first, address);
    }

    let flows = cluster.agentctl(NODES[0], &["flows", "dump"]);
    assert!(flows.contains(&format!("default/{first}:eth0")), "{flows}");
    let node = cluster.get(&["node", NODES[0]]).expect("the node");
    assert_eq!(node["status"]["allocatable"]["ovs-cni.network.kubevirt.io/br1"], "1k");
    assert!(node["spec"]["taints"].is_null(), "{node}");
    cluster.helm(&["test", "underpass", "--namespace", "kube-system", "--timeout", "60s"]);

    cluster.helm(&["uninstall", "underpass", "--namespace", "kube-system", "--wait"]);
    for node in NODES {
        let flows = cluster.on(node, &["ovs-ofctl", "dump-flows", "br1"]).expect("flows");
        assert!(!flows.contains("0x5550"), "{flows}");
        let conf = cluster.on(node, &["ls", "-A", "/etc/cni/net.d"]).expect("the directory");
        assert_eq!(conf.trim(), "", "configurations are left on {node}");
        cluster.on(node, &["test", "!", "-e", "/sys/fs/bpf/underpass"]).expect("no pins");
        let node = cluster.get(&["node", node]).expect("the node");
        assert!(node["status"]["capacity"]["ovs-cni.network.kubevirt.io/br1"].is_null(), "{node}");
    }
    for address in &others {
        assert_reaches(&cluster, first, address);
    }

    // A runtime without any network can delete no pod. Installed again, the agent knows its pods.
    cluster.install();
    let endpoints = cluster.agentctl(NODES[0], &["endpoints"]);
    assert!(endpoints.contains(&format!("default/{first}:eth0")), "{endpoints}");
    cluster.kubectl(&["delete", "deployment", "shop"]);
    assert_gone(&cluster, "shop");
    cluster.helm(&["uninstall", "underpass", "--namespace", "kube-system", "--wait"]);
    for node in NODES {
        let ports = cluster.on(node, &["ovs-vsctl", "list-ports", "br1"]).expect("the ports");
        assert_eq!(ports.trim(), "eth1", "{node}");
        for path in ["/opt/cni/bin/underpass", "/sys/fs/bpf/underpass", "/run/underpass/ledger"] {
            cluster.on(node, &["test", "!", "-e", path]).unwrap_or_else(|_| panic!("{node}: {path} is left"));
        }
    }
}

#[test]
fn behind_multus_pods_have_legs_in_two_vlans_and_get_the_name_mac_and_addresses_that_they_ask_for() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.add_multus();
    cluster.apply("networks.yaml");
    let pods = cluster.running("wide", 4);
    let first = &pods[0].0;
    for (network, gateways) in
        [("default/vlan10", ["10.10.0.1", "fd00:10::1"]), ("kube-system/vlan20", ["10.20.0.1", "fd00:20::1"])]
    {
        for (pod, _, _) in &pods[1..] {
            let addresses = cluster.addresses(pod, network);
            assert_eq!(addresses.len(), 2, "{addresses:?}");
            for address in &addresses {
                assert_reaches(&cluster, first, address);
            }
        }
        for gateway in gateways {
            assert_reaches(&cluster, first, gateway);
        }
    }

    cluster.running("fixed", 1);
    let link = cluster.exec("fixed", &["ip", "address", "show", "lan"]).expect("the interface");
    for asked in ["02:00:00:00:10:09", "10.10.0.9/16", "fd00:10::9/64"] {
        assert!(link.contains(asked), "no {asked}: {link}");
    }
    assert_reaches(&cluster, first, "10.10.0.9");
    assert_reaches(&cluster, first, "fd00:10::9");

    let address = cluster.running("first", 1).remove(0).2;
    assert!(address.starts_with("10.20."), "the first network is not the one asked for: {address}");
    assert_reaches(&cluster, first, &address);
}

#[test]
fn a_spoofing_pod_is_stopped_and_kubectl_shows_its_event() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let (spoofer, victim) = (&pods[0].0, &pods[2].2);
    assert_reaches(&cluster, spoofer, victim);
    cluster.exec(spoofer, &["ip", "address", "add", "10.244.9.9/16", "dev", "eth0"]).expect("an address");
    let stopped =
        cluster.exec(spoofer, &["ping", "-c", "30", "-i", "0.2", "-W", "1", "-I", "10.244.9.9", victim]);
    assert!(stopped.is_err(), "a spoofed ping was answered: {stopped:?}");
    assert_event(&cluster, spoofer, "GuardDrops", "Warning", "the guard stopped");
    assert_reaches(&cluster, spoofer, victim);
}

#[test]
fn conflicts_and_dead_gateways_become_events_and_so_does_their_end() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let (pod, _, address) = &pods[0];
    let underlay = |words: &[&str]| cluster.on("cp", &[&["ip", "address"], words].concat()).expect("ip");

    underlay(&["add", &format!("{address}/32"), "dev", "br1"]);
    let neighbour = &pods[2].2;
    let claim = ["ping", "-c", "3", "-i", "0.3", "-W", "1", "-I", address, neighbour];
    // What is known already is not asked for; whether anybody answers does not matter.
    cluster.on("cp", &["ip", "neighbour", "flush", "dev", "br1"]).expect("ip");
    cluster.on("cp", &claim).ok();
    assert_event(&cluster, pod, "AddressConflict", "Warning", address);
    underlay(&["del", &format!("{address}/32"), "dev", "br1"]);
    assert_event(&cluster, pod, "AddressConflictGone", "Normal", address);

    underlay(&["del", "10.244.0.1/16", "dev", "br1"]);
    for (pod, _, _) in &pods {
        assert_event(&cluster, pod, "GatewayLost", "Warning", "10.244.0.1");
    }
    underlay(&["add", "10.244.0.1/16", "dev", "br1"]);
    for (pod, _, _) in &pods {
        assert_event(&cluster, pod, "GatewayBack", "Normal", "10.244.0.1");
    }
}

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

#[test]
fn an_upgrade_and_its_rollback_lose_no_packet() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let (first, same_node, other_node) = (&pods[0].2, &pods[1].2, &pods[2].2);
    assert_reaches(&cluster, &pods[0].0, same_node);
    assert_reaches(&cluster, &pods[0].0, other_node);
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
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    let first = &pods[0];
    for (_, _, address) in &pods[1..] {
        assert_reaches(&cluster, &first.0, address);
    }
    let (began, streams) =
        (Instant::now(), [&pods[1].2, &pods[2].2].map(|to| cluster.ping(NODES[0], &first.2, to)));
    for node in NODES {
        let agent = cluster.agent(node);
        let force = ["--grace-period=0", "--force", "--wait=false"];
        cluster.kubectl(&[&["--namespace=kube-system", "delete", "pod", &agent], &force[..]].concat());
    }
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=6"]);
    let pods = cluster.running("shop", 6);
    assert_lossless("six pods after the agents' end", began, streams);
    for (_, _, address) in &pods {
        assert_reaches(&cluster, &first.0, address);
    }
}

#[test]
fn without_the_api_server_pods_are_added_and_deleted_and_the_agent_restarts() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    cluster.running("shop", 4);
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
fn churn_and_forced_deletions_leave_nothing_behind() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    cluster.running("shop", 4);
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=0"]);
    assert_gone(&cluster, "shop");
    let before = NODES.map(|node| holdings(&cluster, node));
    for _ in 0..3 {
        cluster.kubectl(&["scale", "deployment", "shop", "--replicas=20"]);
        cluster.running("shop", 20);
        cluster.kubectl(&[
            "delete",
            "pods",
            "--selector=app=shop",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
    }
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=0"]);
    assert_gone(&cluster, "shop");
    for (node, before) in NODES.into_iter().zip(before) {
        eventually(
            IN_TIME,
            &format!("{node} holds what it held: ports, flows, endpoints, addresses"),
            || {
                let now = holdings(&cluster, node);
                ensure!(now == before, "{now:?}, it was {before:?}");
                Ok(())
            },
        );
    }
}
