//! Agents: the GPUs and CPUs that ROCr shows, with what one needs to know to place work on them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hsa_sys::hsa_agent_t;

use crate::agent_info::{AgentInfo, MemoryPool, PoolKind};
use crate::code_object::IsaName;
use crate::driver;
use crate::error::{Error, Failure, Result};
use crate::runtime::Runtime;
use crate::topology::CuTopology;

/// Queues that ROCr makes for itself on each GPU once a program uses it: one for its own barriers and cache operations,
/// one for copies by kernel (`GpuAgent::InitDma` and `QueueCreate` in ROCr's `amd_gpu_agent.cpp`).
pub const RUNTIME_QUEUES: u32 = 2;

/// One agent. A cheap handle that keeps the runtime alive; any thread may use it.
#[derive(Clone)]
pub struct Agent {
    runtime: Runtime,
    info: Arc<AgentInfo>,
}

impl Agent {
    pub(crate) fn new(runtime: Runtime, info: Arc<AgentInfo>) -> Self {
        Self { runtime, info }
    }

    /// The runtime that shows this agent.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// HSA's handle, for calls that this crate does not make.
    pub fn handle(&self) -> hsa_agent_t {
        self.info.handle
    }

    /// Whether this is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.info.is_gpu
    }

    /// HSA's name: for a GPU its processor, as in `gfx906`.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The marketing name.
    pub fn product(&self) -> &str {
        &self.info.product
    }

    /// The instruction set, as in `gfx906:sramecc+:xnack-`; none for a CPU.
    pub fn isa(&self) -> Option<&IsaName> {
        self.info.isa.as_ref()
    }

    /// KFD's topology node.
    pub fn node(&self) -> u32 {
        self.info.node
    }

    /// Lanes in a wavefront.
    pub fn wave_size(&self) -> u32 {
        self.info.wave_size
    }

    /// Most work-items of a workgroup.
    pub fn max_workgroup_size(&self) -> u32 {
        self.info.max_workgroup_size
    }

    /// Most work-items of a workgroup in x, y, z.
    pub fn max_workgroup_dims(&self) -> [u16; 3] {
        self.info.max_workgroup_dims
    }

    /// Most work-items of a grid in x, y, z.
    pub fn max_grid_dims(&self) -> [u32; 3] {
        self.info.max_grid_dims
    }

    /// Most work-items of a grid in all (`HSA_AGENT_INFO_GRID_MAX_SIZE`).
    pub fn max_grid_size(&self) -> u32 {
        self.info.max_grid_size
    }

    /// Bytes of local data share (LDS) that one workgroup can have.
    pub fn lds_bytes(&self) -> u32 {
        self.info.lds_bytes
    }

    /// Smallest and largest queue, in packets; both powers of two.
    pub fn queue_sizes(&self) -> (u32, u32) {
        (self.info.min_queue_size, self.info.max_queue_size)
    }

    /// Compute queues that the hardware runs at once (sysfs `num_cp_queues`), if the driver says. ROCr itself
    /// advertises 128, which the driver time-slices.
    pub fn hardware_queues(&self) -> Option<u32> {
        self.info.hardware_queues
    }

    /// Compute units and where they sit.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a CPU, and for a GPU that the driver and ROCr describe differently.
    pub fn topology(&self) -> Result<&Arc<CuTopology>> {
        self.info.topology.as_ref().map_err(|problem| Error::Invalid(format!("{self}: {problem}")))
    }

    /// Whether the CUs of each shader array were read from the driver. If not, they were derived from totals on the
    /// assumption that all arrays are alike, and masks may be wrong on a harvested part.
    pub fn topology_is_exact(&self) -> bool {
        self.info.topology_is_exact
    }

    /// Bytes of scratch memory that ROCr allocates for a queue for each byte of a kernel's private segment: lanes of a
    /// wavefront x scratch slots of a CU x CUs of the GPU, if the driver says how many slots there are.
    pub fn scratch_bytes_per_lane_byte(&self) -> Option<u64> {
        let cus = self.topology().ok()?.cu_count();
        Some(u64::from(self.info.scratch_slots_per_cu?) * u64::from(self.wave_size()) * u64::from(cus))
    }

    /// Bytes of the agent's own memory.
    pub fn memory_bytes(&self) -> u64 {
        let own = self.info.pools.iter().filter(|pool| pool.kind == PoolKind::CoarseGrained);
        own.map(|pool| pool.bytes).max().unwrap_or(0)
    }

    /// Compute queues on this GPU now, as (of this process, ROCr's own included; of other processes), where the kernel lists
    /// them.
    pub fn queues_in_use(&self) -> Option<(u32, u32)> {
        driver::queues_in_use(driver::gpu_id(self.info.node)?)
    }

    /// The memory fault that took this GPU away from the process, if there was one.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.runtime.memory_fault(self.info.handle)
    }

    pub(crate) fn check_alive(&self) -> Result<()> {
        self.failure().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Says that memory which this GPU's kernels read was written by somebody else than a kernel on it or this crate: by the host through
    /// a pointer of its own, by a copy that this crate did not make. The next work on each queue then acquires at system scope, and so
    /// drops what the GPU's caches hold of it. What this crate writes it notes by itself.
    pub fn note_host_write(&self) {
        // Release: pairs with the acquire in `host_writes`; whoever sees the count sees the data.
        self.info.host_writes.fetch_add(1, Ordering::Release);
    }

    /// How often the host wrote.
    pub(crate) fn host_writes(&self) -> u64 {
        // Acquire: pairs with the release in `note_host_write`.
        self.info.host_writes.load(Ordering::Acquire)
    }

    pub(crate) fn pool(&self, kind: PoolKind) -> Option<&MemoryPool> {
        self.info.pools.iter().find(|pool| pool.kind == kind)
    }

    /// Whether this is the same agent, of the same [`Runtime`].
    pub fn is(&self, other: &Self) -> bool {
        self.info.handle.handle == other.info.handle.handle && self.runtime.is(&other.runtime)
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({self})")
    }
}

impl Runtime {
    /// The GPUs that ROCr shows, in its order.
    pub fn gpus(&self) -> Vec<Agent> {
        self.gpu_infos().iter().map(|info| Agent::new(self.clone(), info.clone())).collect()
    }

    /// The `index`-th GPU.
    ///
    /// # Errors
    /// [`Error::NoGpu`] if there are not so many.
    pub fn gpu(&self, index: usize) -> Result<Agent> {
        let found = self.gpu_infos().len();
        let info = self.gpu_infos().get(index).ok_or(Error::NoGpu { index, found })?;
        Ok(Agent::new(self.clone(), info.clone()))
    }

    /// The CPU agents that ROCr shows: one a NUMA node.
    pub fn cpus(&self) -> Vec<Agent> {
        self.cpu_infos().iter().map(|info| Agent::new(self.clone(), info.clone())).collect()
    }
}
