//! What is written beside the port of an endpoint in OVSDB: the second copy of the ledger.

use std::collections::BTreeMap;

use crate::model::Endpoint;

/// The mark on every port that is ours.
pub const OWNER: &str = "underpass";

/// Keys of a port's `external_ids`.
pub mod key {
    pub const OWNER: &str = "owner";
    pub const BOOT_ID: &str = "underpass-boot-id";
    pub const CONTAINER_ID: &str = "underpass-container-id";
    pub const IFNAME: &str = "underpass-ifname";
    pub const POD: &str = "underpass-pod";
    pub const MAC: &str = "underpass-mac";
    pub const IPS: &str = "underpass-ips";
}

/// The `external_ids` of an endpoint's port. ovs-cni's own keys stand beside ours where the configuration's type was
/// `ovs`, for tools that look for them.
pub fn external_ids(endpoint: &Endpoint, boot_id: &str) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        ids.insert(key.to_owned(), value);
    };
    put(key::OWNER, OWNER.to_owned());
    put(key::BOOT_ID, boot_id.to_owned());
    put(key::CONTAINER_ID, endpoint.id.container.clone());
    put(key::IFNAME, endpoint.id.ifname.clone());
    put(key::MAC, endpoint.mac.to_string());
    if let Some(pod) = &endpoint.pod {
        put(key::POD, format!("{}/{}", pod.namespace, pod.name));
    }
    if !endpoint.addresses.is_empty() {
        let list: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
        put(key::IPS, list.join(","));
    }
    if endpoint.ovs_cni {
        put("contIface", endpoint.id.ifname.clone());
        put("contNetns", endpoint.netns.clone());
        put("contPodUid", endpoint.pod.as_ref().map(|p| p.uid.clone()).unwrap_or_default());
    }
    ids
}
