//! How long a second of GPU time takes to compute: mixes at batch 8, shared and split, on the H200 and, with the same workgroups, on the
//! MI50. `speed [MIX] [--fast]`

use std::time::Instant;

use gpu_model::engine::Precision;
use gpu_model::{Device, run};
use gpu_model_validation::colocation;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let only: Option<u32> = arguments.next().and_then(|mix| mix.parse().ok());
    let precision = if arguments.next().is_some() { Precision::FAST } else { Precision::default() };
    let h200 = Device::h200();
    let traces = colocation::traces(&h200);
    for device in [Device::h200(), Device::mi50()] {
        for rows in colocation::mixes().into_iter().filter(|rows| only.is_none_or(|only| only == rows[0].mix))
        {
            let mut scenario = colocation::scenario(&traces, &rows);
            if device.name != h200.name {
                colocation::to_mi50(&mut scenario, &h200, &device);
            }
            let from = Instant::now();
            let (rates, watts, effort) =
                run::measure_with(&scenario, &device, precision).expect("a valid mix");
            let seconds = from.elapsed().as_secs_f64() / (scenario.duration_us * 1e-6);
            println!(
                "{}: {seconds:.2} s per GPU second; {rates:.1?}/s {watts:.0} W {effort:?}",
                scenario.about
            );
        }
    }
}
