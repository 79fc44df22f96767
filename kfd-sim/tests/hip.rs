//! An unmodified HIP program (`tests/hip/program.c`) on the simulated machine: AMD's libamdhip64, copies both ways, a
//! stream on eight compute units, kernels launched from a module.
//!
//! The modules are those of `kernels/bin`, which keep their symbol tables: HIP 5.2 refuses a code object without a
//! `.strtab` section.

use kfd_sim::launcher;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the program returns when libamdhip64 is not installed.
const NO_HIP: i32 = 77;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").into()
}

/// Runs a command; `None`, with the reason printed, if its program is not installed.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(why) => {
            eprintln!("skipped: {:?}: {why}", command.get_program());
            None
        }
    }
}

fn succeed(command: &mut Command) -> Option<Output> {
    let output = run(command)?;
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

/// Builds the program; `None` if there is no C compiler.
fn program(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("program");
    let compiler =
        ["cc", "clang", "clang-14"].into_iter().find(|c| Command::new(c).arg("--version").output().is_ok());
    let Some(compiler) = compiler else {
        eprintln!("skipped: no C compiler (cc, clang)");
        return None;
    };
    let source = repository().join("tests/hip/program.c");
    succeed(
        Command::new(compiler).args(["-Wall", "-Wextra", "-O1", "-o"]).arg(&program).arg(source).arg("-ldl"),
    )?;
    Some(program)
}

fn launch(program: &Path) -> Command {
    let mut command = launcher::command(program).expect("the cdylib is built with the tests");
    command.args(["vector.co", "probe.co"].map(|file| repository().join("kernels/bin/gfx906").join(file)));
    command
}

#[test]
fn a_hip_program_runs_unmodified() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = program(folder.path()) else { return };
    // HIP leaves out acquires that only the strict model asks for.
    for model in ["coherent", "caches"] {
        let Some(output) = run(launch(&program).env("KFD_SIM_MEMORY", model)) else { return };
        check(&output, model);
    }
}

fn check(output: &Output, model: &str) {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(NO_HIP) {
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(output.status.success(), "{model}: {:?}\n{text}\n{errors}", output.status);
    for line in ["1 device(s)", "probe: 256 workgroups on the compute units of mask 0xff", "all right"] {
        assert!(text.lines().any(|l| l == line), "{model}: {line:?} not in\n{text}");
    }
}

#[test]
fn a_refused_mask_is_told_to_a_program_that_is_only_preloaded() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = program(folder.path()) else { return };
    let mut command = launch(&program);
    command.env("KFD_SIM_FAIL", "SET_CU_MASK=EINVAL:always").env("KFD_SIM_LOG", "1");
    let Some(output) = run(&mut command) else { return };
    if output.status.code() == Some(NO_HIP) {
        return;
    }
    assert!(!output.status.success(), "the program must notice that its mask is not in force");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("SET_CU_MASK (16 bytes): errno 22"), "{log}");
}
