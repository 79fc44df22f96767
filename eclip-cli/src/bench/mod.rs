//! `eclip bench`: what the library costs, beside what others cost, in one run.
//!
//! `submit`: host time to hand a packet to the GPU.

mod contender;
mod hold;
mod ours;
mod peers;
mod report;
mod requests;
mod results;
mod samples;
mod submit;
mod work;

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What to measure.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Host time to submit a packet, beside a C loop for the HSA runtime and HIP, on the same device in the same run
    Submit(submit::Options),
}

/// Runs it and writes what was found.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    match &options.benchmark {
        Benchmark::Submit(options) => submit::run(options, out),
    }
}
