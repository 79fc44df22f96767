//! Regenerates hsa-sys's bindings from the HSA headers.
//!
//! ```text
//! hsa-sys-gen [--check] [--headers DIR]
//! ```
//!
//! Without `--check` it writes `hsa-sys/src/bindings.rs` and `functions.rs`. With it, nothing is written, and the exit
//! code says how the files compare with what the headers give: 0 the same, 1 different (or an error), 3 not compared,
//! because the pinned headers are not there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

mod bind;
mod headers;
mod required;
mod split;

use headers::{Found, PINNED_VERSION};
use split::Generated;

/// Exit code of `--check` where the pinned headers are not installed.
const SKIPPED: u8 = 3;

fn main() -> ExitCode {
    match run(env::args_os().skip(1)) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("hsa-sys-gen: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let mut check = false;
    let mut dir = PathBuf::from(headers::DEFAULT_DIR);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--check") => check = true,
            Some("--headers") => dir = args.next().ok_or("--headers needs a folder")?.into(),
            _ => {
                return Err(format!(
                    "unknown argument {arg:?}; usage: hsa-sys-gen [--check] [--headers DIR]"
                ));
            }
        }
    }
    if let Some(reason) = not_pinned(&dir)? {
        if check {
            println!("skipped: {reason}");
            return Ok(ExitCode::from(SKIPPED));
        }
        return Err(format!("{reason}; the checked-in bindings are made from {PINNED_VERSION} only"));
    }
    let generated = generate(&dir)?;
    if check {
        let different = compare(&generated)?;
        if different.is_empty() {
            println!("the bindings are what {PINNED_VERSION} gives");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(format!("{}\nregenerate them: cargo xtask bindgen", different.join("\n")));
    }
    for (path, text) in files(&generated) {
        fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the headers in `dir` cannot stand for the pinned ones, or `None` if they are those.
fn not_pinned(dir: &Path) -> Result<Option<String>, String> {
    Ok(match headers::look(dir)? {
        Found::Pinned => None,
        Found::Missing(what) => Some(what),
        Found::Other { digest } => {
            Some(format!("the headers in {} are not {PINNED_VERSION} (digest {digest:#018x})", dir.display()))
        }
    })
}

/// Makes both files from the headers in `dir`.
fn generate(dir: &Path) -> Result<Generated, String> {
    split::split(bind::bind(dir)?, required::REQUIRED)
}

/// Where each generated file lives.
fn files(generated: &Generated) -> [(PathBuf, &str); 2] {
    let gen_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = gen_dir.parent().unwrap_or(gen_dir).join("src");
    [(source.join("bindings.rs"), &generated.bindings), (source.join("functions.rs"), &generated.functions)]
}

/// One message for each checked-in file that is not what was generated.
fn compare(generated: &Generated) -> Result<Vec<String>, String> {
    let mut different = Vec::new();
    for (path, want) in files(generated) {
        let have = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        if have != want {
            let line = have.lines().zip(want.lines()).take_while(|(a, b)| a == b).count();
            different.push(format!(
                "{} differs from the headers, first in line {}:\n  checked in: {}\n  generated:  {}",
                path.display(),
                line + 1,
                have.lines().nth(line).unwrap_or("(end of file)"),
                want.lines().nth(line).unwrap_or("(end of file)"),
            ));
        }
    }
    Ok(different)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_bindings_are_what_the_pinned_headers_give() {
        let dir = Path::new(headers::DEFAULT_DIR);
        if let Some(reason) = not_pinned(dir).unwrap() {
            eprintln!("skipped: {reason}");
            return;
        }
        let different = compare(&generate(dir).unwrap()).unwrap();
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}
