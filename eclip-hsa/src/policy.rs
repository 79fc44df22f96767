//! The five ways to place kernels that are compared with each other, as policies selected by name.
//!
//! A policy is a pure function of a plan: for each worker it gives the placement of every planned kernel and of those that the plan
//! does not know. `route` and `scheduler` carry the placements out. The scenarios are those of ECLIP's evaluation (ISLPED 2025).
//!
//! | policy | queue of a planned kernel | of an unknown one | the plan must say |
//! |---|---|---|---|
//! | `baseline` | the worker's `default` | `default` | that `default` has no mask |
//! | `model-wise` | the worker's `model_wise` | `model_wise` | `model_wise` |
//! | `kw-ioctl` | `default`, under the mask of the kernel's `right_size` | `default`, under all CUs | `right_size`; a `default` for each worker alone |
//! | `kw-stream` | the kernel's `right_size` | `default` | `right_size` |
//! | `eclip` | the kernel's `queue` | `default` | nothing more |

use std::fmt;
use std::str::FromStr;

use crate::plan::Segment::{Index, Key};
use crate::plan::{Plan, PlanError, PlanKernel, PlanProblem, PlanWorker, Segment};

/// How kernels are placed on queues. Shown and parsed by its name: `baseline`, `model-wise`, `kw-ioctl`, `kw-stream`, `eclip`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Every kernel on the worker's default queue, which has no mask.
    Baseline,
    /// Every kernel on the worker's one masked queue (`model_wise` in the plan).
    ModelWise,
    /// Every kernel on the worker's default queue, which is drained and given the mask of the kernel's right-sized queue before each
    /// one: an ioctl a kernel. Each worker needs a default queue of its own.
    KwIoctl,
    /// Each kernel on its right-sized queue (`right_size` in the plan): a switch at nearly every kernel.
    KwStream,
    /// Each kernel on the queue that the planner chose under its budget of switches (`queue` in the plan).
    #[default]
    Eclip,
}

/// Where a kernel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Index of the queue in the plan.
    pub queue: usize,
    /// The mask to give to the queue first, once it is drained.
    pub remask: Option<Remask>,
}

/// A mask to set before a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remask {
    /// Every CU.
    All,
    /// The mask of the plan's queue of this index.
    Queue(usize),
}

impl Placement {
    /// On this queue as it is.
    pub const fn on(queue: usize) -> Self {
        Self { queue, remask: None }
    }
}

/// A worker's placements under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placements {
    /// For each of the worker's kernels, in the plan's order.
    pub kernels: Vec<Placement>,
    /// For kernels that the plan does not know.
    pub unknown: Placement,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Baseline, Self::ModelWise, Self::KwIoctl, Self::KwStream, Self::Eclip];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::ModelWise => "model-wise",
            Self::KwIoctl => "kw-ioctl",
            Self::KwStream => "kw-stream",
            Self::Eclip => "eclip",
        }
    }

    /// The placements of the plan's `worker`-th worker.
    ///
    /// # Errors
    /// [`PlanProblem::Policy`] if the plan does not say what the policy needs, [`PlanProblem::UnknownWorker`] if there is no such worker.
    pub fn place(self, plan: &Plan, worker: usize) -> Result<Placements, PlanError> {
        let Some(described) = plan.document().workers.get(worker) else {
            return Err(plan.unknown_worker(&format!("number {worker}, counted from 0")));
        };
        let look = Look { policy: self, plan, index: worker, worker: described };
        let unknown = look.unknown()?;
        let kernels = look.worker.kernels.iter().enumerate();
        let kernels =
            kernels.map(|(row, kernel)| look.kernel(row, kernel, unknown)).collect::<Result<_, _>>()?;
        Ok(Placements { kernels, unknown })
    }
}

/// One worker under one policy.
struct Look<'a> {
    policy: Policy,
    plan: &'a Plan,
    index: usize,
    worker: &'a PlanWorker,
}

impl Look<'_> {
    fn unknown(&self) -> Result<Placement, PlanError> {
        let default = self.queue(&self.worker.default);
        match self.policy {
            Policy::Baseline => {
                if let Some(mask) = self.plan.mask(default).filter(|mask| !mask.is_full()) {
                    let label = &self.worker.default;
                    let problem = format!("needs an unmasked default queue, but {label:?} has {mask:#}");
                    return Err(self.lacks(&[Key("default")], problem));
                }
                Ok(Placement::on(default))
            }
            Policy::ModelWise => match &self.worker.model_wise {
                Some(label) => Ok(Placement::on(self.queue(label))),
                None => {
                    let problem = "needs `model_wise`, the label of the worker's one queue".into();
                    Err(self.lacks(&[Key("model_wise")], problem))
                }
            },
            Policy::KwIoctl => {
                let workers = &self.plan.document().workers;
                let same = |other: &&PlanWorker| {
                    other.default == self.worker.default && other.name != self.worker.name
                };
                if let Some(other) = workers.iter().find(same) {
                    let (label, other) = (&self.worker.default, &other.name);
                    let problem = format!(
                        "changes the mask of each worker's default queue, but worker {other:?} has {label:?} too: give each its own"
                    );
                    return Err(self.lacks(&[Key("default")], problem));
                }
                Ok(Placement { queue: default, remask: Some(Remask::All) })
            }
            Policy::KwStream | Policy::Eclip => Ok(Placement::on(default)),
        }
    }

    fn kernel(&self, row: usize, kernel: &PlanKernel, unknown: Placement) -> Result<Placement, PlanError> {
        let right_size = || match &kernel.right_size {
            Some(label) => Ok(self.queue(label)),
            None => {
                let problem = "needs `right_size`, the label of the queue that fits this kernel".into();
                Err(self.lacks(&[Key("kernels"), Index(row), Key("right_size")], problem))
            }
        };
        Ok(match self.policy {
            Policy::Baseline | Policy::ModelWise => unknown,
            Policy::KwIoctl => {
                let queue = right_size()?;
                let mask = if self.plan.mask(queue).is_some() { Remask::Queue(queue) } else { Remask::All };
                Placement { remask: Some(mask), ..unknown }
            }
            Policy::KwStream => Placement::on(right_size()?),
            Policy::Eclip => Placement::on(self.queue(&kernel.queue)),
        })
    }

    fn queue(&self, label: &str) -> usize {
        self.plan.queue(label).expect("a checked plan's labels name its queues")
    }

    fn lacks(&self, rest: &[Segment], problem: String) -> PlanError {
        let path: Vec<Segment> = [Key("worker"), Index(self.index)].iter().chain(rest).copied().collect();
        self.plan.error(&path, PlanProblem::Policy { policy: self.policy.name(), problem })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no policy has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy {name:?}; there are {}", Policy::ALL.map(Policy::name).join(", "))]
pub struct ParsePolicyError {
    name: String,
}

impl FromStr for Policy {
    type Err = ParsePolicyError;
    fn from_str(name: &str) -> Result<Self, ParsePolicyError> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| ParsePolicyError { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanDocument;

    const TEXT: &str = r#"
version = 1
[device]
isa = "gfx906"
shader_engines = 4
cus_per_sh = [15, 15, 15, 15]
[[queue]]
label = "small"
mask = "0x111111111111111"
[[queue]]
label = "large"
mask = "0x777777777777777"
[[queue]]
label = "all"
[[queue]]
label = "all 2"
[[worker]]
name = "W1"
default = "all"
model_wise = "large"
kernels = [
  { index = 0, queue = "large", right_size = "large" },
  { index = 1, queue = "large", right_size = "small" },
  { index = 2, queue = "small", right_size = "all" },
]
[[worker]]
name = "W2"
default = "all 2"
kernels = [{ index = 0, queue = "large" }]
"#;

    fn plan() -> Plan {
        Plan::parse("policies", TEXT).unwrap()
    }

    fn changed(change: impl FnOnce(&mut PlanDocument)) -> Plan {
        let mut document = plan().document().clone();
        change(&mut document);
        Plan::new("policies", document).unwrap()
    }

    #[test]
    fn names_are_read_and_shown() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "krisp".parse::<Policy>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no policy \"krisp\"; there are baseline, model-wise, kw-ioctl, kw-stream, eclip"
        );
    }

    #[test]
    fn each_policy_places_in_its_way() {
        let plan = plan();
        let place = |policy: Policy| policy.place(&plan, 0).unwrap();
        let queues = |queues: [usize; 3], unknown| Placements {
            kernels: queues.map(Placement::on).to_vec(),
            unknown: Placement::on(unknown),
        };
        assert_eq!(place(Policy::Baseline), queues([2, 2, 2], 2));
        assert_eq!(place(Policy::ModelWise), queues([1, 1, 1], 1));
        assert_eq!(place(Policy::KwStream), queues([1, 0, 2], 2));
        assert_eq!(place(Policy::Eclip), queues([1, 1, 0], 2));
        let remask = |mask| Placement { queue: 2, remask: Some(mask) };
        let masks = [Remask::Queue(1), Remask::Queue(0), Remask::All].map(remask);
        let ioctl = Placements { kernels: masks.to_vec(), unknown: remask(Remask::All) };
        assert_eq!(place(Policy::KwIoctl), ioctl);
    }

    #[test]
    fn what_a_policy_lacks_is_said() {
        let plan = plan();
        let text = |policy: Policy| policy.place(&plan, 1).unwrap_err().to_string();
        assert!(
            text(Policy::ModelWise).contains("worker[1].model_wise: policy model-wise needs `model_wise`")
        );
        assert!(text(Policy::KwStream).contains("worker[1].kernels[0].right_size: policy kw-stream needs"));
        assert!(text(Policy::KwIoctl).contains("policy kw-ioctl needs `right_size`"));
        let shared = changed(|plan| plan.workers[1].default = "all".into());
        let error = Policy::KwIoctl.place(&shared, 0).unwrap_err().to_string();
        assert!(error.contains("worker \"W2\" has \"all\" too: give each its own"), "{error}");
        let masked = changed(|plan| plan.workers[0].default = "small".into());
        let error = Policy::Baseline.place(&masked, 0).unwrap_err().to_string();
        assert!(error.contains("needs an unmasked default queue, but \"small\" has 0x1111"), "{error}");
        let nobody = Policy::Eclip.place(&plan, 7).unwrap_err().to_string();
        assert!(nobody.contains("no worker \"number 7, counted from 0\"; its workers are"), "{nobody}");
    }
}
