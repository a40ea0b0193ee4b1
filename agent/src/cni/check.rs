//! What CHECK expects to find: our own part of `prevResult` (specification §3, "CHECK").

use ipnet::IpNet;

use crate::model::{Endpoint, EndpointId};

use super::error::CniError;
use super::result::{CniResult, Interface};

/// Our part of the result of the ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The pod's end.
    pub pod: Interface,
    /// The host's end, if the result names it.
    pub host: Option<Interface>,
    /// Addresses on the pod's end, in any order.
    pub addresses: Vec<IpNet>,
}

impl Expected {
    /// Finds our part: the interface of that name inside a sandbox, the host's end by its name, and the addresses on it.
    /// Plugins after us in the chain may have added interfaces and addresses of their own.
    pub fn find(previous: Option<&CniResult>, id: &EndpointId) -> Result<Self, CniError> {
        let previous = previous.ok_or_else(|| CniError::config("prevResult is missing: CHECK needs it"))?;
        let (index, pod) = previous
            .interfaces
            .iter()
            .enumerate()
            .find(|(_, interface)| interface.name == id.ifname && interface.sandbox.is_some())
            .ok_or_else(|| {
                CniError::config(format!("prevResult has no interface {} in a sandbox", id.ifname))
            })?;
        let host_name = id.host_ifname();
        let host = previous
            .interfaces
            .iter()
            .find(|interface| interface.sandbox.is_none() && interface.name == host_name)
            .cloned();
        let ours = previous.ips.iter().filter(|ip| ip.interface == Some(index));
        Ok(Self { pod: pod.clone(), host, addresses: ours.map(|ip| ip.address).collect() })
    }

    /// Where the endpoint is not what the result says; one phrase each, empty when all is well.
    pub fn differences(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut found = Vec::new();
        let mac = endpoint.mac.to_string();
        if self.pod.mac.as_ref().is_some_and(|said| !said.eq_ignore_ascii_case(&mac)) {
            let said = self.pod.mac.as_deref().unwrap_or_default();
            found.push(format!("MAC is {mac}, prevResult says {said}"));
        }
        if let Some(said) = self.pod.mtu.filter(|said| *said != endpoint.mtu) {
            found.push(format!("MTU is {}, prevResult says {said}", endpoint.mtu));
        }
        for address in self.addresses.iter().filter(|address| !endpoint.addresses.contains(address)) {
            found.push(format!("address {address} of prevResult is not there"));
        }
        for address in endpoint.addresses.iter().filter(|address| !self.addresses.contains(address)) {
            found.push(format!("address {address} is not in prevResult"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn previous() -> CniResult {
        let host = EndpointId::new("c", "net1").host_ifname();
        CniResult::from_value(&json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": "br1" },
                { "name": host, "mac": "02:00:00:00:00:02" },
                { "name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/x" },
                { "name": "other", "sandbox": "/run/netns/x" }
            ],
            "ips": [
                { "address": "10.0.0.7/24", "interface": 2 },
                { "address": "10.1.0.7/24", "interface": 3 }
            ]
        }))
        .unwrap()
    }

    #[test]
    fn our_part_of_a_chain_is_found() {
        let expected = Expected::find(Some(&previous()), &EndpointId::new("c", "net1")).unwrap();
        assert_eq!(expected.pod.mac.as_deref(), Some("02:00:00:00:00:01"));
        assert!(expected.host.is_some());
        assert_eq!(expected.addresses, ["10.0.0.7/24".parse().unwrap()]);
    }

    #[test]
    fn check_needs_a_result_with_our_interface() {
        let error = Expected::find(None, &EndpointId::new("c", "net1")).unwrap_err();
        assert_eq!(error.msg, "prevResult is missing: CHECK needs it");
        let error = Expected::find(Some(&previous()), &EndpointId::new("c", "net2")).unwrap_err();
        assert_eq!(error.msg, "prevResult has no interface net2 in a sandbox");
    }
}
