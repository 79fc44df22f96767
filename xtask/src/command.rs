//! Runs a child and passes its output on line by line, while the caller reads along.
//!
//! Two threads read the child's stdout and stderr; both end with the child's pipes. Standard input is closed: no step
//! may ask anything.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::rocm;

/// How long one child may take: long enough for a first build on a small machine.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The repository's root.
pub fn root() -> PathBuf {
    // cargo says where the package is when it runs; the place that was compiled in may have moved.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// The cargo that runs this program, in the repository's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root()).stdin(Stdio::null());
    rocm::environment(&mut command);
    command
}

/// Runs `command`; every line of its output goes through `line`, which says whether to print it.
///
/// # Errors
/// The command cannot be started, or took longer than an hour.
pub fn run(command: &mut Command, mut line: impl FnMut(&str) -> bool) -> Result<ExitStatus, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {name}: {e}"))?;
    let (sender, lines) = channel();
    read(child.stdout.take(), sender.clone());
    read(child.stderr.take(), sender);
    let end = Instant::now() + LIMIT;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                if line(&text) {
                    println!("{text}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // It may end by itself at this moment; then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{name} was stopped: it took longer than {} minutes",
                    LIMIT.as_secs() / 60
                ));
            }
        }
    }
    child.wait().map_err(|e| format!("{name}: {e}"))
}

/// Sends a pipe's lines from a thread of its own, until the pipe ends.
fn read(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&bytes);
            if lines.send(text.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_and_the_status_returned() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; printf last; exit 3"]);
        let status = run(&mut command, |line| {
            lines.push(line.to_owned());
            false
        })
        .unwrap();
        lines.sort();
        assert_eq!(lines, ["err", "last", "out"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here"), |_| true).unwrap_err();
        assert!(error.contains("no-such-program-here"), "{error}");
    }
}
