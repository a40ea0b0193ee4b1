//! The keys that only ovs-cni has: taken, or refused by name.

use super::super::args::CniArgs;
use super::super::error::{CniError, Code};
use super::super::fields::Fields;
use super::args_cni;

/// Checks ovs-cni's own keys and gives `ofport_request`.
pub(super) fn check(
    fields: &Fields<'_>,
    args: &CniArgs,
    warnings: &mut Vec<String>,
) -> Result<Option<u16>, CniError> {
    refuse_other_hardware(fields)?;
    refuse_ovn(fields, args)?;
    if fields.filled("configuration_path")?.is_some() {
        return Err(unsupported(fields, "configuration_path", "flat files are not read"));
    }
    if let Some(socket) = fields.filled("socket_file")? {
        if !socket.starts_with("unix:") {
            return Err(unsupported(fields, "socket_file", "the agent speaks to its node's OVSDB only"));
        }
        if socket != DEFAULT_SOCKET {
            warnings.push(format!("socket_file {socket} is ignored: the agent knows its OVSDB"));
        }
    }
    // The port's number is awaited as an event; there is nothing to poll. The values are only read to catch mistakes.
    fields.number("link_state_check_retries", 0..=u32::MAX, "polls")?;
    fields.number("link_state_check_interval", 0..=u32::MAX, "milliseconds")?;
    let request = fields.number("ofport_request", 0..=MAX_OFPORT, "an OpenFlow port")?;
    Ok(request.filter(|port| *port != 0))
}

/// SR-IOV, vDPA and DPDK: ports that are no veth.
fn refuse_other_hardware(fields: &Fields<'_>) -> Result<(), CniError> {
    if fields.filled("deviceID")?.is_some() {
        return Err(unsupported(fields, "deviceID", "SR-IOV and vDPA devices are not attached"));
    }
    if fields.filled("interface_type")?.is_some_and(|kind| kind != "system") {
        return Err(unsupported(fields, "interface_type", "a pod's port is always of type system"));
    }
    if let Some(runtime) = fields.object("runtimeConfig")?
        && runtime.filled("CNIDeviceInfoFile")?.is_some()
    {
        return Err(unsupported(&runtime, "CNIDeviceInfoFile", "SR-IOV and vDPA devices are not attached"));
    }
    Ok(())
}

/// A port of OVN belongs to ovn-controller.
fn refuse_ovn(fields: &Fields<'_>, args: &CniArgs) -> Result<(), CniError> {
    let reason = "ports of OVN are not made";
    if let Some(port) = &args.ovn_port {
        let msg = format!("CNI_ARGS OvnPort is {port:?}: {reason}");
        return Err(CniError::new(Code::UNSUPPORTED_FIELD, msg));
    }
    let Some(per_pod) = args_cni(fields)? else { return Ok(()) };
    match per_pod.keys().find(|key| key.eq_ignore_ascii_case("ovnPort")) {
        Some(key) if per_pod.get(key).is_some() => Err(unsupported(&per_pod, key, reason)),
        _ => Ok(()),
    }
}

fn unsupported(fields: &Fields<'_>, key: &str, reason: &str) -> CniError {
    let value = fields.get(key).map(ToString::to_string).unwrap_or_default();
    let msg = format!("{} is {value}: {reason}", fields.path_of(key));
    CniError::new(Code::UNSUPPORTED_FIELD, msg)
}

/// ovs-cni's default.
const DEFAULT_SOCKET: &str = "unix:/var/run/openvswitch/db.sock";

/// Above it are OpenFlow 1.0's reserved ports (ovs-vswitchd.conf.db(5), `ofport_request`).
const MAX_OFPORT: u16 = 65_279;
