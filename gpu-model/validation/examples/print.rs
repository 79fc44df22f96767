//! Prints comparisons: measured, model, error. `print LETTERS`: m masks, k kernels, p power, i interference, c mixes.

use std::time::Instant;

use gpu_model::Device;
use gpu_model_validation::{Pair, colocation, data, interference, kernels, masks, power, stats};

fn line(pair: &Pair) {
    println!(
        "  {:36} measured {:10.3} model {:10.3} error {:+6.1} %",
        pair.label,
        pair.measured,
        pair.model,
        100.0 * pair.error()
    );
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let (mi50, h200) = (Device::mi50(), Device::h200());
    if what.contains('m') {
        let (issue, rows) = masks::compare(&mi50);
        println!("masks: issue {issue}");
        rows.iter().for_each(|(_, pair)| line(pair));
        let errors: Vec<f64> = rows.iter().map(|(_, pair)| pair.error()).collect();
        println!("  mean {:.4} worst {:.4}", stats::mean_abs(&errors), stats::worst(&errors));
    }
    if what.contains('k') {
        for batch in [4, 16, 1, 8, 32] {
            let from = Instant::now();
            let compared = kernels::compare(&h200, data::launches(batch));
            let errors: Vec<f64> = compared.iter().flat_map(|c| c.errors().collect::<Vec<_>>()).collect();
            let curve: Vec<f64> =
                compared.iter().flat_map(|c| c.curve_errors().collect::<Vec<_>>()).collect();
            println!(
                "batch {batch}: {} kernels, model mean {:.3} p90 {:.3}; curve mean {:.3} p90 {:.3}; {:?}",
                compared.len(),
                stats::mean_abs(&errors),
                stats::percentile_abs(&errors, 90.0),
                stats::mean_abs(&curve),
                stats::percentile_abs(&curve, 90.0),
                from.elapsed()
            );
        }
    }
    if what.contains('p') {
        println!("calibrated {:?}", power::calibrate(&h200));
        power::rates(&h200).iter().for_each(|(_, pair)| line(pair));
        println!("terms {:?}", power::fit(&data::power()));
        power::leave_one_out().iter().for_each(|(_, pair)| line(pair));
    }
    if what.contains('i') {
        interference::compare(&h200).iter().flat_map(|c| &c.slowdowns).for_each(line);
    }
    if what.contains('c') {
        let from = Instant::now();
        for mix in colocation::compare(&h200) {
            line(&mix.stp);
            mix.workers.iter().for_each(line);
            line(&mix.watts);
        }
        println!("{:?}", from.elapsed());
    }
}
