//! One allocation of memory that kernels use, and whose turn it is.
//!
//! Work in flight and the host use a block in turn; the count of users is kept here, and whoever comes second is refused. Any thread
//! may call anything.

use std::sync::atomic::{AtomicU32, Ordering};

use hsa_sys::hsa_agent_t;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::error::{Error, Result};

/// One allocation.
pub(crate) struct Block {
    agent: Agent,
    address: *mut u8,
    bytes: usize,
    host_visible: bool,
    /// The agent whose memory it is.
    owner: hsa_agent_t,
    /// Who has it: 0 nobody, `WRITER` the host exclusively, `READERS` + n shared by n host readers, else n submissions.
    users: AtomicU32,
}

/// See [`Block::lease`].
pub(crate) const WRITER: u32 = u32::MAX;
/// See [`Block::lease`].
pub(crate) const READERS: u32 = 1 << 31;

// SAFETY: `address` is memory that any thread may use; `users` decides who may when.
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
            users: AtomicU32::new(0),
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
        // Acquire: pairs with the release of a host writer's lease, so the kernel's packet is written after its data.
        self.users
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n < READERS - 1).then_some(n + 1))
            .map(drop)
            .map_err(|_| self.busy("mapped by the host: drop the mapping before a kernel uses it"))
    }

    pub(crate) fn leave(&self) {
        // Release: pairs with the acquire of a host lease, so the host sees what the completed work wrote.
        self.users.fetch_sub(1, Ordering::Release);
    }

    /// Gives the block to the host: exclusively (`WRITER`) or shared with other host readers (`READERS`).
    pub(crate) fn lease(&self, kind: u32) -> Result<Lease<'_>> {
        let take = || {
            // Acquire: pairs with the release in `leave` and of another lease.
            self.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| match (n, kind) {
                (0, WRITER) => Some(WRITER),
                (0, _) => Some(READERS + 1),
                (n, READERS) if n > READERS && n < WRITER - 1 => Some(n + 1),
                _ => None,
            })
        };
        // Completed work lets go of its buffers when somebody looks: look, then try once more.
        if take().is_err() {
            self.agent.runtime().sweep_queues();
            take().map_err(|n| {
                self.busy(if n > READERS {
                    "mapped by the host elsewhere: drop that mapping first"
                } else {
                    "in flight: wait for the work that uses it, or drop its queue if that has failed"
                })
            })?;
        }
        Ok(Lease(self))
    }

    fn busy(&self, state: &'static str) -> Error {
        Error::BufferBusy { address: self.address as u64, bytes: self.bytes, state }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the allocation is ours and no handle is left: no host borrow and no work in flight.
        unsafe { (self.agent.runtime().hsa().hsa_amd_memory_pool_free)(self.address.cast()) };
    }
}

/// The host's turn.
pub(crate) struct Lease<'a>(&'a Block);

impl Lease<'_> {
    pub(crate) fn address(&self) -> *mut u8 {
        self.0.address
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Release: pairs with the acquire of the next user. Only lease holders change the word while there are any.
        let _ = self.0.users.fetch_update(Ordering::Release, Ordering::Relaxed, |n| {
            Some(if n == WRITER || n == READERS + 1 { 0 } else { n - 1 })
        });
    }
}
