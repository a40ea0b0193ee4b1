//! This Node: the ranges that the cluster gave its pods, its start-up taint, its bridges as resources.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Cluster, RequestError, answer};

/// Resource names as ovs-cni gives them to bridges; NetworkAttachmentDefinitions name them in `resourceName`.
const RESOURCES: &str = "ovs-cni.network.kubevirt.io";

/// As many pods may use a bridge as ovs-cni offers: the resource says "there is such a bridge", not "so many ports".
const PODS_PER_BRIDGE: &str = "1k";

/// The ranges that the cluster's controller manager gave to this node's pods, at most one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    pub v4: Option<IpNet>,
    pub v6: Option<IpNet>,
}

impl Ranges {
    fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let listed = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter().flatten();
        let one = spec.and_then(|spec| spec.pod_cidr.as_ref());
        let all: Vec<IpNet> = listed.chain(one).filter_map(|text| text.parse().ok()).collect();
        Self {
            v4: all.iter().copied().find(|net| net.addr().is_ipv4()),
            v6: all.iter().copied().find(|net| net.addr().is_ipv6()),
        }
    }

    /// Puts the ranges into a CNI configuration: `@POD_CIDR@`, `@POD_FIRST@`, `@POD_LAST@`, and with a `6` before
    /// the last `@` for IPv6. An error names the first placeholder that nothing is known for.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for (net, family) in [(self.v4, ""), (self.v6, "6")] {
            for (name, value) in ["CIDR", "FIRST", "LAST"].into_iter().zip(values(net)) {
                let placeholder = format!("@POD_{name}{family}@");
                if !text.contains(&placeholder) {
                    continue;
                }
                text = text.replace(&placeholder, &value.ok_or(placeholder.clone())?);
            }
        }
        Ok(text)
    }

    /// Whether a CNI configuration has anything to fill in.
    pub fn are_needed(text: &str) -> bool {
        text.contains("@POD_")
    }
}

/// A range, its first and its last address for pods: the network's own and the one after it (the place of a gateway)
/// are left out, so is the broadcast address.
fn values(net: Option<IpNet>) -> [Option<String>; 3] {
    let Some(net) = net else { return [None, None, None] };
    let (first, last): (IpAddr, IpAddr) = match net {
        IpNet::V4(net) => {
            let last = u32::from(net.broadcast()).saturating_sub(1);
            (IpAddr::V4((u32::from(net.network()).saturating_add(2)).into()), IpAddr::V4(last.into()))
        }
        IpNet::V6(net) => {
            let last = u128::from(net.broadcast()).saturating_sub(1);
            (IpAddr::V6((u128::from(net.network()).saturating_add(2)).into()), IpAddr::V6(last.into()))
        }
    };
    [Some(net.trunc().to_string()), Some(first.to_string()), Some(last.to_string())]
}

impl Cluster {
    /// The ranges of this node's pods.
    pub async fn ranges(&self) -> Result<Ranges, RequestError> {
        let node = answer("reading the Node", self.nodes().get(&self.node)).await?;
        Ok(Ranges::of(&node))
    }

    /// Takes the start-up taint off, if there is one to take.
    pub async fn remove_startup_taint(&self) -> Result<(), RequestError> {
        let Some(key) = &self.settings.startup_taint else { return Ok(()) };
        let node = answer("reading the Node", self.nodes().get(&self.node)).await?;
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let others: Vec<_> = taints.iter().filter(|taint| taint.key != *key).collect();
        if others.len() == taints.len() {
            return Ok(());
        }
        // With the version that was read: whoever changes taints meanwhile is not undone, the patch is refused.
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": others },
        }));
        let (nodes, parameters) = (self.nodes(), PatchParams::default());
        answer("removing the start-up taint", nodes.patch(&self.node, &parameters, &patch)).await?;
        tracing::info!(taint = %key, "start-up taint removed");
        Ok(())
    }

    /// Whether bridges are to be offered as resources of the node.
    pub fn offers_bridges(&self) -> bool {
        self.settings.resources
    }

    /// Makes `bridges` resources of the node, and those of `gone` none.
    pub async fn offer_bridges(
        &self,
        bridges: &BTreeSet<String>,
        gone: &BTreeSet<String>,
    ) -> Result<(), RequestError> {
        let amount = |bridge: &String, amount| (format!("{RESOURCES}/{bridge}"), amount);
        let capacity: serde_json::Map<_, _> = bridges
            .iter()
            .map(|bridge| amount(bridge, json!(PODS_PER_BRIDGE)))
            .chain(gone.difference(bridges).map(|bridge| amount(bridge, json!(null))))
            .collect();
        let patch = Patch::Merge(json!({ "status": { "capacity": capacity, "allocatable": capacity } }));
        let (nodes, parameters) = (self.nodes(), PatchParams::default());
        let patched = nodes.patch_status(&self.node, &parameters, &patch);
        answer("offering bridges as resources", patched).await.map(drop)
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_the_ranges_of_this_node() {
        let ranges =
            Ranges { v4: Some("10.244.1.0/24".parse().unwrap()), v6: Some("fd00:1::/64".parse().unwrap()) };
        let filled = ranges.fill("@POD_CIDR@ @POD_FIRST@-@POD_LAST@ @POD_FIRST6@").unwrap();
        assert_eq!(filled, "10.244.1.0/24 10.244.1.2-10.244.1.254 fd00:1::2");
    }

    #[test]
    fn a_placeholder_that_nothing_is_known_for_is_named() {
        assert_eq!(Ranges::default().fill("a @POD_LAST6@").unwrap_err(), "@POD_LAST6@");
        assert_eq!(Ranges::default().fill("nothing to fill").unwrap(), "nothing to fill");
    }

    #[test]
    fn both_spellings_of_ranges_are_read() {
        let node = |spec| serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        let both: Node = node(json!({ "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"] }));
        assert_eq!(Ranges::of(&both).v6, Some("fd00::/64".parse().unwrap()));
        let one: Node = node(json!({ "podCIDR": "10.0.0.0/24" }));
        assert_eq!(Ranges::of(&one), Ranges { v4: Some("10.0.0.0/24".parse().unwrap()), v6: None });
    }
}
