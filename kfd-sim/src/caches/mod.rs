//! Strict memory: caches that hide writes until a release and serve old bytes until an acquire.
//!
//! Simulated memory is coherent otherwise, so that a missing fence or barrier would never show. With strict memory
//! ([`CommandProcessor::set_strict_memory`](crate::cp::CommandProcessor::set_strict_memory), `KFD_SIM_STRICT=1`) a
//! program that leaves one out reads stale bytes, deterministically wherever the device knows that nothing else made up for
//! it. The model follows what the HSA memory model promises and no more, in three stages:
//!
//! | stage | holds | left by | refilled by |
//! |---|---|---|---|
//! | dispatch ([`DispatchCache`]) | its own stores | release fence of any scope, of its packet or a later one ordered behind it | |
//! | view ([`View`], L1 and scalar caches) | what an acquire saw and what was read since | | acquire fence of any scope, on the same queue |
//! | L2 ([`L2`]) | stores released to the agent; VRAM as last read | release fence of system scope | acquire fence of system scope, on any queue |
//!
//! # Rules
//! - A dispatch sees its own stores (all its workgroups see them at once), and for everything else the state that its
//!   queue's last acquire saw: stores that were released *before* that acquire. A dispatch that is launched while another
//!   one runs never sees that one's stores, however long it takes itself. So a missing barrier bit, barrier-AND or fence reads
//!   old bytes whenever the two dispatches overlap at all, and the simulator launches a packet without the barrier bit
//!   as soon as it is published.
//! - A release at agent or system scope covers the packet's own stores and those of the dispatches of its queue that had completed
//!   when it started. A release at system scope then writes the L2 back: only now do host and DMA engines see the bytes, in
//!   VRAM and in host memory alike.
//! - An acquire at system scope drops what the L2 keeps of VRAM. VRAM that a DMA engine writes counts as cached before that;
//!   VRAM that the host writes is kept as old as it was last read.
//! - Barrier packets fence like dispatches: they acquire once their dependencies are met. ACQUIRE_MEM in a PM4 buffer does
//!   what its COHER_CNTL bits say.
//! - Instructions: atomics act in the L2 (VRAM) or in memory (host memory). Loads with GLC read the L2 or host memory.
//!   `buffer_wbinvl1`, `s_dcache_inv`: a new view. A wave that waits for stores of its own (`s_waitcnt vmcnt(0)`, `s_dcache_wb`, a store
//!   with GLC) moves the dispatch's stores to the L2 or to host memory; so do a million instructions, because every store
//!   is seen some day.
//! - The command processor (rings, signals, kernel descriptors) and instruction fetch use memory itself.
//!
//! # Against gfx906
//! Stricter: there the L1 writes through and lines are evicted, so most missing agent fences go unpunished; host memory is not in
//! the L2, so an agent release would do for it, and a system acquire is needed for VRAM only (that much holds here, too: an
//! agent acquire is enough to see what the host has written to host memory). Bytes are kept as old by pages of 4 KiB instead of lines of 64 bytes (written
//! bytes are tracked one by one). Laxer: the CUs of one dispatch are coherent with each other; host writes to VRAM that
//! was not read since the last system acquire are seen at once; stores that were never released are lost when their
//! memory is unmapped or their queue is destroyed. Beyond 64 MiB the L2 is written back and forgotten, and 32 MiB bound each of the others.
//!
//! Command processor's thread only.

mod dispatch;
mod l2;
mod model;
mod page;
mod queue;

pub(crate) use dispatch::DispatchCache;
pub(crate) use l2::L2;
pub use model::MemoryModel;
pub(crate) use page::{Mask, PAGE};
pub(crate) use queue::QueueCache;

#[cfg(doc)]
use l2::View;

/// The caches as a workgroup's accesses go through them.
pub(crate) struct Caches<'a> {
    pub l2: &'a mut L2,
    pub dispatch: &'a mut DispatchCache,
}
