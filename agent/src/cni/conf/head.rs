//! The part of a configuration that every verb needs.

use serde_json::{Map, Value};

use super::super::Version;
use super::super::error::{CniError, Code};
use super::super::fields::Fields;

/// Version, name, type and IPAM plugin of a configuration, and the configuration itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub version: Version,
    /// Name of the network: the scope of GC.
    pub name: String,
    pub kind: Kind,
    /// File name of the IPAM plugin; `None`: no IPAM.
    pub ipam: Option<String>,
    raw: Map<String, Value>,
}

/// The `type` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Underpass,
    /// ovs-cni's name: its keys, its meaning.
    Ovs,
}

impl Head {
    /// Reads standard input of any verb.
    pub fn parse(stdin: &[u8]) -> Result<Self, CniError> {
        let raw: Map<String, Value> = serde_json::from_slice(stdin).map_err(|error| {
            CniError::new(Code::UNDECODABLE, "the network configuration is not a JSON object")
                .caused_by(&error)
        })?;
        let fields = Fields::root(&raw);
        let version = version(&fields)?;
        let name = fields.filled("name")?.ok_or_else(|| CniError::config("name is missing"))?;
        if !is_network_name(name) {
            return Err(fields.wrong("name", "letters, digits, '_', '.', '-', the first a letter or digit"));
        }
        let name = name.to_owned();
        let kind = fields.word("type", &[("underpass", Kind::Underpass), ("ovs", Kind::Ovs)])?;
        let kind = kind.ok_or_else(|| CniError::config("type is missing"))?;
        let ipam = ipam(&fields)?;
        Ok(Self { version, name, kind, ipam, raw })
    }

    /// The whole configuration as it came.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The version of a configuration that may be wrong otherwise: the one in which to report what is wrong.
    pub fn version_of(stdin: &[u8]) -> Version {
        let raw: Option<Map<String, Value>> = serde_json::from_slice(stdin).ok();
        raw.and_then(|raw| version(&Fields::root(&raw)).ok()).unwrap_or(Version::NEWEST)
    }
}

fn version(fields: &Fields<'_>) -> Result<Version, CniError> {
    let names = Version::ALL.map(Version::as_str).join(", ");
    let Some(said) = fields.get("cniVersion") else {
        return Err(incompatible(format!("cniVersion is missing: expected one of {names}")));
    };
    let version = said.as_str().and_then(Version::from_name);
    version.ok_or_else(|| {
        let msg = fields.wrong("cniVersion", &format!("one of {names}")).msg;
        incompatible(msg)
    })
}

fn incompatible(msg: String) -> CniError {
    CniError::new(Code::INCOMPATIBLE_VERSION, msg)
}

/// `ipam.type`. No `ipam`, or an empty object, is no IPAM.
fn ipam(fields: &Fields<'_>) -> Result<Option<String>, CniError> {
    let Some(ipam) = fields.object("ipam")? else { return Ok(None) };
    match ipam.filled("type")? {
        Some(plugin) if plugin.contains(['/', '\0']) || plugin == "." || plugin == ".." => {
            Err(ipam.wrong("type", "the file name of a plugin"))
        }
        // It would ask the agent for an address, and that one it again, and so on.
        Some(plugin) if OURS.contains(&plugin) => Err(ipam.wrong("type", "an IPAM plugin, not this one")),
        Some(plugin) => Ok(Some(plugin.to_owned())),
        None if ipam.keys().all(|key| key == "type") => Ok(None),
        None => Err(CniError::config("ipam.type is missing")),
    }
}

/// Names of this plugin's file.
const OURS: [&str; 3] = ["underpass", "underpass-cni", "ovs"];

/// As the specification (§1, "Network configuration objects") wants it.
fn is_network_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || "_.-".contains(char))
}
