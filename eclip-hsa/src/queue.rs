//! One AQL queue of ours, as its owner sees it.
//!
//! A [`Queue`] is owned by one place and used from any number of threads. Its CU mask is set once, when it is created.
//! Dropping it waits for unfinished work that can still finish (or gives up after a time), then destroys the hardware queue:
//! from then on the device touches nothing of it, and tokens of lost work say so.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use std::ptr::NonNull;

use hsa_sys::{HSA_STATUS_SUCCESS, hsa_queue_t};

use crate::agent::Agent;
use crate::counts::PacketCounts;
use crate::cu_mask::CuMask;
use crate::error::{Failure, Result};
use crate::queue_state::QueueState;

/// An AQL queue. See the module's text.
pub struct Queue {
    state: Arc<QueueState>,
}

impl Queue {
    pub(crate) fn new(state: Arc<QueueState>) -> Self {
        Self { state }
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.state.parts().label
    }

    /// The GPU that it is on.
    pub fn agent(&self) -> &Agent {
        &self.state.parts().agent
    }

    /// The mask that it was given; none if it uses every CU. This is our own record: some ROCr releases report another.
    pub fn mask(&self) -> Option<CuMask> {
        self.state.parts().mask.lock().expect("no panic while it is held").clone()
    }

    /// ROCr's id of the queue.
    pub fn id(&self) -> u64 {
        // SAFETY: the queue is alive as long as its owner.
        unsafe { self.state.parts().queue.as_ref() }.id
    }

    /// Packets that the ring holds.
    pub fn size(&self) -> u32 {
        self.state.size()
    }

    /// HSA's queue, for calls that this crate does not make. Writing packets to it, or destroying it, breaks this
    /// queue: only we may.
    pub fn as_raw(&self) -> *mut hsa_queue_t {
        self.state.parts().queue.as_ptr()
    }

    /// The mask as ROCr reports it, where it has the call. Some releases report what was set before.
    pub fn reported_mask(&self) -> Option<Vec<u32>> {
        reported_mask(self.agent(), self.state.parts().queue)
    }

    /// Submissions that are not complete.
    pub fn unfinished(&self) -> u32 {
        self.state.sweep_all();
        self.state.flights().unfinished()
    }

    /// Packets that it was given so far.
    pub fn packet_counts(&self) -> PacketCounts {
        self.state.packet_counts()
    }

    /// Why the queue is dead, if it is. Sticky.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.state.failure()
    }

    /// Waits until everything submitted so far is complete.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`], or [`crate::Error::Failed`] if the queue is dead.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        self.state.drain(timeout)
    }

    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.state
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // What does not finish in time is lost, and its tokens will say so.
        let _ = self.state.drain(self.state.parts().drain);
        self.state.close();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Queue");
        out.field("label", &self.state.parts().label).field("id", &self.id()).field("size", &self.size());
        out.field("mask", &self.mask()).finish()
    }
}

/// The mask of a live queue as ROCr reports it.
pub(crate) fn reported_mask(agent: &Agent, queue: NonNull<hsa_queue_t>) -> Option<Vec<u32>> {
    let get = agent.runtime().hsa().hsa_amd_queue_cu_get_mask?;
    let mut words = vec![0u32; (agent.topology().ok()?.cu_count() as usize).div_ceil(32)];
    // SAFETY: the queue is alive, and there is room for as many bits as are asked for.
    let status = unsafe { get(queue.as_ptr(), words.len() as u32 * 32, words.as_mut_ptr()) };
    (status == HSA_STATUS_SUCCESS).then_some(words)
}
