//! Names of ports in text: which port has which name, and how a name is written.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::types::OfPort;

/// The names of a switch's ports, from its port descriptions.
///
/// ```
/// use openflow::{FlowText, Named, OfPort, PortNames, Version};
///
/// let ports: PortNames = [(OfPort(1), "p1"), (OfPort(2), "veth-a")].into_iter().collect();
/// let flow = FlowText::parse_named("in_port=veth-a,actions=p1", Version::V15, &ports)?.flow;
/// assert_eq!(flow.to_string(), "cookie=0x0,table=0,in_port=2 actions=output:1");
/// assert_eq!(Named(&flow, &ports).to_string(), "cookie=0x0,table=0,in_port=\"veth-a\" actions=output:p1");
/// # Ok::<(), openflow::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PortNames {
    names: BTreeMap<OfPort, String>,
    numbers: BTreeMap<String, OfPort>,
}

impl PortNames {
    /// The name of a port.
    pub fn name(&self, port: OfPort) -> Option<&str> {
        self.names.get(&port).map(String::as_str)
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<OfPort> {
        self.numbers.get(name).copied()
    }

    /// Gives a port its name.
    pub fn insert(&mut self, port: OfPort, name: impl Into<String>) {
        let name = name.into();
        self.numbers.insert(name.clone(), port);
        self.names.insert(port, name);
    }

    /// A port from text: by number, by reserved name, or by its own name, in quotation marks or not.
    pub(crate) fn read(names: Option<&Self>, text: &str) -> Option<OfPort> {
        if let Ok(port) = text.parse() {
            return Some(port);
        }
        let names = names?;
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => names.port(&unquoted(quoted)?),
            None => names.port(text),
        }
    }
}

impl<N: Into<String>> FromIterator<(OfPort, N)> for PortNames {
    fn from_iter<I: IntoIterator<Item = (OfPort, N)>>(ports: I) -> Self {
        let mut names = Self::default();
        ports.into_iter().for_each(|(port, name)| names.insert(port, name));
        names
    }
}

/// Something to print with the names of ports, as `ovs-ofctl --names` does.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a, T>(pub &'a T, pub &'a PortNames);

/// A name as it stands in text: in quotation marks unless it is a letter followed by letters and digits.
pub(super) fn write_name(out: &mut dyn Write, name: &str) -> fmt::Result {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if is_plain {
        return out.write_str(name);
    }
    out.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\0'..' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// What stands between quotation marks, with its escapes resolved.
fn unquoted(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let resolved = match c {
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '/') => c,
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?
                }
                _ => return None,
            },
            c => c,
        };
        name.push(resolved);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_open_vswitch_quotes_them() {
        for (name, text) in [
            ("p1", "p1"),
            ("LOCALx", "LOCALx"),
            ("a-b", "\"a-b\""),
            ("9x", "\"9x\""),
            ("x_y", "\"x_y\""),
            ("eth0:1", "\"eth0:1\""),
            ("q\"q", "\"q\\\"q\""),
            ("123", "\"123\""),
        ] {
            let mut out = String::new();
            write_name(&mut out, name).expect("a string takes everything");
            assert_eq!(out, text);
            let names: PortNames = [(OfPort(7), name)].into_iter().collect();
            assert_eq!(PortNames::read(Some(&names), text), Some(OfPort(7)), "{text}");
        }
    }

    #[test]
    fn numbers_and_reserved_names_come_before_names() {
        let names: PortNames = [(OfPort(9), "local"), (OfPort(10), "123")].into_iter().collect();
        assert_eq!(PortNames::read(Some(&names), "local"), Some(OfPort::LOCAL));
        assert_eq!(PortNames::read(Some(&names), "123"), Some(OfPort(123)));
        assert_eq!(PortNames::read(Some(&names), "\"123\""), Some(OfPort(10)));
        assert_eq!(PortNames::read(Some(&names), "nobody"), None);
    }
}
