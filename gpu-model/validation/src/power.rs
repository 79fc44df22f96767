//! Watts against active SMs, and what is calibrated on `power.csv`.
//!
//! Watts = idle + issue x SIMD units' worth of issue + energy per byte x bytes a second + a constant while memory is in use +
//! a constant for each SM in use. The coefficients are fitted to all points but one, which is then predicted.

use gpu_model::Device;

use crate::Pair;
use crate::copies::{self, COPY_BYTES, FMA_BLOCKS};
use crate::data::{self, PowerRow};
use crate::stats::least_squares;

/// Coefficients: idle W, W per SIMD unit issuing, pJ per byte, W while memory is in use, W per SM in use.
pub type Terms = [f64; 5];

/// Names and units of [`Terms`].
pub const TERMS: [&str; 5] =
    ["idle W", "issue W per SIMD unit", "pJ per byte", "memory awake W", "W per SM in use"];

/// What draws power in a row, for a coefficient each. Rates are the measured ones: only power is judged.
fn row_terms(row: &PowerRow) -> Vec<f64> {
    let (issue, bytes) = match row.kernel.as_str() {
        "fma" => (row.kernels_per_s * FMA_BLOCKS as f64 * 8.0 * copies::FMA_ISSUE_NS * 1e-9, 0.0),
        "copy" => (0.0, row.kernels_per_s * COPY_BYTES),
        _ => (0.0, 0.0),
    };
    vec![1.0, issue, bytes * 1e-12, f64::from(bytes > 0.0), row.sms as f64]
}

/// The coefficients for `rows`, none below 0.
pub fn fit(rows: &[PowerRow]) -> Terms {
    let terms: Vec<Vec<f64>> = rows.iter().map(row_terms).collect();
    let watts: Vec<f64> = rows.iter().map(|row| row.watts).collect();
    let solution = least_squares(&terms, &watts).expect("the points determine the coefficients");
    solution.try_into().expect("five coefficients")
}

/// Each point, predicted from the others.
pub fn leave_one_out() -> Vec<(PowerRow, Pair)> {
    let rows = data::power();
    let one = |index: usize| {
        let row = rows[index].clone();
        let others: Vec<PowerRow> =
            rows.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, r)| r.clone()).collect();
        let model = fit(&others).iter().zip(row_terms(&row)).map(|(a, b)| a * b).sum();
        let label = format!("{} on {} SMs", row.kernel, row.sms);
        (row.clone(), Pair { label, measured: row.watts, model })
    };
    (0..rows.len()).map(one).collect()
}

/// The two numbers that [`copies`] takes from the rates alone: the issue time of the FMA kernel and the latency of the copy, for which
/// the mean of ln(model / measured) is 0 (copies: up to 48 SMs, where memory does not bind).
pub fn calibrate(device: &Device) -> (f64, f64) {
    let rows = data::power();
    let solve = |kernel: &str, most: usize, mut value: f64, make: fn(f64) -> gpu_model::Kernel| {
        for _ in 0..6 {
            let rows = rows.iter().filter(|row| row.kernel == kernel && row.sms <= most);
            let log =
                |row: &PowerRow| (copies::rate_alone(device, &make(value), row.sms) / row.kernels_per_s).ln();
            let logs: Vec<f64> = rows.map(log).collect();
            value *= (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        }
        value
    };
    (
        solve("fma", 132, copies::FMA_ISSUE_NS, copies::fma),
        solve("copy", 48, copies::COPY_LATENCY_NS, copies::copy),
    )
}

/// Rates alone of both kernels at every count, launches a second.
pub fn rates(device: &Device) -> Vec<(PowerRow, Pair)> {
    let rows = data::power().into_iter().filter(|row| row.sms > 0);
    let pair = |row: PowerRow| {
        let model = copies::rate_alone(device, &copies::calibrated(&row.kernel), row.sms);
        let label = format!("{} on {} SMs", row.kernel, row.sms);
        (row.clone(), Pair { label, measured: row.kernels_per_s, model })
    };
    rows.map(pair).collect()
}
