//! Running the `eclip` program.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Fails with everything that was printed unless the program ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// Fails unless standard output has this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text:?} is not in\n{}", self.out);
        self
    }

    /// Fails unless the last error message of `eclip` has all of these texts.
    #[track_caller]
    pub fn complains(self, texts: &[&str]) -> Self {
        let message = self.err.lines().rfind(|line| line.starts_with("eclip: ")).unwrap_or("");
        for text in texts {
            assert!(
                message.contains(text),
                "{text:?} is not in {message:?}; standard error is\n{}",
                self.err
            );
        }
        self
    }
}

/// The program, on the simulated GPU, with a clean environment where it matters.
pub fn eclip<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eclip"));
    command.args(arguments).env("ECLIP_DEVICE", "sim");
    for variable in ["HSA_CU_MASK", "ROCR_VISIBLE_DEVICES", "LD_PRELOAD", "KFD_SIM_FAIL", "KFD_SIM_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: status.code(), signal: status.signal(), out: text(stdout), err: text(stderr) }
}
