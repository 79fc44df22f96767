//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.

pub mod device;
pub mod isa;
pub mod memory;
pub mod ports;
