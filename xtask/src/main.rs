//! Developer commands: demo, test, bindgen, kernels, setup, runtimes.
//!
//! Each command first sees to its own set-up (`setup`): it looks for what it needs, names the missing packages and
//! what they are for, and installs them. One thread, but for the readers of a child's output.

use std::ffi::OsString;
use std::process::ExitCode;

use lexopt::ValueExt;
use lexopt::prelude::{Long, Short, Value};

mod bindings;
mod command;
mod counts;
mod demo;
mod install;
mod kernels;
mod packages;
mod probe;
mod rocm;
mod runtimes;
mod setup;
mod steps;
mod test;

use setup::Purpose;
use test::Extent;

const USAGE: &str = "\
usage: cargo xtask COMMAND [--no-install]

  demo [ARGUMENTS...]      build and run the demo; arguments go to `eclip demo`
  test [--quick | --full]  format, lints, docs, all tests, generated files; --quick leaves out the slow checks,
                           --full runs the long form of those tests that have one
  bindgen [--check]        regenerate hsa-sys's bindings from the HSA headers, or compare them
  kernels [--check]        rebuild the code objects in kernels/bin, or compare them
  setup [demo|test|bindgen|kernels]
                           only the set-up of that command (default: test)
  runtimes [trixie|sid]    the C programs of tests/programs on another release's ROCr and HIP, fetched, not installed

  --no-install             name what is missing, print the line that installs it, and stop
";

/// A command line, understood.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Help,
    Demo(Vec<OsString>),
    Test { extent: Extent },
    Bindgen { check: bool },
    Kernels { check: bool },
    Setup(Purpose),
    Runtimes(String),
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args_os().skip(1)).and_then(|(task, install)| run(task, install));
    match outcome {
        Ok(code) => code,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task, install: bool) -> Result<ExitCode, String> {
    let ready = |purpose| setup::ready(purpose, install);
    match task {
        Task::Help => print!("{USAGE}"),
        Task::Demo(arguments) => {
            ready(Purpose::Demo)?;
            return demo::run(&arguments);
        }
        Task::Test { extent } => {
            ready(if extent == Extent::Quick { Purpose::QuickTest } else { Purpose::Test })?;
            return Ok(test::run(extent));
        }
        Task::Bindgen { check } => {
            ready(Purpose::Bindgen)?;
            return bindings::run(check);
        }
        Task::Kernels { check } => {
            ready(Purpose::Kernels)?;
            if check {
                match kernels::check()? {
                    kernels::Check::Same(files) => {
                        println!("{files} code objects are what their sources give")
                    }
                    kernels::Check::Skipped(reason) => println!("skipped: {reason}"),
                }
            } else {
                println!("built {} code objects", kernels::rebuild()?.len());
            }
        }
        Task::Setup(purpose) => {
            ready(purpose)?;
            println!("everything that {} needs is there", purpose.command());
        }
        Task::Runtimes(suite) => {
            ready(Purpose::Test)?;
            runtimes::run(&suite)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Understands a command line: the task, and whether missing packages may be installed.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Task, bool), String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut command, mut what, mut install) = (None::<String>, None::<String>, true);
    let (mut check, mut extent) = (false, Extent::Usual);
    let mut rest = Vec::new();
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match (argument, command.as_deref()) {
            (Long("no-install"), _) => install = false,
            (Long("help") | Short('h'), _) => return Ok((Task::Help, install)),
            (Long("check"), Some("bindgen" | "kernels")) => check = true,
            (Long("quick"), Some("test")) if extent != Extent::Full => extent = Extent::Quick,
            (Long("full"), Some("test")) if extent != Extent::Quick => extent = Extent::Full,
            (Value(value), None) => {
                let demo = value == "demo";
                command = Some(value.string().map_err(|e| e.to_string())?);
                if demo {
                    // The rest is the demo's own, whatever it looks like.
                    rest = parser.raw_args().map_err(|e| e.to_string())?.collect();
                    install &= !rest.iter().any(|argument| argument == "--no-install");
                    rest.retain(|argument| argument != "--no-install");
                }
            }
            (Value(value), Some("setup" | "runtimes")) if what.is_none() => {
                what = Some(value.string().map_err(|e| e.to_string())?);
            }
            (other, _) => return Err(format!("{}\n\n{USAGE}", other.unexpected())),
        }
    }
    let task = match command.as_deref() {
        None => Task::Help,
        Some("demo") => Task::Demo(rest),
        Some("test") => Task::Test { extent },
        Some("bindgen") => Task::Bindgen { check },
        Some("kernels") => Task::Kernels { check },
        Some("setup") => Task::Setup(match what.as_deref() {
            None | Some("test") => Purpose::Test,
            Some("demo") => Purpose::Demo,
            Some("bindgen") => Purpose::Bindgen,
            Some("kernels") => Purpose::Kernels,
            Some(other) => return Err(format!("nothing to set up is called {other:?}\n\n{USAGE}")),
        }),
        Some("runtimes") => Task::Runtimes(what.unwrap_or_else(|| runtimes::DEFAULT.to_owned())),
        Some(other) => return Err(format!("unknown command {other:?}\n\n{USAGE}")),
    };
    Ok((task, install))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Task, bool), String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn command_lines() {
        assert_eq!(parsed(""), Ok((Task::Help, true)));
        assert_eq!(parsed("test --quick"), Ok((Task::Test { extent: Extent::Quick }, true)));
        assert_eq!(parsed("test --full"), Ok((Task::Test { extent: Extent::Full }, true)));
        assert_eq!(parsed("--no-install test"), Ok((Task::Test { extent: Extent::Usual }, false)));
        assert_eq!(parsed("bindgen --check --no-install"), Ok((Task::Bindgen { check: true }, false)));
        assert_eq!(parsed("setup"), Ok((Task::Setup(Purpose::Test), true)));
        assert_eq!(parsed("setup demo"), Ok((Task::Setup(Purpose::Demo), true)));
    }

    #[test]
    fn arguments_of_the_demo_are_passed_on() {
        let (task, install) = parsed("demo --no-install --images 20 -vn5 --mask=0x3 file").unwrap();
        assert!(!install);
        let want = ["--images", "20", "-vn5", "--mask=0x3", "file"].map(OsString::from);
        assert_eq!(task, Task::Demo(want.to_vec()));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("tset", "tset"),
            ("test --quik", "quik"),
            ("test --quick --full", "full"),
            ("demo2", "demo2"),
            ("setup all", "all"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(word) && error.contains("usage"), "{line}: {error}");
        }
    }
}
