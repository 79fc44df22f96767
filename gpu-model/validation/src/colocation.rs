//! Seven mixes of inference models at batch 8, sharing all SMs and on equal disjoint sets.
//!
//! Each worker repeats the kernels of one request, fitted alone ([`crate::kernels`]). The two measured times of each kernel alone, on
//! 132 and on 32 SMs, are all that the model knows of it.

use std::collections::BTreeMap;

use gpu_model::fit;
use gpu_model::scenario::{QueueSpec, Scenario, Step, Worker};
use gpu_model::{Device, Kernel};

use crate::Pair;
use crate::data::{self, ColocationRow, Launch, WHOLE};
use crate::kernels::{OTHER, observation};

/// One mix under one policy.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// 1 to 7.
    pub mix: u32,
    /// `baseline` or `disjoint_equal`.
    pub policy: String,
    /// Sum of rate / rate alone.
    pub stp: Pair,
    /// Each worker's rate / rate alone.
    pub workers: Vec<Pair>,
    /// Watts of the board.
    pub watts: Pair,
}

/// A request of `model`: its kernels and their order. Launches of one kernel and grid whose times differ by less than about 5 % are
/// taken as the same kernel.
pub fn trace(device: &Device, launches: &[Launch], model: &str) -> (BTreeMap<String, Kernel>, Vec<Step>) {
    let mut kernels = BTreeMap::new();
    let mut known = BTreeMap::new();
    let mut steps: Vec<Step> = Vec::new();
    for launch in launches.iter().filter(|launch| launch.model == model) {
        // Where the library chose another kernel on fewer SMs, the time is that of the other one.
        let seen = observation(launch).unwrap_or_else(|| {
            let mut launch = launch.clone();
            launch.us = launch.us_any.clone();
            observation(&launch).expect("measured on all counts")
        });
        let bucket = |us: f64| (us.ln() * 20.0).round() as i64;
        let shape = (launch.name.clone(), launch.blocks, launch.threads, launch.registers, launch.shared);
        let key = (shape, bucket(seen.whole_us), bucket(seen.part_us));
        let name = known.entry(key).or_insert_with(|| {
            let kernel = fit::fit(device, &seen).expect("a measured kernel fits").kernel;
            let name = format!("{model}-{}", launch.seq);
            kernels.insert(name.clone(), Kernel { name: name.clone(), ..kernel });
            name
        });
        match steps.last_mut() {
            Some(last) if last.kernel == *name => last.times = last.times.max(1) + 1,
            _ => steps.push(Step { kernel: name.clone(), ..Step::default() }),
        }
    }
    (kernels, steps)
}

/// A mix as a scenario.
pub fn scenario(
    traces: &BTreeMap<String, (BTreeMap<String, Kernel>, Vec<Step>)>,
    rows: &[ColocationRow],
) -> Scenario {
    let mut scenario = Scenario {
        about: format!("mix {} at batch 8, {}", rows[0].mix, rows[0].policy),
        device: "h200".to_owned(),
        duration_us: 1_100_000.0,
        warmup_us: 100_000.0,
        ..Scenario::default()
    };
    let mut first = 0;
    for row in rows {
        let (kernels, steps) = &traces[&row.model];
        scenario.kernels.extend(kernels.clone());
        let mask = if row.policy == "baseline" {
            "all".to_owned()
        } else {
            format!("{first}-{}", first + row.sms - 1)
        };
        first += row.sms;
        let queue = format!("q{}", row.worker);
        scenario.queues.insert(queue.clone(), QueueSpec { mask });
        scenario.workers.push(Worker {
            name: format!("{}-{}", row.model, row.worker),
            queue,
            kernels: steps.clone(),
            in_flight: 1,
            requests: None,
            // Workers did not begin at the same moment.
            start_us: row.worker as f64 * 1_700.0,
        });
    }
    scenario
}

/// The file's rows, mix by mix and policy by policy.
pub fn mixes() -> Vec<Vec<ColocationRow>> {
    let rows = data::colocation();
    rows.chunk_by(|a, b| (a.mix, &a.policy) == (b.mix, &b.policy)).map(<[ColocationRow]>::to_vec).collect()
}

/// Requests of all models of the file, fitted.
pub fn traces(device: &Device) -> BTreeMap<String, (BTreeMap<String, Kernel>, Vec<Step>)> {
    let launches = data::launches(8);
    let mut traces = BTreeMap::new();
    for row in data::colocation() {
        traces.entry(row.model.clone()).or_insert_with(|| trace(device, &launches, &row.model));
    }
    traces
}

/// Sums of the measured times of a model's kernels alone, us, on all SMs and on [`OTHER`].
pub fn busy_us(model: &str) -> (f64, f64) {
    let launches = data::launches(8);
    let sum = |sms: u32| launches.iter().filter(|l| l.model == model).map(|l| l.us_any[&sms]).sum();
    (sum(WHOLE), sum(OTHER))
}

/// All mixes under both policies.
pub fn compare(device: &Device) -> Vec<Comparison> {
    compare_some(device, &[1, 2, 3, 4, 5, 6, 7])
}

/// Some mixes under both policies.
pub fn compare_some(device: &Device, mixes: &[u32]) -> Vec<Comparison> {
    let traces = traces(device);
    let wanted = self::mixes().into_iter().filter(|rows| mixes.contains(&rows[0].mix));
    wanted.map(|rows| one(device, &traces, &rows)).collect()
}

fn one(
    device: &Device,
    traces: &BTreeMap<String, (BTreeMap<String, Kernel>, Vec<Step>)>,
    rows: &[ColocationRow],
) -> Comparison {
    let scenario = scenario(traces, rows);
    let outcome = gpu_model::run::run(&scenario, device).expect("a valid scenario");
    let pair = |(row, worker): (&ColocationRow, &gpu_model::run::WorkerOutcome)| Pair {
        label: row.model.clone(),
        measured: row.rps / row.alone_rps_full,
        model: worker.rate / worker.rate_whole_gpu,
    };
    let workers: Vec<Pair> = rows.iter().zip(&outcome.workers).map(pair).collect();
    let label = format!("mix {} {}", rows[0].mix, rows[0].policy);
    let stp = Pair {
        label: label.clone(),
        measured: workers.iter().map(|pair| pair.measured).sum(),
        model: workers.iter().map(|pair| pair.model).sum(),
    };
    let watts = Pair { label, measured: rows[0].watts_total, model: outcome.watts };
    Comparison { mix: rows[0].mix, policy: rows[0].policy.clone(), stp, workers, watts }
}

/// Turns a scenario of the H200 into one for `target` with the same workgroups: each wave needs as much longer as a SIMD unit is
/// slower in FP32, bytes stay, registers and local memory are cut to what a CU holds, and equal SM sets become shader engines.
/// Only for measuring how long computing takes.
pub fn to_mi50(scenario: &mut Scenario, source: &Device, target: &Device) {
    // FP32 lanes x GHz of a SIMD unit: 32 x 1.98 (H200), 16 x 1.725 (MI50); two warps make a wave.
    let slower = 32.0 * 1.98 / (16.0 * 1.725) * 2.0;
    for kernel in scenario.kernels.values_mut() {
        kernel.waves = kernel.waves.div_ceil(2);
        kernel.registers = (kernel.registers / 2).min(128);
        kernel.lds_bytes = kernel.lds_bytes.min(65536);
        kernel.issue_ns *= slower;
        kernel.latency_ns *= 2.0;
        kernel.overhead_ns = None;
    }
    let engines = target.shape.shader_engines.value as usize;
    for (index, queue) in scenario.queues.values_mut().enumerate() {
        if queue.mask != "all" {
            queue.mask = format!("se{}", index % engines);
        }
    }
    scenario.about = scenario.about.clone() + ", on " + &target.name + " instead of " + &source.name;
}
