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
    assert!(text.trim_end().ends_with("*** Done ***"), "{text}");
    let agents: Vec<&str> = text.split("Agent ").skip(1).collect();
    let [host, gpu] = agents[..] else { panic!("not two agents:\n{text}") };
    for (key, value) in HOST {
        assert!(has(host, key, value), "{key} {value} not in\n{host}");
    }
    for (key, value) in GPU {
        assert!(has(gpu, key, value), "{key} {value} not in\n{gpu}");
    }
    // What each agent has of memory.
    for (agent, pools, bytes) in [(host, 3, "16777216(0x1000000) KB"), (gpu, 2, "16777216(0x1000000) KB")] {
        assert_eq!(agent.matches("Segment:").count(), pools, "{agent}");
        assert!(has(agent, "Size:", bytes), "{agent}");
    }
    assert_eq!(gpu.matches("amdgcn-amd-amdhsa--").count(), 1, "{gpu}");
}

/// The simulated host, which does not depend on the machine below.
const HOST: &[(&str, &str)] = &[
    ("Name:", "kfd-sim host CPU"),
    ("Device Type:", "CPU"),
    ("Vendor Name:", "CPU"),
    ("Node:", "0"),
    ("Compute Unit:", "1"),
    ("Max Clock Freq. (MHz):", "3000"),
    ("Cacheline Size:", "64(0x40)"),
    ("Segment:", "GLOBAL; FLAGS: FINE GRAINED"),
    ("Segment:", "GLOBAL; FLAGS: KERNARG, FINE GRAINED"),
    ("Segment:", "GLOBAL; FLAGS: COARSE GRAINED"),
    ("Accessible by all:", "TRUE"),
];

/// The MI50.
const GPU: &[(&str, &str)] = &[
    ("Name:", "gfx906"),
    ("Marketing Name:", "AMD Radeon Instinct MI50 (simulated)"),
    ("Vendor Name:", "AMD"),
    ("Device Type:", "GPU"),
    ("Feature:", "KERNEL_DISPATCH"),
    ("Profile:", "BASE_PROFILE"),
    ("Max Queue Number:", "128(0x80)"),
    ("Queue Min Size:", "64(0x40)"),
    ("Queue Max Size:", "131072(0x20000)"),
    ("Queue Type:", "MULTI"),
    ("Node:", "1"),
    ("L1:", "16(0x10) KB"),
    ("L2:", "4096(0x1000) KB"),
    ("Chip ID:", "26273(0x66a1)"),
    ("Cacheline Size:", "64(0x40)"),
    ("Max Clock Freq. (MHz):", "1725"),
    ("BDFID:", "768"),
    ("Compute Unit:", "60"),
    ("SIMDs per CU:", "4"),
    ("Shader Engines:", "4"),
    ("Shader Arrs. per Eng.:", "1"),
    ("WatchPts on Addr. Ranges:", "4"),
    ("Fast F16 Operation:", "TRUE"),
    ("Wavefront Size:", "64(0x40)"),
    ("Workgroup Max Size:", "1024(0x400)"),
    ("Max Waves Per CU:", "40(0x28)"),
    ("Max Work-item Per CU:", "2560(0xa00)"),
    ("Grid Max Size:", "4294967295(0xffffffff)"),
    ("Segment:", "GLOBAL; FLAGS: COARSE GRAINED"),
    ("Segment:", "GROUP"),
    ("Size:", "64(0x40) KB"),
    ("Accessible by all:", "FALSE"),
    ("Name:", "amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-"),
];

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
