//! What everything in a lab stands on: its room, the node's namespace, the datapath.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::machine::{self, Datapath};
use crate::netns::Netns;
use crate::process::run;
use crate::room::Room;

/// Shared by every part of one lab.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Dropped after `node`: the namespace is unbound before its room is swept.
    pub(crate) node: Netns,
    pub(crate) room: Room,
    pub(crate) datapath: Datapath,
}

impl Ground {
    /// Proves that the machine can carry a lab, then makes the room and the node.
    pub(crate) fn prepare() -> Result<Self> {
        let datapath = Datapath::from_env()?;
        machine::require_lab(datapath)?;
        let room = Room::open()?;
        let node = Netns::create(&room.join("netns/node"))?;
        Ok(Self { node, room, datapath })
    }

    /// Runs an external program in the node's namespace.
    pub(crate) fn run(&self, name: &str, args: &[&str]) -> Result<String> {
        run(&self.node, name, args)
    }

    /// A deadline, stretched where the machine is emulated.
    pub(crate) fn within(&self, deadline: Duration) -> Duration {
        deadline * self.datapath.patience()
    }

    /// Where the agent listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.room.join("run/agent.sock")
    }
}
