//! One row: column name to datum, with readers for the shapes that columns have.
//!
//! A reader gives nothing (`None`, `false`, no elements) when the column is absent or of another type: the
//! columns asked for are those of the schema, whose types have not changed since they were introduced.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::DecodeError;
use crate::value::{Atom, Datum, Uuid};

/// The columns of one row that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    columns: BTreeMap<String, Datum>,
}

impl Row {
    /// The datum of a column.
    pub fn datum(&self, column: &str) -> Option<&Datum> {
        self.columns.get(column)
    }

    /// The text of a string column, scalar or optional.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.elements(column).next().and_then(|atom| match atom {
            Atom::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The number of an integer column, scalar or optional.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.integers(column).next()
    }

    /// Whether a boolean column says true.
    pub fn is_true(&self, column: &str) -> bool {
        self.elements(column).next() == Some(&Atom::Boolean(true))
    }

    /// The row that a reference column points to, scalar or optional.
    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        self.uuids(column).next()
    }

    /// The numbers of a set of integers, ascending.
    pub fn integers(&self, column: &str) -> impl Iterator<Item = i64> {
        self.elements(column).filter_map(|atom| match atom {
            Atom::Integer(number) => Some(*number),
            _ => None,
        })
    }

    /// The rows that a set of references points to.
    pub fn uuids(&self, column: &str) -> impl Iterator<Item = Uuid> {
        self.elements(column).filter_map(|atom| match atom {
            Atom::Uuid(uuid) => Some(*uuid),
            _ => None,
        })
    }

    /// The texts of a set of strings, ascending.
    pub fn texts(&self, column: &str) -> impl Iterator<Item = &str> {
        self.elements(column).filter_map(|atom| match atom {
            Atom::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The value of a key in a map of strings.
    pub fn value(&self, column: &str, key: &str) -> Option<&str> {
        self.pairs(column).find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }

    /// A map of strings as plain texts.
    pub fn map(&self, column: &str) -> BTreeMap<String, String> {
        self.pairs(column).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Whether a set or map has no elements; an absent column has none.
    pub fn is_empty(&self, column: &str) -> bool {
        self.datum(column).is_none_or(|datum| datum.atoms().next().is_none())
    }

    pub(crate) fn from_json(value: Value) -> Result<Self, DecodeError> {
        let Value::Object(members) = value else {
            return Err(DecodeError::new("", &value, "a row (an object)"));
        };
        let column = |(name, value): (String, Value)| match Datum::from_json(value) {
            Ok(datum) => Ok((name, datum)),
            Err(error) => Err(error.within(&name)),
        };
        members.into_iter().map(column).collect::<Result<_, _>>().map(|columns| Self { columns })
    }

    pub(crate) fn insert(&mut self, column: String, datum: Datum) {
        self.columns.insert(column, datum);
    }

    pub(crate) fn into_columns(self) -> impl Iterator<Item = (String, Datum)> {
        self.columns.into_iter()
    }

    fn elements(&self, column: &str) -> impl Iterator<Item = &Atom> {
        let elements = match self.datum(column) {
            Some(Datum::Set(elements)) => Some(elements),
            Some(Datum::Map(_)) | None => None,
        };
        elements.into_iter().flatten()
    }

    fn pairs(&self, column: &str) -> impl Iterator<Item = (&str, &str)> {
        let pairs = match self.datum(column) {
            Some(Datum::Map(pairs)) => Some(pairs),
            Some(Datum::Set(_)) | None => None,
        };
        pairs.into_iter().flatten().filter_map(|pair| match pair {
            (Atom::String(key), Atom::String(value)) => Some((key.as_str(), value.as_str())),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn readers_take_every_wire_form() {
        let row = Row::from_json(json!({
            "tag": 5, "ofport": ["set", []], "trunks": ["set", [3, 1]], "name": "a", "up": true,
            "external_ids": ["map", [["owner", "x"]]], "other_config": ["set", []],
        }))
        .unwrap();
        assert_eq!(row.integer("tag"), Some(5));
        assert_eq!(row.integer("ofport"), None);
        assert_eq!(row.integers("trunks").collect::<Vec<_>>(), [1, 3]);
        assert_eq!(row.text("name"), Some("a"));
        assert!(row.is_true("up") && !row.is_true("down"));
        assert_eq!(row.value("external_ids", "owner"), Some("x"));
        assert_eq!(row.map("other_config"), BTreeMap::new());
        assert!(row.is_empty("ofport") && row.is_empty("absent") && !row.is_empty("tag"));
    }

    #[test]
    fn a_bad_column_is_named() {
        let error = Row::from_json(json!({"tag": null})).unwrap_err();
        assert_eq!(error.to_string(), "tag is null, expected a string, a number, a boolean or a uuid");
    }
}
