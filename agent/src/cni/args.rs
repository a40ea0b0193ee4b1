//! `CNI_ARGS` and the two names of an attachment: container id and interface.
//!
//! Keys that are not ours are ignored, with or without `IgnoreUnknown`: Multus and the kubelet add their own. Ours are
//! matched in any case, since ovs-cni's manual shows them in lower case although its code wants upper case.

use std::collections::BTreeSet;
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
    /// What was expected instead.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.contains('/') {
            text.parse().map(Self::Network).map_err(drop)
        } else {
            text.parse().map(Self::Address).map_err(drop)
        };
        let ip: Self = parsed.map_err(|()| "an IP address")?;
        if !is_unicast(ip.address()) {
            return Err("a unicast address that is neither unspecified nor a loopback's");
        }
        match ip {
            Self::Network(network) if is_edge(&network) => {
                Err("an address between the network's own and its broadcast address")
            }
            _ => Ok(ip),
        }
    }
}

/// Refuses a list of addresses that no endpoint can have.
pub(super) fn check_list(source: &str, ips: &[RequestedIp]) -> Result<(), String> {
    if ips.len() > MAX_ADDRESSES {
        return Err(format!("{source} has {} addresses: expected at most {MAX_ADDRESSES}", ips.len()));
    }
    let mut seen = BTreeSet::new();
    match ips.iter().find(|ip| !seen.insert(ip.address())) {
        Some(twice) => Err(format!("{source} has {} twice", twice.address())),
        None => Ok(()),
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
                    let read = |ip: &str| ip.parse().map_err(|expected| wrong(ip, key, expected));
                    args.ips = value.split(',').map(|ip| read(ip.trim())).collect::<Result<_, _>>()?;
                    check_list("CNI_ARGS IP", &args.ips)
                        .map_err(|msg| CniError::new(Code::INVALID_ENVIRONMENT, msg))?;
                }
                "OVNPORT" => args.ovn_port = Some(value.to_owned()),
                "K8S_POD_NAMESPACE" => pod.namespace = name(key, value, MAX_LABEL)?,
                "K8S_POD_NAME" => pod.name = name(key, value, MAX_SUBDOMAIN)?,
                "K8S_POD_UID" => pod.uid = name(key, value, MAX_SUBDOMAIN)?,
                _ => {}
            }
        }
        args.pod = Some(pod).filter(|pod| !pod.namespace.is_empty() && !pod.name.is_empty());
        Ok(args)
    }
}

/// A name that is shown on terminals and written into OVSDB. Kubernetes' own are lower case letters, digits, '-' and '.';
/// runtimes without Kubernetes pass on whatever their user wrote.
fn name(key: &str, value: &str, longest: usize) -> Result<String, CniError> {
    if value.len() <= longest && value.chars().all(|char| char.is_ascii_graphic()) {
        return Ok(value.to_owned());
    }
    Err(wrong(value, key, &format!("at most {longest} visible ASCII characters")))
}

/// The two names of an attachment, checked as the specification (§3, "Parameters") and the kernel want them.
pub fn endpoint_id(container: &str, ifname: &str) -> Result<EndpointId, CniError> {
    let starts_well = container.starts_with(|first: char| first.is_ascii_alphanumeric());
    let rest_well = container.chars().all(|char| char.is_ascii_alphanumeric() || "_.-".contains(char));
    if !starts_well || !rest_well || container.len() > MAX_CONTAINER_ID {
        let expected =
            format!("at most {MAX_CONTAINER_ID} letters, digits, '_', '.', '-', the first a letter or digit");
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

/// Whether this is the first or last address of its IPv4 network, which belong to no station. A network of one or two
/// addresses has neither (RFC 3021), IPv6 has no broadcast.
fn is_edge(network: &IpNet) -> bool {
    let IpNet::V4(network) = network else { return false };
    network.prefix_len() < 31 && [network.network(), network.broadcast()].contains(&network.addr())
}

fn wrong(value: &str, key: &str, expected: &str) -> CniError {
    variable(&format!("CNI_ARGS {key}"), value, expected)
}

fn variable(name: &str, value: &str, expected: &str) -> CniError {
    let value = shortened(&format!("{value:?}"));
    CniError::new(Code::INVALID_ENVIRONMENT, format!("{name} is {value}: expected {expected}"))
}

/// Addresses of one endpoint: as many as each of the 512 endpoints of the usual limit can have in the guard's maps
/// (`ebpf_abi::MAX_SOURCES`).
pub(super) const MAX_ADDRESSES: usize = 32;

/// Longest names of Kubernetes: a label for namespaces, a subdomain for pods (RFC 1123; RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

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
        check_error("IP=10.0.0.1,10.0.0.300", "CNI_ARGS IP is \"10.0.0.300\": expected an IP address");
        check_error("IP=10.0.0.1/24,10.0.0.1/16", "CNI_ARGS IP has 10.0.0.1 twice");
        check_error("MAC", "an entry of CNI_ARGS is \"MAC\": expected KEY=value");
    }

    #[test]
    fn only_addresses_that_a_station_can_have_are_taken() {
        for unicast in
            ["10.0.0.0/31", "10.0.0.1/31", "10.0.0.255/32", "10.0.1.0/23", "fd00::/64", "10.0.0.255"]
        {
            assert!(unicast.parse::<RequestedIp>().is_ok(), "{unicast}");
        }
        for edge in ["10.0.0.0/24", "10.0.0.255/24", "10.0.0.4/30", "10.0.0.7/30"] {
            let expected = "an address between the network's own and its broadcast address";
            assert_eq!(edge.parse::<RequestedIp>(), Err(expected), "{edge}");
        }
        for none in ["0.0.0.0", "127.0.0.1/8", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1/64"] {
            let expected = "a unicast address that is neither unspecified nor a loopback's";
            assert_eq!(none.parse::<RequestedIp>(), Err(expected), "{none}");
        }
        let many: Vec<RequestedIp> = (1..=33).map(|n| format!("10.0.0.{n}").parse().unwrap()).collect();
        assert_eq!(check_list("ips", &many), Err("ips has 33 addresses: expected at most 32".to_owned()));
        assert_eq!(check_list("ips", &many[1..]), Ok(()));
    }

    #[test]
    fn names_that_could_write_on_a_terminal_are_refused() {
        let expected =
            "CNI_ARGS K8S_POD_NAME is \"a\\u{1b}[2J\": expected at most 253 visible ASCII characters";
        check_error("K8S_POD_NAMESPACE=a;K8S_POD_NAME=a\u{1b}[2J", expected);
        for (key, longest) in [("K8S_POD_NAMESPACE", 63), ("K8S_POD_NAME", 253), ("K8S_POD_UID", 253)] {
            CniArgs::parse(&format!("{key}={}", "a".repeat(longest))).unwrap();
            let error = CniArgs::parse(&format!("{key}={}", "a".repeat(100_000))).unwrap_err();
            let (cut, expected) = error.msg.split_once("...: expected ").unwrap();
            assert!(cut.starts_with(&format!("CNI_ARGS {key} is \"aaa")) && cut.len() < 150, "{cut}");
            assert_eq!(expected, format!("at most {longest} visible ASCII characters"));
        }
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
