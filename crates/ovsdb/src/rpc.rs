//! JSON-RPC 1.0 messages as OVSDB uses them: what arrived, and the bytes of what is sent.

use serde_json::{Value, json};

use crate::error::{DecodeError, Refusal};
use crate::monitor::{MonitorId, TableUpdates, TransactionId};

/// A message from the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// The answer to a request of ours.
    Reply { id: u64, result: Result<Value, Refusal> },
    /// An answer to something that never waits for one (our probes), or to nothing we asked.
    Stray,
    /// A request of the server; it wants an answer. In practice `echo`.
    Request { id: Value, method: String, params: Value },
    /// Rows of a monitor changed.
    Update { monitor: MonitorId, last: Option<TransactionId>, updates: TableUpdates },
    /// A lock that we asked for is ours now.
    Locked(String),
    /// Another client took a lock of ours by force.
    Stolen(String),
    /// The server ended a monitor: the database is gone or has another schema.
    MonitorCanceled,
    /// A notification this client does not know.
    Unknown,
}

impl Message {
    pub(crate) fn from_json(value: Value) -> Result<Self, DecodeError> {
        let Value::Object(mut members) = value else {
            return Err(DecodeError::new("message", &value, "an object"));
        };
        let id = members.remove("id").unwrap_or_default();
        let method = match members.remove("method") {
            Some(Value::String(method)) => method,
            // A reply may carry `error` without `result` and the other way round.
            None | Some(Value::Null) => {
                let error = members.remove("error").unwrap_or_default();
                let result = match (error, members.remove("result")) {
                    (Value::Null, Some(result)) => Ok(result),
                    (Value::Null, None) => {
                        return Err(DecodeError::new("message", &id, "a result or an error"));
                    }
                    (error, _) => Err(Refusal::from_json(error)),
                };
                return Ok(id.as_u64().map_or(Self::Stray, |id| Self::Reply { id, result }));
            }
            Some(other) => return Err(DecodeError::new("method", &other, "a text")),
        };
        let params = members.remove("params").unwrap_or_default();
        if !id.is_null() {
            return Ok(Self::Request { id, method, params });
        }
        Self::notification(&method, params).map_err(|error| error.within(&method))
    }

    fn notification(method: &str, params: Value) -> Result<Self, DecodeError> {
        let params = match params {
            Value::Array(params) => params,
            other => return Err(DecodeError::new("params", &other, "an array")),
        };
        let mut params = params.into_iter();
        let mut next = || params.next().unwrap_or_default();
        match method {
            "update" => {
                let (monitor, updates) = (monitor_id(&next())?, TableUpdates::from_v1(next())?);
                Ok(Self::Update { monitor, last: None, updates })
            }
            "update2" => {
                let (monitor, updates) = (monitor_id(&next())?, TableUpdates::from_v2(next())?);
                Ok(Self::Update { monitor, last: None, updates })
            }
            "update3" => {
                let (monitor, last) = (monitor_id(&next())?, transaction_id(&next())?);
                Ok(Self::Update { monitor, last: Some(last), updates: TableUpdates::from_v2(next())? })
            }
            "locked" => lock_name(next()).map(Self::Locked),
            "stolen" => lock_name(next()).map(Self::Stolen),
            "monitor_canceled" => Ok(Self::MonitorCanceled),
            _ => Ok(Self::Unknown),
        }
    }
}

/// A request of ours.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    json!({"id": id, "method": method, "params": params}).to_string().into_bytes()
}

/// A probe: its answer only proves that the server lives, so its id is none that a call could have.
pub(crate) fn probe() -> Vec<u8> {
    json!({"id": "probe", "method": "echo", "params": []}).to_string().into_bytes()
}

/// The answer to a request of the server.
pub(crate) fn reply(id: &Value, method: &str, params: &Value) -> Vec<u8> {
    let reply = match method {
        "echo" => json!({"id": id, "result": params, "error": null}),
        _ => json!({"id": id, "result": null, "error": "unknown method"}),
    };
    reply.to_string().into_bytes()
}

fn monitor_id(value: &Value) -> Result<MonitorId, DecodeError> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.map(MonitorId).ok_or_else(|| DecodeError::new("monitor", value, "an id that this client gave"))
}

pub(crate) fn transaction_id(value: &Value) -> Result<TransactionId, DecodeError> {
    let text = value.as_str().map(|text| TransactionId(text.to_owned()));
    text.ok_or_else(|| DecodeError::new("last-txn-id", value, "a text"))
}

fn lock_name(value: Value) -> Result<String, DecodeError> {
    match value {
        Value::String(name) => Ok(name),
        other => Err(DecodeError::new("lock", &other, "a lock's name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Message, DecodeError> {
        Message::from_json(value)
    }

    #[test]
    fn replies_are_read_in_all_their_forms() {
        let refused = |error: &str, details: Option<&str>| Message::Reply {
            id: 7,
            result: Err(Refusal { error: error.into(), details: details.map(Into::into) }),
        };
        for (wire, expected) in [
            (
                json!({"id": 7, "result": [1], "error": null}),
                Message::Reply { id: 7, result: Ok(json!([1])) },
            ),
            (json!({"id": 7, "result": null}), Message::Reply { id: 7, result: Ok(Value::Null) }),
            (json!({"id": 7, "error": "unknown method"}), refused("unknown method", None)),
            (
                json!({"id": 7, "result": null, "error": {"error": "unknown database", "details": "x"}}),
                refused("unknown database", Some("x")),
            ),
            (json!({"id": "probe", "result": [], "error": null}), Message::Stray),
        ] {
            assert_eq!(read(wire), Ok(expected));
        }
    }

    #[test]
    fn an_echo_request_may_have_any_id() {
        let id = json!({"a": [1]});
        let request = read(json!({"id": id, "method": "echo", "params": ["x"]}));
        assert_eq!(
            request,
            Ok(Message::Request { id: id.clone(), method: "echo".into(), params: json!(["x"]) })
        );
        let answer: Value = serde_json::from_slice(&reply(&id, "echo", &json!(["x"]))).unwrap();
        assert_eq!(answer, json!({"id": id, "result": ["x"], "error": null}));
    }

    #[test]
    fn notifications_are_typed_and_unknown_ones_pass() {
        assert_eq!(
            read(json!({"id": null, "method": "locked", "params": ["l"]})),
            Ok(Message::Locked("l".into()))
        );
        assert_eq!(read(json!({"method": "stolen", "params": ["l"]})), Ok(Message::Stolen("l".into())));
        assert_eq!(read(json!({"method": "novelty", "params": []})), Ok(Message::Unknown));
        let error = read(json!({"method": "update3", "params": [1, 2, {}]})).unwrap_err();
        assert_eq!(error.to_string(), "update3.last-txn-id is 2, expected a text");
        assert!(read(json!({"id": 1})).is_err());
        assert!(read(json!([])).is_err());
    }
}
