//! Runs a scenario, as fast as it computes.
//!
//! Each worker is also run alone, on its own queues and on the whole GPU, to tell its slow-down.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use crate::device::Device;
use crate::engine::{Effort, Energy, Event, EventKind, Gpu, Order, PacketId, Precision, QueueId};
use crate::error::ModelError;
use crate::kernel::Kernel;
use crate::mask::Mask;
use crate::scenario::{Scenario, Worker};

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Which device; simulated.
    pub device: String,
    /// GPU time from the first submission to the last end, ns.
    pub end_ns: f64,
    /// From which time on rates, joules and watts are counted, ns.
    pub counted_from_ns: f64,
    /// Joules by cause over the counted time.
    pub energy: Energy,
    /// All joules of the counted time.
    pub joules: f64,
    /// Mean over the counted time.
    pub watts: f64,
    /// In the scenario's order.
    pub workers: Vec<WorkerOutcome>,
    /// Sum over the workers of rate / rate alone on the whole GPU.
    pub stp: f64,
    /// What it cost to compute.
    #[serde(skip)]
    pub effort: Effort,
}

/// A worker's part.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerOutcome {
    /// Its name or number.
    pub name: String,
    /// Counted requests.
    pub requests: u64,
    /// Requests a second.
    pub rate: f64,
    /// The same with nothing else on the GPU.
    pub rate_alone: f64,
    /// The same with nothing else on the GPU and all its queues unmasked.
    pub rate_whole_gpu: f64,
    /// `rate_alone / rate`.
    pub slowdown: f64,
    /// Of a request, from its submission (or its predecessor's end) to its end, us.
    pub mean_us: f64,
    /// 95 % of the requests take at most this long, us.
    pub p95_us: f64,
    /// Its kernels, in order.
    pub kernels: Vec<KernelOutcome>,
}

/// A kernel of a worker's request.
#[derive(Clone, Debug, Serialize)]
pub struct KernelOutcome {
    /// Its name.
    pub kernel: String,
    /// Counted executions.
    pub count: u64,
    /// Start of the first counted one, ns.
    pub first_start_ns: f64,
    /// End of the last counted one, ns.
    pub last_end_ns: f64,
    /// From start to end, us.
    pub mean_us: f64,
    /// The same with nothing else on the GPU.
    pub alone_us: f64,
    /// `mean_us / alone_us`.
    pub slowdown: f64,
}

/// A request of a worker as a list of kernels.
struct Program {
    steps: Vec<ProgramStep>,
    in_flight: u32,
    requests: Option<u64>,
    start: f64,
}

struct ProgramStep {
    kernel: Arc<Kernel>,
    queue: QueueId,
    mask: Option<Mask>,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    first_start: f64,
    last_end: f64,
    total: f64,
}

#[derive(Default)]
struct Progress {
    /// Requests whose first packet was submitted.
    begun: u64,
    /// Of each request in flight: when it was submitted.
    open: VecDeque<f64>,
    last_end: f64,
    /// Next step of a request that the host drives step by step.
    step: usize,
    last_packet: Option<(PacketId, QueueId)>,
    latencies: Vec<f64>,
    first_end: f64,
    tallies: Vec<Tally>,
    /// The host waits in a call until then.
    busy_until: Option<f64>,
    /// The next step's mask is set.
    mask_set: bool,
}

struct Raw {
    end: f64,
    from: f64,
    energy: Energy,
    workers: Vec<Progress>,
    effort: Effort,
}

/// Runs `scenario` on `device` (see [`Scenario::device`]), and each worker alone.
pub fn run(scenario: &Scenario, device: &Device) -> Result<Outcome, ModelError> {
    run_with(scenario, device, Precision::default())
}

/// As [`run`], computing as `precision` says.
pub fn run_with(scenario: &Scenario, device: &Device, precision: Precision) -> Result<Outcome, ModelError> {
    let together = simulate(scenario, device, precision, None, false)?;
    let mut workers = Vec::new();
    for (index, worker) in scenario.workers.iter().enumerate() {
        let alone = simulate(scenario, device, precision, Some(index), false)?;
        let whole = simulate(scenario, device, precision, Some(index), true)?;
        let mine = &together.workers[index];
        let rate = rate(worker, mine, &together);
        let rate_alone = rate_of(worker, &alone);
        workers.push(summary(worker, index, mine, &alone.workers[0], rate, rate_alone));
        workers[index].rate_whole_gpu = rate_of(worker, &whole);
    }
    let seconds = (together.end - together.from) * 1e-9;
    Ok(Outcome {
        device: device.name.clone(),
        end_ns: together.end,
        counted_from_ns: together.from,
        energy: together.energy,
        joules: together.energy.joules(),
        watts: if seconds > 0.0 { together.energy.joules() / seconds } else { 0.0 },
        stp: workers.iter().map(|worker| worker.rate / worker.rate_whole_gpu).sum(),
        workers,
        effort: together.effort,
    })
}

/// Runs `scenario` once, without running workers alone: each worker's rate in requests a second, mean watts, and what it cost
/// to compute.
pub fn measure(scenario: &Scenario, device: &Device) -> Result<(Vec<f64>, f64, Effort), ModelError> {
    measure_with(scenario, device, Precision::default())
}

/// As [`measure`], computing as `precision` says.
pub fn measure_with(
    scenario: &Scenario,
    device: &Device,
    precision: Precision,
) -> Result<(Vec<f64>, f64, Effort), ModelError> {
    let raw = simulate(scenario, device, precision, None, false)?;
    let pairs = scenario.workers.iter().zip(&raw.workers);
    let rates = pairs.map(|(worker, progress)| rate(worker, progress, &raw)).collect();
    Ok((rates, raw.energy.joules() / ((raw.end - raw.from) * 1e-9), raw.effort))
}

fn rate_of(worker: &Worker, raw: &Raw) -> f64 {
    rate(worker, &raw.workers[0], raw)
}

/// Requests a second: of a closed loop, those that ended in the counted time, from the first end to the last; else all.
fn rate(worker: &Worker, progress: &Progress, raw: &Raw) -> f64 {
    let count = progress.latencies.len() as f64;
    let span = if worker.requests.is_none() && progress.latencies.len() > 1 {
        return (count - 1.0) / ((progress.last_end - progress.first_end) * 1e-9);
    } else {
        progress.last_end - raw.from.max(worker.start_us * 1e3)
    };
    if span > 0.0 { count / (span * 1e-9) } else { 0.0 }
}

fn summary(
    worker: &Worker,
    index: usize,
    together: &Progress,
    alone: &Progress,
    rate: f64,
    rate_alone: f64,
) -> WorkerOutcome {
    let mut latencies = together.latencies.clone();
    latencies.sort_by(f64::total_cmp);
    let names =
        worker.kernels.iter().flat_map(|step| std::iter::repeat_n(&step.kernel, step.times.max(1) as usize));
    let mean = |tally: &Tally| if tally.count > 0 { tally.total / tally.count as f64 / 1e3 } else { 0.0 };
    let kernel = |((name, tally), alone): ((&String, &Tally), &Tally)| KernelOutcome {
        kernel: name.clone(),
        count: tally.count,
        first_start_ns: tally.first_start,
        last_end_ns: tally.last_end,
        mean_us: mean(tally),
        alone_us: mean(alone),
        slowdown: if mean(alone) > 0.0 { mean(tally) / mean(alone) } else { 1.0 },
    };
    WorkerOutcome {
        name: worker.title(index),
        requests: latencies.len() as u64,
        rate,
        rate_alone,
        rate_whole_gpu: 0.0,
        slowdown: if rate > 0.0 { rate_alone / rate } else { 0.0 },
        mean_us: latencies.iter().sum::<f64>() / latencies.len().max(1) as f64 / 1e3,
        p95_us: latencies.get((latencies.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0)
            / 1e3,
        kernels: names.zip(&together.tallies).zip(&alone.tallies).map(kernel).collect(),
    }
}

fn simulate(
    scenario: &Scenario,
    device: &Device,
    precision: Precision,
    only: Option<usize>,
    whole: bool,
) -> Result<Raw, ModelError> {
    scenario.check(device)?;
    let mut gpu = Gpu::with_precision(device.clone(), scenario.seed, precision)?;
    let mut queues = BTreeMap::new();
    for (name, queue) in &scenario.queues {
        let mask = if whole { Mask::full(device) } else { Mask::parse(device, &queue.mask)? };
        queues.insert(name.as_str(), gpu.add_queue(mask));
    }
    let kernels: BTreeMap<&str, Arc<Kernel>> =
        scenario.kernels.iter().map(|(name, kernel)| (name.as_str(), Arc::new(kernel.clone()))).collect();
    let mut programs = Vec::new();
    for (_, worker) in
        scenario.workers.iter().enumerate().filter(|(index, _)| only.is_none_or(|only| only == *index))
    {
        let mut steps = Vec::new();
        for step in &worker.kernels {
            let mask = step.mask.as_ref().filter(|_| !whole);
            let mut mask = mask.map(|mask| Mask::parse(device, mask)).transpose()?;
            let queue = queues[step.queue.as_ref().unwrap_or(&worker.queue).as_str()];
            for _ in 0..step.times.max(1) {
                steps.push(ProgramStep {
                    kernel: kernels[step.kernel.as_str()].clone(),
                    queue,
                    mask: mask.take(),
                });
            }
        }
        let start = worker.start_us * 1e3;
        programs.push(Program { steps, in_flight: worker.in_flight, requests: worker.requests, start });
    }
    let progress = |program: &Program| Progress {
        tallies: vec![Tally::default(); program.steps.len()],
        ..Progress::default()
    };
    let workers = programs.iter().map(progress).collect();
    let (from, until) = (scenario.warmup_us * 1e3, scenario.duration_us * 1e3);
    let mut host = Host { gpu, programs, workers, owners: HashMap::new(), from, until };
    host.drive()
}

/// What a packet is to its worker.
struct Owner {
    worker: usize,
    step: usize,
    last: bool,
    counted: bool,
    start: f64,
}

struct Host {
    gpu: Gpu,
    programs: Vec<Program>,
    workers: Vec<Progress>,
    owners: HashMap<PacketId, Owner>,
    from: f64,
    until: f64,
}

impl Host {
    fn drive(&mut self) -> Result<Raw, ModelError> {
        let mut energy_before = Energy::default();
        let mut counted_from = None;
        for worker in 0..self.programs.len() {
            if self.programs[worker].start > 0.0 {
                self.workers[worker].busy_until = Some(self.programs[worker].start);
            } else {
                self.fill(worker)?;
            }
        }
        let closed = self.programs.iter().any(|program| program.requests.is_none());
        let mut end = (0.0, Energy::default());
        loop {
            let wake =
                self.workers.iter().filter_map(|worker| worker.busy_until).fold(f64::INFINITY, f64::min);
            let mut limit = wake;
            if counted_from.is_none() {
                limit = limit.min(self.from);
            }
            let passed = closed && self.gpu.now() >= self.until;
            if closed && !passed {
                limit = limit.min(self.until);
            }
            match self.gpu.advance(limit) {
                Some(event) => self.seen(event)?,
                None if limit == f64::INFINITY => break,
                None => {}
            }
            let now = self.gpu.now();
            if counted_from.is_none() && now >= self.from {
                energy_before = self.gpu.energy();
                counted_from = Some(now);
            }
            if closed && !passed && now >= self.until {
                end = (now, self.gpu.energy());
                // What is in flight is of no interest any more, unless someone has a number of requests to do.
                if self.programs.iter().all(|program| program.requests.is_none()) {
                    break;
                }
            }
            for worker in 0..self.programs.len() {
                if self.workers[worker].busy_until.is_some_and(|until| until <= now) {
                    self.workers[worker].busy_until = None;
                    self.fill(worker)?;
                }
            }
        }
        if !closed {
            end = (self.gpu.now(), self.gpu.energy());
        }
        Ok(Raw {
            end: end.0,
            from: counted_from.unwrap_or(0.0),
            energy: end.1.since(&energy_before),
            workers: std::mem::take(&mut self.workers),
            effort: self.gpu.effort(),
        })
    }

    /// Submits what the worker may submit now.
    fn fill(&mut self, worker: usize) -> Result<(), ModelError> {
        loop {
            let program = &self.programs[worker];
            let progress = &mut self.workers[worker];
            if progress.step == 0 {
                let more = match program.requests {
                    Some(requests) => progress.begun < requests,
                    None => self.gpu.now() < self.until,
                };
                if !more || progress.open.len() >= program.in_flight as usize {
                    return Ok(());
                }
                progress.begun += 1;
                progress.open.push_back(self.gpu.now());
            }
            let steps = program.steps.len();
            while self.workers[worker].step < steps {
                if !self.submit_step(worker)? {
                    return Ok(());
                }
            }
            self.workers[worker].step = 0;
        }
    }

    /// Submits the next step; false if the host must wait first.
    fn submit_step(&mut self, worker: usize) -> Result<bool, ModelError> {
        let progress = &mut self.workers[worker];
        let index = progress.step;
        let step = &mut self.programs[worker].steps[index];
        if let Some(mask) = &step.mask
            && !progress.mask_set
        {
            // The host waits for what uses the queue, then for the call.
            if let Some((last, _)) = progress.last_packet
                && self.owners.contains_key(&last)
            {
                return Ok(false);
            }
            let wait = self.gpu.set_mask(step.queue, mask.clone())?;
            progress.busy_until = Some(self.gpu.now() + wait);
            progress.mask_set = true;
            return Ok(false);
        }
        let mut order = Order::default();
        if let Some((last, queue)) = progress.last_packet
            && queue != step.queue
            && self.owners.contains_key(&last)
        {
            order.after.push(last);
            self.gpu.submit_barrier(step.queue, &order)?;
        }
        let id = self.gpu.submit(step.queue, &step.kernel, &Order::default())?;
        progress.last_packet = Some((id, step.queue));
        progress.step += 1;
        progress.mask_set = false;
        let last = progress.step == self.programs[worker].steps.len();
        let counted = self.gpu.now() >= self.from;
        self.owners.insert(id, Owner { worker, step: index, last, counted, start: 0.0 });
        Ok(true)
    }

    fn seen(&mut self, event: Event) -> Result<(), ModelError> {
        if event.kind == EventKind::Started {
            if let Some(owner) = self.owners.get_mut(&event.packet) {
                owner.start = event.time;
            }
            return Ok(());
        }
        // Barriers have no owner.
        let Some(owner) = self.owners.remove(&event.packet) else { return Ok(()) };
        let progress = &mut self.workers[owner.worker];
        if owner.counted {
            let tally = &mut progress.tallies[owner.step];
            if tally.count == 0 {
                tally.first_start = owner.start;
            }
            tally.count += 1;
            tally.last_end = event.time;
            tally.total += event.time - owner.start;
        }
        if owner.last {
            let submitted = progress.open.pop_front().unwrap_or(event.time);
            if event.time >= self.from {
                if progress.latencies.is_empty() {
                    progress.first_end = event.time;
                }
                progress.latencies.push(event.time - submitted.max(progress.last_end));
            }
            progress.last_end = event.time;
        }
        if progress.busy_until.is_none() {
            self.fill(owner.worker)?;
        }
        Ok(())
    }
}
