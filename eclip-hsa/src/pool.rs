//! The pool: a fixed set of queues, each with its CU mask set once, at start-up.
//!
//! Setting a queue's mask is an ioctl that stops queues on the whole device (55 us at worst on an MI50, more than many
//! kernels), so the pool never does it again: work moves between queues instead. Any thread may use
//! the queues; replacing one needs the pool for oneself.

use std::fmt;
use std::ops::Index;

use crate::agent::Agent;
use crate::budget::QueueBudget;
use crate::cu_mask::CuMask;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::queue_builder::QueueBuilder;

/// Queues beyond this many have been seen to make latency "significantly and unpredictably" worse on an MI50 under ROCm 5.2
/// (ECLIP, ISLPED 2025), although the hardware has 24: the audit warns. Measure it on your machine.
pub const STABLE_QUEUES: u32 = 8;

/// How a pool is made. See [`Pool::builder`].
#[derive(Debug)]
pub struct PoolBuilder {
    agent: Agent,
    queues: Vec<(String, Option<CuMask>)>,
    template: QueueBuilder,
}

impl PoolBuilder {
    /// Adds a queue that uses the CUs of `mask` only.
    #[must_use]
    pub fn masked(mut self, label: impl Into<String>, mask: CuMask) -> Self {
        self.queues.push((label.into(), Some(mask)));
        self
    }

    /// Adds a queue that uses every CU. No mask is set: the driver's default is all CUs.
    #[must_use]
    pub fn unmasked(mut self, label: impl Into<String>) -> Self {
        self.queues.push((label.into(), None));
        self
    }

    /// Changes what all queues have in common: ring size, kernarg space, profiling, drain time. Labels and masks are each
    /// queue's own.
    #[must_use]
    pub fn each(mut self, change: impl FnOnce(QueueBuilder) -> QueueBuilder) -> Self {
        self.template = change(self.template);
        self
    }

    /// Allows more queues than the hardware runs at once; the driver then time-slices them.
    #[must_use]
    pub fn allow_oversubscription(mut self) -> Self {
        self.template = self.template.allow_oversubscription();
        self
    }

    /// Allows masks although the environment variable `HSA_CU_MASK` is set, which ROCr ANDs into them.
    #[must_use]
    pub fn allow_hsa_cu_mask(mut self) -> Self {
        self.template = self.template.allow_hsa_cu_mask();
        self
    }

    /// Creates all queues and sets their masks, or creates none.
    ///
    /// # Errors
    /// As [`QueueBuilder::create`]; [`Error::Invalid`] for no queues or two of the same label, [`Error::WrongAgent`] for another
    /// GPU's builder given in [`PoolBuilder::each`].
    pub fn build(self) -> Result<Pool> {
        if self.template.mask.is_some() {
            return Err(Error::Invalid(
                "a mask given in PoolBuilder::each: give each queue its own with masked".into(),
            ));
        }
        if !self.template.agent.is(&self.agent) {
            return Err(Error::WrongAgent {
                what: "the queue builder given in PoolBuilder::each",
                made_for: self.template.agent.to_string(),
                used_on: self.agent.to_string(),
            });
        }
        if self.queues.is_empty() {
            return Err(Error::Invalid("a pool without queues: add some with masked or unmasked".into()));
        }
        for (index, (label, _)) in self.queues.iter().enumerate() {
            if self.queues[..index].iter().any(|(other, _)| other == label) {
                return Err(Error::Invalid(format!("two queues of the pool are called {label:?}")));
            }
        }
        // All or nothing, before the first is created. Another thread may still take queues in between; the creation of each
        // queue checks again.
        let budget = QueueBudget::of(&self.agent);
        if !self.template.oversubscribe {
            budget.check(self.queues.len() as u32)?;
        }
        let mut queues = Vec::with_capacity(self.queues.len());
        for (label, mask) in self.queues {
            let mut builder = self.template.clone().label(label);
            builder.mask = mask;
            queues.push(builder.create()?);
        }
        Ok(Pool { agent: self.agent, queues, template: self.template, budget })
    }
}

/// A fixed set of queues. Indexed by number.
#[derive(Debug)]
pub struct Pool {
    agent: Agent,
    queues: Vec<Queue>,
    template: QueueBuilder,
    budget: QueueBudget,
}

impl Pool {
    /// A pool on `agent`, to be made.
    pub fn builder(agent: &Agent) -> PoolBuilder {
        PoolBuilder { agent: agent.clone(), queues: Vec::new(), template: Queue::builder(agent) }
    }

    /// The GPU.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// All queues, in the order in which they were added.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// The queue of this label.
    pub fn get(&self, label: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.label() == label)
    }

    /// Makes a new queue in the place of number `index`, with its label and mask: for one that has died. The old one is taken from the hardware
    /// first; what was unfinished on it is lost. The mask is the one that the queue had last: if [`Queue::remask`] changed it, the new queue
    /// has what it was changed to, so that [`Queue::mask`] says the same before and after. What the pool was built with is not kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number that there is not; as [`QueueBuilder::create`], and then the old queue stays, dead.
    pub fn replace(&mut self, index: usize) -> Result<()> {
        let count = self.queues.len();
        let old = self.queues.get_mut(index).ok_or_else(|| {
            Error::Invalid(format!("queue {index} of a pool of {count} (counted from 0) cannot be replaced"))
        })?;
        old.shut();
        let mut builder = self.template.clone().label(old.label());
        builder.mask = old.mask();
        *old = builder.create()?;
        Ok(())
    }

    /// What was asked for against what there is. Print it at start-up.
    pub fn audit(&self) -> Audit {
        let row = |queue: &Queue| AuditRow {
            label: queue.label().to_owned(),
            mask: queue.mask(),
            reported: queue.reported_mask(),
        };
        Audit {
            agent: format!("{}, {}", self.agent.product(), self.agent),
            topology: self.agent.topology().map(|topology| topology.to_string()).unwrap_or_default(),
            exact: self.agent.topology_is_exact(),
            budget: self.budget,
            rows: self.queues.iter().map(row).collect(),
            scratch_per_lane_byte: self.agent.scratch_bytes_per_lane_byte(),
            hsa_cu_mask: std::env::var_os("HSA_CU_MASK").map(|value| value.to_string_lossy().into_owned()),
        }
    }
}

impl Index<usize> for Pool {
    type Output = Queue;
    fn index(&self, index: usize) -> &Queue {
        &self.queues[index]
    }
}

/// The start-up audit of a pool. Prints as a short report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Audit {
    /// The GPU.
    pub agent: String,
    /// Its compute units.
    pub topology: String,
    /// Whether they were read from the driver, array by array.
    pub exact: bool,
    /// Hardware queues, before the pool was built.
    pub budget: QueueBudget,
    /// The pool's queues.
    pub rows: Vec<AuditRow>,
    /// Bytes of scratch memory that ROCr allocates for a queue for each byte of a kernel's private segment, if the driver
    /// says. It sizes scratch for the whole GPU, whatever the queue's mask.
    pub scratch_per_lane_byte: Option<u64>,
    /// The environment variable `HSA_CU_MASK`, if set.
    pub hsa_cu_mask: Option<String>,
}

/// One queue of the audit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditRow {
    /// Its label.
    pub label: String,
    /// The mask that it was given; none for all CUs.
    pub mask: Option<CuMask>,
    /// What ROCr says of it, where it has the call. Not to be trusted: some releases report what was set before.
    pub reported: Option<Vec<u32>>,
}

impl Audit {
    /// What somebody should look at.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let asked = self.budget.ours + self.rows.len() as u32;
        match self.budget.budget() {
            Some(budget) if asked > budget => {
                warnings.push(format!("{asked} queues on a budget of {budget}: the driver time-slices them"));
            }
            None => warnings.push("the driver does not say how many hardware queues there are".into()),
            _ => {}
        }
        if asked > STABLE_QUEUES {
            warnings.push(format!(
                "more than {STABLE_QUEUES} queues ({asked}): latency may become unpredictable"
            ));
        }
        if !self.exact {
            warnings.push(
                "the CUs of each shader array are assumed alike: masks may be wrong on a harvested part"
                    .into(),
            );
        }
        if let Some(value) = &self.hsa_cu_mask {
            warnings.push(format!("HSA_CU_MASK={value} is ANDed into every mask by ROCr"));
        }
        for row in &self.rows {
            if let (Some(mask), Some(reported)) = (&row.mask, &row.reported)
                && mask.words() != reported
            {
                warnings
                    .push(format!("{}: ROCr reports another mask than was set ({reported:x?})", row.label));
            }
        }
        warnings
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.agent, self.topology)?;
        let hardware = self.budget.hardware.map_or("?".into(), |n| n.to_string());
        let QueueBudget { others, runtime, ours, .. } = self.budget;
        writeln!(
            f,
            "queues: {} asked for, {hardware} in hardware ({runtime} ROCr's own, {others} other programs', {ours} ours before)",
            self.rows.len()
        )?;
        for row in &self.rows {
            match &row.mask {
                Some(mask) => writeln!(f, "  {}: {mask:#}", row.label)?,
                None => writeln!(f, "  {}: all CUs", row.label)?,
            }
        }
        if let Some(scratch) = self.scratch_per_lane_byte {
            let mib = (scratch * 1024) >> 20;
            writeln!(
                f,
                "scratch: {mib} MiB a queue for each KiB of private memory a work-item, whatever its mask"
            )?;
        }
        for warning in self.warnings() {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
