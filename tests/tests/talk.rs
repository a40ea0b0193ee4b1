//! Pods talk to each other and to their gateway, whatever the node's settings; VLANs keep them apart.

use e2e::{Host, Lab};
use std::net::IpAddr;

/// Everything that honest neighbours do: echo requests, datagrams, a connection.
#[track_caller]
fn assert_talks(from: &Host, to: &Host, addresses: &[IpAddr]) {
    let _echo = to.serve_echo();
    for &address in addresses {
        from.assert_reaches(address);
        from.udp_echo(address).unwrap_or_else(|error| panic!("UDP, {} to {address}: {error:#}", from.name()));
        from.tcp_echo(address).unwrap_or_else(|error| panic!("TCP, {} to {address}: {error:#}", from.name()));
    }
}

#[test]
fn two_pods_and_a_gateway_talk_over_both_families_with_ping_udp_and_tcp() {
    let lab = Lab::usual();
    let (a, b) = (lab.pod("a").up(), lab.pod("b").up());
    assert_talks(&a, &b, &b.both());
    assert_talks(&b, &a, &a.both());
    assert_talks(&a, lab.gateway(), &lab.gateway_ips());
    assert_talks(lab.gateway(), &b, &b.both());
    lab.finish();
}

#[test]
fn a_pod_gets_the_interface_its_result_describes_and_nothing_else() {
    let lab = Lab::usual();
    let pod =
        lab.pod("a").address("10.0.0.5/24").address("fd00::5/64").key("mtu", 1400).ifname("net1").place();
    let result = pod.add().succeeded();

    assert_eq!(pod.links(), ["lo", "net1"]);
    assert_eq!(pod.both().map(|ip| ip.to_string()), ["10.0.0.5", "fd00::5"]);
    let ips: Vec<&str> =
        result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str()).collect();
    assert_eq!(ips, ["10.0.0.5/24", "fd00::5/64"]);
    let interfaces = result["interfaces"].as_array().expect("interfaces in the result");
    let inside = interfaces.iter().find(|one| one["sandbox"].as_str().is_some_and(|path| !path.is_empty()));
    let inside = inside.expect("the pod's end in the result");
    assert_eq!(inside["name"], "net1");
    assert_eq!(inside["mac"].as_str(), Some(pod.mac().to_string().as_str()));
    assert_eq!(inside["sandbox"].as_str(), pod.attachment().netns.to_str());
    assert!(interfaces.iter().any(|one| one["name"] == "br1"), "{interfaces:?}");
    assert!(interfaces.iter().any(|one| one["name"] == pod.port().as_str()), "{interfaces:?}");
    assert!(pod.ip("link show net1").contains("mtu 1400"));
    lab.finish();
}

#[test]
fn an_attachment_has_the_mac_that_was_asked_for_and_keeps_its_own_at_a_retry() {
    let lab = Lab::usual();
    let asked = lab.pod("asked").key("mac", "02:00:5e:00:53:07").up();
    assert_eq!(asked.mac().to_string(), "02:00:5e:00:53:07");
    asked.assert_reaches(lab.gateway_ips()[0]);

    let derived = lab.pod("derived").up();
    let (first, address) = (derived.mac(), derived.v4());
    assert_eq!(first.0[0] & 0b11, 0b10, "{first} is locally administered and unicast");
    derived.add().succeeded();
    assert_eq!((derived.mac(), derived.v4()), (first, address), "a second ADD gives the same");
    derived.del().succeeded();
    derived.add().succeeded();
    assert_eq!(derived.mac(), first, "derived from the endpoint");
    lab.finish();
}

#[test]
fn pods_on_one_vlan_talk_and_pods_on_two_do_not() {
    let lab = Lab::usual();
    let on = |name: &str, vlan: u16, address: &str| lab.pod(name).vlan(vlan).address(address).up();
    let (a10, b10) = (on("a", 10, "10.0.0.11/24"), on("b", 10, "10.0.0.12/24"));
    let (c20, untagged) = (on("c", 20, "10.0.0.13/24"), lab.pod("d").address("10.0.0.14/24").up());
    let tagged = lab.foreign_host_on(10, "x", &["10.0.0.15/24"]);

    assert_talks(&a10, &b10, &[b10.v4()]);
    a10.assert_reaches("10.0.0.15".parse().expect("an address"));
    tagged.assert_reaches(b10.v4());
    untagged.assert_reaches(lab.gateway_ips()[0]);
    for stranger in [&c20, &untagged] {
        a10.assert_cannot_reach(stranger.v4());
        stranger.assert_cannot_reach(b10.v4());
    }
    a10.assert_cannot_reach(lab.gateway_ips()[0]);
    lab.finish();
}

#[test]
fn an_ipv4_only_pod_has_no_ipv6_on_its_interface() {
    let lab = Lab::usual();
    let pod = lab.pod("a").address("10.0.0.5/24").up();
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/disable_ipv6"), "1");
    assert_eq!(pod.sysctl("net/ipv6/conf/all/disable_ipv6"), "0", "never on all");
    assert!(pod.addresses().iter().all(IpAddr::is_ipv4), "{:?}", pod.addresses());
    lab.finish();
}

/// One story for each value: it governs the node before the agent starts, and the pod before ADD.
fn rp_filter_makes_no_difference_and_is_never_written(value: &str) {
    let key = |scope: &str| format!("net/ipv4/conf/{scope}/rp_filter");
    let lab = Lab::draw()
        .bridge("br1")
        .gateway("10.0.0.1/24", "fd00::1/64")
        .node_sysctl(&key("all"), value)
        .node_sysctl(&key("default"), value)
        .agent()
        .build();
    let pods = ["a", "b"].map(|name| {
        let pod = lab.pod(name).place();
        pod.set_sysctl(&key("all"), value);
        pod.set_sysctl(&key("default"), value);
        pod.add().succeeded();
        pod
    });
    let [a, b] = &pods;
    assert_talks(a, b, &b.both());
    assert_talks(b, lab.gateway(), &lab.gateway_ips());
    for pod in &pods {
        for scope in ["all", "default", "eth0"] {
            assert_eq!(pod.sysctl(&key(scope)), value, "{scope} in {}", pod.name());
        }
        assert_eq!(lab.node_sysctl(&key(&pod.port())), value, "the host's end");
    }
    for scope in ["all", "default"] {
        assert_eq!(lab.node_sysctl(&key(scope)), value, "{scope} on the node");
    }
    lab.finish();
}

#[test]
fn rp_filter_0_makes_no_difference_and_is_never_written() {
    rp_filter_makes_no_difference_and_is_never_written("0");
}

#[test]
fn rp_filter_1_makes_no_difference_and_is_never_written() {
    rp_filter_makes_no_difference_and_is_never_written("1");
}

#[test]
fn rp_filter_2_makes_no_difference_and_is_never_written() {
    rp_filter_makes_no_difference_and_is_never_written("2");
}
