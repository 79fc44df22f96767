//! Free slot numbers, last in first out: the slot that was used last is the one whose memory and signal are warm, and only as many are ever
//! touched as are in use at once.
//!
//! A stack whose links are numbers. Any thread may call anything; nobody waits.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const NONE: u32 = u32::MAX;

/// See the module's text.
pub(crate) struct FreeList {
    /// Top of the stack in the low half. The high half moves with every change, so a top that went and came back is noticed
    /// (within 2^32 changes during one pop).
    top: AtomicU64,
    next: Box<[AtomicU32]>,
}

impl FreeList {
    /// An empty list of numbers below `capacity`.
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            top: AtomicU64::new(u64::from(NONE)),
            next: (0..capacity).map(|_| AtomicU32::new(NONE)).collect(),
        }
    }

    /// Adds a number, which must not be in the list.
    pub(crate) fn push(&self, index: u32) {
        // Relaxed: the compare-exchange decides.
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the release below.
            self.next[index as usize].store(top as u32, Ordering::Relaxed);
            // Release: pairs with the acquire in `pop`; the link and all that was done to the slot are visible.
            match self.top.compare_exchange_weak(
                top,
                changed(top, index),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(current) => top = current,
            }
        }
    }

    /// Takes the number that was added last.
    pub(crate) fn pop(&self) -> Option<u32> {
        // Acquire: pairs with the release in `push`.
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let index = top as u32;
            if index == NONE {
                return None;
            }
            // Relaxed: if another thread has taken the number meanwhile, the link may be new, and the exchange fails.
            let next = self.next[index as usize].load(Ordering::Relaxed);
            // Acquire: as above. Release is not needed to pass on earlier pushes: a compare-exchange continues their release sequence.
            match self.top.compare_exchange_weak(
                top,
                changed(top, next),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(index),
                Err(current) => top = current,
            }
        }
    }
}

fn changed(top: u64, index: u32) -> u64 {
    ((top >> 32) + 1) << 32 | u64::from(index)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_in_is_the_first_one_out() {
        let list = FreeList::new(3);
        assert_eq!(list.pop(), None);
        for index in [2, 0, 1] {
            list.push(index);
        }
        assert_eq!([list.pop(), list.pop(), list.pop(), list.pop()], [Some(1), Some(0), Some(2), None]);
    }

    #[test]
    fn threads_never_get_the_same_number() {
        let list = FreeList::new(4);
        (0..4).for_each(|index| list.push(index));
        let taken: [AtomicU32; 4] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        if let Some(index) = list.pop() {
                            assert_eq!(taken[index as usize].swap(1, Ordering::Relaxed), 0);
                            taken[index as usize].store(0, Ordering::Relaxed);
                            list.push(index);
                        }
                    }
                });
            }
        });
        let mut all: Vec<u32> = std::iter::from_fn(|| list.pop()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }
}
