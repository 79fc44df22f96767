//! `rocminfo`, unmodified, on the simulated machine.

use kfd_sim::{control, launcher};
use std::process::Stdio;

#[test]
fn rocminfo_shows_one_gfx906_agent_of_60_compute_units() {
    let rocminfo = match launcher::command("rocminfo").expect("the cdylib is built with the tests").output() {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: rocminfo is not installed");
            return;
        }
        other => other.expect("rocminfo starts"),
    };
    let text = String::from_utf8_lossy(&rocminfo.stdout);
    assert!(rocminfo.status.success(), "{text}\n{}", String::from_utf8_lossy(&rocminfo.stderr));
    let agents: Vec<&str> = text.split("Agent ").skip(1).collect();
    let gpus: Vec<&&str> = agents.iter().filter(|a| has(a, "Device Type:", "GPU")).collect();
    assert_eq!(gpus.len(), 1, "{text}");
    let gpu = gpus[0];
    for (key, value) in [
        ("Name:", "gfx906"),
        ("Marketing Name:", "AMD Radeon Instinct MI50 (simulated)"),
        ("Compute Unit:", "60"),
        ("SIMDs per CU:", "4"),
        ("Shader Engines:", "4"),
        ("Shader Arrs. per Eng.:", "1"),
        ("Wavefront Size:", "64(0x40)"),
        ("Name:", "amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-"),
    ] {
        assert!(has(gpu, key, value), "{key} {value} not in\n{gpu}");
    }
    assert!(
        agents.iter().any(|a| has(a, "Device Type:", "CPU") && has(a, "Marketing Name:", "kfd-sim host CPU"))
    );
}

#[test]
fn without_the_simulated_machine_rocminfo_sees_none() {
    // This program has the hooks, too.
    control::switch_off();
    if std::path::Path::new("/dev/kfd").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let mut command = launcher::command("rocminfo").expect("the cdylib is built with the tests");
    match command.env("ECLIP_DEVICE", "real").stderr(Stdio::null()).output() {
        Err(_) => eprintln!("skipped: rocminfo is not installed"),
        Ok(output) => assert!(!String::from_utf8_lossy(&output.stdout).contains("gfx906")),
    }
}

fn has(text: &str, key: &str, value: &str) -> bool {
    text.lines().any(|line| line.trim().strip_prefix(key).is_some_and(|rest| rest.trim() == value))
}
