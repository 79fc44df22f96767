//! Kernel dispatch as C programs for the HSA runtime do it, on a queue of its own.
//!
//! The loop is C (`c/dispatch_loop.c`), compiled with `-O2`; this file makes its queue and signals, and calls it. One thread
//! at a time: submitting takes `&mut self`.

use std::ptr::NonNull;
use std::time::{Duration, Instant};

use hsa_sys::*;
use thiserror::Error;

/// What can go wrong around the loop; the loop itself cannot fail.
#[derive(Debug, Error)]
pub enum Error {
    /// ROCr refused a call.
    #[error("{call}: HSA status {status:#x}")]
    Hsa {
        /// The call.
        call: &'static str,
        /// What it returned.
        status: hsa_status_t,
    },
    /// More packets or signals than there is room for.
    #[error("{asked} {what}, but there is room for {room}: submit fewer at a time, or drain first")]
    Room {
        /// What was asked for.
        what: &'static str,
        /// How many.
        asked: u32,
        /// How many would be possible.
        room: u32,
    },
    /// Work did not complete in time.
    #[error("the C loop's queue has not drained after {0:?}")]
    Timeout(Duration),
}

/// What is launched. Laid out as `launch_t` in C.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Launch {
    /// Handle of the kernel's descriptor.
    pub kernel_object: u64,
    /// Address of the prepared arguments.
    pub kernarg_address: u64,
    /// Work-items of the grid in x, y, z.
    pub grid: [u32; 3],
    /// Work-items of a workgroup in x, y, z.
    pub workgroup: [u16; 3],
    /// Dimensions of the grid: 1 to 3.
    pub dimensions: u16,
    /// Scratch bytes a work-item.
    pub private_segment_size: u32,
    /// LDS bytes a workgroup.
    pub group_segment_size: u32,
}

/// Functions of ROCr that the loop calls. Laid out as `functions_t` in C.
#[repr(C)]
struct Functions {
    add_write_index: unsafe extern "C" fn(*const hsa_queue_t, u64) -> u64,
    load_read_index: unsafe extern "C" fn(*const hsa_queue_t) -> u64,
    signal_store_relaxed: unsafe extern "C" fn(hsa_signal_t, i64),
    signal_store_screlease: unsafe extern "C" fn(hsa_signal_t, i64),
}

unsafe extern "C" {
    fn peers_dispatch_loop(
        hsa: *const Functions,
        queue: *const hsa_queue_t,
        launch: *const Launch,
        count: u32,
        read: *mut u64,
    );
    fn peers_dispatch_loop_signals(
        hsa: *const Functions,
        queue: *const hsa_queue_t,
        launch: *const Launch,
        signals: *const hsa_signal_t,
        count: u32,
        read: *mut u64,
    );
}

/// A queue, a set of signals, and the loop.
pub struct CLoop {
    hsa: Hsa,
    functions: Functions,
    queue: NonNull<hsa_queue_t>,
    signals: Vec<hsa_signal_t>,
    /// The signal that the next packet gets.
    next: usize,
    /// For [`CLoop::drain`].
    drained: hsa_signal_t,
    /// A value that the read index has reached.
    read: u64,
}

impl CLoop {
    /// A queue of `packets` (a power of two) on `agent` and `signals` completion signals.
    ///
    /// # Errors
    /// [`Error::Hsa`] if ROCr refuses.
    ///
    /// # Safety
    /// `hsa` must be initialised until this is dropped, and `agent` a GPU agent of it.
    pub unsafe fn new(hsa: &Hsa, agent: hsa_agent_t, packets: u32, signals: u32) -> Result<Self, Error> {
        let mut queue = std::ptr::null_mut();
        // SAFETY: the caller's promise; no callback is given; the size is checked by ROCr.
        let status = unsafe {
            (hsa.hsa_queue_create)(
                agent,
                packets,
                HSA_QUEUE_TYPE_MULTI,
                None,
                std::ptr::null_mut(),
                u32::MAX,
                u32::MAX,
                &raw mut queue,
            )
        };
        check("hsa_queue_create", status)?;
        let queue = NonNull::new(queue).ok_or(Error::Hsa { call: "hsa_queue_create", status })?;
        let mut this = Self {
            hsa: hsa.clone(),
            functions: Functions {
                add_write_index: hsa.hsa_queue_add_write_index_relaxed,
                load_read_index: hsa.hsa_queue_load_read_index_scacquire,
                signal_store_relaxed: hsa.hsa_signal_store_relaxed,
                signal_store_screlease: hsa.hsa_signal_store_screlease,
            },
            queue,
            signals: Vec::with_capacity(signals as usize),
            next: 0,
            drained: hsa_signal_t { handle: 0 },
            read: 0,
        };
        this.drained = new_signal(hsa)?;
        for _ in 0..signals {
            this.signals.push(new_signal(hsa)?);
        }
        Ok(this)
    }

    /// `count` packets without a completion signal: one call of the C loop.
    ///
    /// # Errors
    /// [`Error::Room`] if the ring has not that much room now; nothing is submitted then. So the loop's own wait for room never
    /// happens.
    ///
    /// # Safety
    /// `launch` must describe a kernel of this agent and valid arguments of it, which stay valid until the queue is drained.
    pub unsafe fn submit(&mut self, launch: &Launch, count: u32) -> Result<(), Error> {
        self.check_room(count)?;
        // SAFETY: the queue is alive and has room; nobody else writes to it (`&mut self`); the caller vouches for the launch.
        unsafe {
            peers_dispatch_loop(&self.functions, self.queue.as_ptr(), launch, count, &mut self.read);
        }
        Ok(())
    }

    /// `count` packets, each with the next signal of the set: one call of the C loop.
    ///
    /// # Errors
    /// [`Error::Room`] as for [`CLoop::submit`], and if there are not so many signals left; [`CLoop::drain`] frees all.
    ///
    /// # Safety
    /// As [`CLoop::submit`].
    pub unsafe fn submit_with_signals(&mut self, launch: &Launch, count: u32) -> Result<(), Error> {
        let left = &self.signals[self.next..];
        if count as usize > left.len() {
            return Err(Error::Room { what: "signals", asked: count, room: left.len() as u32 });
        }
        self.check_room(count)?;
        let signals = self.signals[self.next..].as_ptr();
        // SAFETY: as in `submit`; there are at least `count` signals.
        unsafe {
            peers_dispatch_loop_signals(
                &self.functions,
                self.queue.as_ptr(),
                launch,
                signals,
                count,
                &mut self.read,
            );
        }
        self.next += count as usize;
        Ok(())
    }

    /// Packets that the ring has room for now.
    pub fn room(&self) -> u32 {
        let queue = self.queue.as_ptr();
        // SAFETY: the queue is alive.
        let (write, read) = unsafe {
            ((self.hsa.hsa_queue_load_write_index_relaxed)(queue), (self.functions.load_read_index)(queue))
        };
        // SAFETY: as above.
        let size = unsafe { self.queue.as_ref() }.size;
        size - (write - read) as u32
    }

    /// Waits until everything submitted is complete and the ring is empty.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn drain(&mut self, timeout: Duration) -> Result<(), Error> {
        let begin = Instant::now();
        while self.room() == 0 {
            if begin.elapsed() > timeout {
                return Err(Error::Timeout(timeout));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        let queue = self.queue.as_ptr();
        // SAFETY: the queue is alive, there is a free slot, and nobody else writes to it. The packet is a barrier-AND (3) with
        // the barrier bit and release at system scope, whose reserved fields and dependencies are zero.
        unsafe {
            (self.functions.signal_store_relaxed)(self.drained, 1);
            let index = (self.functions.add_write_index)(queue, 1);
            let header = self.queue.as_ref();
            let slot = (index & u64::from(header.size - 1)) as usize;
            let packet = header.base_address.cast::<hsa_barrier_and_packet_t>().add(slot);
            let first = packet.cast::<u32>();
            std::ptr::write_bytes(first.add(1), 0, size_of::<hsa_barrier_and_packet_t>() / 4 - 1);
            (*packet).completion_signal = self.drained;
            // Release: pairs with the packet processor's acquire of the header.
            std::sync::atomic::AtomicU32::from_ptr(first)
                .store(3 | 1 << 8 | 2 << 11, std::sync::atomic::Ordering::Release);
            (self.functions.signal_store_screlease)(header.doorbell_signal, index as i64);
        }
        // SAFETY: the queue is alive.
        let size = unsafe { self.queue.as_ref() }.size;
        loop {
            // SAFETY: the signal is ours and alive.
            let value = unsafe { (self.hsa.hsa_signal_load_scacquire)(self.drained) };
            if value == 0 && self.room() == size {
                self.next = 0;
                return Ok(());
            }
            if begin.elapsed() > timeout {
                return Err(Error::Timeout(timeout));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn check_room(&self, asked: u32) -> Result<(), Error> {
        let room = self.room();
        if asked > room { Err(Error::Room { what: "packets", asked, room }) } else { Ok(()) }
    }
}

impl Drop for CLoop {
    fn drop(&mut self) {
        // SAFETY: queue and signals are ours. The queue goes first, so that the device no longer knows the signals.
        unsafe {
            (self.hsa.hsa_queue_destroy)(self.queue.as_ptr());
            for signal in self.signals.drain(..).chain([self.drained]).filter(|signal| signal.handle != 0) {
                (self.hsa.hsa_signal_destroy)(signal);
            }
        }
    }
}

impl std::fmt::Debug for CLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CLoop").field("room", &self.room()).field("signals", &self.signals.len()).finish()
    }
}

/// A signal that nobody sleeps on: it takes no event of the driver, and arming it is one store.
fn new_signal(hsa: &Hsa) -> Result<hsa_signal_t, Error> {
    let mut signal = hsa_signal_t { handle: 0 };
    let gpu_only = u64::from(HSA_AMD_SIGNAL_AMD_GPU_ONLY);
    // SAFETY: no consumers are listed; the handle is written on success.
    let status = unsafe { (hsa.hsa_amd_signal_create)(0, 0, std::ptr::null(), gpu_only, &raw mut signal) };
    check("hsa_amd_signal_create", status)?;
    Ok(signal)
}

fn check(call: &'static str, status: hsa_status_t) -> Result<(), Error> {
    if status == HSA_STATUS_SUCCESS { Ok(()) } else { Err(Error::Hsa { call, status }) }
}
