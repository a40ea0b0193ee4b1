//! A client for OVSDB (RFC 7047 and the extensions of ovsdb-server(7)) over a Unix socket.
//!
//! ```text
//!  Client ──mpsc<Command>──> Driver ──bytes──> ovsdb-server
//!    ^                         │ ^
//!    └──oneshot<reply>─────────┤ └──bytes────
//!                              └──mpsc<Event>──> Events   (updates, locks, the end)
//! ```
//!
//! [`connect`] gives three parts. [`Client`] is a cloneable handle: any number of calls may be in flight at
//! once, each with its own deadline. [`Driver`] is a future that owns the socket; the caller decides where it
//! runs, this crate spawns nothing. [`Events`] is what the server says unasked: table updates, lock changes
//! and, as the last event, why the connection ended. There is no reconnect: after a lost connection nothing
//! that was known holds, and the owner of the data has to say what that means.
//!
//! A monitor's first contents are the *result* of [`Client::monitor`], later changes are events; the server
//! sends them in this order, so applying the result first and then the events to a [`Cache`] is exact.
//!
//! Values are read leniently where the protocol is: a set of one travels as its bare atom and an absent
//! optional as the empty set, so [`Datum`] knows only sets and maps, and a scalar is a set of one. Everything
//! from the wire is treated as hostile: sizes and queues are bounded by [`Limits`], bad input is an error that
//! names the field and the value, and nothing panics.

mod cache;
mod client;
mod driver;
mod endpoint;
mod error;
mod frame;
mod monitor;
mod operation;
mod outcome;
mod row;
mod rpc;
mod schema;
mod value;

pub use crate::cache::{Cache, CacheError};
pub use crate::client::{Client, LockName, connect};
pub use crate::driver::{CloseReason, Driver, Event, Events, Limits};
pub use crate::endpoint::{Endpoint, EndpointError};
pub use crate::error::{CallError, ConnectError, DecodeError, Refusal, TransactError};
pub use crate::frame::FrameError;
pub use crate::monitor::{MonitorId, MonitorSpec, RowUpdate, Snapshot, TableUpdates, TransactionId};
pub use crate::operation::{Condition, Mutator, Operation, Until};
pub use crate::outcome::OpResult;
pub use crate::row::Row;
pub use crate::schema::{Change, Column, Schema};
pub use crate::value::{Atom, Datum, NamedUuid, Real, Uuid};

/// The database that Open vSwitch is configured by, and the only one this client works with.
pub const DATABASE: &str = "Open_vSwitch";
