//! Frames that the guard stopped, as they happen: the one reader of the ring, and a broadcast to whoever listens.
//!
//! The kernel samples: ten a second for each endpoint. The counters are exact, the ring is for faces.

use std::os::fd::{AsRawFd, RawFd};

use ebpf::DropRing;
use ebpf::abi::Offence;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::limits::EVENTS;

/// The door: subscribe to drops.
#[derive(Clone, Debug)]
pub struct Drops(broadcast::Sender<Offence>);

/// The ring, readable as a descriptor.
struct Ring(DropRing);

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drops {
    pub fn subscribe(&self) -> broadcast::Receiver<Offence> {
        self.0.subscribe()
    }
}

/// The task that reads the ring.
pub struct Reader {
    ring: AsyncFd<Ring>,
    door: Drops,
}

impl Reader {
    /// Must be called inside the runtime.
    #[expect(
        deprecated,
        reason = "the successor is unsafe, and the ring owns its descriptor as long as this does"
    )]
    pub fn new(ring: DropRing) -> std::io::Result<(Self, Drops)> {
        let door = Drops(broadcast::channel(EVENTS).0);
        let ring = AsyncFd::with_interest(Ring(ring), Interest::READABLE)?;
        Ok((Self { ring, door: door.clone() }, door))
    }

    /// Reads until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            while let Some(offence) = self.ring.get_mut().0.next() {
                tracing::trace!(slot = offence.slot, reason = offence.reason, "frame stopped");
                // Nobody may be listening.
                self.door.0.send(offence).ok();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                ready = self.ring.readable() => if let Ok(mut guard) = ready { guard.clear_ready() },
            }
        }
    }
}
