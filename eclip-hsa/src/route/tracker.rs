//! Where a worker is in its request, and what it counted so far.

use std::sync::Arc;

use super::counters::Counters;
use super::table::{Found, KernelName, Table};
use crate::policy::Placement;

/// Who says where a request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundaries {
    /// The caller, with `begin_request`. Kernels beyond the plan's number are unknown.
    Explicit,
    /// The plan's number of kernels of a request.
    ByCount,
}

/// A worker's progress. One thread at a time.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    pub table: Arc<Table>,
    boundaries: Boundaries,
    position: u32,
    /// Number of the request in progress, from 0.
    number: u64,
    /// Kernels of each name in this request so far.
    seen: Box<[u32]>,
    /// Queue of the kernel before.
    last: Option<usize>,
    /// The request in progress.
    pub request: Counters,
    /// The one before.
    pub finished: Counters,
    /// All finished ones.
    total: Counters,
}

impl Tracker {
    pub fn new(table: Arc<Table>, boundaries: Boundaries) -> Self {
        let counters = Counters::new(table.queues());
        Self {
            boundaries,
            position: 0,
            number: 0,
            seen: vec![0; table.names()].into(),
            last: None,
            request: counters.clone(),
            finished: counters.clone(),
            total: counters,
            table,
        }
    }

    /// Changes who says where a request begins.
    pub fn set_boundaries(&mut self, boundaries: Boundaries) {
        self.boundaries = boundaries;
    }

    /// Whether the next kernel is the last of its request by the plan.
    #[inline]
    pub fn next_is_last(&self) -> bool {
        self.position + 1 == self.table.kernels_per_request()
    }

    /// Where the next kernel goes, how it was found, and whether the kernel before is elsewhere.
    #[inline]
    pub fn peek(&self, name: KernelName) -> (Placement, Found, bool) {
        let (placement, found) = self.table.find(self.position, name, &self.seen);
        (placement, found, self.last.is_some_and(|last| last != placement.queue))
    }

    /// Counts the kernel that [`Tracker::peek`] told of, which was submitted. True if it was the last of its request.
    #[inline]
    pub fn commit(&mut self, name: KernelName, placement: Placement, found: Found, switched: bool) -> bool {
        self.table.see(self.position, name, &mut self.seen);
        self.position += 1;
        self.last = Some(placement.queue);
        self.request.kernels += 1;
        match found {
            Found::Planned => {}
            Found::ByName => self.request.by_name += 1,
            Found::Unknown => self.request.unknown += 1,
        }
        self.request.switches += u64::from(switched);
        self.request.remasks += u64::from(placement.remask.is_some());
        let ends =
            self.boundaries == Boundaries::ByCount && self.position >= self.table.kernels_per_request();
        if ends {
            self.end_request();
        }
        ends
    }

    /// The queue that the next kernel should take; none if only its name will tell.
    pub fn expected(&self) -> Option<usize> {
        self.table.expected(self.position)
    }

    /// The queue that the one after the next should take.
    pub fn expected_after_next(&self) -> Option<usize> {
        self.table.expected(self.position + 1)
    }

    /// The next kernel is the first of a request. Ends the one in progress.
    pub fn begin_request(&mut self) {
        self.end_request();
    }

    /// The request in progress is over, if it has a kernel.
    pub fn end_request(&mut self) -> &Counters {
        if self.request.kernels == 0 {
            return &self.finished;
        }
        self.request.close(self.table.switch_max());
        self.total += &self.request;
        std::mem::swap(&mut self.request, &mut self.finished);
        self.request.clear();
        self.position = 0;
        self.number += 1;
        self.seen.fill(0);
        &self.finished
    }

    /// Number of the request in progress, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Adds the execution time of a kernel: to its request if that is still kept, and to the total.
    pub fn record_time(&mut self, request: u64, queue: usize, ns: u64) {
        self.add(request, |counters| {
            if let Some(sum) = counters.queue_ns.get_mut(queue) {
                *sum += ns;
            }
        });
    }

    /// Counts a kernel whose time will never be known.
    pub fn no_time(&mut self, request: u64) {
        self.add(request, |counters| counters.untimed += 1);
    }

    fn add(&mut self, request: u64, add: impl Fn(&mut Counters)) {
        if request == self.number {
            // Comes into the total when the request ends.
            return add(&mut self.request);
        }
        if request + 1 == self.number {
            add(&mut self.finished);
        }
        add(&mut self.total);
    }

    /// Everything so far, the request in progress included.
    pub fn total(&self) -> Counters {
        let mut total = self.total.clone();
        total += &self.request;
        total
    }
}
