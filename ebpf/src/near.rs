//! The copies that the programs find without hashing, see `ebpf_abi::NearPort`.
//!
//! The hash maps are the truth. A copy is taken away before its entry changes and put back afterwards, so a crash in
//! between leaves a copy missing; [`Near::mend`] puts it back when the maps are opened again.

use aya::Ebpf;
use ebpf_abi::{NearLocal, NearPort, maps};

use crate::{Error, raw::Plain, table::Cells};

/// An entry that knows its place.
pub(crate) trait Placed: Plain + PartialEq {
    /// Nobody's entry.
    const NONE: Self;
    /// The index of the cell where it may stand.
    fn place(&self) -> u32;
    /// Whether both have the same key.
    fn is_of(&self, other: &Self) -> bool;
}

impl Placed for NearPort {
    const NONE: Self = Self::NONE;

    fn place(&self) -> u32 {
        Self::place(self.ifindex)
    }

    fn is_of(&self, other: &Self) -> bool {
        self.ifindex == other.ifindex
    }
}

impl Placed for NearLocal {
    const NONE: Self = Self::NONE;

    fn place(&self) -> u32 {
        Self::place(self.mac)
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.mac, self.segment) == (other.mac, other.segment)
    }
}

/// An array of copies.
pub(crate) struct Near<V: Placed>(Cells<V>);

impl<V: Placed> Near<V> {
    pub(crate) fn take(object: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        Cells::take(object, name).map(Self)
    }

    /// Puts an entry into its place if nobody is there. A reader on another CPU may see it half written, which is an
    /// entry of the same key with nothing allowed: the place was empty before.
    pub(crate) fn put(&mut self, entry: V) -> Result<(), Error> {
        if self.0.one(entry.place())? == V::NONE { self.0.set(entry.place(), entry) } else { Ok(()) }
    }

    /// Empties the place of the entry with this key.
    pub(crate) fn withdraw(&mut self, key: &V) -> Result<(), Error> {
        if self.0.one(key.place())?.is_of(key) { self.0.set(key.place(), V::NONE) } else { Ok(()) }
    }

    /// Makes the array hold entries of `truth` and no others.
    pub(crate) fn mend(&mut self, truth: &[V]) -> Result<(), Error> {
        for place in 0..maps::PLACES {
            let found = self.0.one(place)?;
            if found != V::NONE && !truth.contains(&found) {
                self.0.set(place, V::NONE)?;
            }
        }
        truth.iter().try_for_each(|entry| self.put(*entry))
    }
}
