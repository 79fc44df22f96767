//! Where ROCr's thread leaves a queue's first error.
//!
//! The error callback runs on a thread of ROCr's while it may hold locks, so it stores one word and returns. Waiting threads
//! look at the word at least every [`crate::signal::LOOK_EVERY`].

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use hsa_sys::*;

/// The first error of one queue: an HSA status, or `HSA_STATUS_SUCCESS` while there is none.
pub(crate) struct FaultCell(AtomicU32);

impl FaultCell {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(HSA_STATUS_SUCCESS))
    }

    /// The status of the first error.
    pub(crate) fn status(&self) -> Option<hsa_status_t> {
        // Relaxed: the word is all that is passed on.
        match self.0.load(Ordering::Relaxed) {
            HSA_STATUS_SUCCESS => None,
            status => Some(status),
        }
    }

    fn record(&self, status: hsa_status_t) {
        // Relaxed: as above. The first error stays.
        let _ = self.0.compare_exchange(HSA_STATUS_SUCCESS, status, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What to give `hsa_queue_create` as its callback; `data` must point to a [`FaultCell`] that is never freed while ROCr may
/// call.
pub(crate) unsafe extern "C" fn on_queue_error(
    status: hsa_status_t,
    _queue: *mut hsa_queue_t,
    data: *mut c_void,
) {
    // SAFETY: the queue was created with a pointer to a FaultCell that the runtime keeps until shut-down.
    unsafe { &*data.cast::<FaultCell>() }.record(status);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stays() {
        let cell = FaultCell::new();
        assert_eq!(cell.status(), None);
        for status in [HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION, HSA_STATUS_ERROR_EXCEPTION] {
            // SAFETY: the cell outlives the call.
            unsafe { on_queue_error(status, std::ptr::null_mut(), (&raw const cell).cast_mut().cast()) };
        }
        assert_eq!(cell.status(), Some(HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION));
    }
}
