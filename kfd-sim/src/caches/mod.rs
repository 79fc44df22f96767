//! The GPU's caches: they hide writes until a release and serve old bytes until an acquire.
//!
//! Without them ([`MemoryModel::Coherent`]) a missing fence or barrier never shows. With them a program that leaves one out
//! reads old bytes, and it does so every time the two dispatches overlap in GPU time: nothing is left to chance. Chosen by
//! `KFD_SIM_MEMORY` or [`CommandProcessor::set_memory_model`](crate::cp::CommandProcessor::set_memory_model). Three
//! stages lie between a kernel and memory:
//!
//! | stage | holds | emptied by | filled anew by |
//! |---|---|---|---|
//! | dispatch | its own stores | a release of any scope, by its packet or one ordered behind it | |
//! | view (L1 and scalar caches) | what an acquire saw, what was read since | | an acquire of any scope on the same queue |
//! | L2 | what was released; VRAM as it was read | a release of system scope | an acquire of system scope on any queue |
//!
//! # Rules
//! - A dispatch sees its own stores (all its workgroups see them at once). Of stores by dispatches launched before it, it sees
//!   those that were released before its queue's last acquire, and never those of a dispatch that was still running at that time,
//!   however long it takes itself. Those of dispatches launched after it may show as soon as they are released. So a missing
//!   barrier bit, barrier-AND or fence gives wrong bytes whichever of the two reads; packets without the barrier bit are
//!   launched as soon as they are published, one microsecond after the other.
//! - A release at agent or system scope covers the packet's own stores and those of dispatches of its queue that had
//!   completed when it started. One at system scope then writes the L2 back: only now do host and DMA engines see the bytes, in
//!   VRAM and in host memory alike.
//! - An acquire at system scope drops what the L2 keeps of VRAM. Host memory is not kept there: an acquire at agent scope
//!   is enough to see what the host has written to it.
//! - [`MemoryModel::Strict`]: VRAM that a DMA engine writes counts as kept by the L2 before, read or not.
//! - Barrier packets fence like dispatches; they acquire when their dependencies are met. ACQUIRE_MEM in a PM4 buffer does
//!   what its COHER_CNTL bits say.
//! - Instructions: atomics act in the L2 (VRAM) or in memory (host memory). Loads with GLC read there.
//!   `buffer_wbinvl1` and `s_dcache_inv` give the dispatch a new view. A wave that waits for stores of its own (`s_waitcnt
//!   vmcnt(0)`, `s_dcache_wb`, a store with GLC) moves the dispatch's stores to the L2 or to host memory. So do a million
//!   instructions: every store is seen some day.
//! - The command processor (rings, signals, kernel descriptors), instruction fetch and DMA engines use memory itself.
//!
//! # Against gfx906
//! *Stricter.* There the L1 writes through and all caches evict, so most missing agent fences go unpunished. Host memory is not
//! kept in the L2, so a release at agent scope shows stores to it. Old bytes are kept by pages of 4 KiB and not by lines of 64
//! bytes, so a kernel without an acquire may read old arguments beside others that were read before (written bytes are tracked one by
//! one: neighbours never overwrite each other).
//!
//! *Laxer.* The CUs of one dispatch are coherent with each other. What the host writes to VRAM is seen at once where nothing was
//! read since the last system acquire. Two dispatches that do not overlap, because the host was slow to publish the second one, need no
//! barrier: a test should stall the queue while it submits. A wave that waits for its stores shows them to the agent
//! before the packet's release. The caches hold more than real ones, but not everything: at 64 MiB the L2 is
//! written back and forgotten, and 32 MiB bound each dispatch and each queue. Stores that nobody released are lost when
//! their memory is unmapped or their queue destroyed.
//!
//! Command processor's thread only, but that threads which run workgroups of one dispatch take turns (`SharedCaches`).

mod dispatch;
mod l2;
mod model;
mod page;
mod queue;
mod races;

use std::sync::{Mutex, MutexGuard};

pub(crate) use dispatch::DispatchCache;
pub(crate) use l2::L2;
pub use model::MemoryModel;
pub(crate) use page::{Mask, PAGE};
pub(crate) use queue::QueueCache;
pub(crate) use races::Footprint;
pub use races::{Race, RaceKind, RacingDispatch};

/// The caches as a workgroup's accesses go through them.
pub(crate) struct Caches<'c> {
    pub l2: &'c mut L2,
    pub dispatch: &'c mut DispatchCache,
}

/// The caches of one dispatch for the threads that run its workgroups. Whoever has the lock may follow the pointers that
/// [`DispatchCache::block`] gives, no longer.
pub(crate) struct SharedCaches<'c> {
    caches: Mutex<Caches<'c>>,
    /// Whether other threads wait for them after each instruction.
    pub contended: bool,
}

impl<'c> SharedCaches<'c> {
    /// Caches for several threads, or for one.
    pub fn new(caches: Caches<'c>, contended: bool) -> Self {
        Self { caches: Mutex::new(caches), contended }
    }

    /// Waits for its turn.
    pub fn lock(&self) -> MutexGuard<'_, Caches<'c>> {
        // A thread that panicked has left them usable: the dispatch fails, and the L2's invariants hold between its calls.
        self.caches.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
