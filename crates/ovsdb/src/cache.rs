//! A copy of the watched part of the database, kept exact by applying updates in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::monitor::{MonitorSpec, RowUpdate, Snapshot, TableUpdates};
use crate::row::Row;
use crate::schema::Schema;
use crate::value::Uuid;

/// The watched tables: table → row name → row.
#[derive(Clone, Debug)]
pub struct Cache {
    schema: Arc<Schema>,
    spec: MonitorSpec,
    tables: BTreeMap<String, BTreeMap<Uuid, Row>>,
}

impl Cache {
    /// An empty copy of what `spec` watches.
    pub fn new(schema: Arc<Schema>, spec: MonitorSpec) -> Self {
        let tables = spec.tables().map(|table| (table.to_owned(), BTreeMap::new())).collect();
        Self { schema, spec, tables }
    }

    /// Takes over the contents of a monitor that just began; what was known before is dropped unless the
    /// snapshot continues it.
    pub fn start(&mut self, snapshot: Snapshot) -> Result<(), CacheError> {
        if !snapshot.resumed {
            self.tables.values_mut().for_each(BTreeMap::clear);
        }
        self.apply(snapshot.updates)
    }

    /// Applies one update. After an error the copy is worthless: the updates did not fit what it holds.
    pub fn apply(&mut self, updates: TableUpdates) -> Result<(), CacheError> {
        for (table, rows) in updates.tables {
            let Some(cached) = self.tables.get_mut(&table) else {
                return Err(CacheError::UnknownTable { table });
            };
            for (uuid, update) in rows {
                match update {
                    RowUpdate::Insert(row) => {
                        cached.insert(uuid, with_defaults(&self.schema, &self.spec, &table, row));
                    }
                    RowUpdate::Replace(row) => {
                        cached.insert(uuid, row);
                    }
                    RowUpdate::Modify(changes) => {
                        let Some(row) = cached.get_mut(&uuid) else {
                            return Err(CacheError::UnknownRow { table, uuid });
                        };
                        modify(&self.schema, &table, row, changes)?;
                    }
                    RowUpdate::Delete => {
                        if cached.remove(&uuid).is_none() {
                            return Err(CacheError::UnknownRow { table, uuid });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The rows of a table; none if it is not watched.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables.get(table).into_iter().flatten().map(|(uuid, row)| (*uuid, row))
    }

    /// One row of a table.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table)?.get(&uuid)
    }
}

/// An update does not fit the copy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CacheError {
    /// It names a table that is not watched.
    #[error("an update of table {table}, which is not watched")]
    UnknownTable {
        /// The table.
        table: String,
    },
    /// It changes or deletes a row that is not there.
    #[error("an update of row {uuid} of {table}, which is not there")]
    UnknownRow {
        /// The table.
        table: String,
        /// The row.
        uuid: Uuid,
    },
    /// It changes a column that the schema does not have.
    #[error("an update of column {table}.{column}, which the schema does not have")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

fn with_defaults(schema: &Schema, spec: &MonitorSpec, table: &str, mut row: Row) -> Row {
    for name in spec.columns(table) {
        if let (None, Some(column)) = (row.datum(name), schema.column(table, name)) {
            row.insert(name.clone(), column.default.clone());
        }
    }
    row
}

fn modify(schema: &Schema, table: &str, row: &mut Row, changes: Row) -> Result<(), CacheError> {
    for (name, change) in changes.into_columns() {
        let Some(column) = schema.column(table, &name) else {
            return Err(CacheError::UnknownColumn { table: table.to_owned(), column: name });
        };
        let mut datum = row.datum(&name).unwrap_or(&column.default).clone();
        column.change.apply(&mut datum, change);
        row.insert(name, datum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::value::Datum;

    const ROW: &str = "00000000-0000-0000-0000-000000000001";

    fn cache() -> Cache {
        let schema = json!({"version": "1", "tables": {"Port": {"columns": {
            "tag": {"type": {"key": "integer", "min": 0, "max": 1}},
            "protected": {"type": "boolean"},
            "trunks": {"type": {"key": "integer", "min": 0, "max": 4096}},
            "external_ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
        }}}});
        let spec = MonitorSpec::new().table("Port", ["tag", "protected", "trunks", "external_ids"]);
        Cache::new(Arc::new(Schema::from_json(schema).unwrap()), spec)
    }

    fn apply(cache: &mut Cache, row: &Value) -> Result<(), CacheError> {
        cache.apply(TableUpdates::from_v2(json!({"Port": {ROW: row}})).unwrap())
    }

    #[test]
    fn an_inserted_row_has_the_defaults_that_the_server_leaves_out() {
        let mut cache = cache();
        apply(&mut cache, &json!({"insert": {"tag": 3}})).unwrap();
        let row = cache.row("Port", Uuid(1)).unwrap();
        assert_eq!(row.datum("protected"), Some(&Datum::from(false)));
        assert_eq!(row.datum("trunks"), Some(&Datum::empty()));
        assert_eq!(row.datum("external_ids"), Some(&Datum::Map(BTreeMap::new())));
    }

    #[test]
    fn modifications_apply_by_the_type_of_their_column() {
        let mut cache = cache();
        apply(&mut cache, &json!({"initial": {"tag": 3, "trunks": 4}})).unwrap();
        apply(
            &mut cache,
            &json!({"modify": {"tag": 5, "trunks": ["set", [4, 6]], "external_ids": ["map", [["a", "1"]]]}}),
        )
        .unwrap();
        let row = cache.row("Port", Uuid(1)).unwrap();
        assert_eq!(row.integer("tag"), Some(5));
        assert_eq!(row.integers("trunks").collect::<Vec<_>>(), [6]);
        assert_eq!(row.value("external_ids", "a"), Some("1"));
        apply(&mut cache, &json!({"modify": {"tag": ["set", []], "external_ids": ["map", [["a", "1"]]]}}))
            .unwrap();
        let row = cache.row("Port", Uuid(1)).unwrap();
        assert!(row.is_empty("tag") && row.is_empty("external_ids"));
    }

    #[test]
    fn an_update_that_does_not_fit_is_an_error() {
        let mut cache = cache();
        let unknown = CacheError::UnknownRow { table: "Port".into(), uuid: Uuid(1) };
        assert_eq!(apply(&mut cache, &json!({"modify": {"tag": 5}})), Err(unknown.clone()));
        assert_eq!(apply(&mut cache, &json!({"delete": null})), Err(unknown));
        let updates = TableUpdates::from_v2(json!({"Bridge": {}})).unwrap();
        assert_eq!(cache.apply(updates), Err(CacheError::UnknownTable { table: "Bridge".into() }));
    }

    #[test]
    fn a_snapshot_replaces_what_was_known_unless_it_continues_it() {
        let mut cache = cache();
        apply(&mut cache, &json!({"insert": {"tag": 3}})).unwrap();
        let nothing = |resumed| Snapshot { resumed, last: None, updates: TableUpdates::default() };
        cache.start(nothing(true)).unwrap();
        assert_eq!(cache.rows("Port").count(), 1);
        cache.start(nothing(false)).unwrap();
        assert_eq!(cache.rows("Port").count(), 0);
    }
}
