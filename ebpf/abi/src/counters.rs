//! The counters of an endpoint.

use crate::Reason;

/// Numbers in one value of `COUNT`.
pub const COUNTERS: usize = 32;

/// Index of a counter that is not a drop reason; drops are counted under the number of their [`Reason`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Frames that the guard let pass on to the bridge.
    Passed = 0,
    /// Accelerated frames that the endpoint sent.
    AccelTxPackets = 24,
    /// Their bytes, Ethernet header included.
    AccelTxBytes = 25,
    /// Accelerated frames that the endpoint received.
    AccelRxPackets = 26,
    /// Their bytes.
    AccelRxBytes = 27,
    /// Under slot 0: facts that found the ring full.
    FactsLost = 28,
    /// Under slot 0: offences that found the ring full.
    DropsLost = 29,
}

/// The counters of one slot, summed over the CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub [u64; COUNTERS]);

impl Counters {
    /// One counter.
    pub const fn of(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Frames that the guard let pass, to the bridge or past it.
    pub const fn passed(&self) -> u64 {
        self.of(Counter::Passed).wrapping_add(self.of(Counter::AccelTxPackets))
    }

    /// Frames counted under a reason. In mode `observe` they passed all the same.
    pub const fn dropped(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// The reasons that have a count, in the order of their numbers.
    pub fn drops(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|r| (*r, self.dropped(*r))).filter(|(_, n)| *n > 0)
    }
}
