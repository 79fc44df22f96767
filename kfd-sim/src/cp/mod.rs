//! The command processor: queues, packets, signals and time of the simulated GPU.
//!
//! One thread, started with the first queue, owns every queue; others help it to run the workgroups of long kernels. It polls doorbells, orders packets as the HSA specification
//! says, executes kernels in slices and lets each packet complete when its GPU time has come. The methods here may be called
//! from any thread; those that change queues return when the device has taken the change.
//!
//! Memory is reached only through [`AddressSpace`], and shared with the host under the HSA memory
//! model: headers and indices by acquire and release, signals atomically.

mod api;
mod aql;
mod aql_queue;
mod clock;
mod common;
mod crew;
mod cu_mask;
mod dispatch;
mod dispatcher;
mod gpu_memory;
mod inbox;
mod kernel;
mod log;
mod names;
mod pm4;
mod processor;
mod queue;
mod races;
mod scratch;
mod sdma;
mod signal;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use api::{CpError, DoorbellPtr, HardwareQueue, QueueDesc, QueueKind};
pub use aql::{PacketType, QueueError};
pub use clock::GpuClock;
pub use cu_mask::CuMask;
pub use dispatcher::{Dispatcher, Grant, Needs, Turn};
pub use log::{CopyRecord, CpStats, DispatchRecord, QueueStats, WorkgroupRecord};

pub use crate::caches::{MemoryModel, Race};
use crate::device::DeviceSpec;
use crate::memory::AddressSpace;
use crate::ports::Interrupts;
use crate::timing::{SimpleModel, TimingModel};
use common::Device;
use crew::Crew;
pub(crate) use crew::MOST_THREADS;
use inbox::{Command, Inbox, Reply};
use kernel::MakeWorkgroup;
use log::Record;
use names::KernelNames;
use processor::Processor;

/// Most words of a CU mask that the kernel accepts (1024 bits).
const MASK_WORDS: usize = 32;

/// The command processor of one GPU. See the module's description.
pub struct CommandProcessor {
    inbox: Arc<Inbox>,
    record: Arc<Mutex<Record>>,
    clock: Arc<GpuClock>,
    model: Arc<dyn TimingModel>,
    spec: Arc<DeviceSpec>,
    memory: Arc<AddressSpace>,
    interrupts: Arc<dyn Interrupts>,
    make: Arc<MakeWorkgroup>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// As last asked for. A thread that is being started takes them from here.
    modes: Mutex<Modes>,
    /// As last asked for.
    threads: AtomicUsize,
    process: u32,
}

/// What can be switched at any time.
#[derive(Clone, Copy, Debug, Default)]
struct Modes {
    memory: MemoryModel,
    races: bool,
    tracing: bool,
    stepping: bool,
}

impl std::fmt::Debug for CommandProcessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandProcessor").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Tells everyone who waits when the thread ends, however it ends.
struct CloseInbox(Arc<Inbox>);

impl Drop for CloseInbox {
    fn drop(&mut self) {
        self.0.close();
        if std::thread::panicking() {
            // Every queue has lost its device: whoever waits would wait for ever.
            eprintln!("kfd-sim: the command processor panicked: a bug of the simulator");
            std::process::abort();
        }
    }
}

impl CommandProcessor {
    /// A device without queues, with the simple timing model. Its thread starts with the first queue.
    pub fn new(
        spec: Arc<DeviceSpec>,
        memory: Arc<AddressSpace>,
        interrupts: Arc<dyn Interrupts>,
        clock: Arc<GpuClock>,
    ) -> Arc<Self> {
        let model = Arc::new(SimpleModel::new(&spec));
        Self::with_timing(spec, memory, interrupts, clock, model)
    }

    /// As [`CommandProcessor::new`], with another timing model.
    pub fn with_timing(
        spec: Arc<DeviceSpec>,
        memory: Arc<AddressSpace>,
        interrupts: Arc<dyn Interrupts>,
        clock: Arc<GpuClock>,
        model: Arc<dyn TimingModel>,
    ) -> Arc<Self> {
        Self::with_parts(spec, memory, interrupts, clock, model, Arc::new(kernel::interpreter))
    }

    fn with_parts(
        spec: Arc<DeviceSpec>,
        memory: Arc<AddressSpace>,
        interrupts: Arc<dyn Interrupts>,
        clock: Arc<GpuClock>,
        model: Arc<dyn TimingModel>,
        make: Arc<MakeWorkgroup>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox: Arc::default(),
            record: Arc::default(),
            clock,
            model,
            spec,
            memory,
            interrupts,
            make,
            thread: Mutex::new(None),
            modes: Mutex::default(),
            threads: AtomicUsize::new(crew::threads_from_env()),
            process: std::process::id(),
        })
    }

    fn thread(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn check_process(&self) -> Result<(), CpError> {
        if std::process::id() == self.process {
            Ok(())
        } else {
            Err(CpError::Forked { parent: self.process })
        }
    }

    fn start(&self) -> Result<(), CpError> {
        let mut thread = self.thread();
        if self.inbox.closed() {
            return Err(CpError::Stopped);
        }
        if thread.is_some() {
            return Ok(());
        }
        let device = Device {
            mem: self.memory.clone(),
            l2: None,
            interrupts: self.interrupts.clone(),
            clock: self.clock.clone(),
            model: self.model.clone(),
            record: self.record.clone(),
            dispatcher: Dispatcher::new(&self.spec.shape),
            crew: Crew::new(self.threads()),
            names: KernelNames::default(),
            events: BinaryHeap::new(),
            seq: 0,
            dispatches: Default::default(),
            next_dispatch: 0,
            races: None,
            tracing: false,
        };
        let modes = *self.modes();
        crate::guard::install();
        let (spec, make, inbox) = (self.spec.clone(), self.make.clone(), self.inbox.clone());
        let memory = self.memory.clone();
        let run = move || {
            let _close = CloseInbox(inbox.clone());
            prepare_thread();
            let _inside = memory.enter();
            Processor::new(spec, device, make, modes).run(&inbox);
        };
        let started = std::thread::Builder::new().name("kfd-sim-cp".into()).spawn(run);
        *thread = Some(started.map_err(|error| {
            eprintln!("kfd-sim: cannot start the command processor's thread: {error}");
            CpError::Stopped
        })?);
        Ok(())
    }

    fn call(&self, command: Command) -> Reply {
        self.check_process()?;
        self.start()?;
        self.inbox.call(command)
    }

    /// Changes how caches behave. Dispatches that already run are not changed by switching them on; when they are switched
    /// off, everything hidden becomes visible.
    pub fn set_memory_model(&self, model: MemoryModel) -> Result<(), CpError> {
        self.switch(|modes| modes.memory = model, Command::Memory(model))
    }

    fn modes(&self) -> std::sync::MutexGuard<'_, Modes> {
        self.modes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn switch(&self, change: impl FnOnce(&mut Modes), command: Command) -> Result<(), CpError> {
        self.check_process()?;
        // The thread's lock: a thread that starts meanwhile would miss it.
        let thread = self.thread();
        change(&mut self.modes());
        if thread.is_some() { self.inbox.call(command).map(drop) } else { Ok(()) }
    }

    /// How caches behave.
    pub fn memory_model(&self) -> MemoryModel {
        self.modes().memory
    }

    /// Switches the race detector: two dispatches that touch the same bytes, one of them storing, without anything that orders them are
    /// reported in [`CommandProcessor::races`] and in the journal. For dispatches launched from now on. Makes kernels slow, and puts the memory
    /// model to [`MemoryModel::Caches`] if it is coherent.
    pub fn set_race_detection(&self, on: bool) -> Result<(), CpError> {
        let change = |modes: &mut Modes| {
            modes.races = on;
            if on && modes.memory == MemoryModel::Coherent {
                modes.memory = MemoryModel::Caches;
            }
        };
        self.switch(change, Command::Races(on))
    }

    /// Races found so far, the first 65,536.
    pub fn races(&self) -> Vec<Race> {
        self.with_record(|r| r.races.clone())
    }

    /// Forgets the races found so far.
    pub fn clear_races(&self) {
        self.with_record(|r| r.races.clear());
    }

    /// Switches recording of where each workgroup and each DMA copy ran, for [`CommandProcessor::trace`].
    pub fn set_tracing(&self, on: bool) -> Result<(), CpError> {
        self.switch(|modes| modes.tracing = on, Command::Trace(on))
    }

    /// Workgroups and copies recorded while tracing was on.
    pub fn traced(&self) -> (Vec<WorkgroupRecord>, Vec<CopyRecord>) {
        self.with_record(|r| (r.workgroups.clone(), r.copies.clone()))
    }

    /// What ran where, for Perfetto: see [`crate::trace`].
    pub fn trace(&self) -> serde_json::Value {
        let (workgroups, copies) = self.traced();
        crate::trace::perfetto(&self.dispatch_log(), &workgroups, &copies)
    }

    /// Switches stepping: no queue takes a packet, the runtime's own included, but by [`CommandProcessor::step`]. Switching it off lets
    /// all go on.
    pub fn set_stepping(&self, on: bool) -> Result<(), CpError> {
        self.switch(|modes| modes.stepping = on, Command::Stepping(on))
    }

    /// While stepping: lets one queue take one packet, and waits at most `patience` until it has completed. Returns its record, or `None` if
    /// there was no packet, or it did not complete in time (a kernel that runs goes on; a packet that was not taken is not taken
    /// later). DMA packets leave no record: for them the result is always `None`, after `patience`.
    pub fn step(&self, id: u32, patience: Duration) -> Result<Option<DispatchRecord>, CpError> {
        if !self.modes().stepping {
            return Err(CpError::NotStepping(id));
        }
        let completed =
            || self.with_record(|r| r.stats.queues.get(&id).map_or(0, |q| q.packets.values().sum::<u64>()));
        let before = completed();
        self.call(Command::Permit { id, packets: 1 })?;
        let end = std::time::Instant::now() + patience;
        while completed() == before && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_micros(50));
        }
        // With a queue that went away meanwhile there is nothing to take back.
        let _ = self.call(Command::Permit { id, packets: 0 });
        Ok(self
            .with_record(|r| r.log.iter().rev().find(|entry| entry.queue == id).cloned())
            .filter(|_| completed() > before))
    }

    /// How many host threads run the workgroups of a dispatch: at least 1, the command processor's own. At first what
    /// `KFD_SIM_THREADS` says, or as many as the host has processors for this program. With 1 thread workgroups take turns in
    /// an order that is always the same.
    pub fn set_threads(&self, threads: usize) -> Result<(), CpError> {
        self.check_process()?;
        // The thread's lock: a thread that starts meanwhile would miss it.
        let thread = self.thread();
        // Relaxed: read under the same lock.
        self.threads.store(threads.max(1), Ordering::Relaxed);
        if thread.is_some() { self.inbox.call(Command::Threads(threads)).map(drop) } else { Ok(()) }
    }

    /// See [`CommandProcessor::set_threads`].
    pub fn threads(&self) -> usize {
        // Relaxed: a setting, which orders nothing.
        self.threads.load(Ordering::Relaxed)
    }

    /// Makes a queue and returns its id. Its indices are taken as found in memory.
    ///
    /// The caller promises that the doorbell stays valid until the queue is destroyed or the device shut down.
    pub fn create_queue(&self, desc: QueueDesc) -> Result<u32, CpError> {
        self.call(Command::Create(Box::new(desc)))
    }

    /// Removes a queue, with whatever runs on it. Returns when the device no longer touches it.
    pub fn destroy_queue(&self, id: u32) -> Result<(), CpError> {
        self.call(Command::Destroy(id)).map(drop)
    }

    /// Changes ring, share (0 suspends) and priority. Every queue's write index is read again.
    pub fn update_queue(
        &self,
        id: u32,
        ring_va: u64,
        ring_bytes: u64,
        percentage: u32,
        priority: u32,
    ) -> Result<(), CpError> {
        self.call(Command::Update { id, ring_va, ring_bytes, percentage, priority })?;
        self.remap_delay();
        Ok(())
    }

    /// Sets the CU mask for dispatches launched from now on. An empty slice means every CU. Every queue's write index is
    /// read again. Blocks for the time that remapping the queues takes.
    pub fn set_cu_mask(&self, id: u32, mask: &[u32]) -> Result<(), CpError> {
        if mask.len() > MASK_WORDS {
            return Err(CpError::BadMask { words: mask.len(), most: MASK_WORDS });
        }
        self.call(Command::SetCuMask { id, mask: mask.to_vec() })?;
        self.remap_delay();
        Ok(())
    }

    fn remap_delay(&self) {
        std::thread::sleep(Duration::from_nanos(self.model.remap_ns()));
    }

    /// Returns when the device uses no mapping that was removed before this call. Cheap while the device is idle.
    pub fn fence(&self) {
        if self.check_process().is_ok() && self.thread().is_some() && !self.inbox.sleeping() {
            // It fails only when the thread has stopped, and then nothing is used at all.
            let _ = self.inbox.call(Command::Fence);
        }
    }

    /// Stops the thread; every later call fails. Does nothing in a forked child.
    pub fn shut_down(&self) {
        if self.check_process().is_err() {
            return;
        }
        let thread = self.thread().take();
        match thread {
            Some(thread) => {
                let _ = self.inbox.call(Command::Stop);
                let _ = thread.join();
            }
            None => self.inbox.close(),
        }
    }

    /// For tests: the queue does nothing until resumed, as if the hardware had stopped serving it.
    pub fn stall_queue(&self, id: u32) -> Result<(), CpError> {
        self.call(Command::Stall { id, stalled: true }).map(drop)
    }

    /// Ends [`CommandProcessor::stall_queue`].
    pub fn resume_queue(&self, id: u32) -> Result<(), CpError> {
        self.call(Command::Stall { id, stalled: false }).map(drop)
    }

    /// For tests: a memory fault on this queue, now if a kernel runs on it, else at its next dispatch.
    pub fn inject_page_fault(&self, id: u32) -> Result<(), CpError> {
        self.call(Command::InjectFault(id)).map(drop)
    }

    fn with_record<R>(&self, f: impl FnOnce(&mut Record) -> R) -> R {
        f(&mut self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Completed AQL packets in order of completion, the oldest dropped past 65,536.
    pub fn dispatch_log(&self) -> Vec<DispatchRecord> {
        self.with_record(|r| r.log.iter().cloned().collect())
    }

    /// Empties the dispatch log.
    pub fn clear_dispatch_log(&self) {
        self.with_record(|r| r.log.clear());
    }

    /// Counters so far.
    pub fn stats(&self) -> CpStats {
        let mut stats = self.with_record(|r| r.stats.clone());
        stats.stall_ns = self.clock.stall_ns();
        stats
    }

    /// Where a queue sits in the hardware: what HW_ID shows to its kernels.
    pub fn hardware_queue(&self, id: u32) -> Option<HardwareQueue> {
        self.with_record(|r| r.hardware.get(&id).copied())
    }
}

impl Drop for CommandProcessor {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// The thread belongs to the device, not to the program: no signal handlers on it, and exact sleeps.
fn prepare_thread() {
    // SAFETY: plain libc calls on a set owned by this frame; they change this thread only.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
            libc::sigdelset(&mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
    }
}
