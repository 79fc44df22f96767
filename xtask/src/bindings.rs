//! `cargo xtask bindgen`: runs the generator of hsa-sys, which is a program of its own because bindgen takes long to
//! compile.

use std::process::ExitCode;

use crate::command::{self, cargo};

/// The generator's exit code for "not compared".
const SKIPPED: i32 = 3;

/// How the line starts in which it then says why.
const SKIPPED_LINE: &str = "skipped: ";

/// What a comparison found when it found no difference.
pub enum Comparison {
    /// The checked-in bindings are what the headers give.
    Same,
    /// Nothing was compared; why.
    Skipped(String),
}

/// Regenerates the bindings, or compares them.
///
/// # Errors
/// The generator's message was printed; this says that it failed.
pub fn run(check: bool) -> Result<ExitCode, String> {
    if check {
        if let Comparison::Skipped(why) = compare()? {
            println!("skipped: {why}");
        }
    } else {
        generator(&[]).and_then(|(code, _)| if code == 0 { Ok(()) } else { Err(failed(code)) })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the checked-in bindings with the installed headers.
///
/// # Errors
/// They differ, or the generator failed; its message was printed.
pub fn compare() -> Result<Comparison, String> {
    match generator(&["--check"])? {
        (0, _) => Ok(Comparison::Same),
        (SKIPPED, last) => Ok(Comparison::Skipped(last.trim_start_matches(SKIPPED_LINE).to_owned())),
        (code, _) => Err(failed(code)),
    }
}

fn failed(code: i32) -> String {
    format!("hsa-sys-gen failed (exit code {code})")
}

/// Runs the generator; returns its exit code and last line.
fn generator(arguments: &[&str]) -> Result<(i32, String), String> {
    let mut last = String::new();
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "hsa-sys-gen", "--"]).args(arguments);
    let status = command::run(&mut command, |line| {
        last = line.to_owned();
        // The caller says it, in its own place.
        !line.starts_with(SKIPPED_LINE)
    })?;
    let code = status.code().ok_or_else(|| format!("hsa-sys-gen: {status}"))?;
    Ok((code, last))
}
