//! The AQL ring: reservation, packet writing and publication, for any number of producers.
//!
//! The write index that the packet processor reads (`write_dispatch_id`) is moved **last**. A producer reserves slots in a
//! counter that the device never sees, writes packet bodies, then their first dwords, and marks its range as ready;
//! whoever closes the oldest gap publishes everything behind it and rings the doorbell once. So the packet processor is never
//! sent to a slot that is still being written, and no producer waits for another.
//!
//! Back-pressure: a reservation that does not fit changes nothing. Any thread may call anything here.

use crate::sync::atomic::{AtomicU64, Ordering};

use crate::packet::{PACKET_DWORDS, Packet};
use crate::prefix::Prefix;

/// The device's side of a ring: its memory, its indices and its doorbell. A trait so that the ring is tested without a device.
pub(crate) trait Port {
    /// Packets that the ring holds; a power of two.
    fn size(&self) -> u32;
    /// `read_dispatch_id`, with acquire order: slots below it may be reused (their packets may still be running).
    fn read_index(&self) -> u64;
    /// Writes dwords 1 to 15 of a slot. The slot belongs to the caller.
    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]);
    /// Writes dword 0 of a slot with release order: the packet is valid from then on.
    fn write_first(&self, slot: u32, dword: u32);
    /// Raises `write_dispatch_id` to `index` with release order, unless it is already there or beyond.
    fn raise_write_index(&self, index: u64);
    /// Rings the doorbell for the packet at `last`, after the write index.
    fn ring_doorbell(&self, last: u64);
}

/// Why packets were not accepted. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No room now.
    Full,
    /// More packets than the ring has slots.
    TooLarge,
}

pub(crate) struct Ring<P> {
    port: P,
    /// Slots handed to producers. The device never sees it.
    reserved: AtomicU64,
    /// A value that the read index has reached; saves reading the real one, which lies in memory that the device writes.
    known_read: AtomicU64,
    ready: Prefix,
}

impl<P: Port> Ring<P> {
    /// A ring over a queue whose indices both stand at `start`.
    pub(crate) fn new(port: P, start: u64) -> Self {
        let size = port.size() as usize;
        Self {
            port,
            reserved: AtomicU64::new(start),
            known_read: AtomicU64::new(start),
            ready: Prefix::new(size, start),
        }
    }

    #[cfg(test)]
    pub(crate) fn port(&self) -> &P {
        &self.port
    }

    /// Packets that the ring holds.
    pub(crate) fn size(&self) -> u32 {
        self.port.size()
    }

    /// Index of the first packet that is not published yet.
    #[cfg(test)]
    pub(crate) fn published(&self) -> u64 {
        self.ready.reached()
    }

    /// Writes `packets` into consecutive slots and returns the index of the first. They are published now if no earlier
    /// producer is still writing, otherwise by that producer.
    pub(crate) fn try_push(&self, packets: &[Packet]) -> Result<u64, Refused> {
        let count = packets.len() as u64;
        debug_assert!(count > 0);
        let start = self.reserve(count)?;
        self.fill(start, packets);
        Ok(start)
    }

    /// Writes `packets` into the slots from `start` on, which [`Ring::reserve`] gave to the caller, and publishes what is
    /// complete.
    pub(crate) fn fill(&self, start: u64, packets: &[Packet]) {
        let mask = u64::from(self.size() - 1);
        let slot = |offset: usize| ((start + offset as u64) & mask) as u32;
        for (offset, packet) in packets.iter().enumerate() {
            self.port.write_body(slot(offset), packet.dwords());
        }
        for (offset, packet) in packets.iter().enumerate() {
            self.port.write_first(slot(offset), packet.dwords()[0]);
        }
        if let Some(published) = self.ready.finish(start, start + packets.len() as u64) {
            self.port.raise_write_index(published);
            self.port.ring_doorbell(published - 1);
        }
    }

    /// Takes `count` consecutive slots, to be filled.
    pub(crate) fn reserve(&self, count: u64) -> Result<u64, Refused> {
        let size = u64::from(self.size());
        if count > size {
            return Err(Refused::TooLarge);
        }
        // Relaxed: the compare-exchange below decides; ownership of the slots comes from the read index.
        let mut start = self.reserved.load(Ordering::Relaxed);
        loop {
            // Acquire: pairs with the release store below, so the slots below this index are as the device left them.
            // Saturating: by the time it is read, the device may be past a `start` that other producers have moved on from.
            if (start + count).saturating_sub(self.known_read.load(Ordering::Acquire)) > size {
                let read = self.port.read_index();
                // Release: pairs with the acquire load above, in a thread that relies on our reading of the read index.
                self.known_read.fetch_max(read, Ordering::AcqRel);
                if (start + count).saturating_sub(read) > size {
                    return Err(Refused::Full);
                }
            }
            // Relaxed: the counter only hands out ranges; what is written to them is ordered by `Prefix`.
            match self.reserved.compare_exchange_weak(
                start,
                start + count,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(start),
                Err(current) => start = current,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::{Barrier, Header, PacketKind};
    use std::sync::atomic::{AtomicBool, AtomicU32};

    /// Ring memory and indices in plain atomics, with a consumer that checks what it is shown.
    struct Fake {
        slots: Vec<[AtomicU32; PACKET_DWORDS]>,
        read: AtomicU64,
        write: AtomicU64,
        doorbells: AtomicU64,
    }

    impl Fake {
        fn new(size: usize) -> Self {
            let slots = (0..size).map(|_| std::array::from_fn(|_| AtomicU32::new(1))).collect();
            Self { slots, read: 0.into(), write: 0.into(), doorbells: 0.into() }
        }

        /// Takes the packet at the read index, if published: its completion signal field.
        fn consume(&self) -> Option<u64> {
            let read = self.read.load(Ordering::Relaxed);
            if self.write.load(Ordering::Acquire) <= read {
                return None;
            }
            let slot = &self.slots[read as usize % self.slots.len()];
            let first = slot[0].load(Ordering::Acquire);
            assert_eq!(first & 0xff, PacketKind::BarrierAnd as u32, "published slot {read} is not valid");
            let value = u64::from(slot[14].load(Ordering::Relaxed))
                | u64::from(slot[15].load(Ordering::Relaxed)) << 32;
            slot[0].store(PacketKind::Invalid as u32, Ordering::Relaxed);
            self.read.store(read + 1, Ordering::Release);
            Some(value)
        }
    }

    impl Port for Fake {
        fn size(&self) -> u32 {
            self.slots.len() as u32
        }
        fn read_index(&self) -> u64 {
            self.read.load(Ordering::Acquire)
        }
        fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
            let slot = &self.slots[slot as usize];
            assert_eq!(slot[0].load(Ordering::Relaxed) & 0xff, 1, "body written into a slot that is in use");
            for (to, from) in slot[1..].iter().zip(&dwords[1..]) {
                to.store(*from, Ordering::Relaxed);
            }
        }
        fn write_first(&self, slot: u32, dword: u32) {
            self.slots[slot as usize][0].store(dword, Ordering::Release);
        }
        fn raise_write_index(&self, index: u64) {
            self.write.fetch_max(index, Ordering::Release);
        }
        fn ring_doorbell(&self, _last: u64) {
            self.doorbells.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn packet(value: u64) -> Packet {
        let fields = Barrier { completion_signal: value, ..Default::default() };
        Packet::barrier(Header::new(PacketKind::BarrierAnd), &fields)
    }

    #[test]
    fn a_batch_is_one_doorbell() {
        let ring = Ring::new(Fake::new(8), 0);
        let batch: Vec<Packet> = (0..8).map(packet).collect();
        assert_eq!(ring.try_push(&batch), Ok(0));
        assert_eq!(ring.port().doorbells.load(Ordering::Relaxed), 1);
        assert_eq!(ring.published(), 8);
    }

    /// Writes down what is done to it.
    #[derive(Default)]
    struct Journal(std::sync::Mutex<Vec<String>>);

    impl Journal {
        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Port for Journal {
        fn size(&self) -> u32 {
            4
        }
        fn read_index(&self) -> u64 {
            0
        }
        fn write_body(&self, slot: u32, _dwords: &[u32; PACKET_DWORDS]) {
            self.note(format!("body {slot}"));
        }
        fn write_first(&self, slot: u32, _dword: u32) {
            self.note(format!("first {slot}"));
        }
        fn raise_write_index(&self, index: u64) {
            self.note(format!("write index {index}"));
        }
        fn ring_doorbell(&self, last: u64) {
            self.note(format!("doorbell {last}"));
        }
    }

    #[test]
    fn the_write_index_moves_last_and_the_doorbell_after_it() {
        let ring = Ring::new(Journal::default(), 0);
        ring.try_push(&[packet(0), packet(1)]).unwrap();
        let journal = ring.port().0.lock().unwrap().join(", ");
        assert_eq!(journal, "body 0, body 1, first 0, first 1, write index 2, doorbell 1");
    }

    #[test]
    fn a_refused_reservation_leaks_no_slot() {
        let ring = Ring::new(Fake::new(4), 0);
        assert_eq!(ring.try_push(&[packet(0), packet(1), packet(2)]), Ok(0));
        assert_eq!(ring.try_push(&[packet(9), packet(9)]), Err(Refused::Full));
        assert_eq!(ring.try_push(&[packet(3)]), Ok(3));
        assert_eq!(ring.try_push(&[packet(9)]), Err(Refused::Full));
        assert_eq!(ring.try_push(&vec![packet(0); 5]), Err(Refused::TooLarge));
        for value in 0..4 {
            assert_eq!(ring.port().consume(), Some(value));
        }
        assert_eq!(ring.port().consume(), None);
        assert_eq!(ring.try_push(&vec![packet(0); 4]), Ok(4));
    }

    #[test]
    fn four_producers_lose_and_double_nothing() {
        const EACH: u64 = 5_000;
        let ring = Ring::new(Fake::new(16), 0);
        let stop = AtomicBool::new(false);
        let mut seen = vec![0u32; 4 * EACH as usize];
        std::thread::scope(|scope| {
            for producer in 0..4u64 {
                let ring = &ring;
                let stop = &stop;
                scope.spawn(move || {
                    let mut next = 0;
                    while next < EACH && !stop.load(Ordering::Relaxed) {
                        let count = (1 + next % 3).min(EACH - next);
                        let batch: Vec<Packet> =
                            (0..count).map(|offset| packet(producer * EACH + next + offset)).collect();
                        match ring.try_push(&batch) {
                            Ok(_) => next += count,
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                });
            }
            let mut total = 0;
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while total < 4 * EACH {
                match ring.port().consume() {
                    Some(value) => {
                        seen[value as usize] += 1;
                        total += 1;
                    }
                    None => std::thread::yield_now(),
                }
                if std::time::Instant::now() > deadline {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{total} of {} packets arrived", 4 * EACH);
                }
            }
        });
        assert!(seen.iter().all(|&count| count == 1));
    }
}
