//! Hanging the programs on host veths, on a thread of its own.
//!
//! The kernel hangs a TCX program under its RTNL lock and waits for an RCU grace period before it lets go
//! (`tcx_link_attach`; measured 12 ms for each program, 6.18). Whoever asks for that in a pass would hold up every other
//! endpoint, and on a worker of the runtime every other task; Open vSwitch waits for the same lock. So the reconciler
//! sends orders and takes outcomes, as with any other fact, and leaves TCX for quiet moments.
//!
//! This module knows no endpoints, only interfaces; what an outcome means is the reconciler's business.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::bpf::{Attached, Bpf, Haste};
use crate::limits::HOOK_ORDERS;
use crate::report::chain;

/// An interface to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub ifindex: u32,
    pub ifname: String,
    /// The programs are believed to hang there: they are hung again only if they do not.
    pub known: bool,
    pub haste: Haste,
    /// Open vSwitch is to police the port, and a clsact qdisc would be in its way.
    pub policed: bool,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub ifindex: u32,
    /// How the programs hang there, or why they do not.
    pub attached: Result<Attached, String>,
}

/// The reconciler's end.
pub struct Hooks {
    orders: mpsc::Sender<Order>,
    pub outcomes: mpsc::Receiver<Outcome>,
}

impl Hooks {
    /// Asks for an interface to be looked at. `false`: too many orders wait, ask again later.
    pub fn ask(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// The thread's end.
pub struct Worker {
    bpf: Arc<Bpf>,
    orders: mpsc::Receiver<Order>,
    outcomes: mpsc::Sender<Outcome>,
}

/// Both ends.
pub fn new(bpf: Arc<Bpf>) -> (Hooks, Worker) {
    let (orders, ordered) = mpsc::channel(HOOK_ORDERS);
    let (done, outcomes) = mpsc::channel(HOOK_ORDERS);
    (Hooks { orders, outcomes }, Worker { bpf, orders: ordered, outcomes: done })
}

impl Worker {
    /// Works until the reconciler's end is dropped. Blocks its thread.
    pub fn run(mut self) {
        while let Some(order) = self.orders.blocking_recv() {
            let attached = carry_out(&self.bpf, &order).map_err(|error| chain(&error));
            let outcome = Outcome { ifindex: order.ifindex, attached };
            if self.outcomes.blocking_send(outcome).is_err() {
                return;
            }
        }
    }
}

fn carry_out(bpf: &Bpf, order: &Order) -> Result<Attached, ebpf::Error> {
    let attached = hang(bpf, order)?;
    if order.policed && attached.for_good {
        bpf.vacate(order.ifindex)?;
    }
    Ok(attached)
}

/// Looks at the programs where they are known to hang, and hangs them where they do not, or not for good.
fn hang(bpf: &Bpf, Order { ifindex, ifname, known, haste, .. }: &Order) -> Result<Attached, ebpf::Error> {
    if !known {
        return bpf.attach(*ifindex, ifname, *haste);
    }
    match bpf.inspect(*ifindex, ifname)? {
        Some(attached) if attached.for_good || *haste == Haste::AtOnce => Ok(attached),
        Some(attached) => bpf.attach(*ifindex, ifname, Haste::ForGood).or_else(|error| {
            // What hangs there does its work; the next look tries again.
            tracing::debug!(%ifname, error = chain(&error), "programs stay as they hang");
            Ok(Attached { for_good: true, ..attached })
        }),
        None => {
            tracing::warn!(%ifname, "somebody took the guard's programs off, hanging them there again");
            bpf.attach(*ifindex, ifname, Haste::AtOnce)
        }
    }
}
