//! From the agent's values to the contract's.

use std::time::Duration;

use agent_api::control::v1 as pb;

use crate::clock::unix_ns;
use crate::model::{Endpoint, EndpointId, GuardMode, Intent, Obstacle, PortVlan, Stage};

/// An endpoint's names, with its pod as far as the intent still knows it.
pub(super) fn reference(intent: &Intent, id: &EndpointId) -> pb::EndpointRef {
    match intent.endpoints.get(id) {
        Some(entry) => of_endpoint(&entry.endpoint),
        None => pb::EndpointRef {
            id: id.to_string(),
            container_id: id.container.clone(),
            ifname: id.ifname.clone(),
            pod: None,
        },
    }
}

pub(super) fn of_endpoint(endpoint: &Endpoint) -> pb::EndpointRef {
    pb::EndpointRef {
        id: endpoint.title(),
        container_id: endpoint.id.container.clone(),
        ifname: endpoint.id.ifname.clone(),
        pod: endpoint.pod.as_ref().map(|p| pb::Pod {
            namespace: p.namespace.clone(),
            name: p.name.clone(),
            uid: p.uid.clone(),
        }),
    }
}

pub(super) fn stage(stage: Stage) -> pb::Stage {
    match stage {
        Stage::Links => pb::Stage::Links,
        Stage::Bpf => pb::Stage::Bpf,
        Stage::Ports => pb::Stage::Ports,
        Stage::Flows => pb::Stage::Flows,
        Stage::Gate => pb::Stage::Gate,
    }
}

pub(super) fn guard_mode(mode: GuardMode) -> pb::GuardMode {
    match mode {
        GuardMode::Full => pb::GuardMode::Full,
        GuardMode::Mac => pb::GuardMode::Mac,
        GuardMode::Observe => pb::GuardMode::Observe,
        GuardMode::Off => pb::GuardMode::Off,
    }
}

pub(super) fn hook(attached: Option<&str>) -> pb::BpfHook {
    match attached {
        Some("tcx") => pb::BpfHook::Tcx,
        Some(_) => pb::BpfHook::Clsact,
        None => pb::BpfHook::None,
    }
}

pub(super) fn vlan(vlan: &PortVlan) -> pb::Vlan {
    use pb::vlan::Mode;
    let (mode, tag, trunks) = match vlan {
        PortVlan::Access(tag) => (Mode::Access, Some(*tag), Vec::new()),
        PortVlan::Trunk { vlans, native } => (Mode::Trunk, *native, vlans.clone()),
        PortVlan::Unset => (Mode::Unset, None, Vec::new()),
    };
    pb::Vlan {
        mode: mode.into(),
        tag: tag.map(u32::from),
        trunks: trunks.into_iter().map(u32::from).collect(),
    }
}

/// A reason from its number in cookies and counters; the contract uses the same numbers.
pub(super) fn reason(number: u8) -> pb::Reason {
    pb::Reason::try_from(i32::from(number)).unwrap_or(pb::Reason::Unspecified)
}

/// A time of the boot clock that may not have come; 0 then.
pub(super) fn moment(at: Option<Duration>) -> i64 {
    at.map_or(0, unix_ns)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn obstacle(obstacle: Obstacle) -> pb::AccelReason {
    pb::AccelReason { code: obstacle.code().to_owned(), text: obstacle.text().to_owned() }
}
