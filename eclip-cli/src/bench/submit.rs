//! `eclip bench submit`: what it costs the host to hand packets to the GPU.
//!
//! Every contender submits the same kernel into a ring with room; what is timed is said at each contender's `submit`. Peers
//! and variants take turns in one run, see [`super::contender`].

use std::io::Write;
use std::rc::Rc;

use anyhow::Result;
use clap::Args;
use eclip_hsa::{Agent, CuMask};

use super::contender::{Contender, measure};
use super::hold::Hold;
use super::ours;
use super::peers::{C, HipLaunch, HipSwitch, HipWork};
use super::report::{self, Place};
use super::results::{Measured, Results, name};
use super::work::Saxpy;
use crate::device::Device;

/// Packets of one submission, or of one row of submissions.
pub const PACKETS: u32 = 1024;
/// Packets of a ring: it has room for two rows, which may be two packets for each kernel.
pub const RING: u32 = 4 * PACKETS;
/// Switches a round of HIP's, which are slow.
const HIP_SWITCHES: u32 = 64;

/// How to run it.
#[derive(Args)]
pub struct Options {
    /// One JSON object a line instead of a table: each variant for each peer (`ratio_to`: c or hip). The scheduler's ratio over plain
    /// submission is that of the values of `scheduler` and `plain`
    #[arg(long)]
    json: bool,
    /// Few rounds: shows that everything works, not what it costs
    #[arg(long)]
    quick: bool,
    /// How many rounds are measured
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
    /// Measures only these, for profiling: names as the table has them, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
}

/// Measures and writes.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let device = Device::choose()?;
    let gpu = device.open()?;
    let place = Place { device: device.name(&gpu), simulated: device.is_simulated() };
    let mut hold = Hold::new(device.is_simulated())?;
    let (warm_up, rounds) = if options.quick { (1, 3) } else { (10, 100) };
    let rounds = options.rounds.unwrap_or(rounds);
    let results = submit(&gpu, &mut hold, &options.only, warm_up, rounds)?;
    if options.json {
        for (name, why) in &results.missing {
            writeln!(std::io::stderr(), "eclip: not measured: {name}: {why}")?;
        }
        report::json(&place, &results, out)
    } else {
        report::text(&place, &results, hold.is_possible(), out)
    }
}

/// Measures every contender that there is on this machine, or `only` those named.
pub fn submit(gpu: &Agent, hold: &mut Hold, only: &[String], warm_up: u32, rounds: u32) -> Result<Results> {
    let work = Rc::new(Saxpy::new(gpu)?);
    let topology = gpu.topology()?;
    let (all, half) = (topology.shader_engines(), topology.shader_engines() as usize / 2);
    let engines: Vec<u32> = (0..all).collect();
    let masks = [
        CuMask::shader_engines(topology, &engines[..half.max(1)])?,
        CuMask::shader_engines(topology, &engines[half..])?,
    ];
    let mut missing = Vec::new();
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(C::new(name::C, gpu, &work, PACKETS, false)?),
        Box::new(C::new(name::C_SIGNALS, gpu, &work, PACKETS, true)?),
    ];
    match HipWork::new(&work) {
        Ok(hip) => {
            contenders.push(Box::new(HipLaunch::new(&hip, PACKETS)?));
            contenders.push(Box::new(HipSwitch::new(&hip, &masks, HIP_SWITCHES)?));
        }
        Err(why) => missing.extend([name::HIP, name::HIP_SWITCH].map(|name| (name, why.to_string()))),
    }
    contenders.extend(ours::all(gpu, &work, &masks)?);
    if !only.is_empty() {
        contenders.retain(|contender| only.iter().any(|name| name == contender.name()));
    }
    let samples = measure(&mut contenders, hold, warm_up, rounds)?;
    let measured = contenders.iter().zip(samples);
    let measured = measured.map(|(contender, samples)| Measured { name: contender.name(), samples });
    Ok(Results { measured: measured.collect(), missing })
}
