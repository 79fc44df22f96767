//! How many packets a queue was given, by kind, and what was left out. Counted as they are submitted; any thread may read.

use std::fmt;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::depend::Elided;

/// Packets that a queue was given since it was created, and barriers that its submissions did not need. The difference of two is
/// what happened in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketCounts {
    /// Kernel dispatches. What another thread is submitting just then may be counted here although it is a barrier.
    pub kernels: u64,
    /// Barrier packets.
    pub barriers: u64,
    /// Packets of either kind with the barrier bit set.
    pub barrier_bits: u64,
    /// Dependencies that needed nothing: complete already.
    pub elided_complete: u64,
    /// Dependencies that needed nothing: in the same queue, with a barrier bit since.
    pub elided_epoch: u64,
    /// Dependencies that needed nothing: the queue has waited for them before, directly or through something else.
    pub elided_waited: u64,
    /// Dependencies that needed nothing: another one of the same submission proves them.
    pub elided_newest: u64,
}

impl PacketCounts {
    /// Dependencies that needed nothing, for whatever reason.
    pub fn elided(&self) -> u64 {
        self.elided_complete + self.elided_epoch + self.elided_waited + self.elided_newest
    }

    pub(crate) fn elide(&mut self, elided: &Elided) {
        self.elided_complete += elided.complete;
        self.elided_epoch += elided.epoch;
        self.elided_waited += elided.waited;
        self.elided_newest += elided.newest;
    }

    fn fields(&self) -> [u64; 7] {
        [
            self.kernels,
            self.barriers,
            self.barrier_bits,
            self.elided_complete,
            self.elided_epoch,
            self.elided_waited,
            self.elided_newest,
        ]
    }

    fn from_fields(fields: [u64; 7]) -> Self {
        let [kernels, barriers, barrier_bits, elided_complete, elided_epoch, elided_waited, elided_newest] =
            fields;
        Self { kernels, barriers, barrier_bits, elided_complete, elided_epoch, elided_waited, elided_newest }
    }
}

impl Sub for PacketCounts {
    type Output = Self;
    /// What happened in between. Where the earlier count took a barrier that was just being submitted for a kernel, and nothing else
    /// came, nothing is left.
    fn sub(self, earlier: Self) -> Self {
        let (now, then) = (self.fields(), earlier.fields());
        Self::from_fields(std::array::from_fn(|index| now[index].saturating_sub(then[index])))
    }
}

impl fmt::Display for PacketCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernels, barriers, barrier_bits, .. } = self;
        let elided = self.elided();
        write!(f, "{kernels} kernels, {barriers} barriers, {barrier_bits} barrier bits, {elided} elided")
    }
}

/// The counters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 7]);

impl Counters {
    /// Counts a submission.
    #[inline]
    pub(crate) fn add(&self, count: &PacketCounts) {
        for (counter, by) in self.0.iter().zip(count.fields()) {
            if by > 0 {
                // Relaxed: only a count.
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    /// The counts now. A submission in progress may be seen in part.
    pub(crate) fn read(&self) -> PacketCounts {
        // Relaxed: only counts.
        PacketCounts::from_fields(self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed)))
    }
}
