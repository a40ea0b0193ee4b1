//! The two rings in which the kernel speaks up: facts about addresses, and dropped frames.
//!
//! Each is one descriptor that becomes readable when a record is there (epoll; it never needs a read).
//! A record stays in the ring until *someone* reads it, also over a restart of the agent; there must be
//! one reader only, since readers share one position.

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{MapData, RingBuf};
use ebpf_abi::{Fact, Offence};

use crate::raw::Plain;

/// The ring of claims on watched addresses.
pub struct FactRing(Ring<Fact>);

/// The ring of dropped frames, at most ten a second for each endpoint.
pub struct DropRing(Ring<Offence>);

macro_rules! ring {
    ($ring:ident, $record:ident) => {
        impl $ring {
            pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
                Self(Ring { ring, _record: std::marker::PhantomData })
            }

            /// The next record, or `None` when the ring is empty for now.
            #[expect(clippy::should_implement_trait, reason = "an empty ring is not the end: no iterator")]
            pub fn next(&mut self) -> Option<$record> {
                self.0.next()
            }
        }

        impl AsRawFd for $ring {
            fn as_raw_fd(&self) -> RawFd {
                self.0.ring.as_raw_fd()
            }
        }
    };
}

ring!(FactRing, Fact);
ring!(DropRing, Offence);

struct Ring<T> {
    ring: RingBuf<MapData>,
    _record: std::marker::PhantomData<T>,
}

impl<T: Plain> Ring<T> {
    fn next(&mut self) -> Option<T> {
        // A record of another size cannot come from our programs, since the layout is part of the pin
        // path; it is skipped rather than taken for the end.
        while let Some(item) = self.ring.next() {
            if let Ok(record) = T::read_from_bytes(&item) {
                return Some(record);
            }
        }
        None
    }
}
