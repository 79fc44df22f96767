//! One AQL queue of ours: ring, kernargs, submissions in flight, and a sticky error.
//!
//! A [`Queue`] is owned by one place and used from any number of threads. Its CU mask is set once, when it is created.
//! Dropping it waits for unfinished work (or gives up after a time), then destroys the hardware queue: from then on the
//! device touches nothing of it, and tokens of lost work say so.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::agent::{Agent, PoolKind};
use crate::batch::{Batch, Prepared};
use crate::budget::QueueBudget;
use crate::counts::{Counters, PacketCounts};
use crate::cu_mask::CuMask;
use crate::dispatch::Dispatch;
use crate::error::{Error, Failure, Result};
use crate::fault::{FaultCell, on_queue_error};
use crate::flights::{Cargo, Flights};
use crate::kernarg_ring::{KernargRange, KernargRing};
use crate::memory::{Block, BufferRef};
use crate::module::Kernel;
use crate::port::HsaPort;
use crate::ring::{Refused, Ring};
use crate::runtime::Sweep;
use crate::signal::{GpuTime, Signal, TimeCell};
use crate::token::{Pin, Token};

/// How a queue is made. See [`Queue::builder`].
#[derive(Clone, Debug)]
pub struct QueueBuilder {
    pub(crate) agent: Agent,
    pub(crate) label: String,
    pub(crate) mask: Option<CuMask>,
    size: u32,
    kernarg_bytes: usize,
    profiling: bool,
    drain: Duration,
    oversubscribe: bool,
    pub(crate) ignore_hsa_cu_mask: bool,
}

impl QueueBuilder {
    /// What errors and logs call the queue.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The CUs that the queue may use; all, if this is not called.
    #[must_use]
    pub fn mask(mut self, mask: CuMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Packets that the ring holds: a power of two within [`Agent::queue_sizes`]. 1024, if this is not called.
    #[must_use]
    pub fn size(mut self, packets: u32) -> Self {
        self.size = packets;
        self
    }

    /// Bytes for the arguments of kernels in flight, rounded up to a power of two. 256 KiB, if this is not called; one
    /// submission can use half.
    #[must_use]
    pub fn kernarg_bytes(mut self, bytes: usize) -> Self {
        self.kernarg_bytes = bytes;
        self
    }

    /// Lets the GPU record when each submission began and ended: see [`Token::gpu_time`].
    #[must_use]
    pub fn profiling(mut self) -> Self {
        self.profiling = true;
        self
    }

    /// How long dropping the queue waits for unfinished work. 5 s, if this is not called.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// Allows more queues than the hardware runs at once; the driver then time-slices them.
    #[must_use]
    pub fn allow_oversubscription(mut self) -> Self {
        self.oversubscribe = true;
        self
    }

    /// Allows a mask although the environment variable `HSA_CU_MASK` is set, which ROCr ANDs into it.
    #[must_use]
    pub fn allow_hsa_cu_mask(mut self) -> Self {
        self.ignore_hsa_cu_mask = true;
        self
    }

    /// Creates the queue and sets its mask.
    ///
    /// # Errors
    /// [`Error::QueueBudget`] if the hardware has no queue left, [`Error::HsaCuMaskSet`], [`Error::WrongAgent`] for another
    /// GPU's mask, [`Error::Invalid`] for an impossible size, [`Error::Hsa`] if ROCr refuses.
    pub fn create(self) -> Result<Queue> {
        Queue::create(self)
    }

    fn check(&self) -> Result<()> {
        let agent = &self.agent;
        agent.check_alive()?;
        if !agent.is_gpu() {
            return Err(Error::Invalid(format!("{agent} is not a GPU: it has no kernel dispatch queues")));
        }
        let (least, most) = agent.queue_sizes();
        if !self.size.is_power_of_two() || !(least..=most).contains(&self.size) {
            return Err(Error::Invalid(format!(
                "a queue of {} packets: {agent} takes powers of two from {least} to {most}",
                self.size
            )));
        }
        if !(4096..=1 << 30).contains(&self.kernarg_bytes) {
            return Err(Error::Invalid(format!(
                "{} bytes of kernargs: 4 KiB to 1 GiB are possible",
                self.kernarg_bytes
            )));
        }
        if let Some(mask) = &self.mask {
            let topology = agent.topology()?;
            if mask.topology() != topology {
                return Err(Error::WrongAgent {
                    what: "the CU mask",
                    made_for: mask.topology().to_string(),
                    used_on: topology.to_string(),
                });
            }
            if let (Some(value), false) = (std::env::var_os("HSA_CU_MASK"), self.ignore_hsa_cu_mask) {
                return Err(Error::HsaCuMaskSet { value: value.to_string_lossy().into_owned() });
            }
        }
        Ok(())
    }
}

/// An AQL queue. See the module's text.
pub struct Queue {
    state: Arc<QueueState>,
}

/// What tokens share with the queue.
pub(crate) struct QueueState {
    agent: Agent,
    label: String,
    mask: Option<CuMask>,
    ring: Ring<HsaPort>,
    queue: NonNull<hsa_queue_t>,
    id: u64,
    flights: Flights<Signal, Hold>,
    counters: Counters,
    kernargs: Arc<Kernargs>,
    profiling: bool,
    drain: Duration,
    fault: Arc<FaultCell>,
    failure: OnceLock<Arc<Failure>>,
    /// What submissions in flight wait for on other queues.
    waiting: Mutex<Vec<Arc<[Pin]>>>,
    /// Entries of `waiting`, so that the common case of none needs no lock.
    waiting_len: AtomicUsize,
    closed: AtomicBool,
}

// SAFETY: `queue` is only passed to ROCr's thread-safe functions, and only by the owning Queue or before it is dropped; every
// other field is Send and Sync by itself.
unsafe impl Send for QueueState {}
// SAFETY: as for Send.
unsafe impl Sync for QueueState {}

/// Kernarg memory of one queue.
struct Kernargs {
    block: Block,
    ring: KernargRing,
}

/// What a submission keeps alive until it is complete.
pub(crate) struct Hold {
    kernargs: Option<(Arc<Kernargs>, KernargRange)>,
    buffers: Vec<BufferRef>,
    _kernels: Vec<Kernel>,
    _pins: Option<Arc<[Pin]>>,
    time: Option<TimeCell>,
}

impl Cargo<Option<GpuTime>> for Hold {
    fn complete(self, times: impl FnOnce() -> Option<GpuTime>) {
        if let Some(cell) = &self.time {
            // Set once: a submission completes once.
            let _ = cell.set(times());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((kernargs, range)) = self.kernargs.take() {
            kernargs.ring.release(range);
        }
        for buffer in self.buffers.drain(..) {
            buffer.block.leave();
        }
    }
}

impl Queue {
    /// A queue on `agent`, to be made.
    pub fn builder(agent: &Agent) -> QueueBuilder {
        QueueBuilder {
            agent: agent.clone(),
            label: "queue".into(),
            mask: None,
            size: 1024,
            kernarg_bytes: 256 << 10,
            profiling: false,
            drain: Duration::from_secs(5),
            oversubscribe: false,
            ignore_hsa_cu_mask: false,
        }
    }

    fn create(options: QueueBuilder) -> Result<Self> {
        options.check()?;
        let agent = options.agent.clone();
        let runtime = agent.runtime().clone();
        let hsa = runtime.hsa();
        // Counted and created under one lock, so that two threads cannot both take the last queue.
        let creation = runtime.lock_creation();
        if !options.oversubscribe {
            QueueBudget::of(&agent).check(1)?;
        }
        let kernarg_bytes = options.kernarg_bytes.next_power_of_two();
        let kernargs = Arc::new(Kernargs {
            block: Block::host(&agent, PoolKind::Kernarg, kernarg_bytes)?,
            ring: KernargRing::new(kernarg_bytes),
        });
        let fault = Arc::new(FaultCell::new());
        runtime.keep_fault_cell(fault.clone());
        let mut raw = std::ptr::null_mut();
        // SAFETY: the callback matches its data, which the runtime keeps until shut-down; segment sizes of u32::MAX
        // leave the choice to ROCr; `raw` is written on success.
        let status = unsafe {
            (hsa.hsa_queue_create)(
                agent.handle(),
                options.size,
                HSA_QUEUE_TYPE_MULTI,
                Some(on_queue_error),
                Arc::as_ptr(&fault).cast_mut().cast(),
                u32::MAX,
                u32::MAX,
                &raw mut raw,
            )
        };
        let named = |error| match error {
            Error::Hsa { call, status, text, .. } => {
                Error::Hsa { call, status, text, context: format!(": {} on {agent}", options.label) }
            }
            other => other,
        };
        runtime.check("hsa_queue_create", status).map_err(named)?;
        let queue =
            NonNull::new(raw).ok_or_else(|| Error::Invalid("hsa_queue_create gave no queue".into()))?;
        let guard = DestroyOnError { hsa, queue };
        if let Some(mask) = &options.mask {
            let bits = mask.words().len() as u32 * 32;
            // SAFETY: the queue is alive, and there are as many mask words as the bit count says.
            let status = unsafe { (hsa.hsa_amd_queue_cu_set_mask)(raw, bits, mask.words().as_ptr()) };
            // HSA_CU_MASK reduced it; that was allowed above.
            if status != HSA_STATUS_CU_MASK_REDUCED as hsa_status_t {
                runtime.check("hsa_amd_queue_cu_set_mask", status).map_err(named)?;
            }
        }
        if options.profiling {
            // SAFETY: the queue is alive.
            let status = unsafe { (hsa.hsa_amd_profiling_set_profiler_enabled)(raw, 1) };
            runtime.check("hsa_amd_profiling_set_profiler_enabled", status).map_err(named)?;
        }
        // SAFETY: the queue is alive. Nothing was ever written to it, so both indices stand here.
        let start = unsafe { (hsa.hsa_queue_load_write_index_relaxed)(raw) };
        std::mem::forget(guard);
        // SAFETY: a fresh multi-producer queue of this ROCr that only this port writes to. `close` destroys it, after
        // which nothing uses the port.
        let port = unsafe { HsaPort::new(hsa.clone(), queue) };
        let state = Arc::new(QueueState {
            label: options.label,
            mask: options.mask,
            ring: Ring::new(port, start),
            queue,
            // SAFETY: the queue is alive.
            id: unsafe { queue.as_ref() }.id,
            flights: Flights::new(options.size),
            counters: Counters::default(),
            kernargs,
            profiling: options.profiling,
            drain: options.drain,
            fault,
            failure: OnceLock::new(),
            waiting: Mutex::new(Vec::new()),
            waiting_len: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            agent: agent.clone(),
        });
        let weak: std::sync::Weak<QueueState> = Arc::downgrade(&state);
        runtime.add_queue(weak);
        drop(creation);
        Ok(Self { state })
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.state.label
    }

    /// The GPU that it is on.
    pub fn agent(&self) -> &Agent {
        &self.state.agent
    }

    /// The mask that it was given; none if it uses every CU. This is our own record: some ROCr releases report another.
    pub fn mask(&self) -> Option<&CuMask> {
        self.state.mask.as_ref()
    }

    /// ROCr's id of the queue.
    pub fn id(&self) -> u64 {
        self.state.id
    }

    /// Packets that the ring holds.
    pub fn size(&self) -> u32 {
        self.state.ring.size()
    }

    /// HSA's queue, for calls that this crate does not make. Writing packets to it, or destroying it, breaks this
    /// queue: only we may.
    pub fn as_raw(&self) -> *mut hsa_queue_t {
        self.state.queue.as_ptr()
    }

    /// The mask as ROCr reports it, where it has the call. Some releases report what was set before.
    pub fn reported_mask(&self) -> Option<Vec<u32>> {
        let get = self.agent().runtime().hsa().hsa_amd_queue_cu_get_mask?;
        let mut words = vec![0u32; (self.agent().topology().ok()?.cu_count() as usize).div_ceil(32)];
        // SAFETY: the queue is alive, and there is room for as many bits as are asked for.
        let status = unsafe { get(self.state.queue.as_ptr(), words.len() as u32 * 32, words.as_mut_ptr()) };
        (status == HSA_STATUS_SUCCESS).then_some(words)
    }

    /// Submissions that are not complete.
    pub fn unfinished(&self) -> u32 {
        self.state.flights.sweep_all();
        self.state.flights.unfinished()
    }

    /// Packets that it was given so far.
    pub fn packet_counts(&self) -> PacketCounts {
        self.state.counters.read()
    }

    /// Why the queue is dead, if it is. Sticky.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.state.failure()
    }

    /// Several packets to be submitted together: one reservation, one doorbell, one signal.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Submits one kernel, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Batch::submit`].
    pub fn dispatch(&self, dispatch: Dispatch, timeout: Duration) -> Result<Token> {
        let mut batch = self.batch();
        batch.dispatch(dispatch)?;
        batch.submit(timeout)
    }

    /// Submits one kernel without waiting.
    ///
    /// # Errors
    /// As [`Batch::try_submit`].
    pub fn try_dispatch(&self, dispatch: Dispatch) -> Result<Token> {
        let mut batch = self.batch();
        batch.dispatch(dispatch)?;
        batch.try_submit()
    }

    /// Holds up everything that is submitted to this queue later until all of `after` is complete: barrier-AND packets,
    /// one for each five. Waits for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Batch::submit`].
    pub fn barrier_and(&self, after: &[Token], timeout: Duration) -> Result<Token> {
        let mut batch = self.batch();
        batch.barrier_and(after)?;
        batch.submit(timeout)
    }

    /// Waits until everything submitted so far is complete.
    ///
    /// # Errors
    /// [`Error::Timeout`], or [`Error::Failed`] if the queue is dead.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        self.state.drain(timeout)
    }

    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.state
    }
}

impl QueueState {
    pub(crate) fn flights(&self) -> &Flights<Signal, Hold> {
        &self.flights
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Most packets and kernarg bytes of one submission.
    pub(crate) fn limits(&self) -> (u64, u64) {
        (u64::from(self.ring.size()), self.kernargs.ring.largest())
    }

    /// Why the queue is dead, if it is: its own error, its GPU's, or that of a queue that it waits for.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure_seen(&mut Vec::new())
    }

    /// As [`QueueState::failure`]; `seen` are the queues that have been asked already, for queues may wait for each other.
    pub(crate) fn failure_seen(&self, seen: &mut Vec<*const Self>) -> Option<Arc<Failure>> {
        if let Some(failure) = self.own_failure() {
            return Some(failure);
        }
        // Acquire: pairs with the release in `waits_for`; whoever got the token of a waiting submission sees its entry.
        if self.waiting_len.load(Ordering::Acquire) == 0 || seen.contains(&std::ptr::from_ref(self)) {
            return None;
        }
        seen.push(self);
        // Copied, so that no two queues' locks are ever held at once.
        let waiting: Vec<Arc<[Pin]>> = self.waiting.lock().expect("no panic while it is held").clone();
        let cause = waiting.iter().flat_map(|pins| pins.iter()).find_map(|pin| pin.failure(seen))?;
        let failure = Arc::new(Failure::Dependency { queue: self.label.clone(), cause });
        Some(self.failure.get_or_init(|| failure).clone())
    }

    /// Remembers what a submission waits for, and forgets what has happened.
    fn waits_for(&self, pins: Arc<[Pin]>) {
        let mut waiting = self.waiting.lock().expect("no panic while it is held");
        let (over, still): (Vec<_>, Vec<_>) =
            waiting.drain(..).partition(|pins| pins.iter().all(Pin::is_done));
        *waiting = still;
        waiting.push(pins);
        // Release: pairs with the acquire in `failure_seen`.
        self.waiting_len.store(waiting.len(), Ordering::Release);
        drop(waiting);
        // Dropping pins can free another queue's state: not under the lock.
        drop(over);
    }

    /// As [`QueueState::failure`], without asking the queues that it waits for.
    pub(crate) fn own_failure(&self) -> Option<Arc<Failure>> {
        if let Some(failure) = self.failure.get() {
            return Some(failure.clone());
        }
        let found = match self.fault.status() {
            Some(status) => {
                let text = self.agent.runtime().status_text(status);
                Arc::new(Failure::Queue { queue: self.label.clone(), status, text })
            }
            None => self.agent.failure()?,
        };
        Some(self.failure.get_or_init(|| found).clone())
    }

    pub(crate) fn destroyed(&self) -> Arc<Failure> {
        self.failure.get_or_init(|| Arc::new(Failure::Destroyed { queue: self.label.clone() })).clone()
    }

    /// Writes the packets, if there is room for everything. Fails without effect otherwise.
    pub(crate) fn try_submit(self: &Arc<Self>, work: &Prepared) -> Result<Token> {
        if let Some(failure) = self.failure() {
            return Err(failure.into());
        }
        // A little of what is complete, each time: so buffers come back even if nobody asks for their tokens.
        self.flights.sweep(2);
        let full = |what| Error::WouldBlock { queue: self.label.clone(), what };
        let mut hold = Hold {
            kernargs: None,
            buffers: Vec::new(),
            _kernels: work.kernels.clone(),
            _pins: None,
            time: None,
        };
        let mut claim = self.flights.claim(|| Signal::new(&self.agent))?;
        if claim.is_none() && self.flights.sweep_all() > 0 {
            claim = self.flights.claim(|| Signal::new(&self.agent))?;
        }
        let claim = claim.ok_or_else(|| full("submission slot"))?;
        hold.buffers.reserve(work.buffers.len());
        for buffer in &work.buffers {
            // Entered one by one into the hold, which gives back what it has if a later one is refused.
            buffer.block.enter()?;
            hold.buffers.push(buffer.clone());
        }
        let mut address = 0;
        if !work.kernargs.is_empty() {
            let bytes = work.kernargs.len() as u64;
            let mut range = self.kernargs.ring.alloc(bytes);
            if range.is_none() && self.flights.sweep_all() > 0 {
                range = self.kernargs.ring.alloc(bytes);
            }
            let range = range.ok_or_else(|| full("kernarg space"))?;
            let place = self.kernargs.block.address().wrapping_add(range.offset);
            // SAFETY: the range lies in the block and is ours until the hold gives it back; no kernel reads it, because
            // its last user's work is complete.
            unsafe { std::ptr::copy_nonoverlapping(work.kernargs.as_ptr(), place, work.kernargs.len()) };
            address = place as u64;
            hold.kernargs = Some((self.kernargs.clone(), range));
        }
        if self.profiling {
            hold.time = Some(TimeCell::default());
        }
        // Pins are taken last: a dependency that is complete by now needs none, and its packet none of its slots.
        let pins = work.pins();
        let (packets, count) = work.packets(claim.signal().handle(), address, &pins, &self.agent);
        claim.arm(count);
        let pins: Option<Arc<[Pin]>> =
            if pins.iter().all(Vec::is_empty) { None } else { Some(pins.into_iter().flatten().collect()) };
        hold._pins = pins.clone();
        let time = hold.time.clone();
        match self.ring.try_push(&packets) {
            Ok(_) => self.counters.add(&packets),
            Err(Refused::Full) => return Err(full("packet slot")),
            Err(Refused::TooLarge) => {
                let limit = u64::from(self.ring.size());
                return Err(Error::TooLarge { what: "packets", asked: packets.len() as u64, limit });
            }
        }
        let ticket = claim.launch(hold);
        if let Some(pins) = pins {
            self.waits_for(pins);
        }
        Ok(Token::new(self.clone(), ticket, time))
    }

    /// As [`QueueState::try_submit`], waiting for room. No lock is held while waiting.
    pub(crate) fn submit(self: &Arc<Self>, work: &Prepared, timeout: Duration) -> Result<Token> {
        let begin = Instant::now();
        let mut tries = 0u32;
        loop {
            match self.try_submit(work) {
                Err(Error::WouldBlock { .. }) if begin.elapsed() < timeout => {}
                other => return other,
            }
            // The packet processor needs microseconds to free a slot: first look again at once, then sleep a little.
            match tries {
                0..100 => std::hint::spin_loop(),
                100..200 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            tries = tries.saturating_add(1);
        }
    }

    fn drain(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            self.flights.sweep_all();
            if self.flights.unfinished() == 0 {
                return Ok(());
            }
            if let Some(failure) = self.failure() {
                return Err(failure.into());
            }
            if begin.elapsed() >= timeout {
                return Err(Error::Timeout { what: format!("draining {}", self.label), after: timeout });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// Takes the queue from the hardware. Called once, by its owner.
    fn close(&self) {
        let runtime = self.agent.runtime();
        // SAFETY: the queue is ours, this is its only destruction, and its owner is gone, so nobody submits any more.
        unsafe { (runtime.hsa().hsa_queue_destroy)(self.queue.as_ptr()) };
        // Release: pairs with the acquire in `is_open`.
        self.closed.store(true, Ordering::Release);
        if self.flights.unfinished() > 0 {
            // Before the slots are marked as lost, so that a token which sees that finds the reason.
            self.flights.sweep_all();
            if self.flights.unfinished() > 0 && self.own_failure().is_none() {
                self.destroyed();
            }
        }
        self.flights.close();
        drop(std::mem::take(&mut *self.waiting.lock().expect("no panic while it is held")));
    }
}

impl Sweep for QueueState {
    fn sweep(&self) {
        self.flights.sweep_all();
    }

    fn is_open_on(&self, agent: hsa_agent_t) -> bool {
        // Acquire: pairs with the release in `close`.
        self.agent.handle().handle == agent.handle && !self.closed.load(Ordering::Acquire)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.state.failure().is_none() {
            // What does not finish in time is lost, and its tokens will say so.
            let _ = self.state.drain(self.state.drain);
        }
        self.state.close();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Queue");
        out.field("label", &self.state.label).field("id", &self.state.id).field("size", &self.size());
        out.field("mask", &self.state.mask).finish()
    }
}

/// Destroys a queue that was created but could not be set up.
struct DestroyOnError<'a> {
    hsa: &'a Hsa,
    queue: NonNull<hsa_queue_t>,
}

impl Drop for DestroyOnError<'_> {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and nobody else has it.
        unsafe { (self.hsa.hsa_queue_destroy)(self.queue.as_ptr()) };
    }
}
