//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.

pub mod control;
pub mod cp;
pub mod device;
pub mod fixture;
pub mod hooks;
pub mod isa;
pub mod kernel;
pub mod launcher;
mod machine;
pub mod memory;
pub mod paths;
pub mod ports;
pub mod timing;
