//! The simulated amdkfd and amdgpu: what `ioctl` on the device files reaches.
//!
//! [`Device`] is one process's view of one GPU. It dispatches on the ioctl number, copying exactly the bytes that the
//! request word announces, as the kernel does, so callers built with older or newer headers work alike. Any thread may
//! call; nothing here spins, and only WAIT_EVENTS and DESTROY_QUEUE block.

pub mod arena;
pub mod buffers;
pub mod drm;
pub mod events;
mod ioctl;
pub mod queues;
pub mod record;
mod smi;
pub mod uapi;
pub mod user;

use crate::cp::{CommandProcessor, GpuClock};
use crate::device::DeviceSpec;
use crate::journal::{Event, Journal};
use crate::memory::{Access, AddressSpace, FaultCause, MemoryFault};
use crate::plan::Fault;
use crate::ports::Interrupts;
use crate::settings::Settings;
use arena::{MemFile, fd_identity};
use buffers::{Buffers, KFD_FILE_BYTES};
use events::{EventTable, Payload};
use queues::Queues;
use record::Recorder;
use smi::Listeners;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use uapi::{Answer, Errno, MemoryException, Request, event_type};

/// KFD's id of the GPU (any non-zero number).
pub const GPU_ID: u32 = 0xec11;

/// Which device file a descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// `/dev/kfd`.
    Kfd,
    /// The render node.
    Render,
}

/// One process's view of one simulated GPU.
#[derive(Debug)]
pub struct Device {
    spec: Arc<DeviceSpec>,
    space: Arc<AddressSpace>,
    clock: Arc<GpuClock>,
    events: Arc<EventTable>,
    buffers: Buffers,
    queues: Queues,
    recorder: Arc<Recorder>,
    journal: Arc<Journal>,
    listeners: Arc<Listeners>,
    settings: Settings,
    kfd_file: MemFile,
    vm_acquired: AtomicBool,
    event_page: AtomicBool,
    /// RUNTIME_ENABLE is in force.
    runtime_enabled: AtomicBool,
    kfd_version: OnceLock<(u32, u32)>,
}

impl Device {
    /// A fresh device, as the environment wants it: no buffer, no queue, no event. Its thread starts with the first queue.
    ///
    /// Fails with the errno of what the host refused, for example ENOMEM under `ulimit -v`: the device maps its VRAM
    /// sparsely but whole.
    pub fn new(spec: DeviceSpec) -> Result<Arc<Self>, Errno> {
        Self::with_settings(spec, Settings::from_env())
    }

    /// As [`Device::new`], with settings of the caller's. `KFD_SIM_LOG` and `KFD_SIM_FAIL` are read all the same.
    pub fn with_settings(spec: DeviceSpec, settings: Settings) -> Result<Arc<Self>, Errno> {
        let spec = Arc::new(spec);
        let space = Arc::new(AddressSpace::new());
        let clock = Arc::new(GpuClock::new(spec.clocks.counter_hz));
        let events = Arc::new(EventTable::default());
        let recorder = Arc::new(Recorder::from_env());
        let kfd_file = MemFile::new(c"kfd-sim-kfd", KFD_FILE_BYTES)?;
        let buffers = Buffers::new(GPU_ID, spec.memory.vram_bytes, &kfd_file, space.clone())?;
        let journal = Arc::new(Journal::new(clock.clone(), settings.events.as_deref()));
        recorder.tell(journal.clone());
        if let Some(Err(why)) = settings.plan.clone().map(|plan| recorder.follow(plan)) {
            eprintln!("kfd-sim: fault plan: {why}; it is ignored");
        }
        let listeners = Arc::<Listeners>::default();
        let interrupts = Arc::new(InterruptHandler {
            events: events.clone(),
            recorder: recorder.clone(),
            journal: journal.clone(),
            listeners: listeners.clone(),
        });
        let processor = CommandProcessor::new(spec.clone(), space.clone(), interrupts, clock.clone());
        // It has no thread yet that could refuse.
        let _ = processor.set_memory_model(settings.memory);
        let _ = processor.set_tracing(settings.trace.is_some());
        if settings.races {
            let _ = processor.set_race_detection(true);
        }
        let queues = Queues::new(processor, buffers.doorbells());
        Ok(Arc::new(Self {
            spec,
            space,
            clock,
            events,
            buffers,
            queues,
            recorder,
            journal,
            listeners,
            settings,
            kfd_file,
            vm_acquired: AtomicBool::new(false),
            event_page: AtomicBool::new(false),
            runtime_enabled: AtomicBool::new(false),
            kfd_version: OnceLock::new(),
        }))
    }

    /// A new descriptor of a device file, for the caller to use and close.
    pub fn open(&self, node: Node, close_on_exec: bool) -> Result<RawFd, Errno> {
        if let Some(errno) = self.recorder.injected(node, record::OPEN) {
            return Err(errno);
        }
        match node {
            Node::Kfd => self.kfd_file.duplicate(close_on_exec),
            Node::Render => self.buffers.file().duplicate(close_on_exec),
        }
    }

    /// As [`Device::open`], owned.
    pub fn file(&self, node: Node) -> Result<OwnedFd, Errno> {
        let fd = self.open(node, true)?;
        // SAFETY: a new descriptor that nobody else knows.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Which device file `fd` is, if it is one of ours.
    pub fn node_of(&self, fd: RawFd) -> Option<Node> {
        self.node_of_identity(fd_identity(fd)?)
    }

    /// The same by device and inode of the file.
    pub(crate) fn node_of_identity(&self, identity: (u64, u64)) -> Option<Node> {
        if identity == self.kfd_file.identity() {
            Some(Node::Kfd)
        } else if identity == self.buffers.file().identity() {
            Some(Node::Render)
        } else {
            None
        }
    }

    /// Answers one ioctl. `argument` is an address in this process; a bad one is EFAULT.
    pub fn ioctl(&self, node: Node, word: u64, argument: u64) -> Answer {
        let request = Request::decode(word);
        let expected = match node {
            Node::Kfd => b'K',
            Node::Render => b'd',
        };
        let answer = if request.letter != expected {
            Err(Errno(libc::ENOTTY))
        } else if let Some(errno) = self.recorder.injected(node, request.nr) {
            Err(errno)
        } else {
            self.copy_and_dispatch(node, request, argument)
        };
        self.recorder.log_ioctl(node, request, answer);
        answer
    }

    fn copy_and_dispatch(&self, node: Node, request: Request, argument: u64) -> Answer {
        let mut bytes = vec![0u8; request.size];
        if request.reads {
            user::read_bytes(argument, &mut bytes)?;
        }
        let answer = match node {
            Node::Kfd => self.kfd_ioctl(request.nr, &mut bytes),
            Node::Render => self.drm_ioctl(request.nr, &mut bytes),
        };
        if request.writes {
            user::write_bytes(argument, &bytes)?;
        }
        answer
    }

    /// What the device is made of.
    pub fn spec(&self) -> &Arc<DeviceSpec> {
        &self.spec
    }

    /// The GPU's page tables.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.space
    }

    /// The GPU's clock.
    pub fn clock(&self) -> &Arc<GpuClock> {
        &self.clock
    }

    /// The command processor: dispatch log, stalls, injected page faults.
    pub fn processor(&self) -> &Arc<CommandProcessor> {
        self.queues.processor()
    }

    /// Logs and fault injection.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What happened, as structured events.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What the device was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Version of the driver interface that the device reports now: major and minor.
    pub fn kfd_version(&self) -> (u32, u32) {
        // Judged when the runtime first asks: it is loaded then.
        *self.kfd_version.get_or_init(|| self.settings.kfd_version.resolve())
    }

    /// Writes the Perfetto trace of what was recorded so far.
    pub fn write_trace(&self, file: &std::path::Path) -> std::io::Result<()> {
        let file = std::io::BufWriter::new(std::fs::File::create(file)?);
        serde_json::to_writer(file, &self.processor().trace()).map_err(std::io::Error::from)
    }

    /// VRAM and GTT in use, bytes.
    pub fn memory_used(&self) -> (u64, u64) {
        self.buffers.used()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.processor().shut_down();
    }
}

#[derive(Debug)]
struct InterruptHandler {
    events: Arc<EventTable>,
    recorder: Arc<Recorder>,
    journal: Arc<Journal>,
    listeners: Arc<Listeners>,
}

impl Interrupts for InterruptHandler {
    fn event(&self, event_id: u32) {
        if self.events.set(event_id).is_err() {
            self.recorder.note(|| format!("GPU raised event {event_id}, which does not exist (any more)"));
        }
    }

    fn memory_fault(&self, queue_id: u32, fault: MemoryFault) {
        let denied = fault.cause == FaultCause::NotPermitted;
        let data = MemoryException {
            not_present: (fault.cause == FaultCause::NotMapped).into(),
            read_only: (denied && matches!(fault.access, Access::Write | Access::Atomic)).into(),
            no_execute: (denied && fault.access == Access::Execute).into(),
            imprecise: 0,
            // The page, as gfx9 reports it.
            va: fault.va & !(arena::PAGE - 1),
            gpu_id: GPU_ID,
            error_type: 0,
        };
        let told = self.events.raise_all(event_type::MEMORY, Payload::Memory(data));
        self.listeners.memory_fault();
        self.journal.add(Event::MemoryFault { queue: queue_id, address: fault.va, what: fault.to_string() });
        self.recorder.note(|| format!("queue {queue_id}: {fault}; {told} memory event(s) raised"));
    }

    fn note(&self, event: Event) {
        self.journal.add(event);
    }

    fn wants_packets(&self) -> bool {
        self.journal.listens()
    }

    fn planned(&self, queue_id: u32, kernel: Option<&str>) -> Option<Fault> {
        self.recorder.planned(queue_id, kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Interrupts;

    #[test]
    fn a_page_fault_reaches_waiters_with_page_cause_and_gpu() {
        let events = Arc::new(EventTable::default());
        let handler = InterruptHandler {
            events: events.clone(),
            recorder: Arc::default(),
            journal: Arc::new(Journal::new(Arc::new(GpuClock::new(1)), None)),
            listeners: Arc::default(),
        };
        let id = events.create(event_type::MEMORY, false).unwrap();
        let fault =
            MemoryFault { va: 0x7777_1234, len: 4, access: Access::Write, cause: FaultCause::NotPermitted };
        handler.memory_fault(3, fault);
        let waited = events.wait(&[id], true, 0).unwrap();
        let Some(Payload::Memory(data)) = waited.payloads[0] else { panic!("no memory payload") };
        assert_eq!((data.va, data.gpu_id), (0x7777_1000, GPU_ID));
        assert_eq!((data.not_present, data.read_only, data.no_execute), (0, 1, 0));
    }
}
