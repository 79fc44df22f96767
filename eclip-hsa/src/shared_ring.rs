//! A ring that somebody else writes to as well: a queue of another runtime, or one that a tool intercepts.
//!
//! There can be no private counter, so slots are reserved in the write index itself, which the packet processor reads. What that loses: the
//! processor may be sent to a slot that is not written yet. It finds an INVALID header there and has to wait, as it does for HSA's own
//! samples and for HIP; AMD traced hangs of an MI300X to it (ROCm/rocm-systems issues 8856 and 9657). Back-pressure is kept: a reservation that does
//! not fit changes nothing. Any thread may call anything here.

use crate::ring::{Port, Refused, Slots};

/// See the module's text.
pub(crate) struct SharedRing<P> {
    port: P,
}

impl<P: Port> SharedRing<P> {
    pub(crate) fn new(port: P) -> Self {
        Self { port }
    }

    pub(crate) fn size(&self) -> u32 {
        self.port.size()
    }

    /// Takes `count` consecutive slots, to be filled soon: everybody's later packets wait for that.
    pub(crate) fn reserve(&self, count: u64) -> Result<u64, Refused> {
        let size = u64::from(self.size());
        if count > size {
            return Err(Refused::TooLarge);
        }
        let mut start = self.port.write_index();
        loop {
            // Saturating: the write index may be stale by now.
            if (start + count).saturating_sub(self.port.read_index()) > size {
                return Err(Refused::Full);
            }
            match self.port.move_write_index(start, start + count) {
                Ok(()) => return Ok(start),
                Err(current) => start = current,
            }
        }
    }

    /// Reserved slots from `start` on: all bodies are written, then all first dwords, with which the device may take them.
    pub(crate) fn slots(&self, start: u64) -> Slots<'_, P> {
        Slots::of(&self.port, start)
    }

    /// Rings the doorbell for slots that were written.
    pub(crate) fn publish(&self, start: u64, count: u64) {
        self.port.ring_doorbell(start + count - 1);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::{PACKET_DWORDS, Packet};
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    struct Fake {
        first: [AtomicU32; 4],
        read: AtomicU64,
        write: AtomicU64,
        rung: AtomicU64,
    }

    impl Port for Fake {
        fn size(&self) -> u32 {
            4
        }
        fn read_index(&self) -> u64 {
            self.read.load(Ordering::Acquire)
        }
        fn write_body(&self, _slot: u32, _dwords: &[u32; PACKET_DWORDS]) {}
        fn write_first(&self, slot: u32, dword: u32) {
            self.first[slot as usize].store(dword, Ordering::Release);
        }
        fn ring_doorbell(&self, last: u64) {
            self.rung.store(last, Ordering::Release);
        }
        fn write_index(&self) -> u64 {
            self.write.load(Ordering::Relaxed)
        }
        fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64> {
            self.write.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).map(drop)
        }
    }

    #[test]
    fn others_slots_are_left_alone_and_a_refusal_moves_nothing() {
        let port = Fake { first: Default::default(), read: 0.into(), write: 0.into(), rung: 99.into() };
        let ring = SharedRing::new(port);
        let theirs = ring.port.write.fetch_add(1, Ordering::Relaxed);
        assert_eq!((theirs, ring.reserve(2)), (0, Ok(1)));
        assert_eq!((ring.reserve(2), ring.reserve(5)), (Err(Refused::Full), Err(Refused::TooLarge)));
        assert_eq!(ring.port.write.load(Ordering::Relaxed), 3);
        let packet = Packet::from_dwords([0x1503; PACKET_DWORDS]);
        [0, 1].into_iter().for_each(|at| ring.slots(1).first(at, packet.dwords()[0]));
        ring.publish(1, 2);
        let firsts = ring.port.first.each_ref().map(|first| first.load(Ordering::Relaxed));
        assert_eq!((firsts, ring.port.rung.load(Ordering::Relaxed)), ([0, 0x1503, 0x1503, 0], 2));
        ring.port.read.store(3, Ordering::Relaxed);
        assert_eq!(ring.reserve(4), Ok(3));
    }
}
