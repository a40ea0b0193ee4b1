//! Why there is no connection, and why a call to a bridge failed.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openflow::DecodeError;
use thiserror::Error;

/// Why a bridge has no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The bridge has become wanted just now.
    #[error("the bridge was not tried yet")]
    NotTried,
    /// There is no such bridge, vswitchd does not run, or the agent may not open the socket.
    #[error("connecting to {path}")]
    Socket {
        path: String,
        #[source]
        source: io::Error,
    },
    /// An operator restricted the bridge to versions that lack what the guard needs.
    #[error(
        "bridge {bridge} does not speak OpenFlow 1.5 (its protocols are {spoken}): \
         ovs-vsctl set bridge {bridge} protocols={spoken},OpenFlow15"
    )]
    Version { bridge: String, spoken: String },
    /// The switch answered the greeting with an error.
    #[error("bridge {bridge} refused the connection: {reason}")]
    Refused { bridge: String, reason: String },
    /// Nothing, or not enough, was heard in time while the connection was made.
    #[error("bridge {bridge} did not greet within {patience:?}")]
    NoGreeting { bridge: String, patience: Duration },
    /// The bridge is gone, or vswitchd ended.
    #[error("the switch closed the connection")]
    Closed,
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// What came is no OpenFlow.
    #[error("the switch sent a message that cannot be read")]
    Malformed(#[source] DecodeError),
    /// vswitchd hangs.
    #[error("the switch was silent for {0:?} and did not answer an echo request")]
    Silent(Duration),
    /// vswitchd does not read.
    #[error("the switch left more than {0} bytes unread")]
    Backlog(usize),
}

impl ConnectError {
    /// Whether an operator would read the same twice.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let cause = |error: &Self| error.source().map(ToString::to_string);
        self.to_string() == other.to_string() && cause(self) == cause(other)
    }
}

/// Why a call failed. [`SwitchError::is_in_doubt`] tells whether the tables may have changed all the same.
#[derive(Clone, Debug, Error)]
pub enum SwitchError {
    /// Nothing was sent.
    #[error("bridge {bridge} is not connected")]
    Down {
        bridge: String,
        #[source]
        error: Arc<ConnectError>,
    },
    /// Nothing was sent: the changes were computed from what an earlier connection showed.
    #[error(
        "bridge {bridge} was reconnected: the changes are for epoch {asked}, the connection is {current}"
    )]
    Stale { bridge: String, asked: u64, current: u64 },
    /// Nothing was sent: too many requests were waiting, for too long.
    #[error("bridge {bridge} is busy: the request was not sent in time")]
    Busy { bridge: String },
    /// The switch did not answer in time; a change was taken back before it took effect.
    #[error("bridge {bridge} did not answer in time, nothing was changed")]
    TimedOut { bridge: String },
    /// The connection ended before a read was answered.
    #[error("the connection to bridge {bridge} was lost")]
    Lost { bridge: String },
    /// The switch was told to commit, and its answer was not seen.
    #[error("bridge {bridge} did not confirm a change, which may be in effect")]
    Unknown { bridge: String },
    /// The switch refused a request as a whole.
    #[error("bridge {bridge} refused {what}: {name}")]
    Refused { bridge: String, what: &'static str, name: String },
    /// More came back than is put together.
    #[error("the reply of bridge {bridge} exceeds {limit} bytes")]
    TooBig { bridge: String, limit: usize },
    /// A reply that cannot be read. The connection goes on: frames are delimited by their header alone.
    #[error("the reply of bridge {bridge} cannot be read")]
    Malformed {
        bridge: String,
        #[source]
        source: DecodeError,
    },
    /// A request that has no bytes: a frame too long for a message.
    #[error("{what} for bridge {bridge} cannot be encoded")]
    Encode {
        bridge: String,
        what: &'static str,
        #[source]
        source: openflow::EncodeError,
    },
}

impl SwitchError {
    /// Whether a change may have taken effect although the call failed: the tables must be read back.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}
