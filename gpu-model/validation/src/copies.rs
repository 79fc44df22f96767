//! The two kernels of `power.csv` and `interference.csv`, as the model's.
//!
//! Their launches, blocks and bytes are known, their registers are not; see [`FMA_REGISTERS`].

use gpu_model::scenario::{QueueSpec, Scenario, Step, Worker};
use gpu_model::{Device, Kernel};

/// Blocks of the FMA kernel, of 256 threads.
pub const FMA_BLOCKS: u64 = 528;
/// Registers of a thread such that an SM holds 4 of its blocks. Not in the data, and chosen because the pair of FMA and copy on shared SMs
/// decides it: with 32 registers an SM holds 8, and the model's slow-downs are 1.43 and 1.02 where 1.22 and 3.56 were measured. So that
/// pair is no independent evidence for the model.
pub const FMA_REGISTERS: u32 = 64;
/// Bytes read and written by a copy.
pub const COPY_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// Blocks of the copy, of 256 threads that each move 16 bytes at a time. Assumed.
pub const COPY_BLOCKS: u64 = 8192;
/// Between the end of a kernel in a stream and the start of the next, ns (overheads.csv: chains of kernels of 20 and 50 us).
pub const STREAM_GAP_NS: f64 = 1450.0;

/// The FMA kernel; `issue_ns` of each of its warps.
pub fn fma(issue_ns: f64) -> Kernel {
    Kernel { registers: FMA_REGISTERS, ..Kernel::compute("fma", FMA_BLOCKS, 8, issue_ns) }
}

/// The copy kernel; `latency_ns` bounds a block's rate when memory does not.
pub fn copy(latency_ns: f64) -> Kernel {
    Kernel {
        bytes: COPY_BYTES / COPY_BLOCKS as f64,
        latency_ns,
        registers: 32,
        ..Kernel::compute("copy", COPY_BLOCKS, 8, 20.0)
    }
}

/// The kernels with what was fitted to their rates alone in `power.csv`.
pub fn calibrated(name: &str) -> Kernel {
    match name {
        "fma" => fma(FMA_ISSUE_NS),
        _ => copy(COPY_LATENCY_NS),
    }
}

/// Issue time of a warp of the FMA kernel; calibrated: see [`crate::power::calibrate`].
pub const FMA_ISSUE_NS: f64 = 8692.0;
/// Least time of a block of the copy kernel; calibrated: see [`crate::power::calibrate`].
pub const COPY_LATENCY_NS: f64 = 792.0;

/// Kernels in closed loops of eight launches in flight, each on its SMs.
pub fn scenario(loops: &[(Kernel, String)]) -> Scenario {
    let mut scenario = Scenario {
        device: "h200".to_owned(),
        duration_us: 40_000.0,
        warmup_us: 4_000.0,
        set: [("cp.dependent_ns".to_owned(), STREAM_GAP_NS)].into(),
        ..Scenario::default()
    };
    for (index, (kernel, mask)) in loops.iter().enumerate() {
        let queue = format!("{}{index}", kernel.name);
        scenario.kernels.insert(queue.clone(), Kernel { name: queue.clone(), ..kernel.clone() });
        scenario.queues.insert(queue.clone(), QueueSpec { mask: mask.clone() });
        scenario.workers.push(Worker {
            name: queue.clone(),
            kernels: vec![Step { kernel: queue.clone(), ..Step::default() }],
            queue,
            in_flight: 8,
            requests: None,
            start_us: 0.0,
        });
    }
    scenario
}

/// Launches a second of one kernel alone on the first `sms` SMs.
pub fn rate_alone(device: &Device, kernel: &Kernel, sms: usize) -> f64 {
    let scenario = scenario(&[(kernel.clone(), format!("0-{}", sms - 1))]);
    let device = scenario.adjust(device.clone()).expect("constants of the device");
    gpu_model::run::measure(&scenario, &device).expect("a valid scenario").0[0]
}
