//! How far an unbroken prefix reaches when ranges of a circular index space finish out of order.
//!
//! Two things need this: publication of AQL packets (the packet processor must never be sent past a slot that is still being
//! written) and reclamation of kernargs (space is reused in the order in which it was handed out). Any thread may finish its
//! range at any time and none waits for another: whoever closes the oldest gap moves the prefix over everything that is
//! finished behind it, and learns how far.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fence_after_rmw;

/// Where the prefix ends. For publication this is the index that the packet processor reads.
pub(crate) trait Front {
    /// Where it is, with acquire order: what was done to the ranges below it is visible.
    fn get(&self) -> u64;
    /// Moves it if it is at `from`, with acquire and release order, by one read-modify-write.
    fn advance(&self, from: u64, to: u64) -> bool;
}

impl Front for AtomicU64 {
    #[inline]
    fn get(&self) -> u64 {
        // Acquire: pairs with the release in `advance`.
        self.load(Ordering::Acquire)
    }

    #[inline]
    fn advance(&self, from: u64, to: u64) -> bool {
        // Release: whoever reads the new prefix sees all that was done to the ranges below it; acquire: takes over that duty.
        self.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// Which ranges behind the front are finished. Indices grow without bound; `index % capacity` is the place.
pub(crate) struct Marks {
    /// `ends[start % capacity]` is the end of the finished range that begins at `start`. Entries of earlier laps are
    /// smaller than any index that can look at them, so they need no clearing.
    ends: Box<[AtomicU64]>,
}

impl Marks {
    /// Nothing finished yet; indices begin at `start`. `capacity` must be a power of two.
    pub(crate) fn new(capacity: usize, start: u64) -> Self {
        assert!(capacity.is_power_of_two());
        Self { ends: (0..capacity).map(|_| AtomicU64::new(start)).collect() }
    }

    /// Marks `start..end` as finished. If this call moved the front, returns from where and to where. In any case a sequentially consistent fence
    /// lies between what the caller did before and what he does afterwards.
    ///
    /// The caller must own the range, and it must lie within the capacity of the front.
    #[inline]
    pub(crate) fn finish(&self, front: &impl Front, start: u64, end: u64) -> Option<(u64, u64)> {
        debug_assert!(end > start && end.saturating_sub(front.get()) <= self.ends.len() as u64);
        // Two threads that finish neighbouring ranges each change one word and then read the other's: the older range's thread moves
        // the front and reads the younger one's mark, the younger one's stores its mark and reads the front. Both changes
        // are read-modify-writes with a SeqCst fence behind, so at least one of the two sees the other's; otherwise the prefix could stop short
        // of finished work. Pairs with itself in the other thread.
        //
        // The oldest range needs no mark.
        if front.advance(start, end) {
            fence_after_rmw();
            let further = if self.marked_from(end) > end { self.follow(front) } else { None };
            return Some((start, further.map_or(end, |(_, to)| to)));
        }
        // Release: pairs with the loads of marks in `marked_from`, in whichever thread moves the front over this range.
        self.place(start).swap(end, Ordering::SeqCst);
        fence_after_rmw();
        self.follow(front)
    }

    /// How far the marks reach from an index on.
    #[inline]
    fn marked_from(&self, from: u64) -> u64 {
        let mut to = from;
        loop {
            // Acquire: pairs with the release of the mark.
            let next = self.place(to).load(Ordering::Acquire);
            if next <= to {
                return to;
            }
            to = next;
        }
    }

    /// Moves the front over everything that is marked.
    #[cold]
    fn follow(&self, front: &impl Front) -> Option<(u64, u64)> {
        loop {
            let from = front.get();
            let to = self.marked_from(from);
            if to == from {
                return None;
            }
            // On failure somebody else has moved it: look again.
            if front.advance(from, to) {
                return Some((from, to));
            }
        }
    }

    fn place(&self, index: u64) -> &AtomicU64 {
        &self.ends[index as usize & (self.ends.len() - 1)]
    }
}

/// Marks with a front of their own.
pub(crate) struct Prefix {
    marks: Marks,
    reached: AtomicU64,
}

impl Prefix {
    /// As [`Marks::new`].
    pub(crate) fn new(capacity: usize, start: u64) -> Self {
        Self { marks: Marks::new(capacity, start), reached: AtomicU64::new(start) }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.marks.ends.len() as u64
    }

    /// Every index below this is finished.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.get()
    }

    /// As [`Marks::finish`].
    #[inline]
    pub(crate) fn finish(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.marks.finish(&self.reached, start, end)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_gap_decides() {
        let prefix = Prefix::new(8, 0);
        assert_eq!(prefix.finish(2, 3), None);
        assert_eq!(prefix.finish(3, 6), None);
        assert_eq!(prefix.finish(0, 2), Some((0, 6)));
        assert_eq!(prefix.reached(), 6);
    }

    #[test]
    fn laps_do_not_confuse_it() {
        let prefix = Prefix::new(4, 0);
        for lap in 0..10 {
            let base = lap * 4;
            assert_eq!(prefix.finish(base + 1, base + 4), None);
            assert_eq!(prefix.finish(base, base + 1), Some((base, base + 4)));
        }
    }

    proptest! {
        #[test]
        fn any_order_ends_complete(lengths in proptest::collection::vec(1u64..5, 1..12), seed: u64) {
            let prefix = Prefix::new(64, 0);
            let mut ranges = Vec::new();
            let mut end = 0;
            for length in lengths {
                ranges.push((end, end + length));
                end += length;
            }
            let mut rest = ranges;
            let mut state = seed;
            let mut last = 0;
            while !rest.is_empty() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (start, stop) = rest.swap_remove((state >> 33) as usize % rest.len());
                if let Some((from, reached)) = prefix.finish(start, stop) {
                    prop_assert!(reached > last && from == last);
                    last = reached;
                }
                let expected = rest.iter().map(|range| range.0).min().unwrap_or(end);
                prop_assert_eq!(prefix.reached(), expected);
            }
        }
    }

    #[test]
    fn threads_never_leave_a_finished_range_behind() {
        const RANGES: u64 = 20_000;
        let prefix = Prefix::new(1 << 15, 0);
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let start = next.fetch_add(1, Ordering::Relaxed);
                        if start >= RANGES {
                            break;
                        }
                        prefix.finish(start, start + 1);
                    }
                });
            }
        });
        assert_eq!(prefix.reached(), RANGES);
    }
}
