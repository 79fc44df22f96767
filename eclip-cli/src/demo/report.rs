//! What the demo prints. Every time names the clock that it is from.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use eclip_hsa::{Agent, GpuTime, Pool};
use eclip_kernels::digits::{Score, TRAINED};

use super::check::{self, TOLERANCE, Verdict};
use super::mlp::Layer;
use super::worker::Route;
use super::{Options, Report, Run};
use crate::device::Device;
use crate::table::{align_right, table};

/// Device and runtime.
pub fn head(device: Device, gpu: &Agent, out: &mut impl Write) -> Result<()> {
    let runtime = gpu.runtime();
    let (major, minor) = runtime.hsa_version()?;
    let isa = gpu.isa().map(ToString::to_string).unwrap_or_default();
    writeln!(out, "eclip demo on {}, {isa}", device.name(gpu))?;
    writeln!(out, "  device   {}", device.why())?;
    if let Some(path) = runtime.hsa().path() {
        writeln!(out, "  runtime  AMD's ROCr, unmodified: {}, HSA {major}.{minor}", path.display())?;
    }
    Ok(())
}

/// What is going to be done.
pub fn workload(options: &Options, pool: &Pool, routes: &[Route], out: &mut impl Write) -> Result<()> {
    let Options { images, batch } = options;
    writeln!(
        out,
        "The work: a neural network recognises {images} handwritten digits (UCI optical digits, 8x8 pixels).\n\
         Two workers at once, each with half of the images, {batch} at a time. Each layer goes to another queue and waits\n\
         there, on the GPU, for the layer before it:\n"
    )?;
    for (number, route) in (1..).zip(routes) {
        let layers = Layer::ALL.map(|layer| pool[route.queue(layer, 0)].label().to_owned());
        let [first, second, third, softmax, argmax] = layers;
        writeln!(
            out,
            "  worker {number}: layers on {first}, {second}, {third} (the next batch begins one further), \
             softmax on {softmax}, argmax on {argmax}"
        )?;
    }
    writeln!(out)?;
    Ok(())
}

/// GPU time by layer and worker.
pub fn layers(device: Device, run: &Run, out: &mut impl Write) -> Result<()> {
    let mut table = table();
    let mut header = vec!["layer".to_owned(), "kernels".to_owned()];
    header.extend((1..=run.reports.len()).map(|n| format!("worker {n}, {}GPU time", device.prefix())));
    table.set_header(header);
    for layer in Layer::ALL {
        let times = run.reports.iter().map(|report| of_layer(report, Some(layer)));
        let count: usize = times.clone().map(|times| times.len()).sum();
        let mut row = vec![layer.name(), count.to_string()];
        row.extend(times.map(|times| micros(sum(&times))));
        table.add_row(row);
    }
    let all: Vec<Vec<GpuTime>> = run.reports.iter().map(times_of).collect();
    let mut row = vec!["all".to_owned(), all.iter().map(Vec::len).sum::<usize>().to_string()];
    row.extend(all.iter().map(|times| micros(sum(times))));
    table.add_row(row);
    align_right(&mut table, 1);
    writeln!(out, "{table}\n")?;
    Ok(())
}

/// Packets by queue.
pub fn packets(pool: &Pool, run: &Run, out: &mut impl Write) -> Result<()> {
    let mut table = table();
    table.set_header(["queue", "packets", "kernels", "barrier-AND", "barrier bits"]);
    for (queue, counts) in pool.queues().iter().zip(&run.counts) {
        table.add_row([
            queue.label().to_owned(),
            (counts.kernels + counts.barriers).to_string(),
            counts.kernels.to_string(),
            counts.barriers.to_string(),
            counts.barrier_bits.to_string(),
        ]);
    }
    align_right(&mut table, 1);
    writeln!(out, "{table}")?;
    let hops: usize = run.reports.iter().map(|report| report.hops.len()).sum();
    let barriers: u64 = run.counts.iter().map(|counts| counts.barriers).sum();
    writeln!(
        out,
        "{hops} dependencies between queues, {barriers} barrier-AND packets: one for each that was not complete when its \
         successor was submitted."
    )?;
    Ok(())
}

/// Results.
pub fn verdict(verdict: &Verdict, run: &Run, out: &mut impl Write) -> Result<()> {
    let hops: usize = run.reports.iter().map(|report| report.hops.len()).sum();
    writeln!(out, "\nChecked:")?;
    writeln!(out, "  order          all {hops} dependencies held, by the GPU's own timestamps")?;
    writeln!(
        out,
        "  logits         equal the CPU's: worst |GPU - CPU| is {:.1e} of the image's largest |logit|; {TOLERANCE:.0e} allowed",
        verdict.worst_logit
    )?;
    writeln!(
        out,
        "  probabilities  equal the CPU's: worst |GPU - CPU| is {:.1e}; {TOLERANCE:.0e} allowed",
        verdict.worst_probability
    )?;
    writeln!(out, "  predictions    equal the CPU's for all {} images", verdict.all.images)?;
    writeln!(out, "  accuracy       {}", score(verdict.all, "all images"))?;
    if verdict.held_out.images > 0 {
        let what = format!("those after the first {TRAINED}, which the network was not trained on");
        writeln!(out, "                 {}", score(verdict.held_out, &what))?;
    }
    Ok(())
}

/// Times, and what simulating cost.
pub fn times(device: Device, run: &Run, total: Duration, out: &mut impl Write) -> Result<()> {
    writeln!(out, "\nTimes:")?;
    let kind = device.prefix();
    for (number, report) in (1..).zip(&run.reports) {
        let times = times_of(report);
        let (span, busy) = (micros(span(&times)), micros(check::busy(&times)));
        let batches = match report.batches {
            1 => "1 batch".to_owned(),
            n => format!("{n} batches"),
        };
        writeln!(
            out,
            "  worker {number}       {batches}, {} kernels within {span} of {kind}GPU time, executing for {busy} of it",
            times.len(),
        )?;
    }
    if let [one, other] = &run.reports[..] {
        let both = micros(check::overlap(&times_of(one), &times_of(other)));
        writeln!(out, "  side by side   both workers had a kernel executing for {both} of {kind}GPU time")?;
    }
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    writeln!(out, "  host           {} for the work, {} in all", seconds(run.wall), seconds(total))?;
    if let Some(simulation) = run.simulation {
        let instructions = match simulation.instructions {
            few @ 0..100_000 => few.to_string(),
            many => format!("{:.1} million", many as f64 / 1e6),
        };
        writeln!(
            out,
            "  simulation     {instructions} wave instructions interpreted; the GPU's clock stood still for {} meanwhile",
            seconds(simulation.stalled)
        )?;
        writeln!(
            out,
            "\nResults are real: the GPU's machine code was executed. Times are simulated: none was compared with hardware."
        )?;
    }
    Ok(())
}

fn of_layer(report: &Report, layer: Option<Layer>) -> Vec<GpuTime> {
    let wanted = report.kernels.iter().filter(|ran| layer.is_none_or(|layer| ran.layer == layer));
    wanted.map(|ran| ran.time).collect()
}

fn times_of(report: &Report) -> Vec<GpuTime> {
    of_layer(report, None)
}

/// Executing times, added up.
fn sum(times: &[GpuTime]) -> u64 {
    times.iter().map(|time| time.duration().as_nanos() as u64).sum()
}

/// From the first begin to the last end.
fn span(times: &[GpuTime]) -> u64 {
    let begin = times.iter().map(|time| time.start_ns).min().unwrap_or(0);
    times.iter().map(|time| time.end_ns).max().unwrap_or(0).saturating_sub(begin)
}

fn micros(nanoseconds: u64) -> String {
    format!("{:.1} us", nanoseconds as f64 / 1e3)
}

fn score(score: Score, of: &str) -> String {
    format!("{} of {} right, {:.1} %: {of}", score.correct, score.images, score.accuracy() * 100.0)
}
