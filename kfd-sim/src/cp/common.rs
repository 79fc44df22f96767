//! What AQL and SDMA queues have in common, and the device as a queue sees it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::api::{HardwareQueue, QueueDesc};
use super::aql::QueueError;
use super::clock::GpuClock;
use super::crew::Crew;
use super::cu_mask::CuMask;
use super::dispatch::Dispatch;
use super::dispatcher::Dispatcher;
use super::gpu_memory::GpuMemory;
use super::log::Record;
use super::names::KernelNames;
use super::races::Races;
use crate::caches::L2;
use crate::memory::{AddressSpace, MemoryFault};
use crate::ports::Interrupts;
use crate::timing::TimingModel;

/// What a doorbell holds between rings. The device swaps it in, so every store by the host is seen as a ring, even one of
/// a value that was there before. No runtime stores it: it is neither a packet index nor a byte offset that can occur.
const NOT_RUNG: u64 = u64::MAX;

/// Something that happens at an exact GPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub at: u64,
    /// Order among events of one time: that in which they were scheduled.
    pub seq: u64,
    pub queue: u32,
    pub what: What,
}

/// See [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The queue may look at its next packet.
    Wake,
    /// The packet with this index completes.
    Done(u64),
}

/// Why a queue stops for good.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Reported as a memory fault.
    Memory(MemoryFault),
    /// Reported to the queue, with what went wrong.
    Error(QueueError, String),
}

impl From<MemoryFault> for Stop {
    fn from(fault: MemoryFault) -> Self {
        Stop::Memory(fault)
    }
}

/// Everything in the device but its queues. Owned by the command processor's thread.
pub(crate) struct Device {
    pub mem: Arc<AddressSpace>,
    /// Strict memory, when it is on.
    pub l2: Option<L2>,
    pub interrupts: Arc<dyn Interrupts>,
    pub clock: Arc<GpuClock>,
    pub model: Arc<dyn TimingModel>,
    pub record: Arc<Mutex<Record>>,
    pub dispatcher: Dispatcher,
    pub crew: Crew,
    pub names: KernelNames,
    pub events: BinaryHeap<Reverse<Event>>,
    pub seq: u64,
    pub dispatches: BTreeMap<u64, Dispatch>,
    pub next_dispatch: u64,
    /// The race detector, when it is on.
    pub races: Option<Races>,
    /// Whether workgroups and copies are recorded.
    pub tracing: bool,
}

impl Device {
    pub fn schedule(&mut self, at: u64, queue: u32, what: What) {
        self.seq += 1;
        self.events.push(Reverse(Event { at, seq: self.seq, queue, what }));
    }

    pub fn launch(&mut self, dispatch: Dispatch) {
        self.next_dispatch += 1;
        self.dispatches.insert(self.next_dispatch, dispatch);
    }

    pub fn with_record<R>(&self, f: impl FnOnce(&mut Record) -> R) -> R {
        f(&mut self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// The part of a queue that does not depend on its kind.
pub(crate) struct Common {
    pub id: u32,
    pub desc: QueueDesc,
    pub hardware: HardwareQueue,
    pub mask: CuMask,
    /// The write index as last read.
    pub wptr: u64,
    /// GPU time at which the next packet may be looked at.
    pub ready_at: u64,
    /// Paused by its owner (percentage 0).
    pub suspended: bool,
    /// Paused by a test.
    pub stalled: bool,
    /// Taken off the hardware after a memory fault.
    pub evicted: bool,
    /// Waits for its turn on a hardware queue that it shares.
    pub off_turn: bool,
    /// Stepping: packets that may still be taken.
    pub permits: Option<u64>,
    /// Events that came due while paused.
    pub held: Vec<What>,
    /// Stopped for good.
    pub failed: bool,
    /// The next dispatch faults (a test asked for it).
    pub inject_fault: bool,
}

impl Common {
    pub fn new(id: u32, desc: QueueDesc, hardware: HardwareQueue, mask: CuMask) -> Self {
        let suspended = desc.percentage == 0;
        let queue = Self {
            id,
            desc,
            hardware,
            mask,
            wptr: 0,
            ready_at: 0,
            suspended,
            stalled: false,
            evicted: false,
            off_turn: false,
            permits: None,
            held: Vec::new(),
            failed: false,
            inject_fault: false,
        };
        queue.take_ring();
        queue
    }

    /// Paused for another reason than its turn.
    pub fn paused_otherwise(&self) -> bool {
        self.suspended || self.stalled || self.evicted
    }

    pub fn paused(&self) -> bool {
        self.suspended || self.stalled || self.evicted || self.off_turn
    }

    /// A packet is taken.
    pub fn use_permit(&mut self) {
        if let Some(permits) = &mut self.permits {
            *permits = permits.saturating_sub(1);
        }
    }

    fn take_ring(&self) -> bool {
        // SAFETY: whoever created the queue keeps its doorbell valid until the queue is destroyed.
        let doorbell = unsafe { &*self.desc.doorbell.0 };
        // Relaxed load: only a hint that saves the bus-locked swap while nobody rings.
        // Acquire swap: pairs with the host's release store to the doorbell, so the write index and the packets that were
        // written before it are seen.
        doorbell.load(Ordering::Relaxed) != NOT_RUNG && doorbell.swap(NOT_RUNG, Ordering::Acquire) != NOT_RUNG
    }

    /// Whether the doorbell was rung since the last look.
    pub fn rung(&self) -> bool {
        self.take_ring()
    }

    /// Reads the write index: after a ring, or when the queue is mapped again. The doorbell's value is not used: producers
    /// overtake each other, so it may be old.
    pub fn read_write_index(&mut self, mem: &AddressSpace) -> Result<(), Stop> {
        self.wptr = mem.load64(self.desc.write_ptr_va)?;
        Ok(())
    }
}
