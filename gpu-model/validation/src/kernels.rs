//! Kernels of inference models against the number of SMs: the model, fitted to two counts, at all the others.

use std::sync::Arc;

use gpu_model::engine::{Gpu, Order};
use gpu_model::fit::{self, Fit, Observation};
use gpu_model::{Device, Kernel, Mask};

use crate::data::{Launch, WHOLE};

/// The other count that both the model and the curve are fitted to.
pub const OTHER: u32 = 32;

/// What a fit may see of a launch; `None` if the library chose another kernel at [`OTHER`].
pub fn observation(launch: &Launch) -> Option<Observation> {
    let shape = Kernel {
        registers: launch.registers,
        lds_bytes: launch.shared,
        ..Kernel::compute(&launch.name, launch.blocks, launch.threads.div_ceil(32), 0.0)
    };
    let (whole_us, part_us) = (*launch.us.get(&WHOLE)?, *launch.us.get(&OTHER)?);
    Some(Observation { shape, whole_us, cus: OTHER, part_us })
}

/// Time of a kernel alone on `sms` SMs, us, by the model.
pub fn time_us(device: &Device, kernel: &Arc<Kernel>, sms: u32) -> f64 {
    let mut gpu = Gpu::new(device.clone(), 0).expect("a shipped device");
    let queue = gpu.add_queue(Mask::from_cus(device, 0..sms as usize).expect("SMs of the device"));
    gpu.submit(queue, kernel, &Order::default()).expect("a measured kernel fits");
    let mut end = 0.0;
    while let Some(event) = gpu.advance(f64::INFINITY) {
        end = event.time;
    }
    end / 1e3
}

/// A launch, its fit, and for each further count: SMs, measured, model, curve a + b/s through the same two points; all us.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was measured.
    pub launch: Launch,
    /// How it was understood.
    pub fit: Fit,
    /// At the counts that the fit did not see.
    pub points: Vec<(u32, f64, f64, f64)>,
}

impl Comparison {
    /// The model's relative errors.
    pub fn errors(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, measured, model, _)| model / measured - 1.0)
    }

    /// The curve's.
    pub fn curve_errors(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, measured, _, curve)| curve / measured - 1.0)
    }
}

/// Kernels of at least 20 us on the whole GPU, without resnext101, whose kernels overlap.
pub fn compare(device: &Device, launches: Vec<Launch>) -> Vec<Comparison> {
    let long = |launch: &Launch| launch.model != "resnext101" && launch.us[&WHOLE] >= 20.0;
    let one = |launch: Launch| {
        let seen = observation(&launch)?;
        let fit = fit::fit(device, &seen).expect("a measured kernel fits");
        let kernel = Arc::new(fit.kernel.clone());
        let (whole, other) = (f64::from(WHOLE), f64::from(OTHER));
        let b = (seen.part_us - seen.whole_us) / (1.0 / other - 1.0 / whole);
        let a = seen.whole_us - b / whole;
        let others = launch.us.iter().filter(|(sms, _)| ![WHOLE, OTHER].contains(sms));
        let point =
            |(&sms, &us): (&u32, &f64)| (sms, us, time_us(device, &kernel, sms), a + b / f64::from(sms));
        let points = others.map(point).collect();
        Some(Comparison { launch, fit, points })
    };
    launches.into_iter().filter(long).filter_map(one).collect()
}
