//! What stories state of a cluster: who reaches whom, what is gone, what a node still holds, what `kubectl` shows.

use std::time::Duration;

use anyhow::{Error, Result, ensure};
use ebpf::census;
use serde_json::Value;

use super::{Cluster, patiently};
use crate::eventually::eventually;

/// A path is there or comes within this; the API server may be slow.
const SOON: Duration = Duration::from_secs(30);

/// What takes a minute by itself: a pod whose ADD was refused is tried again, ever later; a claimant that is silent is
/// believed to be gone.
const IN_TIME: Duration = Duration::from_mins(2);

/// A hundred pods are deleted, on a machine that does other work.
const EMPTIED: Duration = Duration::from_mins(5);

/// What a node holds for its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Ports of the bridge, the uplink included.
    pub ports: usize,
    /// Flows of the guard.
    pub flows: usize,
    /// Endpoints of the agent.
    pub endpoints: usize,
    /// Addresses that host-local gave.
    pub addresses: usize,
    /// Links of the node, host veths among them.
    pub links: usize,
    /// Network namespaces of pods.
    pub namespaces: usize,
    /// Programs on host veths, as the pins tell: two for each endpoint, more for a moment while clsact gives way to TCX.
    pub programs: usize,
    /// Entries of maps that speak of endpoints.
    pub entries: usize,
}

impl Cluster {
    /// The pod pings an address.
    #[track_caller]
    pub fn assert_reaches(&self, from: &str, to: &str) {
        let program = if to.contains(':') { "ping6" } else { "ping" };
        eventually(SOON, &format!("{from} reaches {to}"), || {
            self.exec(from, &[program, "-c", "1", "-W", "2", to])
        });
    }

    /// No pod with the label `app` is left.
    #[track_caller]
    pub fn assert_gone(&self, app: &str) {
        let selector = format!("--selector=app={app}");
        patiently(EMPTIED, &format!("every pod of {app} is gone"), || {
            let left = self.try_run("kubectl", &["get", "pods", &selector, "--output=name"])?;
            ensure!(left.trim().is_empty(), "{} are left", left.lines().count());
            Ok(())
        });
    }

    /// `kubectl` shows an Event of this pod whose message contains `text`.
    #[track_caller]
    pub fn assert_event(&self, pod: &str, reason: &str, kind: &str, text: &str) {
        patiently(IN_TIME, &format!("kubectl shows {reason} of {pod}"), || {
            let field = format!("--field-selector=involvedObject.name={pod},reason={reason}");
            let events = self.get(&["events", &field])?;
            let event = &events["items"][0];
            ensure!(event["type"] == kind, "{events}");
            ensure!(event["message"].as_str().is_some_and(|message| message.contains(text)), "{event}");
            Ok(())
        });
    }

    /// The node comes to hold what it held before.
    #[track_caller]
    pub fn assert_holds(&self, node: &str, before: Holdings) {
        patiently(EMPTIED, &format!("{node} holds {before:?}"), || {
            let now = self.holdings(node)?;
            ensure!(now == before, "it holds {now:?}");
            Ok(())
        });
    }

    /// What a node's bridge, agent and IPAM plugin hold for pods.
    pub fn holdings(&self, node: &str) -> Result<Holdings> {
        let ports = self.on(node, &["ovs-vsctl", "list-ports", "br1"])?.lines().count();
        let flows = self.on(node, &["ovs-ofctl", "dump-flows", "br1"])?;
        let flows = flows.lines().filter(|line| line.contains("0x5550")).count();
        let endpoints: Value = serde_json::from_str(&self.agentctl(node, &["endpoints", "-o", "json"]))?;
        let endpoints = endpoints.as_array().map_or(0, Vec::len);
        let of_addresses = ["-path", "*/networks/*", "-name", "[0-9a-f]*[.:]*"];
        let leases = self.on(node, &[&["find", "/var/lib/cni"], &of_addresses[..]].concat())?;
        let listed = |words: &[&str]| Ok::<_, Error>(self.on(node, words)?.lines().count());
        Ok(Holdings {
            ports,
            flows,
            endpoints,
            addresses: leases.lines().count(),
            links: listed(&["ls", "/sys/class/net"])?,
            namespaces: listed(&["ls", "/run/netns"])?,
            programs: listed(&["find", "/sys/fs/bpf/underpass/links", "-name", "*_pod*"])?,
            entries: census::entries(&self.path_in(node, "/sys/fs/bpf/underpass")?)?,
        })
    }

    /// Both addresses of a pod, IPv4 and IPv6.
    #[track_caller]
    pub fn pod_addresses(&self, pod: &str) -> Vec<String> {
        let pod = self.get(&["pod", pod]).unwrap_or_else(|error| panic!("{error:#}"));
        let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["ip"].as_str()).map(str::to_owned).collect()
    }
}
