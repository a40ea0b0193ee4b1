//! An endpoint: one interface of one pod, and everything that was asked for it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use openflow::Mac;
use serde::{Deserialize, Serialize};

/// Who an endpoint is: the runtime's container id and the interface name inside the pod (CNI spec, "Parameters").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointId {
    pub container: String,
    pub ifname: String,
}

impl EndpointId {
    pub fn new(container: impl Into<String>, ifname: impl Into<String>) -> Self {
        Self { container: container.into(), ifname: ifname.into() }
    }

    /// 32 hex digits that name this endpoint in paths: FNV-1a over `container/ifname`, 128 bits.
    ///
    /// Both parts come from the runtime and could hold anything up to 200 bytes; a digest is a safe file name.
    /// FNV is enough: whoever can choose container ids already owns the node.
    pub fn digest(&self) -> String {
        format!("{:032x}", self.hash128())
    }

    /// Name of the host end of the veth: `veth` and 11 hex digits, 15 characters, the most that the kernel takes.
    ///
    /// NetworkManager and systemd-networkd leave interfaces called `veth*` alone.
    pub fn host_ifname(&self) -> String {
        format!("veth{:011x}", self.hash128() & 0xfff_ffff_ffff)
    }

    /// The alias put on the host veth: proof that this very endpoint owns it.
    pub fn alias(&self) -> String {
        format!("underpass/{}/{}", self.container, self.ifname)
    }

    /// The endpoint whose [`alias`](Self::alias) this is.
    pub fn from_alias(alias: &str) -> Option<Self> {
        let (container, ifname) = alias.strip_prefix("underpass/")?.rsplit_once('/')?;
        Some(Self::new(container, ifname))
    }

    /// A locally administered unicast address, the same at every retry of the same ADD.
    pub fn derived_mac(&self) -> Mac {
        let h = self.hash128().to_be_bytes();
        Mac([(h[0] & 0xfc) | 0x02, h[1], h[2], h[3], h[4], h[5]])
    }

    fn hash128(&self) -> u128 {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = self.container.bytes().chain([b'/']).chain(self.ifname.bytes());
        bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
    }
}

/// `<first 12 characters of the container id>:<interface>`, as `agentctl` prints an endpoint without a pod.
impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.container.chars().take(12).collect();
        write!(f, "{short}:{}", self.ifname)
    }
}

/// The Kubernetes pod of an endpoint, from `K8S_POD_*` of `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Which VLANs a port carries, as OVSDB's `Port` table says it (ovs-vswitchd.conf.db(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortVlan {
    /// `vlan_mode=access`, `tag`; 0 is untagged. Tagged frames of the pod are dropped.
    Access(u16),
    /// `vlan_mode=trunk` with these VLANs; `native` also travels untagged (`vlan_mode=native-untagged`).
    Trunk { vlans: Vec<u16>, native: Option<u16> },
    /// Nothing is set: OVS carries every VLAN. Only `type: ovs` asks for it, as ovs-cni leaves it.
    Unset,
}

impl PortVlan {
    /// The VLAN in which an untagged frame of this port travels.
    pub fn untagged(&self) -> Option<u16> {
        match self {
            Self::Access(vlan) => Some(*vlan),
            Self::Trunk { native, .. } => *native,
            Self::Unset => Some(0),
        }
    }

    /// `10`, `trunk 10,20 native 5` or `all`, as the status shows it.
    pub fn describe(&self) -> String {
        match self {
            Self::Access(vlan) => vlan.to_string(),
            Self::Trunk { vlans, native } => {
                let list: Vec<_> = vlans.iter().map(ToString::to_string).collect();
                let native = native.map(|n| format!(" native {n}")).unwrap_or_default();
                format!("trunk {}{native}", list.join(","))
            }
            Self::Unset => "all".to_owned(),
        }
    }
}

/// What the guard checks on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// MAC, addresses, ARP, ND, no router, no DHCP server.
    Full,
    /// The Ethernet source alone.
    Mac,
    /// Everything is checked and counted, nothing is dropped.
    Observe,
    Off,
}

impl GuardMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Mac => "mac",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// The guard's settings of one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub mode: GuardMode,
    /// The pod may be a DHCP client.
    pub dhcp: bool,
    /// The pod may solicit routers and configure itself from advertisements.
    pub slaac: bool,
    /// The pod is a virtual machine that may be live migrated.
    pub vm: bool,
}

/// What an address conflict does to an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictPolicy {
    Fail,
    Warn,
    Off,
}

/// What a silent gateway does to an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayPolicy {
    Require,
    Warn,
    Off,
}

/// How the conflict probe of an ADD is paced: RFC 5227's frames with shorter timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTiming {
    pub count: u32,
    pub interval: Duration,
    /// How long to listen after the last probe.
    pub wait: Duration,
}

impl ProbeTiming {
    /// What an ADD takes unless the configuration says otherwise: three probes in 300 ms.
    pub const USUAL: Self =
        Self { count: 3, interval: Duration::from_millis(100), wait: Duration::from_millis(100) };
}

/// A route of the IPAM result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub destination: IpNet,
    pub gateway: Option<IpAddr>,
}

/// One interface of one pod, whole: what the ledger keeps and the plan reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub pod: Option<Pod>,
    /// `CNI_NETNS` as the runtime gave it, for messages and the result; the work goes through a descriptor.
    pub netns: String,
    /// The network's name (`name` of the CNI configuration): the scope of GC.
    pub network: String,
    /// `true` where the configuration's type was `ovs`: ovs-cni's external_ids are written as well.
    pub ovs_cni: bool,
    pub bridge: String,
    pub vlan: PortVlan,
    pub mtu: u32,
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// Addresses with their prefix; empty while IPAM has not answered, and for layer-2 attachments.
    pub addresses: Vec<IpNet>,
    pub gateways: Vec<IpAddr>,
    pub routes: Vec<Route>,
    pub guard: Guard,
    pub conflict: ConflictPolicy,
    pub conflict_timing: ProbeTiming,
    pub gateway: GatewayPolicy,
    pub accelerate: bool,
    /// ovs-cni's `ofport_request`.
    pub ofport_request: Option<u16>,
}

impl Endpoint {
    pub fn host_ifname(&self) -> String {
        self.id.host_ifname()
    }

    /// `namespace/pod:interface`, or the short container id without Kubernetes.
    pub fn title(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{}/{}:{}", pod.namespace, pod.name, self.id.ifname),
            None => self.id.to_string(),
        }
    }

    pub fn has_ipv6(&self) -> bool {
        self.guard.slaac || self.addresses.iter().any(|a| a.addr().is_ipv6())
    }

    /// Who the pod may say it is: what both back ends of the guard are compiled from.
    pub fn sources(&self) -> AcceptedSources {
        let mut sources = AcceptedSources { mac: self.mac, ipv4: Vec::new(), ipv6: Vec::new() };
        for address in &self.addresses {
            match address.addr() {
                IpAddr::V4(v4) => sources.ipv4.push(v4),
                IpAddr::V6(v6) => sources.ipv6.push(v6),
            }
        }
        if self.has_ipv6() {
            let link_local = eui64_link_local(self.mac);
            if !sources.ipv6.contains(&link_local) {
                sources.ipv6.push(link_local);
            }
        }
        sources
    }
}

/// The sources that the guard lets pass. Addresses are in configuration order; the link-local comes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedSources {
    pub mac: Mac,
    pub ipv4: Vec<std::net::Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
}

/// The modified EUI-64 link-local address of a MAC (RFC 4291, appendix A).
pub fn eui64_link_local(mac: Mac) -> Ipv6Addr {
    Ipv6Addr::from(ebpf_abi::eui64_link_local(mac.0))
}

/// The ledger keeps a MAC in its usual text.
mod mac_text {
    use openflow::Mac;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn serialize<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(mac)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("`{text}` is not a MAC address")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_are_stable() {
        let id = EndpointId::new("0123456789abcdef", "eth0");
        assert_eq!(id.host_ifname().len(), 15);
        assert_eq!(id.host_ifname(), EndpointId::new("0123456789abcdef", "eth0").host_ifname());
        assert_ne!(id.host_ifname(), EndpointId::new("0123456789abcdef", "eth1").host_ifname());
        assert_eq!(id.to_string(), "0123456789ab:eth0");
    }

    #[test]
    fn an_alias_names_its_endpoint() {
        let id = EndpointId::new("c/1", "net1");
        assert_eq!(EndpointId::from_alias(&id.alias()), Some(id));
        assert_eq!(EndpointId::from_alias("something else"), None);
    }

    #[test]
    fn a_derived_mac_is_local_and_unicast() {
        let mac = EndpointId::new("c", "eth0").derived_mac();
        assert_eq!(mac.0[0] & 3, 2);
    }

    #[test]
    fn the_link_local_follows_rfc_4291() {
        let mac = Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(eui64_link_local(mac), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
    }
}
