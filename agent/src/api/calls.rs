//! The CNI calls under way: each is a task of its own, so that it can clean up after a shim that went away.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::limits::CNI_CALLS;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The door: hands calls to the runner and counts them.
#[derive(Clone, Debug)]
pub struct Calls {
    jobs: mpsc::Sender<Job>,
    active: Arc<watch::Sender<usize>>,
}

/// The task that runs them.
#[derive(Debug)]
pub struct CallRunner {
    jobs: mpsc::Receiver<Job>,
    active: Arc<watch::Sender<usize>>,
}

impl Calls {
    pub fn new() -> (Self, CallRunner) {
        let (sender, jobs) = mpsc::channel(CNI_CALLS);
        let active = Arc::new(watch::channel(0).0);
        (Self { jobs: sender, active: Arc::clone(&active) }, CallRunner { jobs, active })
    }

    /// Runs a call to its end, whatever becomes of the caller. `false` if there are too many already.
    pub fn submit(&self, call: impl Future<Output = ()> + Send + 'static) -> bool {
        self.active.send_modify(|n| *n += 1);
        let submitted = self.jobs.try_send(Box::pin(call)).is_ok();
        if !submitted {
            self.active.send_modify(|n| *n -= 1);
        }
        submitted
    }

    /// Waits until no call is under way, at most `patience`.
    pub async fn drain(&self, patience: Duration) {
        let mut active = self.active.subscribe();
        let done = active.wait_for(|n| *n == 0);
        if tokio::time::timeout(patience, done).await.is_err() {
            tracing::warn!("calls are still under way: their endpoints are withdrawn at the next start");
        }
    }
}

impl CallRunner {
    /// Runs calls until every door is gone.
    pub async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                // What does not fit waits in the channel, and past its bound the shim is told.
                job = self.jobs.recv(), if running.len() < CNI_CALLS => match job {
                    Some(job) => drop(running.spawn(job)),
                    None => return,
                },
                Some(ended) = running.join_next() => {
                    self.active.send_modify(|n| *n -= 1);
                    if let Err(error) = ended {
                        tracing::error!(%error, "a call ended by a panic");
                    }
                }
            }
        }
    }
}
