//! One allocation of memory that kernels use, and whose turn it is.
//!
//! Work in flight and the host use a block in turn (see [`crate::turn`]). Any thread may call anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hsa_sys::hsa_agent_t;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::error::{Error, Result};
use crate::turn::{InFlight, Taken, Turn, WRITER};

/// One allocation.
pub(crate) struct Block {
    agent: Agent,
    address: *mut u8,
    bytes: usize,
    host_visible: bool,
    /// The agent whose memory it is.
    owner: hsa_agent_t,
    /// Who has it.
    turn: Turn,
    /// Used by work that released less than the host needs, since the host had it last.
    unflushed: AtomicBool,
}

/// How long the host waits for the GPU's caches to be written back before it gets a block. It takes tens of microseconds if any
/// queue is idle.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// How long the host waits for threads that were interrupted while they completed work.
const SETTLE_PATIENCE: Duration = Duration::from_millis(100);

// SAFETY: `address` is memory that any thread may use; `turn` decides who may when.
unsafe impl Send for Block {}
// SAFETY: as for Send.
unsafe impl Sync for Block {}

impl Block {
    /// Host memory that `agent` can use.
    pub(crate) fn host(agent: &Agent, kind: PoolKind, bytes: usize) -> Result<Self> {
        agent.check_alive()?;
        let cpus = agent.runtime().cpus();
        let owner = cpus.iter().find(|cpu| cpu.pool(kind).is_some());
        let owner =
            owner.ok_or_else(|| Error::Invalid(format!("ROCr shows no {kind:?} memory pool on any CPU")))?;
        let block = Self::new(agent, owner, kind, bytes)?;
        // SAFETY: the block is host memory of `block.bytes` bytes that nothing uses yet.
        unsafe { block.address.write_bytes(0, block.bytes) };
        Ok(block)
    }

    pub(crate) fn new(user: &Agent, owner: &Agent, kind: PoolKind, bytes: usize) -> Result<Self> {
        let runtime = user.runtime();
        let pool =
            owner.pool(kind).ok_or_else(|| Error::Invalid(format!("{owner} has no {kind:?} memory pool")))?;
        // Whole words, so that it can be filled by words.
        let bytes = bytes.next_multiple_of(4);
        let mut address = std::ptr::null_mut();
        // SAFETY: the pool is alive as long as the runtime; `address` is written on success.
        let status =
            unsafe { (runtime.hsa().hsa_amd_memory_pool_allocate)(pool.handle, bytes, 0, &raw mut address) };
        runtime.check("hsa_amd_memory_pool_allocate", status).map_err(|error| match error {
            Error::Hsa { call, status, text, .. } => Error::Hsa {
                call,
                status,
                text,
                context: format!(": {bytes} bytes of {kind:?} memory of {owner}"),
            },
            other => other,
        })?;
        let block = Self {
            agent: user.clone(),
            address: address.cast(),
            bytes,
            host_visible: !owner.is_gpu(),
            owner: owner.handle(),
            turn: Turn::default(),
            unflushed: AtomicBool::new(false),
        };
        if !owner.is(user) {
            let handle = user.handle();
            // SAFETY: the allocation is ours, and one agent is listed.
            let status = unsafe {
                (runtime.hsa().hsa_amd_agents_allow_access)(1, &raw const handle, std::ptr::null(), address)
            };
            runtime.check("hsa_amd_agents_allow_access", status)?;
        }
        Ok(block)
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_host_visible(&self) -> bool {
        self.host_visible
    }

    pub(crate) fn owner(&self) -> hsa_agent_t {
        self.owner
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.address
    }

    /// Gives the buffer to one more submission. It must be returned with [`Block::leave`] when the work is complete.
    pub(crate) fn enter(&self) -> Result<()> {
        self.turn
            .enter()
            .map_err(|_| self.busy("mapped by the host: drop the mapping before a kernel uses it"))
    }

    pub(crate) fn leave(&self) {
        self.turn.leave();
    }

    /// From now on the group's submissions are users of the block.
    pub(crate) fn add_group(&self, group: &Arc<InFlight>) {
        self.turn.add_group(group);
    }

    /// For a submission of a group, after [`InFlight::enter`]: whether the host has the block.
    #[inline]
    pub(crate) fn check_free(&self) -> Result<()> {
        self.turn
            .check_free()
            .map_err(|_| self.busy("mapped by the host: drop the mapping before a kernel uses it"))
    }

    /// Work uses the block and will release less than the host needs.
    #[inline]
    pub(crate) fn note_unflushed(&self) {
        // Relaxed: the host reads it when the work is over, which orders it. Read first, to leave the cache line alone.
        if !self.unflushed.load(Ordering::Relaxed) {
            self.unflushed.store(true, Ordering::Relaxed);
        }
    }

    /// Gives the block to the host: exclusively (`WRITER`) or shared with other host readers (`READERS`). What the GPU's caches still
    /// have of it is written back first.
    pub(crate) fn lease(&self, kind: u32) -> Result<Lease<'_>> {
        // Completed work lets go of its buffers when somebody looks: look, then try once more.
        let lease = match self.try_lease(kind) {
            Ok(lease) => lease,
            Err(_) => {
                self.agent.runtime().settle_queues(SETTLE_PATIENCE);
                self.try_lease(kind)?
            }
        };
        // Relaxed: whoever set it is over, which `try_lease` has acquired.
        if self.unflushed.load(Ordering::Relaxed) {
            if !self.agent.runtime().flush(self.agent.handle(), FLUSH_PATIENCE)? {
                write_back(&self.agent)?;
            }
            self.unflushed.store(false, Ordering::Relaxed);
        }
        Ok(lease)
    }

    fn try_lease(&self, kind: u32) -> Result<Lease<'_>> {
        match self.turn.take(kind) {
            Ok(()) => Ok(Lease { block: self, writer: kind == WRITER }),
            Err(Taken::ByHost) => Err(self.busy("mapped by the host elsewhere: drop that mapping first")),
            Err(Taken::ByWork) => {
                Err(self
                    .busy("in flight: wait for the work that uses it, or drop its queue if that has failed"))
            }
        }
    }

    #[cold]
    fn busy(&self, state: &'static str) -> Error {
        Error::BufferBusy { address: self.address as u64, bytes: self.bytes, state }
    }
}

/// Writes back the agent's caches without any queue of ours: ROCr fills memory with a kernel on a queue of its own, whose packet releases
/// at system scope (`BlitKernel::PopulateQueue` in its `amd_blit_kernel.cpp`).
#[cold]
fn write_back(agent: &Agent) -> Result<()> {
    let word = Block::new(agent, agent, PoolKind::CoarseGrained, 4)?;
    // SAFETY: the block is ours, one word long at least, and nothing uses it yet.
    let status = unsafe { (agent.runtime().hsa().hsa_amd_memory_fill)(word.address().cast(), 0, 1) };
    agent.runtime().check("hsa_amd_memory_fill", status)
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the allocation is ours and no handle is left: no host borrow and no work in flight.
        unsafe { (self.agent.runtime().hsa().hsa_amd_memory_pool_free)(self.address.cast()) };
    }
}

/// The host's turn.
pub(crate) struct Lease<'a> {
    block: &'a Block,
    writer: bool,
}

impl Lease<'_> {
    pub(crate) fn address(&self) -> *mut u8 {
        self.block.address
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.writer {
            // Before the next user can have the block: his submission then acquires what was written.
            self.block.agent.note_host_write();
        }
        self.block.turn.give_back();
    }
}
