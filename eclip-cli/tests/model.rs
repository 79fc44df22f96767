//! `eclip model`: scenarios, constants, and what is said of wrong ones.

mod support;

use support::{eclip, run};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpu-model/scenarios");

fn scenario(name: &str) -> String {
    format!("{SCENARIOS}/{name}.toml")
}

#[test]
fn a_scenario_gives_times_rates_and_watts() {
    let file = scenario("mask-sw4-16");
    let ended = run(&mut eclip(["model", "run", &file, "--json"])).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json[0]["simulated"], true);
    let kernel = &json[0]["outcome"]["workers"][0]["kernels"][0];
    // Measured: 86.85 ms.
    let us = kernel["mean_us"].as_f64().unwrap();
    assert!((us / 86_850.0 - 1.0).abs() < 0.12, "{us}");
    assert!(json[0]["outcome"]["watts"].as_f64().unwrap() > 25.0);
    run(&mut eclip(["model", "run", &file, "--kernels"]))
        .expect(0)
        .prints("simulated AMD MI50")
        .prints("STP");
}

#[test]
fn constants_are_swept() {
    let file = scenario("mask-sw1-60");
    let ended =
        run(&mut eclip(["model", "run", &file, "--json", "--set", "power.idle_w=10,20,30"])).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let watts: Vec<f64> = (0..3).map(|i| json[i]["outcome"]["watts"].as_f64().unwrap()).collect();
    assert!(
        (watts[1] - watts[0] - 10.0).abs() < 1e-6 && (watts[2] - watts[1] - 10.0).abs() < 1e-6,
        "{watts:?}"
    );
}

#[test]
fn includes_are_found_beside_the_file_and_another_device_runs_it() {
    let file = scenario("pair-fma-copy-full-shared");
    run(&mut eclip(["model", "run", &file])).expect(0).prints("simulated NVIDIA H200").prints("fma0");
    run(&mut eclip(["model", "run", &file, "--device", "mi50"])).expect(1).complains(&["CUs"]);
}

#[test]
fn wrong_input_is_told_from_right() {
    let file = scenario("mask-sw1-01");
    run(&mut eclip(["model", "run", "/no/such.toml"])).expect(1).complains(&["cannot read /no/such.toml"]);
    run(&mut eclip(["model", "run", &file, "--device", "mi5"])).expect(1).complains(&["mi5", "mi50, h200"]);
    run(&mut eclip(["model", "run", &file, "--set", "power.idel_w=1"]))
        .expect(1)
        .complains(&["power.idel_w", "power.idle_w"]);
    run(&mut eclip(["model", "run", &file, "--set", "memory.bandwidth=-1"]))
        .expect(1)
        .complains(&["memory.bandwidth"]);
    assert_eq!(run(&mut eclip(["model", "run", &file, "--set", "x"])).code, Some(2));
}

#[test]
fn a_device_names_its_sources() {
    run(&mut eclip(["model", "device"])).expect(0).prints("cp.mask_max_ns").prints("ECLIP paper");
    let assumed =
        run(&mut eclip(["model", "device", "mi50", "--assumed"])).expect(0).prints("compute.interference");
    assert!(!assumed.out.contains("shape.simds_per_cu"));
}

#[test]
fn the_report_has_every_part() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("model.html");
    let ended = run(&mut eclip(["model", "report", "--quick", "--out", file.to_str().unwrap()])).expect(0);
    assert!(ended.out.contains("CU masks, mean error"), "{ended:#?}");
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.matches("<svg").count() >= 6 && page.contains("compute.interference"));
}
