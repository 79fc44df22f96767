//! What is wrong with a plan file, where, and what to do.

use std::fmt;
use std::sync::Arc;

use super::compare::Difference;
use super::document::VERSION;
use crate::cu_mask::MaskError;
use crate::topology::TopologyError;

/// A plan that cannot be used.
#[derive(Clone, Debug)]
pub struct PlanError {
    /// The file, or a name for the text.
    pub name: String,
    /// Line of the file, from 1, where that is known.
    pub line: Option<usize>,
    /// The field, as in `worker[0].kernels[3].queue`; indices count from 0. Empty for the whole file.
    pub field: String,
    /// What is wrong.
    pub problem: PlanProblem,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for PlanError {}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanProblem {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(Arc<str>),
    /// Not TOML, a missing or unknown field, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// There is no version, so this is no plan.
    #[error("this is no plan file: it has no `version = {VERSION}` at its top")]
    NoVersion,
    /// A version that this library does not know.
    #[error(
        "plan format {found}, but this library reads {VERSION}: make the plan anew, or update the library that reads it"
    )]
    Version {
        /// The version, as written.
        found: String,
    },
    /// The file, or a list or number in it, is too large.
    #[error("{found} {what}, but at most {limit} are taken: is this the right file?")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Nothing where there must be something.
    #[error("{0}")]
    Empty(&'static str),
    /// The same twice.
    #[error("{what} is there twice: first as {first}; remove or rename one")]
    Duplicate {
        /// What.
        what: String,
        /// Field of the first one.
        first: String,
    },
    /// A label that no queue has.
    #[error("the plan has no queue {}; its queues are {}", short(label), few(known))]
    UnknownQueue {
        /// The label.
        label: String,
        /// All queues' labels.
        known: Vec<String>,
    },
    /// A worker that the plan does not have.
    #[error("the plan has no worker {}; its workers are {}", short(worker), few(known))]
    UnknownWorker {
        /// The name.
        worker: String,
        /// All workers' names.
        known: Vec<String>,
    },
    /// Indices or occurrences leave one out.
    #[error("{what} is missing: {rule}")]
    Gap {
        /// What is missing.
        what: String,
        /// What is expected.
        rule: String,
    },
    /// An index that is not below the number of kernels of a request.
    #[error("index {index}, but a request has {kernels} kernels: indices go from 0 to {}", kernels - 1)]
    PastEnd {
        /// The index.
        index: u32,
        /// Kernels of a request.
        kernels: u32,
    },
    /// Some kernels have an index, some not; or no way to find one.
    #[error("{0}")]
    Key(String),
    /// A time that is no number, or negative.
    #[error("{0} is no time: give microseconds, 0 or more, or leave it out")]
    NotATime(f64),
    /// A mask that is not written as one.
    #[error(
        "{0:?} is no CU mask: write 0x and hexadecimal digits, as in 0x111111111111111, or leave it out for all CUs"
    )]
    MaskText(String),
    /// A mask that the GPU should not get.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A GPU that cannot be.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// An instruction set that cannot be.
    #[error("{0}")]
    Isa(String),
    /// The policy needs what the plan does not say.
    #[error("policy {policy} {problem}")]
    Policy {
        /// The policy's name.
        policy: &'static str,
        /// What it lacks, and what to do.
        problem: String,
    },
    /// The plan was made for another pool.
    #[error("the plan was made for another pool: {}; make a plan for this pool, or build the pool that the plan names", list(.0))]
    Pool(Vec<Difference>),
}

/// The first of a list of names. There may be a thousand.
pub(super) fn few(names: &[String]) -> String {
    const MOST: usize = 16;
    let shown = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

/// A name as it is written, or its beginning.
fn short(name: &str) -> String {
    const MOST: usize = 128;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &name[..end], name.len()),
        None => format!("{name:?}"),
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// A step on the way to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(&'static str),
    Index(usize),
}

/// A field and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Located {
    pub path: Vec<Segment>,
    pub problem: PlanProblem,
}

impl Located {
    pub fn new(path: &[Segment], problem: impl Into<PlanProblem>) -> Self {
        Self { path: path.to_vec(), problem: problem.into() }
    }
}

/// As in `worker[0].kernels[3].queue`.
pub(crate) fn field(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
