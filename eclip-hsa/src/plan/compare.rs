//! A plan against a pool: every difference that would make the plan mean something else.

use std::fmt;

use super::Plan;
use super::error::few;
use crate::code_object::IsaName;
use crate::cu_mask::CuMask;
use crate::topology::CuTopology;

/// A pool as plain data.
#[derive(Clone, Debug)]
pub struct PoolDescription {
    /// Marketing name of the GPU.
    pub product: String,
    /// Its instruction set.
    pub isa: IsaName,
    /// Its compute units.
    pub topology: CuTopology,
    /// Label and mask of each queue; no mask for all CUs.
    pub queues: Vec<(String, Option<CuMask>)>,
}

/// One difference between a plan and a pool. What a plan says comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Another GPU by name.
    Product {
        /// In the plan.
        plan: String,
        /// In the pool.
        pool: String,
    },
    /// Another instruction set.
    Isa {
        /// In the plan.
        plan: String,
        /// In the pool.
        pool: String,
    },
    /// Other compute units.
    Topology {
        /// In the plan.
        plan: String,
        /// In the pool.
        pool: String,
    },
    /// The pool has no such queue.
    MissingQueue {
        /// Its label.
        label: String,
        /// Its mask in the plan.
        mask: String,
        /// The labels that the pool has.
        pool: Vec<String>,
    },
    /// Another mask.
    Mask {
        /// The queue's label.
        label: String,
        /// In the plan.
        plan: String,
        /// In the pool.
        pool: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Product { plan, pool } => write!(f, "the plan is for {plan}, the pool is on {pool}"),
            Self::Isa { plan, pool } => write!(f, "the plan is for {plan}, the pool's GPU is {pool}"),
            Self::Topology { plan, pool } => {
                write!(f, "the plan is for a GPU of {plan}, the pool's has {pool}")
            }
            Self::MissingQueue { label, mask, pool } => {
                write!(f, "the pool has no queue {label:?} ({mask}); it has {}", few(pool))
            }
            Self::Mask { label, plan, pool } => write!(f, "queue {label}: plan says {plan}, pool has {pool}"),
        }
    }
}

impl Plan {
    /// Every difference between this plan and a pool; empty if the plan fits. Queues that only the pool has are none.
    pub fn check(&self, pool: &PoolDescription) -> Vec<Difference> {
        self.check_queues(pool, |_| true)
    }

    /// As [`Plan::check`], with those of the plan's queues only whose index `needed` accepts.
    pub fn check_queues(&self, pool: &PoolDescription, needed: impl Fn(usize) -> bool) -> Vec<Difference> {
        let mut found = Vec::new();
        let device = &self.document().device;
        if let Some(product) = device.product.as_ref().filter(|product| **product != pool.product) {
            found.push(Difference::Product { plan: product.clone(), pool: pool.product.clone() });
        }
        if self.isa().runs_on(&pool.isa).is_err() {
            found.push(Difference::Isa { plan: device.isa.clone(), pool: pool.isa.to_string() });
        }
        if **self.topology() != pool.topology {
            let (plan, pool) = describe(self.topology(), &pool.topology);
            found.push(Difference::Topology { plan, pool });
        }
        for (index, queue) in self.document().queues.iter().enumerate().filter(|(index, _)| needed(*index)) {
            let plan = self.mask(index);
            let Some((_, mask)) = pool.queues.iter().find(|(label, _)| *label == queue.label) else {
                let labels = pool.queues.iter().map(|(label, _)| label.clone()).collect();
                found.push(Difference::MissingQueue {
                    label: queue.label.clone(),
                    mask: text(plan),
                    pool: labels,
                });
                continue;
            };
            if words(plan) != words(mask.as_ref()) {
                found.push(Difference::Mask {
                    label: queue.label.clone(),
                    plan: text(plan),
                    pool: text(mask.as_ref()),
                });
            }
        }
        found
    }
}

/// A mask of all CUs is the same as none.
fn words(mask: Option<&CuMask>) -> Option<&[u32]> {
    mask.filter(|mask| !mask.is_full()).map(CuMask::words)
}

fn text(mask: Option<&CuMask>) -> String {
    mask.map_or("all CUs".into(), |mask| format!("{mask:#}"))
}

/// The short text where it tells the two apart, all of it where it does not.
fn describe(plan: &CuTopology, pool: &CuTopology) -> (String, String) {
    let short = (plan.to_string(), pool.to_string());
    if short.0 != short.1 {
        return short;
    }
    (format!("{plan:?}"), format!("{pool:?}"))
}
