//! What happened to a worker's kernels, for a request or since the start.

use std::fmt;
use std::ops::AddAssign;

/// Counters of one request or of a worker. Counted when kernels are submitted; times are added when they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests: 1 in the counters of a request.
    pub requests: u64,
    /// Kernels.
    pub kernels: u64,
    /// Kernels that the plan does not know: they took the default queue.
    pub unknown: u64,
    /// Kernels of another name than the plan has at their index, found by name and occurrence instead.
    pub by_name: u64,
    /// Packets other than kernels that were passed on.
    pub passed: u64,
    /// Kernels that went to another queue than the worker's kernel before. The last kernel of a request is the one before the first
    /// of the next.
    pub switches: u64,
    /// Kernels before which the queue's mask was set.
    pub remasks: u64,
    /// Barrier-AND packets in front of a kernel or packet: at switches, and on queues that others use too.
    pub barriers: u64,
    /// Switches without a barrier, because what was waited for was complete, or the queue had waited for it before.
    pub elisions: u64,
    /// Marker packets: a kernel without a usable signal had a successor on another queue.
    pub markers: u64,
    /// CU switches ([`Counters::cu_switches`]) beyond the plan's budget for a request.
    pub over_budget: u64,
    /// Requests with more CU switches than the plan's budget.
    pub requests_over_budget: u64,
    /// Kernels of measuring queues whose times will never be known: lost work, and what was given up because nobody asked.
    pub untimed: u64,
    /// Nanoseconds that kernels executed on each of the plan's queues, where times are known.
    pub queue_ns: Box<[u64]>,
}

impl Counters {
    pub(crate) fn new(queues: usize) -> Self {
        Self { queue_ns: vec![0; queues].into(), ..Self::default() }
    }

    /// Changes of the CUs that kernels run on: by another queue or by another mask.
    pub fn cu_switches(&self) -> u64 {
        self.switches + self.remasks
    }

    /// All zero, without giving memory back.
    pub(crate) fn clear(&mut self) {
        let mut queue_ns = std::mem::take(&mut self.queue_ns);
        queue_ns.fill(0);
        *self = Self { queue_ns, ..Self::default() };
    }

    /// Takes stock of a finished request.
    pub(crate) fn close(&mut self, budget: Option<u32>) {
        self.requests = 1;
        self.over_budget = budget.map_or(0, |budget| self.cu_switches().saturating_sub(budget.into()));
        self.requests_over_budget = u64::from(self.over_budget > 0);
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        // Taken apart in full, so that no counter is forgotten here.
        let Counters {
            requests,
            kernels,
            unknown,
            by_name,
            passed,
            switches,
            remasks,
            barriers,
            elisions,
            markers,
            over_budget,
            requests_over_budget,
            untimed,
            queue_ns,
        } = other;
        self.requests += requests;
        self.kernels += kernels;
        self.unknown += unknown;
        self.by_name += by_name;
        self.passed += passed;
        self.switches += switches;
        self.remasks += remasks;
        self.barriers += barriers;
        self.elisions += elisions;
        self.markers += markers;
        self.over_budget += over_budget;
        self.requests_over_budget += requests_over_budget;
        self.untimed += untimed;
        if self.queue_ns.len() < queue_ns.len() {
            let mut longer = vec![0; queue_ns.len()];
            longer[..self.queue_ns.len()].copy_from_slice(&self.queue_ns);
            self.queue_ns = longer.into();
        }
        self.queue_ns.iter_mut().zip(queue_ns).for_each(|(sum, ns)| *sum += ns);
    }
}

/// As in `20 requests, 120 kernels (0 unknown), 59 switches: 41 barriers, 18 not needed; 0 masks set; 0 requests over budget`.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, kernels, unknown, switches, barriers, elisions, .. } = self;
        write!(
            f,
            "{requests} requests, {kernels} kernels ({unknown} unknown), {switches} switches: {barriers} barriers, "
        )?;
        let Self { remasks, requests_over_budget, .. } = self;
        write!(f, "{elisions} not needed; {remasks} masks set; {requests_over_budget} requests over budget")
    }
}
