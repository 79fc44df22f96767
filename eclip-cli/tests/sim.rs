//! `eclip sim` and `eclip info`.

mod support;

use support::{eclip, run};

#[test]
fn rocminfo_shows_one_gfx906_of_60_compute_units() {
    let ended = run(&mut eclip(["sim", "--", "rocminfo"]));
    if ended.err.contains("cannot run rocminfo: No such file") {
        eprintln!("skipped: rocminfo is not installed");
        return;
    }
    let ended = ended.expect(0);
    let agents: Vec<&str> = ended.out.split("Agent ").skip(1).collect();
    let has = |agent: &str, key: &str, value: &str| {
        agent.lines().any(|line| line.trim().strip_prefix(key).is_some_and(|rest| rest.trim() == value))
    };
    let gpus: Vec<&&str> = agents.iter().filter(|agent| has(agent, "Device Type:", "GPU")).collect();
    assert_eq!(gpus.len(), 1, "{}", ended.out);
    assert!(has(gpus[0], "Name:", "gfx906") && has(gpus[0], "Compute Unit:", "60"), "{}", gpus[0]);
}

#[test]
fn the_program_s_exit_is_ours() {
    for code in [0, 1, 7, 255] {
        run(&mut eclip(["sim", "--", "sh", "-c", &format!("exit {code}")])).expect(code);
    }
    let ended = run(&mut eclip(["sim", "--", "sh", "-c", "kill -TERM $$"]));
    assert_eq!(ended.signal, Some(15), "{ended:?}");
    // What a shell makes of it.
    let script = format!("{} sim -- sh -c 'kill -TERM $$'; exit $?", env!("CARGO_BIN_EXE_eclip"));
    let ended = run(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
}

#[test]
fn arguments_and_environment_arrive() {
    run(&mut eclip(["sim", "--", "printf", "%s,", "--help", "a b", "-x", "--"]))
        .expect(0)
        .prints("--help,a b,-x,--,");
    // Without `--` too, and the device is the simulated one whatever was asked for.
    run(eclip(["sim", "sh", "-c", "echo device=$ECLIP_DEVICE"]).env("ECLIP_DEVICE", "real"))
        .expect(0)
        .prints("device=sim");
}

#[test]
fn what_cannot_be_started_is_named() {
    run(&mut eclip(["sim", "--", "/nowhere/program"]))
        .expect(1)
        .complains(&["cannot run /nowhere/program", "No such file"]);
    run(&mut eclip(["sim", "--", "/etc/passwd"]))
        .expect(1)
        .complains(&["cannot run /etc/passwd", "Permission denied"]);
    run(eclip(["sim", "--", "true"]).env("ECLIP_KFD_SIM", "/nowhere/libkfd_sim.so"))
        .expect(1)
        .complains(&["ECLIP_KFD_SIM", "/nowhere/libkfd_sim.so"]);
    run(&mut eclip(["sim"])).expect(2);
}

#[test]
fn eclip_runs_under_itself() {
    let eclip_itself = env!("CARGO_BIN_EXE_eclip");
    run(&mut eclip(["sim", "--", eclip_itself, "demo", "--images", "4"]))
        .expect(0)
        .prints("for all 4 images");
}

#[test]
fn info_tells_what_the_library_knows() {
    let ended = run(&mut eclip(["info"])).expect(0);
    for fact in [
        "simulated GPU (ECLIP_DEVICE=sim)",
        "libhsa-runtime64",
        "AMD Radeon Instinct MI50 (simulated)",
        "gfx906:sramecc+:xnack-, with code objects",
        "60 CUs = 4 SE x 1 SH x 15 CU, from the driver",
        "24 in hardware - 2 of ROCr - 0 of other programs = 22 to use",
        "16384 MiB",
    ] {
        assert!(ended.out.contains(fact), "{fact:?} is not in\n{}", ended.out);
    }
    run(eclip(["info"]).env("ECLIP_DEVICE", "SIM")).expect(1).complains(&["ECLIP_DEVICE is \"SIM\""]);
}

#[test]
fn a_static_program_is_refused_because_nothing_can_be_preloaded_into_it() {
    let folder = std::env::temp_dir().join(format!("eclip-static-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("main.c"), folder.join("main"));
    std::fs::write(&source, "int main(void) { return 0; }").unwrap();
    let built = std::process::Command::new("cc").arg("-static").arg(&source).arg("-o").arg(&program).status();
    if built.is_ok_and(|status| status.success()) {
        run(&mut eclip(["sim", "--", program.to_str().unwrap()]))
            .expect(1)
            .complains(&["statically linked", "would see the real machine"]);
    } else {
        eprintln!("skipped: cc -static does not work here");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
