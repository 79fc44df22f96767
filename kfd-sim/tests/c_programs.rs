//! Other people's way of using the device: programs in C against AMD's headers alone, HSA ones and HIP ones, each
//! compiled here, run on the simulated GPU by the launcher, and a test of its own.
//!
//! A program is `tests/programs/<kind>/<name>.c`. Its first argument is the code object of `<kind>/kernels.cl`, its second that
//! of `<name>.cl`, if there is one. It exits with 0 if all that it checks holds. `KFD_SIM_PROGRAMS` may name a folder: what is
//! built stays there, to be run by hand. `KFD_SIM_RUNTIME` may name a folder with another distribution's `usr/lib`, whose ROCr,
//! HIP and C library are used then (`cargo xtask runtimes`).

use kfd_sim::launcher;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A program that takes longer is killed: it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a program returns if a library that it loads itself is not installed.
const NOT_INSTALLED: i32 = 77;

/// What a program needs, besides a C compiler, and where that is.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// A header that says whether the headers are installed.
    header: &'static str,
    flags: &'static [&'static str],
    library: &'static str,
}

const HSA: Kind =
    Kind { name: "hsa", header: "/usr/include/hsa/hsa.h", flags: &[], library: "libhsa-runtime64.so.1" };
const HIP: Kind = Kind {
    name: "hip",
    header: "/usr/include/hip/hip_runtime_api.h",
    flags: &["-D__HIP_PLATFORM_AMD__", "-Wno-strict-prototypes", "-Wno-unused-result"],
    library: "libamdhip64.so.5",
};

/// The memory models that a program must run under.
const ALL: &[&str] = &["coherent", "caches", "strict"];
/// HIP 5.2 launches kernels with acquires of agent scope after an upload by the DMA engine and leaves it to them that
/// the compute units see it. Strict memory asks for a system-scope acquire there.
const NOT_STRICT: &[&str] = &["coherent", "caches"];

macro_rules! programs {
    ($($kind:ident $name:ident, $models:expr;)*) => {
        $(#[test]
        fn $name() {
            program($kind, stringify!($name), $models);
        })*

        /// Every program of this list, with the kind that its name begins with.
        const LIST: &[(&str, &str)] = &[$(($kind.name, stringify!($name)),)*];
    };
}

programs! {
    HIP hip_assertion, NOT_STRICT;
    HIP hip_callbacks, NOT_STRICT;
    HIP hip_compiled, NOT_STRICT;
    HIP hip_compute, NOT_STRICT;
    HIP hip_copies, NOT_STRICT;
    HIP hip_cu_masks, NOT_STRICT;
    HIP hip_events, NOT_STRICT;
    HIP hip_graphs, NOT_STRICT;
    HIP hip_memory, NOT_STRICT;
    HIP hip_properties, &["coherent"];
    HIP hip_rocrand, &["caches"];
    HIP hip_streams, NOT_STRICT;
    HIP hip_threads, NOT_STRICT;
    HSA hsa_async_copy, ALL;
    HSA hsa_barriers, ALL;
    HSA hsa_cu_masks, ALL;
    HSA hsa_executable, ALL;
    HSA hsa_info, &["coherent"];
    HSA hsa_lifetime, ALL;
    HSA hsa_memory_fault, ALL;
    HSA hsa_memory_pools, ALL;
    HSA hsa_profiling, ALL;
    HSA hsa_queue_errors, ALL;
    HSA hsa_refused, ALL;
    HSA hsa_signals, ALL;
    HSA hsa_soft_queue, ALL;
    HSA hsa_threads, ALL;
    HSA hsa_vector_copy, ALL;
}

#[test]
fn every_program_of_the_folders_is_in_the_list() {
    for kind in [HSA, HIP] {
        for entry in fs::read_dir(sources().join(kind.name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "c") {
                let name = format!("{}_{}", kind.name, path.file_stem().unwrap().to_str().unwrap());
                assert!(LIST.contains(&(kind.name, name.as_str())), "{name} is not run");
            }
        }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs")
}

/// The libraries of another distribution, if the programs are to use them.
fn other_libraries() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("KFD_SIM_RUNTIME")?).join("usr/lib/x86_64-linux-gnu"))
}

/// What the linker is told so that a program loads with them.
fn link_with(libraries: &Path) -> Vec<String> {
    let folder = libraries.display();
    vec![
        format!("-Wl,-dynamic-linker,{folder}/ld-linux-x86-64.so.2"),
        format!("-Wl,--disable-new-dtags,-rpath,{folder}"),
        format!("-L{folder}"),
        "-Wl,--allow-shlib-undefined".into(),
    ]
}

/// The first of these commands that there is.
fn tool(names: &[&str]) -> Option<String> {
    let found = names
        .iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    if found.is_none() {
        eprintln!("skipped: none of {names:?} is installed");
    }
    found.map(ToString::to_string)
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn code_object(clang: &str, lld: &str, source: &Path, target: &Path) {
    let object = target.with_extension("o");
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/cl");
    succeed(
        Command::new(clang)
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
            .args(["-mcode-object-version=4", "-DGFX=9", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(kernels)
            .args([Path::new("-c"), source, Path::new("-o"), &object]),
    );
    succeed(Command::new(lld).arg("-shared").arg(&object).arg("-o").arg(target));
}

/// Builds and runs the program called `<kind>_<file>`, once under each of the memory models.
fn program(kind: Kind, name: &str, models: &[&str]) {
    let name = name.strip_prefix(kind.name).and_then(|n| n.strip_prefix('_')).expect("named after its kind");
    if !Path::new(kind.header).exists() {
        eprintln!("skipped: {} is not installed", kind.header);
        return;
    }
    let other = other_libraries();
    if let Some(other) = other.as_ref().filter(|other| !other.join(kind.library).exists()) {
        eprintln!("skipped: no {} in {}", kind.library, other.display());
        return;
    }
    let (Some(clang), Some(lld)) = (tool(&["clang-14", "clang"]), tool(&["ld.lld-14", "ld.lld"])) else {
        return;
    };
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("KFD_SIM_PROGRAMS").map_or(temporary.path().to_owned(), PathBuf::from);
    let (sources, program) = (sources().join(kind.name), folder.join(name));
    succeed(
        Command::new(&clang)
            .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"])
            .args(kind.flags)
            .arg(sources.join(name).with_extension("c"))
            .arg("-o")
            .arg(&program)
            .args([&format!("-l:{}", kind.library), "-lpthread", "-ldl", "-lm"])
            .args(other.as_deref().map(link_with).unwrap_or_default()),
    );
    let mut objects = Vec::new();
    for source in ["kernels", name] {
        let (source, target) =
            (sources.join(source).with_extension("cl"), folder.join(format!("{name}.{source}.co")));
        if source.exists() {
            code_object(&clang, &lld, &source, &target);
            objects.push(target);
        }
    }
    for model in models {
        run(&program, &objects, model, &folder);
    }
}

fn run(program: &Path, objects: &[PathBuf], model: &str, folder: &Path) {
    let output = folder.join(program.file_name().unwrap()).with_extension(format!("{model}.txt"));
    let file = File::create(&output).unwrap();
    let mut command = launcher::command(program).expect("the cdylib is built with the tests");
    if let Some(libraries) = other_libraries() {
        // For the libraries' own libraries: some have a RUNPATH, and then the program's path does not hold for them.
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.args(objects).env("KFD_SIM_MEMORY", model).stdout(file.try_clone().unwrap()).stderr(file);
    let status = finished(&mut command);
    let text = fs::read_to_string(&output).unwrap();
    let Some(status) = status else { panic!("{model}: killed after {PATIENCE:?}\n{text}") };
    if status.code() == Some(NOT_INSTALLED) {
        eprintln!("skipped: {text}");
        return;
    }
    assert!(status.success(), "{model}: {status}\n{text}");
    // The last line counts the checks: a program that ended early has none.
    let checks = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("all right: ")?.strip_suffix(" checks")?.parse().ok());
    assert!(checks.is_some_and(|checks: u64| checks > 0), "{model}\n{text}");
}

/// Waits for the command's end; `None` if it had to be killed.
fn finished(command: &mut Command) -> Option<ExitStatus> {
    let mut child = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    None
}
