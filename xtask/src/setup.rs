//! The set-up of a command: what it needs, what of that is missing, and getting it.

use std::fs;
use std::process::Command;

use crate::install::{self, Rights};
use crate::packages::{self, Distribution, Need};
use crate::{command, probe, rocm};

/// What a set-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Demo,
    Test,
    QuickTest,
    Bindgen,
    Kernels,
}

impl Purpose {
    /// The command, as it is typed.
    pub fn command(self) -> &'static str {
        match self {
            Purpose::Demo => "`cargo xtask demo`",
            Purpose::Test => "`cargo xtask test`",
            Purpose::QuickTest => "`cargo xtask test --quick`",
            Purpose::Bindgen => "`cargo xtask bindgen`",
            Purpose::Kernels => "`cargo xtask kernels`",
        }
    }

    /// What it needs from the distribution.
    fn needs(self) -> &'static [Need] {
        use Need::*;
        match self {
            Purpose::Demo => &[Rocr],
            Purpose::Test => &[
                Rocr,
                HsaHeaders,
                Clang,
                Lld,
                Llvm,
                Libclang,
                Rocminfo,
                Hip,
                HipHeaders,
                Rocrand,
                Valgrind,
                Clang14,
                Clang19,
                Lld19,
                HashcatKernels,
            ],
            Purpose::QuickTest => {
                &[Rocr, Clang, Lld, Llvm, Rocminfo, Hip, Valgrind, Clang14, Clang19, Lld19, HashcatKernels]
            }
            Purpose::Bindgen => &[HsaHeaders, Clang, Libclang],
            Purpose::Kernels => &[Clang, Lld, Llvm],
        }
    }

    /// What it needs from the Rust toolchain: a rustup component, and the cargo command that shows it is there.
    fn components(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Purpose::Test | Purpose::QuickTest => &[("rustfmt", "fmt"), ("clippy", "clippy")],
            _ => &[],
        }
    }
}

/// Sees to it that everything for `purpose` is there, installing what is missing if `may_install`.
///
/// # Errors
/// Something is missing and was not, or could not be, installed.
pub fn ready(purpose: Purpose, may_install: bool) -> Result<(), String> {
    if let Some(library) = rocm::runtime() {
        println!("A GPU (/dev/kfd) and ROCm are here: using {}", library.display());
    }
    packages(purpose, may_install)?;
    components(purpose, may_install)
}

fn packages(purpose: Purpose, may_install: bool) -> Result<(), String> {
    let missing = missing(purpose.needs());
    if missing.is_empty() {
        return Ok(());
    }
    let wished = std::env::var_os(hsa_sys::LIBRARY_VARIABLE).is_some_and(|v| !v.is_empty());
    if wished && missing.contains(&Need::Rocr) {
        // No package mends a wrong wish.
        hsa_sys::Hsa::load().map_err(|e| e.to_string())?;
    }
    let os_release =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|p| fs::read_to_string(p).ok());
    let distribution = Distribution::parse(&os_release.unwrap_or_default());
    let plan = packages::plan(&missing, &distribution);
    println!(
        "{} needs what is missing here ({}):\n{}",
        purpose.command(),
        distribution.name,
        plan.explanation
    );
    if plan.packages.is_empty() {
        return Err("install the packages named above, then run the command again".to_owned());
    }
    let rights = Rights::here();
    let line = install::line(&plan.packages, rights);
    if !may_install {
        return Err(format!("not installed, as asked; the line is\n  {line}"));
    }
    if rights == Rights::None {
        return Err(format!("only root or sudo can install them; the line is\n  {line}"));
    }
    println!("Installing: {line}");
    let installed = install::install(&plan.packages, rights);
    // What counts is whether the things are there now: another package's trouble makes apt fail too, and a package may
    // be installed and still not hold what was looked for.
    let still = self::missing(&missing);
    match installed {
        Ok(()) if still.is_empty() => return Ok(()),
        Err(error) if still.is_empty() => {
            println!("{error}; but everything that is needed is there now");
            return Ok(());
        }
        Ok(()) => {}
        Err(error) => {
            return Err(format!("{error}\nthe packages could not be installed; the line was\n  {line}"));
        }
    }
    let names: Vec<_> = still.iter().map(|need| format!("  {}", need.why())).collect();
    let mut message = format!("installed, but still not found:\n{}", names.join("\n"));
    if still.contains(&Need::Rocr)
        && let Err(error) = hsa_sys::Hsa::load()
    {
        message = format!("{message}\n{error}");
    }
    Err(message)
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|&need| !probe::present(need)).collect()
}

fn components(purpose: Purpose, may_install: bool) -> Result<(), String> {
    let there = |subcommand: &str| {
        let mut cargo = command::cargo();
        cargo.args([subcommand, "--version"]);
        cargo.output().is_ok_and(|output| output.status.success())
    };
    let missing: Vec<_> = purpose
        .components()
        .iter()
        .filter(|(_, command)| !there(command))
        .map(|(component, _)| *component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("rustup component add {}", missing.join(" "));
    println!(
        "{} needs parts of the Rust toolchain that are missing: {}",
        purpose.command(),
        missing.join(", ")
    );
    if !may_install {
        return Err(format!("not installed, as asked; the line is\n  {line}"));
    }
    println!("Installing: {line}");
    let status = Command::new("rustup").args(["component", "add"]).args(&missing).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{line}: {status}")),
        Err(e) => Err(format!("{line}: {e}; without rustup, install them as your Rust was installed")),
    }
}
