//! Builds the code objects of `kernels/bin` from the OpenCL C sources of `kernels/cl`, and checks that those
//! checked in are what the sources give.
//!
//! The result depends on the compiler alone: no path, time or debug information gets in, so with the pinned
//! compiler a rebuild is equal byte for byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// First line of `clang --version` of the compiler that built what is checked in (Debian 12's).
pub const PINNED_COMPILER: &str = "Debian clang version 14.0.6";

/// GPUs to build for, with their generation (the macro `GFX` of the sources).
///
/// Target ids without `:xnack` and `:sramecc` run with either setting. Left out: gfx8 and older (another hardware
/// id register, and the runtime no longer supports them); gfx902, 904, 909, 1011, 1013, 1033 (rare; one line each
/// if needed); gfx940, gfx1036, gfx11 and newer, which clang 14 does not know.
pub const ISAS: &[(&str, u32)] = &[
    ("gfx900", 9),
    ("gfx906", 9),
    ("gfx908", 9),
    ("gfx90a", 9),
    ("gfx90c", 9),
    ("gfx1010", 10),
    ("gfx1012", 10),
    ("gfx1030", 10),
    ("gfx1031", 10),
    ("gfx1032", 10),
    ("gfx1034", 10),
    ("gfx1035", 10),
];

/// What a check found when it found no difference.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// This many code objects were rebuilt and equal those checked in.
    Same(usize),
    /// Nothing was compared; the text says why.
    Skipped(String),
}

/// Compiler, linker and strip tool.
struct Tools {
    clang: String,
    version: String,
    lld: String,
    objcopy: String,
}

impl Tools {
    /// The pinned compiler if it is installed, else any clang.
    fn find() -> Result<Tools, String> {
        let compilers: Vec<(String, String)> =
            ["clang-14", "clang"].iter().filter_map(|c| Some((c.to_string(), first_line(c)?))).collect();
        let (clang, version) = compilers
            .iter()
            .find(|(_, version)| version == PINNED_COMPILER)
            .or(compilers.first())
            .cloned()
            .ok_or("no clang found (tried clang-14, clang): install the packages clang, lld and llvm")?;
        let tool = |names: [&str; 2], package: &str| {
            names
                .iter()
                .find(|n| first_line(n).is_some())
                .map(|n| n.to_string())
                .ok_or_else(|| format!("none of {names:?} found: install the package {package}"))
        };
        Ok(Tools {
            clang,
            version,
            lld: tool(["ld.lld-14", "ld.lld"], "lld")?,
            objcopy: tool(["llvm-objcopy-14", "llvm-objcopy"], "llvm")?,
        })
    }
}

/// First line of `program --version`, `None` if it does not run.
fn first_line(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// The repository's `kernels` folder.
fn kernels_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")
}

/// Names of the sources, without `.cl`, sorted.
fn sources(folder: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.extension().is_some_and(|e| e == "cl") {
            names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    names.sort();
    if names.is_empty() {
        return Err(format!("{}: no .cl files", folder.display()));
    }
    Ok(names)
}

/// Runs a command; an error carries the command and what it printed.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Builds one code object.
fn compile(tools: &Tools, source: &Path, isa: &str, generation: u32, target: &Path) -> Result<(), String> {
    let object = target.with_extension("o");
    let mut clang = Command::new(&tools.clang);
    clang
        .args(["-x", "cl", "-cl-std=CL2.0", "-target", "amdgcn-amd-amdhsa", "-nogpulib", "-O2"])
        .args(["-mcode-object-version=4", "-cl-kernel-arg-info", "-fno-ident", "-Wall", "-Wextra", "-Werror"])
        .arg(format!("-mcpu={isa}"))
        .arg(format!("-DGFX={generation}"));
    if generation >= 10 {
        // A workgroup stays on one CU instead of spreading over the two of a WGP.
        clang.arg("-mcumode");
    }
    run(clang.arg("-c").arg(source).arg("-o").arg(&object))?;
    // .symtab stays: ROCr (5.2 at least) finds kernels there, not in .dynsym.
    run(Command::new(&tools.lld)
        .args(["-shared", "--no-undefined", "--build-id=none", "--strip-debug", "--discard-all"])
        .arg(&object)
        .arg("-o")
        .arg(target))?;
    run(Command::new(&tools.objcopy).args(["--remove-section", ".comment"]).arg(target))?;
    fs::remove_file(&object).map_err(|e| format!("{}: {e}", object.display()))
}

/// Builds every code object as `out/<isa>/<name>.co` and returns their paths relative to `out`, sorted.
///
/// Any clang that knows the targets will do; see [`check`] for the pinned one.
///
/// # Errors
/// A missing tool, a source that does not compile, a folder that cannot be written.
pub fn build(out: &Path) -> Result<Vec<PathBuf>, String> {
    build_with(&Tools::find()?, out)
}

fn build_with(tools: &Tools, out: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = kernels_folder().join("cl");
    let mut built = Vec::new();
    for (isa, generation) in ISAS {
        let to = out.join(isa);
        fs::create_dir_all(&to).map_err(|e| format!("{}: {e}", to.display()))?;
        for name in sources(&folder)? {
            let file = format!("{name}.co");
            compile(tools, &folder.join(format!("{name}.cl")), isa, *generation, &to.join(&file))?;
            built.push(Path::new(isa).join(file));
        }
    }
    built.sort();
    Ok(built)
}

/// Builds the code objects that are checked in, in place.
///
/// # Errors
/// As [`build`].
pub fn rebuild() -> Result<Vec<PathBuf>, String> {
    build(&kernels_folder().join("bin"))
}

/// Rebuilds into a temporary folder and compares with what is checked in.
///
/// Only the pinned compiler can tell: with another one the answer is [`Check::Skipped`].
///
/// # Errors
/// A missing tool, a source that does not compile, or a list of the files that differ, are missing or have no
/// source.
pub fn check() -> Result<Check, String> {
    let tools = Tools::find()?;
    if tools.version != PINNED_COMPILER {
        return Ok(Check::Skipped(format!(
            "code objects not compared: they were built with \"{PINNED_COMPILER}\", here is \"{}\"",
            tools.version
        )));
    }
    let out = std::env::temp_dir().join(format!("eclip-kernels-{}", std::process::id()));
    let built = build_with(&tools, &out);
    let outcome = built.and_then(|built| compare(&built, &out, &kernels_folder().join("bin")));
    // A left-over temporary folder is harmless; the comparison's outcome matters more.
    let _ = fs::remove_dir_all(&out);
    outcome
}

/// Compares `built` files under `out` with all files under `checked_in`.
fn compare(built: &[PathBuf], out: &Path, checked_in: &Path) -> Result<Check, String> {
    let mut wrong = Vec::new();
    for file in built {
        let fresh = fs::read(out.join(file)).map_err(|e| format!("{}: {e}", file.display()))?;
        match fs::read(checked_in.join(file)) {
            Ok(old) if old == fresh => {}
            Ok(_) => wrong.push(format!("{}: differs from its source", file.display())),
            Err(e) => wrong.push(format!("{}: {e}", file.display())),
        }
    }
    for folder in fs::read_dir(checked_in).map_err(|e| format!("{}: {e}", checked_in.display()))?.flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let relative = Path::new(&folder.file_name()).join(file.file_name());
            if !built.contains(&relative) {
                wrong.push(format!("{}: has no source", relative.display()));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(Check::Same(built.len()));
    }
    Err(format!("{}\nrebuild with `cargo xtask kernels`", wrong.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() {
        let root = std::env::temp_dir().join(format!("eclip-kernels-test-{}", std::process::id()));
        let (fresh, old) = (root.join("fresh"), root.join("old"));
        let built: Vec<PathBuf> = ["a.co", "b.co"].iter().map(|f| Path::new("gfx906").join(f)).collect();
        for folder in [&fresh, &old] {
            fs::create_dir_all(folder.join("gfx906")).unwrap();
            for file in &built {
                fs::write(folder.join(file), b"code").unwrap();
            }
        }
        assert_eq!(compare(&built, &fresh, &old), Ok(Check::Same(2)));
        fs::write(old.join("gfx906/a.co"), b"Code").unwrap();
        fs::remove_file(old.join("gfx906/b.co")).unwrap();
        fs::write(old.join("gfx906/c.co"), b"code").unwrap();
        let wrong = compare(&built, &fresh, &old).unwrap_err();
        fs::remove_dir_all(&root).unwrap();
        for expected in ["a.co: differs from its source", "b.co: ", "c.co: has no source"] {
            assert!(wrong.contains(expected), "{expected:?} in {wrong}");
        }
    }

    #[test]
    fn every_source_is_found() {
        let names = sources(&kernels_folder().join("cl")).unwrap();
        assert_eq!(names, ["fault", "misc", "mlp", "probe", "scratch", "stress", "vector"]);
    }
}
