//! Making a queue: checks, the hardware's budget, `hsa_queue_create`, the CU mask. All or nothing.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hsa_sys::*;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::block::Block;
use crate::budget::QueueBudget;
use crate::cu_mask::CuMask;
use crate::error::{Error, Result};
use crate::fault::{FaultCell, on_queue_error};
use crate::hold::Kernargs;
use crate::kernarg_ring::KernargRing;
use crate::packet_ring::PacketRing;
use crate::port::HsaPort;
use crate::program::{Assembly, Program};
use crate::queue::{Queue, check_mask, set_mask};
use crate::queue_state::{Parts, QueueState};
use crate::ring::Ring;
use crate::shared_ring::SharedRing;

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
    pub(crate) oversubscribe: bool,
    pub(crate) ignore_hsa_cu_mask: bool,
}

impl Queue {
    /// A queue on `agent`, to be made.
    pub fn builder(agent: &Agent) -> QueueBuilder {
        QueueBuilder::new(agent)
    }
}

impl QueueBuilder {
    pub(crate) fn new(agent: &Agent) -> Self {
        Self {
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

    /// Lets the GPU record when packets begin and end: see [`crate::Token::gpu_time`].
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

    /// Allows the queue although the environment variable `HSA_CU_MASK` is set, which ROCr ANDs into every queue's mask.
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
        self.check()?;
        create(self)
    }

    fn check_kernargs(&self) -> Result<()> {
        if (4096..=1 << 30).contains(&self.kernarg_bytes) {
            return Ok(());
        }
        Err(Error::Invalid(format!("{} bytes of kernargs: 4 KiB to 1 GiB are possible", self.kernarg_bytes)))
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
        self.check_kernargs()?;
        if let Some(mask) = &self.mask {
            check_mask(agent, mask)?;
        }
        // Unmasked queues get it, too: ROCr applies it when it creates a queue.
        if let (Some(value), false) = (std::env::var_os("HSA_CU_MASK"), self.ignore_hsa_cu_mask) {
            return Err(Error::HsaCuMaskSet { value: value.to_string_lossy().into_owned() });
        }
        Ok(())
    }
}

fn create(options: QueueBuilder) -> Result<Queue> {
    let agent = options.agent.clone();
    let runtime = agent.runtime().clone();
    let hsa = runtime.hsa();
    // Counted and created under one lock, so that two threads cannot both take the last queue.
    let creation = runtime.lock_creation();
    if !options.oversubscribe {
        QueueBudget::of(&agent).check(1)?;
    }
    let kernargs = kernargs(&options)?;
    let fault = Arc::new(FaultCell::new(runtime.failures().clone()));
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
    let queue = NonNull::new(raw).ok_or_else(|| Error::Invalid("hsa_queue_create gave no queue".into()))?;
    let guard = DestroyOnError { hsa, queue };
    if let Some(mask) = &options.mask {
        set_mask(&agent, &options.label, queue, mask)?;
    }
    enable_profiling(&options, queue)?;
    std::mem::forget(guard);
    let parts = parts(options, queue, kernargs, fault, true)?;
    // SAFETY: the queue was just made, as a multi-producer queue, and nobody else has it. `QueueState::close` destroys it, after which
    // nothing uses the port.
    let port = unsafe { HsaPort::new(hsa.clone(), queue) };
    // SAFETY: the queue is alive. Nothing was ever written to it, so both indices stand here.
    let start = unsafe { (hsa.hsa_queue_load_write_index_relaxed)(raw) };
    let queue = finish(parts, PacketRing::Own(Ring::new(port, start)));
    drop(creation);
    Ok(queue)
}

fn enable_profiling(options: &QueueBuilder, queue: NonNull<hsa_queue_t>) -> Result<()> {
    if !options.profiling {
        return Ok(());
    }
    let runtime = options.agent.runtime();
    // SAFETY: the queue is alive.
    let status = unsafe { (runtime.hsa().hsa_amd_profiling_set_profiler_enabled)(queue.as_ptr(), 1) };
    runtime.check("hsa_amd_profiling_set_profiler_enabled", status)
}

fn kernargs(options: &QueueBuilder) -> Result<Arc<Kernargs>> {
    let bytes = options.kernarg_bytes.next_power_of_two();
    let block = Block::host(&options.agent, PoolKind::Kernarg, bytes)?;
    Ok(Arc::new(Kernargs { block, ring: KernargRing::new(bytes) }))
}

fn parts(
    options: QueueBuilder,
    queue: NonNull<hsa_queue_t>,
    kernargs: Arc<Kernargs>,
    fault: Arc<FaultCell>,
    owned: bool,
) -> Result<Parts> {
    Ok(Parts {
        empty: Arc::new(Program::new(&options.agent, std::iter::empty(), Assembly::default())?),
        agent: options.agent,
        label: options.label,
        mask: Mutex::new(options.mask),
        queue,
        // SAFETY: the queue is alive.
        id: unsafe { queue.as_ref() }.id,
        kernargs,
        profiling: options.profiling,
        drain: options.drain,
        fault,
        owned,
    })
}

fn finish(parts: Parts, ring: PacketRing) -> Queue {
    let agent = parts.agent.clone();
    let state = Arc::new(QueueState::new(parts, ring));
    let weak: Weak<QueueState> = Arc::downgrade(&state);
    agent.runtime().add_queue(weak, agent.handle());
    Queue::new(state)
}

impl QueueBuilder {
    /// Adopts a queue that the caller made with this ROCr and that he (or a tool) may go on writing to: so that another HSA or HIP runtime can
    /// embed this library. Slots are reserved with HSA's index functions, with what that loses: the packet processor may be sent to a
    /// slot that is still being written. The size is the queue's own; every submission acquires at system scope, because nothing is known
    /// of who else writes memory. Dropping the result drains our work and leaves the queue alone.
    ///
    /// The queue's errors go to the callback that it was made with: pass them on with [`Queue::report_error`], or our tokens wait for what
    /// will never be complete.
    ///
    /// # Safety
    /// `queue` must be a live multi-producer kernel dispatch queue of `agent` whose producers all use the index functions. It must outlive
    /// the [`Queue`]; if that is dropped while its work cannot finish, it must not be destroyed before its GPU is done with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a queue of another kind and for a mask given here (use [`Queue::remask`]); as [`QueueBuilder::create`].
    pub unsafe fn adopt(self, queue: *mut hsa_queue_t) -> Result<Queue> {
        let agent = self.agent.clone();
        agent.check_alive()?;
        self.check_kernargs()?;
        let queue = NonNull::new(queue)
            .ok_or_else(|| Error::Invalid("the queue to adopt is a null pointer".into()))?;
        // SAFETY: the caller's promise.
        let raw = unsafe { queue.as_ref() };
        if raw.type_ != HSA_QUEUE_TYPE_MULTI || raw.features & HSA_QUEUE_FEATURE_KERNEL_DISPATCH == 0 {
            return Err(Error::Invalid(format!(
                "queue {} is not a multi-producer kernel dispatch queue (type {}, features {:#x}): we and its owner both write to it",
                raw.id, raw.type_, raw.features
            )));
        }
        if self.mask.is_some() {
            return Err(Error::Invalid("a mask for a queue that is adopted: use Queue::remask".into()));
        }
        let runtime = agent.runtime();
        let creation = runtime.lock_creation();
        let kernargs = kernargs(&self)?;
        let fault = Arc::new(FaultCell::new(runtime.failures().clone()));
        enable_profiling(&self, queue)?;
        let parts = parts(self, queue, kernargs, fault, false)?;
        // SAFETY: the caller's promise.
        let port = unsafe { HsaPort::new(runtime.hsa().clone(), queue) };
        let queue = finish(parts, PacketRing::Shared(SharedRing::new(port)));
        drop(creation);
        Ok(queue)
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
