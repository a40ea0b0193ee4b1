//! The cache of the database turned into an [`Ovs`] value: what is monitored, and what the columns mean. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::{Cache, MonitorSpec, Row, Uuid};

use super::ovs::{Bridge, Feature, Interface, LinkState, Lock, Ovs, Policing, Port, State, VlanMode};

/// The tables and columns that [`read`] looks at. Statistics are left out: they change every five seconds.
pub(super) fn spec() -> MonitorSpec {
    MonitorSpec::new()
        .table("Open_vSwitch", ["bridges", "cur_cfg", "next_cfg", "other_config", "ovs_version"])
        .table(
            "Bridge",
            [
                "name",
                "controller",
                "datapath_id",
                "datapath_type",
                "external_ids",
                "flood_vlans",
                "ipfix",
                "mirrors",
                "netflow",
                "other_config",
                "ports",
                "protocols",
                "rstp_enable",
                "sflow",
                "stp_enable",
            ],
        )
        .table(
            "Port",
            ["name", "external_ids", "interfaces", "protected", "qos", "tag", "trunks", "vlan_mode"],
        )
        .table(
            "Interface",
            [
                "name",
                "admin_state",
                "error",
                "external_ids",
                "ifindex",
                "ingress_policing_burst",
                "ingress_policing_kpkts_burst",
                "ingress_policing_kpkts_rate",
                "ingress_policing_rate",
                "link_state",
                "mac_in_use",
                "mtu",
                "ofport",
                "ofport_request",
                "status",
                "type",
            ],
        )
        .table("Flow_Sample_Collector_Set", ["bridge"])
}

/// The value of a connected database. Ports of which no row was `touched` are taken over from the value before
/// it: reading all of them takes 5 µs each, after every one of many small changes.
pub(super) fn read(cache: &Cache, lock: Lock, before: &Ovs, touched: &BTreeSet<Uuid>) -> Ovs {
    // The schema allows one row at most (maxRows 1); none before `ovs-vsctl init`.
    let empty = Row::default();
    let root = cache.rows("Open_vSwitch").next().map_or(&empty, |(_, row)| row);
    let is_set = |key| root.value("other_config", key) == Some("true");
    let sampled: BTreeSet<Uuid> =
        cache.rows("Flow_Sample_Collector_Set").filter_map(|(_, row)| row.uuid("bridge")).collect();
    let mut ovs = Ovs {
        state: State::Connected,
        since: before.since,
        is_synced: true,
        lock,
        version: text(root, "ovs_version"),
        cur_cfg: root.integer("cur_cfg").unwrap_or(0),
        next_cfg: root.integer("next_cfg").unwrap_or(0),
        flow_restore_wait: is_set("flow-restore-wait"),
        hw_offload: is_set("hw-offload"),
        bridges: BTreeMap::new(),
        ports: BTreeMap::new(),
    };
    for (uuid, row) in cache.rows("Bridge") {
        let mut bridge = bridge(uuid, row, sampled.contains(&uuid));
        for uuid in row.uuids("ports") {
            let Some(row) = cache.row("Port", uuid) else { continue };
            let port = unchanged(before, touched, uuid, row, &bridge.name)
                .unwrap_or_else(|| port(cache, uuid, row, &bridge.name));
            bridge.ports.insert(port.name.clone());
            if let Some(local) = port.interface().filter(|_| port.name == bridge.name) {
                bridge.local_mtu = local.mtu;
            }
            ovs.ports.insert(port.name.clone(), port);
        }
        ovs.bridges.insert(bridge.name.clone(), bridge);
    }
    ovs
}

/// The port as it was read before, if it is still so.
fn unchanged(before: &Ovs, touched: &BTreeSet<Uuid>, uuid: Uuid, row: &Row, bridge: &str) -> Option<Port> {
    if touched.contains(&uuid) || row.uuids("interfaces").any(|interface| touched.contains(&interface)) {
        return None;
    }
    let port = before.ports.get(row.text("name")?)?;
    (port.uuid == uuid && port.bridge == bridge).then(|| port.clone())
}

fn bridge(uuid: Uuid, row: &Row, is_sampled: bool) -> Bridge {
    Bridge {
        uuid,
        name: text(row, "name"),
        datapath_id: row.text("datapath_id").and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        datapath_type: text(row, "datapath_type"),
        protocols: row.texts("protocols").map(str::to_owned).collect(),
        controllers: row.uuids("controller").count(),
        external_ids: row.map("external_ids"),
        other_config: row.map("other_config"),
        ports: BTreeSet::new(),
        flood_vlans: vlans(row, "flood_vlans"),
        features: features(row, is_sampled),
        local_mtu: None,
    }
}

fn features(row: &Row, is_sampled: bool) -> BTreeSet<Feature> {
    let features = [
        (Feature::Mirror, !row.is_empty("mirrors")),
        (Feature::SFlow, !row.is_empty("sflow")),
        (Feature::Ipfix, !row.is_empty("ipfix")),
        (Feature::NetFlow, !row.is_empty("netflow")),
        (Feature::Sampling, is_sampled),
        (Feature::Stp, row.is_true("stp_enable")),
        (Feature::Rstp, row.is_true("rstp_enable")),
    ];
    features.into_iter().filter(|(_, is_on)| *is_on).map(|(feature, _)| feature).collect()
}

fn port(cache: &Cache, uuid: Uuid, row: &Row, bridge: &str) -> Port {
    let interface = |uuid| cache.row("Interface", uuid).map(|row| interface(uuid, row));
    Port {
        uuid,
        name: text(row, "name"),
        bridge: bridge.to_owned(),
        tag: row.integer("tag").and_then(|tag| u16::try_from(tag).ok()),
        vlan_mode: row.text("vlan_mode").map(VlanMode::from_text),
        trunks: vlans(row, "trunks"),
        is_protected: row.is_true("protected"),
        has_qos: !row.is_empty("qos"),
        external_ids: Arc::new(row.map("external_ids")),
        interfaces: row.uuids("interfaces").filter_map(interface).collect(),
    }
}

fn interface(uuid: Uuid, row: &Row) -> Interface {
    let number = |column| row.integer(column).unwrap_or(0);
    Interface {
        uuid,
        name: text(row, "name"),
        type_: text(row, "type"),
        ofport: row.integer("ofport"),
        ofport_request: row.integer("ofport_request"),
        error: row.text("error").map(str::to_owned),
        link_state: link_state(row, "link_state"),
        admin_state: link_state(row, "admin_state"),
        mac_in_use: row.text("mac_in_use").and_then(mac),
        mtu: row.integer("mtu").and_then(|mtu| u32::try_from(mtu).ok()),
        ifindex: row.integer("ifindex").and_then(|index| u32::try_from(index).ok()),
        policing: Policing {
            rate_kbps: number("ingress_policing_rate"),
            burst_kb: number("ingress_policing_burst"),
            rate_kpps: number("ingress_policing_kpkts_rate"),
            burst_kpkts: number("ingress_policing_kpkts_burst"),
        },
        external_ids: row.map("external_ids"),
        status: row.map("status"),
    }
}

fn text(row: &Row, column: &str) -> String {
    row.text(column).unwrap_or_default().to_owned()
}

fn vlans(row: &Row, column: &str) -> BTreeSet<u16> {
    row.integers(column).filter_map(|vlan| u16::try_from(vlan).ok()).collect()
}

fn link_state(row: &Row, column: &str) -> Option<LinkState> {
    match row.text(column) {
        Some("up") => Some(LinkState::Up),
        Some("down") => Some(LinkState::Down),
        _ => None,
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    octets?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_six_octets_in_hex() {
        assert_eq!(mac("02:00:00:00:00:ff"), Some([2, 0, 0, 0, 0, 0xff]));
        for text in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:100", "x"] {
            assert_eq!(mac(text), None, "{text}");
        }
    }
}
