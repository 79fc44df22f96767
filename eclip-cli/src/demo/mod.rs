//! `eclip demo`: a pool of eight queues, proved to be what was asked for, then real work on it, checked against the CPU.

mod check;
mod kernels;
mod masks;
mod mlp;
mod observe;
mod report;
mod worker;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use eclip_hsa::{Agent, PacketCounts, Pool};
use eclip_kernels::digits::{self, IMAGES, PIXELS};

use crate::device::{Device, Simulation};
use kernels::Kernels;
use mlp::{Images, Mlp, Results};
use worker::{Report, Route};

/// Arguments of `eclip demo`.
#[derive(clap::Args)]
pub struct Options {
    /// Recognise only the first N images
    #[arg(long, value_name = "N", default_value_t = IMAGES as u32,
          value_parser = clap::value_parser!(u32).range(2..=IMAGES as i64))]
    images: u32,
    /// Images that go through a layer at once
    #[arg(long, value_name = "N", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..=IMAGES as i64))]
    batch: u32,
}

/// Workers that run side by side.
const WORKERS: usize = 2;
/// Indices in the pool: three queues of each worker, then the shared ones.
const EVEN: usize = WORKERS * masks::SIZES;
const DEFAULT: usize = EVEN + 1;

/// All that the workload gave.
struct Run {
    reports: Vec<Report>,
    results: Results,
    /// Packets that each queue was given.
    counts: Vec<PacketCounts>,
    /// Host time of both workers.
    wall: Duration,
    /// What simulating them cost.
    simulation: Option<Simulation>,
}

/// Runs it. Whatever does not come out as it must is an error.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let begin = Instant::now();
    let device = Device::choose()?;
    let gpu = device.open()?;
    let kernels = Kernels::load(&gpu)?;
    report::head(device, &gpu, out)?;

    writeln!(out, "\nThe pool: CU masks are set once; work moves between queues instead.\n")?;
    let pool = pool(&gpu)?;
    for line in pool.audit().to_string().lines() {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "\nA probe kernel read in every workgroup which hardware queue and CU it ran on:\n")?;
    observe::verify(&pool, &kernels.probe, out)?;
    writeln!(out, "Every queue used exactly the CUs that it was given.\n")?;

    let inputs = &digits::inputs()[..options.images as usize * PIXELS];
    let routes: [Route; WORKERS] = std::array::from_fn(route);
    report::workload(options, &pool, &routes, out)?;
    let run = work(device, &pool, &kernels, &routes, inputs, options.batch as usize)?;
    // The figures first: they help when something is wrong.
    report::layers(device, &run, out)?;
    report::packets(&pool, &run, out)?;
    for report in &run.reports {
        check::order(&report.hops)?;
    }
    let verdict = check::results(&run.results, inputs).context("the GPU's results are wrong")?;
    report::verdict(&verdict, &run, out)?;
    report::times(device, &run, begin.elapsed(), out)
}

/// Seven masked queues and a default one.
fn pool(gpu: &Agent) -> Result<Pool> {
    let masks = masks::choose(gpu.topology()?)?;
    let mut builder = Pool::builder(gpu).each(|queue| queue.profiling());
    for (label, mask) in masks.workers.into_iter().flatten().chain([masks.even]) {
        builder = builder.masked(label, mask);
    }
    Ok(builder.unmasked("default").build()?)
}

/// Through a worker's own queues, from the largest mask to the smallest, then the middle one, and the shared ones.
fn route(worker: usize) -> Route {
    let own = worker * masks::SIZES;
    Route { dense: [own + 2, own, own + 1], softmax: EVEN, argmax: DEFAULT }
}

/// Both workers at once, each with its part of the images.
fn work(
    device: Device,
    pool: &Pool,
    kernels: &Kernels,
    routes: &[Route; WORKERS],
    inputs: &[f32],
    batch: usize,
) -> Result<Run> {
    let gpu = pool.agent();
    let mlp = Mlp::upload(gpu, kernels)?;
    let half = (inputs.len() / PIXELS).div_ceil(WORKERS) * PIXELS;
    let parts: Vec<&[f32]> = inputs.chunks(half).collect();
    let images = parts.iter().map(|part| Images::upload(gpu, part)).collect::<Result<Vec<_>>>()?;
    let counts_before: Vec<PacketCounts> = pool.queues().iter().map(|queue| queue.packet_counts()).collect();
    let simulated_before = device.simulation();
    let begin = Instant::now();
    let reports = thread::scope(|scope| {
        let threads: Vec<_> = images
            .iter()
            .zip(&parts)
            .enumerate()
            .map(|(number, (images, part))| {
                let route = routes[number];
                let mlp = &mlp;
                scope.spawn(move || {
                    worker::run(pool, mlp, images, part.len() / PIXELS, batch, route)
                        .with_context(|| format!("worker {}", number + 1))
                })
            })
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Report>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a worker's thread panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<Report>>>()
    })?;
    let wall = begin.elapsed();
    let simulation = device.simulation().zip(simulated_before).map(|(after, before)| after - before);
    let counts = pool
        .queues()
        .iter()
        .zip(counts_before)
        .map(|(queue, before)| queue.packet_counts() - before)
        .collect();
    let mut results = Results::default();
    for images in &images {
        results.extend(images.results()?);
    }
    Ok(Run { reports, results, counts, wall, simulation })
}
