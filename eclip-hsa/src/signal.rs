//! HSA signals: counters that the GPU decrements and the host waits for.
//!
//! Making one costs 10 to 50 us, so they are made once and used again. An *interrupt* signal lets a host thread sleep in the
//! driver; a *polled* one has no driver event. Any thread may use a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::flights::Completion;
use crate::runtime::Runtime;

/// How often a waiting thread looks whether its queue is still alive. ROCr wakes it at once when the work is complete; an
/// error wakes nobody, so it is noticed within this time.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A completion signal of one queue.
pub(crate) struct Signal {
    handle: hsa_signal_t,
    interrupt: bool,
    agent: Agent,
    /// End time of the last use, to tell whether a later use recorded one of its own.
    last_end: AtomicU64,
}

/// When the GPU began and ended a packet, in nanoseconds of ROCr's system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuTime {
    /// Begin of the packet's execution.
    pub start_ns: u64,
    /// End of the packet's execution.
    pub end_ns: u64,
}

impl GpuTime {
    /// How long the packet executed.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_ns.saturating_sub(self.start_ns))
    }
}

impl Signal {
    /// An interrupt signal while the process has driver events left, then a polled one.
    pub(crate) fn new(agent: &Agent) -> Result<Self> {
        let runtime = agent.runtime();
        let interrupt = runtime.take_interrupt_signal();
        let attributes = if interrupt { 0 } else { u64::from(HSA_AMD_SIGNAL_AMD_GPU_ONLY) };
        let mut handle = hsa_signal_t { handle: 0 };
        // SAFETY: no consumers are listed, so the pointer is not read; `handle` is written on success.
        let status = unsafe {
            (runtime.hsa().hsa_amd_signal_create)(0, 0, std::ptr::null(), attributes, &raw mut handle)
        };
        let signal = Self { handle, interrupt, agent: agent.clone(), last_end: AtomicU64::new(0) };
        let made = runtime.check("hsa_amd_signal_create", status);
        if made.is_ok() && signal.handle.handle == 0 {
            // ROCr has been seen to answer success without a signal when it runs out of them.
            return Err(Error::Invalid(
                "hsa_amd_signal_create succeeded but gave no signal: ROCr is out of signals".into(),
            ));
        }
        made.map(|()| signal)
    }

    pub(crate) fn handle(&self) -> u64 {
        self.handle.handle
    }

    fn runtime(&self) -> &Runtime {
        self.agent.runtime()
    }

    /// Waits until the counter is zero or `timeout` is over; true if it is zero. ROCr spins for 200 us, then sleeps in the
    /// driver. A polled signal is looked at here: ROCr would spin on it for the whole time (and warns against it).
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        if !self.interrupt {
            return self.poll(timeout);
        }
        let ticks = self.runtime().ticks(timeout.as_nanos());
        // SAFETY: the signal is alive. scacquire: the GPU's writes before the decrement are visible afterwards; pairs
        // with the system-scope release of the packet that decrements it.
        let value = unsafe {
            (self.runtime().hsa().hsa_signal_wait_scacquire)(
                self.handle,
                HSA_SIGNAL_CONDITION_LT,
                1,
                ticks,
                HSA_WAIT_STATE_BLOCKED,
            )
        };
        value < 1
    }

    /// As [`Signal::wait`], without the driver: looks, and sleeps a little longer each time.
    fn poll(&self, timeout: Duration) -> bool {
        const LONGEST: Duration = Duration::from_micros(200);
        let begin = Instant::now();
        let mut pause = Duration::from_micros(5);
        loop {
            if self.is_done() {
                return true;
            }
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST);
        }
    }
}

impl Completion for Signal {
    type Times = Option<GpuTime>;

    fn arm(&self, count: i64) {
        // Relaxed: the release store of the packet's first dword, which comes later, publishes it to the GPU.
        // SAFETY: the signal is alive.
        unsafe { (self.runtime().hsa().hsa_signal_store_relaxed)(self.handle, count) };
    }

    fn is_done(&self) -> bool {
        // SAFETY: the signal is alive. scacquire: pairs with the packet's system-scope release, as in `wait`.
        unsafe { (self.runtime().hsa().hsa_signal_load_scacquire)(self.handle) < 1 }
    }

    fn times(&self) -> Option<GpuTime> {
        let mut time = hsa_amd_profiling_dispatch_time_t { start: 0, end: 0 };
        // SAFETY: agent and signal are alive, and `time` is written on success.
        let status = unsafe {
            (self.runtime().hsa().hsa_amd_profiling_get_dispatch_time)(
                self.agent.handle(),
                self.handle,
                &raw mut time,
            )
        };
        let ns = |ticks| self.runtime().nanoseconds(ticks);
        // Relaxed: only the thread that completes the signal's current use is here.
        let stale = self.last_end.swap(time.end, Ordering::Relaxed) == time.end;
        (status == HSA_STATUS_SUCCESS && time.end != 0 && !stale)
            .then(|| GpuTime { start_ns: ns(time.start), end_ns: ns(time.end) })
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if self.handle.handle != 0 {
            // SAFETY: the signal is ours. Its queue was destroyed before (it owns the table that owns the signal), and whoever
            // named it in a barrier packet holds the queue's state until that packet is complete.
            unsafe { (self.runtime().hsa().hsa_signal_destroy)(self.handle) };
        }
        if self.interrupt {
            self.runtime().return_interrupt_signal();
        }
    }
}

/// Takes the times of a submission when it completes.
pub(crate) type TimeCell = Arc<std::sync::OnceLock<Option<GpuTime>>>;
