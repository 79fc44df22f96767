//! Runs any program on the simulated machine: `eclip sim -- PROGRAM`.
//!
//! The program is started with the simulator's shared library preloaded and `ECLIP_DEVICE=sim`; its children inherit
//! both. A program that is statically linked or set-user-id cannot preload and would see the real machine: it is refused.

use crate::kernel::record::Failure;
use crate::plan::FaultPlan;
use crate::settings::KfdVersion;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// File name of the simulator's shared library.
pub const LIBRARY: &str = "libkfd_sim.so";
/// Names the library's path, instead of the search.
pub const LIBRARY_VARIABLE: &str = "ECLIP_KFD_SIM";

/// Settings that a launched program gets through its environment; what is `None` or false is as the environment of the launcher has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `KFD_SIM_MEMORY`.
    pub memory: Option<String>,
    /// `KFD_SIM_KFD_VERSION`.
    pub kfd_version: Option<String>,
    /// `KFD_SIM_EVENTS`.
    pub events: Option<PathBuf>,
    /// `KFD_SIM_TRACE`.
    pub trace: Option<PathBuf>,
    /// `KFD_SIM_PLAN`.
    pub plan: Option<PathBuf>,
    /// `KFD_SIM_FAIL`.
    pub fail: Option<String>,
    /// `KFD_SIM_THREADS`.
    pub threads: Option<usize>,
    /// `KFD_SIM_RACES`.
    pub races: bool,
    /// `KFD_SIM_LOG`.
    pub log: bool,
}

impl Flags {
    /// Checks the values that the program would only report, and makes paths independent of its folder.
    pub fn variables(&self) -> Result<Vec<(&'static str, OsString)>, LaunchError> {
        let bad = |name: &'static str, why: String| LaunchError::BadSetting { name, why };
        if let Some(memory) = &self.memory {
            memory.parse::<crate::cp::MemoryModel>().map_err(|why| bad("KFD_SIM_MEMORY", why.to_string()))?;
        }
        if let Some(version) = &self.kfd_version {
            version.parse::<KfdVersion>().map_err(|why| bad("KFD_SIM_KFD_VERSION", why))?;
        }
        if let Some(plan) = &self.plan {
            FaultPlan::read(plan).map_err(|why| bad("KFD_SIM_PLAN", why.to_string()))?;
        }
        let failures =
            self.fail.iter().flat_map(|list| list.split(',')).filter(|entry| !entry.trim().is_empty());
        for entry in failures {
            Failure::parse(entry).map_err(|why| bad("KFD_SIM_FAIL", why))?;
        }
        if self.threads.is_some_and(|threads| !(1..=crate::cp::MOST_THREADS).contains(&threads)) {
            let why = format!("a number from 1 to {} expected", crate::cp::MOST_THREADS);
            return Err(bad("KFD_SIM_THREADS", why));
        }
        let threads = self.threads.map(|threads| threads.to_string());
        let text = |name, value: &Option<String>| value.as_ref().map(|text| (name, OsString::from(text)));
        let switch = |name, on: bool| on.then(|| (name, OsString::from("1")));
        let mut found: Vec<_> = [
            text("KFD_SIM_MEMORY", &self.memory),
            text("KFD_SIM_KFD_VERSION", &self.kfd_version),
            text("KFD_SIM_FAIL", &self.fail),
            text("KFD_SIM_THREADS", &threads),
            switch("KFD_SIM_RACES", self.races),
            switch("KFD_SIM_LOG", self.log),
        ]
        .into_iter()
        .flatten()
        .collect();
        let paths =
            [("KFD_SIM_EVENTS", &self.events), ("KFD_SIM_TRACE", &self.trace), ("KFD_SIM_PLAN", &self.plan)];
        for (name, path) in paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?))) {
            found.push((name, std::path::absolute(path)?.into_os_string()));
        }
        Ok(found)
    }
}

/// Why a program cannot be started on the simulated machine.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The library is nowhere.
    #[error(
        "cannot find {LIBRARY}; tried {}. Build it with `cargo build -p kfd-sim`, or name it in {LIBRARY_VARIABLE}",
        list(.tried)
    )]
    NoLibrary {
        /// Every path tried.
        tried: Vec<PathBuf>,
    },
    /// The variable names something that is not a file.
    #[error("{LIBRARY_VARIABLE} is {0}, which is not a file")]
    BadVariable(PathBuf),
    /// A setting that makes no sense.
    #[error("{name}: {why}")]
    BadSetting {
        /// Its environment variable.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// A preload path cannot hold a colon or a space.
    #[error(
        "{0} holds a space or a colon, which the loader takes as a separator; move it or link to it elsewhere"
    )]
    BadPath(PathBuf),
    /// Nothing can be preloaded into the program.
    #[error("{program} is {why}: the loader preloads nothing into it, so it would see the real machine")]
    NoPreload {
        /// The program's file.
        program: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// This program's own path is unknown.
    #[error("cannot find this program's own path: {0}")]
    NoSelf(#[from] std::io::Error),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Where the library may be, for an executable at `exe`: beside it, in its `deps`, in its parent's folder if it is itself
/// in a `deps` or `examples` folder, and in an installed tree.
pub fn candidates(exe: &Path) -> Vec<PathBuf> {
    let Some(folder) = exe.parent() else { return Vec::new() };
    let mut found = vec![folder.join(LIBRARY), folder.join("deps").join(LIBRARY)];
    if let Some(above) = folder.parent() {
        found.extend([
            above.join(LIBRARY),
            above.join("deps").join(LIBRARY),
            above.join("lib/eclip").join(LIBRARY),
            above.join("lib").join(LIBRARY),
        ]);
    }
    found
}

/// Finds the simulator's shared library: the newest, where a build left more than one.
pub fn library() -> Result<PathBuf, LaunchError> {
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from) {
        return if path.is_file() {
            Ok(std::path::absolute(path)?)
        } else {
            Err(LaunchError::BadVariable(path))
        };
    }
    let tried = candidates(&std::env::current_exe()?);
    let built = |path: &Path| path.metadata().ok().filter(|m| m.is_file()).map(|m| m.modified().ok());
    let newest = tried.iter().filter_map(|p| built(p).map(|when| (when, p))).max_by_key(|(when, _)| *when);
    newest.map(|(_, path)| path.clone()).ok_or(LaunchError::NoLibrary { tried: tried.clone() })
}

/// A command that runs `program` on the simulated machine.
pub fn command(program: impl AsRef<OsStr>) -> Result<Command, LaunchError> {
    let library = library()?;
    if let Some(file) = find(program.as_ref()) {
        check_preloads(&file)?;
    }
    let before = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", preload(&library, &before)?).env("ECLIP_DEVICE", "sim");
    Ok(command)
}

/// The file that `exec` will start: a path as it is, a bare name from `PATH`. Not finding it is for `exec` to report.
fn find(program: &OsStr) -> Option<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn check_preloads(program: &Path) -> Result<(), LaunchError> {
    let refuse = |why| Err(LaunchError::NoPreload { program: program.into(), why });
    let Ok(meta) = program.metadata() else { return Ok(()) };
    // SAFETY: geteuid has no preconditions.
    if meta.mode() & 0o4000 != 0 && meta.uid() != unsafe { libc::geteuid() } {
        return refuse("set-user-id");
    }
    let mut head = Vec::new();
    // The program headers follow the file header.
    let read = File::open(program).and_then(|file| file.take(16 << 10).read_to_end(&mut head));
    if read.is_ok() && is_static(&head) { refuse("statically linked") } else { Ok(()) }
}

/// Whether the beginning of a file is that of an x86-64 ELF executable without an interpreter (PT_INTERP): one that no loader
/// sees. Scripts and anything unclear are not.
fn is_static(head: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = head.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    };
    let has_interpreter = || -> Option<bool> {
        // 64-bit, little-endian, ET_EXEC or ET_DYN.
        if head.get(..6)? != b"\x7fELF\x02\x01" || !matches!(number(16, 2)?, 2 | 3) {
            return None;
        }
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        for index in 0..count {
            let header = start.checked_add(index.checked_mul(size)?)?;
            if number(header, 4)? == 3 {
                return Some(true);
            }
        }
        Some(false)
    };
    has_interpreter() == Some(false)
}

/// The library, before what is preloaded already.
fn preload(library: &Path, before: &OsStr) -> Result<OsString, LaunchError> {
    if library.as_os_str().as_encoded_bytes().iter().any(|b| b" :".contains(b)) {
        return Err(LaunchError::BadPath(library.into()));
    }
    let mut value = library.as_os_str().to_owned();
    if !before.is_empty() {
        value.push(":");
        value.push(before);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_variables_and_nonsense_is_refused() {
        let flags = Flags {
            memory: Some("strict".into()),
            races: true,
            trace: Some("x.json".into()),
            ..Flags::default()
        };
        let variables = flags.variables().unwrap();
        assert_eq!(variables[0], ("KFD_SIM_MEMORY", "strict".into()));
        assert_eq!(variables[1], ("KFD_SIM_RACES", "1".into()));
        assert!(variables[2].0 == "KFD_SIM_TRACE" && Path::new(&variables[2].1).is_absolute());
        for (name, flags) in [
            ("KFD_SIM_MEMORY", Flags { memory: Some("lax".into()), ..Flags::default() }),
            ("KFD_SIM_KFD_VERSION", Flags { kfd_version: Some("3".into()), ..Flags::default() }),
            ("KFD_SIM_PLAN", Flags { plan: Some("/nonexistent".into()), ..Flags::default() }),
            ("KFD_SIM_FAIL", Flags { fail: Some("NOPE=EIO".into()), ..Flags::default() }),
            ("KFD_SIM_THREADS", Flags { threads: Some(0), ..Flags::default() }),
        ] {
            assert!(flags.variables().unwrap_err().to_string().starts_with(name));
        }
    }

    #[test]
    fn looks_beside_in_deps_above_and_in_an_installed_tree() {
        let found = candidates(Path::new("/x/target/debug/eclip"));
        for place in ["/x/target/debug/", "/x/target/debug/deps/", "/x/target/lib/eclip/"] {
            assert!(found.contains(&Path::new(place).join(LIBRARY)), "{place}: {found:?}");
        }
        assert!(
            candidates(Path::new("/x/target/debug/deps/test-1"))
                .contains(&Path::new("/x/target/debug").join(LIBRARY))
        );
        let error = LaunchError::NoLibrary { tried: found }.to_string();
        assert!(error.contains("/x/target/debug/libkfd_sim.so") && error.contains("cargo build -p kfd-sim"));
    }

    #[test]
    fn only_a_whole_elf_header_without_an_interpreter_is_static() {
        let mut elf = vec![0u8; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[16], elf[32], elf[54], elf[56]) = (3, 64, 56, 2);
        assert!(is_static(&elf));
        elf[64 + 56] = 3;
        assert!(!is_static(&elf));
        assert!(!is_static(&elf[..70]) && !is_static(b"#!/bin/sh") && !is_static(b""));
        elf[32..40].fill(0xff);
        assert!(!is_static(&elf));
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&this[..16 << 10]));
    }

    #[test]
    fn what_was_preloaded_stays() {
        assert_eq!(preload(Path::new("/a/b.so"), OsStr::new("/c.so")).unwrap(), "/a/b.so:/c.so");
        assert!(preload(Path::new("/a b/c.so"), OsStr::new("")).is_err());
    }
}
