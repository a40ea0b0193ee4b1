//! OVSDB values (RFC 7047 §5.1): atoms, and the data of a column, which is a set or a map of atoms.
//!
//! On the wire a set of one element may be the bare element, and a scalar column is always bare. Here both are
//! a [`Datum::Set`] of one, so that no reader can forget one of the forms.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::DecodeError;

/// The contents of one column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// Any number of atoms; a scalar is a set of one, an absent optional the empty set.
    Set(BTreeSet<Atom>),
    /// Keys and values.
    Map(BTreeMap<Atom, Atom>),
}

impl Datum {
    /// The empty set: an optional column without a value.
    pub const fn empty() -> Self {
        Self::Set(BTreeSet::new())
    }

    /// A set of the given elements.
    pub fn set<A: Into<Atom>>(elements: impl IntoIterator<Item = A>) -> Self {
        Self::Set(elements.into_iter().map(Into::into).collect())
    }

    /// A map of the given pairs.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The only element, if there is exactly one.
    pub fn single(&self) -> Option<&Atom> {
        match self {
            Self::Set(elements) if elements.len() == 1 => elements.first(),
            Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// Every atom in it, keys before their values.
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        let (set, map) = match self {
            Self::Set(elements) => (Some(elements), None),
            Self::Map(pairs) => (None, Some(pairs)),
        };
        let pairs = map.into_iter().flatten().flat_map(|(key, value)| [key, value]);
        set.into_iter().flatten().chain(pairs)
    }

    /// The wire form.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Set(elements) => match self.single() {
                Some(atom) => atom.to_json(),
                None => json!(["set", elements.iter().map(Atom::to_json).collect::<Vec<_>>()]),
            },
            Self::Map(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| json!([key.to_json(), value.to_json()])).collect();
                json!(["map", pairs])
            }
        }
    }

    /// Reads any wire form.
    pub fn from_json(value: Value) -> Result<Self, DecodeError> {
        let Value::Array(items) = value else {
            return Ok(Self::Set(BTreeSet::from([Atom::from_json(value)?])));
        };
        match <[Value; 2]>::try_from(items) {
            Ok([Value::String(tag), Value::Array(elements)]) if tag == "set" => {
                elements.into_iter().map(Atom::from_json).collect::<Result<_, _>>().map(Self::Set)
            }
            Ok([Value::String(tag), Value::Array(pairs)]) if tag == "map" => {
                pairs.into_iter().map(pair_from_json).collect::<Result<_, _>>().map(Self::Map)
            }
            Ok(items) => Ok(Self::Set(BTreeSet::from([Atom::from_json(Value::from(items.to_vec()))?]))),
            Err(items) => Err(DecodeError::new("", &Value::Array(items), "an atom, a set or a map")),
        }
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(atom: A) -> Self {
        Self::Set(BTreeSet::from([atom.into()]))
    }
}

impl From<&BTreeMap<String, String>> for Datum {
    fn from(pairs: &BTreeMap<String, String>) -> Self {
        Self::map(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// One indivisible value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// 64 bits, signed. A real column may send a whole number in this form.
    Integer(i64),
    /// A double.
    Real(Real),
    /// True or false.
    Boolean(bool),
    /// Text.
    String(String),
    /// A reference to a row.
    Uuid(Uuid),
    /// A reference to a row that the same transaction inserts.
    NamedUuid(NamedUuid),
}

impl Atom {
    /// The wire form.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Integer(number) => json!(number),
            Self::Real(Real(number)) => json!(number),
            Self::Boolean(truth) => json!(truth),
            Self::String(text) => json!(text),
            Self::Uuid(uuid) => json!(["uuid", uuid.to_string()]),
            Self::NamedUuid(name) => json!(["named-uuid", name.to_string()]),
        }
    }

    /// Reads the wire form. `named-uuid` never comes from a server and is refused.
    pub fn from_json(value: Value) -> Result<Self, DecodeError> {
        const EXPECTED: &str = "a string, a number, a boolean or a uuid";
        match value {
            Value::String(text) => Ok(Self::String(text)),
            Value::Bool(truth) => Ok(Self::Boolean(truth)),
            Value::Number(ref number) => number
                .as_i64()
                .map(Self::Integer)
                .or_else(|| number.as_f64().map(|real| Self::Real(Real(real))))
                .ok_or_else(|| DecodeError::new("", &value, "a 64 bit number")),
            Value::Array(ref items) => match items.as_slice() {
                [Value::String(tag), Value::String(text)] if tag == "uuid" => text.parse().map(Self::Uuid),
                _ => Err(DecodeError::new("", &value, EXPECTED)),
            },
            Value::Null | Value::Object(_) => Err(DecodeError::new("", &value, EXPECTED)),
        }
    }
}

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Atom {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Atom {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Atom {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Atom {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Atom {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<Uuid> for Atom {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl From<NamedUuid> for Atom {
    fn from(name: NamedUuid) -> Self {
        Self::NamedUuid(name)
    }
}

/// A double with a total order, so that sets of it are well defined.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The name of a row for its whole life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || DecodeError::new("", &Value::from(text), "a uuid of 8-4-4-4-12 hex digits");
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let hex = groups.concat();
        // from_str_radix would take a sign.
        if lengths != [8, 4, 4, 4, 12] || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u128::from_str_radix(&hex, 16).map(Self).map_err(|_| bad())
    }
}

/// A name for a row inside one transaction. Numbered, because the server takes identifiers only (no `-`), and
/// a number cannot be a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedUuid(pub u32);

impl fmt::Display for NamedUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row{}", self.0)
    }
}

fn pair_from_json(value: Value) -> Result<(Atom, Atom), DecodeError> {
    let Value::Array(items) = value else {
        return Err(DecodeError::new("", &value, "a pair of key and value"));
    };
    match <[Value; 2]>::try_from(items) {
        Ok([key, value]) => Ok((Atom::from_json(key)?, Atom::from_json(value)?)),
        Err(items) => Err(DecodeError::new("", &Value::Array(items), "a pair of key and value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0a1b2c3d-0000-4000-8000-00000000002a";

    fn read(value: Value) -> Result<Datum, DecodeError> {
        Datum::from_json(value)
    }

    #[test]
    fn a_bare_atom_is_a_set_of_one_at_every_place() {
        assert_eq!(read(json!(7)), Ok(Datum::from(7)));
        assert_eq!(read(json!(["set", [7]])), Ok(Datum::from(7)));
        assert_eq!(read(json!(["uuid", TEXT])), Ok(Datum::from(TEXT.parse::<Uuid>().unwrap())));
        assert_eq!(read(json!(["set", [["uuid", TEXT]]])), read(json!(["uuid", TEXT])));
        assert_eq!(read(json!(["set", []])), Ok(Datum::empty()));
    }

    #[test]
    fn wire_forms_come_back_as_the_server_writes_them() {
        for wire in [
            json!("x"),
            json!(-1),
            json!(true),
            json!(1.5),
            json!(["set", []]),
            json!(["set", [1, 2]]),
            json!(["map", [["a", "1"], ["b", "2"]]]),
            json!(["uuid", TEXT]),
        ] {
            assert_eq!(read(wire.clone()).unwrap().to_json(), wire);
        }
        assert_eq!(Datum::from(NamedUuid(3)).to_json(), json!(["named-uuid", "row3"]));
    }

    #[test]
    fn bad_forms_are_named_with_their_value() {
        for (wire, text) in [
            (json!(null), " is null, expected a string, a number, a boolean or a uuid"),
            (json!({"a": 1}), r#" is {"a":1}, expected a string, a number, a boolean or a uuid"#),
            (json!([]), " is [], expected an atom, a set or a map"),
            (json!(["set", 3]), r#" is ["set",3], expected a string, a number, a boolean or a uuid"#),
            (json!(["map", [["a"]]]), r#" is ["a"], expected a pair of key and value"#),
            (json!(["uuid", "+1"]), r#" is "+1", expected a uuid of 8-4-4-4-12 hex digits"#),
        ] {
            assert_eq!(read(wire).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_uuid_prints_as_it_was_read() {
        assert_eq!(TEXT.parse::<Uuid>().unwrap().to_string(), TEXT);
        assert!("0a1b2c3d-0000-4000-8000-+0000000002a".parse::<Uuid>().is_err());
        assert!("0a1b2c3d0000-4000-8000-00000000002a".parse::<Uuid>().is_err());
    }
}
