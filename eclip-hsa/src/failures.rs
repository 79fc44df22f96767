//! Whether anything has failed: what spares everybody else the search.
//!
//! A failure is rare and looked for everywhere, so it is counted in one place, and each queue remembers at which count it was last found to be
//! unharmed. What is submitted later cannot depend on what is lost already, for it is refused. A submission that a failure overtakes, between
//! its look at what it depends on and its launch, says so. Any thread may call anything; nobody waits.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// How often anything of a runtime has failed. Until the count moves nobody needs to ask whether what he waits for is lost.
#[derive(Debug, Default)]
pub(crate) struct Failures(AtomicU64);

impl Failures {
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        // Acquire: pairs with `note`; whoever sees it sees the failure itself.
        self.0.load(Ordering::Acquire)
    }

    /// Call after the failure can be found.
    pub(crate) fn note(&self) {
        // Release: pairs with `count`.
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What one queue knows of failures.
#[derive(Debug, Default)]
pub(crate) struct Unharmed {
    /// What `dangers` was when the queue was last found to be free of failures.
    at: AtomicU64,
    /// Submissions that failures may have overtaken.
    doubts: AtomicU64,
}

impl Unharmed {
    /// Moves with whatever may mean that something of the queue is lost: neither of the two counts ever falls.
    #[inline]
    fn dangers(&self, failures: &Failures) -> u64 {
        // Acquire: pairs with the fence in front of `note_waiting`.
        failures.count() + self.doubts.load(Ordering::Acquire)
    }

    /// Whether nothing can be found.
    #[inline]
    pub(crate) fn is_sure(&self, failures: &Failures) -> bool {
        // Relaxed: the count itself is what matters, and it was acquired.
        self.dangers(failures) == self.at.load(Ordering::Relaxed)
    }

    /// What `search` finds, which looks at everything that is pending. It is spared until something else fails.
    #[inline]
    pub(crate) fn look<T>(&self, failures: &Failures, search: impl FnOnce() -> Option<T>) -> Option<T> {
        let dangers = self.dangers(failures);
        // Relaxed: as in `is_sure`.
        if dangers == self.at.load(Ordering::Relaxed) {
            return None;
        }
        // Pairs with the fence in front of `note_waiting`.
        fence(Ordering::SeqCst);
        let found = search();
        if found.is_none() {
            // Relaxed: as above.
            self.at.fetch_max(dangers, Ordering::Relaxed);
        }
        found
    }

    /// A submission that depends on others was just launched, and a sequentially consistent fence has passed since. `before` is
    /// [`Failures::count`] before it looked whether those are lost.
    #[inline]
    pub(crate) fn note_waiting(&self, failures: &Failures, before: u64) {
        // Who searches reads the count of failures and then what is pending; here something became pending, and the count is read. With
        // the fences, the caller's and that in `look`, at least one sees the other.
        if failures.count() != before {
            // Relaxed: the caller's fence makes it a release, which pairs with the acquire in `dangers`, so the submission is seen.
            self.doubts.fetch_add(1, Ordering::Relaxed);
        }
    }
}
