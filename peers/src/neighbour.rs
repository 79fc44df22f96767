//! Another user of the HSA runtime in the same process: a queue, signals and packets as an HSA program makes them.
//!
//! Any thread may write to the queue: it is a multi-producer queue, and slots are reserved with HSA's index functions. Dropping a
//! queue or signal destroys it at once: whoever else uses it must have ended before.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::c_loop::Error;

/// A signal.
pub struct Signal {
    hsa: Hsa,
    raw: hsa_signal_t,
}

impl Signal {
    /// A signal of this value.
    ///
    /// # Errors
    /// If ROCr refuses it.
    pub fn new(hsa: &Hsa, value: i64) -> Result<Self, Error> {
        let mut raw = hsa_signal_t { handle: 0 };
        // SAFETY: no consumers are listed; the handle is written on success.
        let status = unsafe { (hsa.hsa_signal_create)(value, 0, null(), &raw mut raw) };
        check("hsa_signal_create", status)?;
        Ok(Self { hsa: hsa.clone(), raw })
    }

    /// HSA's handle.
    pub fn raw(&self) -> hsa_signal_t {
        self.raw
    }

    /// Its value, with acquire order.
    pub fn value(&self) -> i64 {
        // SAFETY: the signal is alive.
        unsafe { (self.hsa.hsa_signal_load_scacquire)(self.raw) }
    }

    /// Sets it, with release order.
    pub fn set(&self, value: i64) {
        // SAFETY: the signal is alive.
        unsafe { (self.hsa.hsa_signal_store_screlease)(self.raw, value) };
    }

    /// Waits until it has a value, for at most `timeout`. Whether it came to that.
    pub fn becomes(&self, value: i64, timeout: Duration) -> bool {
        let begin = Instant::now();
        while self.value() != value && begin.elapsed() < timeout {
            std::thread::yield_now();
        }
        self.value() == value
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { (self.hsa.hsa_signal_destroy)(self.raw) };
    }
}

/// A multi-producer queue.
pub struct Queue {
    hsa: Hsa,
    raw: *mut hsa_queue_t,
}

// SAFETY: the queue is used with HSA's functions, which any thread may call, and slots are written by whoever reserved them.
unsafe impl Send for Queue {}
// SAFETY: as for Send.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue of `size` packets on a GPU.
    ///
    /// # Errors
    /// If ROCr refuses it.
    pub fn new(hsa: &Hsa, agent: hsa_agent_t, size: u32) -> Result<Self, Error> {
        let (mut raw, any, kind) = (null_mut(), u32::MAX, HSA_QUEUE_TYPE_MULTI);
        // SAFETY: no callback is given; `raw` is written on success.
        let status =
            unsafe { (hsa.hsa_queue_create)(agent, size, kind, None, null_mut(), any, any, &raw mut raw) };
        check("hsa_queue_create", status)?;
        Ok(Self { hsa: hsa.clone(), raw })
    }

    /// HSA's queue.
    pub fn raw(&self) -> *mut hsa_queue_t {
        self.raw
    }

    /// Writes a barrier-AND packet that waits for all packets before it, and for `after`, and then subtracts 1 from `completion`. Waits
    /// for room.
    pub fn barrier(&self, after: Option<&Signal>, completion: &Signal) {
        // SAFETY: the queue is alive; the slot is reserved with the index function, and written when it is free.
        unsafe {
            let index = (self.hsa.hsa_queue_add_write_index_screlease)(self.raw, 1);
            let size = u64::from((*self.raw).size);
            while index - (self.hsa.hsa_queue_load_read_index_scacquire)(self.raw) >= size {
                std::thread::yield_now();
            }
            let slot = (*self.raw).base_address.cast::<hsa_barrier_and_packet_t>();
            let slot = slot.add((index % size) as usize);
            slot.cast::<u8>().add(4).write_bytes(0, 60);
            if let Some(after) = after {
                (&raw mut (*slot).dep_signal).cast::<hsa_signal_t>().write(after.raw);
            }
            (&raw mut (*slot).completion_signal).write(completion.raw);
            // Barrier-AND with the barrier bit, system fences. Release: the packet processor reads the body after it.
            (*slot.cast::<AtomicU32>()).store(0x1503, Ordering::Release);
            (self.hsa.hsa_signal_store_screlease)((*self.raw).doorbell_signal, index as i64);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { (self.hsa.hsa_queue_destroy)(self.raw) };
    }
}

fn check(call: &'static str, status: hsa_status_t) -> Result<(), Error> {
    if status == HSA_STATUS_SUCCESS { Ok(()) } else { Err(Error::Hsa { call, status }) }
}
