//! Lanes: small numbers by which queues tell each other apart, for as long as anything remembers them.
//!
//! Positions on a lane never repeat: each queue that gets it counts its packets from a base of its own, above all earlier ones. So what
//! somebody remembers of an earlier queue stays true and says nothing of a later one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::depend::{LANES, NO_LANE};

/// Packets that a queue can count on its lane.
const SPAN_BITS: u32 = 48;

/// The lanes of one runtime.
#[derive(Default)]
pub(crate) struct Lanes {
    queues: AtomicU64,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    taken: [bool; LANES],
    uses: [u64; LANES],
}

/// A queue's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// The queue's number, never used again.
    pub(crate) queue: u64,
    /// The lane, or [`NO_LANE`].
    pub(crate) index: u8,
    /// Its positions are its packets' indices plus this.
    pub(crate) base: u64,
}

impl Lanes {
    /// A number that is never given again.
    pub(crate) fn number(&self) -> u64 {
        // Relaxed: only a number.
        self.queues.fetch_add(1, Ordering::Relaxed)
    }

    /// A lane for a new queue; [`NO_LANE`] if all are taken.
    pub(crate) fn take(&self) -> Lane {
        let queue = self.number();
        let mut book = self.book.lock().expect("no panic while it is held");
        let free = (0..LANES).find(|&lane| !book.taken[lane] && book.uses[lane] < 1 << (64 - SPAN_BITS));
        let Some(lane) = free else { return Lane { queue, index: NO_LANE, base: 0 } };
        let base = book.uses[lane] << SPAN_BITS;
        book.taken[lane] = true;
        book.uses[lane] += 1;
        Lane { queue, index: lane as u8, base }
    }

    /// Gives a lane back, when no token of its queue is left.
    pub(crate) fn give_back(&self, lane: Lane) {
        let mut book = self.book.lock().expect("no panic while it is held");
        if let Some(taken) = book.taken.get_mut(usize::from(lane.index)) {
            *taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_used_again_has_later_positions() {
        let lanes = Lanes::default();
        let first = lanes.take();
        lanes.give_back(first);
        let second = lanes.take();
        assert_eq!((first.index, second.index), (0, 0));
        assert!(second.base >= first.base + (1 << SPAN_BITS) && first.queue != second.queue);
    }

    #[test]
    fn queues_beyond_the_last_lane_have_none() {
        let lanes = Lanes::default();
        let all: Vec<Lane> = (0..LANES).map(|_| lanes.take()).collect();
        assert!(all.iter().all(|lane| lane.index != NO_LANE));
        assert_eq!(lanes.take().index, NO_LANE);
        lanes.give_back(all[3]);
        assert_eq!(lanes.take().index, 3);
    }
}
