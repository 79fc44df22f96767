//! The validation cases as scenario files, for `eclip model run`: `gpu-model/scenarios`.

use std::collections::BTreeMap;

use gpu_model::scenario::{QueueSpec, Scenario, Step, Worker};
use gpu_model::{Device, Kernel};

use crate::{colocation, copies, data, interference, masks};

#[derive(serde::Serialize)]
struct Trace {
    kernels: BTreeMap<String, Kernel>,
}

/// Five digits: no measurement has more.
fn rounded(kernel: &Kernel) -> Kernel {
    let round = |value: f64| if value == 0.0 { 0.0 } else { format!("{value:.4e}").parse().unwrap_or(value) };
    Kernel {
        name: String::new(),
        issue_ns: round(kernel.issue_ns),
        bytes: round(kernel.bytes),
        latency_ns: round(kernel.latency_ns),
        saturating_waves: kernel.saturating_waves.map(round),
        overhead_ns: kernel.overhead_ns.map(round),
        ..kernel.clone()
    }
}

fn text(about: &str, scenario: &Scenario) -> String {
    let kernels = scenario.kernels.iter().map(|(name, kernel)| (name.clone(), rounded(kernel))).collect();
    let body =
        toml::to_string(&Scenario { kernels, ..scenario.clone() }).expect("a scenario is a TOML document");
    let about: String = about.lines().map(|line| format!("# {line}\n")).collect();
    about + &body
}

/// Every file: path below the folder, and text.
pub fn all() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let (mi50, h200) = (Device::mi50(), Device::h200());
    let issue = masks::fitted_issue_ns(&mi50);
    for row in data::masks().iter().filter(|row| [1, 15, 16, 30, 60].contains(&row.enabled_cus)) {
        let mut scenario = Scenario { device: "mi50".to_owned(), ..Scenario::default() };
        scenario.about = format!("a matrix multiply under a CU mask, {} {}", row.sweep, row.enabled_cus);
        scenario.kernels.insert("gemm".to_owned(), masks::kernel(issue));
        scenario.queues.insert("q".to_owned(), QueueSpec { mask: format!("0x{}", row.cu_mask_hex) });
        scenario.workers.push(Worker {
            name: "gemm".to_owned(),
            queue: "q".to_owned(),
            kernels: vec![Step { kernel: "gemm".to_owned(), ..Step::default() }],
            in_flight: 1,
            requests: Some(1),
            start_us: 0.0,
        });
        let about =
            format!("rtns21-cu-mask.csv, {} {}: measured {} ms.", row.sweep, row.enabled_cus, row.mean_ms);
        files.push((format!("mask-{}-{:02}.toml", row.sweep, row.enabled_cus), text(&about, &scenario)));
    }
    for row in data::interference() {
        let [a, b] = interference::masks(&row);
        let loops = [(copies::calibrated(&row.kernel_a), a), (copies::calibrated(&row.kernel_b), b)];
        let mut scenario = copies::scenario(&loops);
        scenario.about = format!("{} and {}, {}", row.kernel_a, row.kernel_b, row.partition);
        let about = format!(
            "interference.csv: measured {} and {} launches a second, alone {} and {}.",
            row.rate_a_together_per_s,
            row.rate_b_together_per_s,
            row.rate_a_alone_per_s,
            row.rate_b_alone_per_s
        );
        let name = format!("pair-{}-{}-{}.toml", row.kernel_a, row.kernel_b, row.partition);
        files.push((name.replace('_', "-"), text(&about, &scenario)));
    }
    let traces = colocation::traces(&h200);
    for (model, (kernels, _)) in &traces {
        let kernels = kernels.iter().map(|(name, kernel)| (name.clone(), rounded(kernel))).collect();
        let body = toml::to_string(&Trace { kernels }).expect("kernels are a TOML document");
        let about = format!(
            "# Kernels of a request to {model} at batch 8, each fitted to its times on 132 and 32 SMs of an H200.\n"
        );
        files.push((format!("traces/{model}-b8.toml"), about + &body));
    }
    for rows in colocation::mixes() {
        let mut scenario = colocation::scenario(&traces, &rows);
        scenario.kernels.clear();
        let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
        models.dedup();
        scenario.include = models.iter().map(|model| format!("traces/{model}-b8.toml")).collect();
        let measured =
            rows.iter().map(|row| format!("{} {} of {} alone", row.model, row.rps, row.alone_rps_full));
        let measured = measured.collect::<Vec<_>>().join(", ");
        let about = format!(
            "colocation-b8.csv, mix {}, {}: measured requests a second: {measured}.",
            rows[0].mix, rows[0].policy
        );
        let name = format!("mix{}-{}.toml", rows[0].mix, rows[0].policy).replace('_', "-");
        files.push((name, text(&about, &scenario)));
    }
    files
}
