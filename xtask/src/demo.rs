//! `cargo xtask demo`: builds the `eclip` command and runs its demo.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use crate::command::cargo;

/// Builds, then runs `eclip demo` with `arguments`; its exit code is the demo's.
///
/// The dev profile: it compiles several times faster than release, and the one hot part, the simulator's interpreter,
/// is optimised in it too.
///
/// # Errors
/// cargo could not be started, or the build failed (cargo printed why).
pub fn run(arguments: &[OsString]) -> Result<ExitCode, String> {
    // kfd-sim is named so that its library for LD_PRELOAD is put beside the program.
    let build = cargo()
        .args(["build", "--package", "eclip-cli", "--package", "kfd-sim"])
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !build.success() {
        return Err(format!("the build failed: {build}"));
    }
    let demo = cargo()
        .args(["run", "--quiet", "--package", "eclip-cli", "--bin", "eclip", "--", "demo"])
        .args(arguments)
        .stdin(Stdio::inherit())
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    // A demo that a signal ended has no code of its own.
    let code = demo.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    if demo.code().is_none() {
        eprintln!("xtask: the demo ended with {demo}");
    }
    Ok(ExitCode::from(code))
}
