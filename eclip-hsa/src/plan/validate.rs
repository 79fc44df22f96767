//! The rules that a plan must keep. Pure: the first broken one is told with its field.

use std::collections::HashMap;
use std::sync::Arc;

use super::document::{PlanDevice, PlanDocument, PlanKernel, PlanQueue, PlanWorker, VERSION};
use super::error::Segment::{Index, Key};
use super::error::{Located, PlanProblem, Segment, field};
use crate::code_object::IsaName;
use crate::cu_mask::{CuMask, MaskRules};
use crate::topology::CuTopology;

/// Most kernels of a request.
pub const MAX_KERNELS: u32 = 1 << 20;
/// Most queues of a plan.
pub const MAX_QUEUES: usize = 1024;
/// Most workers of a plan.
pub const MAX_WORKERS: usize = 1024;
/// Longest label of a queue and name of a worker, in bytes.
pub const MAX_NAME: usize = 256;

/// What checking finds out.
pub(super) struct Checked {
    pub isa: IsaName,
    pub topology: Arc<CuTopology>,
    pub masks: Vec<Option<CuMask>>,
}

/// Checks everything.
pub(super) fn validate(plan: &PlanDocument) -> Result<Checked, Located> {
    if plan.version != VERSION {
        let found = plan.version.to_string();
        return Err(Located::new(&[Key("version")], PlanProblem::Version { found }));
    }
    let (isa, topology) = device(&plan.device)?;
    let masks = queues(&plan.queues, &topology)?;
    limit("workers", plan.workers.len(), MAX_WORKERS, &[Key("worker")])?;
    if plan.workers.is_empty() {
        return Err(Located::new(&[], PlanProblem::Empty("the plan has no [[worker]]: add at least one")));
    }
    let mut names = HashMap::new();
    let labels: HashMap<&str, usize> =
        (plan.queues.iter().enumerate()).map(|(i, q)| (&*q.label, i)).collect();
    for (index, each) in plan.workers.iter().enumerate() {
        let at = [Key("worker"), Index(index), Key("name")];
        if each.name.is_empty() {
            return Err(Located::new(&at, PlanProblem::Empty("the name is empty: give the worker one")));
        }
        limit("bytes of a name", each.name.len(), MAX_NAME, &at)?;
        unique(&mut names, &each.name, format!("worker {:?}", each.name), &at)?;
        Worker { at: [Key("worker"), Index(index)], worker: each, labels: &labels, queues: &plan.queues }
            .check()?;
    }
    Ok(Checked { isa, topology, masks })
}

fn device(device: &PlanDevice) -> Result<(IsaName, Arc<CuTopology>), Located> {
    let isa = device
        .isa
        .parse::<IsaName>()
        .map_err(|error| Located::new(&[Key("device"), Key("isa")], PlanProblem::Isa(error.to_string())))?;
    let PlanDevice { xccs, shader_engines, sh_per_se, cus_per_sh, wgp_pairs, .. } = device;
    let topology = CuTopology::new(*xccs, *shader_engines, *sh_per_se, cus_per_sh.clone(), *wgp_pairs);
    Ok((isa, Arc::new(topology.map_err(|error| Located::new(&[Key("device")], error))?)))
}

fn queues(queues: &[PlanQueue], topology: &Arc<CuTopology>) -> Result<Vec<Option<CuMask>>, Located> {
    limit("queues", queues.len(), MAX_QUEUES, &[Key("queue")])?;
    if queues.is_empty() {
        return Err(Located::new(
            &[],
            PlanProblem::Empty("the plan has no [[queue]]: add the pool's queues"),
        ));
    }
    let mut labels = HashMap::new();
    let mut masks = Vec::with_capacity(queues.len());
    for (index, queue) in queues.iter().enumerate() {
        let at = |key| [Key("queue"), Index(index), Key(key)];
        if queue.label.is_empty() {
            let problem = PlanProblem::Empty("the label is empty: give the queue one");
            return Err(Located::new(&at("label"), problem));
        }
        limit("bytes of a label", queue.label.len(), MAX_NAME, &at("label"))?;
        unique(&mut labels, &queue.label, format!("queue {:?}", queue.label), &at("label"))?;
        let mut rules = MaskRules::STRICT.allow_empty_engines();
        if queue.unbalanced {
            rules = rules.allow_unbalanced();
        }
        let mask = match &queue.mask {
            Some(text) => {
                let mask = words(text)
                    .ok_or_else(|| PlanProblem::MaskText(text.clone()))
                    .and_then(|words| Ok(CuMask::from_words(topology, &words, rules)?));
                Some(mask.map_err(|problem| Located::new(&at("mask"), problem))?)
            }
            None => None,
        };
        masks.push(mask);
    }
    Ok(masks)
}

/// The words of a mask written as `0x` and hexadecimal digits, bit 0 last; `None` if it is not.
fn words(text: &str) -> Option<Vec<u32>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    // More than any GPU's mask has: 1024 bits is what KFD takes.
    if digits.is_empty() || digits.len() > 1024 / 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let word = |chunk: &[u8]| u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok();
    digits.rchunks(8).map(word).collect()
}

struct Worker<'a> {
    at: [Segment; 2],
    worker: &'a PlanWorker,
    labels: &'a HashMap<&'a str, usize>,
    queues: &'a [PlanQueue],
}

impl Worker<'_> {
    fn path(&self, rest: &[Segment]) -> Vec<Segment> {
        self.at.iter().chain(rest).copied().collect()
    }

    fn err<T>(&self, rest: &[Segment], problem: PlanProblem) -> Result<T, Located> {
        Err(Located { path: self.path(rest), problem })
    }

    fn row<T>(&self, index: usize, key: &'static str, problem: PlanProblem) -> Result<T, Located> {
        self.err(&[Key("kernels"), Index(index), Key(key)], problem)
    }

    fn check(&self) -> Result<(), Located> {
        let PlanWorker { default, model_wise, kernels, .. } = self.worker;
        self.label(default, &[Key("default")])?;
        if let Some(label) = model_wise {
            self.label(label, &[Key("model_wise")])?;
        }
        let limit = u64::from(MAX_KERNELS);
        // Lists first: the number follows from them if it is not given.
        let rows = kernels.len() as u64;
        if rows > limit {
            return self
                .err(&[Key("kernels")], PlanProblem::TooLarge { what: "kernels", found: rows, limit });
        }
        if kernels.is_empty() {
            let problem = PlanProblem::Empty("the worker has no kernels: say where each one goes");
            return self.err(&[Key("kernels")], problem);
        }
        let found = u64::from(self.worker.kernels_of_a_request());
        if found == 0 {
            let problem = PlanProblem::Empty("a request of no kernels: give at least 1");
            return self.err(&[Key("kernels_per_request")], problem);
        }
        if found > limit {
            let problem = PlanProblem::TooLarge { what: "kernels of a request", found, limit };
            return self.err(&[Key("kernels_per_request")], problem);
        }
        for (index, kernel) in kernels.iter().enumerate() {
            self.check_row(index, kernel)?;
        }
        if kernels[0].index.is_some() { self.indices() } else { self.occurrences() }
    }

    fn label(&self, label: &str, at: &[Segment]) -> Result<(), Located> {
        if self.labels.contains_key(label) {
            return Ok(());
        }
        let known = self.queues.iter().map(|queue| format!("{:?}", queue.label)).collect();
        self.err(at, PlanProblem::UnknownQueue { label: label.to_owned(), known })
    }

    fn check_row(&self, index: usize, row: &PlanKernel) -> Result<(), Located> {
        let at = |key| [Key("kernels"), Index(index), Key(key)];
        self.label(&row.queue, &at("queue"))?;
        if let Some(label) = &row.right_size {
            self.label(label, &at("right_size"))?;
        }
        if let Some(time) = row.solo_us.filter(|time| !time.is_finite() || *time < 0.0) {
            return self.row(index, "solo_us", PlanProblem::NotATime(time));
        }
        if row.kernel.as_ref().is_some_and(String::is_empty) {
            return self.row(
                index,
                "kernel",
                PlanProblem::Empty("the kernel's name is empty: give it, or leave it out"),
            );
        }
        let problem = match (row.index, &row.kernel, row.occurrence) {
            (Some(_), _, _) if self.worker.kernels[0].index.is_none() => {
                "it has an index, but the worker's first kernel has none: give indices to all or to none"
            }
            (None, _, _) if self.worker.kernels[0].index.is_some() => {
                "it has no index, but the worker's first kernel has one: give indices to all or to none"
            }
            (Some(_), None, Some(_)) => {
                "an occurrence of what? Give the kernel's name, or leave the occurrence out"
            }
            (None, Some(_), Some(_)) | (Some(_), _, _) => return Ok(()),
            (None, ..) => {
                "nothing says which kernel this is: give an index, or the kernel's name and its occurrence"
            }
        };
        self.err(&[Key("kernels"), Index(index)], PlanProblem::Key(problem.into()))
    }

    /// All of 0 to n - 1, once; occurrences as they follow from the order.
    fn indices(&self) -> Result<(), Located> {
        let (kernels, count) = (&self.worker.kernels, self.worker.kernels_of_a_request());
        let mut rows: Vec<Option<usize>> = vec![None; count as usize];
        for (row, kernel) in kernels.iter().enumerate() {
            let index = kernel.index.unwrap_or_default();
            let Some(place) = rows.get_mut(index as usize) else {
                return self.row(row, "index", PlanProblem::PastEnd { index, kernels: count });
            };
            if let Some(first) = place.replace(row) {
                let first = field(&self.path(&[Key("kernels"), Index(first)]));
                return self.row(
                    row,
                    "index",
                    PlanProblem::Duplicate { what: format!("index {index}"), first },
                );
            }
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            let Some(row) = *row else {
                let rule = format!(
                    "a request has {count} kernels, so every index from 0 to {} is needed",
                    count - 1
                );
                return self
                    .err(&[Key("kernels")], PlanProblem::Gap { what: format!("index {index}"), rule });
            };
            let Some(name) = &kernels[row].kernel else { continue };
            let expected = seen.entry(name).or_default();
            if let Some(given) = kernels[row].occurrence.filter(|given| given != expected) {
                let problem = format!(
                    "occurrence {given} of kernel {name:?}, but by the indices it is number {expected}: correct it, or leave it out"
                );
                return self.row(row, "occurrence", PlanProblem::Key(problem));
            }
            *expected += 1;
        }
        Ok(())
    }

    /// Of each name, all of 0 to n - 1, once.
    fn occurrences(&self) -> Result<(), Located> {
        let (rows, count) = (self.worker.kernels.len(), self.worker.kernels_of_a_request());
        if rows as u64 > u64::from(count) {
            let problem = format!(
                "a request of {count} kernels, but {rows} are listed: correct the number, or leave it out"
            );
            return self.err(&[Key("kernels_per_request")], PlanProblem::Key(problem));
        }
        let mut names: HashMap<&str, HashMap<u32, usize>> = HashMap::new();
        for (row, kernel) in self.worker.kernels.iter().enumerate() {
            let (Some(name), Some(occurrence)) = (&kernel.kernel, kernel.occurrence) else { continue };
            if let Some(first) = names.entry(name).or_default().insert(occurrence, row) {
                let first = field(&self.path(&[Key("kernels"), Index(first)]));
                let what = format!("occurrence {occurrence} of kernel {name:?}");
                return self.row(row, "occurrence", PlanProblem::Duplicate { what, first });
            }
        }
        for (row, kernel) in self.worker.kernels.iter().enumerate() {
            let (Some(name), Some(occurrence)) = (&kernel.kernel, kernel.occurrence) else { continue };
            if occurrence > 0 && !names[name.as_str()].contains_key(&(occurrence - 1)) {
                let what = format!("occurrence {} of kernel {name:?}", occurrence - 1);
                let rule =
                    "occurrences count from 0 without a gap; give it the default queue if it shall run there"
                        .into();
                return self.row(row, "occurrence", PlanProblem::Gap { what, rule });
            }
        }
        Ok(())
    }
}

fn limit(what: &'static str, found: usize, limit: usize, at: &[Segment]) -> Result<(), Located> {
    if found <= limit {
        return Ok(());
    }
    Err(Located::new(at, PlanProblem::TooLarge { what, found: found as u64, limit: limit as u64 }))
}

fn unique<'a>(
    seen: &mut HashMap<&'a str, Vec<Segment>>,
    name: &'a str,
    what: String,
    at: &[Segment],
) -> Result<(), Located> {
    match seen.insert(name, at.to_vec()) {
        None => Ok(()),
        Some(first) => Err(Located::new(at, PlanProblem::Duplicate { what, first: field(&first) })),
    }
}
