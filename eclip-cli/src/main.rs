//! The `eclip` command: `info`, `demo`, `bench`, `model`, `sim`.
//!
//! Exit codes: 0 all is well, 1 something failed, 2 wrong usage; `sim` ends as the program that it runs.

mod bench;
mod demo;
mod device;
mod failure;
mod info;
mod model;
mod sim;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// CU-masked queues on AMD GPUs.
///
/// Runs on the GPU behind /dev/kfd if there is one, else on a simulated AMD MI50. ECLIP_DEVICE=real or ECLIP_DEVICE=sim in the
/// environment decides otherwise.
#[derive(Parser)]
#[command(name = "eclip", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows what the library knows of this machine's GPUs
    Info,
    /// Recognises handwritten digits on eight queues, seven of them CU-masked, and checks everything
    Demo(demo::Options),
    /// Measures what the library costs, beside what others cost
    Bench(bench::Options),
    /// Computes what a GPU's time and power would be: scenarios, constants, comparison with measurements
    Model(model::Options),
    /// Runs any program on the simulated GPU
    Sim(sim::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = &mut io::stdout().lock();
    let result = match arguments.command {
        Command::Info => info::run(out),
        Command::Demo(options) => demo::run(&options, out),
        Command::Bench(options) => bench::run(&options, out),
        Command::Model(options) => model::run(&options, out),
        Command::Sim(options) => sim::run(&options),
    };
    match result.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough of it. Quiet, but no success: not everything was done.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to tell if standard error is closed too.
            let _ = writeln!(io::stderr(), "eclip: {}", failure::text(&error));
            ExitCode::FAILURE
        }
    }
}
