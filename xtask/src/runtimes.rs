//! The C programs of `tests/programs` on another release's ROCr and HIP: fetched as packages, unpacked into the target
//! folder, never installed.
//!
//! apt runs with a state of its own, an empty list of installed packages and Debian's archive key, so what it fetches is whole
//! (its own C library, too) and signed. Nothing of the machine is changed, and no rights are needed. One thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, cargo};

/// Where Debian keeps its packages, and the key that signs their lists.
const ARCHIVE: &str = "http://deb.debian.org/debian";
const KEY: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The suites that have another ROCr than the machine's, and what of them is wanted.
const SUITES: &[(&str, &[&str])] = &[
    // ROCr 6.1.2, HIP 5.7.1
    ("trixie", &["libhsa-runtime64-1", "libamdhip64-5", "librocrand1", "libc6"]),
    // ROCr 6.4.3; its HIP has another interface
    ("sid", &["libhsa-runtime64-1", "libc6"]),
];

/// The suite that is used if none is named.
pub const DEFAULT: &str = "trixie";

/// Fetches the packages of `suite`, unpacks them, and runs the programs on them.
///
/// # Errors
/// An unknown suite, a tool that is missing or fails, a folder that cannot be written, a program that fails.
pub fn run(suite: &str) -> Result<(), String> {
    let known: Vec<_> = SUITES.iter().map(|(name, _)| *name).collect();
    let (_, packages) = (SUITES.iter().find(|(name, _)| *name == suite))
        .ok_or_else(|| format!("no suite {suite:?}; there are {}", known.join(", ")))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = command::root().join(target).join("runtimes").join(suite);
    let root = fetch(suite, packages, &folder)?;
    println!("unpacked into {}", root.display());
    let build =
        cargo().args(["build", "-p", "kfd-sim"]).status().map_err(|e| format!("cannot run cargo: {e}"))?;
    let mut tests = cargo();
    tests.args(["test", "-p", "kfd-sim", "--test", "programs"]).env("KFD_SIM_RUNTIME", &root);
    let tested = build.success() && tests.status().is_ok_and(|status| status.success());
    if tested { Ok(()) } else { Err(format!("the programs fail on the runtime of {suite}")) }
}

/// Fetches and unpacks; gives the folder that holds `usr/lib`.
fn fetch(suite: &str, packages: &[&str], folder: &Path) -> Result<PathBuf, String> {
    let [state, cache, root] = ["state", "cache", "root"].map(|name| folder.join(name));
    for wanted in [state.join("lists/partial"), cache.join("archives/partial"), root.clone()] {
        fs::create_dir_all(&wanted).map_err(|e| format!("{}: {e}", wanted.display()))?;
    }
    let files = [
        ("status", String::new()),
        ("sources.list", format!("deb [signed-by={KEY}] {ARCHIVE} {suite} main\n")),
        ("apt.conf", configuration(folder)),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))?;
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", folder.join("apt.conf")).args(arguments);
        succeed(&mut command)
    };
    apt(&["-q", "update"])?;
    apt(&[&["-q", "-y", "--no-install-recommends", "--download-only", "install"], packages].concat())?;
    let archives = cache.join("archives");
    for entry in fs::read_dir(&archives).map_err(|e| format!("{}: {e}", archives.display()))?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "deb") {
            succeed(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&root))?;
        }
    }
    Ok(root)
}

/// apt's configuration: everything below `folder`.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
    )
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(e) => Err(format!("cannot run {name}: {e}; this needs a Debian or Ubuntu machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_keeps_to_the_folder() {
        let text = configuration(Path::new("/somewhere/runtimes/trixie"));
        for place in ["Dir::State ", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"] {
            let line = text.lines().find(|line| line.starts_with(place)).expect(place);
            assert!(line.contains("\"/somewhere/runtimes/trixie/"), "{line}");
        }
    }

    #[test]
    fn an_unknown_suite_is_refused_by_name() {
        assert!(run("potato").unwrap_err().contains("\"potato\"; there are trixie, sid"));
        assert!(SUITES.iter().any(|(name, _)| *name == DEFAULT));
    }
}
