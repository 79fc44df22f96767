//! How long a second of GPU time takes to compute: mixes at batch 8, shared and split.

use std::time::Instant;

use gpu_model::{Device, run};
use gpu_model_validation::colocation;

fn main() {
    let only: Option<u32> = std::env::args().nth(1).and_then(|mix| mix.parse().ok());
    let mi50_only = std::env::args().nth(2).is_some();
    for device in [Device::h200(), Device::mi50()].into_iter().skip(usize::from(mi50_only)) {
        let h200 = Device::h200();
        let traces = colocation::traces(&h200);
        for rows in colocation::mixes().into_iter().filter(|rows| only.is_none_or(|only| only == rows[0].mix))
        {
            let mut scenario = colocation::scenario(&traces, &rows);
            scenario.duration_us = 300_000.0;
            if device.name != h200.name {
                colocation::to_mi50(&mut scenario, &h200, &device);
            }
            let from = Instant::now();
            let (rates, watts, effort) = run::measure(&scenario, &device).unwrap();
            let seconds = from.elapsed().as_secs_f64() / (scenario.duration_us * 1e-6);
            println!(
                "{} {}: {seconds:.2} s per GPU second; {rates:.1?}/s {watts:.0} W {effort:?}",
                device.name, scenario.about
            );
        }
    }
}
