//! Slots: small numbers for endpoints, handed out least recently used.
//!
//! A slot that was just freed is the last to be used again, so that a late packet or a counter read by a slow
//! client is not booked on a stranger; the generation tells the two apart where it happens all the same.

use std::collections::VecDeque;

use crate::model::Slot;

#[derive(Debug)]
pub(super) struct Slots {
    free: VecDeque<u32>,
    next_generation: u32,
    capacity: u32,
}

impl Slots {
    /// Slots 1 to `capacity`, without those in use. Slot 0 belongs to the shared flows.
    pub(super) fn new(capacity: u32, used: &[Slot]) -> Self {
        let taken: std::collections::BTreeSet<u32> = used.iter().map(|s| s.index).collect();
        let free = (1..=capacity).filter(|index| !taken.contains(index)).collect();
        let next_generation = used.iter().map(|s| s.generation).max().unwrap_or(0).wrapping_add(1);
        Self { free, next_generation, capacity }
    }

    pub(super) fn take(&mut self) -> Option<Slot> {
        let index = self.free.pop_front()?;
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1).max(1);
        Some(Slot { index, generation })
    }

    /// Takes this very slot, if nobody has it.
    pub(super) fn claim(&mut self, slot: Slot) -> bool {
        let Some(at) = self.free.iter().position(|index| *index == slot.index) else { return false };
        self.free.remove(at);
        self.next_generation = self.next_generation.max(slot.generation.wrapping_add(1));
        true
    }

    pub(super) fn give_back(&mut self, slot: Slot) {
        // A configuration may have shrunk since the slot was handed out.
        if slot.index <= self.capacity {
            self.free.push_back(slot.index);
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_comes_last_and_with_a_new_generation() {
        let mut slots = Slots::new(3, &[]);
        let first = slots.take().unwrap();
        slots.give_back(first);
        let order: Vec<_> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(order.iter().map(|s| s.index).collect::<Vec<_>>(), [2, 3, 1]);
        assert!(order[2].generation > first.generation);
    }

    #[test]
    fn a_slot_that_is_free_can_be_claimed_once() {
        let mut slots = Slots::new(3, &[]);
        let mine = Slot { index: 2, generation: 9 };
        assert!(slots.claim(mine) && !slots.claim(mine) && !slots.claim(Slot { index: 4, generation: 1 }));
        assert_eq!(slots.take(), Some(Slot { index: 1, generation: 10 }));
        assert_eq!(slots.take().map(|s| s.index), Some(3));
    }

    #[test]
    fn slots_in_use_at_start_are_not_handed_out() {
        let mut slots = Slots::new(2, &[Slot { index: 1, generation: 7 }]);
        assert_eq!(slots.take(), Some(Slot { index: 2, generation: 8 }));
        assert_eq!(slots.take(), None);
    }
}
