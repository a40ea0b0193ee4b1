//! What is written beside the port of an endpoint in OVSDB: the second copy of the ledger.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::model::{Endpoint, GatewayPolicy, Guard, GuardMode, Mac, Pod};

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
    /// The guard: its mode, then what else is allowed, as in `full,dhcp`.
    pub const GUARD: &str = "underpass-guard";
    /// Name of the network: the scope of GC.
    pub const NETWORK: &str = "underpass-network";
    /// The gateways that are watched.
    pub const GATEWAYS: &str = "underpass-gateways";
    /// `false` where the attachment is never to go past OVS.
    pub const ACCELERATE: &str = "underpass-accelerate";
}

/// Keys that ovs-cni writes.
mod ovs_cni {
    pub(super) const IFNAME: &str = "contIface";
    pub(super) const NETNS: &str = "contNetns";
    pub(super) const POD_UID: &str = "contPodUid";
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
    put(key::GUARD, guard_text(endpoint.guard));
    put(key::NETWORK, endpoint.network.clone());
    if let Some(pod) = &endpoint.pod {
        put(key::POD, format!("{}/{}", pod.namespace, pod.name));
    }
    if !endpoint.addresses.is_empty() {
        put(key::IPS, list(&endpoint.addresses));
    }
    if !endpoint.gateways.is_empty() && endpoint.gateway != GatewayPolicy::Off {
        put(key::GATEWAYS, list(&endpoint.gateways));
    }
    if !endpoint.accelerate {
        put(key::ACCELERATE, false.to_string());
    }
    if endpoint.ovs_cni {
        put(ovs_cni::IFNAME, endpoint.id.ifname.clone());
        put(ovs_cni::NETNS, endpoint.netns.clone());
        put(ovs_cni::POD_UID, endpoint.pod.as_ref().map(|p| p.uid.clone()).unwrap_or_default());
    }
    ids
}

/// What a port's `external_ids` say of its endpoint: [`external_ids`] read back. What is missing or makes no sense is
/// `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub mac: Option<Mac>,
    /// `None` only where the list makes no sense: an attachment without addresses has no key.
    pub addresses: Option<Vec<IpNet>>,
    pub guard: Option<Guard>,
    pub network: Option<String>,
    pub gateways: Vec<std::net::IpAddr>,
    pub pod: Option<Pod>,
    pub accelerate: bool,
    /// `CNI_NETNS`, which stands there only where the configuration's type was `ovs`.
    pub netns: Option<String>,
}

impl Written {
    pub fn read(ids: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| ids.get(key).map(String::as_str);
        let uid = get(ovs_cni::POD_UID).unwrap_or_default();
        let pod = get(key::POD).and_then(|text| text.split_once('/'));
        Self {
            mac: get(key::MAC).and_then(|text| text.parse().ok()),
            addresses: get(key::IPS).map_or(Some(Vec::new()), parse_list),
            guard: get(key::GUARD).and_then(parse_guard),
            network: get(key::NETWORK).map(str::to_owned),
            gateways: get(key::GATEWAYS).and_then(parse_list).unwrap_or_default(),
            pod: pod.map(|(namespace, name)| Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
            }),
            accelerate: get(key::ACCELERATE) != Some("false"),
            netns: get(ovs_cni::NETNS).map(str::to_owned),
        }
    }
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn parse_list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(|word| word.parse().ok()).collect()
}

fn guard_text(guard: Guard) -> String {
    let allowed = [(guard.dhcp, ",dhcp"), (guard.slaac, ",slaac"), (guard.vm, ",vm")];
    let allowed: String = allowed.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
    format!("{}{allowed}", guard.mode.name())
}

fn parse_guard(text: &str) -> Option<Guard> {
    let mut words = text.split(',');
    let mode = words.next()?;
    let modes = [GuardMode::Full, GuardMode::Mac, GuardMode::Observe, GuardMode::Off];
    let mode = modes.into_iter().find(|m| m.name() == mode)?;
    let mut guard = Guard { mode, dhcp: false, slaac: false, vm: false };
    for word in words {
        match word {
            "dhcp" => guard.dhcp = true,
            "slaac" => guard.slaac = true,
            "vm" => guard.vm = true,
            _ => return None,
        }
    }
    Some(guard)
}
