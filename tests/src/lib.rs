//! The lab: network namespaces, a private Open vSwitch, the real binaries, and stories told on them.
//!
//! A story draws what it needs, lets it happen and says what must be seen:
//!
//! ```no_run
//! use e2e::Lab;
//!
//! let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").agent().build();
//! let (a, b) = (lab.pod("a").up(), lab.pod("b").vlan(10).up());
//! a.assert_cannot_reach(b.v4());
//! lab.finish();
//! ```
//!
//! | module | is |
//! | --- | --- |
//! | `machine` | what the machine must offer, and the environment |
//! | `room`, `netns`, `process` | directory, namespaces and processes, each with its guard |
//! | `ground` | the three of them, shared by the parts of one lab |
//! | `switch`, `agent`, `cni` | the daemons and the plugin |
//! | `host`, `pod` | who talks: pods, the gateway, foreign hosts |
//! | `traffic`, `wire`, `frames` | how: echoes honestly, frames as bytes |
//! | `flows` | what the switch has been told |
//! | `lab`, `leftovers` | the drawing, and what may not be left of it |
//! | `cluster` | a whole Kubernetes, for the few stories that need one |
//! | `eventually` | waiting with a deadline |
//! | `meanwhile` | doing two things at once |
//!
//! It knows the product by its interfaces alone: binaries, paths, gRPC, OVSDB, OpenFlow. It must not depend on the
//! agent's library, and never skips: a machine that cannot run a story fails it and says what is missing.

mod agent;
mod cluster;
mod cni;
mod eventually;
mod flows;
pub mod frames;
mod ground;
mod host;
mod lab;
mod leftovers;
mod machine;
mod meanwhile;
mod netns;
mod pod;
mod process;
mod room;
mod switch;
mod traffic;
mod wire;

pub use agent::Agent;
pub use cluster::{Cluster, Holdings, NODES};
pub use cni::{Answer, Attachment, Conf, Verb};
pub use eventually::{eventually, wait_for};
pub use flows::Flow;
pub use host::{Host, Neighbour};
pub use lab::{Drawing, Lab};
pub use leftovers::note;
pub use machine::{Datapath, our_binary};
pub use meanwhile::meanwhile;
pub use netns::Netns;
pub use pod::{Pod, PodDrawing};
pub use process::{Output, shield_children_from_ctrl_c};
pub use switch::Switch;
pub use traffic::{EchoServer, Loss, PingStream};
pub use wire::{Mac, Wire, arp};

/// The gRPC types that the agent answers with.
pub use agent_api::control::v1 as control;
