//! A worker's placements, ready for look-up: an index into an array for each kernel. Built once; names are hashed only then.

use std::collections::HashMap;

use crate::plan::{Plan, PlanError};
use crate::policy::{Placement, Policy};

/// A kernel's name as a table knows it: looked up once with [`Table::name`]. To another table it means another name or none, so that
/// kernels would go elsewhere: each worker's names are its own. (A [`crate::Worker`] refuses what another one prepared.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelName(u32);

impl KernelName {
    /// A kernel of which only its place in the request is known.
    pub const ANY: Self = Self(u32::MAX);
    /// A kernel whose name is not in the plan.
    pub const UNPLANNED: Self = Self(u32::MAX - 1);
}

/// Where the kernels of one worker go under one policy.
#[derive(Clone, Debug)]
pub struct Table {
    /// By index in the request, with the name that the kernel should have; empty if the plan goes by name.
    rows: Box<[(Placement, KernelName)]>,
    /// By name, then by occurrence.
    occurrences: Box<[Box<[Placement]>]>,
    names: HashMap<Box<str>, KernelName>,
    unknown: Placement,
    kernels: u32,
    switch_max: Option<u32>,
    queues: usize,
    /// Whether there is more than one queue.
    switches: bool,
}

/// How a kernel was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// As the plan says.
    Planned,
    /// Not at its index, but by name and occurrence.
    ByName,
    /// Not at all.
    Unknown,
}

impl Table {
    /// The table of the plan's worker `worker` under `policy`.
    ///
    /// # Errors
    /// If the plan has no such worker, or does not say what the policy needs.
    pub fn new(plan: &Plan, worker: &str, policy: Policy) -> Result<Self, PlanError> {
        let described = plan.worker(worker)?;
        let index = plan.document().workers.iter().position(|other| std::ptr::eq(other, described));
        let placements = policy.place(plan, index.unwrap_or_default())?;
        let mut names: HashMap<Box<str>, KernelName> = HashMap::new();
        let mut occurrences: Vec<Vec<Placement>> = Vec::new();
        let mut rows = Vec::new();
        for (kernel, &placement) in described.kernels.iter().zip(&placements.kernels) {
            let name = kernel.kernel.as_ref().map_or(KernelName::ANY, |name| {
                *names.entry(name.as_str().into()).or_insert_with(|| {
                    occurrences.push(Vec::new());
                    KernelName(occurrences.len() as u32 - 1)
                })
            });
            if let Some(of_name) = occurrences.get_mut(name.0 as usize) {
                let number = kernel.occurrence.filter(|_| kernel.index.is_none());
                let number = number.map_or(of_name.len(), |number| number as usize);
                if of_name.len() <= number {
                    of_name.resize(number + 1, placements.unknown);
                }
                of_name[number] = placement;
            }
            if kernel.index.is_some() {
                rows.push((placement, name));
            }
        }
        let switches = placements.kernels.iter().any(|placement| placement.queue != placements.unknown.queue);
        Ok(Self {
            rows: rows.into(),
            occurrences: occurrences.into_iter().map(Vec::into_boxed_slice).collect(),
            names,
            unknown: placements.unknown,
            kernels: described.kernels_of_a_request(),
            switch_max: plan.document().switch_max,
            queues: plan.document().queues.len(),
            switches,
        })
    }

    /// The table's word for a kernel's name, to be looked up once and used for every submission. Symbols of code objects end
    /// in `.kd`; names do not.
    pub fn name(&self, name: &str) -> KernelName {
        self.names.get(name).copied().unwrap_or(KernelName::UNPLANNED)
    }

    /// Kernels of one request.
    pub fn kernels_per_request(&self) -> u32 {
        self.kernels
    }

    /// The plan's budget of CU switches in a request.
    pub fn switch_max(&self) -> Option<u32> {
        self.switch_max
    }

    /// Queues of the plan: placements name them by index.
    pub fn queues(&self) -> usize {
        self.queues
    }

    /// Whether the worker may use this queue of the plan.
    pub fn uses(&self, queue: usize) -> bool {
        let here = |placement: &Placement| placement.queue == queue;
        here(&self.unknown)
            || self.rows.iter().any(|row| here(&row.0))
            || self.occurrences.iter().flatten().any(here)
    }

    /// Whether the worker uses more than one queue.
    pub(crate) fn switches(&self) -> bool {
        self.switches
    }

    /// Where kernels go that the plan does not know.
    pub fn unknown(&self) -> Placement {
        self.unknown
    }

    pub(crate) fn names(&self) -> usize {
        self.occurrences.len()
    }

    /// The placement of the kernel at `position` of a request. `seen` has how many kernels of each name there were so far.
    #[inline]
    pub(crate) fn find(&self, position: u32, name: KernelName, seen: &[u32]) -> (Placement, Found) {
        if let Some(&(placement, expected)) = self.rows.get(position as usize)
            && (name == expected || name == KernelName::ANY || expected == KernelName::ANY)
        {
            return (placement, Found::Planned);
        }
        let occurrence = seen.get(name.0 as usize).copied().unwrap_or_default();
        let by_name = self.occurrences.get(name.0 as usize).and_then(|of| of.get(occurrence as usize));
        match by_name {
            Some(&placement) if self.rows.is_empty() => (placement, Found::Planned),
            Some(&placement) => (placement, Found::ByName),
            None => (self.unknown, Found::Unknown),
        }
    }

    /// Counts a kernel's name. One that is known by its place only has the name that the plan gives to that place.
    #[inline]
    pub(crate) fn see(&self, position: u32, name: KernelName, seen: &mut [u32]) {
        let name = match self.rows.get(position as usize) {
            Some(&(_, expected)) if name == KernelName::ANY => expected,
            _ => name,
        };
        if let Some(count) = seen.get_mut(name.0 as usize) {
            *count += 1;
        }
    }

    /// The queue that the kernel at `position` should take; none if only its name will tell.
    pub(crate) fn expected(&self, position: u32) -> Option<usize> {
        let position = if position >= self.kernels { 0 } else { position };
        if !self.switches {
            return Some(self.unknown.queue);
        }
        self.rows.get(position as usize).map(|row| row.0.queue)
    }
}
