//! What a submission keeps alive until it is complete: its kernargs, buffers, code, and the signals that it waits for.
//!
//! Dropped by whichever thread completes the submission; nothing here waits.

use std::sync::Arc;

use crate::block::Block;
use crate::flights::Cargo;
use crate::kernarg_ring::{KernargRange, KernargRing};
use crate::memory::BufferRef;
use crate::module::Kernel;
use crate::pin::Pin;
use crate::signal::{GpuTime, TimeCell};

/// Kernarg memory of one queue.
pub(crate) struct Kernargs {
    pub(crate) block: Block,
    pub(crate) ring: KernargRing,
}

/// What a submission keeps alive until it is complete.
pub(crate) struct Hold {
    pub(crate) kernargs: Option<(Arc<Kernargs>, KernargRange)>,
    pub(crate) buffers: Vec<BufferRef>,
    /// Never read: held so that their code stays loaded.
    pub(crate) _kernels: Vec<Kernel>,
    pub(crate) pins: Vec<Vec<Pin>>,
    pub(crate) time: Option<TimeCell>,
}

impl Cargo<Option<GpuTime>> for Hold {
    fn complete(self, times: impl FnOnce() -> Option<GpuTime>) {
        if let Some(cell) = &self.time {
            // Set once: a submission completes once.
            let _ = cell.set(times());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((kernargs, range)) = self.kernargs.take() {
            kernargs.ring.release(range);
        }
        for buffer in self.buffers.drain(..) {
            buffer.block.leave();
        }
    }
}
