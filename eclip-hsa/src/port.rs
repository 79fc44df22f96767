//! The device's side of a ring: a queue that ROCr made and that only we write to.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use hsa_sys::*;

use crate::packet::{PACKET_BYTES, PACKET_DWORDS, Packet, PacketKind};
use crate::ring::Port;

/// An AQL queue of ROCr's, owned by us: nobody else reserves slots in it.
pub(crate) struct HsaPort {
    hsa: Hsa,
    queue: NonNull<hsa_queue_t>,
    base: *mut u8,
    size: u32,
    doorbell: hsa_signal_t,
}

// SAFETY: the queue is created as HSA_QUEUE_TYPE_MULTI, whose index functions and doorbell any thread may use; its ring
// memory is written only in slots that the ring's reservation gave to the writing thread.
unsafe impl Send for HsaPort {}
// SAFETY: as for Send.
unsafe impl Sync for HsaPort {}

impl HsaPort {
    /// # Safety
    /// `queue` must come from `hsa_queue_create` of this ROCr as a multi-producer queue, and must not be destroyed before the last use of
    /// the port. For a [`crate::ring::Ring`] nobody else may write to it.
    pub(crate) unsafe fn new(hsa: Hsa, queue: NonNull<hsa_queue_t>) -> Self {
        // SAFETY: the caller's promise.
        let header = unsafe { queue.as_ref() };
        Self {
            hsa,
            queue,
            base: header.base_address.cast(),
            size: header.size,
            doorbell: header.doorbell_signal,
        }
    }

    fn slot(&self, slot: u32) -> *mut u32 {
        debug_assert!(slot < self.size);
        self.base.wrapping_add(slot as usize * PACKET_BYTES).cast()
    }
}

impl Port for HsaPort {
    fn size(&self) -> u32 {
        self.size
    }

    fn read_index(&self) -> u64 {
        // SAFETY: the queue is alive. scacquire: pairs with the packet processor's release of the slots below the index.
        unsafe { (self.hsa.hsa_queue_load_read_index_scacquire)(self.queue.as_ptr()) }
    }

    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        // SAFETY: the slot lies in the ring (its index is below the size) and belongs to the caller: its header is INVALID, so
        // the packet processor does not look at the rest.
        unsafe {
            std::ptr::copy_nonoverlapping(dwords[1..].as_ptr(), self.slot(slot).add(1), PACKET_DWORDS - 1);
        }
    }

    #[inline]
    fn write_body_with(&self, slot: u32, dwords: &[u32; PACKET_DWORDS], fields: &[(usize, u64)]) {
        self.write_body(slot, dwords);
        for &(dword, value) in fields {
            debug_assert!((2..PACKET_DWORDS - 1).contains(&dword) && dword % 2 == 0);
            // SAFETY: as in `write_body`; the field lies in the packet behind its first dword, at a multiple of 8 bytes.
            unsafe { self.slot(slot).add(dword).cast::<u64>().write(value) };
        }
    }

    #[inline]
    fn write_bodies(&self, slot: u32, packets: &[Packet]) {
        debug_assert!(packets.iter().all(|packet| packet.dwords()[0] as u8 == PacketKind::Invalid as u8));
        debug_assert!(slot as usize + packets.len() <= self.size as usize);
        // SAFETY: the slots lie in the ring and belong to the caller, as above. Their headers are INVALID and stay so: this writes
        // an INVALID header over each, in whatever order.
        unsafe { std::ptr::copy_nonoverlapping(packets.as_ptr(), self.slot(slot).cast(), packets.len()) };
    }

    #[inline]
    fn write_first(&self, slot: u32, dword: u32) {
        // SAFETY: as above; packets are 64-byte aligned, so the dword is aligned.
        let first = unsafe { AtomicU32::from_ptr(self.slot(slot)) };
        // Release: pairs with the packet processor's acquire of the header: body and kernargs are visible with it.
        first.store(dword, Ordering::Release);
    }

    fn write_index(&self) -> u64 {
        // SAFETY: the queue is alive. scacquire: pairs with the release of whoever moved it.
        unsafe { (self.hsa.hsa_queue_load_write_index_scacquire)(self.queue.as_ptr()) }
    }

    #[inline]
    fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64> {
        // SAFETY: the queue is alive. scacq_screl: pairs with the packet processor's read of the write index, so every header below it is valid
        // then, and with the other producers.
        let seen = unsafe { (self.hsa.hsa_queue_cas_write_index_scacq_screl)(self.queue.as_ptr(), from, to) };
        if seen == from { Ok(()) } else { Err(seen) }
    }

    fn ring_doorbell(&self, last: u64) {
        // SAFETY: the doorbell lives as long as the queue. screlease: the write index is there before the doorbell.
        unsafe { (self.hsa.hsa_signal_store_screlease)(self.doorbell, last as i64) };
    }
}
