//! [`gpu_model`] beside measurements of real GPUs: what was measured, what the model says, how far apart they are.
//!
//! The measurements are in `gpu-model/data`, whose `README.md` says where they are from. Calibration used `kernels-b4` and
//! `kernels-b16`, `power.csv`, `overheads.csv` and one parameter of `rtns21-cu-mask.csv`; everything else is only compared. Each
//! module makes one comparison; `tests/` holds it against its target and the command `eclip model report` plots it.

pub mod colocation;
pub mod copies;
pub mod data;
pub mod files;
pub mod interference;
pub mod kernels;
pub mod masks;
pub mod power;
pub mod stats;

/// A measured value and the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What.
    pub label: String,
    /// Measured.
    pub measured: f64,
    /// The model's.
    pub model: f64,
}

impl Pair {
    /// Relative error of the model, signed.
    pub fn error(&self) -> f64 {
        self.model / self.measured - 1.0
    }
}
