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
use crate::prefix::{Front, Marks};

/// The device's side of a ring: its memory, its indices and its doorbell. A trait so that the ring is tested without a device.
pub(crate) trait Port {
    /// Packets that the ring holds; a power of two.
    fn size(&self) -> u32;
    /// `read_dispatch_id`, with acquire order: slots below it may be reused (their packets may still be running).
    fn read_index(&self) -> u64;
    /// Writes dwords 1 to 15 of a slot. The slot belongs to the caller.
    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]);
    /// As [`Port::write_body`], with other 64-bit fields at some dwords. They are not put into a copy first: reading wide what was just
    /// written in parts waits for all earlier writes.
    #[inline]
    fn write_body_with(&self, slot: u32, dwords: &[u32; PACKET_DWORDS], fields: &[(usize, u64)]) {
        let mut dwords = *dwords;
        for &(dword, value) in fields {
            dwords[dword] = value as u32;
            dwords[dword + 1] = (value >> 32) as u32;
        }
        self.write_body(slot, &dwords);
    }
    /// Writes recorded packets into consecutive slots (without going round the end). Their first dwords are INVALID headers,
    /// as those of the slots are.
    fn write_bodies(&self, slot: u32, packets: &[Packet]) {
        for (slot, packet) in (slot..).zip(packets) {
            self.write_body(slot, packet.dwords());
        }
    }
    /// Writes dword 0 of a slot with release order: the packet is valid from then on.
    fn write_first(&self, slot: u32, dword: u32);
    /// `write_dispatch_id`, with acquire order.
    fn write_index(&self) -> u64;
    /// Moves `write_dispatch_id` from `from` to `to` with acquire and release order; otherwise returns where it is.
    fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64>;
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
    /// Slots handed to producers, which the device never sees, and slots promised: see [`Taken`].
    taken: AtomicU64,
    /// The first index.
    begin: u64,
    /// A value that the read index has reached; saves reading the real one, which lies in memory that the device writes.
    known_read: AtomicU64,
    /// Finished ranges that are not published yet.
    ready: Marks,
}

/// One word: the index of the next free slot, of which the low 44 bits are kept, and in the low 20 bits how many slots beyond it are
/// promised. One word, so that both change together.
#[derive(Clone, Copy)]
struct Taken(u64);

impl Taken {
    const PROMISED_BITS: u32 = 20;
    const PROMISED: u64 = (1 << Self::PROMISED_BITS) - 1;

    fn new(next: u64, promised: u64) -> Self {
        Self(next << Self::PROMISED_BITS | promised)
    }

    fn promised(self) -> u64 {
        self.0 & Self::PROMISED
    }

    /// The whole index, which is less than 2^43 away from `near`.
    fn next(self, near: u64) -> u64 {
        let away = (self.0 & !Self::PROMISED).wrapping_sub(near << Self::PROMISED_BITS) as i64;
        near.wrapping_add((away >> Self::PROMISED_BITS) as u64)
    }
}

impl<P: Port> Ring<P> {
    /// A ring over a queue whose indices both stand at `start`.
    pub(crate) fn new(port: P, start: u64) -> Self {
        let size = port.size();
        assert!(u64::from(size) < Taken::PROMISED, "a ring of {size} packets");
        Self {
            port,
            taken: AtomicU64::new(Taken::new(start, 0).0),
            begin: start,
            known_read: AtomicU64::new(start),
            ready: Marks::new(size as usize, start),
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

    /// Slots that producers were given so far.
    pub(crate) fn handed_out(&self) -> u64 {
        // Relaxed, both: a count, and any index that is near.
        let taken = Taken(self.taken.load(Ordering::Relaxed));
        taken.next(self.known_read.load(Ordering::Relaxed)) - self.begin
    }

    /// Index of the first packet that is not published yet.
    #[cfg(test)]
    pub(crate) fn published(&self) -> u64 {
        self.port.write_index()
    }

    /// Writes `packets` into consecutive slots and returns the index of the first. They are published now if no earlier
    /// producer is still writing, otherwise by that producer.
    #[cfg(test)]
    pub(crate) fn try_push(&self, packets: &[Packet]) -> Result<u64, Refused> {
        let count = packets.len() as u64;
        debug_assert!(count > 0);
        let start = self.reserve(count)?;
        self.fill(start, count, |slots| {
            packets.iter().enumerate().for_each(|(offset, packet)| slots.body(offset, packet));
            packets.iter().enumerate().for_each(|(offset, packet)| slots.first(offset, packet.dwords()[0]));
        });
        Ok(start)
    }

    /// Slots from `start` on, which belong to the caller, to be written: all bodies, then all first dwords.
    #[inline]
    pub(crate) fn slots(&self, start: u64) -> Slots<'_, P> {
        Slots::of(&self.port, start)
    }

    /// The caller's slots are written: publishes what is complete, with a sequentially consistent fence ([`Marks::finish`]).
    #[inline]
    pub(crate) fn publish(&self, start: u64, count: u64) {
        if let Some((_, published)) = self.ready.finish(&WriteIndex(&self.port), start, start + count) {
            self.port.ring_doorbell(published - 1);
        }
    }

    /// [`Ring::slots`] and [`Ring::publish`].
    #[inline]
    pub(crate) fn fill(&self, start: u64, count: u64, write: impl FnOnce(&Slots<'_, P>)) {
        write(&self.slots(start));
        self.publish(start, count);
    }

    /// Takes `count` consecutive slots, to be filled.
    #[inline]
    pub(crate) fn reserve(&self, count: u64) -> Result<u64, Refused> {
        self.take(count, 0)
    }

    /// Sets `count` slots aside, all or none, without saying which: they are taken later with [`Ring::reserve_promised`] or given
    /// back with [`Ring::give_back`].
    pub(crate) fn promise(&self, count: u64) -> Result<(), Refused> {
        self.take(0, count).map(drop)
    }

    /// Takes `count` consecutive slots of those that were promised to the caller.
    pub(crate) fn reserve_promised(&self, count: u64) -> u64 {
        // Acquire: pairs with the release in `take`. These need not be the slots that were free when the promise was made: whoever took
        // those found that these are free as well. The index goes up by as much as the promise goes down.
        let before =
            self.taken.fetch_add((count << Taken::PROMISED_BITS).wrapping_sub(count), Ordering::Acquire);
        debug_assert!(Taken(before).promised() >= count);
        // Relaxed: any index that is near.
        Taken(before).next(self.known_read.load(Ordering::Relaxed))
    }

    /// Gives promised slots back.
    pub(crate) fn give_back(&self, count: u64) {
        // Relaxed: only room comes of it.
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }

    #[inline]
    fn take(&self, now: u64, later: u64) -> Result<u64, Refused> {
        let size = u64::from(self.size());
        if now + later > size {
            return Err(Refused::TooLarge);
        }
        // Relaxed: the compare-exchange below decides; ownership of the slots comes from the read index.
        let mut taken = Taken(self.taken.load(Ordering::Relaxed));
        loop {
            // Acquire: pairs with the release store below, so the slots below this index are as the device left them.
            let known = self.known_read.load(Ordering::Acquire);
            let start = taken.next(known);
            let end = start + now + later + taken.promised();
            // Saturating: by the time it is read, the device may be past a `start` that other producers have moved on from.
            if end.saturating_sub(known) > size {
                let read = self.port.read_index();
                // Release: pairs with the acquire load above, in a thread that relies on our reading of the read index.
                self.known_read.fetch_max(read, Ordering::AcqRel);
                if end.saturating_sub(read) > size {
                    return Err(Refused::Full);
                }
            }
            // Release: pairs with the acquire in `reserve_promised`, whose slots are free because of what was found here. Otherwise the
            // counter only hands out ranges; what is written to them is ordered by `Marks`.
            match self.taken.compare_exchange_weak(
                taken.0,
                Taken::new(start + now, taken.promised() + later).0,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(start),
                Err(current) => taken = Taken(current),
            }
        }
    }
}

/// How far packets are published: the packet processor's own index is the front.
struct WriteIndex<'a, P>(&'a P);

impl<P: Port> Front for WriteIndex<'_, P> {
    #[inline]
    fn get(&self) -> u64 {
        self.0.write_index()
    }

    #[inline]
    fn advance(&self, from: u64, to: u64) -> bool {
        self.0.move_write_index(from, to).is_ok()
    }
}

/// Slots that belong to a producer. Offsets count from the first.
pub(crate) struct Slots<'a, P> {
    port: &'a P,
    start: u64,
    mask: u64,
}

impl<'a, P: Port> Slots<'a, P> {
    /// For slots that were reserved elsewhere.
    pub(crate) fn of(port: &'a P, start: u64) -> Self {
        Self { port, start, mask: u64::from(port.size() - 1) }
    }

    #[inline]
    fn slot(&self, offset: usize) -> u32 {
        ((self.start + offset as u64) & self.mask) as u32
    }

    /// Writes a packet, but for its first dword.
    #[inline]
    pub(crate) fn body(&self, offset: usize, packet: &Packet) {
        self.port.write_body(self.slot(offset), packet.dwords());
    }

    /// Writes a packet, but for its first dword, with other 64-bit fields at some dwords.
    #[inline]
    pub(crate) fn body_with(&self, offset: usize, packet: &Packet, fields: &[(usize, u64)]) {
        self.port.write_body_with(self.slot(offset), packet.dwords(), fields);
    }

    /// Writes recorded packets, whose first dwords are INVALID headers.
    #[inline]
    pub(crate) fn bodies(&self, offset: usize, packets: &[Packet]) {
        if packets.is_empty() {
            return;
        }
        let first = self.slot(offset);
        let until_end = (self.mask + 1) as usize - first as usize;
        let (now, after) = packets.split_at(until_end.min(packets.len()));
        self.port.write_bodies(first, now);
        if !after.is_empty() {
            self.port.write_bodies(0, after);
        }
    }

    /// Writes the first dword of a packet, after all bodies.
    #[inline]
    pub(crate) fn first(&self, offset: usize, dword: u32) {
        self.port.write_first(self.slot(offset), dword);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::packet::{Barrier, Header, PacketKind};
    use proptest::prelude::*;
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
        fn write_index(&self) -> u64 {
            self.write.load(Ordering::Acquire)
        }
        fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64> {
            self.write.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).map(drop)
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
        fn write_index(&self) -> u64 {
            0
        }
        fn move_write_index(&self, _from: u64, to: u64) -> Result<(), u64> {
            self.note(format!("write index {to}"));
            Ok(())
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

    proptest! {
        /// Slots taken, promised and given back, around the places where the packed index comes back to zero.
        #[test]
        fn slots_are_counted_right_around_the_wrap(
            lap in 0u64..4,
            before in 0u64..40,
            steps in proptest::collection::vec((0u8..5, 1u64..5), 1..60),
        ) {
            let start = (lap << 43).saturating_sub(before);
            let port = Fake::new(8);
            port.read.store(start, Ordering::Relaxed);
            let ring = Ring::new(port, start);
            let (mut next, mut promised, mut read) = (start, 0, start);
            for (step, count) in steps {
                let fits = next + promised + count <= read + 8;
                let room = if fits { Ok(()) } else { Err(Refused::Full) };
                match step {
                    0 => {
                        prop_assert_eq!(ring.reserve(count), room.map(|()| next));
                        next += if fits { count } else { 0 };
                    }
                    1 => {
                        prop_assert_eq!(ring.promise(count), room);
                        promised += if fits { count } else { 0 };
                    }
                    2 if promised >= count => {
                        prop_assert_eq!(ring.reserve_promised(count), next);
                        (next, promised) = (next + count, promised - count);
                    }
                    3 if promised >= count => {
                        ring.give_back(count);
                        promised -= count;
                    }
                    _ => {
                        read = next.min(read + count);
                        ring.port().read.store(read, Ordering::Relaxed);
                    }
                }
            }
            let taken = Taken(ring.taken.load(Ordering::Relaxed));
            prop_assert_eq!((taken.next(read), taken.promised()), (next, promised));
        }
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
