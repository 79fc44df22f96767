//! How an AMD GPU spends time and power: a deterministic discrete-event model in GPU nanoseconds.
//!
//! Pure: no I/O, no thread, no clock of its own. The same [`engine::Gpu`] serves two kinds of callers.
//!
//! # As fast as it computes
//! [`run::run`] runs a whole [`scenario::Scenario`] (kernels, queues with masks, workers) and each worker alone:
//! ```
//! let text = r#"
//!     duration_us = 2000
//!     [kernels.gemm]
//!     workgroups = 480
//!     waves = 4
//!     registers = 84
//!     issue_ns = 2500
//!     [queues.left]
//!     mask = "se0,se1"
//!     [[workers]]
//!     queue = "left"
//!     kernels = [{ kernel = "gemm" }]
//! "#;
//! let scenario = gpu_model::Scenario::parse("example", text, |_| Err("nothing is included".to_owned()))?;
//! let outcome = gpu_model::run::run(&scenario, &scenario.device()?)?;
//! assert!(outcome.workers[0].rate > 0.0 && outcome.watts > 0.0);
//! # Ok::<(), gpu_model::ModelError>(())
//! ```
//!
//! # Paced by the caller
//! [`engine::Gpu::submit`], [`engine::Gpu::set_mask`], [`engine::Gpu::add_queue`] and [`engine::Gpu::remove_queue`] act at
//! [`engine::Gpu::now`]. [`engine::Gpu::advance`] lets time pass up to a limit, or to the first start or end of a kernel before it, and
//! returns that; [`engine::Gpu::next_moment`] says how long the caller may sleep. A simulated device calls it so:
//! ```
//! use std::sync::Arc;
//! use gpu_model::engine::{EventKind, Order};
//! use gpu_model::{Device, Gpu, Kernel, Mask};
//!
//! let device = Device::mi50();
//! let mut gpu = Gpu::new(device.clone(), 1)?;
//! let queue = gpu.add_queue(Mask::parse(&device, "se0,se2")?);
//! let kernel = Arc::new(Kernel::compute("k", 1000, 4, 500.0));
//! let packet = gpu.submit(queue, &kernel, &Order::default())?;
//! let mut clock = 0.0; // GPU time that the host's clock allows, ns
//! let end = loop {
//!     match gpu.advance(clock) {
//!         Some(event) if event.kind == EventKind::Ended => break event.time_ns(),
//!         Some(_) => {}
//!         // Nothing visible until `clock`: sleep until the next moment, in host time, and go on.
//!         None => clock = gpu.next_moment().unwrap_or(clock + 1e6),
//!     }
//! };
//! let wait = gpu.set_mask(queue, Mask::parse(&device, "se1")?)?; // the host blocks for so many GPU ns
//! assert!(end > 0 && wait <= 55_400.0);
//! # assert_eq!(packet.0, 0);
//! # Ok::<(), gpu_model::ModelError>(())
//! ```
//! A packet whose dependency the model cannot see (a signal in memory) is submitted [`engine::Order::held`] and let go by
//! [`engine::Gpu::release`]; an AQL queue's barrier bit is the absence of [`engine::Order::overlap`].
//!
//! # What is modelled
//! | part | how |
//! |---|---|
//! | dispatcher | shader engines in strict turn, inside one the CU with the fewest waves; between kernels pipes in turn, by fit, or the oldest first ([`device::DispatchPolicy`]). A place is held for a workgroup's whole life |
//! | CU | occupancy from registers, local memory, wave and workgroup slots; resident waves share the SIMD units' issue slots; waves that do not divide evenly go at the pace of the fullest unit; `compute.interference` for what else they do to each other |
//! | memory | all CUs share a bandwidth with a soft knee, each wave an equal part; a CU has its own limit |
//! | command processor | packet time, launch, completion, dependency and barrier times; a pipe offers one kernel at a time |
//! | queues | more active ones than `shape.hw_queues` are time-sliced; SET_CU_MASK saves waves, costs time drawn from the seed, stops one queue or all |
//! | power | idle + issue + bytes + memory awake + CUs awake, integrated exactly |
//!
//! Every constant is in a device file with its source, or "assumed" ([`device`]). Kernels of which only times are known are fitted
//! by [`fit`]. How far all this is from measurements: crate `gpu-model-validation` and `eclip model report`.
//!
//! # What it costs
//! CUs in the same state are computed once, and rounds of identical workgroups at once, so the cost of kernels that do not
//! contend, or are served oldest first, grows with kernels, not with workgroups. Kernels that contend for the same CUs by taking
//! turns ([`device::DispatchPolicy::RoundRobin`]) drive the CUs apart, and then each CU and each group of workgroups costs.
//! Measured for a second of GPU time of three models (albert, densenet201, vgg19 at batch 8) with
//! `cargo run --release -p gpu-model-validation --example speed -- 3`: on the MI50 a few hundredths of a second with a shader engine for each,
//! some 30 s sharing all CUs. [`engine::Precision`] says which short cuts are taken.
//!
//! # What is not modelled
//! Caches as such, clocks that follow power, workgroups of one kernel that differ, placement of waves on SIMD units one by one,
//! priorities, DMA engines.

pub mod constant;
pub mod device;
pub mod engine;
pub mod error;
pub mod fit;
pub mod kernel;
pub mod mask;
pub mod run;
pub mod scenario;

pub use device::Device;
pub use engine::Gpu;
pub use error::ModelError;
pub use kernel::Kernel;
pub use mask::Mask;
pub use scenario::Scenario;
