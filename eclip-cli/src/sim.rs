//! `eclip sim -- PROGRAM`: any program on the simulated GPU.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Result, anyhow};
use kfd_sim::launcher;

/// Arguments of `eclip sim`.
#[derive(clap::Args)]
pub struct Options {
    /// The program and its arguments, after `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Becomes the program: its exit code, or the signal that ends it (128 + its number in a shell), is this command's.
/// Returns only if it cannot be started.
pub fn run(options: &Options) -> Result<()> {
    let (program, arguments) = options.command.split_first().expect("clap asks for one");
    let mut command = launcher::command(program)?;
    let error = command.args(arguments).exec();
    Err(anyhow!(error).context(format!("cannot run {}", program.display())))
}
