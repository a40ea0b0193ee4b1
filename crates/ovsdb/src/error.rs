//! Every way a connection, a call or a transaction can fail, and the one error for bad input.
//!
//! A message names what failed and with which operands; causes are sources, not part of the message.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::endpoint::EndpointError;

/// The connection could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The text does not name a Unix socket.
    #[error("no usable OVSDB endpoint")]
    Endpoint(#[from] EndpointError),
    /// The socket is missing, refuses, or may not be opened.
    #[error("connecting to {path} failed")]
    Io {
        /// The socket's path.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket's queue is full and nobody accepts.
    #[error("connecting to {path} took longer than {after:?}")]
    Deadline {
        /// The socket's path.
        path: String,
        /// How long was waited.
        after: Duration,
    },
}

/// One call had no usable answer.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// The connection ended before the answer came: whether the server acted on the call is unknown.
    #[error("{method}: the connection closed before the answer")]
    Closed {
        /// The method called.
        method: String,
    },
    /// The answer did not come in time: whether the server acted on the call is unknown.
    #[error("{method}: no answer within {after:?}")]
    Deadline {
        /// The method called.
        method: String,
        /// The deadline of the call.
        after: Duration,
    },
    /// The server answered with an error at the JSON-RPC level.
    #[error("{method} was refused: {refusal}")]
    Refused {
        /// The method called.
        method: String,
        /// The server's words.
        refusal: Refusal,
    },
    /// The answer is not of the form this method has.
    #[error("{method}: the answer cannot be read")]
    Malformed {
        /// The method called.
        method: String,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The request is longer than [`Limits::max_message`](crate::Limits::max_message); nothing was sent.
    #[error("{method}: the request has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// The method called.
        method: String,
        /// Bytes of the request.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl CallError {
    /// The server does not know the method (an older ovsdb-server).
    pub fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.error == "unknown method")
    }
}

/// One transaction did not happen, or it is not known whether it did ([`TransactError::Call`]).
#[derive(Clone, Debug, Error)]
pub enum TransactError {
    /// The call itself failed.
    #[error("the transaction has no outcome")]
    Call(#[from] CallError),
    /// An operation failed; nothing of the transaction was done.
    #[error("operation {index} ({op}) failed: {refusal}")]
    Operation {
        /// Place of the operation in the transaction, from 0.
        index: usize,
        /// The operation's name on the wire.
        op: &'static str,
        /// The server's words.
        refusal: Refusal,
    },
    /// Every operation was accepted, but not their sum: a duplicate name, a dangling reference. The server
    /// reports this as one element more than there were operations.
    #[error("the commit failed: {0}")]
    Commit(Refusal),
    /// A row refers to a `named-uuid` that no insert of the transaction defines; nothing was sent. The server
    /// would invent a random uuid and report a referential integrity violation.
    #[error("operation {index} ({op}) refers to {name}, which no operation inserts")]
    UndefinedName {
        /// Place of the operation in the transaction, from 0.
        index: usize,
        /// The operation's name on the wire.
        op: &'static str,
        /// The name without a row.
        name: String,
    },
}

impl TransactError {
    /// What the server said, where it said something about the transaction itself.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Operation { refusal, .. }
            | Self::Commit(refusal)
            | Self::Call(CallError::Refused { refusal, .. }) => Some(refusal),
            Self::Call(_) | Self::UndefinedName { .. } => None,
        }
    }
}

/// The server's own words for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A short fixed text, such as `constraint violation`.
    pub error: String,
    /// An explanation for people, where there is one.
    pub details: Option<String>,
}

impl Refusal {
    /// Reads the forms servers use: a bare string, `{error, details}`, or anything else as its JSON text.
    pub(crate) fn from_json(value: Value) -> Self {
        match value {
            Value::String(error) => Self { error, details: None },
            Value::Object(mut members) => match members.remove("error") {
                Some(Value::String(error)) => {
                    let details = members.remove("details").and_then(|details| match details {
                        Value::Null => None,
                        Value::String(text) => Some(text),
                        other => Some(excerpt(&other)),
                    });
                    Self { error, details }
                }
                Some(error) => Self { error: excerpt(&error), details: None },
                None => Self { error: excerpt(&Value::Object(members)), details: None },
            },
            other => Self { error: excerpt(&other), details: None },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.details {
            Some(details) => write!(f, "{} ({details})", self.error),
            None => f.write_str(&self.error),
        }
    }
}

/// Input that is not what the protocol promises.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {value}, expected {expected}")]
pub struct DecodeError {
    /// Path of the field, such as `Port.tag`.
    pub field: String,
    /// What was there, shortened.
    pub value: String,
    /// What should have been there.
    pub expected: &'static str,
}

impl DecodeError {
    pub(crate) fn new(field: &str, value: &Value, expected: &'static str) -> Self {
        Self { field: field.to_owned(), value: excerpt(value), expected }
    }

    /// Puts the field below `parent`, so that the path grows while the error travels up.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field =
            if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

/// A cause that several errors share.
pub(crate) type SharedIoError = Arc<io::Error>;

/// The JSON text of `value`, at most [`EXCERPT_CHARS`] characters of it.
fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Enough to recognise a value in a log line, too little to flood it.
const EXCERPT_CHARS: usize = 120;
