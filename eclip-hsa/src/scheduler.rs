//! The scheduler: a pool of queues, a plan, and a policy. Workers submit their kernels in order; the plan says on which queue each one
//! runs.
//!
//! A [`Worker`] is an in-order stream as its user sees it: every kernel begins after the one before has ended and sees what it
//! wrote. Underneath, each kernel is looked up ([`crate::route::Table`]) and goes to the queue that the [`Policy`] takes from the
//! [`Plan`]. A barrier-AND packet goes in front only if the kernel before went to another queue and is not complete. On the same queue
//! the barrier bit orders them; kernels whose successor is planned for the same queue get no completion signal. All this is decided, and
//! counted, by the code that decides for [`crate::route::Router`]: a worker only carries it out with groups and tokens instead of packets
//! and signals.
//!
//! # Requests
//! A plan is of one request, which a worker repeats. [`Worker::begin_request`] says where one begins, or [`Worker::count_requests`]
//! once that the plan's number of kernels is one. Without either everything is one request, whose kernels beyond the plan's are unknown.
//!
//! # Threads
//! A worker belongs to one thread at a time and can be sent to another. Workers share nothing but the queues, so none waits for
//! another's lock. A queue that several workers use (as a rule the unmasked default) makes false dependencies. A barrier bit there would
//! wait for the other workers' kernels too, so a barrier-AND on the worker's own kernel before takes its place, unless that is
//! complete. While it waits, it holds up what the others submit behind it: give each worker a default queue of its own while the
//! hardware has queues to spare.
//!
//! # Cost
//! Nothing is allocated for a kernel that was prepared ([`Worker::prepare`]), except its times if the pool measures them.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use eclip_hsa::{Dispatch, Plan, Policy, Runtime, Scheduler};
//! # fn example(kernels: Vec<Dispatch>) -> eclip_hsa::Result<()> {
//! let gpu = Runtime::new()?.gpu(0)?;
//! let plan = Plan::load("plan.toml")?;
//! let pool = Scheduler::pool(&gpu, &plan, Policy::Eclip)?.build()?;
//! let scheduler = Scheduler::new(pool, &plan, Policy::Eclip)?;
//! let mut worker = scheduler.worker("W1")?;
//! let prepared = kernels.into_iter().map(|kernel| worker.prepare(kernel)).collect::<Result<Vec<_>, _>>()?;
//! for _request in 0..100 {
//!     worker.begin_request();
//!     for kernel in &prepared {
//!         worker.submit(kernel)?;
//!     }
//!     worker.end_request()?;
//!     worker.wait(Duration::from_secs(1))?;
//!     println!("{:?}", worker.last_request());
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::agent::Agent;
use crate::cu_mask::{CuMask, MaskRules};
use crate::error::{Error, Result};
use crate::plan::{Difference, Plan, PlanProblem, PoolDescription};
use crate::policy::{Placement, Policy, Remask};
use crate::pool::{Pool, PoolBuilder};
use crate::route::Table;

mod worker;

pub use worker::{Prepared, Worker};

/// How long a worker waits for room in a queue, or for a queue to drain before its mask is set.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// A pool of queues that workers use as a plan says. See the module's text. A cheap handle; any thread may use it.
#[derive(Clone, Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

/// What workers share.
struct Shared {
    pool: Pool,
    policy: Policy,
    /// Index in the pool of each of the plan's queues that is needed.
    queues: Box<[Option<usize>]>,
    /// Whether several workers use the queue.
    shared: Box<[bool]>,
    /// Masks to set, by the plan's queue; the last one is that of all CUs. Empty if the policy sets none.
    masks: Box<[CuMask]>,
    workers: Box<[Seat]>,
}

/// A worker of the plan.
struct Seat {
    name: String,
    table: Arc<Table>,
    taken: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<&str> = self.workers.iter().map(|seat| &*seat.name).collect();
        f.debug_struct("Scheduler").field("policy", &self.policy).field("workers", &workers).finish()
    }
}

impl Scheduler {
    /// A scheduler for a pool. The plan must be for it: see [`Plan::check`]. Queues that the policy does not use may be missing, and under
    /// [`Policy::KwIoctl`], which sets masks itself, those of its queues may be any.
    ///
    /// # Errors
    /// [`Error::Plan`] with every difference between plan and pool, or with what the policy needs and the plan does not say;
    /// [`Error::Failed`] if a queue of the pool is dead.
    pub fn new(pool: Pool, plan: &Plan, policy: Policy) -> Result<Self> {
        let tables = tables(plan, policy)?;
        let needed = |queue: usize| tables.iter().any(|table| table.uses(queue));
        let description = PoolDescription::of(&pool)?;
        let mut differences = plan.check_queues(&description, needed);
        if policy == Policy::KwIoctl {
            // It sets the mask of its queues before every kernel, so that they may have any.
            differences.retain(|difference| !matches!(difference, Difference::Mask { .. }));
        }
        if !differences.is_empty() {
            return Err(plan.error(&[], PlanProblem::Pool(differences)).into());
        }
        let labels = plan.document().queues.iter().enumerate();
        let queues: Box<[Option<usize>]> = labels
            .map(|(index, queue)| {
                let here = pool.queues().iter().position(|other| other.label() == queue.label);
                here.filter(|_| needed(index))
            })
            .collect();
        for queue in queues.iter().flatten() {
            if let Some(failure) = pool[*queue].failure() {
                return Err(failure.into());
            }
        }
        let users = |queue| tables.iter().filter(|table| table.uses(queue)).count();
        let shared: Box<[bool]> = (0..queues.len()).map(|queue| users(queue) > 1).collect();
        let masks = if policy == Policy::KwIoctl { masks(plan, pool.agent())? } else { Box::default() };
        let names = plan.document().workers.iter().map(|worker| worker.name.clone());
        let workers = names
            .zip(tables)
            .map(|(name, table)| Seat { name, table: Arc::new(table), taken: AtomicBool::new(false) })
            .collect();
        let shared = Shared { shared, pool, policy, queues, masks, workers };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A pool with the queues of the plan that the policy uses, to be built.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan does not say what the policy needs, or was made for another GPU.
    pub fn pool(agent: &Agent, plan: &Plan, policy: Policy) -> Result<PoolBuilder> {
        let differences = plan.check_queues(&describe(agent)?, |_| false);
        if !differences.is_empty() {
            return Err(plan.error(&[], PlanProblem::Pool(differences)).into());
        }
        let tables = tables(plan, policy)?;
        let mut builder = Pool::builder(agent);
        for (index, queue) in plan.document().queues.iter().enumerate() {
            if !tables.iter().any(|table| table.uses(index)) {
                continue;
            }
            builder = match plan.mask(index) {
                Some(mask) => builder.masked(&queue.label, on_agent(mask, agent, queue.unbalanced)?),
                None => builder.unmasked(&queue.label),
            };
        }
        Ok(builder)
    }

    /// The worker of this name. There is one of each at a time: dropping it makes the name free again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the plan has no such worker, or if it is in use.
    pub fn worker(&self, name: &str) -> Result<Worker> {
        let Some(index) = self.shared.workers.iter().position(|seat| seat.name == name) else {
            let known: Vec<String> =
                self.shared.workers.iter().map(|seat| format!("{:?}", seat.name)).collect();
            return Err(Error::Invalid(format!(
                "the plan has no worker {name:?}; its workers are {}",
                known.join(", ")
            )));
        };
        // Acquire: pairs with the release of the worker that was dropped.
        if self.shared.workers[index].taken.swap(true, Ordering::Acquire) {
            return Err(Error::Invalid(format!(
                "worker {name:?} is in use: a worker is one stream of kernels; drop the other one first"
            )));
        }
        Ok(Worker::new(self.shared.clone(), index))
    }

    /// The pool.
    pub fn queues(&self) -> &Pool {
        &self.shared.pool
    }

    /// Gives the pool back, to replace a dead queue in it for example ([`Pool::replace`]). There must be no workers and no other handle.
    ///
    /// # Errors
    /// The scheduler, if there is one.
    pub fn into_pool(self) -> Result<Pool, Self> {
        Arc::try_unwrap(self.shared).map(|shared| shared.pool).map_err(|shared| Self { shared })
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.shared.policy
    }
}

impl Shared {
    /// The mask that a placement asks for.
    fn mask(&self, placement: Placement) -> Option<&CuMask> {
        match placement.remask? {
            Remask::Queue(queue) => self.masks.get(queue),
            Remask::All => self.masks.last(),
        }
    }
}

fn tables(plan: &Plan, policy: Policy) -> Result<Vec<Table>> {
    let workers = plan.document().workers.iter();
    Ok(workers.map(|worker| Table::new(plan, &worker.name, policy)).collect::<Result<_, _>>()?)
}

/// Masks that the policy sets: of each of the plan's queues, and of all CUs.
fn masks(plan: &Plan, agent: &Agent) -> Result<Box<[CuMask]>> {
    let queues = plan.document().queues.iter().enumerate();
    let all = CuMask::all(agent.topology()?);
    let each = queues.map(|(index, queue)| match plan.mask(index) {
        Some(mask) => on_agent(mask, agent, queue.unbalanced),
        None => Ok(all.clone()),
    });
    each.chain([Ok(all.clone())]).collect()
}

/// A plan's mask as one of the agent's.
fn on_agent(mask: &CuMask, agent: &Agent, unbalanced: bool) -> Result<CuMask> {
    let mut rules = MaskRules::STRICT.allow_empty_engines();
    if unbalanced {
        rules = rules.allow_unbalanced();
    }
    Ok(CuMask::from_words(agent.topology()?, mask.words(), rules)?)
}

impl PoolDescription {
    /// A pool as plain data.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the driver does not describe the GPU.
    pub fn of(pool: &Pool) -> Result<Self> {
        let queues = pool.queues().iter().map(|queue| (queue.label().to_owned(), queue.mask())).collect();
        Ok(Self { queues, ..describe(pool.agent())? })
    }
}

/// A pool without queues on this GPU.
fn describe(agent: &Agent) -> Result<PoolDescription> {
    let isa = agent.isa().ok_or_else(|| Error::Invalid(format!("{agent} has no instruction set")))?;
    Ok(PoolDescription {
        product: agent.product().to_owned(),
        isa: isa.clone(),
        topology: (**agent.topology()?).clone(),
        queues: Vec::new(),
    })
}
