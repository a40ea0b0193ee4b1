//! The guard as OpenFlow rules: a bump in table 0, not a pipeline.
//!
//! A guarded port's frame is diverted once to our block of tables. If it is accepted there, it re-enters table 0
//! with bit 31 of register 15 set and meets exactly what an unguarded frame would: foreign flows, then `NORMAL`.
//! Nothing is installed for uplinks, trunks to other switches, `LOCAL` or foreign ports.
//!
//! | table | file | counts |
//! | --- | --- | --- |
//! | 0 | `hook` | – |
//! | base | `l2` | vlan, linklocal, mac, ethertype; ipv6 on endpoints without IPv6 |
//! | base + 1 | `arp` | arp |
//! | base + 2 | `ipv4` | router, dhcp4_server, ipv4 |
//! | base + 3 | `ipv6` | ipv6 |
//! | base + 4 | `icmp6` | icmp6_frag, dhcp6_server, router, nd |
//! | base + 9 | `hook` | – (accept) |
//!
//! The order of the rows is the policy's: a frame with several faults is counted under the first that drops it.

mod arp;
mod hook;
mod icmp6;
mod ipv4;
mod ipv6;
mod l2;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ebpf_abi::Reason;
use openflow::{Action, Flow, FlowKey, Match, OfPort, TableId};

use crate::model::{AcceptedSources, Guard, GuardMode, PortVlan, Slot};

/// An endpoint of a bridge, as far as its flows depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub slot: Slot,
    pub ofport: OfPort,
    pub vlan: PortVlan,
    pub guard: Guard,
    pub sources: AcceptedSources,
}

/// The flows that should be there, by their identity.
pub type FlowSet = BTreeMap<FlowKey, Flow>;

/// Ten tables in a row that belong to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    base: u8,
}

impl Block {
    /// How many tables the block has.
    pub const TABLES: u8 = 10;
    /// The table that we share with others, and the priority of our hook there.
    pub const HOOK: TableId = TableId(0);
    pub const HOOK_PRIORITY: u16 = 65_520;

    /// `base` is the first table, at most 245.
    pub fn new(base: u8) -> Self {
        Self { base: base.min(u8::MAX - Self::TABLES) }
    }

    pub fn contains(self, table: TableId) -> bool {
        (self.base..self.base + Self::TABLES).contains(&table.0)
    }

    /// Whether a flow is ours to manage: everything in the block, and our hooks in table 0.
    pub fn owns(self, key: &FlowKey, cookie: u64) -> bool {
        self.contains(key.table)
            || (key.table == Self::HOOK
                && key.priority == Self::HOOK_PRIORITY
                && Cookie::parse(cookie).is_some())
    }

    /// The tables of the block that hold flows, with the names that `agentctl` shows.
    pub fn names(self) -> [(TableId, &'static str); 7] {
        [
            (Self::HOOK, "hook"),
            (self.l2(), "l2"),
            (self.arp(), "arp"),
            (self.ipv4(), "ipv4"),
            (self.ipv6(), "ipv6"),
            (self.icmp6(), "icmp6"),
            (self.accept(), "accept"),
        ]
    }

    pub fn tables(self) -> impl Iterator<Item = TableId> {
        (self.base..self.base + Self::TABLES).map(TableId)
    }

    fn l2(self) -> TableId {
        TableId(self.base)
    }
    fn arp(self) -> TableId {
        TableId(self.base + 1)
    }
    fn ipv4(self) -> TableId {
        TableId(self.base + 2)
    }
    fn ipv6(self) -> TableId {
        TableId(self.base + 3)
    }
    fn icmp6(self) -> TableId {
        TableId(self.base + 4)
    }
    fn accept(self) -> TableId {
        TableId(self.base + 9)
    }
}

/// What a flow's cookie says: `0x5550`, 8 bits of layout version, 8 bits of kind, 32 bits of slot.
///
/// There is no per-start round in it: a restarted agent writes nothing where nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// A [`Reason`] for drops, [`Reason::Allow`] for what lets pass, 0 for the structure of the block.
    pub kind: u8,
    pub slot: u32,
}

impl Cookie {
    const MARK: u64 = 0x5550;
    const VERSION: u64 = 1;

    pub fn encode(self) -> u64 {
        (Self::MARK << 48) | (Self::VERSION << 40) | (u64::from(self.kind) << 32) | u64::from(self.slot)
    }

    /// `None` for a foreign cookie.
    pub fn parse(cookie: u64) -> Option<Self> {
        let bytes = cookie.to_be_bytes();
        (cookie >> 40 == (Self::MARK << 8) | Self::VERSION).then(|| Self {
            kind: bytes[3],
            slot: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }
}

/// Every flow of one bridge. Endpoints in mode `off` have none.
pub fn desired(block: Block, endpoints: &[Bound]) -> FlowSet {
    let mut flows = Rules { block, set: BTreeMap::new() };
    if endpoints.is_empty() {
        return flows.set;
    }
    hook::shared(&mut flows);
    for endpoint in endpoints.iter().filter(|e| e.guard.mode != GuardMode::Off) {
        hook::endpoint(&mut flows, endpoint);
        l2::endpoint(&mut flows, endpoint);
        if endpoint.guard.mode == GuardMode::Mac {
            continue;
        }
        arp::endpoint(&mut flows, endpoint);
        ipv4::endpoint(&mut flows, endpoint);
        if !endpoint.sources.ipv6.is_empty() {
            ipv6::endpoint(&mut flows, endpoint);
            icmp6::endpoint(&mut flows, endpoint);
        }
    }
    flows.set
}

/// Collects flows; the tables' files write through it.
struct Rules {
    block: Block,
    set: FlowSet,
}

impl Rules {
    fn insert(&mut self, flow: Flow) {
        self.set.insert(flow.key(), flow);
    }

    /// A rule of the block's structure, without an endpoint.
    fn structure(table: TableId, priority: u16, matching: Match) -> Flow {
        let cookie = Cookie { kind: 0, slot: 0 };
        Flow::new(table).priority(priority).cookie(cookie.encode()).matching(matching)
    }

    /// Lets frames that match go on to `next`.
    fn allow(&mut self, endpoint: &Bound, table: TableId, priority: u16, matching: Match, next: TableId) {
        let cookie = Cookie { kind: Reason::Allow as u8, slot: endpoint.slot.index };
        self.insert(
            Flow::new(table).priority(priority).cookie(cookie.encode()).matching(matching).goto(next),
        );
    }

    /// Drops frames that match, counted under `reason`; in mode `observe` they are counted and accepted.
    fn deny(&mut self, endpoint: &Bound, table: TableId, priority: u16, matching: Match, reason: Reason) {
        let cookie = Cookie { kind: reason as u8, slot: endpoint.slot.index };
        let flow = Flow::new(table).priority(priority).cookie(cookie.encode()).matching(matching);
        let observed = endpoint.guard.mode == GuardMode::Observe;
        let accept = self.block.accept();
        self.insert(if observed { flow.goto(accept) } else { flow });
    }
}

/// The register bit that marks a frame as accepted: `reg15[31]`.
const ACCEPTED: u32 = 0x8000_0000;

fn from_port(endpoint: &Bound) -> Match {
    Match::new().in_port(endpoint.ofport)
}

fn accept_action() -> [Action<'static>; 2] {
    [Action::load_reg(15, 31, 31, 1), Action::resubmit_table(TableId(0))]
}
