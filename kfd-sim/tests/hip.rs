//! An unmodified HIP program (`tests/hip/program.c`) on the simulated machine: AMD's libamdhip64, copies both ways, a
//! stream on eight compute units, kernels launched from a module.
//!
//! Its code object is checked in, and rebuilt and compared where the pinned compiler is installed. It keeps its symbol
//! table: HIP 5.2 refuses a code object without a `.strtab` section.

use kfd_sim::launcher;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The compiler that built `tests/hip/kernels.co`.
const PINNED_COMPILER: &str = "Debian clang version 14.0.6";
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
    command.arg(repository().join("tests/hip/kernels.co"));
    command
}

#[test]
fn a_hip_program_runs_unmodified() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = program(folder.path()) else { return };
    let Some(output) = run(&mut launch(&program)) else { return };
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(NO_HIP) {
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(output.status.success(), "{:?}\n{text}\n{errors}", output.status);
    for line in ["1 device(s)", "probe: 256 workgroups on the compute units of mask 0xff", "all right"] {
        assert!(text.lines().any(|l| l == line), "{line:?} not in\n{text}");
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

#[test]
fn the_code_object_is_built_from_its_sources() {
    let Some(version) = run(Command::new("clang-14").arg("--version")) else { return };
    if !String::from_utf8_lossy(&version.stdout).starts_with(PINNED_COMPILER) {
        eprintln!("skipped: not {PINNED_COMPILER}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let objects = ["vector", "probe"].map(|name| {
        let object = folder.path().join(name).with_extension("o");
        let source = repository().join("kernels/cl").join(name).with_extension("cl");
        let mut clang = Command::new("clang-14");
        clang
            .args([
                "-x",
                "cl",
                "-cl-std=CL2.0",
                "-target",
                "amdgcn-amd-amdhsa",
                "-mcpu=gfx906",
                "-nogpulib",
                "-O2",
            ])
            .args(["-mcode-object-version=4", "-fno-ident", "-DGFX=9", "-c"])
            .arg(source)
            .arg("-o")
            .arg(&object);
        succeed(&mut clang).map(|_| object)
    });
    let built = folder.path().join("kernels.co");
    let mut linker = Command::new("ld.lld-14");
    linker
        .args(["-shared", "--no-undefined", "--build-id=none"])
        .args(objects.iter().flatten())
        .arg("-o")
        .arg(&built);
    if succeed(&mut linker).is_none() {
        return;
    }
    let checked_in = repository().join("tests/hip/kernels.co");
    let built = std::fs::read(built).unwrap();
    if std::env::var_os("ECLIP_REBUILD").is_some() {
        std::fs::write(&checked_in, &built).unwrap();
    }
    assert!(
        built == std::fs::read(checked_in).unwrap(),
        "tests/hip/kernels.co is not what kernels/cl/vector.cl and probe.cl give; set ECLIP_REBUILD=1 to rebuild it"
    );
}
