//! ROCm under /opt/rocm: its tools are found after the distribution's, and on a machine with a real GPU its runtime
//! is the one used.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where AMD's own packages install.
pub const ROOT: &str = "/opt/rocm";

/// Folders of ROCm's programs.
const PROGRAMS: [&str; 2] = ["/opt/rocm/bin", "/opt/rocm/llvm/bin"];

/// The folders that programs are looked for in: `PATH`, then ROCm's.
pub fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(PROGRAMS.map(PathBuf::from).into_iter().filter(|dir| dir.is_dir()));
    folders
}

/// The runtime that the commands choose: ROCm's on a machine with a real `/dev/kfd`, if no other is asked for.
pub fn runtime() -> Option<PathBuf> {
    let wished = env::var_os(hsa_sys::LIBRARY_VARIABLE).is_some_and(|v| !v.is_empty());
    let library = Path::new(ROOT).join("lib/libhsa-runtime64.so.1");
    (!wished && Path::new("/dev/kfd").exists() && library.exists()).then_some(library)
}

/// Lets a child find ROCm's programs and runtime.
pub fn environment(command: &mut Command) {
    if let Ok(path) = env::join_paths(search_path()) {
        command.env("PATH", path);
    }
    if let Some(library) = runtime() {
        command.env(hsa_sys::LIBRARY_VARIABLE, library);
    }
}
