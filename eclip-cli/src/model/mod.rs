//! `eclip model`: the model of a GPU's time and power. Every figure it gives is simulated.

mod device;
mod plots;
mod report;
mod run;

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use gpu_model::Device;

/// What to do with the model.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a scenario: rates, slow-downs against running alone, joules, watts
    Run(run::Options),
    /// Shows a device's constants and where each is from
    Device(device::Options),
    /// Writes a page that holds the model against measurements
    Report(report::Options),
}

/// Runs the command.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    match &options.command {
        Command::Run(options) => run::run(options, out),
        Command::Device(options) => device::run(options, out),
        Command::Report(options) => report::run(options, out),
    }
}

/// A shipped device by name, or a file.
fn load_device(name: &str) -> Result<Device> {
    if Device::shipped().any(|known| known == name) {
        return Ok(Device::named(name)?);
    }
    let shipped = Device::shipped().collect::<Vec<_>>().join(", ");
    let text = std::fs::read_to_string(name)
        .with_context(|| format!("device {name} is none of {shipped}, and cannot be read as a file"))?;
    Ok(Device::parse(name, &text)?)
}
