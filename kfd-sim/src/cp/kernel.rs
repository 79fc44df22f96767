//! How workgroups are executed: the instruction interpreter, behind a seam so that the command processor is tested with
//! kernels that do exactly what a test wants.

use crate::caches::SharedCaches;
use crate::isa::{CodeCache, ExecStats, Launch, Placement, Progress, Workgroup};
use crate::memory::AddressSpace;

/// A workgroup that can be run in slices.
pub(crate) trait RunWorkgroup: Send {
    /// Runs up to `budget` wave-instructions. `clock` is the GPU counter; `caches` lie before memory, if there are any.
    fn run(
        &mut self,
        mem: &AddressSpace,
        caches: Option<&SharedCaches<'_>>,
        cache: &mut CodeCache,
        clock: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress;

    /// What has been executed so far.
    fn stats(&self) -> ExecStats;

    /// Event ids that its waves have raised since the last call.
    fn take_interrupts(&mut self) -> Vec<u32> {
        Vec::new()
    }
}

impl RunWorkgroup for Workgroup {
    fn run(
        &mut self,
        mem: &AddressSpace,
        caches: Option<&SharedCaches<'_>>,
        cache: &mut CodeCache,
        clock: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress {
        self.run_through(mem, caches, cache, clock, budget)
    }

    fn stats(&self) -> ExecStats {
        *Workgroup::stats(self)
    }

    fn take_interrupts(&mut self) -> Vec<u32> {
        Workgroup::take_interrupts(self)
    }
}

/// Makes the runnable workgroup `id` of a launch.
pub(crate) type MakeWorkgroup = dyn Fn(&Launch, [u32; 3], Placement) -> Box<dyn RunWorkgroup> + Send + Sync;

/// The instruction interpreter.
pub(crate) fn interpreter(launch: &Launch, id: [u32; 3], place: Placement) -> Box<dyn RunWorkgroup> {
    Box::new(Workgroup::new(launch, id, place))
}
