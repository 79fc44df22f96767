//! The decisions about one worker's stream: which queue each packet takes, what keeps it behind the packet before, what is counted.
//!
//! Plain data in, plain data out: a table, which queues others use too, and of each packet its name, whether it has a signal that
//! others may wait for, and whether a barrier was needed for it. The packet router ([`super::Router`]) and the safe API
//! ([`crate::Worker`]) both ask here and only carry out what is said, each in its way, so that the two cannot differ.
//!
//! One packet takes three steps. [`Core::kernel`] or [`Core::other`] says where it goes and what keeps it behind the packet before
//! ([`Behind`]). Whoever carries that out finds out whether the packet before is complete. [`Core::submitted`] takes note. Nothing
//! changes before the third step, so a packet that was refused meanwhile can be tried again. One thread at a time.

use std::sync::Arc;

use super::table::{Found, KernelName, Table};
use super::tracker::{Boundaries, Tracker};
use crate::policy::Placement;

/// What keeps a packet behind the packet before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing: there is none before, or it is known to be complete.
    Nothing,
    /// The barrier bit: it is on the same queue, whose other packets are the worker's own, or else it has no signal.
    Bit,
    /// A barrier-AND on its signal, if it is not complete.
    Signal,
    /// It has no signal: first a marker behind it, on this queue ([`Core::marked`]), then as [`Behind::Signal`].
    Marker(usize),
}

/// The next packet: where it goes and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub placement: Placement,
    pub behind: Behind,
    /// Whether the packet before is on another queue: then it acquires at agent scope, with a barrier or without.
    pub moved: bool,
    /// Whether it needs a signal: its successor may be on another queue, or the queue is not the worker's alone, or it will be drained
    /// for another mask.
    pub tells: bool,
    /// Whether it is the last kernel of a request by the plan.
    pub last: bool,
    /// Of a kernel: its name, how it was found, and whether the kernel before is on another queue.
    kernel: Option<(KernelName, Found, bool)>,
}

/// The packet before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Previous {
    queue: usize,
    /// Whether it, or a marker behind it, has a signal that may be waited for.
    told: bool,
    /// Whether it is known to be complete.
    complete: bool,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub tracker: Tracker,
    /// Whether others submit to it too, by queue of the plan.
    shared: Box<[bool]>,
    previous: Option<Previous>,
}

impl Core {
    pub fn new(table: Arc<Table>, shared: impl Fn(usize) -> bool, boundaries: Boundaries) -> Self {
        let shared = (0..table.queues()).map(shared).collect();
        Self { tracker: Tracker::new(table, boundaries), shared, previous: None }
    }

    /// The next packet is a kernel of this name.
    #[inline]
    pub fn kernel(&self, name: KernelName) -> Step {
        let (placement, found, switched) = self.tracker.peek(name);
        let next = self.tracker.expected_after_next();
        Step {
            last: self.tracker.next_is_last(),
            kernel: Some((name, found, switched)),
            ..self.step(placement, next)
        }
    }

    /// The next packet is none: it stays with the packet before.
    pub fn other(&self) -> Step {
        let queue = self.previous.map_or(self.tracker.table.unknown().queue, |previous| previous.queue);
        self.step(Placement::on(queue), self.tracker.expected())
    }

    /// `next`: the queue that its successor should take, if that is known.
    #[inline]
    fn step(&self, placement: Placement, next: Option<usize>) -> Step {
        let queue = placement.queue;
        Step {
            placement,
            behind: self.behind(queue),
            moved: self.previous.is_some_and(|previous| previous.queue != queue),
            tells: next != Some(queue) || self.shared[queue] || placement.remask.is_some(),
            last: false,
            kernel: None,
        }
    }

    /// What keeps a packet on `queue` behind the packet before.
    #[inline]
    fn behind(&self, queue: usize) -> Behind {
        match self.previous {
            None => Behind::Nothing,
            Some(previous) if previous.queue == queue && !self.shared[queue] => Behind::Bit,
            Some(Previous { complete: true, .. }) => Behind::Nothing,
            Some(Previous { told: true, .. }) => Behind::Signal,
            Some(previous) if previous.queue == queue => Behind::Bit,
            Some(previous) => Behind::Marker(previous.queue),
        }
    }

    /// A marker was submitted behind the packet before, with a signal that may be waited for. A step that was taken before that has to be
    /// taken anew.
    pub fn marked(&mut self) {
        self.tracker.request.markers += 1;
        if let Some(previous) = &mut self.previous {
            previous.told = true;
        }
    }

    /// The packet was submitted. `told`: it has a signal that may be waited for; `waited`: a barrier-AND went in front of it. True if
    /// it was the last kernel of its request by [`Boundaries::ByCount`].
    #[inline]
    pub fn submitted(&mut self, step: Step, told: bool, waited: bool) -> bool {
        debug_assert!(!waited || step.behind == Behind::Signal, "{step:?}");
        let counters = &mut self.tracker.request;
        counters.barriers += u64::from(waited);
        counters.elisions += u64::from(step.moved && !waited);
        self.previous = Some(Previous { queue: step.placement.queue, told, complete: false });
        match step.kernel {
            Some((name, found, switched)) => self.tracker.commit(name, step.placement, found, switched),
            None => {
                counters.passed += 1;
                false
            }
        }
    }

    /// Everything that was submitted is complete.
    pub fn idle(&mut self) {
        if let Some(previous) = &mut self.previous {
            previous.complete = true;
        }
    }

    /// Queue of the packet before, whether it has a signal, whether it is known to be complete.
    #[cfg(test)]
    pub fn previous(&self) -> Option<(usize, bool, bool)> {
        self.previous.map(|previous| (previous.queue, previous.told, previous.complete))
    }
}
