//! Reading results. Lenient about what is absent, strict about what is there.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::super::error::{CniError, Code};
use super::super::fields::{Fields, wrong};
use super::{CniResult, Dns, Interface, Ip, Route};

/// Reads one result object.
pub(super) fn result(value: &Value) -> Result<CniResult, CniError> {
    parse(value).map_err(|error| CniError { code: Code::UNDECODABLE, ..error })
}

fn parse(value: &Value) -> Result<CniResult, CniError> {
    let Value::Object(map) = value else { return Err(wrong("the result", value, "an object")) };
    let fields = Fields::root(map);
    // 0.1.0 and 0.2.0 have `ip4` and `ip6` instead of `ips`: nobody can have asked for those.
    if let Some(old) = ["ip4", "ip6"].into_iter().find(|key| fields.get(key).is_some()) {
        return Err(CniError::config(format!("{old} is from a version before 0.3.0")));
    }
    Ok(CniResult {
        interfaces: items(&fields, "interfaces", interface)?,
        ips: items(&fields, "ips", ip)?,
        routes: items(&fields, "routes", route)?,
        dns: fields.object("dns")?.map(|object| dns(&object)).transpose()?.unwrap_or_default(),
    })
}

fn items<T>(
    fields: &Fields<'_>,
    key: &str,
    read: impl Fn(&Fields<'_>) -> Result<T, CniError>,
) -> Result<Vec<T>, CniError> {
    let list = fields.list(key)?.unwrap_or_default();
    list.iter()
        .enumerate()
        .map(|(index, value)| read(&Fields::of(format!("{key}[{index}]"), value)?))
        .collect()
}

fn interface(item: &Fields<'_>) -> Result<Interface, CniError> {
    Ok(Interface {
        name: item.text("name")?.unwrap_or_default().to_owned(),
        mac: item.filled("mac")?.map(str::to_owned),
        mtu: item.number("mtu", 0..=u32::MAX, "bytes")?,
        sandbox: item.filled("sandbox")?.map(str::to_owned),
    })
}

fn ip(item: &Fields<'_>) -> Result<Ip, CniError> {
    Ok(Ip {
        address: network(item, "address")?,
        gateway: address(item, "gateway")?,
        interface: item.number("interface", 0..=u16::MAX, "an index")?.map(usize::from),
    })
}

fn route(item: &Fields<'_>) -> Result<Route, CniError> {
    let number = |key| item.number(key, 0..=u32::MAX, "a number");
    Ok(Route {
        dst: network(item, "dst")?,
        gw: address(item, "gw")?,
        mtu: number("mtu")?,
        advmss: number("advmss")?,
        priority: number("priority")?,
        table: number("table")?,
        scope: number("scope")?,
    })
}

fn dns(object: &Fields<'_>) -> Result<Dns, CniError> {
    let list = |key: &str| -> Result<Vec<String>, CniError> {
        let list = object.list(key)?.unwrap_or_default();
        list.iter()
            .map(|value| {
                value.as_str().map(str::to_owned).ok_or_else(|| object.wrong(key, "a list of texts"))
            })
            .collect()
    };
    Ok(Dns {
        nameservers: list("nameservers")?,
        domain: object.filled("domain")?.map(str::to_owned),
        search: list("search")?,
        options: list("options")?,
    })
}

fn network(item: &Fields<'_>, key: &str) -> Result<IpNet, CniError> {
    let parsed = item.text(key)?.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| item.wrong(key, "an address with its prefix"))
}

/// An address; the Go plugins write an empty text for none.
fn address(item: &Fields<'_>, key: &str) -> Result<Option<IpAddr>, CniError> {
    let Some(text) = item.filled(key)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| item.wrong(key, "an IP address"))
}
