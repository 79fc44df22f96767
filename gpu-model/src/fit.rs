//! A kernel from its shape and two measured times: on the whole GPU and on some of its CUs.
//!
//! Two hypotheses. **Issue-bound:** the time is rounds of workgroups that share each CU's SIMD units; unknown are the issue time of
//! a wave and how many waves saturate a SIMD unit. **Memory-bound** on the whole GPU: fewer CUs lose less than any rounds
//! explain; unknown are the bytes and the latency that bounds a workgroup when memory does not. Whichever explains the
//! ratio of the two times is taken, and among equals the saturation nearest to the device's constant.

use crate::device::Device;
use crate::error::ModelError;
use crate::kernel::Kernel;

/// What was measured of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its shape: name, workgroups, waves, registers, local memory. What it must do is ignored.
    pub shape: Kernel,
    /// Time on all CUs, us.
    pub whole_us: f64,
    /// Number of CUs of the other measurement; evenly spread over the shader engines.
    pub cus: u32,
    /// Time on so many CUs, us.
    pub part_us: f64,
}

/// Which hypothesis explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bound by the SIMD units.
    Issue,
    /// Bound by memory on the whole GPU.
    Memory,
}

/// The kernel that takes these times.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// With what it must do.
    pub kernel: Kernel,
    /// Bound by what.
    pub kind: Kind,
    /// How far the model's ratio of the two times is from the measured one: |ln|. 0 = both are met.
    pub residual: f64,
}

/// How much a saturation away from the device's constant must explain to be taken.
const RELUCTANCE: f64 = 0.1;
/// How much better the less usual placement must explain the times.
const MARGIN: f64 = 0.03;
/// Part of a short kernel's time that may be launch and completion.
const MOST_OVERHEAD: f64 = 0.6;

struct Shape {
    workgroups: u64,
    /// Waves of a workgroup over SIMD units.
    load: f64,
    per_cu: u64,
}

impl Shape {
    /// Time of `n` workgroups on a CU, in units of one alone.
    fn together(&self, n: u64, saturating: f64) -> f64 {
        let one = self.load.ceil().max(saturating);
        (n as f64 * self.load).ceil().max(saturating) / one
    }

    /// Time on `cus` CUs, in units of one workgroup alone.
    fn rounds(&self, cus: u64, saturating: f64, fill: bool) -> f64 {
        let slots = cus * self.per_cu;
        let (full, rest) = (self.workgroups / slots, self.workgroups % slots);
        let mut time = full as f64 * self.together(self.per_cu, saturating);
        if rest > 0 {
            let n = if fill && full > 0 { self.per_cu.min(rest) } else { rest.div_ceil(cus) };
            time += self.together(n, saturating);
        }
        time
    }
}

/// Fits a kernel to `seen`.
pub fn fit(device: &Device, seen: &Observation) -> Result<Fit, ModelError> {
    let wrong = |what: &str| ModelError::Kernel { name: seen.shape.name.clone(), what: what.to_owned() };
    let whole = device.cus() as u64;
    let part = u64::from(seen.cus);
    if part == 0 || part >= whole {
        return Err(wrong("the second measurement must be on fewer CUs than the first, and on at least one"));
    }
    if !(seen.whole_us.is_finite() && seen.part_us.is_finite() && seen.whole_us > 0.0 && seen.part_us > 0.0) {
        return Err(wrong("times must be more than 0"));
    }
    let usual = device.cp.launch_ns.value + device.cp.completion_ns.value;
    let overhead = usual.min(MOST_OVERHEAD * 1e3 * seen.whole_us.min(seen.part_us));
    let (long, short) = (seen.part_us * 1e3 - overhead, seen.whole_us * 1e3 - overhead);
    let simds = device.shape.simds_per_cu.value;
    let base = Kernel {
        issue_ns: 0.0,
        bytes: 0.0,
        latency_ns: 0.0,
        saturating_waves: None,
        overhead_ns: (overhead < usual).then_some(overhead),
        ends_together: false,
        ..seen.shape.clone()
    };
    let shape = Shape {
        workgroups: base.workgroups,
        load: f64::from(base.waves) / simds,
        per_cu: u64::from(base.workgroups_per_cu(device)?),
    };
    let ratio = long / short;
    let mut best: Option<(f64, Fit)> = None;
    for fill in [false, true] {
        let most = (shape.per_cu as f64 * shape.load).ceil().max(1.01);
        let grid = (0..80).map(|i| (most.ln() * f64::from(i) / 79.0).exp());
        let explained = |x: f64| shape.rounds(part, x, fill) / shape.rounds(whole, x, fill);
        let least = grid.clone().map(explained).fold(f64::INFINITY, f64::min);
        let candidate = memory_bound(device, &shape, &base, seen, (short, long));
        let candidate = candidate.filter(|_| !fill && ratio < 0.98 * least);
        let candidate = candidate.map(|fit| (0.0, fit)).unwrap_or_else(|| {
            let usual = device.compute.saturating_waves.value;
            let cost = |x: f64| (explained(x) / ratio).ln().abs() + RELUCTANCE * (x / usual).ln().abs();
            let x = grid.clone().min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("80 of them");
            let one = (short / shape.rounds(whole, x, fill) * long / shape.rounds(part, x, fill)).sqrt();
            let kernel = Kernel {
                issue_ns: one / shape.load.ceil().max(x),
                saturating_waves: Some(x),
                ends_together: fill,
                ..base.clone()
            };
            let residual = (explained(x) / ratio).ln().abs();
            (cost(x), Fit { kernel, kind: Kind::Issue, residual })
        });
        if best.as_ref().is_none_or(|(cost, _)| candidate.0 < cost - MARGIN) {
            best = Some(candidate);
        }
    }
    Ok(best.expect("one of two").1)
}

/// Bytes from the time on the whole GPU, latency from the other.
fn memory_bound(
    device: &Device,
    shape: &Shape,
    base: &Kernel,
    seen: &Observation,
    (short, long): (f64, f64),
) -> Option<Fit> {
    let rounds = |cus: u64| (shape.workgroups as f64 / (cus * shape.per_cu) as f64).ceil();
    let latency = long / rounds(u64::from(seen.cus));
    let without_memory = latency * rounds(device.cus() as u64);
    let knee = device.memory.knee.value;
    let memory = short * (1.0 - (without_memory / short).powf(knee)).max(0.0).powf(1.0 / knee);
    if without_memory >= short || memory <= 0.0 {
        return None;
    }
    // No CU moves more than it can.
    let bytes = memory * device.memory.bandwidth.value;
    let movable =
        |cus: u64, time: f64| shape.workgroups.min(cus) as f64 * device.memory.cu_bandwidth.value * time;
    if bytes > movable(u64::from(seen.cus), long) || bytes > movable(device.cus() as u64, short) {
        return None;
    }
    let waves = shape.workgroups as f64 * f64::from(base.waves);
    let units = f64::from(seen.cus) * device.shape.simds_per_cu.value;
    let kernel = Kernel {
        bytes: bytes / shape.workgroups as f64,
        latency_ns: latency,
        issue_ns: device.compute.latency_bound_issue.value * long * units / waves,
        ..base.clone()
    };
    Some(Fit { kernel, kind: Kind::Memory, residual: 0.0 })
}
