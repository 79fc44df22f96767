//! A ring over plain memory, without a runtime or a device: for benchmarks and instruction counts.
//!
//! Not part of the library's interface: hidden, and free to change. One thread.

use std::cell::UnsafeCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::packet::{PACKET_DWORDS, Packet};
use crate::ring::{Port, Ring};

/// A ring whose packet processor is [`PlainRing::consume_all`].
pub struct PlainRing {
    ring: Ring<Rc<Memory>>,
    memory: Rc<Memory>,
}

/// Packets as a kernel group keeps them: bodies with INVALID headers, and first dwords.
pub struct Recorded {
    bodies: Box<[Packet]>,
    firsts: Box<[u32]>,
}

/// The device's side.
struct Memory {
    slots: Box<[UnsafeCell<Packet>]>,
    read: AtomicU64,
    write: AtomicU64,
    doorbell: AtomicU64,
}

impl Recorded {
    /// Takes packets apart.
    pub fn new(packets: &[Packet]) -> Self {
        let firsts = packets.iter().map(|packet| packet.dwords()[0]).collect();
        let mut bodies: Box<[Packet]> = packets.into();
        bodies.iter_mut().for_each(Packet::invalidate);
        Self { bodies, firsts }
    }
}

impl PlainRing {
    /// A ring of `packets`, a power of two.
    pub fn new(packets: u32) -> Self {
        assert!(packets.is_power_of_two(), "a ring of {packets} packets: a power of two is needed");
        let empty = Packet::from_dwords([0; PACKET_DWORDS]);
        let memory = Rc::new(Memory {
            slots: (0..packets).map(|_| UnsafeCell::new(empty)).collect(),
            read: AtomicU64::new(0),
            write: AtomicU64::new(0),
            doorbell: AtomicU64::new(0),
        });
        Self { ring: Ring::new(memory.clone(), 0), memory }
    }

    /// Reserves slots, writes the packets into them as a submission does, publishes them, rings the doorbell. False if there
    /// is no room.
    pub fn push(&self, recorded: &Recorded) -> bool {
        let count = recorded.bodies.len() as u64;
        let Ok(start) = self.ring.reserve(count) else { return false };
        self.ring.fill(start, count, |slots| {
            slots.bodies(0, &recorded.bodies);
            recorded.firsts.iter().enumerate().for_each(|(offset, &first)| slots.first(offset, first));
        });
        true
    }

    /// Gives every slot back, as a packet processor does that has looked at all packets. Returns the index after the last.
    pub fn consume_all(&self) -> u64 {
        let memory = &self.memory;
        let write = memory.write.load(Ordering::Acquire);
        assert_eq!(
            memory.doorbell.load(Ordering::Relaxed) + 1,
            write,
            "the doorbell tells of the last packet"
        );
        memory.read.store(write, Ordering::Release);
        write
    }

    /// What is in the slot of the packet at `index`.
    pub fn packet(&self, index: u64) -> Packet {
        let slots = &self.memory.slots;
        // SAFETY: one thread uses all of this (`UnsafeCell` is not `Sync`), and keeps no reference.
        unsafe { *slots[index as usize % slots.len()].get() }
    }
}

impl Port for Rc<Memory> {
    fn size(&self) -> u32 {
        self.slots.len() as u32
    }

    fn read_index(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        let slot = self.slots[slot as usize].get().cast::<u32>();
        // SAFETY: the slot has that many dwords, and one thread uses all of this (`UnsafeCell` is not `Sync`).
        unsafe { std::ptr::copy_nonoverlapping(dwords[1..].as_ptr(), slot.add(1), PACKET_DWORDS - 1) };
    }

    #[inline]
    fn write_bodies(&self, slot: u32, packets: &[Packet]) {
        let slots = &self.slots[slot as usize..slot as usize + packets.len()];
        let first = UnsafeCell::raw_get(slots.as_ptr());
        // SAFETY: as above; so many slots follow each other.
        unsafe { std::ptr::copy_nonoverlapping(packets.as_ptr(), first, packets.len()) };
    }

    #[inline]
    fn write_first(&self, slot: u32, dword: u32) {
        let slot = self.slots[slot as usize].get().cast::<u32>();
        // SAFETY: as above; dwords are aligned.
        unsafe { AtomicU32::from_ptr(slot) }.store(dword, Ordering::Release);
    }

    #[inline]
    fn write_index(&self) -> u64 {
        self.write.load(Ordering::Acquire)
    }

    #[inline]
    fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64> {
        self.write.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }

    fn ring_doorbell(&self, last: u64) {
        self.doorbell.store(last, Ordering::Release);
    }
}
