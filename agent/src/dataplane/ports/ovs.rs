//! What the database says, as plain values: bridges, ports, interfaces, and the questions asked of them.
//!
//! Nothing here does IO or knows the protocol. A value is a whole and consistent state of the database: OVSDB
//! sends the effects of one transaction together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ovsdb::Uuid;

use super::request::PortVlan;
use crate::model::Obstacle;

/// One state of the database and of the connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovs {
    /// Whether the rest is current. While it is not, the rest is what was last known.
    pub state: State,
    /// When the connection was made or lost.
    pub since: Instant,
    /// Whether the tables were read at least once; before that, absence of a bridge or port means nothing.
    pub is_synced: bool,
    /// Whether this agent may write.
    pub lock: Lock,
    /// `Open_vSwitch.ovs_version`, such as `3.1.0`. The start script ovs-ctl writes it, not ovs-vswitchd, so it
    /// is empty where OVS is started by other means.
    pub version: String,
    /// The configuration that ovs-vswitchd has finished applying.
    pub cur_cfg: i64,
    /// The configuration that was last asked for.
    pub next_cfg: i64,
    /// `other_config:flow-restore-wait`: flows are to be read only.
    pub flow_restore_wait: bool,
    /// `other_config:hw-offload`.
    pub hw_offload: bool,
    /// By name.
    pub bridges: BTreeMap<String, Bridge>,
    /// By name, which is unique over all bridges.
    pub ports: BTreeMap<String, Port>,
}

impl Ovs {
    /// Why the picture is not current or may not be acted on, if so.
    pub fn outage(&self) -> Option<&str> {
        match &self.state {
            State::Down { error } => Some(error),
            State::Connected if self.lock == Lock::Waiting => Some(STANDS_BY),
            State::Connected => None,
        }
    }

    /// Why this agent stands by, if it does: another one works on this database.
    pub fn stands_by(&self) -> Option<&'static str> {
        (self.is_current() && self.lock == Lock::Waiting).then_some(STANDS_BY)
    }

    /// Nothing known yet.
    pub fn unknown(since: Instant) -> Self {
        Self {
            state: State::Down { error: "not connected yet".to_owned() },
            since,
            is_synced: false,
            lock: Lock::Waiting,
            version: String::new(),
            cur_cfg: 0,
            next_cfg: 0,
            flow_restore_wait: false,
            hw_offload: false,
            bridges: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }

    /// Whether the database is connected, so that all the rest is current.
    pub fn is_current(&self) -> bool {
        self.state == State::Connected
    }

    /// Why nothing on this bridge may be accelerated; empty if it may.
    pub fn accel_blockers(&self, bridge: &str) -> Vec<Obstacle> {
        let Some(bridge) = self.bridges.get(bridge) else { return vec![Obstacle::NoBridge] };
        let mut blockers = bridge.accel_blockers();
        blockers.extend(self.hw_offload.then_some(Obstacle::HwOffload));
        blockers
    }
}

/// The connection to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is current.
    Connected,
    /// There is no connection; what was last known is stale.
    Down {
        /// The last error and its causes.
        error: String,
    },
}

/// The lock that keeps a second agent from writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// This agent has it.
    Held,
    /// Another has it, or there is no connection.
    Waiting,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its row; another one after the bridge was deleted and made again.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// 64 bits in hex, once ovs-vswitchd has made the bridge.
    pub datapath_id: Option<u64>,
    /// Empty or `system` for the kernel's datapath, `netdev` for the userspace one.
    pub datapath_type: String,
    /// OpenFlow versions allowed; none means all.
    pub protocols: BTreeSet<String>,
    /// How many controllers are configured.
    pub controllers: usize,
    /// As in the database.
    pub external_ids: BTreeMap<String, String>,
    /// As in the database; `mac-aging-time` (seconds) is here.
    pub other_config: BTreeMap<String, String>,
    /// Names of its ports.
    pub ports: BTreeSet<String>,
    /// VLANs on which it learns nothing and floods.
    pub flood_vlans: BTreeSet<u16>,
    /// What it does that wants to see every frame.
    pub features: BTreeSet<Feature>,
    /// MTU of its internal interface, in bytes.
    pub local_mtu: Option<u32>,
}

impl Bridge {
    /// Whether it runs on the userspace datapath.
    pub fn is_userspace(&self) -> bool {
        self.datapath_type == "netdev"
    }

    /// Whether the agent may speak to it: it speaks nothing but OpenFlow 1.5 (design §7).
    pub fn speaks_our_version(&self) -> bool {
        self.protocols.is_empty() || self.protocols.contains("OpenFlow15")
    }

    /// How long a learned address lives without traffic, in seconds.
    pub fn mac_aging_secs(&self) -> u32 {
        // vswitchd takes 300 for an absent or unreadable value and at least 15 for any other.
        let configured = self.other_config.get("mac-aging-time").and_then(|text| text.parse().ok());
        configured.unwrap_or(300).max(15)
    }

    fn accel_blockers(&self) -> Vec<Obstacle> {
        let conditions = [
            (self.is_userspace(), Obstacle::UserspaceDatapath),
            (!self.flood_vlans.is_empty(), Obstacle::FloodVlans),
        ];
        applying(conditions).chain(self.features.iter().map(|feature| feature.obstacle())).collect()
    }
}

/// Something a bridge does that wants to see every frame, so that nothing may go past the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A mirror copies frames.
    Mirror,
    /// It exports sFlow.
    SFlow,
    /// It exports IPFIX.
    Ipfix,
    /// It exports NetFlow.
    NetFlow,
    /// A Flow_Sample_Collector_Set refers to it.
    Sampling,
    /// Spanning tree. Whether a port forwards is in the database only seconds later, so it counts as such.
    Stp,
    /// Rapid spanning tree; likewise.
    Rstp,
}

impl Feature {
    fn obstacle(self) -> Obstacle {
        match self {
            Self::Mirror => Obstacle::Mirror,
            Self::SFlow => Obstacle::SFlow,
            Self::Ipfix => Obstacle::Ipfix,
            Self::NetFlow => Obstacle::NetFlow,
            Self::Sampling => Obstacle::Sampling,
            Self::Stp => Obstacle::Stp,
            Self::Rstp => Obstacle::Rstp,
        }
    }
}

/// A port of a bridge: one interface, or a bond of several.
///
/// The large parts are shared between the values published one after another: most changes touch one port of
/// hundreds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its row.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The bridge's name.
    pub bridge: String,
    /// The access or native VLAN.
    pub tag: Option<u16>,
    /// What the port does with tags, if the database says.
    pub vlan_mode: Option<VlanMode>,
    /// The VLANs a trunk carries; none means all.
    pub trunks: BTreeSet<u16>,
    /// Protected ports do not talk to each other.
    pub is_protected: bool,
    /// A QoS record shapes what leaves the port.
    pub has_qos: bool,
    /// As in the database.
    pub external_ids: Arc<BTreeMap<String, String>>,
    /// Usually one; the members of a bond otherwise.
    pub interfaces: Arc<[Interface]>,
}

impl Port {
    /// Who made the port, by its external_ids.
    pub fn owner(&self) -> Owner {
        Owner::of(&self.external_ids)
    }

    /// Whether the port has several members.
    pub fn is_bond(&self) -> bool {
        self.interfaces.len() > 1
    }

    /// The interface that bears the port's name: of everything but a bond, the only one.
    pub fn interface(&self) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == self.name)
    }

    /// The VLAN that this access port puts frames into; `None` for every other kind of port.
    pub fn access_vlan(&self) -> Option<u16> {
        match (&self.vlan_mode, self.tag) {
            (Some(VlanMode::Access), tag) => Some(tag.unwrap_or(0)),
            // Without a mode, vswitchd takes a port with a tag for an access port and ignores its trunks.
            (None, tag) => tag,
            (Some(_), _) => None,
        }
    }

    /// Whether the VLAN settings are those that `vlan` asks for.
    pub fn has_vlan(&self, vlan: &PortVlan) -> bool {
        let wanted = vlan.columns();
        self.tag == wanted.tag && self.vlan_mode == wanted.mode && self.trunks == wanted.trunks
    }

    /// Why no frame from or to this port may be accelerated; empty if it may.
    pub fn accel_blockers(&self) -> Vec<Obstacle> {
        let conditions = [
            (self.is_protected, Obstacle::Protected),
            (self.has_qos, Obstacle::Qos),
            (self.interfaces.iter().any(Interface::is_policed), Obstacle::Policing),
            (self.access_vlan().is_none(), Obstacle::Trunk),
            (self.is_bond(), Obstacle::Bond),
        ];
        applying(conditions).collect()
    }
}

/// `Port.vlan_mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VlanMode {
    /// One VLAN, untagged.
    Access,
    /// Several VLANs, tagged.
    Trunk,
    /// A trunk whose tag VLAN may come untagged and leaves tagged.
    NativeTagged,
    /// A trunk whose tag VLAN is untagged.
    NativeUntagged,
    /// 802.1ad.
    Dot1qTunnel,
    /// One that is not known yet.
    Other(String),
}

impl VlanMode {
    /// Reads the database's word.
    pub fn from_text(text: &str) -> Self {
        match text {
            "access" => Self::Access,
            "trunk" => Self::Trunk,
            "native-tagged" => Self::NativeTagged,
            "native-untagged" => Self::NativeUntagged,
            "dot1q-tunnel" => Self::Dot1qTunnel,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The database's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Access => "access",
            Self::Trunk => "trunk",
            Self::NativeTagged => "native-tagged",
            Self::NativeUntagged => "native-untagged",
            Self::Dot1qTunnel => "dot1q-tunnel",
            Self::Other(text) => text,
        }
    }
}

/// Who made a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An Underpass agent.
    Underpass,
    /// ovs-cni.
    OvsCni,
    /// Something else that says its name.
    Other(String),
    /// Something that does not say.
    Unnamed,
}

impl Owner {
    /// Reads the `owner` key.
    pub fn of(external_ids: &BTreeMap<String, String>) -> Self {
        match external_ids.get(OWNER_KEY).map(String::as_str) {
            Some(OWNER_UNDERPASS) => Self::Underpass,
            Some(OWNER_OVS_CNI) => Self::OvsCni,
            Some(other) => Self::Other(other.to_owned()),
            None => Self::Unnamed,
        }
    }

    /// Whether the agent may change or remove the port: its own ones, and those of ovs-cni, whose place it
    /// takes.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Underpass | Self::OvsCni)
    }
}

/// The key of `external_ids` that says who made a port.
pub const OWNER_KEY: &str = "owner";
/// The owner that this agent writes.
pub const OWNER_UNDERPASS: &str = "underpass";
/// The owner that ovs-cni writes.
pub const OWNER_OVS_CNI: &str = "ovs-cni.network.kubevirt.io";

/// A network device of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its row.
    pub uuid: Uuid,
    /// The device's name.
    pub name: String,
    /// Empty or `system` for a device that exists without OVS, `internal`, `dummy`, a tunnel type, …
    pub type_: String,
    /// The OpenFlow port number: unset until ovs-vswitchd has tried, -1 when it failed.
    pub ofport: Option<i64>,
    /// The OpenFlow port number asked for.
    pub ofport_request: Option<i64>,
    /// Why ovs-vswitchd could not use the device.
    pub error: Option<String>,
    /// Carrier.
    pub link_state: Option<LinkState>,
    /// Whether the device is set up.
    pub admin_state: Option<LinkState>,
    /// The device's MAC address.
    pub mac_in_use: Option<[u8; 6]>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// The kernel's index in the network namespace of ovs-vswitchd.
    pub ifindex: Option<u32>,
    /// Limits on what the switch takes from the device.
    pub policing: Policing,
    /// As in the database: `iface-id` and others.
    pub external_ids: BTreeMap<String, String>,
    /// As in the database: `driver_name` and others.
    pub status: BTreeMap<String, String>,
}

impl Interface {
    /// The OpenFlow port number, if the port is usable.
    pub fn openflow_port(&self) -> Option<u32> {
        self.ofport.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
    }

    /// The kernel driver, such as `veth`, once ovs-vswitchd has asked it.
    pub fn driver(&self) -> Option<&str> {
        self.status.get("driver_name").map(String::as_str)
    }

    fn is_policed(&self) -> bool {
        self.policing != Policing::default()
    }
}

/// Ingress policing; zeros are no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policing {
    /// `ingress_policing_rate`, kbit/s.
    pub rate_kbps: i64,
    /// `ingress_policing_burst`, kbit.
    pub burst_kb: i64,
    /// `ingress_policing_kpkts_rate`, 1,000 packets/s.
    pub rate_kpps: i64,
    /// `ingress_policing_kpkts_burst`, 1,000 packets.
    pub burst_kpkts: i64,
}

/// Up or down, of the carrier or of the administrator's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// In the words of a person who looks at the agent that waits.
const STANDS_BY: &str = "another agent holds the OVSDB lock";

fn applying<const N: usize>(conditions: [(bool, Obstacle); N]) -> impl Iterator<Item = Obstacle> {
    conditions.into_iter().filter(|(holds, _)| *holds).map(|(_, obstacle)| obstacle)
}

#[cfg(test)]
pub(super) mod tests;
