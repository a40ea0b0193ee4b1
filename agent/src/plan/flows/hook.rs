//! Table 0's hook and the accept table: the way into the block and out of it.

use openflow::Match;

use super::{ACCEPTED, Block, Bound, Rules, accept_action, from_port};

/// The floor of every table of the block, and the accept table's only rule.
pub(super) fn shared(rules: &mut Rules) {
    let block = rules.block;
    for table in [block.l2(), block.arp(), block.ipv4(), block.ipv6(), block.icmp6()] {
        let floor = Rules::structure(table, 0, Match::new());
        rules.insert(floor);
    }
    let accept = Rules::structure(block.accept(), 0, Match::new()).apply(accept_action());
    rules.insert(accept);
}

/// Diverts an endpoint's frames that have not been through the block yet.
///
/// The priority leaves 15 above it for nobody but an operator in need; the agent refuses a bridge with foreign
/// flows up there.
pub(super) fn endpoint(rules: &mut Rules, endpoint: &Bound) {
    let not_yet = from_port(endpoint).reg(15, 0, ACCEPTED);
    let l2 = rules.block.l2();
    let hook = Rules::structure(Block::HOOK, Block::HOOK_PRIORITY, not_yet);
    let cookie = super::Cookie { kind: 0, slot: endpoint.slot.index };
    rules.insert(hook.cookie(cookie.encode()).goto(l2));
}
