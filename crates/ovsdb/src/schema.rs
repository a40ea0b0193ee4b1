//! What of a database's schema the client needs: which tables and columns exist, how a column changes, and
//! what it holds when the server leaves it out.
//!
//! `update2` and `update3` cannot be applied without it: the same bytes are a new value for a column that
//! holds at most one element and a difference for every other, and an inserted row omits its default values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::DecodeError;
use crate::value::{Atom, Datum, Real, Uuid};

/// A database's tables and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The schema's version, such as `8.3.1`.
    pub version: String,
    tables: BTreeMap<String, BTreeMap<String, Column>>,
}

impl Schema {
    /// The column, if this schema has it.
    pub fn column(&self, table: &str, column: &str) -> Option<&Column> {
        self.tables.get(table)?.get(column)
    }

    /// Whether this schema has the table.
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub(crate) fn from_json(value: Value) -> Result<Self, DecodeError> {
        let mut members = object(value, "a schema (an object)")?;
        let version = match members.remove("version") {
            Some(Value::String(version)) => version,
            other => return Err(DecodeError::new("version", &other.unwrap_or_default(), "a version text")),
        };
        let tables = object(members.remove("tables").unwrap_or_default(), "an object of tables")
            .map_err(|error| error.within("tables"))?;
        let tables = tables
            .into_iter()
            .map(|(name, table)| match columns(table) {
                Ok(columns) => Ok((name, columns)),
                Err(error) => Err(error.within(&name)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { version, tables })
    }
}

/// How one column behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What a `modify` of the column means.
    pub change: Change,
    /// What the column holds when an inserted row does not mention it.
    pub default: Datum,
}

impl Column {
    /// RFC 7047 §3.2 `<type>`: a base type, or an object with `key`, perhaps `value`, `min` and `max`.
    fn from_json(value: &Value) -> Result<Self, DecodeError> {
        let Value::Object(members) = value else {
            return Ok(Self { change: Change::Replace, default: Datum::from(default_atom(value)?) });
        };
        let key = members.get("key").unwrap_or(&Value::Null);
        let is_map = members.contains_key("value");
        let is_optional = members.get("min").is_some_and(|min| min == 0);
        // ovsdb-server sends differences exactly where its ovsdb_type_is_composite() holds: max above one.
        let is_composite = members.get("max").is_some_and(|max| max != 1);
        let change = match (is_composite, is_map) {
            (false, _) => Change::Replace,
            (true, false) => Change::Toggle,
            (true, true) => Change::Merge,
        };
        let default = match (is_map, is_optional) {
            (true, _) => Datum::Map(BTreeMap::new()),
            (false, true) => Datum::empty(),
            (false, false) => Datum::from(default_atom(key)?),
        };
        Ok(Self { change, default })
    }
}

/// What the value in a `modify` of `update2` and `update3` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the new value (columns of at most one element).
    Replace,
    /// Its elements leave the set if they are in it and enter it if not.
    Toggle,
    /// Its pairs leave the map if they are in it just so, and are set in it otherwise.
    Merge,
}

impl Change {
    /// Applies a `modify` to the value before it.
    pub(crate) fn apply(self, old: &mut Datum, change: Datum) {
        match (self, old, change) {
            (Self::Toggle, Datum::Set(elements), Datum::Set(toggled)) => {
                for atom in toggled {
                    if !elements.remove(&atom) {
                        elements.insert(atom);
                    }
                }
            }
            (Self::Merge, Datum::Map(pairs), Datum::Map(merged)) => {
                for (key, value) in merged {
                    if pairs.get(&key) == Some(&value) {
                        pairs.remove(&key);
                    } else {
                        pairs.insert(key, value);
                    }
                }
            }
            // A difference of no elements, in whichever empty form, changes nothing.
            (Self::Toggle | Self::Merge, _, change) if change.atoms().next().is_none() => {}
            (_, old, change) => *old = change,
        }
    }
}

fn columns(table: Value) -> Result<BTreeMap<String, Column>, DecodeError> {
    let mut members = object(table, "a table (an object)")?;
    let columns = object(members.remove("columns").unwrap_or_default(), "an object of columns")
        .map_err(|error| error.within("columns"))?;
    columns
        .into_iter()
        .map(|(name, column)| {
            let kind = object(column, "a column (an object)")
                .and_then(|members| Column::from_json(members.get("type").unwrap_or(&Value::Null)));
            match kind {
                Ok(column) => Ok((name, column)),
                Err(error) => Err(error.within(&name)),
            }
        })
        .collect()
}

/// The value of a base type when nothing else is said (RFC 7047 §5.2.1).
fn default_atom(base: &Value) -> Result<Atom, DecodeError> {
    let name = base.as_str().or_else(|| base.get("type").and_then(Value::as_str));
    match name {
        Some("integer") => Ok(Atom::Integer(0)),
        Some("real") => Ok(Atom::Real(Real(0.0))),
        Some("boolean") => Ok(Atom::Boolean(false)),
        Some("string") => Ok(Atom::String(String::new())),
        Some("uuid") => Ok(Atom::Uuid(Uuid(0))),
        _ => Err(DecodeError::new("type", base, "integer, real, boolean, string or uuid")),
    }
}

fn object(value: Value, expected: &'static str) -> Result<Map<String, Value>, DecodeError> {
    match value {
        Value::Object(members) => Ok(members),
        other => Err(DecodeError::new("", &other, expected)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_says_how_its_column_changes_and_starts() {
        for (kind, change, default) in [
            (json!("integer"), Change::Replace, Datum::from(0)),
            (json!({"key": "string"}), Change::Replace, Datum::from("")),
            (json!({"key": {"type": "integer"}, "min": 0, "max": 1}), Change::Replace, Datum::empty()),
            (json!({"key": {"type": "uuid"}, "min": 0, "max": "unlimited"}), Change::Toggle, Datum::empty()),
            (json!({"key": {"type": "integer"}, "min": 0, "max": 4096}), Change::Toggle, Datum::empty()),
            (
                json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"}),
                Change::Merge,
                Datum::Map(BTreeMap::new()),
            ),
        ] {
            assert_eq!(Column::from_json(&kind), Ok(Column { change, default }));
        }
    }

    #[test]
    fn the_same_difference_first_sets_and_then_deletes_a_pair() {
        let mut map = Datum::map([("a", "1"), ("b", "2")]);
        Change::Merge.apply(&mut map, Datum::map([("b", "3")]));
        assert_eq!(map, Datum::map([("a", "1"), ("b", "3")]));
        Change::Merge.apply(&mut map, Datum::map([("b", "3")]));
        assert_eq!(map, Datum::map([("a", "1")]));
    }

    #[test]
    fn a_set_difference_toggles_and_a_scalar_is_replaced() {
        let mut set = Datum::set([1, 2]);
        Change::Toggle.apply(&mut set, Datum::set([2, 3]));
        assert_eq!(set, Datum::set([1, 3]));
        Change::Toggle.apply(&mut set, Datum::from(3));
        assert_eq!(set, Datum::from(1));
        let mut tag = Datum::from(5);
        Change::Replace.apply(&mut tag, Datum::empty());
        assert_eq!(tag, Datum::empty());
    }

    #[test]
    fn an_empty_difference_of_either_form_changes_nothing() {
        let mut map = Datum::map([("a", "1")]);
        Change::Merge.apply(&mut map, Datum::empty());
        assert_eq!(map, Datum::map([("a", "1")]));
    }

    #[test]
    fn a_schema_without_sense_names_the_place() {
        let schema = json!({"version": "1", "tables": {"Port": {"columns": {"tag": {"type": "number"}}}}});
        let error = Schema::from_json(schema).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"Port.tag.type is "number", expected integer, real, boolean, string or uuid"#
        );
    }
}
