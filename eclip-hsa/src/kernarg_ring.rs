//! Space for kernel arguments: offsets into one block of kernarg memory, handed out in order and reclaimed in order.
//!
//! A submission takes one contiguous range for all its kernels before it reserves ring slots, and gives it back when its work is
//! complete (a freed ring slot says nothing about that). Ranges come back in any order; the space is reused up to the
//! oldest one still in use. Offsets only: the memory belongs to the queue. Any thread may call anything; nobody waits.

use crate::sync::atomic::{AtomicU64, Ordering};

use crate::prefix::Prefix;

/// Kernargs are handed out in units of this many bytes: a cache line, and at least the alignment that HSA asks for (16).
pub(crate) const UNIT: u64 = 64;

/// A range in use: give it back with [`KernargRing::release`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernargRange {
    start: u64,
    end: u64,
    /// Byte offset of the range's first usable byte in the block.
    pub(crate) offset: usize,
}

pub(crate) struct KernargRing {
    next: AtomicU64,
    returned: Prefix,
}

impl KernargRing {
    /// A ring over a block of `bytes`, a power of two of at least one unit.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { next: AtomicU64::new(0), returned: Prefix::new(bytes / UNIT as usize, 0) }
    }

    /// The most that one range can hold: half the block, because a range that does not fit before the end of the block skips
    /// what is left there, and must still fit once everything has come back.
    pub(crate) fn largest(&self) -> u64 {
        self.returned.capacity() / 2 * UNIT
    }

    /// Takes `bytes` (at least 1) of contiguous space, aligned to 64 bytes; `None` if that much is not free now, or
    /// ever (see [`KernargRing::largest`]).
    pub(crate) fn alloc(&self, bytes: u64) -> Option<KernargRange> {
        let capacity = self.returned.capacity();
        let units = bytes.max(1).div_ceil(UNIT);
        if units > capacity / 2 {
            return None;
        }
        // Relaxed: the compare-exchange decides; that the space is free comes from `reached`, which acquires.
        let mut start = self.next.load(Ordering::Relaxed);
        loop {
            let place = start % capacity;
            let skip = if place + units > capacity { capacity - place } else { 0 };
            let end = start + skip + units;
            if end.saturating_sub(self.returned.reached()) > capacity {
                return None;
            }
            // Relaxed: hands out ranges and publishes nothing.
            match self.next.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let offset = ((start + skip) % capacity * UNIT) as usize;
                    return Some(KernargRange { start, end, offset });
                }
                Err(current) => start = current,
            }
        }
    }

    /// Gives a range back.
    pub(crate) fn release(&self, range: KernargRange) {
        self.returned.finish(range.start, range.end);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_never_wraps() {
        let ring = KernargRing::new(8 * UNIT as usize);
        ring.release(ring.alloc(3 * UNIT).unwrap());
        ring.release(ring.alloc(3 * UNIT).unwrap());
        let second = ring.alloc(4 * UNIT).unwrap();
        assert_eq!(second.offset, 0, "four units do not fit in the two that are left before the end");
        assert!(ring.alloc(3 * UNIT).is_none(), "the skipped units are in use until the range comes back");
        ring.release(second);
        assert!(ring.alloc(4 * UNIT).is_some());
    }

    #[test]
    fn too_much_is_refused() {
        let ring = KernargRing::new(4 * UNIT as usize);
        assert_eq!(ring.largest(), 2 * UNIT);
        assert!(ring.alloc(ring.largest() + 1).is_none());
        assert!(ring.alloc(ring.largest()).is_some());
    }

    proptest! {
        #[test]
        fn ranges_in_use_never_overlap(steps in proptest::collection::vec((1u64..700, any::<bool>(), any::<u8>()), 1..300)) {
            let ring = KernargRing::new(2048);
            let mut used: Vec<(KernargRange, u64)> = Vec::new();
            for (bytes, give_back, which) in steps {
                if give_back && !used.is_empty() {
                    let (range, _) = used.swap_remove(usize::from(which) % used.len());
                    ring.release(range);
                } else if let Some(range) = ring.alloc(bytes) {
                    let (start, end) = (range.offset as u64, range.offset as u64 + bytes);
                    prop_assert!(start % UNIT == 0 && end <= 2048);
                    for (other, length) in &used {
                        prop_assert!(end <= other.offset as u64 || start >= other.offset as u64 + length);
                    }
                    used.push((range, bytes));
                }
            }
            used.drain(..).for_each(|(range, _)| ring.release(range));
            prop_assert!(ring.alloc(1024).is_some(), "everything came back");
        }
    }
}
