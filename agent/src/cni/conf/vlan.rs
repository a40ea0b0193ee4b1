//! `vlan` and `trunk`: one meaning for `underpass`, ovs-cni's for `ovs`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::PortVlan;

use super::super::error::CniError;
use super::super::fields::Fields;
use super::keys::refuse_unknown;

/// Access port of `vlan` (0, if it is not given), or a trunk with `vlan` as its native VLAN.
pub(super) fn underpass(fields: &Fields<'_>) -> Result<PortVlan, CniError> {
    let vlan = vlan(fields)?;
    let Some(list) = fields.list("trunk")? else { return Ok(PortVlan::Access(vlan.unwrap_or(0))) };
    let vlans = union(list, 1, MAX_VLAN)?;
    // ovs-cni lets an item be both and takes both; where the meaning is ours, one of the two is a mistake.
    let says = |item: &Value, key| item.get(key).is_some_and(|value| !value.is_null());
    if let Some(index) = list.iter().position(|item| says(item, "id") && says(item, "minID")) {
        let msg = format!("trunk[{index}] has id and minID: expected one VLAN or a range of them");
        return Err(CniError::config(msg));
    }
    if vlans.is_empty() {
        return Err(fields.wrong("trunk", "at least one VLAN"));
    }
    Ok(PortVlan::Trunk { vlans, native: vlan })
}

/// As ovs-cni leaves the port: a trunk wins over `vlan`, and neither is a port without any setting.
pub(super) fn ovs(fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<PortVlan, CniError> {
    let vlan = vlan(fields)?;
    let vlans = union(fields.list("trunk")?.unwrap_or_default(), 0, MAX_TRUNK_OVS)?;
    match (vlans.is_empty(), vlan) {
        (true, None) => Ok(PortVlan::Unset),
        (true, Some(vlan)) => Ok(PortVlan::Access(vlan)),
        (false, None) => Ok(PortVlan::Trunk { vlans, native: None }),
        (false, Some(vlan)) => {
            warnings.push(format!("vlan {vlan} is ignored beside trunk, as ovs-cni does"));
            Ok(PortVlan::Trunk { vlans, native: None })
        }
    }
}

fn vlan(fields: &Fields<'_>) -> Result<Option<u16>, CniError> {
    fields.number("vlan", 0..=MAX_VLAN, "a VLAN id")
}

/// The VLANs of all items, ascending, each once. An item is an `id`, a range, or (as ovs-cni has it) both.
fn union(list: &[Value], least: u16, most: u16) -> Result<Vec<u16>, CniError> {
    let mut vlans = BTreeSet::new();
    for (index, value) in list.iter().enumerate() {
        let path = format!("trunk[{index}]");
        let item = Fields::of(path.clone(), value)?;
        refuse_unknown(&item, &["id", "minID", "maxID"])?;
        let read = |key| item.number(key, least..=most, "a VLAN id");
        let id = read("id")?;
        match (read("minID")?, read("maxID")?) {
            (Some(first), Some(last)) if first <= last => vlans.extend(first..=last),
            (Some(first), Some(_)) => {
                return Err(item.wrong("maxID", &format!("a VLAN id not below minID {first}")));
            }
            (Some(_), None) => return Err(CniError::config(format!("{path}.maxID is missing beside minID"))),
            (None, Some(_)) => return Err(CniError::config(format!("{path}.minID is missing beside maxID"))),
            (None, None) if id.is_none() => {
                return Err(CniError::config(format!("{path} is empty: expected id, or minID and maxID")));
            }
            (None, None) => {}
        }
        vlans.extend(id);
    }
    Ok(vlans.into_iter().collect())
}

/// 4095 is reserved (IEEE 802.1Q, table 9-2).
const MAX_VLAN: u16 = 4094;

/// ovs-cni and OVSDB let 4095 into a trunk, and configurations use it to say "all".
const MAX_TRUNK_OVS: u16 = 4095;
