//! Random graphs of kernel groups across queues, and a model of the data that they must leave. Pure: no device.
//!
//! A graph is a sequence of groups in the order of their numbers; each belongs to one thread and one queue, and comes after
//! groups with smaller numbers only, so threads that submit their own groups in order never wait for each other in a circle.
//! What a group comes after follows from what its steps read and write: each step reads up to three versions of cells and
//! makes the next version of one, as `kernels/cl/stress.cl` does. [`Model`] is that kernel on the host.

use bytemuck::{Pod, Zeroable};
use fastrand::Rng;

/// Cells that a step reads at most.
pub const READS: usize = 3;

/// Cells that are read often and written seldom.
const POPULAR: usize = 4;

/// One version of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Access {
    /// Which cell.
    pub cell: u32,
    /// How many steps have written it before.
    pub version: u32,
}

/// What a kernel of a group has to find: `Step` of `stress.cl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// Equals the argument `key`.
    pub key: u32,
    /// Equals the argument `extra`.
    pub extra: u32,
    /// Turns of a loop between reading and writing.
    pub spin: u32,
    /// How many of `read` there are.
    pub reads: u32,
    /// What is read: the same from the step's beginning to its end.
    pub read: [Access; READS],
    /// What is overwritten by the next version.
    pub write: Access,
}

impl Step {
    /// The cells read.
    pub fn reads(&self) -> &[Access] {
        &self.read[..self.reads as usize]
    }
}

/// What a workgroup of a step leaves: `Report` of `stress.cl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Report {
    /// How often it ran.
    pub runs: u32,
    /// Index of the step, plus 1.
    pub step: u32,
    /// Findings that were wrong, over all lanes.
    pub violations: u32,
    /// What the first was in the low byte, what was seen in the others.
    pub first: u32,
}

impl Report {
    /// The first violation in words.
    fn first(&self) -> String {
        let seen = self.first >> 8;
        match self.first & 0xff {
            1 => format!("argument key was {seen} (low 24 bits)"),
            2 => format!("argument extra was {seen} (low 24 bits)"),
            3 => format!("index {seen} out of range"),
            what @ 8..11 => format!("read {} was at version {seen} at the beginning", what - 8),
            what @ 16..19 => format!("read {} was at version {seen} at the end", what - 16),
            24 => format!("the written cell was at version {seen}"),
            what => format!("unknown finding {what}, {seen}"),
        }
    }
}

/// Who may depend on a group's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Its own queue.
    Queue,
    /// Every queue of the GPU.
    Agent,
    /// The host, too.
    System,
}

/// How an argument that differs from the group's own is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportBy {
    /// The buffer stays, the index of the report is patched.
    Index,
    /// The address of the report is patched, the index stays 0.
    Address,
}

/// Kernels submitted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Thread that submits it.
    pub thread: usize,
    /// Queue that it runs on.
    pub queue: usize,
    /// First of its steps; the others follow.
    pub first: usize,
    /// 1 to 4.
    pub kernels: usize,
    /// Whether its kernels may run side by side.
    pub concurrent: bool,
    /// How its reports are named.
    pub report_by: ReportBy,
    /// Groups that it comes after, ascending.
    pub after: Vec<usize>,
    /// Who may depend on it.
    pub reach: Reach,
    /// Groups that come after it: its token is needed so often.
    pub dependants: usize,
    /// Whether its thread waits for it on the host, after submitting it.
    pub host_waits: bool,
}

impl Group {
    /// Its steps.
    pub fn steps(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.kernels
    }
}

/// What a random graph is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Groups.
    pub groups: usize,
    /// Threads that submit.
    pub threads: usize,
    /// Queues.
    pub queues: usize,
    /// Cells: the fewer, the more dependencies. At least 32 a queue.
    pub cells: usize,
    /// One step in so many spins long enough for others to overtake it; 0 for none.
    pub one_long_in: usize,
    /// Turns of those.
    pub long_spin: u32,
}

/// A graph with everything that is to be expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Groups; each comes after some with smaller numbers.
    pub groups: Vec<Group>,
    /// Steps of all groups.
    pub steps: Vec<Step>,
    /// Version of each cell in the end.
    pub finals: Vec<u32>,
}

/// Who used the present version of a cell.
#[derive(Clone, Default)]
struct Users {
    version: u32,
    writer: Option<usize>,
    readers: Vec<usize>,
}

impl Graph {
    /// The graph of a seed: the same for the same seed and shape.
    pub fn random(seed: u64, shape: &Shape) -> Self {
        assert!(shape.threads > 0 && shape.queues > 0 && shape.cells >= 32 * shape.queues, "{shape:?}");
        let mut rng = Rng::with_seed(seed);
        let mut cells = vec![Users::default(); shape.cells];
        let mut graph = Self { groups: Vec::with_capacity(shape.groups), steps: Vec::new(), finals: vec![] };
        // Whose data each group needs, even where the order follows from another dependency.
        let mut needs: Vec<Vec<usize>> = Vec::with_capacity(shape.groups);
        for number in 0..shape.groups {
            let (thread, queue) = (rng.usize(..shape.threads), rng.usize(..shape.queues));
            // On every other queue most kernels run side by side, so that little follows from the end of one; on the others most
            // groups keep to their queue's own cells: nobody else comes after them.
            let loose = queue % 2 == 1;
            let mostly = rng.u8(..16) > 0;
            let place = Place { cells: shape.cells, queues: shape.queues, queue, local: loose != mostly };
            let kernels = rng.usize(1..=4);
            let concurrent = kernels > 1 && if loose { mostly } else { rng.bool() };
            let first = graph.steps.len();
            let mut after = Vec::new();
            // Cells of a concurrent group: used by one of its kernels, and by no other if it writes them.
            let (mut read, mut written): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
            for _ in 0..kernels {
                let mut step = Step { key: rng.u32(..), spin: rng.u32(..8), ..Step::default() };
                if shape.one_long_in > 0 && rng.usize(..shape.one_long_in) == 0 {
                    step.spin = shape.long_spin;
                }
                if rng.u8(..4) == 0 {
                    step.extra = rng.u32(1..);
                }
                let free = |cell| !concurrent || !read.contains(&cell) && !written.contains(&cell);
                let popular = rng.usize(shape.cells - POPULAR..shape.cells);
                // Seldom one that many have read: comes after more than a barrier packet holds.
                let target = if !place.local && rng.u8(..32) == 0 && free(popular) {
                    popular
                } else {
                    place.pick(&mut rng, free)
                };
                let mut sources = Vec::new();
                // Often what the kernel before it has just made.
                sources.extend(written.last().filter(|&&last| !concurrent && last != target && rng.bool()));
                for _ in sources.len()..rng.usize(..=READS) {
                    let free = |cell: usize| {
                        cell != target && !sources.contains(&cell) && !(concurrent && written.contains(&cell))
                    };
                    let popular = rng.usize(shape.cells - POPULAR..shape.cells);
                    let read_it = !place.local && rng.u8(..4) == 0 && free(popular);
                    sources.push(if read_it { popular } else { place.pick(&mut rng, free) });
                }
                for (place, &cell) in step.read.iter_mut().zip(&sources) {
                    *place = Access { cell: cell as u32, version: cells[cell].version };
                    after.extend(cells[cell].writer);
                    cells[cell].readers.push(number);
                }
                step.reads = sources.len() as u32;
                let users = &mut cells[target];
                step.write = Access { cell: target as u32, version: users.version };
                after.extend(users.writer);
                after.append(&mut users.readers);
                *users = Users { version: users.version + 1, writer: Some(number), readers: Vec::new() };
                read.append(&mut sources);
                written.push(target);
                graph.steps.push(step);
            }
            after.sort_unstable();
            after.dedup();
            // A group's own steps are in order, or have nothing to do with each other.
            after.retain(|&other| other != number);
            needs.push(after.clone());
            if rng.bool() {
                // What follows from the other dependencies need not be said.
                let said = after.clone();
                after.retain(|old| !said.iter().any(|&between| graph.groups[between].after.contains(old)));
            }
            if number > 0 && rng.u8(..16) == 0 {
                // Something old and unrelated, most of the time long complete.
                let old = rng.usize(number.saturating_sub(4000)..number);
                after.push(old);
            }
            after.sort_unstable();
            after.dedup();
            for &other in &after {
                graph.groups[other].dependants += 1;
            }
            let report_by = if rng.bool() { ReportBy::Index } else { ReportBy::Address };
            let reach = [Reach::Queue, Reach::Agent, Reach::System][rng.usize(..3)];
            let host_waits = rng.u8(..64) == 0;
            graph.groups.push(Group {
                thread,
                queue,
                first,
                kernels,
                concurrent,
                report_by,
                after,
                reach: if host_waits { Reach::System } else { reach },
                dependants: 0,
                host_waits,
            });
        }
        for (number, needs) in needs.iter().enumerate() {
            for other in needs.iter().copied().chain(graph.groups[number].after.clone()) {
                if graph.groups[other].queue != graph.groups[number].queue {
                    let reach = &mut graph.groups[other].reach;
                    *reach = (*reach).max(Reach::Agent);
                }
            }
        }
        graph.finals = cells.iter().map(|users| users.version).collect();
        graph
    }

    /// Compares what a device left with what it should have: `lanes` words a cell, reports of `workgroups` a step.
    ///
    /// # Errors
    /// How many differences there are, with the first ones in words.
    pub fn check(
        &self,
        cells: &[u32],
        lanes: usize,
        reports: &[Report],
        workgroups: usize,
    ) -> Result<(), String> {
        const SHOWN: usize = 8;
        let mut wrong = Vec::new();
        let mut differences = 0;
        let mut note = |text: &dyn Fn() -> String| {
            differences += 1;
            if wrong.len() < SHOWN {
                wrong.push(text());
            }
        };
        let mut left = reports.chunks(workgroups);
        for (number, group) in self.groups.iter().enumerate() {
            for index in group.steps() {
                let about = || format!("group {number} of queue {}, step {index}", group.queue);
                for report in left.next().unwrap_or_default() {
                    match report.runs {
                        0 => note(&|| format!("{}: never ran", about())),
                        1 => {}
                        more => note(&|| format!("{}: ran {more} times", about())),
                    }
                    if report.runs > 0 && report.step as usize != index + 1 {
                        note(&|| format!("{}: step {} ran instead", about(), report.step.wrapping_sub(1)));
                    }
                    if report.violations > 0 {
                        let step = &self.steps[index];
                        note(&|| {
                            let (count, first) = (report.violations, report.first());
                            format!(
                                "{}: {count} violations, first: {first}; {step:?}, after {:?}",
                                about(),
                                group.after
                            )
                        });
                    }
                }
            }
        }
        for report in left.flatten().filter(|report| **report != Report::default()) {
            note(&|| format!("a report where none belongs: {report:?}"));
        }
        for (cell, (&version, words)) in self.finals.iter().zip(cells.chunks(lanes)).enumerate() {
            if let Some(word) = words.iter().find(|word| **word != version) {
                note(&|| format!("cell {cell} ends at version {word}, expected {version}"));
            }
        }
        if differences == 0 {
            return Ok(());
        }
        Err(format!("{differences} differences, the first ones:\n  {}", wrong.join("\n  ")))
    }
}

/// Which cells a group may use: the lower half belongs to the queues in turn, the upper half is shared; the last ones are popular.
struct Place {
    cells: usize,
    queues: usize,
    queue: usize,
    local: bool,
}

impl Place {
    /// A random cell that is `free`.
    fn pick(&self, rng: &mut Rng, free: impl Fn(usize) -> bool) -> usize {
        let own = self.cells / 2 / self.queues;
        loop {
            let cell = if self.local || rng.u8(..4) == 0 {
                self.queue * own + rng.usize(..own)
            } else {
                rng.usize(self.queues * own..self.cells - POPULAR)
            };
            if free(cell) {
                return cell;
            }
        }
    }
}

/// The kernel on the host, one lane and one workgroup.
#[derive(Clone, Debug)]
pub struct Model {
    /// Version of each cell.
    pub cells: Vec<u32>,
    /// One for each step.
    pub reports: Vec<Report>,
}

impl Model {
    /// Before anything has run.
    pub fn new(graph: &Graph) -> Self {
        Self { cells: vec![0; graph.finals.len()], reports: vec![Report::default(); graph.steps.len()] }
    }

    /// Runs a step whole, as if nothing else ran meanwhile.
    pub fn run(&mut self, graph: &Graph, index: usize) {
        let step = &graph.steps[index];
        let report = &mut self.reports[index];
        report.runs += 1;
        report.step = index as u32 + 1;
        let mut expect = |what: u32, seen: u32, expected: u32| {
            if seen != expected {
                if report.violations == 0 {
                    report.first = what | seen << 8;
                }
                report.violations += 1;
            }
        };
        for (place, read) in step.reads().iter().enumerate() {
            expect(8 + place as u32, self.cells[read.cell as usize], read.version);
        }
        let cell = &mut self.cells[step.write.cell as usize];
        expect(24, *cell, step.write.version);
        *cell += 1;
    }
}

#[cfg(test)]
mod tests;
