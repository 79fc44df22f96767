//! Signals that somebody else made: how another HSA or HIP runtime's work and ours wait for each other. Plain data: any
//! thread may use them.

use hsa_sys::hsa_signal_t;

use crate::agent::Agent;

/// A signal of the caller's, adopted.
///
/// As a dependency ([`crate::Submission::after_signals`]) it holds up the work until its value is 0. As a notification
/// ([`crate::Submission::notify`]) the GPU subtracts 1 from it when the work is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignSignal {
    handle: u64,
}

impl ForeignSignal {
    /// Adopts a signal of the ROCr that `agent` belongs to.
    ///
    /// # Safety
    /// The signal must stay alive until all work that names it is complete or lost. Whoever makes it 0 releases its data at system
    /// scope before. It must not be set to another value between becoming 0 and the completion of the work that waits for it, or that
    /// work may never start. If it is never made 0, work that waits for it never starts: the library cannot tell.
    pub unsafe fn new(_agent: &Agent, signal: hsa_signal_t) -> Self {
        Self { handle: signal.handle }
    }

    pub(crate) fn handle(self) -> u64 {
        self.handle
    }
}
