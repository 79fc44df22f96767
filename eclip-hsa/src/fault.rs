//! Where ROCr's thread leaves a queue's first error.
//!
//! The error callback runs on a thread of ROCr's while it may hold locks, so it stores two words and returns. Waiting threads
//! look at the word at least every [`crate::signal::LOOK_EVERY`].

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hsa_sys::*;

use crate::failures::Failures;

/// The first error of one queue.
pub(crate) struct FaultCell {
    /// An HSA status, `HSA_STATUS_SUCCESS` while there is none.
    status: AtomicU32,
    failures: Arc<Failures>,
}

impl FaultCell {
    pub(crate) fn new(failures: Arc<Failures>) -> Self {
        Self { status: AtomicU32::new(HSA_STATUS_SUCCESS), failures }
    }

    /// The status of the first error.
    pub(crate) fn status(&self) -> Option<hsa_status_t> {
        // Relaxed: the word is all that is passed on.
        match self.status.load(Ordering::Relaxed) {
            HSA_STATUS_SUCCESS => None,
            status => Some(status),
        }
    }

    /// Records an error, if it is the first.
    pub(crate) fn record(&self, status: hsa_status_t) {
        // Relaxed: as above. The first error stays.
        let _ =
            self.status.compare_exchange(HSA_STATUS_SUCCESS, status, Ordering::Relaxed, Ordering::Relaxed);
        self.failures.note();
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
        let failures = Arc::new(Failures::default());
        let cell = FaultCell::new(failures.clone());
        assert_eq!(cell.status(), None);
        assert_eq!(failures.count(), 0);
        for status in [HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION, HSA_STATUS_ERROR_EXCEPTION] {
            // SAFETY: the cell outlives the call.
            unsafe { on_queue_error(status, std::ptr::null_mut(), (&raw const cell).cast_mut().cast()) };
        }
        assert_eq!(cell.status(), Some(HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION));
        assert_eq!(failures.count(), 2);
    }
}
