//! Reading the result of a transaction.
//!
//! Errors of operations sit inside `result`, not in `error`: the array holds an error object at the failing
//! operation and `null` after it, or, when only the commit failed, one element *more* than there were
//! operations. A reader that looks at one element per operation misses the latter.

use serde_json::Value;

use crate::error::{CallError, DecodeError, Refusal, TransactError};
use crate::operation::Kind;
use crate::row::Row;
use crate::value::{Atom, Uuid};

/// What one operation of a committed transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// The name of the inserted row.
    Inserted(Uuid),
    /// The selected rows.
    Rows(Vec<Row>),
    /// How many rows were updated, mutated or deleted. Zero is a success: the condition matched nothing.
    Count(u64),
    /// Done; there is nothing to say.
    Done,
}

pub(crate) fn read(kinds: &[(Kind, &'static str)], result: Value) -> Result<Vec<OpResult>, TransactError> {
    let Value::Array(elements) = result else {
        return Err(malformed(DecodeError::new("result", &result, "an array of results")));
    };
    if let Some(index) =
        elements.iter().position(|element| element.get("error").is_some_and(|e| !e.is_null()))
    {
        let refusal = Refusal::from_json(elements.into_iter().nth(index).unwrap_or_default());
        return Err(match kinds.get(index) {
            Some((_, op)) => TransactError::Operation { index, op, refusal },
            None => TransactError::Commit(refusal),
        });
    }
    if elements.len() != kinds.len() {
        let elements = Value::Array(elements);
        return Err(malformed(DecodeError::new("result", &elements, "one result for each operation")));
    }
    kinds
        .iter()
        .zip(elements)
        .enumerate()
        .map(|(index, ((kind, _), element))| {
            read_one(*kind, element).map_err(|error| malformed(error.within(&format!("result[{index}]"))))
        })
        .collect()
}

fn read_one(kind: Kind, mut element: Value) -> Result<OpResult, DecodeError> {
    match kind {
        Kind::Insert => {
            let atom = Atom::from_json(take(&mut element, "uuid")).map_err(|error| error.within("uuid"))?;
            match atom {
                Atom::Uuid(uuid) => Ok(OpResult::Inserted(uuid)),
                other => Err(DecodeError::new("uuid", &other.to_json(), "a uuid")),
            }
        }
        Kind::Select => match take(&mut element, "rows") {
            Value::Array(rows) => {
                rows.into_iter().map(Row::from_json).collect::<Result<_, _>>().map(OpResult::Rows)
            }
            other => Err(DecodeError::new("rows", &other, "an array of rows")),
        },
        Kind::Update | Kind::Mutate | Kind::Delete => {
            let count = take(&mut element, "count");
            let number =
                count.as_u64().ok_or_else(|| DecodeError::new("count", &count, "a number of rows"))?;
            Ok(OpResult::Count(number))
        }
        Kind::Wait | Kind::Assert | Kind::Comment | Kind::Commit => Ok(OpResult::Done),
    }
}

fn take(element: &mut Value, member: &str) -> Value {
    element.get_mut(member).map(Value::take).unwrap_or_default()
}

fn malformed(source: DecodeError) -> TransactError {
    TransactError::Call(CallError::Malformed { method: "transact".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INSERT_MUTATE: [(Kind, &str); 2] = [(Kind::Insert, "insert"), (Kind::Mutate, "mutate")];

    fn check(result: Value, expected: &str) {
        assert_eq!(
            format!("{:?}", read(&INSERT_MUTATE, result).map_err(|error| error.to_string())),
            expected
        );
    }

    #[test]
    fn an_error_is_found_wherever_the_server_puts_it() {
        let uuid = json!({"uuid": ["uuid", "00000000-0000-0000-0000-000000000001"]});
        check(json!([uuid, {"count": 1}]), "Ok([Inserted(00000000-0000-0000-0000-000000000001), Count(1)])");
        check(
            json!([{"error": "timed out", "details": "x"}, null]),
            r#"Err("operation 0 (insert) failed: timed out (x)")"#,
        );
        check(json!([{"error": "aborted"}]), r#"Err("operation 0 (insert) failed: aborted")"#);
        check(
            json!([uuid, {"count": 1}, {"error": "constraint violation", "details": "dup"}]),
            r#"Err("the commit failed: constraint violation (dup)")"#,
        );
    }

    #[test]
    fn a_result_of_another_form_is_an_error_and_not_a_success() {
        const NO_OUTCOME: &str = r#"Err("the transaction has no outcome")"#;
        for result in [json!(null), json!([]), json!([{}, {}]), json!([null, null]), json!({"error": 1})] {
            check(result, NO_OUTCOME);
        }
    }
}
