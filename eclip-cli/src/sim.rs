//! `eclip sim -- PROGRAM`: any program on the simulated GPU.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use kfd_sim::launcher;

/// Arguments of `eclip sim`.
#[derive(clap::Args)]
pub struct Options {
    /// Whether missing fences show: coherent (the default), caches or strict
    #[arg(long, value_name = "MODEL")]
    memory: Option<String>,
    /// Version of the driver's interface, such as 1.14; by default what the program's runtime needs
    #[arg(long, value_name = "VERSION")]
    kfd_version: Option<String>,
    /// Append every event to this file, one JSON object a line; %p becomes the process id
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write a trace for Perfetto to this file at exit; %p becomes the process id
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Follow this fault plan (TOML)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Make calls of the driver fail, such as SET_CU_MASK=EINVAL:once
    #[arg(long, value_name = "LIST")]
    fail: Option<String>,
    /// Host threads that run the workgroups of a dispatch; by default one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Report dispatches that touch the same bytes without order between them
    #[arg(long)]
    races: bool,
    /// Write every call of the driver to standard error
    #[arg(long)]
    log: bool,
    /// The program and its arguments, after `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Becomes the program: its exit code, or the signal that ends it (128 + its number in a shell), is this command's.
/// Returns only if it cannot be started.
pub fn run(options: &Options) -> Result<()> {
    let (program, arguments) = options.command.split_first().expect("clap asks for one");
    let mut command = launcher::command(program)?;
    let flags = launcher::Flags {
        memory: options.memory.clone(),
        kfd_version: options.kfd_version.clone(),
        events: options.events.clone(),
        trace: options.trace.clone(),
        plan: options.plan.clone(),
        fail: options.fail.clone(),
        threads: options.threads,
        races: options.races,
        log: options.log,
    };
    let error = command.args(arguments).envs(flags.variables()?).exec();
    Err(anyhow!(error).context(format!("cannot run {}", program.display())))
}
