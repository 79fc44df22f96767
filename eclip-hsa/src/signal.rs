//! HSA signals: counters that the GPU decrements and the host waits for.
//!
//! Making one costs 10 to 50 us, so they are made once and used again. An *interrupt* signal lets a host thread sleep in the
//! driver; a *polled* one has no driver event. Any thread may use a signal.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
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
    /// The counter itself, where it can be reached without a call.
    counter: Option<NonNull<i64>>,
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
        Self::make(agent, agent.runtime().take_interrupt_signal())
    }

    /// A polled signal, on which no host thread can sleep.
    pub(crate) fn polled(agent: &Agent) -> Result<Self> {
        Self::make(agent, false)
    }

    fn make(agent: &Agent, interrupt: bool) -> Result<Self> {
        let runtime = agent.runtime();
        let attributes = if interrupt { 0 } else { u64::from(HSA_AMD_SIGNAL_AMD_GPU_ONLY) };
        let mut handle = hsa_signal_t { handle: 0 };
        // SAFETY: no consumers are listed, so the pointer is not read; `handle` is written on success.
        let status = unsafe {
            (runtime.hsa().hsa_amd_signal_create)(0, 0, std::ptr::null(), attributes, &raw mut handle)
        };
        let mut signal =
            Self { handle, counter: None, interrupt, agent: agent.clone(), last_end: AtomicU64::new(0) };
        let made = runtime.check("hsa_amd_signal_create", status);
        if made.is_ok() && signal.handle.handle == 0 {
            // ROCr has been seen to answer success without a signal when it runs out of them.
            return Err(Error::Invalid(
                "hsa_amd_signal_create succeeded but gave no signal: ROCr is out of signals".into(),
            ));
        }
        made?;
        // SAFETY: ROCr just made the signal.
        signal.counter = unsafe { counter(handle) };
        Ok(signal)
    }

    pub(crate) fn handle(&self) -> u64 {
        self.handle.handle
    }

    fn runtime(&self) -> &Runtime {
        self.agent.runtime()
    }

    /// Whether a thread can sleep on it in the driver.
    pub(crate) fn can_sleep(&self) -> bool {
        self.interrupt
    }

    /// Sets the counter to zero and wakes whoever sleeps on it.
    pub(crate) fn ring(&self) {
        // SAFETY: the signal is alive. screlease: pairs with the acquire of whoever is woken.
        unsafe { (self.runtime().hsa().hsa_signal_store_screlease)(self.handle, 0) };
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
            if self.is_zero() {
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

/// The counter of a signal. AMD's handle of a signal is the address of an `amd_signal_t` (`amd_hsa_signal.h`), which is what the packet
/// processor uses; the kind says whether the counter is in it.
///
/// # Safety
/// The signal must be alive.
unsafe fn counter(signal: hsa_signal_t) -> Option<NonNull<i64>> {
    let place = NonNull::new(signal.handle as *mut amd_signal_t)?;
    // SAFETY: the caller's promise, and the packet processor's own view of the handle. The kind never changes.
    unsafe {
        ((*place.as_ptr()).kind == i64::from(AMD_SIGNAL_KIND_USER))
            .then(|| NonNull::new_unchecked((&raw mut (*place.as_ptr()).__bindgen_anon_1).cast()))
    }
}

impl Signal {
    /// Sets the counter, before the device can see the packets that name it.
    #[inline]
    pub(crate) fn arm(&self, count: i64) {
        // Relaxed: the release store of the packet's first dword, which comes later, publishes it to the GPU.
        match self.counter {
            // SAFETY: the signal is alive and the counter aligned; everybody changes it with atomic operations.
            Some(counter) => unsafe { AtomicI64::from_ptr(counter.as_ptr()) }.store(count, Ordering::Relaxed),
            // SAFETY: the signal is alive.
            None => unsafe { (self.runtime().hsa().hsa_signal_store_relaxed)(self.handle, count) },
        }
    }

    /// Whether the counter is zero, with acquire order: the device's writes before completion are visible.
    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        // Acquire: pairs with the packet's system-scope release, as in `wait`.
        let value = match self.counter {
            // SAFETY: as in `arm`.
            Some(counter) => unsafe { AtomicI64::from_ptr(counter.as_ptr()) }.load(Ordering::Acquire),
            // SAFETY: the signal is alive.
            None => unsafe { (self.runtime().hsa().hsa_signal_load_scacquire)(self.handle) },
        };
        value < 1
    }

    /// Start and end of the packet that decremented the counter last, if the device recorded them.
    pub(crate) fn times(&self) -> Option<GpuTime> {
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

/// Sleeps until one of the counters is zero or `timeout` is over. All must be signals that a thread can sleep on.
pub(crate) fn wait_any(signals: &[&Signal], timeout: Duration) {
    let Some(first) = signals.first() else { return };
    let runtime = first.runtime();
    let mut handles: Vec<hsa_signal_t> = signals.iter().map(|signal| signal.handle).collect();
    let mut conditions = vec![HSA_SIGNAL_CONDITION_LT; handles.len()];
    let mut values = vec![1i64; handles.len()];
    let ticks = runtime.ticks(timeout.as_nanos());
    // SAFETY: the signals are alive, and the three lists have as many entries as is said; no value is asked for.
    unsafe {
        (runtime.hsa().hsa_amd_signal_wait_any)(
            handles.len() as u32,
            handles.as_mut_ptr(),
            conditions.as_mut_ptr(),
            values.as_mut_ptr(),
            ticks,
            HSA_WAIT_STATE_BLOCKED,
            std::ptr::null_mut(),
        );
    }
}

/// Which signal a submission completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Use {
    /// A host thread may sleep on it.
    Interrupt = 0,
    /// Nobody sleeps on it.
    Polled = 1,
}

/// The signals of one slot: made when first needed, then used again.
#[derive(Default)]
pub(crate) struct Signals {
    /// Which signal the present submission has, in one word, so that using it again touches little memory: its handle, which is a
    /// multiple of 64, and in the low bits the [`Use`] and whether its counter can be reached without a call. Relaxed: the slot's
    /// state word orders it.
    current: AtomicU64,
    made: OnceLock<Box<Made>>,
}

#[derive(Default)]
struct Made {
    interrupt: OnceLock<Signal>,
    polled: OnceLock<Signal>,
    /// For the first packet, where its start is wanted and it is not the last.
    first: OnceLock<Signal>,
}

/// In [`Signals::current`]: the signal is polled.
const POLLED: u64 = 1;
/// In [`Signals::current`]: the counter is in the signal.
const DIRECT: u64 = 2;
/// In [`Signals::current`]: there is a signal.
const THERE: u64 = 4;

/// A signal as a submission uses it. Arm it before its handle is published.
#[derive(Clone, Copy)]
pub(crate) struct Ready<'a> {
    word: u64,
    signals: &'a Signals,
}

impl Ready<'_> {
    pub(crate) fn handle(self) -> u64 {
        self.word & !63
    }

    /// As [`Signal::arm`].
    #[inline]
    pub(crate) fn arm(self, count: i64) {
        match direct(self.word) {
            // Relaxed: as in `Signal::arm`.
            // SAFETY: the counter is that of a signal of this slot, which lives as long as the slot.
            Some(counter) => unsafe { AtomicI64::from_ptr(counter) }.store(count, Ordering::Relaxed),
            None => self.signals.current().into_iter().for_each(|signal| signal.arm(count)),
        }
    }
}

/// The counter of the signal in a word, if it can be reached.
#[inline]
fn direct(word: u64) -> Option<*mut i64> {
    // The layout is checked when the signal is made: `counter`.
    (word & DIRECT != 0)
        .then_some(((word & !63) + std::mem::offset_of!(amd_signal_t, __bindgen_anon_1) as u64) as *mut i64)
}

impl Signals {
    /// The signal for a submission, made if need be. For the slot's owner.
    #[inline]
    pub(crate) fn prepare(&self, agent: &Agent, kind: Use) -> Result<Ready<'_>> {
        let word = self.current.load(Ordering::Relaxed);
        if word & (THERE | POLLED) == THERE | kind as u64 {
            return Ok(Ready { word, signals: self });
        }
        self.change(agent, kind)
    }

    #[cold]
    fn change(&self, agent: &Agent, kind: Use) -> Result<Ready<'_>> {
        let signal = match kind {
            Use::Interrupt => made(&self.made().interrupt, || Signal::new(agent)),
            Use::Polled => made(&self.made().polled, || Signal::polled(agent)),
        }?;
        debug_assert_eq!(signal.handle() & 63, 0);
        let word = signal.handle() | THERE | kind as u64 | if signal.counter.is_some() { DIRECT } else { 0 };
        self.current.store(word, Ordering::Relaxed);
        Ok(Ready { word, signals: self })
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(Box::default)
    }

    /// The signal for the first packet of a submission.
    pub(crate) fn prepare_first(&self, agent: &Agent) -> Result<&Signal> {
        made(&self.made().first, || Signal::polled(agent))
    }

    /// Arms the signal that was prepared for the first packet.
    pub(crate) fn arm_first(&self) {
        if let Some(signal) = self.made().first.get() {
            signal.arm(1);
        }
    }

    /// The signal of the present submission; none if it has none and the slot never had one.
    pub(crate) fn current(&self) -> Option<&Signal> {
        match self.current.load(Ordering::Relaxed) & (THERE | POLLED) {
            0 | POLLED => None,
            THERE => self.made().interrupt.get(),
            _ => self.made().polled.get(),
        }
    }

    /// Handle of the signal of the present submission; 0 if there is none.
    #[inline]
    pub(crate) fn handle(&self) -> u64 {
        self.current.load(Ordering::Relaxed) & !63
    }

    /// When the first packet started and the last one ended. `first` says whether the first one had a signal of its own.
    pub(crate) fn times(&self, first: bool) -> Option<GpuTime> {
        let mut time = self.current()?.times()?;
        if first {
            time.start_ns = self.made().first.get()?.times()?.start_ns;
        }
        Some(time)
    }
}

/// For one owner at a time, who alone makes it.
#[inline]
fn made(cell: &OnceLock<Signal>, make: impl FnOnce() -> Result<Signal>) -> Result<&Signal> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    Ok(cell.get().expect("set above"))
}

impl Completion for Signals {
    #[inline]
    fn is_done(&self) -> bool {
        match direct(self.current.load(Ordering::Relaxed)) {
            // Acquire: as in `Signal::is_zero`.
            // SAFETY: the counter is that of a signal of this slot, which lives as long as the slot.
            Some(counter) => unsafe { AtomicI64::from_ptr(counter) }.load(Ordering::Acquire) < 1,
            None => self.current().is_none_or(Signal::is_zero),
        }
    }
}

// SAFETY: the counter is only touched with atomic operations, and lives as long as the signal; the rest is Send and Sync by itself.
unsafe impl Send for Signal {}
// SAFETY: as for Send.
unsafe impl Sync for Signal {}

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
