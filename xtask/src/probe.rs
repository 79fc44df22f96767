//! Looks for the things themselves: a library that loads, a header that is there, a tool that runs.
//!
//! Not for packages: ROCm under /opt/rocm, or a build of one's own, serves as well.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::packages::Need;
use crate::rocm;

/// Whether the machine has `need`.
pub fn present(need: Need) -> bool {
    match need {
        Need::Rocr => hsa_sys::Hsa::load().is_ok(),
        Need::HsaHeaders => header("hsa/hsa.h"),
        Need::HipHeaders => header("hip/hip_runtime_api.h"),
        Need::Clang => clang_has_amdgpu(),
        Need::Lld => runs("ld.lld"),
        Need::Llvm => runs("llvm-mc") && runs("llvm-objcopy"),
        Need::Libclang => libclang(),
        Need::Rocminfo => in_path("rocminfo"),
        Need::Hip => library("libamdhip64.so.5"),
        Need::Rocrand => library("librocrand.so.1"),
        Need::Valgrind => runs("valgrind"),
        Need::Clang14 => runs("clang-14"),
        Need::Clang19 => runs("clang-19"),
        Need::Lld19 => runs("ld.lld-19"),
        Need::HashcatKernels => Path::new("/usr/share/hashcat/OpenCL/inc_vendor.h").exists(),
    }
}

fn header(path: &str) -> bool {
    ["/usr/include", "/opt/rocm/include"].iter().any(|dir| Path::new(dir).join(path).exists())
}

/// A clang that can compile for the GPU: some distributions' cannot.
fn clang_has_amdgpu() -> bool {
    quiet("clang").arg("--print-targets").stdout(Stdio::piped()).output().is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("amdgcn")
    })
}

/// Whether `program --version` succeeds.
pub fn runs(program: &str) -> bool {
    quiet(program).arg("--version").status().is_ok_and(|status| status.success())
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    rocm::environment(&mut command);
    command
}

/// Whether a file of that name is in the search path for programs.
fn in_path(program: &str) -> bool {
    rocm::search_path().iter().any(|dir| dir.join(program).is_file())
}

/// Whether the dynamic loader knows the library, or ROCm has it. It is not opened: HIP starts work when it is.
fn library(name: &str) -> bool {
    let cached = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"].iter().any(|ldconfig| {
        Command::new(ldconfig).arg("-p").stdin(Stdio::null()).output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line.split_whitespace().next() == Some(name))
        })
    });
    let folders = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    cached
        || env::split_paths(&folders)
            .chain([PathBuf::from(rocm::ROOT).join("lib")])
            .any(|d| d.join(name).exists())
}

/// Whether bindgen will find a libclang: in `LIBCLANG_PATH`, the system's folders, LLVM's own or ROCm's.
fn libclang() -> bool {
    let wished = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    if let Some(path) = wished.filter(|p| !p.as_os_str().is_empty()) {
        return path.is_file() || has_libclang(&path);
    }
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let llvm = llvm
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"))
        .map(|entry| entry.path().join("lib"));
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/opt/rocm/llvm/lib"]
        .iter()
        .map(PathBuf::from)
        .chain(llvm)
        .any(|dir| has_libclang(&dir))
}

fn has_libclang(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|e| is_libclang(&e.file_name().to_string_lossy()))
}

/// `libclang.so`, `libclang.so.1`, `libclang-14.so.13` and such, but not `libclang-cpp.so.14`.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else { return false };
    let version_end = rest.find(".so").unwrap_or(rest.len());
    let version = &rest[..version_end];
    let tail = &rest[version_end..];
    let numbered = version.is_empty()
        || version.strip_prefix('-').is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.'));
    numbered && (tail == ".so" || tail.starts_with(".so."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_libclang() {
        for name in
            ["libclang.so", "libclang.so.1", "libclang-14.so.13", "libclang-18.so.18", "libclang-14.so"]
        {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang_rt.so", "libclangBasic.a", "libclang.a", "liblldb.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }
}
