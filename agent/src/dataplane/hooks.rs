//! Hanging the programs on host veths and uplinks, on a thread of its own.
//!
//! The kernel hangs a TCX program under its RTNL lock and waits for an RCU grace period before it lets go
//! (`tcx_link_attach`; measured 12 ms for each program, 6.18). Whoever asks for that in a pass would hold up every other
//! endpoint, and on a worker of the runtime every other task; Open vSwitch waits for the same lock. So the reconciler
//! sends orders and takes outcomes, as with any other fact, and leaves TCX for quiet moments.
//!
//! This module knows no endpoints, only interfaces; what an outcome means is the reconciler's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ebpf_abi::Uplink;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bpf::{Attached, Bpf, Haste};
use crate::limits::{HOOK_ORDERS, HOOKS_PATIENCE};
use crate::report::chain;

/// What the thread is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Pod(PodOrder),
    Uplink(UplinkOrder),
}

/// A host end to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodOrder {
    pub ifindex: u32,
    pub ifname: String,
    /// The programs are believed to hang there: they are hung again only if they do not.
    pub known: bool,
    pub haste: Haste,
    /// Open vSwitch is to police the port, and a clsact qdisc would be in its way.
    pub policed: bool,
}

/// A physical member of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkOrder {
    pub ifindex: u32,
    pub ifname: String,
    /// What its program has to know; `None`: the program is to be taken off.
    pub uplink: Option<Uplink>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// How the programs hang on a host end, or why they do not.
    Pod {
        ifindex: u32,
        attached: Result<Attached, String>,
    },
    Uplink {
        order: UplinkOrder,
        done: Result<(), String>,
    },
}

/// The reconciler's end.
pub struct Hooks {
    /// `None` once no more orders are taken.
    orders: Option<mpsc::Sender<Order>>,
    pub outcomes: mpsc::Receiver<Outcome>,
    is_over: Arc<AtomicBool>,
}

impl Hooks {
    /// Gives an order. `false`: too many wait, ask again later.
    pub fn ask(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok())
    }

    /// Takes no more orders, forgets those that wait and waits for the one under way. `false`: it takes too long, and
    /// programs may still be hung.
    pub async fn end(&mut self) -> bool {
        self.end_within(HOOKS_PATIENCE).await
    }

    async fn end_within(&mut self, patience: Duration) -> bool {
        self.is_over.store(true, Ordering::Release);
        self.orders = None;
        let last = async { while self.outcomes.recv().await.is_some() {} };
        timeout(patience, last).await.is_ok()
    }
}

/// The thread's end.
pub struct Worker {
    carry_out: Box<dyn Fn(Order) -> Outcome + Send>,
    orders: mpsc::Receiver<Order>,
    outcomes: mpsc::Sender<Outcome>,
    is_over: Arc<AtomicBool>,
}

/// Both ends.
pub fn new(bpf: Arc<Bpf>) -> (Hooks, Worker) {
    ends(move |order| carry_out(&bpf, order))
}

fn ends(carry_out: impl Fn(Order) -> Outcome + Send + 'static) -> (Hooks, Worker) {
    let (orders, ordered) = mpsc::channel(HOOK_ORDERS);
    let (done, outcomes) = mpsc::channel(HOOK_ORDERS);
    let is_over = Arc::new(AtomicBool::new(false));
    let hooks = Hooks { orders: Some(orders), outcomes, is_over: Arc::clone(&is_over) };
    (hooks, Worker { carry_out: Box::new(carry_out), orders: ordered, outcomes: done, is_over })
}

impl Worker {
    /// Works until the reconciler's end is dropped or takes no more orders. Blocks its thread.
    pub fn run(mut self) {
        while let Some(order) = self.orders.blocking_recv() {
            if self.is_over.load(Ordering::Acquire)
                || self.outcomes.blocking_send((self.carry_out)(order)).is_err()
            {
                return;
            }
        }
    }
}

fn carry_out(bpf: &Bpf, order: Order) -> Outcome {
    match order {
        Order::Pod(order) => {
            let attached = guard(bpf, &order).map_err(|error| chain(&error));
            Outcome::Pod { ifindex: order.ifindex, attached }
        }
        Order::Uplink(order) => {
            let done = match order.uplink {
                Some(uplink) => bpf.attach_uplink(order.ifindex, &order.ifname, uplink),
                None => bpf.detach_uplink(order.ifindex),
            };
            Outcome::Uplink { order, done: done.map_err(|error| chain(&error)) }
        }
    }
}

fn guard(bpf: &Bpf, order: &PodOrder) -> Result<Attached, ebpf::Error> {
    let attached = hang(bpf, order)?;
    if order.policed && attached.for_good {
        bpf.vacate(order.ifindex)?;
    }
    Ok(attached)
}

/// Looks at the programs where they are known to hang, and hangs them where they do not, or not for good.
fn hang(
    bpf: &Bpf,
    PodOrder { ifindex, ifname, known, haste, .. }: &PodOrder,
) -> Result<Attached, ebpf::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as std_mpsc;
    use std::thread;

    fn uplink(ifindex: u32) -> Order {
        Order::Uplink(UplinkOrder { ifindex, ifname: String::new(), uplink: None })
    }

    /// Both ends of a worker that tells what it begins and goes on when it may.
    fn slow() -> (Hooks, Worker, std_mpsc::Receiver<u32>, std_mpsc::Sender<()>) {
        let ((began, begins), (go, may_go)) = (std_mpsc::channel(), std_mpsc::channel());
        let (hooks, worker) = ends(move |order| {
            let Order::Uplink(order) = order else { panic!("{order:?}") };
            began.send(order.ifindex).unwrap();
            may_go.recv().unwrap();
            Outcome::Uplink { order, done: Ok(()) }
        });
        (hooks, worker, begins, go)
    }

    #[tokio::test]
    async fn who_ends_the_thread_waits_for_the_order_under_way_and_for_no_other() {
        let (mut hooks, worker, begins, go) = slow();
        assert!([1, 2, 3].into_iter().all(|ifindex| hooks.ask(uplink(ifindex))));
        let thread = thread::spawn(|| worker.run());
        assert_eq!(begins.recv_timeout(HOOKS_PATIENCE), Ok(1));
        let mut end = Box::pin(hooks.end());
        assert!(futures::poll!(&mut end).is_pending(), "the first one is under way");
        go.send(()).unwrap();
        assert!(end.await);
        thread.join().unwrap();
        assert!(begins.try_recv().is_err(), "the others are forgotten");
        assert!(!hooks.ask(uplink(4)));
    }

    #[tokio::test]
    async fn an_order_that_does_not_end_is_told() {
        let (mut hooks, worker, begins, go) = slow();
        assert!(hooks.ask(uplink(1)));
        let thread = thread::spawn(|| worker.run());
        assert_eq!(begins.recv_timeout(HOOKS_PATIENCE), Ok(1));
        assert!(!hooks.end_within(Duration::from_millis(20)).await);
        go.send(()).unwrap();
        thread.join().unwrap();
    }
}
