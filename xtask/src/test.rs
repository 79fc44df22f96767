//! `cargo xtask test`: every check of the repository, all of them run even if one fails, and one summary.

use std::process::ExitCode;

use crate::bindings::{self, Comparison};
use crate::command::{self, cargo};
use crate::counts::{Counts, Runner, Tally};
use crate::kernels;
use crate::steps::{Outcome, Steps};

/// Left out by `--quick`: it builds bindgen.
const SLOW_PACKAGE: &str = "hsa-sys-gen";

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Without docs, doc tests, model checking, the fuzz targets and the comparison of generated files.
    Quick,
    /// Everything, in its usual form.
    Usual,
    /// Everything, and tests with a long form in that.
    Full,
}

/// Runs the checks.
pub fn run(extent: Extent) -> ExitCode {
    let quick = extent == Extent::Quick;
    let packages: &[&str] =
        if quick { &["--workspace", "--exclude", SLOW_PACKAGE] } else { &["--workspace"] };
    let unless_quick =
        |step: fn() -> Outcome| if quick { Outcome::Skipped("--quick".to_owned()) } else { step() };
    let mut steps = Steps::default();
    steps.run("rustfmt", || check(&["fmt", "--all", "--", "--check"], &[]));
    steps.run("clippy", || {
        check(&[&["clippy"], packages, &["--all-targets", "--", "-D", "warnings"]].concat(), &[])
    });
    // Tests run the programs, examples and the preloaded library, which a test build alone does not put in place.
    steps.run("build", || check(&[&["build"], packages, &["--lib", "--bins", "--examples"]].concat(), &[]));
    steps.run("tests", || tests(packages, extent));
    steps.run("loom", || unless_quick(loom));
    steps.run("doc tests", || unless_quick(doc_tests));
    steps.run("rustdoc", || {
        unless_quick(|| check(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]))
    });
    steps.run("bindings", || unless_quick(compare_bindings));
    steps.run("fuzz targets", || unless_quick(fuzz_targets));
    steps.run("code objects", || unless_quick(compare_kernels));
    println!("\n{}", steps.summary());
    if steps.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A cargo command that passes or fails as a whole.
fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let outcome = command::run(cargo().args(arguments).envs(environment.iter().copied()), worth_showing);
    match outcome {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(Counts::default(), format!("cargo {}: {status}", arguments[0])),
        Err(why) => Outcome::Failed(Counts::default(), why),
    }
}

/// Unit and integration tests, with nextest where it is installed.
fn tests(packages: &[&str], extent: Extent) -> Outcome {
    // The set-up has put in place what tests need: one that would be skipped for want of it has failed.
    let mut environment = vec![("KFD_SIM_NO_SKIP", "1")];
    if extent == Extent::Full {
        environment.extend([("KFD_SIM_FULL", "1"), ("ECLIP_FULL", "1"), ("ECLIP_FUZZ_ROUNDS", "20000")]);
    }
    let nextest = cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    if nextest {
        let options =
            ["--no-fail-fast", "--no-tests=pass", "--status-level=slow", "--final-status-level=fail"];
        count(Runner::Nextest, &[&["nextest", "run"], packages, &options].concat(), &environment)
    } else {
        println!("cargo-nextest is not installed: using cargo test");
        // Doc tests are a step of their own.
        count(
            Runner::Libtest,
            &[&["test"], packages, &["--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]].concat(),
            &environment,
        )
    }
}

fn doc_tests() -> Outcome {
    count(Runner::Libtest, &["test", "--workspace", "--doc", "--no-fail-fast"], &[])
}

/// Model-checks eclip-hsa's lock-free parts. Built with other flags, hence into a folder of its own.
fn loom() -> Outcome {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let folder = format!("{target}/loom");
    let flags = format!("{} --cfg loom", std::env::var("RUSTFLAGS").unwrap_or_default());
    let arguments = ["test", "-p", "eclip-hsa", "--lib", "--release", "--target-dir", &folder, "loom_tests"];
    count(Runner::Libtest, &arguments, &[("RUSTFLAGS", flags.trim())])
}

/// Builds the fuzz targets, with stable Rust. What they do is tested with the other tests.
fn fuzz_targets() -> Outcome {
    if !cargo().args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped("cargo-fuzz is not installed: cargo install cargo-fuzz".to_owned());
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let folder = command::root().join(target).join("fuzz");
    let folder = folder.to_string_lossy();
    check(&["fuzz", "build", "--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir", &folder], &[])
}

/// A test runner: its own summary lines are added up.
fn count(runner: Runner, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut tally = Tally::new(runner);
    let outcome = command::run(cargo().args(arguments).envs(environment.iter().copied()), |line| {
        tally.line(line);
        worth_showing(line)
    });
    let counts = tally.counts();
    match outcome {
        Err(why) => Outcome::Failed(counts, why),
        Ok(status) if !status.success() => {
            Outcome::Failed(counts, format!("cargo {}: {status}", arguments[0]))
        }
        Ok(_) if !tally.seen() => Outcome::Failed(counts, "the test runner printed no summary".to_owned()),
        Ok(_) if counts.failed > 0 => Outcome::Failed(counts, "the runner counts failures".to_owned()),
        Ok(_) => Outcome::Tests(counts),
    }
}

fn compare_bindings() -> Outcome {
    match bindings::compare() {
        Ok(Comparison::Same) => Outcome::Passed,
        Ok(Comparison::Skipped(why)) => Outcome::Skipped(why),
        Err(why) => Outcome::Failed(Counts::default(), why),
    }
}

fn compare_kernels() -> Outcome {
    match kernels::check() {
        Ok(kernels::Check::Same(files)) => {
            println!("{files} code objects are what their sources give");
            Outcome::Passed
        }
        Ok(kernels::Check::Skipped(why)) => Outcome::Skipped(why),
        Err(why) => {
            println!("{why}");
            Outcome::Failed(Counts::default(), "code objects differ from their sources".to_owned())
        }
    }
}

/// Leaves out what says only that all is well: one line for each passed test, each crate compiled before, each test
/// binary with nothing in it.
fn worth_showing(line: &str) -> bool {
    let text = line.trim();
    let passed = text.starts_with("test ") && text.ends_with("... ok");
    let empty = text.is_empty()
        || text == "running 0 tests"
        || text.starts_with("test result: ok. 0 passed; 0 failed");
    let fresh = text.starts_with("Fresh ") || text.starts_with("Downloaded ");
    !(passed || empty || fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_progress_are_shown() {
        for line in [
            "test a::b ... FAILED",
            "   Compiling libc v0.2.191",
            "thread 'a' panicked at src/lib.rs:1:1:",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
        ] {
            assert!(worth_showing(line), "{line}");
        }
        for line in
            ["test a::b ... ok", "", "running 0 tests", "test result: ok. 0 passed; 0 failed; 0 ignored"]
        {
            assert!(!worth_showing(line), "{line}");
        }
    }
}
