//! This library's ways to submit a whole request: replayed, by a scheduler's worker, and plainly.
//!
//! All three submit the same: [`REQUEST`] kernels in order, runs of [`RUN`] on two masked queues in turn, each kernel after the one
//! before.

use anyhow::{Context, Result};
use eclip_hsa::plan::{PlanDevice, PlanDocument, PlanKernel, PlanQueue, PlanWorker, VERSION};
use eclip_hsa::{
    Agent, CuMask, KernelGroup, Patch, Plan, Policy, Prepared, Queue, Recording, Scheduler, Token,
    Visibility, Worker,
};

use super::contender::{Contender, DRAIN};
use super::ours::queue;
use super::results::name;
use super::submit::RING;
use super::work::Saxpy;

/// Kernels of a request, and how many follow each other on one queue: 14 runs, as many switches as the plans of the ECLIP paper
/// make at most.
const REQUEST: u32 = 700;
const RUN: u32 = 50;

/// Labels of the two queues.
const LABELS: [&str; 2] = ["W1 first", "W1 second"];

/// On which of the two queues a kernel is.
fn place(kernel: u32) -> usize {
    (kernel / RUN % 2) as usize
}

/// The request recorded.
pub struct Replay {
    queues: [Queue; 2],
    recording: Recording,
    alpha: f32,
}

impl Replay {
    /// Records the request.
    pub fn new(gpu: &Agent, work: &Saxpy, masks: &[CuMask; 2]) -> Result<Self> {
        let [first, second] = masks;
        let queues = [queue(gpu, "replay 1", Some(first))?, queue(gpu, "replay 2", Some(second))?];
        let mut run = KernelGroup::builder(gpu);
        for _ in 0..RUN {
            run.dispatch(work.dispatch())?;
        }
        let run = run.build()?;
        let mut recorder = Recording::builder(gpu);
        let mut last = None;
        for number in 0..REQUEST / RUN {
            last = Some(recorder.add(&run, number as usize % 2, last.as_slice())?);
        }
        Ok(Self { queues, recording: recorder.build()?, alpha: 0.0 })
    }
}

impl Contender for Replay {
    fn name(&self) -> &'static str {
        name::REPLAY
    }

    /// One replay with one new argument for the first kernel; its token is dropped.
    fn submit(&mut self) -> Result<u32> {
        self.alpha += 1.0;
        self.recording.on(&self.queues).patch(&[Patch::new(0, 0, self.alpha)]).try_submit()?;
        Ok(REQUEST)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.queues.iter().try_for_each(|queue| queue.drain(DRAIN))?)
    }
}

/// The request submitted kernel by kernel, each a group of one, by a program that knows its plan by heart.
pub struct Plain {
    queues: [Queue; 2],
    group: KernelGroup,
}

impl Plain {
    /// Builds group and queues.
    pub fn new(gpu: &Agent, work: &Saxpy, masks: &[CuMask; 2]) -> Result<Self> {
        let [first, second] = masks;
        let queues = [queue(gpu, "plain 1", Some(first))?, queue(gpu, "plain 2", Some(second))?];
        Ok(Self { queues, group: KernelGroup::of(work.dispatch())? })
    }
}

impl Contender for Plain {
    fn name(&self) -> &'static str {
        name::PLAIN
    }

    /// Each kernel after the one before, visible to its own queue only, to the GPU before a switch, to the host at the end.
    fn submit(&mut self) -> Result<u32> {
        let mut last: Option<Token> = None;
        for kernel in 0..REQUEST {
            let visibility = match kernel + 1 {
                REQUEST => Visibility::System,
                next if place(next) != place(kernel) => Visibility::Agent,
                _ => Visibility::Queue,
            };
            let submission = self.group.on(&self.queues[place(kernel)]).visibility(visibility);
            last = Some(submission.after(last.as_slice()).try_submit()?);
        }
        Ok(REQUEST)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.queues.iter().try_for_each(|queue| queue.drain(DRAIN))?)
    }
}

/// The request submitted kernel by kernel to a worker, whose plan says where each goes.
pub struct Scheduled {
    // Before the scheduler, whose queues it uses.
    worker: Worker,
    kernel: Prepared,
    scheduler: Scheduler,
}

impl Scheduled {
    /// Makes plan, pool and scheduler.
    pub fn new(gpu: &Agent, work: &Saxpy, masks: &[CuMask; 2]) -> Result<Self> {
        let plan = Plan::new("benchmark", document(gpu, masks)?)?;
        let pool = Scheduler::pool(gpu, &plan, Policy::Eclip)?.each(|queue| queue.size(RING)).build()?;
        let scheduler = Scheduler::new(pool, &plan, Policy::Eclip)?;
        let worker = scheduler.worker("W1")?;
        let kernel = worker.prepare(work.dispatch())?;
        Ok(Self { worker, kernel, scheduler })
    }
}

impl Contender for Scheduled {
    fn name(&self) -> &'static str {
        name::SCHEDULER
    }

    /// The beginning of a request, its kernels, its end.
    fn submit(&mut self) -> Result<u32> {
        self.worker.begin_request();
        for _ in 0..REQUEST {
            self.worker.submit(&self.kernel)?;
        }
        self.worker.end_request()?;
        Ok(REQUEST)
    }

    fn drain(&mut self) -> Result<()> {
        self.worker.wait(DRAIN)?;
        let switches = self.worker.last_request().switches;
        anyhow::ensure!(
            switches + 1 >= u64::from(REQUEST / RUN),
            "{switches} switches: the plan was not followed"
        );
        Ok(self.scheduler.queues().queues().iter().try_for_each(|queue| queue.drain(DRAIN))?)
    }
}

/// The plan of the request.
fn document(gpu: &Agent, masks: &[CuMask; 2]) -> Result<PlanDocument> {
    let topology = gpu.topology()?;
    let engines = topology.shader_engines();
    let arrays = (0..topology.xccs() * engines)
        .flat_map(|engine| (0..topology.sh_per_se()).map(move |array| (engine, array)));
    let kernel = |index| PlanKernel {
        index: Some(index),
        kernel: None,
        occurrence: None,
        queue: LABELS[place(index)].to_owned(),
        right_size: None,
        solo_us: None,
    };
    let queue = |(label, mask): (&str, &CuMask)| PlanQueue {
        label: label.to_owned(),
        mask: Some(mask.to_string()),
        unbalanced: false,
    };
    Ok(PlanDocument {
        version: VERSION,
        switch_max: Some(REQUEST / RUN),
        device: PlanDevice {
            product: None,
            isa: gpu.isa().context("this agent runs no code objects")?.to_string(),
            xccs: topology.xccs(),
            shader_engines: engines,
            sh_per_se: topology.sh_per_se(),
            cus_per_sh: arrays.map(|(engine, array)| topology.cus_in_sh(engine, array)).collect(),
            wgp_pairs: topology.wgp_pairs(),
        },
        queues: LABELS.into_iter().zip(masks).map(queue).collect(),
        workers: vec![PlanWorker {
            name: "W1".to_owned(),
            default: LABELS[0].to_owned(),
            model_wise: None,
            kernels_per_request: None,
            kernels: (0..REQUEST).map(kernel).collect(),
        }],
    })
}
