//! Programs started by the launcher: what they and their children see, what they leave, what goes wrong.

use kfd_sim::{control, launcher};
use std::fs;
use std::process::Command;

#[test]
fn a_launched_program_and_its_children_see_the_machine_and_leave_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = launcher::command("sh").expect("the cdylib is built with the tests");
    command
        .env("TMPDIR", temporary.path())
        .args(["-c", "cat /proc/modules; (cat /proc/modules); ls /dev/dri"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("amdgpu 1 0").count(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("renderD128"), "{text}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_temporary_directory_that_cannot_be_written_is_named() {
    let mut command = launcher::command("cat").expect("the cdylib is built with the tests");
    let output = command.env("TMPDIR", "/nonexistent").arg("/proc/modules").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("below /nonexistent") && errors.contains("set TMPDIR"), "{errors}");
}

#[test]
fn too_little_address_space_is_an_error_and_not_a_crash() {
    let library = launcher::library().expect("the cdylib is built with the tests");
    let script = "ulimit -v 4000000; LD_PRELOAD=\"$0\" ECLIP_DEVICE=sim cat /dev/kfd";
    let output = Command::new("sh").args(["-c", script]).arg(library).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("cannot make the simulated GPU") && errors.contains("ulimit -v"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_switch_is_named_or_else_decided_by_the_host() {
    // This program has the hooks, too.
    control::switch_off();
    let host_has_one = fs::exists("/dev/kfd").unwrap();
    for (wish, on) in
        [(Some("sim"), true), (Some("real"), false), (None, !host_has_one), (Some("both"), !host_has_one)]
    {
        let mut command = launcher::command("cat").expect("the cdylib is built with the tests");
        match wish {
            Some(wish) => command.env("ECLIP_DEVICE", wish),
            None => command.env_remove("ECLIP_DEVICE"),
        };
        let output = command.arg("/proc/cpuinfo").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("kfd-sim host CPU"), on, "{wish:?}");
        let complaint = String::from_utf8_lossy(&output.stderr).contains("expected \"sim\" or \"real\"");
        assert_eq!(complaint, wish == Some("both"), "{wish:?}");
    }
}
