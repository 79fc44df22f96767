//! The plan: which queue each kernel of each worker takes, decided offline and kept in a file.
//!
//! A plan names the GPU that it was made for, the pool's queues with their CU masks, and for each worker where the kernels of a
//! request go. [`Plan::load`] reads and checks a file: what is wrong is said with file, line and field. [`Plan::check`] compares a
//! plan with a pool and lists every difference. Plain data: no device is needed, any thread may use a plan.
//!
//! The file is TOML, not JSON: people read it, compare it and comment it, and TOML's parser says on which line each value is, so
//! that errors found after parsing have their line too. [`PlanDocument`] is its shape:
//!
//! ```
//! let text = r#"
//! version = 1
//! switch_max = 14
//!
//! [device]
//! isa = "gfx906"
//! shader_engines = 4
//! cus_per_sh = [15, 15, 15, 15]
//!
//! [[queue]]
//! label = "W1 15"
//! mask = "0x111111111111111"
//!
//! [[queue]]
//! label = "default"
//!
//! [[worker]]
//! name = "W1"
//! default = "default"
//! kernels = [
//!   { index = 0, kernel = "matmul", queue = "default" },
//!   { index = 1, kernel = "bias", queue = "W1 15" },
//! ]
//! "#;
//! let plan = eclip_hsa::Plan::parse("example", text).unwrap();
//! assert_eq!(plan.document().workers[0].kernels[1].queue, "W1 15");
//! assert_eq!(eclip_hsa::Plan::parse("again", &plan.to_toml()).unwrap().document(), plan.document());
//! ```

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::code_object::IsaName;
use crate::cu_mask::CuMask;
use crate::topology::CuTopology;

mod compare;
mod document;
mod error;
#[cfg(test)]
mod tests;
mod validate;
mod write;

pub use compare::{Difference, PoolDescription};
pub use document::{PlanDevice, PlanDocument, PlanKernel, PlanQueue, PlanWorker, VERSION};
pub use error::{PlanError, PlanProblem};
pub use validate::{MAX_KERNELS, MAX_NAME, MAX_QUEUES, MAX_WORKERS};

pub(crate) use error::Segment;
use error::{Located, field};

/// Largest plan file, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// A plan that was checked: its labels name queues, its indices leave nothing out, its masks fit its GPU.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    document: PlanDocument,
    isa: IsaName,
    topology: Arc<CuTopology>,
    masks: Vec<Option<CuMask>>,
}

impl Plan {
    /// Checks a plan made by a program; `name` is for errors. Kernels that have indices are sorted by them.
    ///
    /// # Errors
    /// The first problem, with its field.
    pub fn new(name: impl Into<String>, mut document: PlanDocument) -> Result<Self, PlanError> {
        let name = name.into();
        let checked = match validate::validate(&document) {
            Ok(checked) => checked,
            Err(Located { path, problem }) => {
                return Err(PlanError { name, line: None, field: field(&path), problem });
            }
        };
        for worker in &mut document.workers {
            worker.kernels.sort_by_key(|kernel| kernel.index);
        }
        let validate::Checked { isa, topology, masks } = checked;
        Ok(Self { name, document, isa, topology, masks })
    }

    /// Reads a plan from a file.
    ///
    /// # Errors
    /// The first problem, with file, line and field.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PlanError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let whole = |problem| PlanError { name: name.clone(), line: None, field: String::new(), problem };
        let unreadable =
            |error: std::io::Error| whole(PlanProblem::Unreadable(error.to_string().as_str().into()));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let (found, limit) = (file.metadata().map_err(unreadable)?.len(), MAX_BYTES);
        if found > limit {
            return Err(whole(PlanProblem::TooLarge { what: "bytes", found, limit }));
        }
        let mut text = String::new();
        // Some files have no size and never end. One byte more than the limit is found out below.
        file.take(limit + 1).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(name, &text)
    }

    /// Reads a plan from text; `name` is for errors.
    ///
    /// # Errors
    /// The first problem, with line and field.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Self, PlanError> {
        let name = name.into();
        let syntax = |error: toml::de::Error| PlanError {
            name: name.clone(),
            line: error.span().map(|span| line(text, span.start)),
            field: String::new(),
            problem: PlanProblem::Syntax(error.message().trim().replace('\n', "; ")),
        };
        if text.len() as u64 > MAX_BYTES {
            let (found, limit) = (text.len() as u64, MAX_BYTES);
            let problem = PlanProblem::TooLarge { what: "bytes", found, limit };
            return Err(PlanError { name, line: None, field: String::new(), problem });
        }
        let table = DeTable::parse(text).map_err(syntax)?;
        let located = |path: &[Segment], problem| PlanError {
            name: name.clone(),
            line: start(table.get_ref(), path).map(|at| line(text, at)),
            field: field(path),
            problem,
        };
        // Before anything else: another version may have another shape.
        let at_version = [Segment::Key("version")];
        match table.get_ref().get("version").map(|value| value.get_ref()) {
            None => return Err(located(&[], PlanProblem::NoVersion)),
            Some(DeValue::Integer(number)) if number.to_string() == VERSION.to_string() => {}
            Some(DeValue::Integer(number)) => {
                return Err(located(&at_version, PlanProblem::Version { found: number.to_string() }));
            }
            Some(other) => {
                let found = format!("is a {}", other.type_str());
                return Err(located(&at_version, PlanProblem::Version { found }));
            }
        }
        let document = toml::Deserializer::parse(text).and_then(PlanDocument::deserialize).map_err(syntax)?;
        // Checked here first, so that what is wrong can be found in the text.
        if let Err(Located { path, problem }) = validate::validate(&document) {
            return Err(located(&path, problem));
        }
        Self::new(name, document)
    }

    /// The plan as the text of a file. Reading it gives the same plan.
    pub fn to_toml(&self) -> String {
        write::text(&self.document)
    }

    /// The file, or the name that the plan was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the plan says.
    pub fn document(&self) -> &PlanDocument {
        &self.document
    }

    /// The instruction set of the GPU that it is for.
    pub fn isa(&self) -> &IsaName {
        &self.isa
    }

    /// The compute units of the GPU that it is for.
    pub fn topology(&self) -> &Arc<CuTopology> {
        &self.topology
    }

    /// The mask of the plan's `index`-th queue; none for all CUs.
    pub fn mask(&self, index: usize) -> Option<&CuMask> {
        self.masks.get(index)?.as_ref()
    }

    /// Index of the queue of this label.
    pub fn queue(&self, label: &str) -> Option<usize> {
        self.document.queues.iter().position(|queue| queue.label == label)
    }

    /// The worker of this name.
    ///
    /// # Errors
    /// [`PlanProblem::UnknownWorker`] with the names that there are.
    pub fn worker(&self, name: &str) -> Result<&PlanWorker, PlanError> {
        let found = self.document.workers.iter().find(|worker| worker.name == name);
        found.ok_or_else(|| self.unknown_worker(name))
    }

    pub(crate) fn unknown_worker(&self, worker: &str) -> PlanError {
        let known = self.document.workers.iter().map(|worker| format!("{:?}", worker.name)).collect();
        self.error(&[], PlanProblem::UnknownWorker { worker: worker.to_owned(), known })
    }

    /// A problem of this plan.
    pub(crate) fn error(&self, path: &[Segment], problem: PlanProblem) -> PlanError {
        PlanError { name: self.name.clone(), line: None, field: field(path), problem }
    }
}

/// Where a field begins in the text: of the longest part of the path that is there.
fn start(table: &DeTable<'_>, path: &[Segment]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let Segment::Key(key) = first else { return None };
    let mut value = table.get(*key)?;
    for segment in rest {
        let next = match segment {
            Segment::Key(key) => value.get_ref().get(*key),
            Segment::Index(index) => value.get_ref().get(*index),
        };
        let Some(next) = next else { break };
        value = next;
    }
    Some(value.span().start)
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}
