//! How many packets a queue was given, by kind. Counted as they are published; any thread may read.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::packet::{Packet, PacketKind};

/// Packets that a queue was given since it was created. The difference of two is what happened in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketCounts {
    /// Kernel dispatches.
    pub kernels: u64,
    /// Barrier packets.
    pub barriers: u64,
    /// Packets of either kind with the barrier bit set.
    pub barrier_bits: u64,
}

impl Sub for PacketCounts {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            kernels: self.kernels - earlier.kernels,
            barriers: self.barriers - earlier.barriers,
            barrier_bits: self.barrier_bits - earlier.barrier_bits,
        }
    }
}

/// The counters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    kernels: AtomicU64,
    barriers: AtomicU64,
    barrier_bits: AtomicU64,
}

impl Counters {
    /// Counts packets that were published.
    pub(crate) fn add(&self, packets: &[Packet]) {
        let mut count = PacketCounts::default();
        for header in packets.iter().filter_map(Packet::header) {
            match header.kind {
                PacketKind::KernelDispatch => count.kernels += 1,
                _ => count.barriers += 1,
            }
            count.barrier_bits += u64::from(header.barrier);
        }
        for (counter, by) in [
            (&self.kernels, count.kernels),
            (&self.barriers, count.barriers),
            (&self.barrier_bits, count.barrier_bits),
        ] {
            if by > 0 {
                // Relaxed: only a count.
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    /// The counts now.
    pub(crate) fn read(&self) -> PacketCounts {
        // Relaxed: only counts; a submission in progress may be seen in part.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PacketCounts {
            kernels: read(&self.kernels),
            barriers: read(&self.barriers),
            barrier_bits: read(&self.barrier_bits),
        }
    }
}
