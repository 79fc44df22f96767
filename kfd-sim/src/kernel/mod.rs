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
pub mod uapi;
pub mod user;

use crate::cp::{CommandProcessor, GpuClock, MemoryModel};
use crate::device::DeviceSpec;
use crate::memory::{Access, AddressSpace, FaultCause, MemoryFault};
use crate::ports::Interrupts;
use arena::{MemFile, fd_identity};
use buffers::{Buffers, KFD_FILE_BYTES};
use events::{EventTable, Payload};
use queues::Queues;
use record::Recorder;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    kfd_file: MemFile,
    vm_acquired: AtomicBool,
    event_page: AtomicBool,
}

impl Device {
    /// A fresh device: no buffer, no queue, no event. Its thread starts with the first queue.
    ///
    /// Fails with the errno of what the host refused, for example ENOMEM under `ulimit -v`: the device maps its VRAM
    /// sparsely but whole.
    pub fn new(spec: DeviceSpec) -> Result<Arc<Self>, Errno> {
        let spec = Arc::new(spec);
        let space = Arc::new(AddressSpace::new());
        let clock = Arc::new(GpuClock::new(spec.clocks.counter_hz));
        let events = Arc::new(EventTable::default());
        let recorder = Arc::new(Recorder::from_env());
        let kfd_file = MemFile::new(c"kfd-sim-kfd", KFD_FILE_BYTES)?;
        let buffers = Buffers::new(GPU_ID, spec.memory.vram_bytes, &kfd_file, space.clone())?;
        let interrupts = Arc::new(InterruptHandler { events: events.clone(), recorder: recorder.clone() });
        let processor = CommandProcessor::new(spec.clone(), space.clone(), interrupts, clock.clone());
        // It has no thread yet that could refuse.
        let _ = processor.set_memory_model(MemoryModel::from_env());
        let queues = Queues::new(processor, buffers.doorbells());
        Ok(Arc::new(Self {
            spec,
            space,
            clock,
            events,
            buffers,
            queues,
            recorder,
            kfd_file,
            vm_acquired: AtomicBool::new(false),
            event_page: AtomicBool::new(false),
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
        self.recorder.note(|| format!("queue {queue_id}: {fault}; {told} memory event(s) raised"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Interrupts;

    #[test]
    fn a_page_fault_reaches_waiters_with_page_cause_and_gpu() {
        let events = Arc::new(EventTable::default());
        let handler = InterruptHandler { events: events.clone(), recorder: Arc::new(Recorder::default()) };
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
