//! Monitors: what is asked for, and the updates in both of the protocol's forms.
//!
//! `monitor` (RFC 7047) sends whole rows, `monitor_cond` and `monitor_cond_since` (ovsdb-server(7)) send
//! differences. Both become [`TableUpdates`]; [`Cache`](crate::Cache) applies them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::DecodeError;
use crate::row::Row;
use crate::schema::Schema;
use crate::value::Uuid;

/// The caller's name for a monitor, unique on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorId(pub u32);

/// The server's name for a state of the database, to resume from after a reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionId(pub String);

/// Which columns of which tables to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorSpec {
    tables: BTreeMap<String, Vec<String>>,
}

impl MonitorSpec {
    /// Watches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches these columns of this table.
    #[must_use]
    pub fn table<'a>(mut self, table: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        self.tables.insert(table.to_owned(), columns.into_iter().map(str::to_owned).collect());
        self
    }

    /// Leaves out what the schema of this server does not have; a server refuses a monitor that names an
    /// unknown table or column.
    #[must_use]
    pub fn known_to(mut self, schema: &Schema) -> Self {
        self.tables.retain(|table, columns| {
            columns.retain(|column| schema.column(table, column).is_some());
            schema.has_table(table)
        });
        self
    }

    pub(crate) fn columns(&self, table: &str) -> &[String] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(crate) fn to_json(&self) -> Value {
        let request =
            |(table, columns): (&String, &Vec<String>)| (table.clone(), json!([{"columns": columns}]));
        Value::Object(self.tables.iter().map(request).collect())
    }
}

/// The contents of a monitor when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether `updates` continue the state that the caller named; otherwise they are everything, and what
    /// was known before is void.
    pub resumed: bool,
    /// The state these contents are of; only servers with `monitor_cond_since` name it.
    pub last: Option<TransactionId>,
    /// The rows.
    pub updates: TableUpdates,
}

/// What happened to rows: table, row, change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableUpdates {
    /// Changes by table and row.
    pub tables: BTreeMap<String, BTreeMap<Uuid, RowUpdate>>,
}

/// What happened to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowUpdate {
    /// The row is there now; columns not mentioned have their defaults.
    Insert(Row),
    /// The watched columns of the row are now these (the RFC's `update`).
    Replace(Row),
    /// Only these columns changed, in the way of [`Change`](crate::Change).
    Modify(Row),
    /// The row is gone.
    Delete,
}

impl TableUpdates {
    /// The `<table-updates>` of RFC 7047: `old` and `new` per row.
    pub(crate) fn from_v1(value: Value) -> Result<Self, DecodeError> {
        Self::from_json(value, |mut row| match row.remove("new") {
            Some(new) => Row::from_json(new).map(RowUpdate::Replace),
            None if row.contains_key("old") => Ok(RowUpdate::Delete),
            None => Err(DecodeError::new("", &Value::Object(row), "old or new")),
        })
    }

    /// The `<table-updates2>` of ovsdb-server(7): one of `initial`, `insert`, `modify`, `delete` per row.
    pub(crate) fn from_v2(value: Value) -> Result<Self, DecodeError> {
        Self::from_json(value, |row| {
            let mut members = row.into_iter();
            match (members.next(), members.next()) {
                (Some((kind, row)), None) => match kind.as_str() {
                    "initial" | "insert" => Row::from_json(row).map(RowUpdate::Insert),
                    "modify" => Row::from_json(row).map(RowUpdate::Modify),
                    "delete" => Ok(RowUpdate::Delete),
                    _ => Err(DecodeError::new("", &json!(kind), UPDATE2_KINDS)),
                },
                _ => Err(DecodeError::new("", &Value::Null, UPDATE2_KINDS)),
            }
        })
    }

    fn from_json(
        value: Value,
        read: impl Fn(Map<String, Value>) -> Result<RowUpdate, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let read_row = |(uuid, row): (String, Value)| {
            let update = match row {
                Value::Object(members) => read(members),
                other => Err(DecodeError::new("", &other, "a row update (an object)")),
            };
            Ok((uuid.parse()?, update.map_err(|error| error.within(&uuid))?))
        };
        let read_table = |(table, rows): (String, Value)| {
            let rows: Result<BTreeMap<Uuid, RowUpdate>, DecodeError> = match rows {
                Value::Object(rows) => rows.into_iter().map(read_row).collect(),
                other => Err(DecodeError::new("", &other, "row updates (an object)")),
            };
            match rows {
                Ok(rows) => Ok((table, rows)),
                Err(error) => Err(error.within(&table)),
            }
        };
        match value {
            Value::Object(tables) => {
                tables.into_iter().map(read_table).collect::<Result<_, _>>().map(|tables| Self { tables })
            }
            other => Err(DecodeError::new("", &other, "table updates (an object)")),
        }
    }
}

const UPDATE2_KINDS: &str = "one of initial, insert, modify, delete";

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "00000000-0000-0000-0000-000000000001";

    #[test]
    fn bad_updates_are_refused_with_their_place() {
        for (updates, text) in [
            (json!(7), " is 7, expected table updates (an object)"),
            (json!({"Port": 7}), "Port is 7, expected row updates (an object)"),
            (
                json!({"Port": {"x": {"delete": null}}}),
                r#"Port is "x", expected a uuid of 8-4-4-4-12 hex digits"#,
            ),
            (
                json!({"Port": {ROW: {"vanish": null}}}),
                r#"Port.00000000-0000-0000-0000-000000000001 is "vanish", expected one of initial, insert, modify, delete"#,
            ),
            (
                json!({"Port": {ROW: {"insert": {"tag": {}}}}}),
                "Port.00000000-0000-0000-0000-000000000001.tag is {}, expected a string, a number, a boolean or a uuid",
            ),
        ] {
            assert_eq!(TableUpdates::from_v2(updates).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn the_old_form_knows_rows_and_their_end() {
        let updates = TableUpdates::from_v1(json!({"Port": {ROW: {"old": {"tag": 1}}}})).unwrap();
        assert_eq!(updates.tables["Port"][&Uuid(1)], RowUpdate::Delete);
        let updates =
            TableUpdates::from_v1(json!({"Port": {ROW: {"old": {"tag": 1}, "new": {"tag": 2}}}})).unwrap();
        let row = Row::from_json(json!({"tag": 2})).unwrap();
        assert_eq!(updates.tables["Port"][&Uuid(1)], RowUpdate::Replace(row));
        assert!(TableUpdates::from_v1(json!({"Port": {ROW: {}}})).is_err());
    }
}
