//! What the kernel interface hands to the command processor, and what it gets back: plain data.

use std::sync::atomic::AtomicU64;

use crate::memory::MemoryFault;

/// What a queue carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Architected Queuing Language packets of 64 bytes.
    Aql,
    /// Bare PM4 packets. ROCr never makes such a queue for gfx9; refused.
    Pm4,
    /// System DMA packets.
    Sdma {
        /// Engine asked for, or the driver's choice.
        engine: Option<u32>,
    },
}

/// A doorbell: one 64-bit word in the doorbell page that the host stores to and the device polls.
#[derive(Clone, Copy, Debug)]
pub struct DoorbellPtr(pub *const AtomicU64);

// SAFETY: the pointee is only accessed atomically; whoever makes one promises (see `CommandProcessor::create_queue`) that
// it outlives the queue.
unsafe impl Send for DoorbellPtr {}
// SAFETY: as for Send.
unsafe impl Sync for DoorbellPtr {}

/// A queue as CREATE_QUEUE describes it. Addresses are GPU virtual addresses.
#[derive(Clone, Debug)]
pub struct QueueDesc {
    /// What the queue carries.
    pub kind: QueueKind,
    /// First byte of the ring.
    pub ring_va: u64,
    /// Bytes of the ring: a power of two.
    pub ring_bytes: u64,
    /// Read index: packets for AQL (`amd_queue_t.read_dispatch_id`), bytes for SDMA.
    pub read_ptr_va: u64,
    /// Write index, in the same unit.
    pub write_ptr_va: u64,
    /// The queue's doorbell.
    pub doorbell: DoorbellPtr,
    /// Share of time; 0 suspends the queue.
    pub percentage: u32,
    /// KFD priority, 0 to 15: while a dispatch of a higher one waits for room on the compute units, no workgroup of a lower one is placed.
    pub priority: u32,
    /// Context-save area, or 0.
    pub ctx_save_va: u64,
    /// Bytes of it.
    pub ctx_save_bytes: u64,
    /// End-of-pipe buffer, or 0.
    pub eop_va: u64,
}

/// Where a queue sits in the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct HardwareQueue {
    /// Micro engine; 1 is the first compute engine (MEC1).
    pub me: u32,
    /// Pipe in the micro engine.
    pub pipe: u32,
    /// Queue slot in the pipe.
    pub queue: u32,
}

/// Why the command processor refused a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpError {
    /// No such queue.
    #[error("no queue {0} on this device")]
    UnknownQueue(u32),
    /// The ring's size or address cannot be used.
    #[error(
        "ring of {bytes} bytes at {va:#x}: must be a power of two, at least {least} bytes, and {least}-byte aligned"
    )]
    BadRing {
        /// Ring address.
        va: u64,
        /// Ring size.
        bytes: u64,
        /// Least size and alignment.
        least: u64,
    },
    /// Something the queue needs is not mapped for the GPU.
    #[error("{what} of the queue: {fault}")]
    NotMapped {
        /// Which part.
        what: &'static str,
        /// The access that failed.
        fault: MemoryFault,
    },
    /// A queue kind that this device does not have.
    #[error("{0:?} queues are not supported by this device")]
    Unsupported(QueueKind),
    /// A CU mask that the kernel would refuse.
    #[error("CU mask of {words} words: 1 to {most} words expected")]
    BadMask {
        /// 32-bit words given.
        words: usize,
        /// Most words that are accepted.
        most: usize,
    },
    /// The device was shut down, or its thread died.
    #[error("the command processor has stopped")]
    Stopped,
    /// A step without stepping.
    #[error("queue {0} cannot be stepped: switch stepping on first")]
    NotStepping(u32),
    /// Called in a forked child, which has no command processor.
    #[error("the command processor belongs to process {parent}; a forked child has none")]
    Forked {
        /// The process that made it.
        parent: u32,
    },
}
