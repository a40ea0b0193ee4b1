//! The product in a cluster: installed by its chart on two nodes of real Kubernetes parts.
//!
//! Run by `cargo xtask test --cluster`: it needs the parts built from Go modules and the product's image.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Cluster, NODES, eventually, note};

/// A path is there at once, but on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

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
    let others: Vec<String> = pods[1..].iter().flat_map(|(pod, _, _)| cluster.pod_addresses(pod)).collect();
    assert_eq!(others.len(), 6, "IPv4 and IPv6 each: {others:?}");
    for address in others.iter().map(String::as_str).chain(["10.244.0.1", "fd00:244::1"]) {
        cluster.assert_reaches(first, address);
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
    cluster.assert_unloaded();
    for address in &others {
        cluster.assert_reaches(first, address);
    }

    // A runtime without any network can delete no pod. Installed again, the agent knows its pods.
    cluster.install();
    let endpoints = cluster.agentctl(NODES[0], &["endpoints"]);
    assert!(endpoints.contains(&format!("default/{first}:eth0")), "{endpoints}");
    cluster.kubectl(&["delete", "deployment", "shop"]);
    cluster.assert_gone("shop");
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
    cluster.add_multus("networks.values.yaml");
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
                cluster.assert_reaches(first, address);
            }
        }
        for gateway in gateways {
            cluster.assert_reaches(first, gateway);
        }
    }

    cluster.running("fixed", 1);
    let link = cluster.exec("fixed", &["ip", "address", "show", "lan"]).expect("the interface");
    for asked in ["02:00:00:00:10:09", "10.10.0.9/16", "fd00:10::9/64"] {
        assert!(link.contains(asked), "no {asked}: {link}");
    }
    cluster.assert_reaches(first, "10.10.0.9");
    cluster.assert_reaches(first, "fd00:10::9");

    let address = cluster.running("first", 1).remove(0).2;
    assert!(address.starts_with("10.20."), "the first network is not the one asked for: {address}");
    cluster.assert_reaches(first, &address);
}

/// What stands in the fences of `docs/NAME` that begin with this, comments left out.
fn fenced(name: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let without_comment = |line: &str| line.split(" #").next().unwrap_or(line).trim_end().to_owned() + "\n";
    let fences = page.split("```").skip(1).step_by(2).filter_map(|fence| fence.strip_prefix(language));
    fences.map(|text| text.trim_start().lines().map(without_comment).collect()).collect()
}

#[test]
fn the_quick_start_leads_from_its_values_to_pods_that_talk() {
    for language in ["sh\n", "yaml\n"] {
        assert_eq!(fenced("quick-start.md", language), fenced("quick-start.zh.md", language));
    }
    let [_netplan, values, left] = &fenced("quick-start.md", "yaml\n")[..] else { panic!("other YAML") };
    let commands = fenced("quick-start.md", "sh\n").concat();

    let cluster = Cluster::up();
    cluster.install();
    cluster.add_multus(&cluster.keep("quick-start.values.yaml", values));
    // No node of the lab has a registry to ask.
    let left = left.replace("image: busybox", "image: localhost/busybox:1, imagePullPolicy: Never");
    let right = left.replace("left", "right").replace(".11/", ".12/");
    for (name, pod) in [("left", &left), ("right", &right)] {
        cluster.apply(&cluster.keep(&format!("{name}.yaml"), pod));
    }
    for name in ["left", "right"] {
        cluster.running(name, 1);
    }
    let looks = commands.lines().filter_map(|line| line.strip_prefix("kubectl "));
    let looks: Vec<Vec<&str>> = looks.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(looks.len(), 5, "{looks:?}");
    for words in looks {
        cluster.kubectl(&words);
    }
}

#[test]
fn a_spoofing_pod_is_stopped_and_kubectl_shows_its_event() {
    let (cluster, pods) = Cluster::with_shop();
    let (spoofer, victim) = (&pods[0].0, &pods[2].2);
    cluster.assert_reaches(spoofer, victim);
    cluster.exec(spoofer, &["ip", "address", "add", "10.244.9.9/16", "dev", "eth0"]).expect("an address");
    let stopped =
        cluster.exec(spoofer, &["ping", "-c", "30", "-i", "0.2", "-W", "1", "-I", "10.244.9.9", victim]);
    assert!(stopped.is_err(), "a spoofed ping was answered: {stopped:?}");
    cluster.assert_event(spoofer, "GuardDrops", "Warning", "the guard stopped");
    cluster.assert_reaches(spoofer, victim);
}

#[test]
fn conflicts_and_dead_gateways_become_events_and_so_does_their_end() {
    let (cluster, pods) = Cluster::with_shop();
    let (pod, _, address) = &pods[0];
    let underlay = |words: &[&str]| cluster.on("cp", &[&["ip", "address"], words].concat()).expect("ip");

    underlay(&["add", &format!("{address}/32"), "dev", "br1"]);
    let neighbour = &pods[2].2;
    let claim = ["ping", "-c", "3", "-i", "0.3", "-W", "1", "-I", address, neighbour];
    // What is known already is not asked for; whether anybody answers does not matter.
    cluster.on("cp", &["ip", "neighbour", "flush", "dev", "br1"]).expect("ip");
    cluster.on("cp", &claim).ok();
    cluster.assert_event(pod, "AddressConflict", "Warning", address);
    underlay(&["del", &format!("{address}/32"), "dev", "br1"]);

    // Meanwhile the claimant is silent long enough.
    underlay(&["del", "10.244.0.1/16", "dev", "br1"]);
    for (pod, _, _) in &pods {
        cluster.assert_event(pod, "GatewayLost", "Warning", "10.244.0.1");
    }
    underlay(&["add", "10.244.0.1/16", "dev", "br1"]);
    for (pod, _, _) in &pods {
        cluster.assert_event(pod, "GatewayBack", "Normal", "10.244.0.1");
    }
    cluster.assert_event(pod, "AddressConflictGone", "Normal", address);
}

#[test]
fn what_a_bridge_carried_before_stays_as_it_was() {
    let cluster = Cluster::up();
    let node = NODES[0];
    let machine = "ip netns add vm && ip link add vm0 type veth peer name eth0 netns vm && ip link set vm0 up && \
                   ip -n vm address add 10.244.200.1/16 dev eth0 && ip -n vm link set eth0 up && \
                   ovs-vsctl --timeout=20 add-port br1 vm0 -- set interface vm0 external_ids:owner=somebody && \
                   ovs-ofctl add-flow br1 cookie=0xf00,priority=7,in_port=vm0,actions=NORMAL";
    cluster.on(node, &["sh", "-c", machine]).expect("a virtual machine on the bridge");
    let reaches = |address: &str| {
        eventually(SOON, &format!("the virtual machine reaches {address}"), || {
            cluster.on(node, &["ip", "netns", "exec", "vm", "ping", "-c", "2", "-W", "2", address])
        });
    };
    reaches("10.244.0.1");
    cluster.install();
    cluster.apply("pods.yaml");
    let pods = cluster.running("shop", 4);
    for (_, _, address) in &pods {
        reaches(address);
    }
    cluster.assert_reaches(&pods[3].0, "10.244.200.1");
    cluster.kubectl(&["delete", "deployment", "shop"]);
    cluster.assert_gone("shop");
    cluster.helm(&["uninstall", "underpass", "--namespace", "kube-system", "--wait"]);
    reaches("10.244.0.1");
    let on = |words: &[&str]| cluster.on(node, words).expect("an answer");
    let flows = on(&["ovs-ofctl", "--no-stats", "dump-flows", "br1"]);
    let flows: Vec<_> = flows.lines().filter(|line| line.contains("actions")).collect();
    assert_eq!(flows.len(), 2, "the flow of before and the bridge's own: {flows:?}");
    assert!(flows.iter().any(|flow| flow.contains("cookie=0xf00")), "{flows:?}");
    let owner = on(&["ovs-vsctl", "get", "interface", "vm0", "external_ids"]);
    assert_eq!(owner.trim(), "{owner=somebody}");
    let mut ports: Vec<_> = on(&["ovs-vsctl", "list-ports", "br1"]).lines().map(str::to_owned).collect();
    ports.sort();
    assert_eq!(ports, ["eth1", "vm0"]);
}
