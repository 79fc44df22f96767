//! What the device did: the dispatch log and the counters that tests and tools read.
//!
//! The command processor's thread writes, any thread reads, under one mutex held only to copy.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::api::HardwareQueue;
use super::aql::PacketType;
use crate::caches::Race;

/// Completed packets that are kept; older ones are dropped and counted.
const KEPT: usize = 65_536;
/// Workgroups, and copies, that a trace holds; what comes later is counted.
const TRACED: usize = 1 << 20;

/// One AQL packet, from launch to completion. Times are GPU ns ([`GpuClock::now_ns`](super::GpuClock::now_ns)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DispatchRecord {
    /// Queue id.
    pub queue: u32,
    /// Index of the packet in its queue (never wraps).
    pub index: u64,
    /// Packet type.
    pub kind: PacketType,
    /// Whether the barrier bit was set.
    pub barrier_bit: bool,
    /// Scopes of the acquire and the release fence, as the header has them: 0 none, 1 agent, 2 system.
    pub fences: (u8, u8),
    /// Kernel dispatch: address of the kernel descriptor, else 0.
    pub kernel_object: u64,
    /// Kernel's name, from the code object's dynamic symbols.
    pub kernel_name: Option<String>,
    /// Work-items of the grid.
    pub grid: [u32; 3],
    /// Work-items of a workgroup.
    pub workgroup: [u16; 3],
    /// CUs that workgroups were placed on, for each shader engine: bit = SH * 16 + CU.
    pub cus_used: Vec<u64>,
    /// Barrier packets: the signals waited for.
    pub dependencies: Vec<u64>,
    /// When it was launched (barriers: when their dependencies were met).
    pub start_ns: u64,
    /// When it completed.
    pub end_ns: u64,
    /// Wave-instructions executed.
    pub instructions: u64,
}

impl DispatchRecord {
    /// Number of CUs used in each shader engine.
    pub fn cus_per_se(&self) -> Vec<u32> {
        self.cus_used.iter().map(|bits| bits.count_ones()).collect()
    }
}

/// Where and when one workgroup ran. Recorded while tracing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkgroupRecord {
    /// Queue id.
    pub queue: u32,
    /// Index of the packet in its queue.
    pub index: u64,
    /// Workgroup's place in the grid.
    pub group: [u32; 3],
    /// Shader engine.
    pub se: u32,
    /// Shader array in the engine.
    pub sh: u32,
    /// Compute unit position in the array.
    pub cu: u32,
    /// When it was placed, GPU ns.
    pub start_ns: u64,
    /// When it had ended, GPU ns.
    pub end_ns: u64,
}

/// A copy or fill of a DMA queue. Recorded while tracing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyRecord {
    /// Queue id.
    pub queue: u32,
    /// Whether it filled.
    pub fill: bool,
    /// Bytes written.
    pub bytes: u64,
    /// When it started, GPU ns.
    pub start_ns: u64,
    /// When it was over, GPU ns.
    pub end_ns: u64,
}

/// Counters of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Doorbell rings seen (several stores between two looks count once).
    pub doorbells: u64,
    /// Completed packets by type.
    pub packets: BTreeMap<PacketType, u64>,
    /// Completed packets that had the barrier bit.
    pub barrier_bits: u64,
    /// Times the device came to a slot below the write index whose packet was not published yet.
    pub unpublished_slots: u64,
    /// Times the queue asked the runtime for scratch memory.
    pub scratch_requests: u64,
    /// SDMA packets executed.
    pub sdma_packets: u64,
    /// Times the queue was given its shared hardware queue.
    pub turns: u64,
    /// Why the queue stopped, if it did.
    pub failure: Option<String>,
}

/// Counters of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpStats {
    /// Host time that the GPU clock stood still because the simulation could not keep up, ns.
    pub stall_ns: u64,
    /// Wave-instructions executed.
    pub instructions: u64,
    /// Queues, destroyed ones included.
    pub queues: BTreeMap<u32, QueueStats>,
    /// Completed packets that the dispatch log no longer holds.
    pub log_dropped: u64,
    /// Workgroups and copies that the trace does not hold.
    pub trace_dropped: u64,
}

/// The shared record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub log: VecDeque<DispatchRecord>,
    pub stats: CpStats,
    pub hardware: BTreeMap<u32, HardwareQueue>,
    pub workgroups: Vec<WorkgroupRecord>,
    pub copies: Vec<CopyRecord>,
    pub races: Vec<Race>,
}

impl Record {
    pub fn queue(&mut self, id: u32) -> &mut QueueStats {
        self.stats.queues.entry(id).or_default()
    }

    pub fn ran(&mut self, groups: Vec<WorkgroupRecord>) {
        let room = TRACED.saturating_sub(self.workgroups.len());
        self.stats.trace_dropped += groups.len().saturating_sub(room) as u64;
        self.workgroups.extend(groups.into_iter().take(room));
    }

    pub fn copied(&mut self, copy: CopyRecord) {
        if self.copies.len() < TRACED {
            self.copies.push(copy);
        } else {
            self.stats.trace_dropped += 1;
        }
    }

    pub fn raced(&mut self, races: &[Race]) {
        let room = KEPT.saturating_sub(self.races.len());
        self.races.extend_from_slice(&races[..races.len().min(room)]);
    }

    pub fn completed(&mut self, entry: DispatchRecord) {
        let stats = self.queue(entry.queue);
        *stats.packets.entry(entry.kind).or_default() += 1;
        stats.barrier_bits += u64::from(entry.barrier_bit);
        if self.log.len() == KEPT {
            self.log.pop_front();
            self.stats.log_dropped += 1;
        }
        self.log.push_back(entry);
    }
}
