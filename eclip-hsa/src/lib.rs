//! Queue manager for AMD GPUs below HIP: CU-masked AQL queues, packets, signals, on the HSA runtime.

pub mod code_object;
pub mod kernarg;
