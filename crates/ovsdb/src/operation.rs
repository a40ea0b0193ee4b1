//! The operations of a transaction (RFC 7047 §5.2), built as values.

use serde_json::{Map, Value, json};

use crate::value::{Atom, Datum, NamedUuid, Uuid};

/// One operation. A transaction is a list of them: all happen, or none.
#[derive(Clone, Debug)]
pub struct Operation {
    kind: Kind,
    members: Map<String, Value>,
    defines: Option<NamedUuid>,
    uses: Vec<NamedUuid>,
}

impl Operation {
    /// Inserts a row with the columns given by [`Operation::set`]; the others get their defaults. A row that
    /// nothing refers to when the transaction ends is collected again without an error, so an insert needs a
    /// [`Operation::wait`] that proves the row it is to hang on.
    pub fn insert(table: &str) -> Self {
        Self::on(Kind::Insert, table).with("row", json!({}))
    }

    /// Reads the given columns of the matching rows.
    pub fn select<'a>(
        table: &str,
        conditions: Vec<Condition>,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        Self::on(Kind::Select, table).matching(conditions).with("columns", json!(columns))
    }

    /// Sets columns (by [`Operation::set`]) of the matching rows.
    pub fn update(table: &str, conditions: Vec<Condition>) -> Self {
        Self::on(Kind::Update, table).matching(conditions).with("row", json!({}))
    }

    /// Changes columns (by [`Operation::mutation`]) of the matching rows relative to what they hold. Unlike an
    /// update of a whole set it does not collide with other writers.
    pub fn mutate(table: &str, conditions: Vec<Condition>) -> Self {
        Self::on(Kind::Mutate, table).matching(conditions).with("mutations", json!([]))
    }

    /// Deletes the matching rows.
    pub fn delete(table: &str, conditions: Vec<Condition>) -> Self {
        Self::on(Kind::Delete, table).matching(conditions)
    }

    /// Fails the transaction unless the matching rows' columns are (not) exactly one row as given by
    /// [`Operation::set`], or no row if `set` is never called. It never waits: the timeout is zero, since a
    /// transaction that waits in the server outlives the deadline of its caller.
    pub fn wait(table: &str, conditions: Vec<Condition>, until: Until) -> Self {
        let until = match until {
            Until::Equal => "==",
            Until::NotEqual => "!=",
        };
        Self::on(Kind::Wait, table)
            .matching(conditions)
            .with("timeout", json!(0))
            .with("until", json!(until))
            .with("columns", json!([]))
            .with("rows", json!([]))
    }

    /// Fails the transaction unless this connection holds the lock.
    pub fn assert(lock: &crate::LockName) -> Self {
        Self::bare(Kind::Assert).with("lock", json!(lock.as_str()))
    }

    /// A remark for the database's log.
    pub fn comment(text: &str) -> Self {
        Self::bare(Kind::Comment).with("comment", json!(text))
    }

    /// Makes the reply wait until the transaction is on disk (0.27 ms instead of 0.05 ms on OVS 3.1).
    pub fn commit_durably() -> Self {
        Self::bare(Kind::Commit).with("durable", json!(true))
    }

    /// Names the row that an insert makes, for references from other operations of the transaction.
    #[must_use]
    pub fn named(mut self, name: NamedUuid) -> Self {
        self.defines = Some(name);
        self.with("uuid-name", json!(name.to_string()))
    }

    /// A column of the row that an insert, update or wait is about.
    #[must_use]
    pub fn set(mut self, column: &str, datum: impl Into<Datum>) -> Self {
        let value = self.value(&datum.into());
        match self.kind {
            Kind::Wait => {
                push(&mut self.members, "columns", json!(column));
                if let Some(Value::Array(rows)) = self.members.get_mut("rows") {
                    if rows.is_empty() {
                        rows.push(json!({}));
                    }
                    rows[0][column] = value;
                }
            }
            _ => {
                if let Some(Value::Object(row)) = self.members.get_mut("row") {
                    row.insert(column.to_owned(), value);
                }
            }
        }
        self
    }

    /// A change that a mutate makes. Map `Insert` never overwrites a key: `Delete` the key first, by a set of
    /// keys, in the same operation.
    #[must_use]
    pub fn mutation(mut self, column: &str, mutator: Mutator, datum: impl Into<Datum>) -> Self {
        let mutator = match mutator {
            Mutator::Insert => "insert",
            Mutator::Delete => "delete",
            Mutator::Add => "+=",
        };
        let value = self.value(&datum.into());
        push(&mut self.members, "mutations", json!([column, mutator, value]));
        self
    }

    /// The operation's name on the wire.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn defines(&self) -> Option<NamedUuid> {
        self.defines
    }

    pub(crate) fn uses(&self) -> &[NamedUuid] {
        &self.uses
    }

    pub(crate) fn into_json(self) -> Value {
        Value::Object(self.members)
    }

    fn bare(kind: Kind) -> Self {
        let operation = Self { kind, members: Map::new(), defines: None, uses: Vec::new() };
        operation.with("op", json!(kind.name()))
    }

    fn on(kind: Kind, table: &str) -> Self {
        Self::bare(kind).with("table", json!(table))
    }

    fn matching(self, conditions: Vec<Condition>) -> Self {
        let conditions: Vec<Value> = conditions.into_iter().map(|condition| condition.0).collect();
        self.with("where", Value::Array(conditions))
    }

    fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.to_owned(), value);
        self
    }

    fn value(&mut self, datum: &Datum) -> Value {
        self.uses.extend(datum.atoms().filter_map(|atom| match atom {
            Atom::NamedUuid(name) => Some(*name),
            _ => None,
        }));
        datum.to_json()
    }
}

/// What a row must be like for an operation to touch it; a list of conditions means all of them.
#[derive(Clone, Debug)]
pub struct Condition(Value);

impl Condition {
    /// The row's name is `uuid`.
    pub fn row(uuid: Uuid) -> Self {
        Self::equal("_uuid", uuid)
    }

    /// The column holds exactly this.
    pub fn equal(column: &str, datum: impl Into<Datum>) -> Self {
        Self(json!([column, "==", datum.into().to_json()]))
    }

    /// The column holds anything but this.
    pub fn differs(column: &str, datum: impl Into<Datum>) -> Self {
        Self(json!([column, "!=", datum.into().to_json()]))
    }

    /// The set or map column holds at least this.
    pub fn includes(column: &str, datum: impl Into<Datum>) -> Self {
        Self(json!([column, "includes", datum.into().to_json()]))
    }
}

/// What a wait demands of the rows it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// They are as given.
    Equal,
    /// They are otherwise.
    NotEqual,
}

/// How a mutation changes a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutator {
    /// Puts elements or pairs into a set or map; existing keys keep their values.
    Insert,
    /// Takes elements, pairs or (given a set) keys out of a set or map.
    Delete,
    /// Adds to a number.
    Add,
}

/// The operation's kind: decides the form of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Insert,
    Select,
    Update,
    Mutate,
    Delete,
    Wait,
    Assert,
    Comment,
    Commit,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Select => "select",
            Self::Update => "update",
            Self::Mutate => "mutate",
            Self::Delete => "delete",
            Self::Wait => "wait",
            Self::Assert => "assert",
            Self::Comment => "comment",
            Self::Commit => "commit",
        }
    }
}

fn push(members: &mut Map<String, Value>, member: &str, value: Value) {
    if let Some(Value::Array(items)) = members.get_mut(member) {
        items.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_wire_form_of_rfc_7047() {
        for (operation, expected) in [
            (
                Operation::insert("Port")
                    .named(NamedUuid(1))
                    .set("name", "a")
                    .set("interfaces", NamedUuid(2)),
                json!({"op": "insert", "table": "Port", "uuid-name": "row1",
                       "row": {"name": "a", "interfaces": ["named-uuid", "row2"]}}),
            ),
            (
                Operation::wait("Bridge", vec![Condition::equal("name", "b")], Until::Equal).set("name", "b"),
                json!({"op": "wait", "table": "Bridge", "where": [["name", "==", "b"]], "timeout": 0,
                       "until": "==", "columns": ["name"], "rows": [{"name": "b"}]}),
            ),
            (
                Operation::mutate("Open_vSwitch", vec![]).mutation("next_cfg", Mutator::Add, 1),
                json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}),
            ),
            (
                Operation::select("Port", vec![Condition::row(Uuid(1))], ["_uuid"]),
                json!({"op": "select", "table": "Port", "columns": ["_uuid"],
                       "where": [["_uuid", "==", ["uuid", "00000000-0000-0000-0000-000000000001"]]]}),
            ),
        ] {
            assert_eq!(operation.into_json(), expected);
        }
    }
}
