//! The compilers under test: Debian's clang 14 and clang 19, for the GPU and for the host.

use std::path::Path;
use std::process::Command;

use crate::isa_support::{CodeObject, open};

/// One version of clang.
#[derive(Clone, Debug)]
#[allow(dead_code)] // each test binary uses its part
pub struct Clang {
    program: String,
    /// Major version.
    pub version: u32,
}

#[allow(dead_code)] // each test binary uses its part
impl Clang {
    /// Looks for `clang-VERSION`, or a `clang` of that version; says so loudly if there is none.
    pub fn find(version: u32) -> Option<Clang> {
        let found = [format!("clang-{version}"), "clang".to_owned()].into_iter().find(|program| {
            let output = Command::new(program).arg("--version").output();
            let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
            text.contains(&format!("clang version {version}."))
        });
        if found.is_none() {
            skipped(&format!("clang {version} is not installed (`cargo xtask setup` installs it)"));
        }
        Some(Clang { program: found?, version })
    }

    /// A command that compiles and links a code object for gfx906 from OpenCL C, without a device library.
    pub fn device(&self, level: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([
            "-x",
            "cl",
            "-cl-std=CL2.0",
            "-target",
            "amdgcn-amd-amdhsa",
            "-mcpu=gfx906",
            "-nogpulib",
        ]);
        command.args(["-mcode-object-version=4", "-w", level]);
        command
    }

    /// A command that compiles a shared library for the host from C.
    pub fn host(&self, level: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-x", "c", "-std=gnu11", "-shared", "-fPIC", "-w", level]);
        command
    }

    /// Runs such a command; what the compiler says is the test's failure.
    pub fn compile(command: &mut Command, source: &Path, output: &Path) {
        let result = command.arg(source).arg("-o").arg(output).output().unwrap();
        assert!(
            result.status.success(),
            "{command:?}: {}\n{}",
            result.status,
            String::from_utf8_lossy(&result.stderr)
        );
    }

    /// Compiles a code object.
    pub fn code_object(command: &mut Command, source: &Path) -> CodeObject {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("k.co");
        Clang::compile(command, source, &output);
        open(&output)
    }
}

/// Says that a test did nothing and why. `cargo xtask test` installs what tests need, and lets no such skip pass.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("KFD_SIM_NO_SKIP").is_none(), "not to be skipped: {why}");
    eprintln!("SKIPPED: {why}");
}
