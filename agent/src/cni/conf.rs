//! The network configuration: what `type: underpass` and `type: ovs` may say, checked field by field.
//!
//! [`Head`] is what every verb needs and asks little: a DEL must work even if the rest of the configuration became wrong
//! since the ADD. [`NetConf`] is the whole of it, for ADD and CHECK. Values that the agent's own configuration can give
//! stay `None` here where they are not said; the caller merges.
//!
//! `type: ovs` takes ovs-cni's keys with ovs-cni's meaning, and ours beside them. What ovs-cni does and we do not is an
//! error that names the field, never silence; what ovs-cni ignores is a warning.

mod head;
mod keys;
mod ovs;
mod vlan;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{ConflictPolicy, GatewayPolicy, GuardMode, Mac, PortVlan};

pub use head::{Head, Kind};

use super::args::{CniArgs, RequestedIp, check_list, parse_mac};
use super::error::{CniError, Code};
use super::fields::{Fields, wrong};
use super::result::CniResult;
use keys::{refuse_unknown, report_unknown};

/// A network configuration whose every value is sound.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConf {
    pub head: Head,
    pub bridge: BridgeName,
    pub vlan: PortVlan,
    /// `None`: the bridge's.
    pub mtu: Option<u32>,
    pub guard: GuardConf,
    pub conflict: ConflictConf,
    pub gateway: Option<GatewayPolicy>,
    pub accelerate: Option<bool>,
    /// The MAC asked for, by whichever of the four ways comes first.
    pub mac: Option<Mac>,
    /// Addresses asked for. With IPAM they are the plugin's business (it is handed them too); without, they are the
    /// endpoint's addresses, and each has its prefix.
    pub ips: Vec<RequestedIp>,
    /// ovs-cni's `ofport_request`.
    pub ofport_request: Option<u16>,
    /// The result of the plugin before us in the chain, or at CHECK our own.
    pub prev_result: Option<CniResult>,
    /// What was accepted but will not do what its author may think; one sentence each.
    pub warnings: Vec<String>,
}

/// How the bridge is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeName {
    /// By its name.
    Bridge(String),
    /// The bridge that has this NIC or bond as a port.
    WithUplink(String),
}

/// The guard, as far as the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardConf {
    /// `None`: the agent's mode; `mac` where there is neither IPAM nor an address.
    pub mode: Option<GuardMode>,
    pub dhcp: bool,
    pub slaac: bool,
    pub vm: bool,
}

/// The conflict probe, as far as the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConflictConf {
    pub policy: Option<ConflictPolicy>,
    /// Probes.
    pub count: Option<u32>,
    /// From one probe to the next.
    pub interval: Option<Duration>,
    /// After the last probe.
    pub wait: Option<Duration>,
}

impl NetConf {
    /// Reads standard input of an ADD or CHECK. `args` is what `CNI_ARGS` says.
    pub fn parse(stdin: &[u8], args: &CniArgs) -> Result<Self, CniError> {
        let head = Head::parse(stdin)?;
        let raw = head.raw().clone();
        let fields = Fields::root(&raw);
        let mut warnings = Vec::new();
        report_unknown(&fields, head.kind, &mut warnings)?;
        let ofport_request = match head.kind {
            Kind::Underpass => None,
            Kind::Ovs => ovs::check(&fields, args, &mut warnings)?,
        };
        let vlan = match head.kind {
            Kind::Underpass => vlan::underpass(&fields)?,
            Kind::Ovs => vlan::ovs(&fields, &mut warnings)?,
        };
        if fields.object("runtimeConfig")?.is_some_and(|runtime| runtime.get("bandwidth").is_some()) {
            warnings.push("runtimeConfig.bandwidth is not carried out".to_owned());
        }
        Ok(Self {
            bridge: bridge(&fields)?,
            vlan,
            mtu: mtu(&fields, head.kind)?,
            guard: guard(&fields)?,
            conflict: conflict(&fields)?,
            gateway: gateway(&fields)?,
            accelerate: fields.flag("accelerate")?,
            mac: mac(&fields, args)?,
            ips: ips(&fields, args, head.ipam.is_some())?,
            ofport_request,
            prev_result: prev_result(&fields)?,
            warnings,
            head,
        })
    }
}

fn bridge(fields: &Fields<'_>) -> Result<BridgeName, CniError> {
    let name = |key: &'static str| -> Result<Option<String>, CniError> {
        let Some(name) = fields.filled(key)? else { return Ok(None) };
        let fine = name.len() <= MAX_NAME && name.chars().all(|char| char.is_ascii_graphic() && char != '/');
        if fine { Ok(Some(name.to_owned())) } else { Err(fields.wrong(key, "an interface name")) }
    };
    match (name("bridge")?, name("uplink")?) {
        (Some(bridge), None) => Ok(BridgeName::Bridge(bridge)),
        (None, Some(uplink)) => Ok(BridgeName::WithUplink(uplink)),
        (Some(_), Some(_)) => Err(fields.wrong("uplink", "nothing, because bridge is given too")),
        (None, None) => Err(CniError::config("bridge is missing: give bridge or uplink")),
    }
}

fn mtu(fields: &Fields<'_>, kind: Kind) -> Result<Option<u32>, CniError> {
    let least = if kind == Kind::Ovs { 0 } else { *MTU.start() };
    let mtu = fields.number("mtu", least..=*MTU.end(), "bytes")?;
    // ovs-cni takes 0 for "as it comes".
    let mtu = mtu.filter(|mtu| *mtu != 0);
    if mtu.is_some_and(|mtu| !MTU.contains(&mtu)) {
        return Err(fields.wrong("mtu", &format!("0, or bytes from {} to {}", MTU.start(), MTU.end())));
    }
    Ok(mtu)
}

fn guard(fields: &Fields<'_>) -> Result<GuardConf, CniError> {
    let Some(guard) = fields.object("guard")? else { return Ok(GuardConf::default()) };
    refuse_unknown(&guard, &["mode", "dhcp", "slaac", "vm"])?;
    let modes = [GuardMode::Full, GuardMode::Mac, GuardMode::Observe, GuardMode::Off];
    Ok(GuardConf {
        mode: guard.word("mode", &modes.map(|mode| (mode.name(), mode)))?,
        dhcp: guard.flag("dhcp")?.unwrap_or_default(),
        slaac: guard.flag("slaac")?.unwrap_or_default(),
        vm: guard.flag("vm")?.unwrap_or_default(),
    })
}

fn conflict(fields: &Fields<'_>) -> Result<ConflictConf, CniError> {
    let Some(conflict) = fields.object("conflict")? else { return Ok(ConflictConf::default()) };
    refuse_unknown(&conflict, &["policy", "count", "interval", "wait"])?;
    let policies =
        [("fail", ConflictPolicy::Fail), ("warn", ConflictPolicy::Warn), ("off", ConflictPolicy::Off)];
    Ok(ConflictConf {
        policy: conflict.word("policy", &policies)?,
        count: conflict.number("count", PROBES, "probes")?,
        interval: conflict.duration("interval", PROBE_INTERVAL)?,
        wait: conflict.duration("wait", PROBE_INTERVAL)?,
    })
}

fn gateway(fields: &Fields<'_>) -> Result<Option<GatewayPolicy>, CniError> {
    let Some(gateway) = fields.object("gateway")? else { return Ok(None) };
    refuse_unknown(&gateway, &["policy"])?;
    let policies =
        [("require", GatewayPolicy::Require), ("warn", GatewayPolicy::Warn), ("off", GatewayPolicy::Off)];
    gateway.word("policy", &policies)
}

/// First of `runtimeConfig.mac`, `args.cni.mac`, `CNI_ARGS`, `mac`. All that are given must be sound.
fn mac(fields: &Fields<'_>, args: &CniArgs) -> Result<Option<Mac>, CniError> {
    let read = |object: &Fields<'_>| -> Result<Option<Mac>, CniError> {
        let Some(text) = object.filled("mac")? else { return Ok(None) };
        parse_mac(text).map(Some).ok_or_else(|| object.wrong("mac", "a unicast MAC address"))
    };
    let runtime = fields.object("runtimeConfig")?.map(|object| read(&object)).transpose()?.flatten();
    let per_pod = args_cni(fields)?.map(|object| read(&object)).transpose()?.flatten();
    Ok(runtime.or(per_pod).or(args.mac).or(read(fields)?))
}

/// First of `runtimeConfig.ips`, `args.cni.ips`, `CNI_ARGS`.
fn ips(fields: &Fields<'_>, args: &CniArgs, has_ipam: bool) -> Result<Vec<RequestedIp>, CniError> {
    let objects = [fields.object("runtimeConfig")?, args_cni(fields)?];
    let mut ips = args.ips.clone();
    let mut source = "CNI_ARGS IP".to_owned();
    for object in objects.into_iter().rev().flatten() {
        let listed = ip_list(&object)?;
        if !listed.is_empty() {
            (ips, source) = (listed, object.path_of("ips"));
        }
    }
    check_list(&source, &ips).map_err(CniError::config)?;
    if has_ipam {
        return Ok(ips);
    }
    match ips.iter().find(|ip| matches!(ip, RequestedIp::Address(_))) {
        Some(bare) => {
            let address = bare.address();
            Err(CniError::config(format!("{source} has {address}: without ipam it needs its prefix")))
        }
        None => Ok(ips),
    }
}

fn ip_list(object: &Fields<'_>) -> Result<Vec<RequestedIp>, CniError> {
    let path = object.path_of("ips");
    let list = object.list("ips")?.unwrap_or_default();
    list.iter()
        .enumerate()
        .map(|(index, value)| {
            let parsed = value.as_str().ok_or("an IP address").and_then(str::parse);
            parsed.map_err(|expected| wrong(&format!("{path}[{index}]"), value, expected))
        })
        .collect()
}

/// `args.cni`: arguments for one pod, by the conventions of CNI.
fn args_cni<'a>(fields: &Fields<'a>) -> Result<Option<Fields<'a>>, CniError> {
    fields.object("args")?.map(|args| args.object("cni")).transpose().map(Option::flatten)
}

fn prev_result(fields: &Fields<'_>) -> Result<Option<CniResult>, CniError> {
    let Some(value) = fields.get("prevResult") else { return Ok(None) };
    CniResult::from_value(value).map(Some).map_err(|error| {
        CniError::new(Code::UNDECODABLE, format!("prevResult cannot be read: {}", error.msg))
    })
}

/// Longest name of a bridge or port: OVS bridges are interfaces, but the userspace datapath takes longer names.
const MAX_NAME: usize = 64;

/// From IPv4's least (RFC 791) to what a veth takes.
const MTU: RangeInclusive<u32> = 68..=65_535;

/// At least one probe, and with the longest times still inside an ADD's 55 s.
const PROBES: RangeInclusive<u32> = 1..=10;

/// From what a switch can answer in to RFC 5227's own order of magnitude.
const PROBE_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(2);

#[cfg(test)]
mod tests;
