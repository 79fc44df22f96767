//! ROCr, initialised: the first object of every program.
//!
//! Make one and clone it: queues, signals and buffers are counted and completed by runtime. A [`Runtime`] is a handle; clones
//! share one `hsa_init`. Every other object of this crate holds one, so the runtime is shut
//! down when the last of them is gone, in whatever order they are dropped. Everything here may be used from any thread.

use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::agent_info::AgentInfo;
use crate::error::{Error, Failure, Result};
use crate::failures::Failures;
use crate::fault::FaultCell;
use crate::lane::Lanes;
use crate::status::{check_with, status_text};

/// Interrupt signals that we make at most; later ones are polled. KFD has 4096 events in a process, ROCr takes one for each
/// interrupt signal and several for itself, and past the limit it silently gives polled signals.
const MAX_INTERRUPT_SIGNALS: u32 = 3072;

/// The HSA runtime of this process.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    hsa: Hsa,
    gpus: Vec<Arc<AgentInfo>>,
    cpus: Vec<Arc<AgentInfo>>,
    /// Ticks of ROCr's system clock in a second.
    timestamp_hz: u64,
    faults: Arc<FaultBoard>,
    interrupt_signals: AtomicU32,
    lanes: Lanes,
    /// Held while queues are counted against the hardware's budget and created.
    creating: Mutex<()>,
    /// Every queue that is not dropped.
    queues: Mutex<Vec<Weak<dyn Sweep>>>,
    /// Where queues' errors are left. Kept until shut-down, because ROCr's threads hold pointers to them.
    fault_cells: Mutex<Vec<Arc<FaultCell>>>,
}

/// What the runtime knows of a queue.
pub(crate) trait Sweep: Send + Sync {
    /// Completes what is finished, so that buffers come back.
    fn sweep(&self);
    /// Waits for other threads that are completing something right now, at most until `end`.
    fn settle(&self, end: Instant);
    /// Whether it occupies a hardware queue of this agent.
    fn is_open_on(&self, agent: hsa_agent_t) -> bool;
    /// Whether nothing is in flight.
    fn is_idle(&self) -> bool;
    /// Writes back the agent's caches, behind all that is in the queue.
    fn flush(&self, patience: Duration) -> Result<()>;
}

/// Where ROCr's thread leaves memory faults: one place for each GPU. It outlives the runtime object, because ROCr offers no way
/// to take a handler back.
struct FaultBoard {
    gpus: Vec<GpuFaults>,
    failures: Arc<Failures>,
}

struct GpuFaults {
    agent: u64,
    name: String,
    fault: OnceLock<Arc<Failure>>,
    /// Our queues on this GPU.
    open_queues: AtomicU32,
}

impl Runtime {
    /// Finds ROCr, initialises it and looks at the machine.
    ///
    /// # Errors
    /// [`Error::Load`] if there is no usable ROCr, [`Error::NoDriver`] or [`Error::NoPermission`] if the GPU driver cannot be
    /// reached, [`Error::Hsa`] if ROCr fails otherwise. A machine without a GPU agent is no error here: see
    /// [`Runtime::gpu`].
    pub fn new() -> Result<Self> {
        Self::with(Hsa::load()?)
    }

    /// Initialises the given ROCr.
    ///
    /// # Errors
    /// As [`Runtime::new`].
    pub fn with(hsa: Hsa) -> Result<Self> {
        // SAFETY: hsa_init has no preconditions; it is reference-counted and paired with the shut-down below.
        let status = unsafe { (hsa.hsa_init)() };
        if status != HSA_STATUS_SUCCESS {
            return Err(explain_init_failure(&hsa, status));
        }
        // From here on the shut-down must happen on every path.
        let guard = ShutDown(hsa.clone());
        let mut timestamp_hz = 0u64;
        // SAFETY: this attribute is a uint64_t.
        let status = unsafe {
            (hsa.hsa_system_get_info)(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, (&raw mut timestamp_hz).cast())
        };
        check_with(&hsa, "hsa_system_get_info", status)?;
        if timestamp_hz == 0 {
            return Err(Error::Invalid("ROCr reports a system clock of 0 Hz".into()));
        }
        let (gpus, cpus) = AgentInfo::all(&hsa)?;
        let board = |agent: &Arc<AgentInfo>| GpuFaults {
            agent: agent.handle.handle,
            name: agent.to_string(),
            fault: OnceLock::new(),
            open_queues: AtomicU32::new(0),
        };
        let faults =
            Arc::new(FaultBoard { gpus: gpus.iter().map(board).collect(), failures: Arc::default() });
        let data = Arc::into_raw(faults.clone()).cast_mut();
        // SAFETY: the handler has the type that HSA asks for. `data` is one reference to the board that is given away
        // for good, so it is valid whenever ROCr calls.
        let status =
            unsafe { (hsa.hsa_amd_register_system_event_handler)(Some(on_system_event), data.cast()) };
        if status != HSA_STATUS_SUCCESS {
            // SAFETY: ROCr did not take the handler, so the reference is still ours.
            drop(unsafe { Arc::from_raw(data) });
            check_with(&hsa, "hsa_amd_register_system_event_handler", status)?;
        }
        std::mem::forget(guard);
        let inner = Inner {
            hsa,
            gpus,
            cpus,
            timestamp_hz,
            faults,
            interrupt_signals: AtomicU32::new(0),
            lanes: Lanes::default(),
            creating: Mutex::new(()),
            queues: Mutex::new(Vec::new()),
            fault_cells: Mutex::new(Vec::new()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn gpu_infos(&self) -> &[Arc<AgentInfo>] {
        &self.inner.gpus
    }

    pub(crate) fn cpu_infos(&self) -> &[Arc<AgentInfo>] {
        &self.inner.cpus
    }

    /// The loaded ROCr.
    pub fn hsa(&self) -> &Hsa {
        &self.inner.hsa
    }

    /// ROCr's version (major, minor) of the HSA interface that it implements.
    pub fn hsa_version(&self) -> Result<(u16, u16)> {
        let mut version = (0u16, 0u16);
        // SAFETY: this attribute is a uint16_t.
        let status = unsafe {
            (self.hsa().hsa_system_get_info)(HSA_SYSTEM_INFO_VERSION_MAJOR, (&raw mut version.0).cast())
        };
        self.check("hsa_system_get_info", status)?;
        // SAFETY: this attribute is a uint16_t.
        let status = unsafe {
            (self.hsa().hsa_system_get_info)(HSA_SYSTEM_INFO_VERSION_MINOR, (&raw mut version.1).cast())
        };
        self.check("hsa_system_get_info", status)?;
        Ok(version)
    }

    /// Hold the guard from counting queues to having created one.
    pub(crate) fn lock_creation(&self) -> MutexGuard<'_, ()> {
        self.inner.creating.lock().expect("no panic while it is held")
    }

    pub(crate) fn add_queue(&self, queue: Weak<dyn Sweep>, agent: hsa_agent_t) {
        if let Some(gpu) = self.inner.faults.gpu(agent) {
            // Relaxed: only whether there are any; a fault of our queue comes long after.
            gpu.open_queues.fetch_add(1, Ordering::Relaxed);
        }
        let mut queues = self.inner.queues.lock().expect("no panic while it is held");
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(queue);
    }

    pub(crate) fn queue_closed(&self, agent: hsa_agent_t) {
        if let Some(gpu) = self.inner.faults.gpu(agent) {
            // Relaxed: as above.
            gpu.open_queues.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn queues(&self) -> Vec<Arc<dyn Sweep>> {
        self.inner
            .queues
            .lock()
            .expect("no panic while it is held")
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Our own queues that occupy a hardware queue of this agent.
    pub(crate) fn open_queues(&self, agent: hsa_agent_t) -> u32 {
        self.queues().iter().filter(|queue| queue.is_open_on(agent)).count() as u32
    }

    /// Completes what is finished on every queue.
    pub(crate) fn sweep_queues(&self) {
        self.each_queue(|queue| queue.sweep());
    }

    /// As [`Runtime::sweep_queues`]; and what other threads are completing at the moment is complete afterwards, unless that takes longer
    /// than `patience`.
    pub(crate) fn settle_queues(&self, patience: Duration) {
        let end = Instant::now() + patience;
        self.each_queue(|queue| {
            queue.sweep();
            queue.settle(end);
        });
    }

    fn each_queue(&self, look: impl Fn(&dyn Sweep)) {
        // One by one, so that the lock is not held meanwhile and nothing is allocated. If queues go meanwhile, one may be left out.
        for index in 0.. {
            let queue = {
                let queues = self.inner.queues.lock().expect("no panic while it is held");
                let Some(queue) = queues.get(index) else { break };
                queue.upgrade()
            };
            if let Some(queue) = queue {
                look(&*queue);
            }
        }
    }

    /// Writes back an agent's caches, so that the host sees what complete work has written. Through an idle queue if there is one. False if
    /// no queue could do it: all are gone, dead, or held up for longer than `patience`.
    pub(crate) fn flush(&self, agent: hsa_agent_t, patience: Duration) -> Result<bool> {
        if let Some(failure) = self.memory_fault(agent) {
            return Err(failure.into());
        }
        let mut queues = self.queues();
        queues.retain(|queue| queue.is_open_on(agent));
        queues.sort_by_key(|queue| !queue.is_idle());
        Ok(queues.iter().any(|queue| queue.flush(patience).is_ok()))
    }

    /// Numbers for queues.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    pub(crate) fn keep_fault_cell(&self, cell: Arc<FaultCell>) {
        self.inner.fault_cells.lock().expect("no panic while it is held").push(cell);
    }

    /// Whether both are handles of one runtime.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Ticks of ROCr's system clock that `nanoseconds` are.
    pub(crate) fn ticks(&self, nanoseconds: u128) -> u64 {
        u64::try_from(nanoseconds * u128::from(self.inner.timestamp_hz) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// Nanoseconds that `ticks` of ROCr's system clock are.
    pub(crate) fn nanoseconds(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.inner.timestamp_hz)) as u64
    }

    /// Turns a status into an error that names the call.
    pub(crate) fn check(&self, call: &'static str, status: hsa_status_t) -> Result<()> {
        check_with(self.hsa(), call, status)
    }

    pub(crate) fn status_text(&self, status: hsa_status_t) -> String {
        status_text(self.hsa(), status)
    }

    /// The memory fault that took this GPU away, if there was one.
    pub(crate) fn memory_fault(&self, agent: hsa_agent_t) -> Option<Arc<Failure>> {
        self.inner.faults.gpu(agent)?.fault.get().cloned()
    }

    /// Whether anything has ever failed.
    pub(crate) fn failures(&self) -> &Arc<Failures> {
        &self.inner.faults.failures
    }

    /// Whether one more interrupt signal may be made; counts it.
    pub(crate) fn take_interrupt_signal(&self) -> bool {
        // Relaxed: only a count.
        self.inner
            .interrupt_signals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < MAX_INTERRUPT_SIGNALS).then_some(n + 1)
            })
            .is_ok()
    }

    pub(crate) fn return_interrupt_signal(&self) {
        // Relaxed: only a count.
        self.inner.interrupt_signals.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("hsa", &self.inner.hsa).field("gpus", &self.inner.gpus.len()).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(ShutDown(self.hsa.clone()));
    }
}

/// Undoes one `hsa_init`.
struct ShutDown(Hsa);

impl Drop for ShutDown {
    fn drop(&mut self) {
        // SAFETY: pairs with one successful hsa_init. Every object that uses ROCr holds a Runtime, so none is left.
        unsafe { (self.0.hsa_shut_down)() };
    }
}

impl FaultBoard {
    fn gpu(&self, agent: hsa_agent_t) -> Option<&GpuFaults> {
        self.gpus.iter().find(|gpu| gpu.agent == agent.handle)
    }
}

/// ROCr's thread reports a memory fault. Only records it; whoever waits looks here at least every few milliseconds.
unsafe extern "C" fn on_system_event(
    event: *const hsa_amd_event_t,
    data: *mut std::ffi::c_void,
) -> hsa_status_t {
    // SAFETY: `data` is the reference to a FaultBoard given away at registration; it is never taken back.
    let board = unsafe { &*data.cast::<FaultBoard>() };
    // SAFETY: ROCr passes a valid event for the duration of the call.
    let event = unsafe { &*event };
    if event.event_type != HSA_AMD_GPU_MEMORY_FAULT_EVENT {
        return HSA_STATUS_ERROR;
    }
    // SAFETY: the event's type says that the union holds a memory fault.
    let fault = unsafe { event.__bindgen_anon_1.memory_fault };
    let Some(gpu) = board.gpu(fault.agent) else { return HSA_STATUS_ERROR };
    let failure = Failure::MemoryFault {
        agent: gpu.name.clone(),
        address: fault.virtual_address,
        reason: fault_reason(fault.fault_reason_mask),
    };
    // The first fault is the one to report; a later one changes nothing.
    let _ = gpu.fault.set(Arc::new(failure));
    board.failures.note();
    // Relaxed: only whether there are any.
    if gpu.open_queues.load(Ordering::Relaxed) == 0 {
        // Somebody else's kernel: leave it to them, or to ROCr.
        return HSA_STATUS_ERROR;
    }
    // Success tells ROCr that the fault is handled: otherwise it ends the process.
    HSA_STATUS_SUCCESS
}

fn fault_reason(mask: u32) -> String {
    let names = [
        (HSA_AMD_MEMORY_FAULT_PAGE_NOT_PRESENT as u32, "page not present"),
        (HSA_AMD_MEMORY_FAULT_READ_ONLY as u32, "write to a read-only page"),
        (HSA_AMD_MEMORY_FAULT_NX as u32, "execution of a page that is not executable"),
        (HSA_AMD_MEMORY_FAULT_HOST_ONLY as u32, "page for the host only"),
        (HSA_AMD_MEMORY_FAULT_DRAMECC as u32, "DRAM ECC error"),
        (HSA_AMD_MEMORY_FAULT_IMPRECISE as u32, "address not exact"),
        (HSA_AMD_MEMORY_FAULT_SRAMECC as u32, "SRAM ECC error"),
        (HSA_AMD_MEMORY_FAULT_HANG as u32, "GPU reset after a hang"),
    ];
    let said: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    if said.is_empty() { format!("reason {mask:#x}") } else { said.join(", ") }
}

/// ROCr 5.2 answers "out of resources" to a missing driver and a missing permission alike: look for ourselves.
fn explain_init_failure(hsa: &Hsa, status: hsa_status_t) -> Error {
    const KFD: &str = "/dev/kfd";
    match fs::OpenOptions::new().read(true).write(true).open(KFD) {
        Err(error) if error.kind() == ErrorKind::NotFound => Error::NoDriver,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Error::NoPermission { path: KFD, reason: error.to_string() }
        }
        Err(error) => {
            let context = format!(": {KFD} cannot be opened: {error}");
            Error::Hsa { call: "hsa_init", status, text: status_text(hsa, status), context }
        }
        Ok(_) => {
            let context =
                ": /dev/kfd opens, so the driver is there; a render node (/dev/dri/renderD*) may not be \
                           accessible, or ROCr and driver may not match"
                    .into();
            Error::Hsa { call: "hsa_init", status, text: status_text(hsa, status), context }
        }
    }
}
