//! What a queue knows, shared: its clock and its newest barrier bit, read and raised by many producers.
//!
//! Everything here is a fact about whatever is submitted *after* it was read: a producer that makes something true (its packets wait for
//! something) writes it down after it has reserved its slots, and a producer that uses it has read it before it reserves its own, which are
//! therefore behind. Facts never become false, so a write that is lost between two producers only costs a barrier.

use crate::depend::{Clock, Known, LANES};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// See the module's text.
#[derive(Default)]
pub(crate) struct SharedClock {
    used: AtomicU32,
    below: [AtomicU64; LANES],
    next: [AtomicU64; LANES],
    barrier: AtomicU64,
}

impl SharedClock {
    /// What is known now.
    #[cfg(test)]
    pub(crate) fn now(&self) -> Clock {
        let mut clock = Clock::default();
        self.load(&mut clock);
        clock
    }

    /// Whether anything is known.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: as in `load`.
        self.used.load(Ordering::Acquire) == 0
    }

    /// Adds what is known now to `clock`.
    #[inline]
    pub(crate) fn load(&self, clock: &mut Clock) {
        // Acquire, everywhere here: pairs with the releases below. Who made the fact true reserved its slots before, and the reservation
        // of whoever reads it comes later.
        let mut used = self.used.load(Ordering::Acquire);
        while used != 0 {
            let lane = used.trailing_zeros() as u8;
            used &= used - 1;
            let [below, next] =
                [&self.below, &self.next].map(|known| known[usize::from(lane)].load(Ordering::Acquire));
            clock.raise(lane, Known { below, next });
        }
    }

    /// Adds what a submission waits for. Call after its slots were reserved.
    pub(crate) fn learn(&self, clock: &Clock) {
        clock.lanes().for_each(|(lane, known)| self.learn_one(lane, known));
    }

    /// As [`SharedClock::learn`], of one lane.
    pub(crate) fn learn_one(&self, lane: u8, known: Known) {
        let (Some(below), Some(next)) = (self.below.get(usize::from(lane)), self.next.get(usize::from(lane)))
        else {
            return;
        };
        raise(below, known.below);
        raise(next, known.next);
        // Relaxed load: a lane that is missing is only forgotten. Release: as above.
        if self.used.load(Ordering::Relaxed) & 1 << lane == 0 {
            self.used.fetch_or(1 << lane, Ordering::Release);
        }
    }

    /// Everything below this position of the queue itself is complete: see [`crate::depend::View`].
    #[inline]
    pub(crate) fn barrier(&self) -> u64 {
        // Acquire: as in `load`.
        self.barrier.load(Ordering::Acquire)
    }

    /// Everything below `position` is complete before what comes later starts. Call after the slots of the packet that makes it so were reserved.
    #[inline]
    pub(crate) fn raise_barrier(&self, position: u64) {
        raise(&self.barrier, position);
    }
}

#[inline]
fn raise(word: &AtomicU64, to: u64) {
    // Relaxed load: a smaller value that wins against a larger one is still true.
    if word.load(Ordering::Relaxed) < to {
        // Release: pairs with the acquires above.
        word.store(to, Ordering::Release);
    }
}
