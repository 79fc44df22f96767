//! The ring of a queue: our own, or one that others write to as well.

use crate::port::HsaPort;
use crate::ring::{Refused, Ring, Slots};
use crate::shared_ring::SharedRing;

/// Who owns the packet slots decides how they are reserved and published: it is a property of the queue.
pub(crate) enum PacketRing {
    /// Only we write to it.
    Own(Ring<HsaPort>),
    /// Others reserve slots in it, too.
    Shared(SharedRing<HsaPort>),
}

impl PacketRing {
    pub(crate) fn size(&self) -> u32 {
        match self {
            Self::Own(ring) => ring.size(),
            Self::Shared(ring) => ring.size(),
        }
    }

    /// Takes consecutive slots, to be filled.
    #[inline]
    pub(crate) fn reserve(&self, count: u64) -> Result<u64, Refused> {
        match self {
            Self::Own(ring) => ring.reserve(count),
            Self::Shared(ring) => ring.reserve(count),
        }
    }

    /// Lets `write` write the slots from `start` on, and shows them to the device.
    #[inline]
    pub(crate) fn fill(&self, start: u64, count: u64, write: impl FnOnce(&Slots<'_, HsaPort>)) {
        match self {
            Self::Own(ring) => ring.fill(start, count, write),
            Self::Shared(ring) => ring.fill(start, count, write),
        }
    }
}
