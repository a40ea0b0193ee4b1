//! `CNI_ARGS` and the two names of an attachment: container id and interface.
//!
//! Keys that are not ours are ignored, with or without `IgnoreUnknown`: Multus and the kubelet add their own. Ours are
//! matched in any case, since ovs-cni's manual shows them in lower case although its code wants upper case.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::model::{EndpointId, Mac, Pod};

use super::error::{CniError, Code};
use super::fields::shortened;

/// What `CNI_ARGS` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    /// `MAC`.
    pub mac: Option<Mac>,
    /// `IP`: one or several, separated by commas.
    pub ips: Vec<RequestedIp>,
    /// `K8S_POD_NAMESPACE`, `K8S_POD_NAME`, `K8S_POD_UID`; `None` unless the first two are there.
    pub pod: Option<Pod>,
    /// `OvnPort`, of ovs-cni.
    pub ovn_port: Option<String>,
}

/// An address that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedIp {
    /// Without prefix: the IPAM plugin has to know the rest.
    Address(IpAddr),
    /// With prefix, host bits kept.
    Network(IpNet),
}

impl RequestedIp {
    /// The address alone.
    pub fn address(self) -> IpAddr {
        match self {
            Self::Address(address) => address,
            Self::Network(network) => network.addr(),
        }
    }
}

impl FromStr for RequestedIp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parsed = if text.contains('/') {
            text.parse().map(Self::Network).map_err(drop)
        } else {
            text.parse().map(Self::Address).map_err(drop)
        };
        parsed.ok().filter(|ip| is_unicast(ip.address())).ok_or(())
    }
}

impl CniArgs {
    /// Reads `KEY=value;KEY=value`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let mut args = Self::default();
        let mut pod = Pod { namespace: String::new(), name: String::new(), uid: String::new() };
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let no_pair = || variable("an entry of CNI_ARGS", pair, "KEY=value");
            let (key, value) = pair.split_once('=').ok_or_else(no_pair)?;
            if value.is_empty() {
                continue;
            }
            match key.to_ascii_uppercase().as_str() {
                "MAC" => {
                    let mac = parse_mac(value).ok_or_else(|| wrong(value, key, "a unicast MAC address"))?;
                    args.mac = Some(mac);
                }
                "IP" => {
                    let ips: Result<Vec<_>, ()> = value.split(',').map(|ip| ip.trim().parse()).collect();
                    args.ips = ips.map_err(|()| wrong(value, key, "IP addresses"))?;
                }
                "OVNPORT" => args.ovn_port = Some(value.to_owned()),
                "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
                "K8S_POD_NAME" => value.clone_into(&mut pod.name),
                "K8S_POD_UID" => value.clone_into(&mut pod.uid),
                _ => {}
            }
        }
        args.pod = Some(pod).filter(|pod| !pod.namespace.is_empty() && !pod.name.is_empty());
        Ok(args)
    }
}

/// The two names of an attachment, checked as the specification (§3, "Parameters") and the kernel want them.
pub fn endpoint_id(container: &str, ifname: &str) -> Result<EndpointId, CniError> {
    let starts_well = container.starts_with(|first: char| first.is_ascii_alphanumeric());
    let rest_well = container.chars().all(|char| char.is_ascii_alphanumeric() || "_.-".contains(char));
    if !starts_well || !rest_well || container.len() > MAX_CONTAINER_ID {
        let expected = format!("at most {MAX_CONTAINER_ID} letters, digits, '_', '.', '-'");
        return Err(variable("CNI_CONTAINERID", container, &expected));
    }
    // The kernel takes '%' for "the next free number" and keeps two names for its own directories of settings.
    let printable =
        !ifname.contains(['/', ':', '%']) && !ifname.chars().any(|c| c.is_whitespace() || c.is_control());
    if ifname.is_empty() || ifname.len() > MAX_IFNAME || TAKEN.contains(&ifname) || !printable {
        let expected =
            format!("an interface name of at most {MAX_IFNAME} bytes without '/', ':', '%', spaces");
        return Err(variable("CNI_IFNAME", ifname, &expected));
    }
    Ok(EndpointId::new(container, ifname))
}

/// A MAC address that a station can have.
pub(super) fn parse_mac(text: &str) -> Option<Mac> {
    let well_formed = text.len() == MAC_TEXT && text.split(':').all(|byte| byte.len() == 2);
    let mac: Mac = text.parse().ok().filter(|_| well_formed)?;
    (!mac.is_multicast() && mac != Mac::ZERO).then_some(mac)
}

/// Whether a station can have this address.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !broadcast
}

fn wrong(value: &str, key: &str, expected: &str) -> CniError {
    variable(&format!("CNI_ARGS {key}"), value, expected)
}

fn variable(name: &str, value: &str, expected: &str) -> CniError {
    let value = shortened(&format!("{value:?}"));
    CniError::new(Code::INVALID_ENVIRONMENT, format!("{name} is {value}: expected {expected}"))
}

/// Longest container id: containerd's and CRI-O's have 64 characters; the ledger keeps it in one line.
const MAX_CONTAINER_ID: usize = 200;

/// Names that no interface can have (`dev_valid_name` and `devinet_init_net` of Linux).
const TAKEN: [&str; 4] = [".", "..", "all", "default"];

/// IFNAMSIZ of Linux, less the closing zero.
const MAX_IFNAME: usize = 15;

/// Six pairs of digits and five colons.
const MAC_TEXT: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, expected: &str) {
        let error = CniArgs::parse(text).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code::INVALID_ENVIRONMENT, expected));
    }

    #[test]
    fn our_keys_are_read_in_any_case_and_others_ignored() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;K8S_POD_UID=u=1;\
                    mac=02:00:00:00:00:01;IP=192.0.2.1/24,2001:db8::1;X=;Y=z;";
        let args = CniArgs::parse(text).unwrap();
        assert_eq!(args.mac, Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!(args.ips, ["192.0.2.1/24".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        let pod = args.pod.unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "cart", "u=1"));
    }

    #[test]
    fn a_pod_needs_namespace_and_name() {
        assert_eq!(CniArgs::parse("K8S_POD_NAME=cart").unwrap(), CniArgs::default());
        assert_eq!(CniArgs::parse("").unwrap(), CniArgs::default());
    }

    #[test]
    fn wrong_values_are_named() {
        check_error("MAC=zz", "CNI_ARGS MAC is \"zz\": expected a unicast MAC address");
        check_error(
            "MAC=01:00:5e:00:00:01",
            "CNI_ARGS MAC is \"01:00:5e:00:00:01\": expected a unicast MAC address",
        );
        check_error("MAC=2:0:0:0:0:1", "CNI_ARGS MAC is \"2:0:0:0:0:1\": expected a unicast MAC address");
        check_error("IP=10.0.0.300", "CNI_ARGS IP is \"10.0.0.300\": expected IP addresses");
        check_error("IP=224.0.0.1", "CNI_ARGS IP is \"224.0.0.1\": expected IP addresses");
        check_error("MAC", "an entry of CNI_ARGS is \"MAC\": expected KEY=value");
    }

    #[test]
    fn names_of_an_attachment_are_checked() {
        assert_eq!(endpoint_id("c0ffee", "eth0").unwrap(), EndpointId::new("c0ffee", "eth0"));
        for container in ["", "-a", "a/b", "a b", "é", &"a".repeat(201)] {
            assert_eq!(endpoint_id(container, "eth0").unwrap_err().code, Code::INVALID_ENVIRONMENT);
        }
        for ifname in
            ["", ".", "..", "all", "default", "eth%d", "a/b", "a:b", "a b", "a\u{1}", "0123456789abcdef"]
        {
            let error = endpoint_id("c", ifname).unwrap_err();
            assert!(error.msg.starts_with("CNI_IFNAME is "), "{error}");
        }
    }
}
