//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.

pub mod cp;
pub mod device;
pub mod isa;
pub mod memory;
pub mod ports;
pub mod timing;
