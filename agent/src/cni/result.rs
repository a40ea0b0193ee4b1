//! Results (specification §5): one model, four ways to write it, and reading whatever version another plugin chose.
//!
//! What differs: 0.3.1 and 0.4.0 want `ips[].version`, 1.0.0 has dropped it, 1.1.0 adds `mtu`, `socketPath` and `pciID` to
//! interfaces and five fields to routes. Older writers drop what their version does not know.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::Version;
use super::error::{CniError, Code};

mod read;

/// The result of an ADD, or an IPAM plugin's (then without interfaces).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<Ip>,
    pub routes: Vec<Route>,
    pub dns: Dns,
}

/// An interface that a plugin made or took part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// As text: plugins for other links report what is no MAC.
    pub mac: Option<String>,
    /// Bytes; since 1.1.0.
    pub mtu: Option<u32>,
    /// The netns path as the runtime gave it; `None` for the host's interfaces.
    pub sandbox: Option<String>,
}

/// An address on one of the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// With prefix, host bits kept.
    pub address: IpNet,
    pub gateway: Option<IpAddr>,
    /// Index into `interfaces`; IPAM plugins leave it out.
    pub interface: Option<usize>,
}

/// A route for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub dst: IpNet,
    pub gw: Option<IpAddr>,
    /// Bytes; since 1.1.0, as all below.
    pub mtu: Option<u32>,
    /// Bytes.
    pub advmss: Option<u32>,
    pub priority: Option<u32>,
    pub table: Option<u32>,
    pub scope: Option<u32>,
}

impl Route {
    /// A route with nothing but its way.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Name service for the pod; passed on, not carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub nameservers: Vec<String>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

impl CniResult {
    /// Reads a result of any version from 0.3.0 on. Version and fields that are not said are taken as absent.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CniError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| CniError::new(Code::UNDECODABLE, "not a JSON object").caused_by(&error))?;
        Self::from_value(&value)
    }

    /// Reads a result that is part of something else, such as `prevResult`.
    pub fn from_value(value: &Value) -> Result<Self, CniError> {
        read::result(value)
    }

    /// The result as a plugin prints it.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        self.to_value(version).to_string().into_bytes()
    }

    /// The result as part of something else, such as `prevResult`.
    pub fn to_value(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        let mut add = |key: &str, list: Vec<Value>| {
            if !list.is_empty() {
                object.insert(key.to_owned(), list.into());
            }
        };
        add("interfaces", self.interfaces.iter().map(|interface| interface.to_value(version)).collect());
        add("ips", self.ips.iter().map(|ip| ip.to_value(version)).collect());
        add("routes", self.routes.iter().map(|route| route.to_value(version)).collect());
        // Older readers expect the key to be there.
        object.insert("dns".to_owned(), self.dns.to_value());
        Value::Object(object)
    }
}

impl Interface {
    fn to_value(&self, version: Version) -> Value {
        let mut object = named(json!({ "name": self.name }));
        optional(&mut object, "mac", self.mac.as_deref());
        optional(&mut object, "sandbox", self.sandbox.as_deref());
        if version >= Version::V1_1_0 {
            optional(&mut object, "mtu", self.mtu);
        }
        Value::Object(object)
    }
}

impl Ip {
    fn to_value(self, version: Version) -> Value {
        let mut object = named(json!({ "address": self.address.to_string() }));
        if version < Version::V1_0_0 {
            let family = if self.address.addr().is_ipv4() { "4" } else { "6" };
            optional(&mut object, "version", Some(family));
        }
        optional(&mut object, "gateway", self.gateway.map(|gateway| gateway.to_string()));
        optional(&mut object, "interface", self.interface);
        Value::Object(object)
    }
}

impl Route {
    fn to_value(self, version: Version) -> Value {
        let mut object = named(json!({ "dst": self.dst.to_string() }));
        optional(&mut object, "gw", self.gw.map(|gateway| gateway.to_string()));
        if version >= Version::V1_1_0 {
            optional(&mut object, "mtu", self.mtu);
            optional(&mut object, "advmss", self.advmss);
            optional(&mut object, "priority", self.priority);
            optional(&mut object, "table", self.table);
            optional(&mut object, "scope", self.scope);
        }
        Value::Object(object)
    }
}

impl Dns {
    fn to_value(&self) -> Value {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let mut object = Map::new();
        optional(&mut object, "nameservers", list(&self.nameservers));
        optional(&mut object, "domain", self.domain.as_deref());
        optional(&mut object, "search", list(&self.search));
        optional(&mut object, "options", list(&self.options));
        Value::Object(object)
    }
}

fn named(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn optional(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests;
