//! One AQL queue of ours, as its owner sees it.
//!
//! A [`Queue`] is owned by one place and used from any number of threads. Its CU mask is set once, when it is created
//! (but for [`Queue::remask`]).
//! Dropping it waits for unfinished work that can still finish (or gives up after a time), then destroys the hardware queue:
//! from then on the device touches nothing of it, and tokens of lost work say so.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use std::ptr::NonNull;

use hsa_sys::{HSA_STATUS_CU_MASK_REDUCED, HSA_STATUS_SUCCESS, hsa_queue_t, hsa_status_t};

use crate::agent::Agent;
use crate::counts::PacketCounts;
use crate::cu_mask::{CuMask, MaskError};
use crate::error::{Error, Failure, Result};
use crate::hold::Hold;
use crate::queue_state::QueueState;
use crate::signal::Use;

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
        self.state.parts().id
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
        if self.state.is_closed() {
            return None;
        }
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

    /// Waits until nothing is unfinished, for at most `timeout`; everything submitted before the call is complete then. What others go on
    /// submitting meanwhile is waited for, too, and nothing holds them up: if they always have something in flight, this may end with the
    /// time-out although what was submitted before is complete. To wait for certain work, wait for its tokens.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`], or [`crate::Error::Failed`] if something will never be complete.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        self.state.drain(timeout)
    }

    /// As [`Queue::drain`], then gives the queue another CU mask. What others submit meanwhile may run under either mask, and while they always
    /// have something in flight it may come to none: let them pause. This is what the rest of the library avoids: an ioctl that takes longer than many kernels (55 us at worst on an MI50) and stops the queue, or all queues, meanwhile.
    ///
    /// # Errors
    /// The mask is the old one then. As [`Queue::drain`]; [`crate::Error::WrongAgent`] for another GPU's mask, [`crate::Error::Hsa`] if ROCr
    /// refuses it.
    pub fn remask(&self, mask: &CuMask, timeout: Duration) -> Result<()> {
        let parts = self.state.parts();
        check_mask(&parts.agent, mask)?;
        self.state.drain(timeout)?;
        if let Some(failure) = self.failure() {
            return Err(failure.into());
        }
        let mut own = parts.mask.lock().expect("no panic while it is held");
        set_mask(&parts.agent, &parts.label, parts.queue, mask)?;
        *own = Some(mask.clone());
        Ok(())
    }

    /// Makes the signals for so many submissions at once, of every visibility, and memory for up to five dependencies on other queues and as
    /// many patched buffers of each. Without this they are made when first needed; a signal costs 10 to 50 us.
    ///
    /// # Errors
    /// [`crate::Error::Hsa`] if ROCr has no more signals.
    pub fn warm_up(&self, submissions: u32) -> Result<()> {
        let agent = self.agent();
        let mut claims = Vec::new();
        for _ in 0..submissions.min(self.size()) {
            let Some(mut claim) = self.state.flights().claim() else { break };
            claim.signal().prepare(agent, Use::Polled)?;
            claim.signal().prepare(agent, Use::Interrupt)?;
            claim.cargo(Hold::warm_up);
            claims.push(claim);
        }
        Ok(())
    }

    /// Passes on an error of an adopted queue, from the callback that its owner gave to ROCr: unfinished work ends with it. Of a queue
    /// that this library made it learns by itself. Only the first error counts; `HSA_STATUS_SUCCESS` is none. Stores it and returns, so a
    /// thread of ROCr's may call it.
    pub fn report_error(&self, status: hsa_status_t) {
        self.state.parts().fault.record(status);
    }

    /// Takes the queue from the hardware now; what is unfinished is lost. It stays as a dead queue.
    pub(crate) fn shut(&self) {
        if self.failure().is_none() {
            self.state.destroyed();
        }
        if !self.state.is_closed() {
            self.state.close();
            // Closing keeps a failure only while it can be found: what waited for lost work may have completed meanwhile.
            self.state.destroyed();
        }
    }

    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.state
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.state.is_closed() {
            // What does not finish in time is lost, and its tokens will say so.
            let _ = self.state.drain(self.state.parts().drain);
            self.state.close();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Queue");
        out.field("label", &self.state.parts().label).field("id", &self.id()).field("size", &self.size());
        out.field("mask", &self.mask()).finish()
    }
}

/// Whether a mask is for this GPU.
pub(crate) fn check_mask(agent: &Agent, mask: &CuMask) -> Result<()> {
    let topology = agent.topology()?;
    if mask.topology() == topology {
        return Ok(());
    }
    Err(Error::WrongAgent {
        what: "the CU mask",
        made_for: mask.topology().to_string(),
        used_on: topology.to_string(),
    })
}

/// Sets the mask of a live queue.
pub(crate) fn set_mask(agent: &Agent, label: &str, queue: NonNull<hsa_queue_t>, mask: &CuMask) -> Result<()> {
    let runtime = agent.runtime();
    let bits = mask.words().len() as u32 * 32;
    // SAFETY: the queue is alive, and there are as many mask words as the bit count says.
    let status =
        unsafe { (runtime.hsa().hsa_amd_queue_cu_set_mask)(queue.as_ptr(), bits, mask.words().as_ptr()) };
    if status == HSA_STATUS_CU_MASK_REDUCED as hsa_status_t {
        // HSA_CU_MASK took CUs away, which was allowed when the queue was made; but not all of them.
        let left = reported_mask(agent, queue);
        if left.is_some_and(|words| words.iter().all(|&word| word == 0)) {
            return Err(MaskError::Empty.into());
        }
        return Ok(());
    }
    runtime.check("hsa_amd_queue_cu_set_mask", status).map_err(|error| match error {
        Error::Hsa { call, status, text, .. } => {
            Error::Hsa { call, status, text, context: format!(": {label} on {agent}") }
        }
        other => other,
    })
}

/// The mask of a live queue as ROCr reports it.
pub(crate) fn reported_mask(agent: &Agent, queue: NonNull<hsa_queue_t>) -> Option<Vec<u32>> {
    let get = agent.runtime().hsa().hsa_amd_queue_cu_get_mask?;
    let mut words = vec![0u32; (agent.topology().ok()?.cu_count() as usize).div_ceil(32)];
    // SAFETY: the queue is alive, and there is room for as many bits as are asked for.
    let status = unsafe { get(queue.as_ptr(), words.len() as u32 * 32, words.as_mut_ptr()) };
    (status == HSA_STATUS_SUCCESS).then_some(words)
}
