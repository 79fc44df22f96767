//! Installs packages with apt, as root or through sudo; never without saying the line first.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command;

/// Starts of lines that dpkg prints for every package besides "Setting up".
const ROUTINE: [&str; 6] = [
    "Selecting ",
    "(Reading database",
    "Preparing to unpack",
    "Unpacking ",
    "Processing triggers",
    "debconf: delaying",
];

/// How commands get the rights to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The process is root's.
    Root,
    /// sudo works, perhaps after asking for a password on the terminal.
    Sudo,
    /// Neither.
    None,
}

impl Rights {
    /// What this process has.
    pub fn here() -> Rights {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if is_root(&status) {
            return Rights::Root;
        }
        let silent = Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match silent {
            Ok(status) if status.success() => Rights::Sudo,
            // It is there, and somebody can type a password.
            Ok(_) if io::stdin().is_terminal() => Rights::Sudo,
            _ => Rights::None,
        }
    }
}

/// Whether the effective user in the text of `/proc/PID/status` is root.
fn is_root(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1))
        .is_some_and(|effective| effective == "0")
}

/// The line that a person would type.
pub fn line(packages: &[&str], rights: Rights) -> String {
    let sudo = if rights == Rights::Root { "" } else { "sudo " };
    format!("{sudo}apt-get install --yes --no-install-recommends {}", packages.join(" "))
}

/// Installs `packages`. The package lists are fetched first where there are none, and again if the installation fails
/// with the ones there are: old lists name files that the server has replaced.
///
/// # Errors
/// Says which command failed and how.
pub fn install(packages: &[&str], rights: Rights) -> Result<(), String> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    let have_lists = have_lists(Path::new("/var/lib/apt/lists"));
    if have_lists {
        let Err(error) = apt(&arguments, rights) else { return Ok(()) };
        println!("{error}; the package lists may be old: fetching them again.");
    } else {
        println!("No package lists here yet: fetching them.");
    }
    if let Err(error) = apt(&["update"], rights) {
        // One unreachable source of many is enough for this; the one that matters may have answered.
        println!("{error}; trying with the lists there are.");
    }
    apt(&arguments, rights)
}

/// Whether apt has package lists.
fn have_lists(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().contains("_Packages")
    })
}

/// Runs apt-get without questions; of what it prints, one line for each package is shown, and anything that is wrong.
fn apt(arguments: &[&str], rights: Rights) -> Result<(), String> {
    let mut command = match rights {
        Rights::Root => Command::new("env"),
        Rights::Sudo => {
            let mut command = Command::new("sudo");
            command.arg("env");
            command
        }
        Rights::None => return Err("neither root nor sudo".to_owned()),
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments);
    // A changed configuration file stays as it is: its question would find nobody to answer.
    command.args(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]);
    // Another apt at work (an image's first boot) is waited for, not for ever.
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    // A password is asked for on the terminal itself, not on standard input.
    let status = command::run(&mut command, |line| !ROUTINE.iter().any(|start| line.starts_with(start)))?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {}: {status}", arguments.join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_the_effective_user() {
        assert!(is_root("Name:\txtask\nUid:\t0\t0\t0\t0\n"));
        assert!(is_root("Uid:\t1000\t0\t0\t0\n"));
        assert!(!is_root("Uid:\t0\t1000\t0\t0\n"));
        assert!(!is_root(""));
    }

    #[test]
    fn line_has_sudo_unless_root() {
        assert_eq!(line(&["a", "b"], Rights::Root), "apt-get install --yes --no-install-recommends a b");
        assert!(line(&["a"], Rights::None).starts_with("sudo apt-get install"));
    }
}
