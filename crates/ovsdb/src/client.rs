//! The handle: calls with deadlines, any number at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::DATABASE;
use crate::driver::{Command, Driver, Events, Limits};
use crate::endpoint::Endpoint;
use crate::error::{CallError, ConnectError, DecodeError, TransactError};
use crate::monitor::{MonitorId, MonitorSpec, Snapshot, TableUpdates, TransactionId};
use crate::operation::Operation;
use crate::outcome::{self, OpResult};
use crate::rpc;
use crate::schema::Schema;

/// Connects to the database. Nothing is exchanged until the [`Driver`] runs.
pub async fn connect(endpoint: &Endpoint, limits: Limits) -> Result<(Client, Events, Driver), ConnectError> {
    let path = || endpoint.path().display().to_string();
    let stream = match timeout(limits.connect_deadline, UnixStream::connect(endpoint.path())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ConnectError::Io { path: path(), source }),
        Err(_) => return Err(ConnectError::Deadline { path: path(), after: limits.connect_deadline }),
    };
    let (deadline, max_message) = (limits.call_deadline, limits.max_message);
    let (driver, commands, events) = Driver::new(stream, limits);
    let client = Client { commands, next_id: Arc::new(AtomicU64::new(0)), deadline, max_message };
    Ok((client, events, driver))
}

/// A cloneable door to one connection.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    next_id: Arc<AtomicU64>,
    deadline: Duration,
    max_message: usize,
}

impl Client {
    /// The same door with another deadline for its calls.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// One JSON-RPC call. The deadline covers queueing, the server's work and the answer.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = rpc::request(id, method, &params);
        drop(params);
        if bytes.len() > self.max_message {
            let (size, limit) = (bytes.len(), self.max_message);
            return Err(CallError::TooLarge { method: method.to_owned(), size, limit });
        }
        let exchange = async {
            let (reply, answer) = oneshot::channel();
            self.commands.send(Command { id, bytes, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(self.deadline, exchange).await {
            Ok(Some(Ok(result))) => Ok(result),
            Ok(Some(Err(refusal))) => Err(CallError::Refused { method: method.to_owned(), refusal }),
            Ok(None) => Err(CallError::Closed { method: method.to_owned() }),
            Err(_) => Err(CallError::Deadline { method: method.to_owned(), after: self.deadline }),
        }
    }

    /// Asks for a sign of life.
    pub async fn echo(&self) -> Result<(), CallError> {
        self.call("echo", json!([])).await.map(drop)
    }

    /// The schema of the database.
    pub async fn schema(&self) -> Result<Schema, CallError> {
        const METHOD: &str = "get_schema";
        let schema = self.call(METHOD, json!([DATABASE])).await?;
        Schema::from_json(schema).map_err(|source| malformed(METHOD, source))
    }

    /// Executes the operations as one transaction. Calls may overlap; the server executes them in the order
    /// in which they were made.
    pub async fn transact(&self, operations: Vec<Operation>) -> Result<Vec<OpResult>, TransactError> {
        check_names(&operations)?;
        let kinds: Vec<_> = operations.iter().map(|operation| (operation.kind(), operation.name())).collect();
        let mut params = vec![json!(DATABASE)];
        params.extend(operations.into_iter().map(Operation::into_json));
        let result = self.call("transact", Value::Array(params)).await?;
        outcome::read(&kinds, result)
    }

    /// Begins a monitor, in the newest form that the server knows. `since` names the state that the caller
    /// holds, from an earlier connection, if it wants only what changed after it.
    pub async fn monitor(
        &self,
        id: MonitorId,
        spec: &MonitorSpec,
        since: Option<&TransactionId>,
    ) -> Result<Snapshot, CallError> {
        // ovsdb-server knows monitor_cond_since from 2.12 and monitor_cond from 2.6 on.
        let last = since.map_or(NO_TRANSACTION, |id| id.0.as_str());
        let params = json!([DATABASE, id.0, spec.to_json(), last]);
        let unknown = match self.call("monitor_cond_since", params).await {
            Ok(result) => {
                return read_since(result).map_err(|source| malformed("monitor_cond_since", source));
            }
            Err(error) => error,
        };
        if !unknown.is_unknown_method() {
            return Err(unknown);
        }
        let params = json!([DATABASE, id.0, spec.to_json()]);
        let (method, updates) = match self.call("monitor_cond", params.clone()).await {
            Ok(result) => ("monitor_cond", TableUpdates::from_v2(result)),
            Err(error) if error.is_unknown_method() => {
                ("monitor", TableUpdates::from_v1(self.call("monitor", params).await?))
            }
            Err(error) => return Err(error),
        };
        let updates = updates.map_err(|source| malformed(method, source))?;
        Ok(Snapshot { resumed: false, last: None, updates })
    }

    /// Asks for the lock. True: held. False: another connection holds it, and
    /// [`Event::Locked`](crate::Event::Locked) will tell when it is ours.
    pub async fn lock(&self, name: &LockName) -> Result<bool, CallError> {
        const METHOD: &str = "lock";
        let result = self.call(METHOD, json!([name.as_str()])).await?;
        match result.get("locked") {
            Some(Value::Bool(locked)) => Ok(*locked),
            _ => Err(malformed(METHOD, DecodeError::new("result", &result, "an object with locked"))),
        }
    }

    /// Takes the lock from whoever holds it.
    pub async fn steal(&self, name: &LockName) -> Result<(), CallError> {
        self.call("steal", json!([name.as_str()])).await.map(drop)
    }

    /// Gives the lock, or the place in its queue, up.
    pub async fn unlock(&self, name: &LockName) -> Result<(), CallError> {
        self.call("unlock", json!([name.as_str()])).await.map(drop)
    }
}

/// The name of a lock: an identifier, as the server demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName(String);

impl LockName {
    /// Makes an identifier of any text: what may not stand in one becomes `_`, and one that would not begin
    /// with a letter or `_` gets a `_` before it.
    pub fn from_text(text: &str) -> Self {
        let mut name: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            name.insert(0, '_');
        }
        Self(name)
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client says that knows no earlier state.
const NO_TRANSACTION: &str = "00000000-0000-0000-0000-000000000000";

fn check_names(operations: &[Operation]) -> Result<(), TransactError> {
    for (index, operation) in operations.iter().enumerate() {
        let is_defined = |name| operations.iter().any(|other| other.defines() == Some(name));
        if let Some(name) = operation.uses().iter().find(|name| !is_defined(**name)) {
            return Err(TransactError::UndefinedName { index, op: operation.name(), name: name.to_string() });
        }
    }
    Ok(())
}

fn read_since(result: Value) -> Result<Snapshot, DecodeError> {
    const EXPECTED: &str = "found, last-txn-id and updates";
    let Value::Array(parts) = result else {
        return Err(DecodeError::new("result", &result, EXPECTED));
    };
    match <[Value; 3]>::try_from(parts) {
        Ok([Value::Bool(resumed), last, updates]) => Ok(Snapshot {
            resumed,
            last: Some(rpc::transaction_id(&last)?),
            updates: TableUpdates::from_v2(updates)?,
        }),
        Ok(parts) => Err(DecodeError::new("result", &Value::from(parts.to_vec()), EXPECTED)),
        Err(parts) => Err(DecodeError::new("result", &Value::Array(parts), EXPECTED)),
    }
}

fn malformed(method: &str, source: DecodeError) -> CallError {
    CallError::Malformed { method: method.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_makes_a_lock_name() {
        for (text, name) in
            [("underpass_a", "underpass_a"), ("node-1.lan", "node_1_lan"), ("1", "_1"), ("", "_")]
        {
            assert_eq!(LockName::from_text(text).as_str(), name);
        }
    }
}
