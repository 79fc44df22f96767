//! Pins: submissions that somebody waits for, so that their signals are not used again meanwhile.

use std::sync::{Arc, Weak};

use crate::depend::{Clock, Dep, Dependency, NOTHING};
use crate::error::Failure;
use crate::flights::{Status, Ticket};

/// Up to which position each queue (by address) has been asked already, for queues may wait for each other. A queue's answer
/// for one position holds for all earlier ones.
#[derive(Default)]
pub(crate) struct Seen(Vec<(*const (), u64)>);

impl Seen {
    /// Notes that `queue` is asked about everything up to `position`; returns the first position that was not asked about
    /// before, if any.
    pub(crate) fn ask(&mut self, queue: *const (), position: u64) -> Option<u64> {
        match self.0.iter_mut().find(|(other, _)| *other == queue) {
            Some((_, asked)) if *asked >= position => None,
            Some((_, asked)) => Some(std::mem::replace(asked, position) + 1),
            None => {
                self.0.push((queue, position));
                Some(0)
            }
        }
    }
}

/// A queue, as whoever waits for its submissions sees it.
pub(crate) trait Awaitable: Send + Sync {
    /// Where a submission stands; the failure if it will never be complete.
    fn status(&self, ticket: Ticket, seen: &mut Seen) -> Result<Status, Arc<Failure>>;
    /// What the queue knew when the submission in a slot was made.
    ///
    /// # Safety
    /// The slot is pinned as long as the result is used.
    unsafe fn clock(&self, slot: u32) -> &Clock;
    /// Gives up one pin.
    fn unpin(&self, slot: u32);
}

/// A signal that somebody names: a barrier packet that waits for it, or a waiting thread.
pub(crate) struct Pin {
    queue: Arc<dyn Awaitable>,
    ticket: Ticket,
}

impl Pin {
    /// Takes over one pin of the ticket's slot, which was just taken.
    pub(crate) fn new(queue: Arc<dyn Awaitable>, ticket: Ticket) -> Self {
        Self { queue, ticket }
    }

    /// What its queue knew when the submission was made.
    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        // SAFETY: this is the pin.
        unsafe { self.queue.clock(self.ticket.slot) }
    }

    /// What is waited for, without keeping anything.
    pub(crate) fn awaited(&self) -> Awaited {
        Awaited { queue: Arc::downgrade(&self.queue), ticket: self.ticket }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.queue.unpin(self.ticket.slot);
    }
}

/// Something that a submission waits for: a signal that its barrier names.
pub(crate) struct Wait {
    /// Keeps the signal; none for one that the caller answers for, and for what needs no signal.
    pub(crate) pin: Option<Pin>,
    /// Handle of the signal.
    pub(crate) signal: u64,
    pub(crate) dep: Dep,
}

impl Dependency for Wait {
    fn dep(&self) -> &Dep {
        &self.dep
    }

    fn clock(&self) -> &Clock {
        self.pin.as_ref().map_or(&NOTHING, Pin::clock)
    }
}

/// Work that a submission waits for. The submission's own pins keep its queue's state alive, so a queue that is gone has
/// nothing left to wait for.
#[derive(Clone)]
pub(crate) struct Awaited {
    queue: Weak<dyn Awaitable>,
    ticket: Ticket,
}

impl Awaited {
    pub(crate) fn new(queue: &Arc<impl Awaitable + 'static>, ticket: Ticket) -> Self {
        let queue: Weak<dyn Awaitable> = Arc::downgrade(&(queue.clone() as Arc<dyn Awaitable>));
        Self { queue, ticket }
    }

    /// `Ok(true)` when it has happened, the failure when it never will.
    pub(crate) fn has_happened(&self, seen: &mut Seen) -> Result<bool, Arc<Failure>> {
        match self.queue.upgrade() {
            Some(queue) => Ok(queue.status(self.ticket, seen)? == Status::Done),
            None => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_asked_once_about_each_position() {
        let queues = [0u8; 2];
        let [a, b] = queues.each_ref().map(|queue| std::ptr::from_ref(queue).cast::<()>());
        let mut seen = Seen::default();
        assert_eq!(seen.ask(a, 5), Some(0));
        assert_eq!(seen.ask(a, 5), None);
        assert_eq!(seen.ask(a, 2), None);
        assert_eq!(seen.ask(b, 2), Some(0));
        assert_eq!(seen.ask(a, u64::MAX), Some(6));
        assert_eq!(seen.ask(a, u64::MAX), None);
    }
}
