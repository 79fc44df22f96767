//! Pins: submissions that somebody waits for, so that their signals are not used again meanwhile.

use std::sync::{Arc, Weak};

use crate::agent::Agent;
use crate::error::Failure;
use crate::flights::{Status, Ticket};

/// The questions about queues (by address) and positions in them that are being asked already, for queues may wait for each
/// other.
pub(crate) type Seen = Vec<(*const (), u64)>;

/// A queue, as whoever waits for its submissions sees it.
pub(crate) trait Awaitable: Send + Sync {
    fn agent(&self) -> &Agent;
    /// Where a submission stands; the failure if it will never be complete.
    fn status(&self, ticket: Ticket, seen: &mut Seen) -> Result<Status, Arc<Failure>>;
    /// Handle of a slot's signal.
    fn signal(&self, slot: u32) -> u64;
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

    pub(crate) fn signal(&self) -> u64 {
        self.queue.signal(self.ticket.slot)
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.queue.agent()
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

/// Work that a submission waits for. The submission's own pins keep its queue's state alive, so a queue that is gone has
/// nothing left to wait for.
#[derive(Clone)]
pub(crate) struct Awaited {
    queue: Weak<dyn Awaitable>,
    ticket: Ticket,
}

impl Awaited {
    /// `Ok(true)` when it has happened, the failure when it never will.
    pub(crate) fn has_happened(&self, seen: &mut Seen) -> Result<bool, Arc<Failure>> {
        match self.queue.upgrade() {
            Some(queue) => Ok(queue.status(self.ticket, seen)? == Status::Done),
            None => Ok(true),
        }
    }
}
