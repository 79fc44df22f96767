//! The ring of a queue: our own, or one that others write to as well.

use std::sync::atomic::{Ordering, fence};

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

    /// Reserved slots from `start` on, to be written: all bodies, then all first dwords.
    #[inline]
    pub(crate) fn slots(&self, start: u64) -> Slots<'_, HsaPort> {
        match self {
            Self::Own(ring) => ring.slots(start),
            Self::Shared(ring) => ring.slots(start),
        }
    }

    /// Shows slots that were written to the device. A sequentially consistent fence lies between what the caller did before and what he does
    /// afterwards.
    #[inline]
    pub(crate) fn publish(&self, start: u64, count: u64) {
        match self {
            Self::Own(ring) => ring.publish(start, count),
            Self::Shared(ring) => {
                ring.publish(start, count);
                fence(Ordering::SeqCst);
            }
        }
    }
}
