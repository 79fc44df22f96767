//! A workgroup on its compute unit: waves, LDS, barrier, and the loop that runs them.

use super::fault::Progress;
use super::launch::Launch;
use crate::memory::AddressSpace;

/// Where a workgroup was placed: what HW_ID shows, and which scratch it may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Shader engine (0..4).
    pub se: u32,
    /// Shader array in the engine.
    pub sh: u32,
    /// Compute unit position in the array (0..16).
    pub cu: u32,
    /// Compute pipe of the queue.
    pub pipe: u32,
    /// Hardware queue in the pipe.
    pub queue: u32,
    /// Micro engine (1 for compute).
    pub me: u32,
    /// First scratch wave slot: wave `w` of the workgroup uses slot `scratch_slot + w`.
    pub scratch_slot: u32,
}

/// What a workgroup has executed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecStats {
    /// Scalar ALU and control instructions.
    pub salu: u64,
    /// Vector ALU instructions.
    pub valu: u64,
    /// Scalar memory instructions.
    pub smem: u64,
    /// Vector memory instructions (flat, global, scratch, buffer).
    pub vmem: u64,
    /// LDS instructions (and lanes' flat accesses to LDS count as `vmem`).
    pub lds: u64,
    /// Lanes that vector ALU instructions worked for.
    pub valu_lanes: u64,
    /// Bytes loaded by vector memory instructions.
    pub vmem_read_bytes: u64,
    /// Bytes stored by vector memory instructions.
    pub vmem_write_bytes: u64,
}

/// Decoded instructions, by address. One for each thread that runs workgroups.
#[derive(Debug, Default)]
pub struct CodeCache {}

/// One workgroup: registers, LDS, waves. Runs on one thread at a time.
#[derive(Debug)]
pub struct Workgroup {
    stats: ExecStats,
}

impl Workgroup {
    /// The workgroup `id` of the launch, placed at `place`, at its first instruction.
    pub fn new(launch: &Launch, id: [u32; 3], place: Placement) -> Self {
        let _ = (launch, id, place);
        Workgroup { stats: ExecStats::default() }
    }

    /// Runs up to `budget` wave-instructions; `clock` serves `s_memtime` and `s_memrealtime`.
    pub fn run(
        &mut self,
        launch: &Launch,
        mem: &AddressSpace,
        cache: &mut CodeCache,
        clock: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress {
        let _ = (launch, mem, cache, clock, budget);
        Progress::Fault(super::ExecFault::Trap { address: 0, id: 0 })
    }

    /// What has been executed so far.
    pub fn stats(&self) -> &ExecStats {
        &self.stats
    }
}
