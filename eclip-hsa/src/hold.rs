//! What a submission keeps alive until it is complete: its program, kernargs, buffers, and the signals that it waits for.
//!
//! It stays in its slot and is filled again, so its memory is reused. Emptied by whichever thread completes the submission; nothing here
//! waits.

use std::any::Any;
use std::sync::Arc;

use crate::block::Block;
use crate::flights::Cargo;
use crate::kernarg_ring::{KernargRange, KernargRing};
use crate::memory::BufferRef;
use crate::packet::BARRIER_DEPENDENCIES;
use crate::pin::{Awaited, Pin, Wait};
use crate::program::Entered;
use crate::signal::{Signals, TimeCell};

/// Kernarg memory of one queue.
pub(crate) struct Kernargs {
    pub(crate) block: Block,
    pub(crate) ring: KernargRing,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Hold {
    pub(crate) program: Option<Entered>,
    /// Whether there is anything in `more`.
    used: bool,
    /// Apart, because many submissions need nothing of it.
    more: Box<More>,
}

/// What not every submission has.
#[derive(Default)]
pub(crate) struct More {
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

impl Hold {
    /// The rest, to put something into it.
    pub(crate) fn more(&mut self) -> &mut More {
        self.used = true;
        &mut self.more
    }

    /// Makes room, so that nothing is allocated later.
    pub(crate) fn warm_up(&mut self) {
        // As many as five barrier packets name; few submissions need more.
        self.more.waits.reserve(BARRIER_DEPENDENCIES * BARRIER_DEPENDENCIES);
        self.more.buffers.reserve(BARRIER_DEPENDENCIES);
        self.more.fate.reserve(BARRIER_DEPENDENCIES);
    }

    fn rest(&self) -> Option<&More> {
        self.used.then_some(&*self.more)
    }

    /// What the submission waits for.
    #[inline]
    pub(crate) fn waits(&self) -> &[Wait] {
        self.rest().map_or(&[], |more| &more.waits)
    }
}

impl Hold {
    /// The work whose loss is the submission's loss.
    pub(crate) fn awaited(&self) -> Vec<Awaited> {
        let Some(more) = self.rest() else { return Vec::new() };
        let pins = more.waits.iter().filter_map(|wait| wait.pin.as_ref()).map(Pin::awaited);
        pins.chain(more.fate.iter().cloned()).collect()
    }
}

impl Cargo<Signals> for Hold {
    fn is_watched(&self) -> bool {
        self.rest().is_some_and(|more| !more.waits.is_empty() || !more.fate.is_empty())
    }

    #[inline]
    fn release(&mut self, complete: Option<&Signals>) {
        if self.used {
            self.used = false;
            self.more.release(complete);
        }
        self.program = None;
    }
}

impl More {
    fn release(&mut self, complete: Option<&Signals>) {
        if let Some(cell) = self.time.take() {
            let first = std::mem::take(&mut self.timed_first);
            // Set once: a submission completes once. Lost work has no times.
            let _ = cell.set(complete.and_then(|signals| signals.times(first)));
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
