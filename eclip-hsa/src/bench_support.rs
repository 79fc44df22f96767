//! A ring over plain memory, without a runtime or a device: for benchmarks and instruction counts.
//!
//! Not part of the library's interface: hidden, and free to change. One thread.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::packet::{PACKET_DWORDS, Packet};
use crate::ring::{Port, Ring};

/// A ring whose packet processor is [`PlainRing::consume_all`].
pub struct PlainRing {
    ring: Ring<Memory>,
    memory: &'static Shared,
}

struct Shared {
    slots: Box<[UnsafeCell<[u32; PACKET_DWORDS]>]>,
    read: AtomicU64,
    write: AtomicU64,
    doorbell: AtomicU64,
}

struct Memory(&'static Shared);

impl PlainRing {
    /// A ring of `packets`, a power of two. Its memory is never given back.
    pub fn new(packets: u32) -> Self {
        assert!(packets.is_power_of_two(), "a ring of {packets} packets: a power of two is needed");
        let memory: &'static Shared = Box::leak(Box::new(Shared {
            slots: (0..packets).map(|_| UnsafeCell::new([0; PACKET_DWORDS])).collect(),
            read: AtomicU64::new(0),
            write: AtomicU64::new(0),
            doorbell: AtomicU64::new(0),
        }));
        Self { ring: Ring::new(Memory(memory), 0), memory }
    }

    /// Reserves, writes and publishes packets, and rings the doorbell. False if there is no room.
    pub fn push(&self, packets: &[Packet]) -> bool {
        self.ring.try_push(packets).is_ok()
    }

    /// Gives every slot back, as a packet processor does that has looked at all packets. Returns the index after the last.
    pub fn consume_all(&self) -> u64 {
        let write = self.memory.write.load(Ordering::Acquire);
        assert_eq!(
            self.memory.doorbell.load(Ordering::Relaxed) + 1,
            write,
            "the doorbell tells of the last packet"
        );
        self.memory.read.store(write, Ordering::Release);
        write
    }
}

impl Port for Memory {
    fn size(&self) -> u32 {
        self.0.slots.len() as u32
    }

    fn read_index(&self) -> u64 {
        self.0.read.load(Ordering::Acquire)
    }

    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        let slot = self.0.slots[slot as usize].get().cast::<u32>();
        // SAFETY: the slot has that many dwords, and one thread uses all of this (`UnsafeCell` is not `Sync`).
        unsafe { std::ptr::copy_nonoverlapping(dwords[1..].as_ptr(), slot.add(1), PACKET_DWORDS - 1) };
    }

    fn write_first(&self, slot: u32, dword: u32) {
        let slot = self.0.slots[slot as usize].get().cast::<u32>();
        // SAFETY: as above; dwords are aligned.
        unsafe { AtomicU32::from_ptr(slot) }.store(dword, Ordering::Release);
    }

    fn raise_write_index(&self, index: u64) {
        self.0.write.fetch_max(index, Ordering::Release);
    }

    fn ring_doorbell(&self, last: u64) {
        self.0.doorbell.store(last, Ordering::Release);
    }
}
