//! Two kernels in closed loops, on disjoint SMs and sharing all.

use gpu_model::Device;

use crate::Pair;
use crate::copies::{calibrated, scenario};
use crate::data::{self, InterferenceRow};

/// Slow-down of each kernel of a row: rate alone / rate together. The model's rate alone is the model's.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was measured.
    pub row: InterferenceRow,
    /// Of the first and the second kernel.
    pub slowdowns: [Pair; 2],
}

/// All rows.
pub fn compare(device: &Device) -> Vec<Comparison> {
    data::interference().into_iter().map(|row| one(device, row)).collect()
}

/// The SMs of a row's two kernels.
pub fn masks(row: &InterferenceRow) -> [String; 2] {
    if row.partition == "disjoint" {
        [format!("0-{}", row.sms_a - 1), format!("{}-{}", row.sms_a, row.sms_a + row.sms_b - 1)]
    } else {
        [format!("0-{}", row.sms_a - 1), format!("0-{}", row.sms_b - 1)]
    }
}

fn one(device: &Device, row: InterferenceRow) -> Comparison {
    let [a, b] = masks(&row);
    let loops = [(calibrated(&row.kernel_a), a), (calibrated(&row.kernel_b), b)];
    let scenario = scenario(&loops);
    let device = scenario.adjust(device.clone()).expect("constants of the device");
    let outcome = gpu_model::run::run(&scenario, &device).expect("a valid scenario");
    let measured = [
        row.rate_a_alone_per_s / row.rate_a_together_per_s,
        row.rate_b_alone_per_s / row.rate_b_together_per_s,
    ];
    let names = [(&row.kernel_a, &row.kernel_b), (&row.kernel_b, &row.kernel_a)];
    let pair = |index: usize| Pair {
        label: format!("{} beside {}, {}", names[index].0, names[index].1, row.partition),
        measured: measured[index],
        model: outcome.workers[index].slowdown,
    };
    let slowdowns = [pair(0), pair(1)];
    Comparison { row, slowdowns }
}
