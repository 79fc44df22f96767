//! What a submission keeps alive until it is complete: its program, kernargs, buffers, and the signals that it waits for.
//!
//! It stays in its slot and is filled again, so its memory is reused. Emptied by whichever thread completes the submission; nothing here
//! waits.

use std::any::Any;
use std::sync::Arc;

use crate::block::Block;
use crate::depend::{Dep, Dependency};
use crate::flights::Cargo;
use crate::kernarg_ring::{KernargRange, KernargRing};
use crate::memory::BufferRef;
use crate::packet::BARRIER_DEPENDENCIES;
use crate::pin::{Awaited, Pin};
use crate::program::Program;
use crate::signal::{Signals, TimeCell};

/// Kernarg memory of one queue.
pub(crate) struct Kernargs {
    pub(crate) block: Block,
    pub(crate) ring: KernargRing,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Hold {
    pub(crate) program: Option<Arc<Program>>,
    pub(crate) kernargs: Option<(Arc<Kernargs>, KernargRange)>,
    /// Buffers beside the program's.
    pub(crate) buffers: Vec<BufferRef>,
    /// What the submission waits for.
    pub(crate) waits: Vec<Wait>,
    /// Other work whose loss is the submission's loss, too.
    pub(crate) fate: Vec<Awaited>,
    pub(crate) time: Option<TimeCell>,
    /// Whether the first packet has a signal of its own.
    pub(crate) timed_first: bool,
    /// Whatever else must live so long.
    pub(crate) other: Option<Arc<dyn Any + Send + Sync>>,
}

/// Something that a submission waits for: a signal that its barrier names.
pub(crate) struct Wait {
    /// Keeps the signal; none for one that the caller answers for, and for what needs no signal.
    pub(crate) pin: Option<Pin>,
    /// Handle of the signal.
    pub(crate) signal: u64,
    pub(crate) dep: Dep,
}

impl Hold {
    /// Makes room for what most submissions have at most: the dependencies of one barrier packet.
    pub(crate) fn warm_up(&mut self) {
        self.waits.reserve(BARRIER_DEPENDENCIES);
        self.buffers.reserve(BARRIER_DEPENDENCIES);
    }

    /// The work whose loss is the submission's loss.
    pub(crate) fn awaited(&self) -> Vec<Awaited> {
        let pins = self.waits.iter().filter_map(|wait| wait.pin.as_ref()).map(Pin::awaited);
        pins.chain(self.fate.iter().cloned()).collect()
    }
}

impl Dependency for Wait {
    fn dep(&self) -> &Dep {
        &self.dep
    }
}

impl Cargo<Signals> for Hold {
    fn is_watched(&self) -> bool {
        !self.waits.is_empty() || !self.fate.is_empty()
    }

    #[inline]
    fn release(&mut self, complete: Option<&Signals>) {
        if let Some(cell) = self.time.take() {
            let first = std::mem::take(&mut self.timed_first);
            // Set once: a submission completes once. Lost work has no times.
            let _ = cell.set(complete.and_then(|signals| signals.times(first)));
        }
        if let Some(program) = self.program.take() {
            program.leave();
        }
        if let Some((kernargs, range)) = self.kernargs.take() {
            kernargs.ring.release(range);
        }
        for buffer in self.buffers.drain(..) {
            buffer.block.leave();
        }
        self.waits.clear();
        self.fate.clear();
        self.other = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release(None);
    }
}
